//! The 12-octet header and its flag bits (RFC 1035 section 4.1.1, RFC 4035 section 3.2, RFC 6895 section 2).

use super::edit::Counts;
use super::numbers::{Opcode, Rcode};

/// Octets in a header.
pub const HEADER_LEN: usize = 12;

/// A message's header, read or to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Message ID.
    pub id: u16,
    /// QR, opcode, the flag bits and the low four bits of the RCODE.
    pub flags: Flags,
    /// Claimed number of questions.
    pub questions: u16,
    /// Claimed number of records in the answer section.
    pub answers: u16,
    /// Claimed number of records in the authority section.
    pub authorities: u16,
    /// Claimed number of records in the additional section.
    pub additionals: u16,
}

impl Header {
    /// The header at the start of `message`; `None` when there are fewer than 12 octets.
    #[must_use]
    pub fn parse(message: &[u8]) -> Option<Self> {
        let &[i0, i1, f0, f1, q0, q1, a0, a1, n0, n1, r0, r1] =
            message.first_chunk::<HEADER_LEN>()?;
        Some(Self {
            id: u16::from_be_bytes([i0, i1]),
            flags: Flags(u16::from_be_bytes([f0, f1])),
            questions: u16::from_be_bytes([q0, q1]),
            answers: u16::from_be_bytes([a0, a1]),
            authorities: u16::from_be_bytes([n0, n1]),
            additionals: u16::from_be_bytes([r0, r1]),
        })
    }

    /// Records per section.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            answers: self.answers,
            authorities: self.authorities,
            additionals: self.additionals,
        }
    }

    /// The header as it stands on the wire.
    #[must_use]
    pub fn octets(&self) -> [u8; HEADER_LEN] {
        let words = [
            self.id,
            self.flags.0,
            self.questions,
            self.answers,
            self.authorities,
            self.additionals,
        ];
        let mut octets = [0; HEADER_LEN];
        for (pair, word) in octets.as_chunks_mut::<2>().0.iter_mut().zip(words) {
            *pair = word.to_be_bytes();
        }
        octets
    }
}

/// The second word of the header. Unknown bits survive reading; whoever writes a message decides which to set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    const QR: u16 = 0x8000;
    const AA: u16 = 0x0400;
    const TC: u16 = 0x0200;
    const RD: u16 = 0x0100;
    const RA: u16 = 0x0080;
    const AD: u16 = 0x0020;
    const CD: u16 = 0x0010;

    /// No bit set: a query of opcode QUERY.
    pub const NONE: Self = Self(0);

    /// The word as read.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// The word as written.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    const fn has(self, bit: u16) -> bool {
        self.0 & bit != 0
    }

    const fn with(self, bit: u16, on: bool) -> Self {
        Self(if on { self.0 | bit } else { self.0 & !bit })
    }

    /// QR: this is a response.
    #[must_use]
    pub const fn response(self) -> bool {
        self.has(Self::QR)
    }

    /// AA: the answer comes from the authority itself.
    #[must_use]
    pub const fn authoritative(self) -> bool {
        self.has(Self::AA)
    }

    /// TC: the message was truncated.
    #[must_use]
    pub const fn truncated(self) -> bool {
        self.has(Self::TC)
    }

    /// RD: recursion is desired.
    #[must_use]
    pub const fn recursion_desired(self) -> bool {
        self.has(Self::RD)
    }

    /// RA: recursion is available.
    #[must_use]
    pub const fn recursion_available(self) -> bool {
        self.has(Self::RA)
    }

    /// AD: the data was validated (RFC 4035 section 3.2.3), or in a query: tell me whether it was (RFC 6840 section 5.7).
    #[must_use]
    pub const fn authentic_data(self) -> bool {
        self.has(Self::AD)
    }

    /// CD: the client validates for itself (RFC 4035 section 3.2.2).
    #[must_use]
    pub const fn checking_disabled(self) -> bool {
        self.has(Self::CD)
    }

    /// What kind of message this is.
    #[must_use]
    pub const fn opcode(self) -> Opcode {
        Opcode(((self.0 >> 11) & 0x0f) as u8)
    }

    /// The low four bits of the RCODE; an OPT record may carry eight more (RFC 6891 section 6.1.3).
    #[must_use]
    pub const fn rcode_low(self) -> Rcode {
        Rcode(self.0 & 0x0f)
    }

    /// With QR set or clear.
    #[must_use]
    pub const fn with_response(self, on: bool) -> Self {
        self.with(Self::QR, on)
    }

    /// With AA set or clear.
    #[must_use]
    pub const fn with_authoritative(self, on: bool) -> Self {
        self.with(Self::AA, on)
    }

    /// With TC set or clear.
    #[must_use]
    pub const fn with_truncated(self, on: bool) -> Self {
        self.with(Self::TC, on)
    }

    /// With RD set or clear.
    #[must_use]
    pub const fn with_recursion_desired(self, on: bool) -> Self {
        self.with(Self::RD, on)
    }

    /// With RA set or clear.
    #[must_use]
    pub const fn with_recursion_available(self, on: bool) -> Self {
        self.with(Self::RA, on)
    }

    /// With AD set or clear.
    #[must_use]
    pub const fn with_authentic_data(self, on: bool) -> Self {
        self.with(Self::AD, on)
    }

    /// With CD set or clear.
    #[must_use]
    pub const fn with_checking_disabled(self, on: bool) -> Self {
        self.with(Self::CD, on)
    }

    /// With this opcode.
    #[must_use]
    pub const fn with_opcode(self, opcode: Opcode) -> Self {
        Self((self.0 & !0x7800) | ((opcode.0 as u16 & 0x0f) << 11))
    }

    /// With the low four bits of this RCODE.
    #[must_use]
    pub const fn with_rcode_low(self, rcode: Rcode) -> Self {
        Self((self.0 & !0x0f) | (rcode.0 & 0x0f))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_reading_and_writing() {
        let octets = [0x12, 0x34, 0x85, 0xb3, 0, 1, 0, 2, 0, 3, 0xff, 0xff];
        let header = Header::parse(&octets).unwrap();
        assert_eq!(header.octets(), octets);
        assert_eq!((header.id, header.additionals), (0x1234, 0xffff));
        assert!(header.flags.response() && header.flags.authoritative());
        assert!(header.flags.recursion_desired() && header.flags.recursion_available());
        assert!(header.flags.authentic_data() && header.flags.checking_disabled());
        assert_eq!(header.flags.rcode_low(), Rcode::NXDOMAIN);
        assert_eq!(Header::parse(&octets[..11]), None);
    }

    #[test]
    fn each_bit_is_set_and_cleared_alone() {
        type Setter = fn(Flags, bool) -> Flags;
        let setters: [(Setter, u16); 7] = [
            (Flags::with_response, 0x8000),
            (Flags::with_authoritative, 0x0400),
            (Flags::with_truncated, 0x0200),
            (Flags::with_recursion_desired, 0x0100),
            (Flags::with_recursion_available, 0x0080),
            (Flags::with_authentic_data, 0x0020),
            (Flags::with_checking_disabled, 0x0010),
        ];
        for (set, bit) in setters {
            assert_eq!(set(Flags::NONE, true).bits(), bit);
            assert_eq!(set(Flags::from_bits(0xffff), false).bits(), !bit);
        }
        let flags = Flags::NONE
            .with_opcode(Opcode::UPDATE)
            .with_rcode_low(Rcode::REFUSED);
        assert_eq!(flags.bits(), 0x2805);
        assert_eq!(flags.opcode(), Opcode::UPDATE);
    }
}
