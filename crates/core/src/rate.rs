//! How much one client network gets over UDP, where anybody may write anybody's address into a datagram.
//!
//! Two bounds for each network (an IPv4 address, an IPv6 /56 unless configured): queries, and octets of replies, because a reply that is
//! longer than its query is what makes a resolver worth abusing. Both are leaky buckets that hold one second's worth. Above them a query
//! is told to come over TCP (TC set, nothing else in it), where an address cannot be forged, or gets silence: every `slip`-th is told.
//! A reply that came later than its query is looked at again when it leaves: many that were admitted one by one may be let go at one moment
//! (CVE-2024-33655).
//!
//! Promises:
//! - Memory is one table of fixed size, made when the first client that is counted asks. What does not fit displaces what says least:
//!   a bucket that has leaked out says nothing, and one that holds much is kept longest. So a flood from a million networks neither
//!   grows anything nor frees the one that asks most.
//! - Where a network is kept in the table depends on a key; nobody can aim at somebody else's place.
//! - Any number of threads share one [`RateLimiter`] without a lock.
//!
//! Deliberately absent: streams, whose clients have proven their address and are bounded by connections and questions in flight.

use core::hash::Hasher;
use core::net::IpAddr;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::OnceLock;

use siphasher::sip::SipHasher13;

use crate::limits::{RATE_DEBT_MAX, RATE_SETS, REFUSALS_PER_SECOND};
use crate::policy::Acl;
use crate::time::Moment;

/// What a [`RateLimiter`] works from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateConfig {
    /// Queries per second and network; 0: no bound. At most [`RATE_MAX`].
    pub queries: u32,
    /// Octets of replies per second and network; 0: no bound. At most [`OCTETS_MAX`].
    pub octets: u32,
    /// Which of the queries above a bound are told to come over TCP: every n-th; 0: none.
    pub slip: u32,
    /// How much of an IPv4 address tells networks apart, in bits.
    pub prefix_v4: u8,
    /// The same of an IPv6 address.
    pub prefix_v6: u8,
    /// Clients that are not counted.
    pub exempt: Acl,
    /// Secret, so that nobody knows which networks share a place.
    pub key: [u8; 16],
}

/// The largest [`RateConfig::queries`]: above it the clock of the buckets is too coarse.
pub const RATE_MAX: u32 = 100_000;

/// The largest [`RateConfig::octets`], for the same reason.
pub const OCTETS_MAX: u32 = 1_000_000_000;

/// What a query gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Whatever it asks for.
    Within,
    /// A reply that is truncated to nothing.
    Truncate,
    /// Nothing.
    Silence,
}

/// Buckets of client networks.
#[derive(Debug)]
pub struct RateLimiter {
    config: RateConfig,
    sets: OnceLock<Box<[Set]>>,
    /// Queries above a bound so far, for `slip`.
    over: AtomicU32,
}

/// Places in which one network can be kept: one cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Set([Slot; WAYS]);

const WAYS: usize = 4;

/// One network's two buckets. Each is the moment at which it will have leaked out (the "theoretical arrival time" of the generic cell
/// rate algorithm, ITU-T I.371) in ticks, with the network's tag above it.
#[derive(Debug, Default)]
struct Slot {
    queries: AtomicU64,
    octets: AtomicU64,
}

/// A tick is 64 ns, and a moment wraps after 19 hours; what seems to lie further ahead than any debt is an old one.
const TICK_NANOS_LOG2: u32 = 6;
const TIME_BITS: u32 = 40;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
const SECOND: u64 = 1_000_000_000 >> TICK_NANOS_LOG2;
const DEBT_MAX: u64 = (RATE_DEBT_MAX.as_nanos() as u64) >> TICK_NANOS_LOG2;

/// Whose buckets: those who may not ask take nothing from those of their network who may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Clients,
    Strangers,
}

/// Times two threads may get in each other's way before one lets its query pass uncounted.
const TRIES: usize = 4;

/// A network's place and its mark there.
#[derive(Clone, Copy)]
struct Place<'a> {
    set: &'a Set,
    tag: u64,
}

impl RateLimiter {
    /// A limiter nobody has asked yet.
    #[must_use]
    pub fn new(config: RateConfig) -> Self {
        Self {
            config,
            sets: OnceLock::new(),
            over: AtomicU32::new(0),
        }
    }

    /// What it works from.
    #[must_use]
    pub fn config(&self) -> &RateConfig {
        &self.config
    }

    /// Whether clients with this address are not counted.
    #[must_use]
    pub fn exempts(&self, address: IpAddr) -> bool {
        self.config.exempt.contains(address)
    }

    /// Counts a query of a client that may ask.
    pub fn admit(&self, address: IpAddr, now: Moment) -> Pace {
        if self.exempts(address) {
            return Pace::Within;
        }
        let now = ticks(now);
        let Some(slot) = self.slot((address, Whose::Clients), now) else {
            return Pace::Within;
        };
        let (slot, tag) = slot;
        let octets = ahead(slot.octets.load(Ordering::Relaxed), tag, now);
        let too_many_octets = self.config.octets > 0 && octets > SECOND;
        let cost = cost(1, self.config.queries);
        if too_many_octets || !fill(&slot.queries, tag, cost, now) {
            self.excess(tag)
        } else {
            Pace::Within
        }
    }

    /// Counts a query of a client that may not ask: a refusal is a reply too. False when there were enough of them.
    pub fn admit_refusal(&self, address: IpAddr, now: Moment) -> bool {
        let now = ticks(now);
        self.slot((address, Whose::Strangers), now)
            .is_none_or(|(slot, tag)| fill(&slot.queries, tag, cost(1, REFUSALS_PER_SECOND), now))
    }

    /// Counts a reply that leaves later than its query came; with anything but [`Pace::Within`] it must not leave and is not counted.
    pub fn admit_reply(&self, address: IpAddr, octets: usize, now: Moment) -> Pace {
        if self.config.octets == 0 || self.exempts(address) {
            return Pace::Within;
        }
        let now = ticks(now);
        let cost = self.cost_of(octets);
        match self.slot((address, Whose::Clients), now) {
            Some((slot, tag)) if !pay(&slot.octets, tag, cost, now) => self.excess(tag),
            Some(_) | None => Pace::Within,
        }
    }

    /// Counts a reply that leaves, whatever was counted before.
    pub fn charge(&self, address: IpAddr, octets: usize, now: Moment) {
        if self.config.octets == 0 || self.exempts(address) {
            return;
        }
        let now = ticks(now);
        if let Some((slot, tag)) = self.slot((address, Whose::Clients), now) {
            owe(&slot.octets, tag, self.cost_of(octets), now);
        }
    }

    fn cost_of(&self, octets: usize) -> u64 {
        let octets = u64::try_from(octets).unwrap_or(u64::MAX);
        cost(octets, self.config.octets)
    }

    /// Every `slip`-th of all that is above a bound is told, and of those of each network as many: multiples of the golden ratio spread evenly however
    /// many are left out between two, so that who asks in turn with another cannot have that one told nothing.
    fn excess(&self, tag: u64) -> Pace {
        const GOLDEN: u64 = 0x9e37_79b9;
        let over = u64::from(self.over.fetch_add(1, Ordering::Relaxed));
        let turn = over.wrapping_mul(GOLDEN).wrapping_add(tag << 8) & u64::from(u32::MAX);
        let slip = u64::from(self.config.slip);
        if slip > 0 && (turn * slip) >> 32 == 0 {
            Pace::Truncate
        } else {
            Pace::Silence
        }
    }

    /// The network's slot: the one it has, or the one that says least. `None` when another thread was faster.
    fn slot(&self, of: (IpAddr, Whose), now: u64) -> Option<(&Slot, u64)> {
        let Place { set, tag } = self.place(of)?;
        let mut least: Option<(&Slot, u64, u64)> = None;
        for slot in &set.0 {
            let word = slot.queries.load(Ordering::Relaxed);
            if word >> TIME_BITS == tag {
                return Some((slot, tag));
            }
            let octets = slot.octets.load(Ordering::Relaxed);
            let owner = word >> TIME_BITS;
            let says = ahead(word, owner, now).max(ahead(octets, owner, now));
            if least.is_none_or(|(_, _, so_far)| says < so_far) {
                least = Some((slot, word, says));
            }
        }
        let (slot, word, _) = least?;
        slot.queries
            .compare_exchange(
                word,
                tag << TIME_BITS | now,
                Ordering::Relaxed,
                Ordering::Relaxed,
            )
            .ok()
            .map(|_| (slot, tag))
    }

    fn place(&self, (address, whose): (IpAddr, Whose)) -> Option<Place<'_>> {
        let mut hasher = SipHasher13::new_with_key(&self.config.key);
        if whose == Whose::Strangers {
            hasher.write_u8(0);
        }
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let bits = u32::from(address);
                let below = 32_u32.saturating_sub(self.config.prefix_v4.into());
                hasher.write_u32(bits.checked_shr(below).unwrap_or_default());
            }
            IpAddr::V6(address) => {
                let bits = u128::from(address);
                let below = 128_u32.saturating_sub(self.config.prefix_v6.into());
                hasher.write_u128(bits.checked_shr(below).unwrap_or_default());
            }
        }
        let hash = hasher.finish();
        let sets = self
            .sets
            .get_or_init(|| (0..RATE_SETS).map(|_| Set::default()).collect());
        let index = usize::try_from(hash & TIME_MASK).ok()? % RATE_SETS;
        Some(Place {
            set: sets.get(index)?,
            // 0 is an empty slot's.
            tag: (hash >> TIME_BITS).max(1),
        })
    }
}

fn ticks(now: Moment) -> u64 {
    now.as_nanos() >> TICK_NANOS_LOG2 & TIME_MASK
}

/// How long one of `per_second` takes, times `count`; nothing when there is no bound.
fn cost(count: u64, per_second: u32) -> u64 {
    count
        .saturating_mul(SECOND)
        .checked_div(per_second.into())
        .unwrap_or_default()
}

/// How far ahead of now a bucket leaks out; 0 for one that has, or is another network's.
fn ahead(word: u64, tag: u64, now: u64) -> u64 {
    let ahead = word.wrapping_sub(now) & TIME_MASK;
    if word >> TIME_BITS == tag && ahead <= DEBT_MAX {
        ahead
    } else {
        0
    }
}

/// Puts `cost` into a bucket that holds a second's worth. False, and nothing put in, when it is full.
fn fill(bucket: &AtomicU64, tag: u64, cost: u64, now: u64) -> bool {
    for _ in 0..TRIES {
        let word = bucket.load(Ordering::Relaxed);
        let ahead = ahead(word, tag, now);
        if ahead.saturating_add(cost) > SECOND {
            return false;
        }
        if replace(bucket, word, tag, now.wrapping_add(ahead + cost)) {
            return true;
        }
    }
    true
}

/// Puts `cost` into a bucket that holds no more than a second's worth before. False, and nothing put in, when it does.
fn pay(bucket: &AtomicU64, tag: u64, cost: u64, now: u64) -> bool {
    for _ in 0..TRIES {
        let word = bucket.load(Ordering::Relaxed);
        let ahead = ahead(word, tag, now);
        if ahead > SECOND {
            return false;
        }
        let ahead = ahead.saturating_add(cost).min(DEBT_MAX);
        if replace(bucket, word, tag, now.wrapping_add(ahead)) {
            return true;
        }
    }
    true
}

/// Puts `cost` into a bucket whether it is full or not, up to [`RATE_DEBT_MAX`].
fn owe(bucket: &AtomicU64, tag: u64, cost: u64, now: u64) {
    for _ in 0..TRIES {
        let word = bucket.load(Ordering::Relaxed);
        let ahead = ahead(word, tag, now).saturating_add(cost).min(DEBT_MAX);
        if replace(bucket, word, tag, now.wrapping_add(ahead)) {
            return;
        }
    }
}

fn replace(bucket: &AtomicU64, word: u64, tag: u64, time: u64) -> bool {
    let new = tag << TIME_BITS | time & TIME_MASK;
    bucket
        .compare_exchange_weak(word, new, Ordering::Relaxed, Ordering::Relaxed)
        .is_ok()
}

#[cfg(test)]
mod tests;
