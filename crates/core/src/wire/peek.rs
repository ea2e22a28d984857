//! A glance at a message, for counting: what was asked, and which RCODE was given.
//!
//! Promises: reads what stands there and judges nothing; no octets are too strange, and none are copied.
//!
//! Deliberately absent: deciding anything by it. [`QueryView`](super::QueryView) and [`ResponseView`](super::ResponseView) do that.

use super::header::HEADER_LEN;
use super::numbers::RecordType;

/// The type of the first question, if there is one that can be read.
#[must_use]
pub fn qtype(message: &[u8]) -> Option<RecordType> {
    let [questions, ..] = counts(message)?;
    let behind = (questions > 0).then(|| behind_name(message))??;
    Some(RecordType(u16::from_be_bytes(*behind.first_chunk()?)))
}

/// The RCODE, with its upper part where the message consists of an OPT record and at most a question: the messages that carry an
/// extended RCODE carry nothing else (RFC 6891 section 6.1.3).
#[must_use]
pub fn rcode(message: &[u8]) -> Option<u16> {
    let low = u16::from(*message.get(3)? & 0x0f);
    let opt = match counts(message)? {
        [0, 0, 0, 1] => message.get(HEADER_LEN..),
        [1, 0, 0, 1] => behind_name(message).and_then(|behind| behind.get(4..)),
        _ => return Some(low),
    };
    // Root, type 41, the size, and the upper octet of the RCODE.
    match opt {
        Some([0, 0, 41, _, _, high, ..]) => Some(u16::from(*high) << 4 | low),
        Some(_) | None => Some(low),
    }
}

/// How many questions, answers, authority and additional records there should be.
fn counts(message: &[u8]) -> Option<[u16; 4]> {
    let [_, _, _, _, q0, q1, a0, a1, n0, n1, r0, r1] = *message.first_chunk::<HEADER_LEN>()?;
    Some([[q0, q1], [a0, a1], [n0, n1], [r0, r1]].map(u16::from_be_bytes))
}

/// What follows the name of the first question.
fn behind_name(message: &[u8]) -> Option<&[u8]> {
    let mut rest = message.get(HEADER_LEN..)?;
    loop {
        let (length, behind) = rest.split_first()?;
        rest = match length {
            0 => return Some(behind),
            1..=63 => behind.get(usize::from(*length)..)?,
            // A pointer in the first name points nowhere sensible.
            64.. => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x03www\x07example\0\0\x1c\0\x01";

    #[test]
    fn the_type_is_that_of_the_first_question() {
        assert_eq!(qtype(QUERY), Some(RecordType::AAAA));
        for end in 0..QUERY.len() - 2 {
            assert_eq!(qtype(&QUERY[..end]), None);
        }
        assert_eq!(
            qtype(b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\xc0\x0c\0\x01\0\x01"),
            None
        );
        assert_eq!(
            qtype(b"\x12\x34\x01\x00\0\0\0\0\0\0\0\0\0\0\x01\0\x01"),
            None
        );
    }

    #[test]
    fn the_rcode_has_its_upper_part() {
        assert_eq!(rcode(b"\x12\x34\x81\x83\0\0\0\0\0\0\0\0"), Some(3));
        let badvers = b"\x12\x34\x81\x80\0\0\0\0\0\0\0\x01\0\0\x29\x04\xd0\x01\0\0\0\0\0";
        assert_eq!(rcode(badvers), Some(16));
        let mut with_question = QUERY.to_vec();
        with_question[11] = 1;
        with_question.extend(b"\0\0\x29\x04\xd0\x01\0\0\0\0\0");
        assert_eq!(rcode(&with_question), Some(16));
        assert_eq!(rcode(b"\x12\x34"), None);
    }
}
