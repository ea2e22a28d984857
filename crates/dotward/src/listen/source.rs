//! The streams of each source, in the order in which they give way.
//!
//! Promises:
//! - Who is one source is what it is everywhere, for questions in flight too ([`Source`]: an IPv4 address, an IPv6 /56).
//! - Of those that have asked something, and of those that have not, the first is one that waits for nothing, of the source with the most of its
//!   kind, and of those the one idle longest.
//! - A query costs nothing here, but for the first one of a stream: a place in the order is looked at again when it has come to the front. So finding
//!   the first costs the logarithm of how many there are, and as much once more for each stream that asked since it was at the front.
//!
//! *Invariant:* no stream stands behind where it belongs. Idle time is only ever shorter than it is known here, and who waits no longer says so.
//!
//! Deliberately absent: how many there may be, and which kind gives way (`stream::room`).

use core::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use dotward_core::exchange::Source;
use dotward_core::time::Moment;
use slotmap::SecondaryMap;

use super::stream::ClientKey;

/// Whether a stream has asked something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It has only connected.
    Silent,
    /// It has.
    Asking,
}

/// What is known of a stream that may give way. The least goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Standing {
    /// Whether it waits for a reply.
    pub(super) waits: bool,
    /// When the last whole query came, or the stream began.
    pub(super) since: Moment,
}

/// The streams of one kind that a source has.
type Streams = BTreeSet<(Standing, ClientKey)>;

#[derive(Debug, Default)]
struct Held {
    silent: Streams,
    asking: Streams,
}

impl Held {
    fn of(&self, kind: Kind) -> &Streams {
        match kind {
            Kind::Silent => &self.silent,
            Kind::Asking => &self.asking,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut Streams {
        match kind {
            Kind::Silent => &mut self.silent,
            Kind::Asking => &mut self.asking,
        }
    }

    fn len(&self) -> usize {
        self.silent.len() + self.asking.len()
    }
}

/// Where a source stands among all for one kind of streams. The least goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    waits: bool,
    streams: Reverse<usize>,
    since: Moment,
    source: Source,
}

impl Rank {
    /// `None` for a source that has no such streams.
    fn of(source: Source, streams: &Streams) -> Option<Self> {
        let (first, _) = streams.first()?;
        Some(Self {
            waits: first.waits,
            streams: Reverse(streams.len()),
            since: first.since,
            source,
        })
    }
}

/// Where a stream is found.
#[derive(Clone, Copy, Debug)]
struct Place {
    source: Source,
    kind: Kind,
    standing: Standing,
}

/// The sources of all streams. Each has one stream at least, so there are no more of them than places.
#[derive(Debug, Default)]
pub(super) struct Sources {
    held: HashMap<Source, Held>,
    silent: BTreeSet<Rank>,
    asking: BTreeSet<Rank>,
    places: SecondaryMap<ClientKey, Place>,
    /// Streams that have not asked anything yet.
    all_silent: usize,
}

impl Sources {
    /// One stream more of a source; it has not asked anything yet.
    pub(super) fn enter(&mut self, key: ClientKey, source: Source, since: Moment) {
        let standing = Standing {
            waits: false,
            since,
        };
        let kind = Kind::Silent;
        self.put(
            key,
            Place {
                source,
                kind,
                standing,
            },
        );
    }

    /// That stream is gone.
    pub(super) fn leave(&mut self, key: ClientKey) {
        let Some(place) = self.places.remove(key) else {
            return;
        };
        self.all_silent -= usize::from(place.kind == Kind::Silent);
        self.change(place.source, place.kind, |streams| {
            streams.remove(&(place.standing, key));
        });
    }

    /// The stream has asked something for the first time.
    pub(super) fn note_asked(&mut self, key: ClientKey, since: Moment) {
        self.move_to(key, |place| Place {
            kind: Kind::Asking,
            standing: Standing {
                since,
                ..place.standing
            },
            ..place
        });
    }

    /// The stream waits for nothing any more.
    pub(super) fn note_answered(&mut self, key: ClientKey, since: Moment) {
        if self.places.get(key).is_some_and(|it| it.standing.waits) {
            let standing = Standing {
                waits: false,
                since,
            };
            self.move_to(key, |place| Place { standing, ..place });
        }
    }

    /// Streams of a source.
    pub(super) fn count(&self, source: Source) -> usize {
        self.held.get(&source).map_or(0, Held::len)
    }

    /// How many streams there are, of all sources or of one, and how many of them have not asked anything yet.
    pub(super) fn counts(&self, among: Option<Source>) -> (usize, usize) {
        let Some(source) = among else {
            return (self.places.len(), self.all_silent);
        };
        let held = self.held.get(&source);
        held.map_or((0, 0), |it| (it.len(), it.silent.len()))
    }

    /// The first stream of a kind to give way, of all sources or of one; `now` says how a stream stands at this moment.
    pub(super) fn first(
        &mut self,
        kind: Kind,
        among: Option<Source>,
        now: impl Fn(ClientKey) -> Option<Standing>,
    ) -> Option<ClientKey> {
        loop {
            let ranks = match kind {
                Kind::Silent => &self.silent,
                Kind::Asking => &self.asking,
            };
            let source = among.or_else(|| ranks.first().map(|it| it.source))?;
            let streams = self.held.get(&source)?.of(kind);
            let (known, key) = *streams.first()?;
            let standing = now(key)?;
            if standing == known {
                return Some(key);
            }
            self.move_to(key, |place| Place { standing, ..place });
        }
    }

    fn move_to(&mut self, key: ClientKey, to: impl FnOnce(Place) -> Place) {
        if let Some(place) = self.places.get(key).copied() {
            self.leave(key);
            self.put(key, to(place));
        }
    }

    fn put(&mut self, key: ClientKey, place: Place) {
        self.places.insert(key, place);
        self.all_silent += usize::from(place.kind == Kind::Silent);
        self.change(place.source, place.kind, |streams| {
            streams.insert((place.standing, key));
        });
    }

    /// Changes the streams that a source has of a kind, and where it stands.
    fn change(&mut self, source: Source, kind: Kind, change: impl FnOnce(&mut Streams)) {
        let ranks = match kind {
            Kind::Silent => &mut self.silent,
            Kind::Asking => &mut self.asking,
        };
        let held = self.held.entry(source).or_default();
        let streams = held.of_mut(kind);
        if let Some(rank) = Rank::of(source, streams) {
            ranks.remove(&rank);
        }
        change(streams);
        ranks.extend(Rank::of(source, streams));
        if held.len() == 0 {
            self.held.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use slotmap::SlotMap;

    use super::*;

    /// What is said of one stream, without any order.
    #[derive(Clone, Copy, Debug)]
    struct Stream {
        source: Source,
        kind: Kind,
        standing: Standing,
    }

    /// Streams that live by chance, beside their order.
    #[derive(Default)]
    struct World {
        streams: SlotMap<ClientKey, Stream>,
        sources: Sources,
        clock: u64,
        state: u64,
        looks: Cell<usize>,
    }

    impl World {
        fn chance(&mut self, of: usize) -> usize {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005) + 1_442_695;
            usize::try_from(self.state >> 33).unwrap() % of
        }

        /// No two things happen at the same time.
        fn now(&mut self) -> Moment {
            self.clock += 1;
            Moment::ZERO + Duration::from_nanos(self.clock)
        }

        fn enter(&mut self, source: usize) -> ClientKey {
            let address = [192, 0, 2, u8::try_from(source).unwrap()];
            let source = Source::of(address.into());
            let standing = Standing {
                waits: false,
                since: self.now(),
            };
            let kind = Kind::Silent;
            let key = self.streams.insert(Stream {
                source,
                kind,
                standing,
            });
            self.sources.enter(key, source, standing.since);
            key
        }

        fn ask(&mut self, key: ClientKey, waits: bool) {
            let since = self.now();
            let stream = &mut self.streams[key];
            if stream.kind == Kind::Silent {
                self.sources.note_asked(key, since);
            }
            stream.kind = Kind::Asking;
            stream.standing.since = since;
            stream.standing.waits |= waits;
        }

        fn answer(&mut self, key: ClientKey) {
            let standing = &mut self.streams[key].standing;
            standing.waits = false;
            self.sources.note_answered(key, standing.since);
        }

        fn leave(&mut self, key: ClientKey) {
            self.streams.remove(key);
            self.sources.leave(key);
        }

        fn some(&mut self) -> Option<ClientKey> {
            let place = self.chance(self.streams.len().max(1));
            self.streams.keys().nth(place)
        }

        fn first(&mut self, kind: Kind, among: Option<Source>) -> Option<ClientKey> {
            let now = |key| {
                self.looks.update(|it| it + 1);
                self.streams.get(key).map(|it| it.standing)
            };
            self.sources.first(kind, among, now)
        }

        /// The same by looking at all of them.
        fn first_of_all(&self, kind: Kind, among: Option<Source>) -> Option<ClientKey> {
            let alike = |stream: &Stream| {
                let all = self.streams.values();
                let alike = all.filter(|it| (it.kind, it.source) == (stream.kind, stream.source));
                alike.count()
            };
            let is_meant =
                |it: &Stream| it.kind == kind && among.is_none_or(|source| source == it.source);
            let meant = self.streams.iter().filter(|(_, it)| is_meant(it));
            let first = meant.min_by_key(|(_, it)| {
                let Standing { waits, since } = it.standing;
                (waits, Reverse(alike(it)), since)
            });
            first.map(|(key, _)| key)
        }
    }

    #[test]
    fn whatever_happens_the_first_is_who_is_found_by_looking_at_all() {
        let mut world = World::default();
        for step in 0..6_000 {
            match (world.chance(10), world.some()) {
                (0..=1, _) | (_, None) => {
                    let source = world.chance(7);
                    world.enter(source);
                }
                (2..=3, Some(key)) => world.ask(key, false),
                (4..=5, Some(key)) => world.ask(key, true),
                (6, Some(key)) => world.answer(key),
                (7..=8, Some(key)) if world.streams.len() > 30 => world.leave(key),
                (_, Some(key)) => {
                    let source = world.streams[key].source;
                    for kind in [Kind::Silent, Kind::Asking] {
                        for among in [None, Some(source)] {
                            let expected = world.first_of_all(kind, among);
                            assert_eq!(world.first(kind, among), expected, "at {step}");
                        }
                    }
                }
            }
            let silent = world.streams.values();
            let silent = silent.filter(|it| it.kind == Kind::Silent).count();
            let counts = (world.streams.len(), silent);
            assert_eq!(world.sources.counts(None), counts);
        }
        let keys: Vec<_> = world.streams.keys().collect();
        for key in keys {
            world.leave(key);
        }
        let left = &world.sources;
        assert!(left.held.is_empty() && left.silent.is_empty() && left.asking.is_empty());
        assert_eq!(left.counts(None), (0, 0));
    }

    #[test]
    fn finding_who_gives_way_looks_at_few_however_many_there_are() {
        const STREAMS: usize = 10_000;
        let mut world = World::default();
        let keys: Vec<_> = (0..STREAMS).map(|it| world.enter(it % 200)).collect();
        let ask_all = |world: &mut World| keys.iter().for_each(|key| world.ask(*key, false));
        ask_all(&mut world);
        let one = Some(world.streams[keys[7]].source);
        for _ in 0..1_000 {
            assert!(world.first(Kind::Asking, None).is_some());
            assert!(world.first(Kind::Asking, one).is_some());
        }
        assert_eq!(world.looks.take(), 2_000, "one each");
        // Who has asked since is looked at once more.
        ask_all(&mut world);
        for _ in 0..1_000 {
            assert!(world.first(Kind::Asking, None).is_some());
        }
        assert!(world.looks.take() <= 1_000 + STREAMS);
    }

    #[test]
    fn a_home_is_one_source_whatever_its_networks() {
        let mut sources = Sources::default();
        let of = |text: &str| Source::of(text.parse().unwrap());
        let mut keys = SlotMap::<ClientKey, ()>::with_key();
        for address in ["2001:db8::1", "2001:db8:0:ff::1", "2001:db8:0:100::1"] {
            sources.enter(keys.insert(()), of(address), Moment::ZERO);
        }
        assert_eq!(sources.count(of("2001:db8:0:7::7")), 2);
        assert_eq!(sources.counts(Some(of("2001:db8:0:1ff::"))), (1, 1));
    }
}
