//! Names and record types until the core's wire module has them; same interface, to be replaced by a re-export.

use std::fmt;
use std::str::FromStr;

/// A domain name in uncompressed wire form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(Vec<u8>);

/// The text is no domain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameError;

impl Name {
    /// The uncompressed wire form, at most 255 octets.
    pub fn as_octets(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut octets = Vec::new();
        let text = text.strip_suffix('.').unwrap_or(text);
        for label in text
            .split('.')
            .filter(|label| !text.is_empty() || !label.is_empty())
        {
            if label.is_empty() || label.len() > 63 {
                return Err(NameError);
            }
            octets.push(label.len() as u8);
            octets.extend_from_slice(label.as_bytes());
        }
        octets.push(0);
        if octets.len() > 255 {
            Err(NameError)
        } else {
            Ok(Self(octets))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = &self.0[..];
        let mut first = true;
        while let [length, tail @ ..] = rest {
            let (label, after) = tail.split_at((*length as usize).min(tail.len()));
            if label.is_empty() {
                break;
            }
            if !first {
                f.write_str(".")?;
            }
            f.write_str(&String::from_utf8_lossy(label))?;
            first = false;
            rest = after;
        }
        if first { f.write_str(".") } else { Ok(()) }
    }
}

/// A record type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordType(pub u16);

impl RecordType {
    /// An IPv4 address.
    pub const A: Self = Self(1);
}

impl FromStr for RecordType {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.to_ascii_uppercase().as_str() {
            "A" => Ok(Self(1)),
            "AAAA" => Ok(Self(28)),
            _ => Err(NameError),
        }
    }
}
