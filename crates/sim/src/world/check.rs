//! The laws about the engine as a whole, looked at after every step.

use std::collections::BTreeSet;

use dotward_core::limits::{IDLE_TIMEOUT, QUESTION_BUDGET, SENDS_MAX};
use dotward_core::time::Moment;

use super::{RECOVERY, World};

impl World<'_> {
    pub(super) fn check_queues(&mut self, now: Moment) -> Result<(), String> {
        let waiting = self.ledger.open.len();
        let counted = self.harness.engine.in_flight();
        if waiting != counted {
            return Err(format!(
                "{waiting} clients wait, the engine counts {counted}"
            ));
        }
        while self
            .recent
            .front()
            .is_some_and(|at| now.since(*at) > QUESTION_BUDGET * 2)
        {
            self.recent.pop_front();
        }
        self.ledger.forget_sends();
        let load = self.harness.engine.load();
        let recent = self.recent.len();
        // A dial that fails is no send; there are no more of them than addresses.
        if load.deadlines > recent
            || load.watches > recent * 2 * (SENDS_MAX + 9)
            || load.exchanges > waiting
        {
            return Err(format!(
                "queues grow: {load:?} for {recent} recent questions"
            ));
        }
        Ok(())
    }

    pub(super) fn check_recovery(&mut self, now: Moment) -> Result<(), String> {
        let Some(since) = self.calm_since.filter(|_| !self.recovered) else {
            return Ok(());
        };
        self.recovered = self.ledger.last_good.is_some_and(|at| at >= since);
        if !self.recovered && now.since(since) > RECOVERY {
            return Err(format!(
                "nobody was answered for {RECOVERY:?} after the faults had stopped"
            ));
        }
        Ok(())
    }

    /// Everybody was answered, and nothing is left.
    pub(super) fn check_end(&self) -> Result<(), String> {
        if let Some((token, asked)) = self.ledger.open.first_key_value() {
            return Err(format!(
                "client {token} never got a reply to {}",
                asked.question
            ));
        }
        let load = self.harness.engine.load();
        if load.exchanges + load.deadlines + load.watches > 0 {
            return Err(format!("left behind when all is over: {load:?}"));
        }
        let open: BTreeSet<usize> = self.flows.values().map(|flow| flow.site).collect();
        if open.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "connections to {open:?} are still there after {IDLE_TIMEOUT:?}"
            ))
        }
    }
}
