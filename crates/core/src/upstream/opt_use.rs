//! Whether queries to an upstream carry an OPT record.
//!
//! They do, until the upstream answers as those do that know nothing of EDNS and answers the same question without it (RFC 6891 section
//! 7), for two names and without an OPT record in between: what happens to one name may be about that name. It is believed for a while and
//! then tried again: the next software behind the address may know better, and without EDNS there are no DNSSEC records, no extended
//! errors and no padding.

use crate::limits::WITHOUT_EDNS;
use crate::time::Moment;
use crate::wire::{Rcode, ResponseView};

/// The use of OPT records with one upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OptUse {
    /// As configured.
    wanted: bool,
    /// The name that was answered without one last, when it was refused with one and nothing shows that the upstream knows EDNS.
    refused: Option<Box<[u8]>>,
    /// Until when the upstream is believed to know nothing of EDNS.
    without_until: Option<Moment>,
}

impl OptUse {
    pub(crate) fn new(wanted: bool) -> Self {
        Self {
            wanted,
            refused: None,
            without_until: None,
        }
    }

    /// Another configuration says so or otherwise.
    pub(crate) fn set_wanted(&mut self, wanted: bool) {
        self.wanted = wanted;
    }

    /// Whether queries carry one as far as the configuration is concerned.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Whether the next query carries one.
    pub(crate) fn is_on(&self, now: Moment) -> bool {
        self.wanted && self.without_until.is_none_or(|until| until <= now)
    }

    /// The upstream wrote one itself.
    pub(crate) fn handle_seen(&mut self) {
        self.refused = None;
    }

    /// The upstream answered a question for `name` without what it had refused with it. `true` when queries carry none from now on.
    pub(crate) fn handle_answered_without(&mut self, name: &[u8], now: Moment) -> bool {
        let before = self.refused.replace(name.into());
        let convinced = before.is_some_and(|before| *before != *name);
        let news = convinced && self.is_on(now);
        if convinced {
            self.without_until = Some(now + WITHOUT_EDNS);
        }
        news
    }

    /// What was learned is worth nothing any more: it may be another upstream behind the address.
    pub(crate) fn forget(&mut self) {
        self.refused = None;
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

    fn at(secs: u64) -> Moment {
        Moment::ZERO + Duration::from_secs(secs)
    }

    #[test]
    fn what_was_learned_is_tried_again_after_a_while() {
        let mut opt = OptUse::new(true);
        assert!(opt.is_on(at(0)));
        assert!(!opt.handle_answered_without(b"a", at(0)));
        assert!(opt.handle_answered_without(b"b", at(0)));
        assert!(!opt.handle_answered_without(b"c", at(1)), "known already");
        assert!(!opt.is_on(at(900)) && opt.is_on(at(901)));
        assert!(
            opt.handle_answered_without(b"d", at(901)),
            "and believed sooner"
        );
        opt.forget();
        assert!(opt.is_on(at(902)));
        assert!(!OptUse::new(false).is_on(at(902)));
    }

    #[test]
    fn one_name_proves_nothing_nor_do_two_between_which_there_was_an_opt_record() {
        let mut opt = OptUse::new(true);
        for _ in 0..3 {
            assert!(!opt.handle_answered_without(b"a", at(0)) && opt.is_on(at(0)));
        }
        opt.handle_seen();
        assert!(!opt.handle_answered_without(b"b", at(0)) && opt.is_on(at(0)));
        assert!(opt.handle_answered_without(b"a", at(0)) && !opt.is_on(at(0)));
    }
}
