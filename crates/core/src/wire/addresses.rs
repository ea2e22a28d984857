//! The addresses that a record bears: A, AAAA, and the hints of SVCB and HTTPS records (RFC 9460 section 7.3).
//!
//! Promises: nothing in a record panics or is read beyond it; no address that a client might take from a record is overlooked, be the record
//! longer or shorter than it should be, or its parameters out of order.
//!
//! Deliberately absent: types that bear addresses nobody connects to by name (APL, IPSECKEY, …), and whether an SVCB record keeps all the rules of RFC
//! 9460: clients look at that.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::name;
use super::numbers::RecordType;
use super::octets::u16_at;
use super::records::Record;

/// The keys of the parameters that bear addresses (RFC 9460 section 14.3.2).
const IPV4_HINT: u16 = 4;
const IPV6_HINT: u16 = 6;

/// Octets before the target name of an SVCB record: its priority.
const PRIORITY_LEN: usize = 2;

impl Record<'_> {
    /// Whether `is` holds of an address that the record bears, or it cannot be read which addresses it bears.
    pub(crate) fn bears_address(&self, is: impl Fn(IpAddr) -> bool) -> bool {
        let v4 = |octets: &[u8; 4]| is(Ipv4Addr::from_octets(*octets).into());
        let v6 = |octets: &[u8; 16]| is(Ipv6Addr::from_octets(*octets).into());
        match self.rtype {
            RecordType::A => self.rdata.first_chunk().is_some_and(v4),
            RecordType::AAAA => self.rdata.first_chunk().is_some_and(v6),
            RecordType::SVCB | RecordType::HTTPS => {
                let known = |(key, value): (u16, &[u8])| match key {
                    IPV4_HINT => value.as_chunks().0.iter().any(v4),
                    IPV6_HINT => value.as_chunks().0.iter().any(v6),
                    _ => false,
                };
                Parameters::of(self.rdata).is_none_or(|mut all| all.any(known) || !all.is_over())
            }
            _ => false,
        }
    }
}

/// Iterates over the parameters of an SVCB record, key and value; stops at one that runs past the record.
struct Parameters<'a> {
    rest: &'a [u8],
}

impl<'a> Parameters<'a> {
    /// Those of a record with this data; `None` when its target name cannot be read. It is never compressed (RFC 9460 section 2.2).
    fn of(rdata: &'a [u8]) -> Option<Self> {
        let at = name::skip_uncompressed(rdata, PRIORITY_LEN).ok()?;
        let rest = rdata.get(at..)?;
        Some(Self { rest })
    }

    /// Whether nothing is left that could not be read.
    fn is_over(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let key = u16_at(self.rest, 0).ok()?;
        let length = u16_at(self.rest, 2).ok()?;
        let (value, rest) = self.rest.get(4..)?.split_at_checked(length.into())?;
        self.rest = rest;
        Some((key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::records::Records;

    /// Whether a record of this type and data bears 10.0.0.1 or fd00::1, or cannot be read.
    fn bears(rtype: RecordType, rdata: &[u8]) -> bool {
        let length = u16::try_from(rdata.len()).unwrap().to_be_bytes();
        let rtype = rtype.0.to_be_bytes();
        let message = [&[0][..], &rtype, &[0, 1, 0, 0, 0, 60], &length, rdata].concat();
        let record = Records::new(&message, 0, [1, 0, 0]).next().unwrap();
        let sought = ["10.0.0.1", "fd00::1"].map(|it| it.parse::<IpAddr>().unwrap());
        record.unwrap().bears_address(|it| sought.contains(&it))
    }

    const INSIDE: [u8; 4] = [10, 0, 0, 1];
    const OUTSIDE: [u8; 4] = [192, 0, 2, 1];

    fn v6(text: &str) -> [u8; 16] {
        text.parse::<Ipv6Addr>().unwrap().octets()
    }

    fn parameter(key: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len()).unwrap().to_be_bytes();
        [&key.to_be_bytes()[..], &length, value].concat()
    }

    #[test]
    fn addresses_are_found_in_a_and_aaaa_records_of_any_length() {
        for (rtype, rdata, expected) in [
            (RecordType::A, &INSIDE[..], true),
            (RecordType::A, &OUTSIDE, false),
            (RecordType::A, &[10, 0, 0], false),
            (RecordType::A, &[10, 0, 0, 1, 9], true),
            (RecordType::AAAA, &v6("fd00::1"), true),
            (RecordType::AAAA, &v6("2001:db8::1"), false),
            (RecordType::AAAA, &INSIDE, false),
            (RecordType::A, &[], false),
            (RecordType::TXT, &INSIDE, false),
        ] {
            assert_eq!(bears(rtype, rdata), expected, "{rtype} {rdata:?}");
        }
    }

    #[test]
    fn hints_are_found_among_other_parameters_in_any_order_and_number() {
        let mandatory = parameter(0, &[0, 4]);
        let alpn = parameter(1, b"\x02h2");
        let hint = |addresses: &[[u8; 4]]| parameter(IPV4_HINT, addresses.as_flattened());
        let hint6 = |addresses: &[[u8; 16]]| parameter(IPV6_HINT, addresses.as_flattened());
        let (inside, outside) = (hint(&[INSIDE]), hint(&[OUTSIDE]));
        for (parameters, expected) in [
            (vec![], false),
            (vec![alpn.clone()], false),
            (vec![outside.clone()], false),
            (vec![inside.clone()], true),
            (vec![hint(&[OUTSIDE, OUTSIDE, INSIDE])], true),
            (vec![mandatory, alpn.clone(), inside.clone()], true),
            (vec![inside.clone(), alpn.clone()], true),
            (vec![outside.clone(), inside], true),
            (vec![outside, hint6(&[v6("fd00::1")])], true),
            (vec![hint6(&[v6("2001:db8::1"), v6("fd00::1")])], true),
            (vec![hint6(&[v6("2001:db8::1")])], false),
            // Whole addresses of a list that ends in the middle of one.
            (vec![parameter(IPV4_HINT, &[10, 0, 0, 1, 7])], true),
            (vec![parameter(IPV4_HINT, &[])], false),
            (vec![parameter(999, &INSIDE), alpn], false),
        ] {
            for rtype in [RecordType::SVCB, RecordType::HTTPS] {
                for target in [&b"\x00"[..], b"\x03svc\x07example\x00"] {
                    let rdata = [&[0, 1][..], target, &parameters.concat()].concat();
                    assert_eq!(bears(rtype, &rdata), expected, "{rdata:?}");
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_read_counts_as_what_is_looked_for() {
        let whole = [&[0, 1, 0][..], &parameter(IPV4_HINT, &OUTSIDE)].concat();
        // The priority and the root name alone are a whole record.
        for cut in (0..whole.len()).filter(|cut| *cut != 3) {
            assert!(bears(RecordType::HTTPS, &whole[..cut]), "cut at {cut}");
        }
        assert!(!bears(RecordType::HTTPS, &whole[..3]));
        let longer = [&whole[..], &[0]].concat();
        assert!(bears(RecordType::HTTPS, &longer));
        let pointer = [&[0, 1, 0xc0, 0][..], &parameter(1, b"\x02h2")].concat();
        assert!(
            bears(RecordType::HTTPS, &pointer),
            "no name may be compressed there"
        );
    }
}
