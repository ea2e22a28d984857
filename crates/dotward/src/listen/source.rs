//! How many places the streams of each source have.
//!
//! Promises: who is one source is what it is everywhere, for questions in flight too ([`Source`]: an IPv4 address, an IPv6 /56).

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use dotward_core::exchange::Source;

/// Places of one source.
#[derive(Debug, Default)]
struct Held {
    /// Of streams that have not asked anything yet.
    silent: Cell<usize>,
    /// Of those that have.
    asking: Cell<usize>,
}

/// One stream's part of what its source has.
#[derive(Debug)]
pub(super) struct Share {
    source: Source,
    held: Rc<Held>,
    has_asked: bool,
}

impl Share {
    /// Its stream has asked something.
    pub(super) fn note_asked(&mut self) {
        if !self.has_asked {
            self.has_asked = true;
            self.held.silent.update(|it| it - 1);
            self.held.asking.update(|it| it + 1);
        }
    }

    /// Whether its stream has asked something.
    pub(super) fn has_asked(&self) -> bool {
        self.has_asked
    }

    /// Streams of its source that have asked as well, or have not either.
    pub(super) fn alike(&self) -> usize {
        match self.has_asked {
            true => self.held.asking.get(),
            false => self.held.silent.get(),
        }
    }

    pub(super) fn source(&self) -> Source {
        self.source
    }
}

/// The sources of all streams. Each has one stream at least, so there are no more of them than places.
#[derive(Debug, Default)]
pub(super) struct Sources {
    held: HashMap<Source, Rc<Held>>,
}

impl Sources {
    /// One stream more of a source; it has not asked anything yet.
    pub(super) fn enter(&mut self, source: Source) -> Share {
        let held = Rc::clone(self.held.entry(source).or_default());
        held.silent.update(|it| it + 1);
        Share {
            source,
            held,
            has_asked: false,
        }
    }

    /// That stream is gone.
    pub(super) fn leave(&mut self, share: &Share) {
        let held = &share.held;
        let of_its_kind = match share.has_asked {
            true => &held.asking,
            false => &held.silent,
        };
        of_its_kind.update(|it| it - 1);
        if held.silent.get() + held.asking.get() == 0 {
            self.held.remove(&share.source);
        }
    }

    /// Streams of a source.
    pub(super) fn count(&self, source: Source) -> usize {
        let held = self.held.get(&source);
        held.map_or(0, |held| held.silent.get() + held.asking.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_counted_by_source_and_by_whether_they_have_asked() {
        let mut sources = Sources::default();
        let source = Source::of("192.0.2.1".parse().unwrap());
        let (mut first, second) = (sources.enter(source), sources.enter(source));
        assert_eq!((first.alike(), sources.count(source)), (2, 2));
        first.note_asked();
        first.note_asked();
        assert_eq!((first.alike(), second.alike()), (1, 1));
        sources.leave(&first);
        assert_eq!((second.alike(), sources.count(source)), (1, 1));
        sources.leave(&second);
        assert!(sources.held.is_empty());
    }

    #[test]
    fn a_home_is_one_source_whatever_its_networks() {
        let mut sources = Sources::default();
        let of = |text: &str| Source::of(text.parse().unwrap());
        let addresses = ["2001:db8::1", "2001:db8:0:ff::1", "2001:db8:0:100::1"];
        let shares = addresses.map(|it| sources.enter(of(it)));
        assert_eq!(shares.map(|it| it.alike()), [2, 2, 1]);
        assert_eq!(sources.count(of("2001:db8:0:7::7")), 2);
    }
}
