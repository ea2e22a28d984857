//! EDNS(0): the OPT record, read and written (RFC 6891), and extended DNS errors (RFC 8914).
//!
//! EDNS is hop by hop (RFC 6891 section 6.2.6): what a client sends ends here, and what an upstream sends ends here.
//! Both sides get an OPT record of our own making.
//!
//! Deliberately absent: client subnet; which options a client gets (see `options`). Unknown options are ignored, never echoed (RFC 6891
//! section 6.1.2).

use super::error::WireError;
use super::frame::MESSAGE_LEN_MAX;
use super::numbers::{Rcode, RecordType};
use super::octets::u16_at;
use super::options::AskedOptions;
use super::records::{Record, Section};

/// The largest UDP payload we announce, and send unless told otherwise: what passes every path without fragments (RFC 9715).
pub const UDP_PAYLOAD_MAX: u16 = 1232;

/// The smallest UDP payload there is; smaller announcements mean this (RFC 6891 section 6.2.3).
pub const UDP_PAYLOAD_MIN: u16 = 512;

/// Options accepted in one OPT record. Real queries carry up to five; long lists are an attack on the walker's time.
pub const OPTIONS_MAX: usize = 64;

/// Octets of an OPT record without options.
pub const OPT_LEN: usize = 11;

/// Octets of an option's code and length.
pub const OPTION_HEADER_LEN: usize = 4;

/// Octets of extended-error text we relay or write; more is cut at a character boundary.
pub const EDE_TEXT_MAX: usize = 128;

const DNSSEC_OK: u16 = 0x8000;

/// The code of an EDNS option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionCode(pub u16);

impl OptionCode {
    /// Name server identifier (RFC 5001).
    pub const NSID: Self = Self(3);
    /// Client subnet (RFC 7871).
    pub const SUBNET: Self = Self(8);
    /// DNS cookie (RFC 7873).
    pub const COOKIE: Self = Self(10);
    /// Edns-tcp-keepalive (RFC 7828).
    pub const KEEPALIVE: Self = Self(11);
    /// Padding (RFC 7830).
    pub const PADDING: Self = Self(12);
    /// Extended DNS error (RFC 8914).
    pub const EXTENDED_ERROR: Self = Self(15);
}

/// The INFO-CODE of an extended DNS error (RFC 8914 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdeCode(pub u16);

impl EdeCode {
    /// 0, Other: the text says what.
    pub const OTHER: Self = Self(0);
    /// 3, Stale Answer: past its time, and no newer one is to be had.
    pub const STALE_ANSWER: Self = Self(3);
    /// 14, Not Ready: starting or stopping.
    pub const NOT_READY: Self = Self(14);
    /// 15, Blocked: the operator of this server does not want it told.
    pub const BLOCKED: Self = Self(15);
    /// 18, Prohibited: this client may not ask.
    pub const PROHIBITED: Self = Self(18);
    /// 19, Stale NXDOMAIN Answer.
    pub const STALE_NXDOMAIN: Self = Self(19);
    /// 20, Not Authoritative: the client did not ask for recursion and we have nothing of our own.
    pub const NOT_AUTHORITATIVE: Self = Self(20);
    /// 21, Not Supported.
    pub const NOT_SUPPORTED: Self = Self(21);
    /// 22, No Reachable Authority.
    pub const NO_REACHABLE_AUTHORITY: Self = Self(22);
    /// 23, Network Error.
    pub const NETWORK_ERROR: Self = Self(23);
    /// 24, Invalid Data.
    pub const INVALID_DATA: Self = Self(24);

    /// The registered purpose, for people.
    #[must_use]
    pub fn purpose(self) -> &'static str {
        const PURPOSES: [&str; 25] = [
            "Other Error",
            "Unsupported DNSKEY Algorithm",
            "Unsupported DS Digest Type",
            "Stale Answer",
            "Forged Answer",
            "DNSSEC Indeterminate",
            "DNSSEC Bogus",
            "Signature Expired",
            "Signature Not Yet Valid",
            "DNSKEY Missing",
            "RRSIGs Missing",
            "No Zone Key Bit Set",
            "NSEC Missing",
            "Cached Error",
            "Not Ready",
            "Blocked",
            "Censored",
            "Filtered",
            "Prohibited",
            "Stale NXDOMAIN Answer",
            "Not Authoritative",
            "Not Supported",
            "No Reachable Authority",
            "Network Error",
            "Invalid Data",
        ];
        PURPOSES
            .get(usize::from(self.0))
            .copied()
            .unwrap_or("Unassigned")
    }
}

/// An extended DNS error: a code for programs, a text for people. Diagnostic only (RFC 8914 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtendedError<'a> {
    /// What kind of trouble.
    pub code: EdeCode,
    /// Extra text, UTF-8; may be empty.
    pub text: &'a str,
}

/// An OPT record, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns<'a> {
    /// The largest UDP payload the sender takes, as it said.
    pub udp_size: u16,
    /// The high eight bits of the RCODE.
    pub rcode_high: u8,
    /// The EDNS version.
    pub version: u8,
    /// DO: send DNSSEC records (RFC 3225).
    pub dnssec_ok: bool,
    /// The options as they stand.
    options: &'a [u8],
    /// What of them shapes a reply.
    asked: AskedOptions<'a>,
}

impl<'a> Edns<'a> {
    /// Reads an OPT record; the option list is proven only by [`Edns::check_options`], because a version we do not
    /// know may lay it out otherwise.
    pub(super) fn from_record(message: &[u8], record: &Record<'a>) -> Result<Self, WireError> {
        let root_owner = message.get(record.owner_at) == Some(&0);
        if record.section != Section::Additional || !root_owner {
            return Err(WireError::OptPlace);
        }
        Ok(Self::new(record.class.0, record.ttl, record.rdata))
    }

    /// Reads the OPT record that stands at `at` with its owner spelled as it has to be, and says where it ends; `None` for anything
    /// else. The same as [`Edns::from_record`] of a record that was walked to, for the query that has no other.
    pub(super) fn read_alone(message: &'a [u8], at: usize) -> Option<(Self, usize)> {
        let (fixed, behind) = message.get(at..)?.split_first_chunk::<OPT_LEN>()?;
        let [0, 0, 41, c0, c1, t0, t1, t2, t3, l0, l1] = *fixed else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let options = behind.get(..length)?;
        let end = at.saturating_add(OPT_LEN).saturating_add(length);
        let ttl = u32::from_be_bytes([t0, t1, t2, t3]);
        let edns = Self::new(u16::from_be_bytes([c0, c1]), ttl, options);
        Some((edns, end))
    }

    fn new(udp_size: u16, ttl: u32, options: &'a [u8]) -> Self {
        let [rcode_high, version, f0, f1] = ttl.to_be_bytes();
        Self {
            udp_size,
            rcode_high,
            version,
            dnssec_ok: u16::from_be_bytes([f0, f1]) & DNSSEC_OK != 0,
            options,
            asked: AskedOptions::default(),
        }
    }

    /// Proves that every option lies inside the record and that there are not too many, and notes what they ask for.
    pub(super) fn check_options(&mut self) -> Result<(), WireError> {
        let mut count = 0_usize;
        let mut options = self.options();
        for (code, data) in options.by_ref() {
            self.asked.note(code, data);
            count = count.saturating_add(1);
            if count > OPTIONS_MAX {
                return Err(WireError::OptionCount);
            }
        }
        if options.rest.is_empty() {
            Ok(())
        } else {
            Err(WireError::OptionLength)
        }
    }

    /// What the options ask of a reply.
    #[must_use]
    pub fn asked(&self) -> &AskedOptions<'a> {
        &self.asked
    }

    /// The options in order: code and data.
    #[must_use]
    pub fn options(&self) -> Options<'a> {
        Options { rest: self.options }
    }

    /// The data of the first option with this code.
    #[must_use]
    pub fn option(&self, code: OptionCode) -> Option<&'a [u8]> {
        self.options()
            .find(|(found, _)| *found == code)
            .map(|(_, data)| data)
    }

    /// How long the sender keeps an idle connection (RFC 7828 section 3.3.2); `None` when it does not say.
    #[must_use]
    pub fn keepalive(&self) -> Option<core::time::Duration> {
        let timeout = <[u8; 2]>::try_from(self.option(OptionCode::KEEPALIVE)?).ok()?;
        // The unit is 100 ms.
        Some(core::time::Duration::from_millis(
            u64::from(u16::from_be_bytes(timeout)).saturating_mul(100),
        ))
    }

    /// The extended errors in this record, their text cut to [`EDE_TEXT_MAX`]; text that is not UTF-8 is shown empty.
    pub fn extended_errors(&self) -> impl Iterator<Item = ExtendedError<'a>> + use<'a> {
        self.options()
            .filter(|(code, _)| *code == OptionCode::EXTENDED_ERROR)
            .filter_map(|(_, data)| {
                let (code, text) = data.split_first_chunk::<2>()?;
                let text = core::str::from_utf8(text).unwrap_or_default();
                let text = text.get(..text.floor_char_boundary(EDE_TEXT_MAX));
                let text = text.unwrap_or_default().trim_end_matches('\0');
                Some(ExtendedError {
                    code: EdeCode(u16::from_be_bytes(*code)),
                    text,
                })
            })
    }
}

/// Iterates over options; stops at one that runs past the record.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Options<'a> {
    type Item = (OptionCode, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let code = u16_at(self.rest, 0).ok()?;
        let length = usize::from(u16_at(self.rest, 2).ok()?);
        let (data, rest) = self
            .rest
            .get(OPTION_HEADER_LEN..)?
            .split_at_checked(length)?;
        self.rest = rest;
        Some((OptionCode(code), data))
    }
}

/// The fixed part of an OPT record to be written.
#[derive(Clone, Copy, Debug)]
pub struct OptFields {
    /// The whole RCODE; its high eight bits go into the record.
    pub rcode: Rcode,
    /// DO.
    pub dnssec_ok: bool,
}

/// Appends an OPT record with our payload size and version 0, and gives back where its RDLENGTH stands, so that
/// options can follow.
pub(super) fn begin_opt(fields: OptFields, out: &mut Vec<u8>) -> OptWriter<'_> {
    let [rcode_high, _] = (fields.rcode.0 << 4).to_be_bytes();
    let flags = if fields.dnssec_ok { DNSSEC_OK } else { 0 };
    let ([t0, t1], [s0, s1]) = (
        RecordType::OPT.0.to_be_bytes(),
        UDP_PAYLOAD_MAX.to_be_bytes(),
    );
    let [f0, f1] = flags.to_be_bytes();
    // Owner, type, payload size, extended RCODE, version, flags, and the length of what follows.
    out.extend_from_slice(&[0, t0, t1, s0, s1, rcode_high, 0, f0, f1, 0, 0]);
    OptWriter {
        data_at: out.len(),
        out,
    }
}

/// An OPT record being written at the end of a message.
pub(super) struct OptWriter<'a> {
    out: &'a mut Vec<u8>,
    data_at: usize,
}

impl OptWriter<'_> {
    /// Appends one option.
    pub(super) fn push(&mut self, code: OptionCode, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let Ok(length) = u16::try_from(length) else {
            return;
        };
        self.out.extend_from_slice(&code.0.to_be_bytes());
        self.out.extend_from_slice(&length.to_be_bytes());
        for part in parts {
            self.out.extend_from_slice(part);
        }
        self.close();
    }

    /// Appends an extended error, its text cut to [`EDE_TEXT_MAX`].
    pub(super) fn push_extended_error(&mut self, error: ExtendedError<'_>) {
        let text = error
            .text
            .get(..error.text.floor_char_boundary(EDE_TEXT_MAX))
            .unwrap_or_default();
        self.push(
            OptionCode::EXTENDED_ERROR,
            &[&error.code.0.to_be_bytes(), text.as_bytes()],
        );
    }

    /// Appends padding so that the whole message, from its header on, is a multiple of `block` octets (RFC 8467
    /// section 4.1), or the longest there may be. Has to come last (RFC 7830 section 3).
    pub(super) fn pad_to(&mut self, block: usize) {
        const ZEROS: [u8; 512] = [0; 512];
        let bare = self.out.len().saturating_add(OPTION_HEADER_LEN);
        let Some(room) = MESSAGE_LEN_MAX.checked_sub(bare) else {
            return;
        };
        let missing = bare
            .next_multiple_of(block.clamp(1, ZEROS.len()))
            .saturating_sub(bare)
            .min(room);
        self.push(
            OptionCode::PADDING,
            &[ZEROS.get(..missing).unwrap_or_default()],
        );
    }

    fn close(&mut self) {
        let length = self.out.len().saturating_sub(self.data_at);
        let length = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
        let field = self
            .data_at
            .checked_sub(2)
            .and_then(|at| self.out.get_mut(at..self.data_at));
        if let Some(field) = field {
            field.copy_from_slice(&length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::records::Records;

    fn read(message: &[u8]) -> Result<Edns<'_>, WireError> {
        let record = Records::new(message, 0, [0, 0, 1]).next().unwrap()?;
        let mut edns = Edns::from_record(message, &record)?;
        edns.check_options()?;
        Ok(edns)
    }

    #[test]
    fn an_opt_record_reads_back_as_written() {
        let mut out = Vec::new();
        let mut opt = begin_opt(
            OptFields {
                rcode: Rcode::BADVERS,
                dnssec_ok: true,
            },
            &mut out,
        );
        opt.push_extended_error(ExtendedError {
            code: EdeCode::NETWORK_ERROR,
            text: "tls",
        });
        opt.push(OptionCode(65001), &[b"ab", b"c"]);
        opt.push(OptionCode::KEEPALIVE, &[&[0, 100]]);
        let edns = read(&out).unwrap();
        assert_eq!((edns.udp_size, edns.rcode_high, edns.version), (1232, 1, 0));
        assert!(edns.dnssec_ok);
        assert_eq!(edns.option(OptionCode(65001)), Some(&b"abc"[..]));
        assert_eq!(edns.keepalive(), Some(core::time::Duration::from_secs(10)));
        let errors: Vec<_> = edns.extended_errors().collect();
        assert_eq!(
            errors,
            [ExtendedError {
                code: EdeCode(23),
                text: "tls"
            }]
        );
    }

    #[test]
    fn padding_fills_to_the_block_whatever_came_before() {
        for before in 0..300 {
            let mut out = vec![0; before];
            begin_opt(
                OptFields {
                    rcode: Rcode::NOERROR,
                    dnssec_ok: false,
                },
                &mut out,
            )
            .pad_to(128);
            assert_eq!(out.len() % 128, 0, "{before} octets before");
            assert!(out.len() - before < 11 + 4 + 128);
        }
    }

    #[test]
    fn an_option_longer_than_its_record_is_refused() {
        let mut out = Vec::new();
        begin_opt(
            OptFields {
                rcode: Rcode::NOERROR,
                dnssec_ok: false,
            },
            &mut out,
        )
        .push(OptionCode(100), &[b"xy"]);
        out[14] = 50;
        assert_eq!(read(&out).unwrap_err(), WireError::OptionLength);
        out.truncate(14);
        out[10] = 3;
        assert_eq!(read(&out).unwrap_err(), WireError::OptionLength);
    }

    #[test]
    fn too_many_options_are_refused() {
        let mut out = Vec::new();
        let mut opt = begin_opt(
            OptFields {
                rcode: Rcode::NOERROR,
                dnssec_ok: false,
            },
            &mut out,
        );
        for _ in 0..=OPTIONS_MAX {
            opt.push(OptionCode(3), &[]);
        }
        assert_eq!(read(&out).unwrap_err(), WireError::OptionCount);
    }

    #[test]
    fn long_error_text_is_cut_at_a_character() {
        let mut out = Vec::new();
        let text = "é".repeat(100);
        begin_opt(
            OptFields {
                rcode: Rcode::SERVFAIL,
                dnssec_ok: false,
            },
            &mut out,
        )
        .push_extended_error(ExtendedError {
            code: EdeCode::OTHER,
            text: &text,
        });
        let edns = read(&out).unwrap();
        assert_eq!(edns.extended_errors().next().unwrap().text, "é".repeat(64));
    }
}
