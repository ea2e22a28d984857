//! Where the octets of answers lie: in segments, all of one size, each filled from its beginning to its end and then emptied as a whole.
//!
//! What is kept changes its sizes with what is asked for, and an allocator that is handed answers of all sizes in any order holds up to
//! twice what they take, in holes that nothing fits. With segments of one size there are no such holes: what the system counts is what is
//! counted here.
//!
//! ```text
//! each record  4  the place of its slot
//!              4  how many octets follow
//!              n  what Content::write wrote, and up to 7 octets so that the next one is aligned
//! ```
//!
//! A record lives as long as its slot says that it lies here. Deliberately absent: who has to go.

use super::slot::Content;

/// Octets of a segment. The longest answer fits: 65,535 octets of records with 11 octets each, and two for where the TTL of each is.
pub(super) const SEGMENT: usize = 80 * 1024;

/// What stands before the octets of a record.
const HEAD: usize = 8;

/// The longest record.
pub(super) const RECORD_MAX: usize = SEGMENT - HEAD;

/// Where the octets of an answer are. None: nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Location {
    segment: u32,
    offset: u32,
    pub(super) len: u32,
}

/// How much of a segment a record of so many octets takes.
pub(super) fn record_len(len: usize) -> usize {
    HEAD + len.next_multiple_of(8)
}

#[derive(Debug, Default)]
struct Segment {
    /// Empty when it was given back.
    octets: Box<[u8]>,
    used: usize,
}

/// All segments of a shard.
#[derive(Debug, Default)]
pub(super) struct Segments {
    all: Vec<Segment>,
    /// Empty ones, ready.
    spare: Vec<u32>,
    /// Places of those that were given back.
    gone: Vec<u32>,
}

impl Segments {
    /// Octets of memory they take, used or not.
    pub(super) fn held(&self) -> usize {
        (self.all.len() - self.gone.len()) * SEGMENT
    }

    /// Octets of memory that were written to.
    pub(super) fn used(&self) -> usize {
        self.all.iter().map(|segment| segment.used).sum()
    }

    pub(super) fn spares(&self) -> usize {
        self.spare.len()
    }

    /// An empty one.
    pub(super) fn take(&mut self) -> u32 {
        if let Some(spare) = self.spare.pop() {
            return spare;
        }
        let new = Segment {
            octets: vec![0; SEGMENT].into_boxed_slice(),
            used: 0,
        };
        if let Some(place) = self.gone.pop() {
            self.all[place as usize] = new;
            return place;
        }
        self.all.push(new);
        u32::try_from(self.all.len() - 1).unwrap_or(u32::MAX)
    }

    /// Nothing in it is wanted any more.
    pub(super) fn release(&mut self, segment: u32) {
        self.all[segment as usize].used = 0;
        self.spare.push(segment);
    }

    /// Gives a spare one back to the system. `false` when there is none.
    pub(super) fn give_back(&mut self) -> bool {
        let Some(spare) = self.spare.pop() else {
            return false;
        };
        self.all[spare as usize] = Segment::default();
        self.gone.push(spare);
        true
    }

    /// Whether a record of so many octets goes into a segment.
    pub(super) fn fits(&self, segment: u32, len: usize) -> bool {
        let segment = self.all.get(segment as usize);
        segment.is_some_and(|it| it.used + record_len(len) <= it.octets.len())
    }

    /// Writes an answer behind the last one of `segment`, into which it fits.
    pub(super) fn append(&mut self, segment: u32, place: u32, content: &Content<'_>) -> Location {
        self.write(segment, place, content.data_len(), |to| content.write(to))
    }

    /// Copies what lies at `from` behind the last record of `segment`, into which it fits.
    pub(super) fn move_to(&mut self, segment: u32, place: u32, from: Location) -> Location {
        let source = core::mem::take(&mut self.all[from.segment as usize].octets);
        let octets = range(&source, from);
        let to = self.write(segment, place, octets.len(), |to| {
            to.copy_from_slice(octets);
        });
        self.all[from.segment as usize].octets = source;
        to
    }

    fn write(
        &mut self,
        segment: u32,
        place: u32,
        len: usize,
        content: impl FnOnce(&mut [u8]),
    ) -> Location {
        let Segment { octets, used } = &mut self.all[segment as usize];
        let start = *used + HEAD;
        let short = u32::try_from(len).unwrap_or(u32::MAX);
        octets[*used..*used + 4].copy_from_slice(&place.to_ne_bytes());
        octets[*used + 4..start].copy_from_slice(&short.to_ne_bytes());
        content(&mut octets[start..start + len]);
        *used += record_len(len);
        Location {
            segment,
            offset: u32::try_from(start).unwrap_or(u32::MAX),
            len: short,
        }
    }

    /// The record that begins at `at`: the place of its slot, where its octets are, and where the next one begins.
    pub(super) fn record(&self, segment: u32, at: usize) -> Option<(u32, Location, usize)> {
        let Segment { octets, used } = self.all.get(segment as usize)?;
        if at >= *used {
            return None;
        }
        let (place, rest) = octets.get(at..)?.split_first_chunk::<4>()?;
        let len = u32::from_ne_bytes(*rest.first_chunk::<4>()?);
        let location = Location {
            segment,
            offset: u32::try_from(at + HEAD).ok()?,
            len,
        };
        let next = at + record_len(len as usize);
        Some((u32::from_ne_bytes(*place), location, next))
    }

    /// The octets that lie there.
    pub(super) fn octets(&self, at: Location) -> &[u8] {
        match self.all.get(at.segment as usize) {
            Some(segment) => range(&segment.octets, at),
            None => &[],
        }
    }
}

fn range(octets: &[u8], at: Location) -> &[u8] {
    let start = at.offset as usize;
    octets
        .get(start..start + at.len as usize)
        .unwrap_or_default()
}
