//! Questions of our own that find out whether an upstream works: when one is asked, on which connection, and what its silence says.
//!
//! Deliberately absent: the answer, which says the same as any other (see [`receive`](super::receive)), and trials by questions of clients
//! (see [`choice`](super::choice)).

use core::time::Duration;

use super::{Engine, Owner};
use crate::limits::PROBE_TIMEOUT;
use crate::time::Moment;
use crate::upstream::{Connection, ConnectionId, GroupId, Probe, Protocol, Upstream, UpstreamId};
use crate::wire::{
    Class, Name, QueryOptions, Question, RecordType, write_query, write_query_without_edns,
};

impl<C> Engine<C> {
    /// When each upstream that is not up is to be probed, or the probe under way given up.
    pub(super) fn poll_probes(&self) -> impl Iterator<Item = Moment> {
        (0..self.upstreams.len()).filter_map(|place| self.poll_probe(UpstreamId(place)))
    }

    fn poll_probe(&self, upstream: UpstreamId) -> Option<Moment> {
        let state = self.upstreams.get(upstream.0)?;
        state.poll_probe(self.is_missed(upstream))
    }

    /// Whether nobody of a group of an upstream's is up, and those who ask are given what is past its time.
    pub(super) fn is_missed(&self, upstream: UpstreamId) -> bool {
        let well = |id: &UpstreamId| self.upstreams.get(id.0).is_some_and(Upstream::is_well);
        let wanted = |state: &Upstream| state.stale_wanted && !state.is_well();
        self.upstreams.get(upstream.0).is_some_and(wanted)
            && self.groups.iter().any(|group| {
                let members = &group.members;
                let current = group.retired.is_none() && members.contains(&upstream);
                current && !members.iter().any(well)
            })
    }

    /// Probes upstreams that do not work and that no question tries, and gives up probes nobody answers.
    pub(super) fn fire_probes(&mut self, now: Moment) {
        for place in 0..self.upstreams.len() {
            let upstream = UpstreamId(place);
            if self.poll_probe(upstream).is_none_or(|due| due > now) {
                continue;
            }
            match self.upstreams[place].probe.take() {
                Some(probe) => self.give_up_probe(upstream, probe, PROBE_TIMEOUT, now),
                None => self.probe(upstream, now),
            }
        }
    }

    /// Probes the upstreams of the general group that have not responded for `quiet`, and puts those in doubt that leave a probe
    /// unanswered for `patience`: for somebody who has to know whether they work though nobody asks anything.
    pub fn probe_quiet(&mut self, quiet: Duration, patience: Duration, now: Moment) {
        let Some(general) = self.groups.get(GroupId::DEFAULT.0) else {
            return;
        };
        for upstream in general.members.clone() {
            let Some(state) = self.upstreams.get_mut(upstream.0) else {
                continue;
            };
            let overdue = |probe: &mut Probe| now.since(probe.sent) >= patience;
            if let Some(probe) = state.probe.take_if(overdue) {
                self.give_up_probe(upstream, probe, patience, now);
            }
            let is_due = self.upstreams.get(upstream.0).is_some_and(|state| {
                let heard = state.heard.is_some_and(|at| now.since(at) < quiet);
                !heard && state.probe.is_none() && !state.endpoints.is_empty()
            });
            // Not a trial: it says nothing about when a question may try an upstream that failed.
            if is_due {
                self.ask_probe(upstream, now);
            }
        }
    }

    /// Asks the upstream a question of our own: the name servers of the root, which every resolver knows.
    pub(super) fn probe(&mut self, upstream: UpstreamId, now: Moment) {
        let jitter = self.jitter();
        let Some(state) = self.upstreams.get_mut(upstream.0) else {
            return;
        };
        state.note_stale_given(self.cache.stale_given());
        state.health.begin_trial(now, jitter);
        self.ask_probe(upstream, now);
    }

    fn ask_probe(&mut self, upstream: UpstreamId, now: Moment) {
        let Some(connection) = self.connection_for_probe(upstream, now) else {
            return;
        };
        let question = Question::new(&Name::root(), RecordType::NS, Class::IN);
        let (edns, padding) = self.opt_for(upstream, now);
        if edns {
            let options = QueryOptions {
                checking_disabled: false,
                dnssec_ok: false,
                keepalive: false,
                padding,
            };
            write_query(question.view(), options, &mut self.scratch);
        } else {
            write_query_without_edns(question.view(), false, &mut self.scratch);
        }
        let Some(state) = self.connections.get_mut(connection) else {
            return;
        };
        let (scratch, rng) = (&mut self.scratch, &mut self.rng);
        if let Some(id) = state.submit(Owner::Probe(upstream), question.view(), scratch, now, rng) {
            self.upstreams[upstream.0].probe = Some(Probe {
                connection,
                id,
                sent: now,
            });
            self.list_for_transmit(connection);
        }
    }

    fn connection_for_probe(&mut self, upstream: UpstreamId, now: Moment) -> Option<ConnectionId> {
        let state = self.upstreams.get(upstream.0)?;
        if state.protocol == Protocol::Udp {
            return self.open_datagram(upstream, now);
        }
        let usable = |id: &&ConnectionId| {
            self.connections
                .get(**id)
                .is_some_and(Connection::is_usable)
        };
        state
            .connections
            .iter()
            .find(usable)
            .copied()
            .or_else(|| self.open(upstream, now))
    }

    fn give_up_probe(
        &mut self,
        upstream: UpstreamId,
        probe: Probe,
        patience: Duration,
        now: Moment,
    ) {
        if let Some(connection) = self.connections.get_mut(probe.connection) {
            connection.abandon(probe.id);
            if connection
                .handle_impatience(probe.sent, patience, now)
                .is_none()
            {
                self.note_mute(probe.connection, probe.sent, now);
                self.handle_upstream_silence(upstream, now);
            }
        }
    }
}
