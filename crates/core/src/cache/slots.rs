//! The slots of a shard, in pages that come and go one by one.
//!
//! Deliberately absent: what is in them, and where its octets are.

use super::slot::{NO_SLOT, Slot};

/// Slots of a page; as many octets as a segment, so that one can take the place of the other.
pub(super) const PAGE_SLOTS: usize = super::segments::SEGMENT / size_of::<Slot>();

/// Octets of a page.
pub(super) const PAGE: usize = PAGE_SLOTS * size_of::<Slot>();

#[derive(Debug)]
struct Page {
    /// Those that were ever used; without memory of its own when none is.
    slots: Vec<Slot>,
    /// The first vacant one among these.
    vacant: u32,
    live: usize,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            vacant: NO_SLOT,
            live: 0,
        }
    }
}

impl Page {
    fn has_room(&self) -> bool {
        self.slots.capacity() > 0 && self.live < PAGE_SLOTS
    }
}

/// The slots of a shard. A place is the number of a page and that of a slot in it.
#[derive(Debug, Default)]
pub(super) struct Slots {
    pages: Vec<Page>,
    /// How many of the pages have memory.
    held: usize,
    /// No page before this one has room.
    first: usize,
}

impl Slots {
    /// Octets of memory they take.
    pub(super) fn held(&self) -> usize {
        self.held * PAGE
    }

    /// Octets of memory that were written to.
    pub(super) fn used(&self) -> usize {
        let slots = self.pages.iter().map(|page| page.slots.len());
        slots.sum::<usize>() * size_of::<Slot>()
    }

    pub(super) fn get(&self, place: u32) -> &Slot {
        let (page, slot) = split(place);
        &self.pages[page].slots[slot]
    }

    /// The slot at a place there may be none at any more.
    pub(super) fn get_if(&self, place: u32) -> Option<&Slot> {
        let (page, slot) = split(place);
        self.pages.get(page)?.slots.get(slot)
    }

    pub(super) fn get_mut(&mut self, place: u32) -> &mut Slot {
        let (page, slot) = split(place);
        &mut self.pages[page].slots[slot]
    }

    /// Those of one page that are in use, with their places; `None` behind the last page. A slot has its place for as long as it is in use.
    pub(super) fn of_page(&self, number: usize) -> Option<impl Iterator<Item = (u32, &Slot)>> {
        let slots = self.pages.get(number)?.slots.iter().enumerate();
        let slots = slots.map(move |(slot, it)| (join(number, slot), it));
        Some(slots.filter(|(_, slot)| !slot.is_vacant()))
    }

    /// Whether a slot is to be had without a new page.
    pub(super) fn has_room(&mut self) -> bool {
        while self.pages.get(self.first).is_some_and(|it| !it.has_room()) {
            self.first += 1;
        }
        self.first < self.pages.len()
    }

    /// A vacant slot, of the first page that has one, so that the last ones come to be empty.
    pub(super) fn take(&mut self) -> u32 {
        if !self.has_room() {
            self.add_page();
        }
        let number = self.first;
        let page = &mut self.pages[number];
        page.live += 1;
        if let Some(slot) = page.slots.get(page.vacant as usize) {
            let taken = core::mem::replace(&mut page.vacant, slot.next);
            return join(number, taken as usize);
        }
        page.slots.push(Slot::default());
        join(number, page.slots.len() - 1)
    }

    fn add_page(&mut self) {
        let bare = self.pages.iter().position(|it| it.slots.capacity() == 0);
        self.first = bare.unwrap_or_else(|| {
            self.pages.push(Page::default());
            self.pages.len() - 1
        });
        self.pages[self.first].slots = Vec::with_capacity(PAGE_SLOTS);
        self.held += 1;
    }

    /// A slot is of no more use, and neither is its page when it was the last one there.
    pub(super) fn give_back(&mut self, place: u32) {
        let (number, slot) = split(place);
        let page = &mut self.pages[number];
        page.slots[slot].clear();
        page.slots[slot].next = core::mem::replace(&mut page.vacant, slot as u32);
        page.live -= 1;
        if page.live == 0 {
            *page = Page::default();
            self.held -= 1;
        } else {
            self.first = self.first.min(number);
        }
    }
}

fn split(place: u32) -> (usize, usize) {
    let place = place as usize;
    (place / PAGE_SLOTS, place % PAGE_SLOTS)
}

fn join(page: usize, slot: usize) -> u32 {
    u32::try_from(page * PAGE_SLOTS + slot).unwrap_or(NO_SLOT)
}
