//! Which upstream gets a question: those of its group not asked yet about it, then the better standing, then the lower tier; among equals
//! the group's strategy chooses.

use smallvec::SmallVec;

use super::Engine;
use super::attempt::Among;
use crate::exchange::{Exchange, ExchangeId, Tried};
use crate::limits::{SENDS_MAX, SENDS_PER_UPSTREAM_MAX};
use crate::time::Moment;
use crate::upstream::{
    Candidate, Connection, ConnectionId, HealthState, Protocol, Standing, Upstream, UpstreamId,
};

impl<C> Engine<C> {
    /// The upstream that gets the question next, and how it is doing.
    pub(super) fn choose(
        &mut self,
        id: ExchangeId,
        among: Among,
        full: &[UpstreamId],
        now: Moment,
    ) -> Option<(UpstreamId, Standing)> {
        let exchange = self.exchanges.get(id)?;
        let group = self.groups.get_mut(exchange.group.0)?;
        if exchange.sends() >= SENDS_MAX {
            return None;
        }
        let (upstreams, connections) = (&self.upstreams, &self.connections);
        let alone = !group.members.iter().any(|id| upstreams[id.0].is_well());
        let mut best: SmallVec<[(Candidate, Standing); 8]> = SmallVec::new();
        let mut best_class = Class {
            sends: u8::MAX,
            poor: true,
            tier: u8::MAX,
        };
        for &member in &group.members {
            let upstream = &upstreams[member.0];
            let tried = exchange.tried(member);
            let mut standing = upstream.health.standing(now, alone);
            if standing == Standing::Trial && tried.sends > 0 && !alone {
                // A trial costs its question a delay; one that already waits does not make it while others can help.
                standing = Standing::Poor;
            }
            let usable = |id: &ConnectionId| {
                let connection = connections.get(*id);
                connection.is_some_and(|it| it.is_ready() && it.is_usable())
            };
            let has_stream = || upstream.connections.iter().any(usable);
            let ready =
                || goes_in_a_datagram(exchange, member, upstream, has_stream) || has_stream();
            let worn = is_worn(tried, upstream, ready)
                || match among {
                    Among::Any => false,
                    Among::Untried => tried.sends > 0,
                    Among::Undeclined => tried.declined,
                }
                || full.contains(&member);
            // Who is at work on the question already is not asked twice.
            let at_work = exchange.attempts.iter().any(|attempt| {
                attempt.upstream == member
                    && connections
                        .get(attempt.connection)
                        .is_some_and(Connection::is_at_work)
            });
            // A question whose dial failed goes through the other addresses, whatever is known by then.
            let can_carry = tried.failed_dials > 0 || can_carry(upstream, standing);
            if worn || at_work || !can_carry {
                continue;
            }
            let poor = standing == Standing::Poor;
            let class = Class {
                sends: tried.sends,
                poor,
                tier: upstream.tier,
            };
            if class < best_class {
                best.clear();
                best_class = class;
            }
            if class == best_class {
                let load = |id: &ConnectionId| connections.get(*id).map_or(0, Connection::load);
                let load = upstream.connections.iter().map(load).sum();
                best.push((upstream.candidate(member, load, now), standing));
            }
        }
        let candidates: SmallVec<[Candidate; 8]> =
            best.iter().map(|(candidate, _)| *candidate).collect();
        let picked = group
            .selector
            .pick(&candidates, exchange.qname(), &mut self.rng)?;
        best.iter()
            .find(|(candidate, _)| candidate.id == picked)
            .map(|(_, standing)| (picked, *standing))
    }
}

/// What is compared before the strategy of the group is asked; less is better. A trial counts as good: nothing but a real question
/// finds out whether a preferred upstream is back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Class {
    sends: u8,
    poor: bool,
    tier: u8,
}

/// Whether the question goes to `upstream` in a datagram, for which it waits for no dial; `has_stream` says whether a stream is ready.
pub(super) fn goes_in_a_datagram<C>(
    exchange: &Exchange<C>,
    id: UpstreamId,
    upstream: &Upstream,
    has_stream: impl FnOnce() -> bool,
) -> bool {
    upstream.protocol == Protocol::Udp && !exchange.keeps_to_streams(id, has_stream)
}

/// Whether the question was tried with this upstream as often as it may be. Dials that failed say nothing once a connection is `ready`.
fn is_worn(tried: Tried, upstream: &Upstream, ready: impl FnOnce() -> bool) -> bool {
    tried.sends >= SENDS_PER_UPSTREAM_MAX || (is_undialable(tried, upstream) && !ready())
}

/// Whether as many dials failed under the question as the upstream has addresses: it waits for no further one.
pub(super) fn is_undialable(tried: Tried, upstream: &Upstream) -> bool {
    usize::from(tried.failed_dials) >= upstream.endpoints.len()
}

/// Whether an upstream can take a question at all: one that is down, and not due for a trial, only over a connection it has.
fn can_carry(upstream: &Upstream, standing: Standing) -> bool {
    let closed = upstream.health.state() == HealthState::Down && standing == Standing::Poor;
    !upstream.endpoints.is_empty() && (!closed || !upstream.connections.is_empty())
}
