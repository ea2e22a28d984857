//! Server cookies: proof that who asks can read what is sent to its address.
//!
//! The form is the one servers have agreed on (RFC 9018 section 4): version 1, three reserved octets, the time, and SipHash-2-4 over
//! these, the client's cookie and address. So servers that share a secret accept each other's cookies, whoever made them.
//! Nothing is remembered about any client.
//!
//! Promises: a cookie of another address, another secret or another hour proves nothing; a secret may be exchanged without a
//! client noticing (RFC 9018 section 5), because all secrets are accepted and the first one is used.
//!
//! Deliberately absent: cookies toward upstreams, which are authenticated by TLS.

use core::fmt;
use core::hash::Hasher;
use core::net::IpAddr;

use siphasher::sip::SipHasher24;
use smallvec::SmallVec;

use crate::limits::{COOKIE_AGE_MAX, COOKIE_AHEAD_MAX, COOKIE_RENEWED_AFTER, COOKIE_SECRETS_MAX};
use crate::time::WallSeconds;
use crate::wire::{CLIENT_COOKIE_LEN, COOKIE_LEN, ReplyCookie, WireError};

/// Octets of a secret.
pub const COOKIE_SECRET_LEN: usize = 16;

/// Lengths a client's COOKIE option with a server cookie may have (RFC 7873 section 4).
const LENGTHS: core::ops::RangeInclusive<usize> = 16..=40;

/// Version 1 and the reserved octets.
const FORM: [u8; 4] = [1, 0, 0, 0];

/// The secrets that cookies are made with.
#[derive(Clone, PartialEq, Eq)]
pub struct CookieSecrets(SmallVec<[[u8; COOKIE_SECRET_LEN]; 1]>);

impl fmt::Debug for CookieSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CookieSecrets({})", self.0.len())
    }
}

impl CookieSecrets {
    /// These secrets. Cookies are made with the first one; those of the others are accepted. `None` when there are none, or more than
    /// [`COOKIE_SECRETS_MAX`].
    #[must_use]
    pub fn new(secrets: &[[u8; COOKIE_SECRET_LEN]]) -> Option<Self> {
        let bounds = 1..=COOKIE_SECRETS_MAX;
        bounds
            .contains(&secrets.len())
            .then(|| Self(SmallVec::from_slice(secrets)))
    }

    /// Judges the COOKIE option of a client and says what to answer it with.
    ///
    /// # Errors
    ///
    /// [`WireError::CookieLength`] when it has a length there is not: FORMERR (RFC 7873 section 5.2.2).
    pub fn judge(
        &self,
        option: &[u8],
        address: IpAddr,
        now: WallSeconds,
    ) -> Result<ReplyCookie, WireError> {
        let Some((client, server)) = option.split_first_chunk::<CLIENT_COOKIE_LEN>() else {
            return Err(WireError::CookieLength);
        };
        if !server.is_empty() && !LENGTHS.contains(&option.len()) {
            return Err(WireError::CookieLength);
        }
        let age = self.age(client, server, address, now);
        let kept = <[u8; COOKIE_LEN]>::try_from(option);
        let octets = match (age, kept) {
            (Some((true, age)), Ok(octets)) if age < COOKIE_RENEWED_AFTER => octets,
            _ => self.make(client, address, now),
        };
        Ok(ReplyCookie {
            octets,
            proven: age.is_some(),
        })
    }

    /// How old a server cookie is in seconds, and whether the secret in use made it; `None` when it is not good.
    fn age(
        &self,
        client: &[u8; CLIENT_COOKIE_LEN],
        server: &[u8],
        address: IpAddr,
        now: WallSeconds,
    ) -> Option<(bool, i32)> {
        let (head, hash) = server.split_first_chunk::<8>()?;
        let hash = u64::from_le_bytes(hash.try_into().ok()?);
        let (form, time) = head.split_first_chunk::<4>()?;
        let time = WallSeconds(u32::from_be_bytes(time.try_into().ok()?));
        let age = now.since(time);
        if form.first() != FORM.first() || !(-COOKIE_AHEAD_MAX..=COOKIE_AGE_MAX).contains(&age) {
            return None;
        }
        // The reserved octets are hashed as they came (RFC 9018 section 4.2).
        let made_it = |secret: &_| hash_of(secret, client, head, address) == hash;
        let place = self.0.iter().position(made_it)?;
        Some((place == 0, age))
    }

    fn make(
        &self,
        client: &[u8; CLIENT_COOKIE_LEN],
        address: IpAddr,
        now: WallSeconds,
    ) -> [u8; COOKIE_LEN] {
        let [t0, t1, t2, t3] = now.0.to_be_bytes();
        let [version, r0, r1, r2] = FORM;
        let head = [version, r0, r1, r2, t0, t1, t2, t3];
        let secret = self.0.first().copied().unwrap_or_default();
        let hash = hash_of(&secret, client, &head, address).to_le_bytes();
        let mut octets = [0; COOKIE_LEN];
        let parts = client.iter().chain(&head).chain(&hash);
        for (octet, part) in octets.iter_mut().zip(parts) {
            *octet = *part;
        }
        octets
    }
}

fn hash_of(
    secret: &[u8; COOKIE_SECRET_LEN],
    client: &[u8; CLIENT_COOKIE_LEN],
    head: &[u8; 8],
    address: IpAddr,
) -> u64 {
    let mut hasher = SipHasher24::new_with_key(secret);
    hasher.write(client);
    hasher.write(head);
    // An IPv4 client of a dual-stack socket is the same client.
    match address.to_canonical() {
        IpAddr::V4(address) => hasher.write(&address.octets()),
        IpAddr::V6(address) => hasher.write(&address.octets()),
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets<const N: usize>(hex: &str) -> [u8; N] {
        let digits: Vec<u8> = hex
            .chars()
            .map(|it| it.to_digit(16).unwrap().try_into().unwrap())
            .collect();
        let pairs: Vec<u8> = digits.chunks(2).map(|it| it[0] << 4 | it[1]).collect();
        pairs.try_into().unwrap()
    }

    fn secrets(hex: &[&str]) -> CookieSecrets {
        let secrets: Vec<_> = hex.iter().map(|hex| octets(hex)).collect();
        CookieSecrets::new(&secrets).unwrap()
    }

    const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";

    /// What a server answers a cookie with, and whether it believed it.
    fn judged(
        secrets: &CookieSecrets,
        cookie: &str,
        address: &str,
        now: u32,
    ) -> ([u8; COOKIE_LEN], bool) {
        let cookie: Vec<u8> = (0..cookie.len() / 2)
            .flat_map(|at| octets::<1>(&cookie[2 * at..2 * at + 2]))
            .collect();
        let judged = secrets.judge(&cookie, address.parse().unwrap(), WallSeconds(now));
        let judged = judged.unwrap();
        (judged.octets, judged.proven)
    }

    /// RFC 9018 appendix A.1, A.2 and A.3.
    #[test]
    fn the_vectors_of_rfc_9018_for_ipv4_hold() {
        let secrets = secrets(&[SECRET]);
        let here = "198.51.100.100";
        let first = "2464c4abcf10c957010000005cf79f111f8130c3eee29480";
        let made = judged(&secrets, "2464c4abcf10c957", here, 1_559_731_985);
        assert_eq!(made, (octets(first), false));
        let renewed = "2464c4abcf10c957010000005cf7a871d4a564a1442aca77";
        let again = judged(&secrets, first, here, 1_559_734_385);
        assert_eq!(again, (octets(renewed), true));
        // Its reserved octets are not zero, and are hashed as they are; in the appendix it has become too old.
        let odd = "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5";
        let there = "203.0.113.203";
        assert!(judged(&secrets, odd, there, 1_559_727_985 + 60).1);
        let fresh = "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e";
        let late = judged(&secrets, odd, there, 1_559_734_700);
        assert_eq!(late, (octets(fresh), false));
    }

    /// RFC 9018 appendix A.4.
    #[test]
    fn the_vectors_of_rfc_9018_for_ipv6_and_a_new_secret_hold() {
        let both = [
            "445536bcd2513298075a5d379663c962",
            "dd3bdf9344b678b185a6f5cb60fca715",
        ];
        let secrets = secrets(&both);
        let address = "2001:db8:220:1:59de:d0f4:8769:82b8";
        let old = "22681ab97d52c298010000005cf7c57926556bd0934c72f8";
        let new = "22681ab97d52c298010000005cf7c609a6bb79d16625507a";
        let judged = judged(&secrets, old, address, 1_559_741_961);
        assert_eq!(judged, (octets(new), true));
    }

    #[test]
    fn a_cookie_is_good_from_five_minutes_before_to_an_hour_after() {
        let secrets = secrets(&[SECRET]);
        let address = "192.0.2.1".parse().unwrap();
        // Across the end of 32 bits too.
        for made_at in [1_000_000, u32::MAX - 100] {
            let cookie = secrets
                .judge(&[7; 8], address, WallSeconds(made_at))
                .unwrap();
            for (after, proven, same) in [
                (-301, false, false),
                (-300, true, true),
                (0, true, true),
                (1_799, true, true),
                (1_800, true, false),
                (3_600, true, false),
                (3_601, false, false),
            ] {
                let now = WallSeconds(made_at.wrapping_add_signed(after));
                let again = secrets.judge(&cookie.octets, address, now).unwrap();
                let found = (again.proven, again.octets == cookie.octets);
                assert_eq!(found, (proven, same), "{after} s");
            }
        }
    }

    #[test]
    fn a_cookie_proves_one_address_and_one_secret_and_one_client_cookie() {
        let ours = secrets(&[SECRET]);
        let (here, there) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let now = WallSeconds(5);
        let cookie = ours.judge(&[7; 8], here, now).unwrap().octets;
        assert!(ours.judge(&cookie, here, now).unwrap().proven);
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        assert!(ours.judge(&cookie, mapped, now).unwrap().proven);
        assert!(!ours.judge(&cookie, there, now).unwrap().proven);
        for place in 0..COOKIE_LEN {
            let mut other = cookie;
            other[place] ^= 1;
            assert!(!ours.judge(&other, here, now).unwrap().proven, "{place}");
        }
        let others = secrets(&["00000000000000000000000000000000"]);
        assert!(!others.judge(&cookie, here, now).unwrap().proven);
    }

    #[test]
    fn lengths_there_are_not_are_malformed() {
        let secrets = secrets(&[SECRET]);
        let address = "192.0.2.1".parse().unwrap();
        for length in 0..64 {
            let judged = secrets.judge(&vec![1; length], address, WallSeconds(9));
            let good = length == 8 || (16..=40).contains(&length);
            assert_eq!(judged.is_ok(), good, "{length} octets");
            assert!(!judged.is_ok_and(|it| it.proven));
        }
    }

    #[test]
    fn there_are_one_to_four_secrets_and_none_is_shown() {
        assert!(CookieSecrets::new(&[]).is_none());
        assert!(CookieSecrets::new(&[[0; 16]; 5]).is_none());
        let four = CookieSecrets::new(&[[0xab; 16]; 4]).unwrap();
        assert_eq!(format!("{four:?}"), "CookieSecrets(4)");
    }
}
