//! Whether queries to an upstream carry an OPT record.
//!
//! They do, until the upstream answers as those do that know nothing of EDNS and answers the same question without it (RFC 6891 section
//! 7). That is believed for a while and then tried again: the next software behind the address may know better, and without EDNS
//! there are no DNSSEC records, no extended errors and no padding.

use crate::limits::WITHOUT_EDNS;
use crate::time::Moment;
use crate::wire::{Rcode, ResponseView};

/// The use of OPT records with one upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OptUse {
    /// As configured.
    wanted: bool,
    /// Until when the upstream is believed to know nothing of EDNS.
    without_until: Option<Moment>,
}

impl OptUse {
    pub(crate) fn new(wanted: bool) -> Self {
        Self {
            wanted,
            without_until: None,
        }
    }

    /// Another configuration says so or otherwise.
    pub(crate) fn set_wanted(&mut self, wanted: bool) {
        self.wanted = wanted;
    }

    /// Whether the next query carries one.
    pub(crate) fn is_on(self, now: Moment) -> bool {
        self.wanted && self.without_until.is_none_or(|until| until <= now)
    }

    /// The upstream answered without what it had refused with. `true` when that is news.
    pub(crate) fn handle_answered_without(&mut self, now: Moment) -> bool {
        let news = self.is_on(now);
        self.without_until = Some(now + WITHOUT_EDNS);
        news
    }

    /// What was learned is worth nothing any more: it may be another upstream behind the address.
    pub(crate) fn forget(&mut self) {
        self.without_until = None;
    }
}

/// Whether a server that knows nothing of EDNS may have written this response to a query with an OPT record: one that does says so by an OPT
/// record of its own (RFC 6891 section 7), and knows version 0.
pub(crate) fn refuses_edns(response: &ResponseView<'_>) -> bool {
    match response.rcode() {
        Rcode::FORMERR | Rcode::NOTIMP => response.edns().is_none(),
        rcode => rcode == Rcode::BADVERS,
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn what_was_learned_is_tried_again_after_a_while() {
        let at = |secs| Moment::ZERO + Duration::from_secs(secs);
        let mut opt = OptUse::new(true);
        assert!(opt.is_on(at(0)));
        assert!(opt.handle_answered_without(at(0)));
        assert!(!opt.handle_answered_without(at(1)), "known already");
        assert!(!opt.is_on(at(900)) && opt.is_on(at(901)));
        opt.handle_answered_without(at(901));
        opt.forget();
        assert!(opt.is_on(at(902)));
        assert!(!OptUse::new(false).is_on(at(902)));
    }
}
