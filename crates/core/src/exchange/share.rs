//! What each client has of a room (for questions, for signed ones, for those who wait for the same), so that one cannot take it from the others.
//!
//! A client may have as many places as there are left. So the one that asks most gets half of all room when it is alone, two
//! get a third each, and there is always room for who asks little ("dynamic thresholds", Choudhury and Hahne 1998).
//!
//! Deliberately absent: rates, which count questions whether they wait or not (see [`rate`](crate::rate)).

use core::net::IpAddr;

use hashbrown::HashMap;

use super::KeyHasher;

/// Who counts as one client: an IPv4 address, or an IPv6 /56, which is what a home has (RFC 6177).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(u64);

impl Source {
    /// Nobody: what is asked for the sake of what is kept.
    pub(super) const NOBODY: Self = Self(u64::MAX);

    /// The source that `address` belongs to.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            // The IPv6 networks with these numbers (`::/32`) are nobody's but loopback's.
            IpAddr::V4(address) => Self(u32::from(address).into()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments().map(u64::from);
                Self(a << 48 | b << 32 | c << 16 | d & 0xff00)
            }
        }
    }
}

/// Places taken, by source.
#[derive(Debug)]
pub(super) struct Shares(HashMap<Source, usize, KeyHasher>);

impl Shares {
    pub(super) fn new(hasher: KeyHasher) -> Self {
        Self(HashMap::with_hasher(hasher))
    }

    /// Whether a source may have one more when there is room for `left` more of anybody.
    pub(super) fn admits(&self, source: Source, left: usize) -> bool {
        self.0.get(&source).is_none_or(|has| *has < left) && left > 0
    }

    pub(super) fn take(&mut self, source: Source) {
        *self.0.entry(source).or_insert(0) += 1;
    }

    pub(super) fn give_back(&mut self, source: Source) {
        if let Some(has) = self.0.get_mut(&source) {
            *has -= 1;
            if *has == 0 {
                self.0.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv4_and_a_56_of_ipv6_are_one_source() {
        let of = |text: &str| Source::of(text.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:ff::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:100::1"));
    }

    #[test]
    fn who_has_nothing_is_admitted_and_who_has_all_that_is_left_is_not() {
        let mut shares = Shares::new(KeyHasher::new([1; 16]));
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|it| Source::of(it.parse().unwrap()));
        for _ in 0..5 {
            shares.take(one);
        }
        assert!(shares.admits(one, 6) && !shares.admits(one, 5) && shares.admits(other, 1));
        assert!(!shares.admits(other, 0));
        for _ in 0..5 {
            shares.give_back(one);
        }
        assert!(shares.0.is_empty());
    }
}
