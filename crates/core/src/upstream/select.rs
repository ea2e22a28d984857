//! Which of several equally good upstreams gets a question.
//!
//! The candidates come here after health and tiers were looked at, in the order of the configuration; a [`Strategy`] only chooses
//! among them. All randomness comes from the caller.

use core::hash::{Hash, Hasher};
use core::time::Duration;

use rand_core::Rng;
use siphasher::sip::SipHasher13;

use super::UpstreamId;

/// How a group shares its questions among its upstreams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Two drawn by chance and weight, the one with the shorter expected wait gets the question: near the best without
    /// everybody rushing to it (the power of two choices).
    #[default]
    Fastest,
    /// The first in the configuration.
    Ordered,
    /// In turn, by weight.
    RoundRobin,
    /// By name: the same name always goes to the same upstream, so that none of them sees every name.
    Hash,
    /// The fastest two at once; the first answer wins.
    Race,
}

/// An upstream that may get the question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) id: UpstreamId,
    /// Share of traffic relative to the others; at least 1.
    pub(crate) weight: u32,
    /// Usual response time; zero while nobody knows.
    pub(crate) rtt: Duration,
    /// Questions it is at work on.
    pub(crate) load: usize,
    /// Of its name: stays the same when others come and go.
    pub(crate) fingerprint: u64,
}

impl Candidate {
    fn expected_wait(&self) -> u128 {
        self.rtt.as_nanos().saturating_mul(self.load as u128 + 1)
    }
}

/// Chooses by one strategy; remembers whose turn it is.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    strategy: Strategy,
    /// By upstream: how much of its turn it has saved up (smooth weighted round robin).
    turns: Vec<i64>,
}

impl Selector {
    pub(crate) fn new(strategy: Strategy, upstreams: usize) -> Self {
        Self {
            strategy,
            turns: vec![0; upstreams],
        }
    }

    /// There are so many upstreams now.
    pub(crate) fn grow(&mut self, upstreams: usize) {
        self.turns.resize(upstreams.max(self.turns.len()), 0);
    }

    pub(crate) fn strategy(&self) -> Strategy {
        self.strategy
    }

    /// The upstream that gets the question about `qname` (folded wire form).
    pub(crate) fn pick(
        &mut self,
        candidates: &[Candidate],
        qname: &[u8],
        rng: &mut impl Rng,
    ) -> Option<UpstreamId> {
        if candidates.len() < 2 {
            return candidates.first().map(|candidate| candidate.id);
        }
        match self.strategy {
            Strategy::Fastest | Strategy::Race => pick_fastest(candidates, rng),
            Strategy::Ordered => candidates.first().map(|candidate| candidate.id),
            Strategy::RoundRobin => self.pick_in_turn(candidates),
            Strategy::Hash => candidates
                .iter()
                .max_by(|a, b| score(a, qname).total_cmp(&score(b, qname)))
                .map(|candidate| candidate.id),
        }
    }

    fn pick_in_turn(&mut self, candidates: &[Candidate]) -> Option<UpstreamId> {
        let mut total = 0;
        for candidate in candidates {
            let turn = self.turns.get_mut(candidate.id.0)?;
            *turn += i64::from(candidate.weight);
            total += i64::from(candidate.weight);
        }
        let turn_of = |candidate: &&Candidate| self.turns.get(candidate.id.0).copied();
        // The first of equals, so that the order of the configuration is the order of the turns.
        let next = candidates.iter().rev().max_by_key(turn_of)?.id;
        *self.turns.get_mut(next.0)? -= total;
        Some(next)
    }
}

fn pick_fastest(candidates: &[Candidate], rng: &mut impl Rng) -> Option<UpstreamId> {
    let first = draw(candidates, None, rng)?;
    let second = draw(candidates, Some(first.id), rng).unwrap_or(first);
    let best = if second.expected_wait() < first.expected_wait() {
        second
    } else {
        first
    };
    Some(best.id)
}

/// Draws one by weight, other than `without`.
fn draw<'a>(
    candidates: &'a [Candidate],
    without: Option<UpstreamId>,
    rng: &mut impl Rng,
) -> Option<&'a Candidate> {
    let open = || {
        candidates
            .iter()
            .filter(|candidate| Some(candidate.id) != without)
    };
    let total: u64 = open().map(|candidate| u64::from(candidate.weight)).sum();
    let mut ticket = rng.next_u64().checked_rem(total)?;
    open().find(|candidate| {
        let weight = u64::from(candidate.weight);
        let drawn = ticket < weight;
        ticket = ticket.saturating_sub(weight);
        drawn
    })
}

/// Rendezvous hashing with weights: the highest score gets the name. The key is fixed, because a name must go to the same upstream
/// after a restart too.
fn score(candidate: &Candidate, qname: &[u8]) -> f64 {
    let mut hasher = SipHasher13::new();
    candidate.fingerprint.hash(&mut hasher);
    hasher.write(qname);
    // 52 bits and a half make a number between 0 and 1, never one of them.
    #[expect(
        clippy::cast_precision_loss,
        reason = "52 bits and a half fit a f64 exactly"
    )]
    let uniform = ((hasher.finish() >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
    f64::from(candidate.weight) / -uniform.ln()
}

/// The fingerprint of an upstream's name.
pub(crate) fn fingerprint(name: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(name.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha12Rng;
    use rand_chacha::rand_core::SeedableRng;

    fn candidate(id: usize, weight: u32, rtt_ms: u64, load: usize) -> Candidate {
        Candidate {
            id: UpstreamId(id),
            weight,
            rtt: Duration::from_millis(rtt_ms),
            load,
            fingerprint: fingerprint(&format!("upstream-{id}")),
        }
    }

    /// How often each of three gets a question out of 3,000.
    fn shares(strategy: Strategy, candidates: &[Candidate]) -> [usize; 3] {
        let mut rng = ChaCha12Rng::from_seed([4; 32]);
        let mut selector = Selector::new(strategy, 3);
        let mut shares = [0; 3];
        for n in 0..3_000_u32 {
            let picked = selector
                .pick(candidates, &n.to_be_bytes(), &mut rng)
                .unwrap();
            shares[picked.0] += 1;
        }
        shares
    }

    fn equal() -> [Candidate; 3] {
        [
            candidate(0, 1, 10, 0),
            candidate(1, 1, 10, 0),
            candidate(2, 1, 10, 0),
        ]
    }

    #[test]
    fn fastest_prefers_the_shorter_wait_and_still_spreads() {
        let shares_by_rtt = shares(
            Strategy::Fastest,
            &[
                candidate(0, 1, 10, 0),
                candidate(1, 1, 20, 0),
                candidate(2, 1, 90, 0),
            ],
        );
        assert!(
            shares_by_rtt[0] > 1_800 && shares_by_rtt[1] > 800,
            "{shares_by_rtt:?}"
        );
        assert_eq!(shares_by_rtt[2], 0, "the slowest loses every pair");
        let loaded = [
            candidate(0, 1, 10, 9),
            candidate(1, 1, 20, 0),
            candidate(2, 1, 90, 9),
        ];
        assert!(shares(Strategy::Fastest, &loaded)[1] > 1_800);
        assert!(
            shares(Strategy::Fastest, &equal())
                .iter()
                .all(|share| *share > 850)
        );
    }

    #[test]
    fn an_upstream_nobody_knows_is_tried() {
        let unknown = [
            candidate(0, 1, 10, 0),
            candidate(1, 1, 0, 0),
            candidate(2, 1, 20, 0),
        ];
        assert!(shares(Strategy::Fastest, &unknown)[1] > 1_500);
    }

    #[test]
    fn ordered_takes_the_first_and_turns_go_round_by_weight() {
        assert_eq!(shares(Strategy::Ordered, &equal()), [3_000, 0, 0]);
        assert_eq!(shares(Strategy::RoundRobin, &equal()), [1_000; 3]);
        let weighted = [
            candidate(0, 3, 1, 0),
            candidate(1, 2, 1, 0),
            candidate(2, 1, 1, 0),
        ];
        assert_eq!(shares(Strategy::RoundRobin, &weighted), [1_500, 1_000, 500]);
    }

    #[test]
    fn a_name_keeps_its_upstream_when_another_goes() {
        let mut rng = ChaCha12Rng::from_seed([4; 32]);
        let mut selector = Selector::new(Strategy::Hash, 3);
        let (all, without_last) = (equal(), &equal()[..2]);
        for n in 0..500_u32 {
            let name = n.to_be_bytes();
            let before = selector.pick(&all, &name, &mut rng).unwrap();
            assert_eq!(selector.pick(&all, &name, &mut rng), Some(before));
            let after = selector.pick(without_last, &name, &mut rng).unwrap();
            assert!(before == after || before == UpstreamId(2));
        }
        assert!(
            shares(Strategy::Hash, &equal())
                .iter()
                .all(|share| (850..1_150).contains(share))
        );
        let weighted = [
            candidate(0, 4, 1, 0),
            candidate(1, 1, 1, 0),
            candidate(2, 1, 1, 0),
        ];
        assert!((1_850..2_150).contains(&shares(Strategy::Hash, &weighted)[0]));
    }
}
