//! Who asked what and when, and the naive model of what each is owed: one reply, in time, to his own question; NOERROR when a
//! healthy upstream was there all the while.

use std::collections::BTreeMap;

use dotward_core::limits::{QUESTION_BUDGET, SENDS_MAX, SENDS_PER_UPSTREAM_MAX};
use dotward_core::time::Moment;
use dotward_core::wire::{Question, Rcode, ResponseView};

use super::upstream::data;
use crate::harness::Token;
use crate::octets;

/// One question that is owed a reply.
#[derive(Clone, Debug)]
pub(super) struct Owed {
    pub(super) id: u16,
    pub(super) question: Question,
    pub(super) at: Moment,
    /// Whether anything but NOERROR is a fault.
    pub(super) must: bool,
    /// Whether the clock leapt while it was in flight: then it cannot be on time.
    pub(super) leapt: bool,
}

/// All questions.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) open: BTreeMap<Token, Owed>,
    next: Token,
    pub(super) good: u64,
    pub(super) failed: u64,
    /// Times each question that is asked once was written, by upstream.
    sends: BTreeMap<Vec<u8>, Vec<u8>>,
    /// When a reply was NOERROR last, and to a question of when.
    pub(super) last_good: Option<Moment>,
}

impl Ledger {
    pub(super) fn enter(&mut self, asked: Owed) -> Token {
        self.next += 1;
        self.open.insert(self.next, asked);
        self.next
    }

    pub(super) fn asked(&self) -> u64 {
        self.next
    }

    /// A leap of the clock: nobody in flight can be told in time.
    pub(super) fn leap(&mut self) {
        for asked in self.open.values_mut() {
            asked.leapt = true;
            asked.must = false;
        }
    }

    /// A query was written to an upstream. Bounded for questions that were asked once; others may begin again.
    pub(super) fn note_send(
        &mut self,
        question: &Question,
        upstream: usize,
        unique: bool,
    ) -> Result<(), String> {
        if !unique {
            return Ok(());
        }
        let sends = self.sends.entry(question.octets().to_vec()).or_default();
        sends.resize(sends.len().max(upstream + 1), 0);
        sends[upstream] += 1;
        let all: usize = sends.iter().map(|sends| usize::from(*sends)).sum();
        if sends[upstream] > SENDS_PER_UPSTREAM_MAX || all > SENDS_MAX {
            return Err(format!(
                "{question} was sent {sends:?} times to the upstreams"
            ));
        }
        Ok(())
    }

    pub(super) fn forget_sends(&mut self) {
        if self.sends.len() > 100_000 {
            self.sends.clear();
        }
    }

    /// Judges a reply.
    pub(super) fn settle(&mut self, token: Token, reply: &[u8], now: Moment) -> Result<(), String> {
        let asked = self
            .open
            .remove(&token)
            .ok_or_else(|| format!("a second reply to {token}"))?;
        let told = |what: &str| {
            format!(
                "client {token}, who asked {} {:?} ago: {what}{}",
                asked.question,
                now.since(asked.at),
                octets::dump(reply)
            )
        };
        let view = ResponseView::parse(reply).map_err(|error| told(&error.to_string()))?;
        if view.header().id != asked.id {
            return Err(told("another ID"));
        }
        if view.question().map(|question| question.octets()) != Some(asked.question.octets()) {
            return Err(told("another question or spelling"));
        }
        if !asked.leapt && now.since(asked.at) > QUESTION_BUDGET {
            return Err(told("too late"));
        }
        if view.rcode() != Rcode::NOERROR {
            self.failed += 1;
            return if asked.must {
                Err(told("failed, though a healthy upstream was there"))
            } else {
                Ok(())
            };
        }
        let found = view.records().next().and_then(Result::ok);
        if found.is_none_or(|record| record.rdata != data(&asked.question)) {
            return Err(told("the answer to another question"));
        }
        self.good += 1;
        self.last_good = Some(asked.at);
        Ok(())
    }
}
