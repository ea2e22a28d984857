//! Names as text: `www.example`, with `\.` and `\DDD` for what would mislead (RFC 1035 section 5.1, RFC 4343 section 2.1).
//!
//! Everything outside the visible ASCII range is escaped, so a name from a hostile client is safe in a log line, a
//! terminal or JSON. The root is written `.`; other names without a final dot.

use core::fmt;
use core::str::FromStr;

use smallvec::SmallVec;

use super::name::{LABEL_LEN_MAX, NAME_LEN_MAX, Name, NameError, labels};

/// Writes the uncompressed name in `octets` as text.
pub(super) fn write_name(octets: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut first = true;
    for label in labels(octets) {
        if !first {
            f.write_str(".")?;
        }
        first = false;
        for &octet in label {
            write_octet(octet, f)?;
        }
    }
    if first { f.write_str(".") } else { Ok(()) }
}

fn write_octet(octet: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match octet {
        b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => {
            write!(f, "\\{}", char::from(octet))
        }
        0x21..=0x7e => write!(f, "{}", char::from(octet)),
        _ => write!(f, "\\{octet:03}"),
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(self.as_octets(), f)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::EmptyLabel);
        }
        if text == "." {
            return Ok(Self::root());
        }
        let mut octets: SmallVec<[u8; 48]> = SmallVec::new();
        let mut label: SmallVec<[u8; 64]> = SmallVec::new();
        let mut input = text.bytes();
        let mut ended_by_dot = false;
        while let Some(octet) = input.next() {
            ended_by_dot = octet == b'.';
            match octet {
                b'.' => end_label(&mut label, &mut octets)?,
                b'\\' => label.push(escaped(&mut input)?),
                _ => label.push(octet),
            }
        }
        if !ended_by_dot {
            end_label(&mut label, &mut octets)?;
        }
        octets.push(0);
        if octets.len() > NAME_LEN_MAX {
            return Err(NameError::NameLength);
        }
        Self::from_octets(&octets)
    }
}

fn end_label(
    label: &mut SmallVec<[u8; 64]>,
    octets: &mut SmallVec<[u8; 48]>,
) -> Result<(), NameError> {
    let length = u8::try_from(label.len()).map_err(|_| NameError::LabelLength)?;
    if length == 0 {
        return Err(NameError::EmptyLabel);
    }
    if usize::from(length) > LABEL_LEN_MAX {
        return Err(NameError::LabelLength);
    }
    octets.push(length);
    octets.extend_from_slice(label);
    label.clear();
    Ok(())
}

fn escaped(input: &mut core::str::Bytes<'_>) -> Result<u8, NameError> {
    let first = input.next().ok_or(NameError::Escape)?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let (Some(second), Some(third)) = (input.next(), input.next()) else {
        return Err(NameError::Escape);
    };
    let digits = [first, second, third];
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(NameError::Escape);
    }
    let value = digits.iter().fold(0_u16, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(u16::from(digit.saturating_sub(b'0')))
    });
    u8::try_from(value).map_err(|_| NameError::Escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_reads_back_as_it_was_written() {
        for text in [
            "example",
            "www.Example.com",
            ".",
            r"a\.b.c",
            r"\000\255.x",
            r"\@\;\(\)\$\\.y",
        ] {
            assert_eq!(text.parse::<Name>().unwrap().to_string(), text);
        }
        assert_eq!("example.".parse::<Name>().unwrap().to_string(), "example");
        assert_eq!(r"\119ww.x".parse::<Name>().unwrap().to_string(), "www.x");
    }

    #[test]
    fn hostile_octets_leave_nothing_a_terminal_or_a_log_would_obey() {
        let name = Name::from_octets(b"\x06\x1b[2J\n\"\x00").unwrap();
        assert_eq!(name.to_string(), r#"\027[2J\010\""#);
    }

    #[test]
    fn text_that_is_no_name_says_why() {
        let long = "a".repeat(64);
        let deep = "a.".repeat(128);
        let cases = [
            ("", NameError::EmptyLabel),
            ("a..b", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            (long.as_str(), NameError::LabelLength),
            (deep.as_str(), NameError::NameLength),
            (r"a\", NameError::Escape),
            (r"a\25", NameError::Escape),
            (r"a\256", NameError::Escape),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Name>(), Err(error), "{text}");
        }
    }
}
