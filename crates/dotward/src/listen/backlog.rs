//! How long replies have waited for room in a UDP socket.
//!
//! Promises: replies that leave at once are never looked at; there are no more entries than replies that wait.
//!
//! Deliberately absent: the replies themselves (`dotward_udp::SendBatch`, which keeps them in the same order).

use std::collections::VecDeque;

use dotward_core::time::Moment;

use crate::limits::ROOM_WAIT_MAX;

/// Since when the replies wait that a socket had no room for, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// So many since then.
    groups: VecDeque<(usize, Moment)>,
    waiting: usize,
}

impl Backlog {
    /// Whether none wait.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The oldest `gone` do not wait any more, and `left` do; those that are not known yet begin to.
    pub(super) fn note(&mut self, mut gone: usize, left: usize, now: Moment) {
        while let Some((count, _)) = self.groups.front_mut() {
            let taken = gone.min(*count);
            (*count, gone) = (*count - taken, gone - taken);
            self.waiting -= taken;
            if *count > 0 {
                break;
            }
            self.groups.pop_front();
        }
        if let Some(fresh) = left.checked_sub(self.waiting).filter(|fresh| *fresh > 0) {
            self.groups.push_back((fresh, now));
            self.waiting = left;
        }
    }

    /// How many have waited for too long.
    pub(super) fn too_old(&self, now: Moment) -> usize {
        let old = |(_, since): &&(usize, Moment)| now.since(*since) > ROOM_WAIT_MAX;
        let old = self.groups.iter().take_while(old);
        old.map(|(count, _)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_reply_waits_for_itself() {
        let at = |millis| Moment::ZERO + Duration::from_millis(millis);
        let mut backlog = Backlog::default();
        backlog.note(60, 4, at(0));
        assert_eq!((backlog.too_old(at(500)), backlog.too_old(at(501))), (0, 4));
        backlog.note(1, 10, at(300));
        assert_eq!(
            (backlog.too_old(at(501)), backlog.too_old(at(801))),
            (3, 10)
        );
        backlog.note(5, 5, at(400));
        assert_eq!((backlog.too_old(at(501)), backlog.too_old(at(801))), (0, 5));
        backlog.note(5, 0, at(400));
        assert!(backlog.is_empty());
        backlog.note(64, 64, at(900));
        assert_eq!(backlog.too_old(at(1_401)), 64);
    }
}
