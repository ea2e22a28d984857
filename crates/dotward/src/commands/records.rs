//! Resource records as people write them (RFC 1035 section 5.1, RFC 3597 section 5).
//!
//! Promises: every record can be shown; data of a type not known here, or not of its type's form, is shown as octets.
//!
//! Deliberately absent: reading this form.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use dotward_core::wire::{Name, Record, RecordType};

/// The owner of a record of `message`, absolute; `?` when there is no name where it should be.
#[must_use]
pub fn owner(message: &[u8], record: &Record<'_>) -> String {
    name_at(message, record.owner_at).map_or_else(|| "?".to_owned(), |(name, _)| name)
}

/// The data of a record of `message`: printable ASCII whatever its octets.
#[must_use]
pub fn data(message: &[u8], record: &Record<'_>) -> String {
    known(message, record).unwrap_or_else(|| unknown(record.rdata))
}

fn known(message: &[u8], record: &Record<'_>) -> Option<String> {
    let at = record.rdata_at;
    let number = |offset: usize| {
        let octets = record.rdata.get(offset..)?.first_chunk::<2>()?;
        Some(u16::from_be_bytes(*octets))
    };
    match record.rtype {
        RecordType::A => {
            let octets = <[u8; 4]>::try_from(record.rdata).ok()?;
            Some(Ipv4Addr::from(octets).to_string())
        }
        RecordType::AAAA => {
            let octets = <[u8; 16]>::try_from(record.rdata).ok()?;
            Some(Ipv6Addr::from(octets).to_string())
        }
        RecordType::NS | RecordType::CNAME | RecordType::PTR | RecordType::DNAME => {
            name_at(message, at).map(|(name, _)| name)
        }
        RecordType::MX => {
            let (name, _) = name_at(message, at + 2)?;
            Some(format!("{} {name}", number(0)?))
        }
        RecordType::SRV => {
            let (name, _) = name_at(message, at + 6)?;
            Some(format!(
                "{} {} {} {name}",
                number(0)?,
                number(2)?,
                number(4)?
            ))
        }
        RecordType::SOA => soa(message, at),
        RecordType::TXT => texts(record.rdata),
        _ => None,
    }
}

fn soa(message: &[u8], at: usize) -> Option<String> {
    let (primary, next) = name_at(message, at)?;
    let (mailbox, next) = name_at(message, next)?;
    let numbers = message.get(next..)?.first_chunk::<20>()?;
    let mut text = format!("{primary} {mailbox}");
    for octets in numbers.as_chunks::<4>().0 {
        append(&mut text, format_args!(" {}", u32::from_be_bytes(*octets)));
    }
    Some(text)
}

/// Character-strings in quotes, with everything escaped that is not printable (RFC 1035 section 5.1).
fn texts(mut rdata: &[u8]) -> Option<String> {
    let mut text = String::new();
    while let Some((length, rest)) = rdata.split_first() {
        let (piece, rest) = rest.split_at_checked(usize::from(*length))?;
        rdata = rest;
        text.push_str(if text.is_empty() { "\"" } else { " \"" });
        for octet in piece {
            match octet {
                b'"' | b'\\' => append(&mut text, format_args!("\\{}", char::from(*octet))),
                b' '..=b'~' => text.push(char::from(*octet)),
                _ => append(&mut text, format_args!("\\{octet:03}")),
            }
        }
        text.push('"');
    }
    Some(text)
}

fn unknown(rdata: &[u8]) -> String {
    let mut text = format!("\\# {}", rdata.len());
    if !rdata.is_empty() {
        text.push(' ');
    }
    for octet in rdata {
        append(&mut text, format_args!("{octet:02x}"));
    }
    text
}

/// The name at an offset, as an absolute name, and where it ends.
fn name_at(message: &[u8], at: usize) -> Option<(String, usize)> {
    let name = Name::read(message, at).ok()?;
    let end = dotward_core::wire::name::skip(message, at).ok()?;
    Some((absolute(&name), end))
}

/// A name with the dot that makes it absolute.
pub(crate) fn absolute(name: &Name) -> String {
    if name.is_root() {
        ".".to_owned()
    } else {
        format!("{name}.")
    }
}

fn append(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    match text.write_fmt(arguments) {
        Ok(()) | Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dotward_core::wire::{Class, Question, ResponseComposer, ResponseView};

    fn shown(rtype: RecordType, rdata: &[u8]) -> String {
        let name: Name = "a.example".parse().unwrap();
        let question = Question::new(&name, rtype, Class::IN);
        let mut composer = ResponseComposer::new(&question);
        composer.answer(&name, rtype, 60, rdata);
        let message = composer.finish();
        let view = ResponseView::parse(&message).unwrap();
        let record = view.records().next().unwrap().unwrap();
        assert_eq!(owner(&message, &record), "a.example.");
        data(&message, &record)
    }

    #[test]
    fn records_are_shown_as_in_zone_files() {
        assert_eq!(shown(RecordType::A, &[192, 0, 2, 1]), "192.0.2.1");
        assert_eq!(shown(RecordType::AAAA, &[0; 16]), "::");
        assert_eq!(shown(RecordType::MX, b"\0\x0a\x01m\0"), "10 m.");
        assert_eq!(
            shown(RecordType::SRV, b"\0\x01\0\x02\x03\x55\x01s\0"),
            "1 2 853 s."
        );
        assert_eq!(
            shown(RecordType::TXT, b"\x04a\"\\\x01\x01b"),
            r#""a\"\\\001" "b""#
        );
        let soa = [&b"\x01p\0\x01m\0"[..], &[0, 0, 0, 7].repeat(5)].concat();
        assert_eq!(shown(RecordType::SOA, &soa), "p. m. 7 7 7 7 7");
    }

    #[test]
    fn what_is_not_known_is_shown_as_octets() {
        assert_eq!(shown(RecordType(65_280), b"\x0a\xff"), r"\# 2 0aff");
        assert_eq!(shown(RecordType(65_280), b""), r"\# 0");
        assert_eq!(shown(RecordType::A, b"\x01"), r"\# 1 01");
        assert_eq!(shown(RecordType::TXT, b"\x09short"), r"\# 6 0973686f7274");
    }
}
