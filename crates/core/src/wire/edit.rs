//! The one exit: turns a canonical response into the reply for one asker.
//!
//! Every answer leaves through [`render_reply`], but for signed ones, which are not ours to touch ([`relay_reply`]), so ID, flags, spelling of the name, EDNS and size are right for everybody, or
//! wrong for everybody and found at once. Records are copied as received; nothing is re-encoded, so names keep their
//! compression and unknown types their octets (RFC 3597 section 4).
//!
//! When a reply is too long for its asker, what is given up goes in this order: the extended error (RFC 8914 section 3), the
//! additional section (RFC 2181 section 9), then record sets from the end, with TC set (RFC 2181 section 9).

use super::asker::Asker;
use super::compose::{append_opt, reply_flags, write_truncated};
use super::edns::{EDE_TEXT_MAX, ExtendedError, OPTION_HEADER_LEN, OptFields};
use super::header::{Flags, Header};
use super::numbers::Rcode;
use super::question::AsQuestion;
use super::records::{Record, Records, Section};
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

/// A response laid out for rendering: what a [`ResponseView`] has found, and what a kept answer remembers of it, so that a
/// reply is written without walking records.
#[derive(Clone, Copy, Debug)]
pub struct Canonical<'a> {
    /// Header, question and records, in one piece because compression points into it.
    pub message: &'a [u8],
    /// AD and TC count; the others are the reply's own.
    pub flags: Flags,
    /// The whole RCODE.
    pub rcode: Rcode,
    /// The extended error to pass on.
    pub error: Option<ExtendedError<'a>>,
    /// Offset of the first record.
    pub records_at: usize,
    /// Where the authority section ends, or the answers when it is empty.
    pub authorities_end: usize,
    /// Where the additional records that are relayed end. No OPT record lies before.
    pub additionals_end: usize,
    /// Records up to there.
    pub counts: Counts,
    /// What is to become of the TTLs.
    pub ttls: Ttls<'a>,
}

/// What becomes of the TTLs of a response. Offsets are 16-bit, big-endian, ascending: TTLs of the message as it lies there, no OPT
/// record's among them.
#[derive(Clone, Copy, Debug)]
pub enum Ttls<'a> {
    /// They stay as they are.
    AsReceived,
    /// The message is this many seconds old (RFC 1035 section 3.2.1).
    Lowered {
        /// Where they are.
        at: &'a [[u8; 2]],
        /// Seconds.
        by: u32,
    },
    /// All are this, as for data past its time (RFC 8767 section 4).
    Fixed {
        /// Where they are.
        at: &'a [[u8; 2]],
        /// Seconds.
        ttl: u32,
    },
}

impl<'a> From<&ResponseView<'a>> for Canonical<'a> {
    fn from(view: &ResponseView<'a>) -> Self {
        let header = view.header();
        let (additionals_end, additionals) = view.additionals();
        Self {
            message: view.message(),
            flags: header.flags,
            rcode: view.rcode(),
            error: view.extended_errors().next(),
            records_at: view.records_at(),
            authorities_end: view.authorities_end(),
            additionals_end,
            counts: Counts {
                answers: header.answers,
                authorities: header.authorities,
                additionals,
            },
            ttls: Ttls::AsReceived,
        }
    }
}

/// Writes the reply to `asker` from `response`, which must answer the asker's question. Nothing is allocated when `out` has room.
pub fn render_reply<'a, Q: AsQuestion>(
    response: impl Into<Canonical<'a>>,
    asker: &Asker<Q>,
    origin: ReplyOrigin,
    out: &mut Vec<u8>,
) {
    let response = response.into();
    let rcode = shown_rcode(response.rcode, asker);
    let error = response.error.filter(|_| asker.edns.is_some());
    let kept = fit(&response, asker, error);
    let header = Header {
        id: asker.id,
        flags: shown_flags(response.flags, asker, origin)
            .with_truncated(kept.truncated || response.flags.truncated())
            .with_rcode_low(rcode),
        questions: 1,
        answers: kept.counts.answers,
        authorities: kept.counts.authorities,
        additionals: kept.counts.additionals,
    };
    out.clear();
    out.extend_from_slice(&header.octets());
    out.extend_from_slice(asker.question.as_question().octets());
    let records = response.message.get(response.records_at..kept.end);
    out.extend_from_slice(records.unwrap_or_default());
    // The question is as long as the one that was answered, so offsets are the same here and there.
    write_ttls(response.ttls, out);
    if let Some(edns) = asker.edns {
        let fields = OptFields {
            rcode,
            dnssec_ok: edns.dnssec_ok,
        };
        append_opt(fields, &asker.options, error.filter(|_| kept.error), out);
    }
}

/// Writes the reply to `asker` from a signed response: its octets but the message ID, which is all that may change (RFC 8945 section 5.5). What
/// is too long for the asker cannot be cut without breaking the signature; an empty reply with TC says that there is more.
pub fn relay_reply(response: &ResponseView<'_>, asker: &Asker, out: &mut Vec<u8>) {
    let message = response.message();
    if message.len() > asker.reply_len_max() {
        return write_truncated(asker, out);
    }
    out.clear();
    out.extend_from_slice(message);
    if let Some(id) = out.first_chunk_mut::<2>() {
        *id = asker.id.to_be_bytes();
    }
}

/// An RCODE above 15 needs an OPT record to be told; a client without EDNS gets SERVFAIL instead of its low bits.
fn shown_rcode<Q>(rcode: Rcode, asker: &Asker<Q>) -> Rcode {
    if rcode.0 > 15 && asker.edns.is_none() {
        Rcode::SERVFAIL
    } else {
        rcode
    }
}

fn write_ttls(ttls: Ttls<'_>, out: &mut [u8]) {
    match ttls {
        Ttls::AsReceived => {}
        Ttls::Lowered { at, by } => change_ttls(at, out, |ttl| ttl.saturating_sub(by)),
        Ttls::Fixed { at, ttl } => change_ttls(at, out, |_| ttl),
    }
}

fn change_ttls(at: &[[u8; 2]], out: &mut [u8], change: impl Fn(u32) -> u32) {
    for at in at {
        let at = usize::from(u16::from_be_bytes(*at));
        // Records that did not fit are not there.
        let Some(field) = out.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<4>) else {
            return;
        };
        *field = change(u32::from_be_bytes(*field)).to_be_bytes();
    }
}

fn shown_flags<Q>(response: Flags, asker: &Asker<Q>, origin: ReplyOrigin) -> Flags {
    let authentic = origin == ReplyOrigin::Upstream
        && response.authentic_data()
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answers.
    pub answers: u16,
    /// Authority records.
    pub authorities: u16,
    /// Additional records.
    pub additionals: u16,
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
fn fit<Q>(response: &Canonical<'_>, asker: &Asker<Q>, error: Option<ExtendedError<'_>>) -> Kept {
    let (additionals_end, counts) = (response.additionals_end, response.counts);
    let room = asker.reply_len_max().saturating_sub(asker.opt_len());
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
    if response.authorities_end <= room {
        let counts = Counts {
            additionals: 0,
            ..counts
        };
        return Kept {
            end: response.authorities_end,
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
fn truncate(response: &Canonical<'_>, room: usize) -> Kept {
    let mut kept = Kept {
        end: response.records_at,
        counts: Counts::default(),
        error: false,
        truncated: true,
    };
    let mut counts = Counts::default();
    let mut previous: Option<Record<'_>> = None;
    let (message, counted) = (response.message, response.counts);
    let claimed = [counted.answers, counted.authorities, counted.additionals];
    let records = Records::new(message, response.records_at, claimed);
    for record in records.map_while(Result::ok) {
        let boundary = previous.filter(|previous| !previous.same_set(message, &record));
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

#[cfg(test)]
mod tests;
