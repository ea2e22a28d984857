//! One part of the cache: an index, slots, and who has to go when there is no room.
//!
//! The order is S3-FIFO (Yang and others, "FIFO queues are all you need for cache eviction", SOSP 2023). What is new waits in a small queue;
//! what was asked for again there goes on to the main queue, the rest leaves early, so that names asked for once push out nobody.
//! Whose name was seen off not long ago goes to the main queue at once. A hit sets a counter and moves nothing, which is why readers
//! share.
//!
//! Failures never leave the small queue: however many there are, they push out no data that is in use.

use hashbrown::HashTable;

use super::Key;
use super::slot::{Content, NO_SLOT, Slot, Traits};
use crate::limits::CACHE_EVICTION_STEPS_MAX;
use crate::time::Moment;

/// The part of the octets the small queue may hold when the shard is full: one tenth.
const SMALL_SHARE: usize = 10;

/// How often it has to be asked for again in the small queue to be kept.
const PROMOTED_AT: u8 = 2;

/// A queue of slots, first in, first out.
#[derive(Debug)]
struct Queue {
    head: u32,
    tail: u32,
    octets: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            head: NO_SLOT,
            tail: NO_SLOT,
            octets: 0,
        }
    }
}

impl Queue {
    fn push(&mut self, slots: &mut [Slot], place: u32) {
        slots[place as usize].next = NO_SLOT;
        if self.tail == NO_SLOT {
            self.head = place;
        } else {
            slots[self.tail as usize].next = place;
        }
        self.tail = place;
        self.octets += slots[place as usize].weight();
    }

    /// The oldest; its octets stay counted until the caller takes them off.
    fn pop(&mut self, slots: &[Slot]) -> Option<u32> {
        let place = self.head;
        let slot = slots.get(place as usize)?;
        self.head = slot.next;
        if self.head == NO_SLOT {
            self.tail = NO_SLOT;
        }
        Some(place)
    }
}

/// The content of a shard, to be locked as a whole.
#[derive(Debug)]
pub(super) struct Store {
    /// Octets all may take together.
    limit: usize,
    /// How long after it expired an answer is worth a place of its own.
    stale: core::time::Duration,
    slots: Vec<Slot>,
    index: HashTable<u32>,
    small: Queue,
    main: Queue,
    /// Vacant slots that stand in no queue.
    vacant: u32,
    /// Fingerprints of what left the small queue, each at a place its hash chooses.
    ghosts: Box<[u32]>,
    entries: usize,
}

/// What storing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stored {
    /// Whether it was stored.
    pub(super) stored: bool,
    /// Answers that had to go.
    pub(super) evicted: u64,
}

/// Octets of cache for which one fingerprint of what left is kept.
const OCTETS_PER_GHOST: usize = 512;

impl Store {
    pub(super) fn new(limit: usize, stale: core::time::Duration) -> Self {
        let ghosts = (limit / OCTETS_PER_GHOST).next_power_of_two().max(2) / 2;
        let fixed = ghosts * size_of::<u32>() + size_of::<Self>();
        Self {
            limit: limit.saturating_sub(fixed),
            stale,
            slots: Vec::new(),
            index: HashTable::new(),
            small: Queue::default(),
            main: Queue::default(),
            vacant: NO_SLOT,
            ghosts: vec![0; ghosts].into_boxed_slice(),
            entries: 0,
        }
    }

    /// Answers are worth a place for so long after they expired.
    pub(super) fn set_stale(&mut self, stale: core::time::Duration) {
        self.stale = stale;
    }

    pub(super) fn octets(&self) -> usize {
        self.small.octets + self.main.octets
    }

    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    pub(super) fn find(&self, key: &Key<'_>) -> Option<&Slot> {
        self.place_of(key).map(|place| &self.slots[place as usize])
    }

    fn place_of(&self, key: &Key<'_>) -> Option<u32> {
        let slots = &self.slots;
        let matches = |place: &u32| slots[*place as usize].matches(key);
        self.index.find(key.hash, matches).copied()
    }

    /// All there are.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| !slot.is_vacant())
    }

    /// Stores, in place of what the key had.
    pub(super) fn insert(&mut self, key: &Key<'_>, content: &Content<'_>, now: Moment) -> Stored {
        let known = self.place_of(key);
        let before = known.map_or(0, |place| self.slots[place as usize].weight());
        if content.weight() > self.limit {
            known.into_iter().for_each(|place| self.remove(place));
            return Stored::default();
        }
        if let Some(place) = known {
            let slot = &mut self.slots[place as usize];
            slot.fill(key, content, now);
            let (after, main) = (slot.weight(), slot.has(Traits::MAIN));
            let queue = if main {
                &mut self.main
            } else {
                &mut self.small
            };
            queue.octets = queue.octets + after - before;
            let evicted = self.make_room(0, Some(place), now);
            return Stored {
                stored: true,
                evicted,
            };
        }
        let evicted = self.make_room(content.weight(), None, now);
        let place = self.vacant_place();
        let seen = content.traits & Traits::FAILURE == 0 && self.take_ghost(key.hash);
        let slot = &mut self.slots[place as usize];
        slot.reset();
        slot.fill(key, content, now);
        if seen {
            slot.set_main();
            self.main.push(&mut self.slots, place);
        } else {
            self.small.push(&mut self.slots, place);
        }
        let slots = &self.slots;
        let rehash = |place: &u32| slots[*place as usize].hash;
        self.index.insert_unique(key.hash, place, rehash);
        self.entries += 1;
        Stored {
            stored: true,
            evicted,
        }
    }

    fn vacant_place(&mut self) -> u32 {
        if let Some(slot) = self.slots.get(self.vacant as usize) {
            return core::mem::replace(&mut self.vacant, slot.next);
        }
        if self.slots.len() == self.slots.capacity() {
            // By an eighth: doubling would leave half of a full table unused.
            self.slots.reserve_exact((self.slots.len() / 8).max(8));
        }
        self.slots.push(Slot::default());
        u32::try_from(self.slots.len() - 1).unwrap_or(NO_SLOT)
    }

    /// Takes out an answer. Its slot stays in its queue until it comes to the front.
    fn remove(&mut self, place: u32) {
        let slot = &mut self.slots[place as usize];
        let (hash, weight) = (slot.hash, slot.weight());
        let queue = if slot.has(Traits::MAIN) {
            &mut self.main
        } else {
            &mut self.small
        };
        slot.clear();
        // What is left of it still takes its place.
        queue.octets = queue.octets - weight + slot.weight();
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == place) {
            entry.remove();
        }
        self.entries -= 1;
    }

    /// Removes what the key had, when that is data past its time.
    pub(super) fn remove_past(&mut self, key: &Key<'_>, now: Moment) {
        let place = self.place_of(key);
        if let Some(place) = place.filter(|place| self.slots[*place as usize].is_past(now)) {
            self.remove(place);
        }
    }

    /// Removes all that `gone` says; gives back how many.
    pub(super) fn remove_if(&mut self, gone: impl Fn(&Slot) -> bool) -> usize {
        let before = self.entries;
        for place in 0..self.slots.len() {
            let slot = &self.slots[place];
            if !slot.is_vacant() && gone(slot) {
                self.remove(u32::try_from(place).unwrap_or(NO_SLOT));
            }
        }
        if self.entries == 0 {
            *self = Self {
                ghosts: core::mem::take(&mut self.ghosts),
                limit: self.limit,
                ..Self::new(0, self.stale)
            };
        }
        before - self.entries
    }

    /// Lets go until `octets` more fit. `kept` stays, whatever its turn.
    fn make_room(&mut self, octets: usize, kept: Option<u32>, now: Moment) -> u64 {
        let mut evicted = 0;
        let mut steps = 0;
        while self.octets() + octets > self.limit {
            let small = self.small.octets > self.limit / SMALL_SHARE;
            let from_small = small || self.main.head == NO_SLOT;
            let queue = if from_small {
                &mut self.small
            } else {
                &mut self.main
            };
            let Some(place) = queue.pop(&self.slots) else {
                break;
            };
            let slot = &mut self.slots[place as usize];
            queue.octets -= slot.weight();
            steps += 1;
            let over = slot.has(Traits::FAILURE) || slot.expires() + self.stale <= now;
            let frequency = slot.frequency();
            let spared = steps < CACHE_EVICTION_STEPS_MAX
                && !over
                && frequency >= if from_small { PROMOTED_AT } else { 1 };
            if slot.is_vacant() {
                self.give_back(place);
            } else if spared || kept == Some(place) {
                slot.set_frequency(if from_small {
                    0
                } else {
                    frequency.saturating_sub(1)
                });
                slot.set_main();
                self.main.push(&mut self.slots, place);
            } else {
                if from_small && !over {
                    let hash = slot.hash;
                    self.note_ghost(hash);
                }
                self.evict(place);
                evicted += 1;
            }
        }
        evicted
    }

    /// Ends an answer that stands in no queue any more.
    fn evict(&mut self, place: u32) {
        let slot = &mut self.slots[place as usize];
        let hash = slot.hash;
        slot.clear();
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == place) {
            entry.remove();
        }
        self.entries -= 1;
        self.give_back(place);
    }

    fn give_back(&mut self, place: u32) {
        self.slots[place as usize].next = core::mem::replace(&mut self.vacant, place);
    }

    fn ghost(&mut self, hash: u64) -> (&mut u32, u32) {
        let [low, high] = [hash & u64::from(u32::MAX), hash >> 32].map(|half| half as u32);
        let place = low as usize & (self.ghosts.len() - 1);
        (&mut self.ghosts[place], high | 1)
    }

    fn note_ghost(&mut self, hash: u64) {
        let (ghost, fingerprint) = self.ghost(hash);
        *ghost = fingerprint;
    }

    fn take_ghost(&mut self, hash: u64) -> bool {
        let (ghost, fingerprint) = self.ghost(hash);
        let known = *ghost == fingerprint;
        if known {
            *ghost = 0;
        }
        known
    }
}
