//! One part of the cache: an index, slots, segments, and who has to go when there is no room.
//!
//! The order is S3-FIFO (Yang and others, "FIFO queues are all you need for cache eviction", SOSP 2023). What is new waits in a small queue;
//! what was asked for again there goes on to the main queue, the rest leaves early, so that names asked for once push out nobody.
//! Whose name was seen off not long ago goes to the main queue at once. A hit sets a counter and moves nothing, which is why readers
//! share.
//!
//! A queue is a list of segments: the order in which answers came is that in which they lie. Room is made by emptying the oldest segment of a
//! queue, which is a few hundred answers at a time; who is spared is copied to the end of the main queue. So memory is taken and given
//! in pieces of one size, and the limit holds for what the system counts.
//!
//! Failures never leave the small queue: however many there are, they push out no data that is in use.

use std::collections::VecDeque;

use hashbrown::HashTable;

use super::Key;
use super::segments::{Location, RECORD_MAX, SEGMENT, Segments};
use super::slot::{Content, Entry, Slot, Traits};
use super::slots::{PAGE, Slots};
use crate::limits::CACHE_EMPTIED_MAX;
use crate::time::Moment;

/// The part of the octets the small queue may hold when the shard is full: one tenth.
const SMALL_SHARE: usize = 10;

/// How often it has to be asked for again in the small queue to be kept.
const PROMOTED_AT: u8 = 2;

/// The content of a shard, to be locked as a whole.
#[derive(Debug)]
pub(super) struct Store {
    /// Octets all may take together.
    limit: usize,
    /// How long after it expired an answer is worth a place of its own.
    stale: core::time::Duration,
    slots: Slots,
    index: HashTable<u32>,
    segments: Segments,
    small: VecDeque<u32>,
    main: VecDeque<u32>,
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
            slots: Slots::default(),
            index: HashTable::new(),
            segments: Segments::default(),
            small: VecDeque::new(),
            main: VecDeque::new(),
            ghosts: vec![0; ghosts].into_boxed_slice(),
            entries: 0,
        }
    }

    /// Answers are worth a place for so long after they expired.
    pub(super) fn set_stale(&mut self, stale: core::time::Duration) {
        self.stale = stale;
    }

    /// Octets that were written to.
    pub(super) fn octets(&self) -> usize {
        self.segments.used() + self.slots.used() + self.index.allocation_size()
    }

    /// Octets taken from the system: what the limit is for.
    fn held(&self) -> usize {
        self.segments.held() + self.slots.held() + self.index.allocation_size()
    }

    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    pub(super) fn find(&self, key: &Key<'_>) -> Option<Entry<'_>> {
        let mut found = None;
        self.index.find(key.hash, |place| {
            let slot = self.slots.get(*place);
            found = slot.may_match(key).then(|| self.entry_of(slot));
            found = found.filter(|entry| entry.is_of(key));
            found.is_some()
        });
        found
    }

    fn place_of(&self, key: &Key<'_>) -> Option<u32> {
        let matches = |place: &u32| {
            let slot = self.slots.get(*place);
            slot.may_match(key) && self.entry_of(slot).is_of(key)
        };
        self.index.find(key.hash, matches).copied()
    }

    fn entry_of<'a>(&'a self, slot: &'a Slot) -> Entry<'a> {
        let data = self.segments.octets(slot.data);
        Entry { slot, data }
    }

    /// Those of one page of slots; `None` behind the last one.
    pub(super) fn of_page(&self, page: usize) -> Option<impl Iterator<Item = Entry<'_>>> {
        let slots = self.slots.of_page(page)?;
        Some(slots.map(|(_, slot)| self.entry_of(slot)))
    }

    /// Stores, in place of what the key had.
    pub(super) fn insert(&mut self, key: &Key<'_>, content: &Content<'_>, now: Moment) -> Stored {
        let known = self.place_of(key);
        if content.data_len() > RECORD_MAX {
            known.into_iter().for_each(|place| self.remove(place));
            return Stored::default();
        }
        let seen = self.is_ghost(key.hash);
        let main = known.map_or(seen, |place| self.slots.get(place).has(Traits::MAIN));
        let main = main && content.traits & Traits::FAILURE == 0;
        let evicted = self.make_room(content.data_len(), main, now);
        if !self.has_room(content.data_len(), main) {
            known.into_iter().for_each(|place| self.remove(place));
            return Stored {
                stored: false,
                evicted,
            };
        }
        // It may have had to go itself.
        let place = match self.place_of(key) {
            Some(place) => place,
            None => self.new_place(key),
        };
        let segment = self.tail(main, content.data_len());
        let data = self.segments.append(segment, place, content);
        let slot = self.slots.get_mut(place);
        slot.fill(key, content, data, now);
        slot.set_main(main);
        Stored {
            stored: true,
            evicted,
        }
    }

    fn new_place(&mut self, key: &Key<'_>) -> u32 {
        self.take_ghost(key.hash);
        let place = self.slots.take();
        let slot = self.slots.get_mut(place);
        slot.reset();
        slot.hash = key.hash;
        let slots = &self.slots;
        let rehash = |place: &u32| slots.get(*place).hash;
        self.index.insert_unique(key.hash, place, rehash);
        self.entries += 1;
        place
    }

    fn queue(&mut self, main: bool) -> &mut VecDeque<u32> {
        if main {
            &mut self.main
        } else {
            &mut self.small
        }
    }

    /// The last segment of a queue, with room for so many octets.
    fn tail(&mut self, main: bool, len: usize) -> u32 {
        let last = self.queue(main).back().copied();
        if let Some(last) = last.filter(|last| self.segments.fits(*last, len)) {
            return last;
        }
        let new = self.segments.take();
        self.queue(main).push_back(new);
        new
    }

    /// Octets that have to be taken from the system for one more answer.
    fn wanted(&mut self, len: usize, main: bool) -> usize {
        let last = self.queue(main).back().copied();
        let fits = last.is_some_and(|last| self.segments.fits(last, len));
        let segment = usize::from(!fits && self.segments.spares() == 0) * SEGMENT;
        let page = usize::from(!self.slots.has_room()) * PAGE;
        let full = self.index.len() == self.index.capacity();
        segment + page + usize::from(full) * self.index.allocation_size()
    }

    fn has_room(&mut self, len: usize, main: bool) -> bool {
        self.held() + self.wanted(len, main) <= self.limit
    }

    /// Empties segments until one more answer fits. One segment is left for those that are spared to be copied to.
    fn make_room(&mut self, len: usize, main: bool, now: Moment) -> u64 {
        let (mut evicted, mut emptied) = (0, 0);
        while self.held() + self.wanted(len, main) + SEGMENT > self.limit {
            // What is spare may be wanted as a page.
            if self.segments.spares() > 1 && self.segments.give_back() {
                continue;
            }
            let small = self.small.len() * SEGMENT > self.limit / SMALL_SHARE;
            let from_small = (small && self.small.len() > 1) || self.main.is_empty();
            let Some(segment) = self.queue(!from_small).pop_front() else {
                break;
            };
            let spare = emptied < CACHE_EMPTIED_MAX;
            evicted += self.empty(segment, from_small, spare, now);
            emptied += 1;
        }
        evicted
    }

    /// Ends what lies in a segment that stands in no queue any more, but for what is spared.
    fn empty(&mut self, segment: u32, from_small: bool, spare: bool, now: Moment) -> u64 {
        let (mut evicted, mut at) = (0, 0);
        while let Some((place, data, next)) = self.segments.record(segment, at) {
            at = next;
            let slot = self.slots.get_if(place).filter(|slot| slot.data == data);
            let Some(slot) = slot else {
                continue;
            };
            let over = slot.has(Traits::FAILURE) || slot.expires() + self.stale <= now;
            let wanted = slot.frequency() >= if from_small { PROMOTED_AT } else { 1 };
            let hash = slot.hash;
            if spare && wanted && !over && self.keep(place, data, from_small) {
                continue;
            }
            if from_small && !over {
                self.note_ghost(hash);
            }
            self.remove(place);
            evicted += 1;
        }
        self.segments.release(segment);
        self.shrink_index();
        evicted
    }

    /// Copies an answer to the end of the main queue. `false` when there is no room to.
    fn keep(&mut self, place: u32, data: Location, from_small: bool) -> bool {
        let len = data.len as usize;
        let last = self.main.back().copied();
        let fits = last.is_some_and(|last| self.segments.fits(last, len));
        if !fits && self.segments.spares() == 0 && self.held() + SEGMENT > self.limit {
            return false;
        }
        let segment = self.tail(true, len);
        let moved = self.segments.move_to(segment, place, data);
        let slot = self.slots.get_mut(place);
        slot.data = moved;
        let frequency = slot.frequency();
        slot.set_frequency(if from_small {
            0
        } else {
            frequency.saturating_sub(1)
        });
        slot.set_main(true);
        true
    }

    /// Takes out an answer. Its octets stay where they are until their segment is emptied.
    fn remove(&mut self, place: u32) {
        let hash = self.slots.get(place).hash;
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == place) {
            entry.remove();
        }
        self.slots.give_back(place);
        self.entries -= 1;
    }

    /// An index for many more than there are is room for nothing.
    fn shrink_index(&mut self) {
        if self.index.capacity() / 8 > self.entries.max(64) {
            let slots = &self.slots;
            let rehash = |place: &u32| slots.get(*place).hash;
            self.index.shrink_to(2 * self.entries, rehash);
        }
    }

    /// Removes what the key had, when that is data past its time.
    pub(super) fn remove_past(&mut self, key: &Key<'_>, now: Moment) {
        let place = self.place_of(key);
        if let Some(place) = place.filter(|place| self.slots.get(*place).is_past(now)) {
            self.remove(place);
        }
    }

    /// Those of one page of slots that `gone` says: where each is, and where its octets lie; `None` behind the last page.
    pub(super) fn going(
        &self,
        page: usize,
        gone: impl Fn(Entry<'_>) -> bool,
    ) -> Option<Vec<(u32, Location)>> {
        let slots = self.slots.of_page(page)?;
        let going = slots.filter(|(_, slot)| gone(self.entry_of(slot)));
        Some(going.map(|(place, slot)| (place, slot.data)).collect())
    }

    /// Removes these, but for what has changed since; gives back how many.
    pub(super) fn remove_all(&mut self, going: &[(u32, Location)]) -> usize {
        let before = self.entries;
        for (place, data) in going {
            let slot = self.slots.get_if(*place);
            if slot.is_some_and(|slot| !slot.is_vacant() && slot.data == *data) {
                self.remove(*place);
            }
        }
        before - self.entries
    }

    /// Begins anew when nothing is kept; gives back what was, with its memory.
    pub(super) fn take_if_empty(&mut self) -> Option<Self> {
        (self.entries == 0).then(|| {
            let fresh = Self {
                ghosts: core::mem::take(&mut self.ghosts),
                limit: self.limit,
                ..Self::new(0, self.stale)
            };
            core::mem::replace(self, fresh)
        })
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

    fn is_ghost(&mut self, hash: u64) -> bool {
        let (ghost, fingerprint) = self.ghost(hash);
        *ghost == fingerprint
    }

    fn take_ghost(&mut self, hash: u64) {
        let (ghost, fingerprint) = self.ghost(hash);
        if *ghost == fingerprint {
            *ghost = 0;
        }
    }
}
