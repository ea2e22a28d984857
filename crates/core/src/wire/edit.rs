//! The one exit: turns a canonical response into the reply for one asker.
//!
//! Every answer leaves through [`render_reply`], so ID, flags, spelling of the name, EDNS and size are right for everybody, or
//! wrong for everybody and found at once. Records are copied as received; nothing is re-encoded, so names keep their
//! compression and unknown types their octets (RFC 3597 section 4).
//!
//! When a reply is too long for its asker, what is given up goes in this order: the extended error (RFC 8914 section 3), the
//! additional section (RFC 2181 section 9), then record sets from the end, with TC set (RFC 2181 section 9).

use super::asker::Asker;
use super::compose::{append_opt, reply_flags};
use super::edns::{EDE_TEXT_MAX, ExtendedError, OPT_LEN, OPTION_HEADER_LEN, OptFields};
use super::header::{Flags, Header};
use super::name;
use super::numbers::Rcode;
use super::records::{Record, Section};
use super::response::ResponseView;

/// Where the records of a reply come from; it decides AA and AD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyOrigin {
    /// Our own zone: authoritative (RFC 6303 section 3), never validated.
    Local,
    /// An upstream over an authenticated connection: its AD is believed (RFC 4035 section 4.6), its AA is not ours to pass on.
    Upstream,
    /// An upstream in clear text: anybody may have written it, so its AD is not believed (RFC 4035 section 4.6).
    ClearText,
}

/// Writes the reply to `asker` from `response`, which must answer the asker's question.
pub fn render_reply(
    response: &ResponseView<'_>,
    asker: &Asker,
    origin: ReplyOrigin,
    out: &mut Vec<u8>,
) {
    let rcode = shown_rcode(response.rcode(), asker);
    let error = response
        .extended_errors()
        .next()
        .filter(|_| asker.edns.is_some());
    let kept = fit(response, asker, error);
    let header = Header {
        id: asker.id,
        flags: shown_flags(response, asker, origin)
            .with_truncated(kept.truncated || response.header().flags.truncated())
            .with_rcode_low(rcode),
        questions: 1,
        answers: kept.counts.answers,
        authorities: kept.counts.authorities,
        additionals: kept.counts.additionals,
    };
    out.clear();
    out.extend_from_slice(&header.octets());
    out.extend_from_slice(asker.question.octets());
    let records = response.message().get(response.records_at()..kept.end);
    out.extend_from_slice(records.unwrap_or_default());
    if let Some(edns) = asker.edns {
        let fields = OptFields {
            rcode,
            dnssec_ok: edns.dnssec_ok,
        };
        append_opt(fields, error.filter(|_| kept.error), out);
    }
}

/// An RCODE above 15 needs an OPT record to be told; a client without EDNS gets SERVFAIL instead of its low bits.
fn shown_rcode(rcode: Rcode, asker: &Asker) -> Rcode {
    if rcode.0 > 15 && asker.edns.is_none() {
        Rcode::SERVFAIL
    } else {
        rcode
    }
}

fn shown_flags(response: &ResponseView<'_>, asker: &Asker, origin: ReplyOrigin) -> Flags {
    let authentic = origin == ReplyOrigin::Upstream
        && response.header().flags.authentic_data()
        && asker.wants_authentic_data();
    reply_flags(asker.flags)
        .with_authoritative(origin == ReplyOrigin::Local)
        .with_checking_disabled(asker.flags.checking_disabled())
        .with_authentic_data(authentic)
}

/// What of a response goes into a reply.
struct Kept {
    /// The records up to this offset of the response.
    end: usize,
    counts: Counts,
    /// Whether the extended error is kept.
    error: bool,
    truncated: bool,
}

/// Records per section.
#[derive(Clone, Copy, Default)]
struct Counts {
    answers: u16,
    authorities: u16,
    additionals: u16,
}

impl Counts {
    fn add(&mut self, section: Section) {
        let count = match section {
            Section::Answer => &mut self.answers,
            Section::Authority => &mut self.authorities,
            Section::Additional => &mut self.additionals,
        };
        *count = count.saturating_add(1);
    }
}

/// Chooses what of `response` fits.
fn fit(response: &ResponseView<'_>, asker: &Asker, error: Option<ExtendedError<'_>>) -> Kept {
    let (additionals_end, additionals) = response.additionals();
    let header = response.header();
    let counts = Counts {
        answers: header.answers,
        authorities: header.authorities,
        additionals,
    };
    let opt = if asker.edns.is_some() { OPT_LEN } else { 0 };
    let room = asker.reply_len_max().saturating_sub(opt);
    let whole = Kept {
        end: additionals_end,
        counts,
        error: true,
        truncated: false,
    };
    if additionals_end.saturating_add(error.map_or(0, error_len)) <= room {
        return whole;
    }
    if additionals_end <= room {
        return Kept {
            error: false,
            ..whole
        };
    }
    if response.authorities_end() <= room {
        let counts = Counts {
            additionals: 0,
            ..counts
        };
        return Kept {
            end: response.authorities_end(),
            counts,
            error: false,
            truncated: false,
        };
    }
    truncate(response, room)
}

fn error_len(error: ExtendedError<'_>) -> usize {
    let text = error.text.floor_char_boundary(EDE_TEXT_MAX);
    OPTION_HEADER_LEN.saturating_add(2).saturating_add(text)
}

/// Keeps whole record sets from the front while they fit into `room`. A set is a run of records with the same owner and type.
fn truncate(response: &ResponseView<'_>, room: usize) -> Kept {
    let mut kept = Kept {
        end: response.records_at(),
        counts: Counts::default(),
        error: false,
        truncated: true,
    };
    let mut counts = Counts::default();
    let mut previous: Option<Record<'_>> = None;
    for record in response.records().map_while(Result::ok) {
        let boundary = previous.filter(|previous| !same_set(response.message(), previous, &record));
        if let Some(set_end) = boundary {
            kept.end = set_end.end;
            kept.counts = counts;
        }
        if record.end > room || record.section == Section::Additional {
            return kept;
        }
        counts.add(record.section);
        previous = Some(record);
    }
    kept
}

fn same_set(message: &[u8], left: &Record<'_>, right: &Record<'_>) -> bool {
    left.section == right.section
        && left.rtype == right.rtype
        && left.class == right.class
        && name::same_name(message, left.owner_at, right.owner_at)
}

#[cfg(test)]
mod tests;
