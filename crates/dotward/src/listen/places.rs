//! How many client streams there may be, of all workers together.
//!
//! Promises: the bound holds up to one stream for each worker that admits one at the same moment.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Places for client streams, shared by all workers.
#[derive(Debug)]
pub(crate) struct Places {
    most: AtomicUsize,
    per_source: AtomicUsize,
    taken: AtomicUsize,
}

impl Places {
    /// So many places, none taken, of which each worker gives one source so many at most.
    pub(crate) fn new(most: usize, per_source: usize) -> Self {
        Self {
            most: AtomicUsize::new(most),
            per_source: AtomicUsize::new(per_source),
            taken: AtomicUsize::new(0),
        }
    }

    /// There are so many from now on. Who has a place keeps it until somebody else needs it.
    pub(crate) fn set(&self, most: usize, per_source: usize) {
        self.most.store(most, Ordering::Relaxed);
        self.per_source.store(per_source, Ordering::Relaxed);
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// Whether somebody has to go before the next one comes.
    pub(crate) fn are_full(&self) -> bool {
        self.taken.load(Ordering::Relaxed) >= self.most()
    }

    /// Whether clients should be asked to close what they do not use: of sixteen places fewer than one is free.
    pub(crate) fn are_scarce(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > self.most() - self.most().div_ceil(16)
    }

    /// How many streams of one source a worker may have.
    pub(crate) fn per_source(&self) -> usize {
        self.per_source.load(Ordering::Relaxed)
    }

    /// Streams open at the moment.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Takes a place.
    pub(crate) fn take(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives places back.
    pub(crate) fn give_back(&self, places: usize) {
        self.taken.fetch_sub(places, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_become_scarce_before_they_are_full() {
        for (most, scarce_from) in [(1, 1), (16, 16), (32, 31), (2048, 1921)] {
            let places = Places::new(most, 1);
            for taken in 1..=most {
                places.take();
                assert_eq!(
                    places.are_scarce(),
                    taken >= scarce_from,
                    "{taken} of {most}"
                );
            }
            assert!(places.are_full());
        }
    }
}
