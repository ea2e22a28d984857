//! The ways to all upstreams at one moment, and what differs between two moments.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use dotward_core::upstream::UpstreamId;

use super::netlink::{News, Way};
use crate::limits::INTERFACES;

/// The way to one address of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// `None` when there is none.
    pub(super) way: Option<Way>,
    /// How its interface is.
    pub(super) link: Link,
}

/// The ways to all upstreams.
pub(super) type Picture = BTreeMap<(UpstreamId, IpAddr), Seen>;

/// A way that is another than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) upstream: UpstreamId,
    pub(super) address: IpAddr,
    pub(super) before: Seen,
    pub(super) after: Seen,
}

/// The first way of `after` that `before` shows otherwise. An address that is in one of them only tells nothing.
pub(super) fn difference(before: &Picture, after: &Picture) -> Option<Difference> {
    after.iter().find_map(|((upstream, address), seen)| {
        let was = before.get(&(*upstream, *address))?;
        (was != seen).then_some(Difference {
            upstream: *upstream,
            address: *address,
            before: *was,
            after: *seen,
        })
    })
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(way) = self.way else {
            return f.write_str("no way");
        };
        write!(f, "interface {}", way.interface)?;
        if !self.link.running {
            f.write_str(" without a link")?;
        }
        if let Some(gateway) = way.gateway {
            write!(f, " by {gateway}")?;
        }
        if let Some(source) = way.source {
            write!(f, " from {source}")?;
        }
        Ok(())
    }
}

/// Which interfaces carry traffic, as far as news told.
#[derive(Debug, Default)]
pub(super) struct Links {
    known: BTreeMap<u32, Link>,
}

/// How an interface is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    /// Whether it carries traffic.
    running: bool,
    /// How often it ceased to, so that a loss between two looks shows.
    losses: u32,
}

impl Default for Link {
    /// An interface that is heard of for the first time because it lost its link had one.
    fn default() -> Self {
        Self {
            running: true,
            losses: 0,
        }
    }
}

impl Links {
    /// Takes news in. True when they may have changed a way.
    pub(super) fn handle(&mut self, news: News) -> bool {
        match news {
            News::Other => true,
            News::LinkGone { interface } => self.set(interface, false),
            News::Link { interface, running } => self.set(interface, running),
        }
    }

    /// How `interface` is, as far as is known.
    pub(super) fn of(&self, interface: u32) -> Link {
        self.known.get(&interface).copied().unwrap_or_default()
    }

    /// True when it is a change: the kernel tells of much more than that, and first of all of what is.
    fn set(&mut self, interface: u32, running: bool) -> bool {
        if self.known.len() >= INTERFACES && !self.known.contains_key(&interface) {
            return true;
        }
        let link = self.known.entry(interface).or_default();
        let changed = link.running != running;
        link.losses += u32::from(changed && !running);
        link.running = running;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(source: [u8; 4]) -> Seen {
        Seen {
            way: Some(Way {
                interface: 2,
                gateway: Some([192, 0, 2, 1].into()),
                source: Some(source.into()),
            }),
            link: Link::default(),
        }
    }

    fn picture(ways: &[(u8, Seen)]) -> Picture {
        let entry = |(last, seen): &(u8, Seen)| {
            let address = IpAddr::from([198, 51, 100, *last]);
            ((UpstreamId(usize::from(*last)), address), *seen)
        };
        ways.iter().map(entry).collect()
    }

    #[test]
    fn another_source_router_or_interface_is_a_difference() {
        let before = picture(&[(1, seen([192, 0, 2, 7])), (2, seen([192, 0, 2, 7]))]);
        assert_eq!(difference(&before, &before), None);
        let after = picture(&[(1, seen([192, 0, 2, 7])), (2, seen([192, 0, 2, 8]))]);
        let found = difference(&before, &after).unwrap();
        assert_eq!(found.upstream, UpstreamId(2));
        let none = Seen {
            way: None,
            link: Link::default(),
        };
        let gone = picture(&[(1, none), (2, seen([192, 0, 2, 7]))]);
        assert!(difference(&before, &gone).is_some());
        assert!(difference(&gone, &before).is_some());
    }

    #[test]
    fn an_address_that_came_or_went_is_no_difference() {
        let before = picture(&[(1, seen([192, 0, 2, 7]))]);
        let after = picture(&[(2, seen([192, 0, 2, 8]))]);
        assert_eq!(difference(&before, &after), None);
    }

    #[test]
    fn a_link_that_was_lost_in_between_is_a_difference() {
        let mut links = Links::default();
        let link = |running| News::Link {
            interface: 2,
            running,
        };
        assert!(!links.handle(link(true)), "that was known");
        assert!(links.handle(link(false)));
        assert!(!links.handle(link(false)));
        assert!(links.handle(link(true)));
        let mut after = seen([192, 0, 2, 7]);
        after.link = links.of(2);
        assert_eq!((after.link.running, after.link.losses), (true, 1));
        let (before, after) = (
            picture(&[(1, seen([192, 0, 2, 7]))]),
            picture(&[(1, after)]),
        );
        assert!(difference(&before, &after).is_some());
    }

    #[test]
    fn interfaces_remembered_are_bounded() {
        let mut links = Links::default();
        for interface in 0..2 * u32::try_from(INTERFACES).unwrap() {
            links.handle(News::LinkGone { interface });
        }
        assert_eq!(links.known.len(), INTERFACES);
    }
}
