//! What is kept of an exchange, and what is given when there is nothing newer.

use super::*;
use crate::cache::{Answered, CacheConfig, CacheStats};
use crate::front::{Front, FrontConfig};
use crate::limits::{LATENESS_MAX, STALE_AFTER, STALE_RECHECK, WAITERS_PER_EXCHANGE_MAX};
use crate::policy::{Acl, PolicyConfig};

const TTL: u32 = 60;

/// An engine with a cache, and the look into it that a front would have.
struct Kept {
    bench: Bench,
    cache: Arc<Cache>,
}

impl Kept {
    fn new(upstreams: usize) -> Self {
        let cache = Arc::new(Cache::new(CacheConfig::new(1 << 20, [3; 16])));
        let config = EngineConfig {
            cache: Arc::clone(&cache),
            ..EngineConfig::new(super::upstreams(&vec![0; upstreams]), Strategy::Ordered)
        };
        let mut bench = Bench::two();
        bench.engine = Engine::new(config, [1; 32]);
        Self { bench, cache }
    }

    /// One upstream, connected, that has answered `a.example`; past its time by now.
    fn stale() -> Self {
        let mut kept = Self::new(1);
        kept.ask(1, "a.example");
        kept.bench.connect(0);
        kept.answer(0);
        kept.wait_past_the_time();
        kept.bench.replies.clear();
        kept
    }

    fn wait_past_the_time(&mut self) {
        self.bench.now = self.bench.now + Duration::from_secs(TTL.into());
    }

    /// What a front does. True when the client is answered at once.
    fn ask(&mut self, client: u32, name: &str) -> bool {
        let asker = asker(client, name);
        let mut reply = Vec::new();
        let (group, now) = (GroupId::DEFAULT, self.bench.now);
        let answered = self.cache.answer(&asker, group, now, &mut reply);
        match answered {
            Answered::Yes | Answered::AndRefresh => {
                self.bench.replies.push((client, reply));
                if answered == Answered::AndRefresh {
                    self.bench.engine.refresh(Asked::new(&asker, group), now);
                    self.bench.settle();
                }
                return true;
            }
            Answered::No | Answered::Stale => {}
        }
        let mut request = request(asker, now);
        request.stale = answered == Answered::Stale;
        self.bench.engine.submit(request, client, now);
        self.bench.settle();
        false
    }

    /// The upstream answers all it was asked.
    fn answer(&mut self, place: usize) -> usize {
        self.answer_for(place, TTL)
    }

    /// The same with data that may be kept for this many seconds.
    fn answer_for(&mut self, place: usize, ttl: u32) -> usize {
        let queries = self.bench.written(place);
        for (id, name) in &queries {
            let mut composer = ResponseComposer::new(&question(name));
            composer.answer(&name.parse().unwrap(), RecordType::A, ttl, &[192, 0, 2, 1]);
            let mut message = composer.finish();
            message[..2].copy_from_slice(&id.to_be_bytes());
            self.bench.receive(place, &message);
        }
        queries.len()
    }

    fn stats(&self) -> CacheStats {
        self.cache.stats()
    }
}

const STALE: Option<u16> = Some(3);

fn asker(client: u32, name: &str) -> Asker {
    Asker {
        id: u16::try_from(client).unwrap(),
        flags: Flags::NONE.with_recursion_desired(true),
        question: question(name),
        edns: Some(crate::wire::AskerEdns {
            udp_size: 1232,
            dnssec_ok: false,
        }),
        options: crate::wire::ReplyOptions::NONE,
        transport: Transport::Udp,
    }
}

fn request(asker: Asker, since: Moment) -> Request {
    Request {
        asker,
        group: GroupId::DEFAULT,
        stale: false,
        signed: None,
        source: crate::exchange::Source::of([192, 0, 2, 1].into()),
        since,
    }
}

#[test]
fn an_answer_is_kept_and_the_next_client_asks_nobody() {
    let mut kept = Kept::new(1);
    assert!(!kept.ask(1, "a.example"));
    assert!(!kept.ask(2, "A.example"));
    kept.bench.connect(0);
    assert_eq!(kept.answer(0), 1);
    assert!(kept.ask(3, "a.EXAMPLE"));
    assert_eq!(kept.answer(0), 0);
    let outcomes = kept.bench.outcomes();
    assert_eq!(
        outcomes,
        [(1, GOOD, None), (2, GOOD, None), (3, GOOD, None)]
    );
    let stats = kept.stats();
    assert_eq!((stats.hits, stats.misses, stats.coalesced), (1, 2, 1));
}

#[test]
fn a_client_waits_for_something_newer_and_not_for_ever() {
    let mut kept = Kept::stale();
    assert!(!kept.ask(2, "a.example"));
    let asked = kept.bench.now;
    kept.bench.wait(1_000);
    assert!(!kept.ask(3, "a.example"));
    kept.bench.wait(799);
    assert_eq!(kept.bench.outcomes(), []);
    kept.bench.wait(1);
    assert_eq!(kept.bench.now.since(asked), STALE_AFTER);
    // The second one has waited for less long.
    assert_eq!(kept.bench.outcomes(), [(2, GOOD, STALE)]);
    // From now on nobody waits.
    assert!(kept.ask(4, "a.example"));
    kept.bench.wait(1_000);
    let outcomes = kept.bench.outcomes();
    assert_eq!(outcomes[1..], [(4, GOOD, STALE), (3, GOOD, STALE)]);
    kept.bench.wait(1_000);
    assert_eq!(kept.bench.engine.load().exchanges, 0);
    assert_eq!(kept.bench.engine.in_flight(), 0);
}

#[test]
fn an_answer_that_comes_while_somebody_waits_is_better_than_a_stale_one() {
    let mut kept = Kept::stale();
    assert!(!kept.ask(2, "a.example"));
    kept.bench.wait(50);
    kept.answer(0);
    assert_eq!(kept.bench.outcomes(), [(2, GOOD, None)]);
    assert!(kept.ask(3, "a.example"));
    assert_eq!(kept.bench.outcomes()[1], (3, GOOD, None));
}

#[test]
fn the_question_goes_on_after_its_client_got_what_is_stale() {
    let mut kept = Kept::stale();
    assert!(!kept.ask(2, "a.example"));
    kept.bench.wait(1_900);
    assert_eq!(kept.bench.outcomes(), [(2, GOOD, STALE)]);
    kept.answer(0);
    assert!(kept.ask(3, "a.example"));
    assert_eq!(kept.bench.outcomes()[1], (3, GOOD, None), "refreshed");
}

#[test]
fn a_failure_gives_what_is_stale_at_once() {
    let mut kept = Kept::stale();
    assert!(!kept.ask(2, "a.example"));
    for query in kept.bench.written(0) {
        kept.bench.receive(0, &response(&query, Rcode::SERVFAIL));
    }
    assert_eq!(kept.bench.outcomes(), [(2, GOOD, STALE)]);
    assert_eq!(kept.stats().entries, 1, "the failure took nobody's place");
}

#[test]
fn while_a_refresh_has_just_failed_it_is_tried_again_in_the_background() {
    let mut kept = Kept::stale();
    assert!(!kept.ask(2, "a.example"));
    for query in kept.bench.written(0) {
        kept.bench.receive(0, &response(&query, Rcode::SERVFAIL));
    }
    for client in 3..20 {
        assert!(kept.ask(client, "a.example"));
    }
    assert_eq!(kept.bench.written(0), []);
    kept.bench.now = kept.bench.now + STALE_RECHECK;
    for client in 20..30 {
        assert!(kept.ask(client, "a.example"));
    }
    assert_eq!(kept.answer(0), 1, "one for all");
    assert!(kept.ask(30, "a.example"));
    assert_eq!(kept.bench.outcomes().last(), Some(&(30, GOOD, None)));
}

#[test]
fn an_answer_that_may_not_be_kept_ends_what_is_past_its_time() {
    let mut kept = Kept::stale();
    assert!(!kept.ask(2, "a.example"));
    for query in kept.bench.written(0) {
        kept.bench.receive(0, &response(&query, Rcode::SERVFAIL));
    }
    kept.bench.now = kept.bench.now + STALE_RECHECK;
    assert!(kept.ask(3, "a.example"), "stale, and refreshed");
    assert_eq!(kept.answer_for(0, 0), 1);
    assert!(!kept.ask(4, "a.example"), "there are answers again");
    assert_eq!(kept.answer_for(0, 0), 1);
    assert_eq!(kept.bench.outcomes().last(), Some(&(4, GOOD, None)));
    assert_eq!(kept.stats().entries, 0);
}

#[test]
fn what_is_past_its_time_does_not_stand_in_for_data_found_bogus() {
    let mut kept = Kept::stale();
    assert!(!kept.ask(2, "a.example"));
    for query in kept.bench.written(0) {
        kept.bench.receive(0, &kept::bogus(&query));
    }
    assert!(kept.ask(3, "a.example"), "remembered for a moment");
    let bogus = |client| (client, Rcode::SERVFAIL, Some(6));
    assert_eq!(kept.bench.outcomes(), [bogus(2), bogus(3)]);
}

#[test]
fn when_all_upstreams_are_away_nobody_waits() {
    let mut kept = Kept::stale();
    kept.bench.close(0, CloseReason::Reset);
    assert!(!kept.ask(2, "b.example"));
    kept.bench.close(1, CloseReason::Refused);
    assert_eq!(kept.bench.state(0), Some(HealthState::Down));
    kept.bench.replies.clear();
    kept.ask(3, "a.example");
    assert_eq!(kept.bench.outcomes(), [(3, GOOD, STALE)]);
}

#[test]
fn an_upstream_that_was_away_is_found_within_a_tenth_of_that_though_all_are_given_what_is_kept() {
    const AWAY: u64 = 95;
    let mut kept = Kept::stale();
    kept.bench.close(0, CloseReason::Reset);
    let (mut seen, mut away, mut found) = (1, 0, None);
    while found.is_none() {
        let asked_upstream = !kept.ask(2, "a.example");
        // A moment after the question itself was asked again, which is done every 30 s.
        let back = away >= AWAY;
        for place in seen..kept.bench.opened.len() {
            if back {
                kept.bench.connect(place);
                found = Some(away);
            } else {
                kept.bench.close(place, CloseReason::Refused);
            }
        }
        seen = kept.bench.opened.len();
        assert!(
            !asked_upstream || away == 0 || found.is_some(),
            "who waits at {away} s?"
        );
        kept.bench.wait(1_000);
        away += 1;
    }
    // Give or take a quarter, and the second in which it is looked at here.
    let late = found.unwrap() - AWAY;
    assert!(late <= AWAY / 8 + 1, "{late} s");
    kept.bench.answer_probe(seen - 1);
    assert!(!kept.ask(3, "a.example"), "the next one gets something new");
}

#[test]
fn a_failure_is_kept_and_forgotten_when_an_upstream_answers_again() {
    let mut kept = Kept::new(1);
    assert!(!kept.ask(1, "a.example"));
    kept.bench.close(0, CloseReason::Refused);
    assert!(kept.ask(2, "a.example"));
    let told = Some(23);
    let failed = |client| (client, Rcode::SERVFAIL, told);
    assert_eq!(kept.bench.outcomes(), [failed(1), failed(2)]);
    kept.bench.wait(900);
    assert!(!kept.ask(3, "b.example"));
    let place = kept.bench.opened.len() - 1;
    kept.bench.connect(place);
    assert_eq!(kept.answer(place), 1);
    assert!(!kept.ask(4, "a.example"), "asked again within the second");
    assert_eq!(kept.answer(place), 1);
    let outcomes = kept.bench.outcomes();
    assert_eq!(outcomes[2..], [(3, GOOD, None), (4, GOOD, None)]);
}

#[test]
fn no_failure_is_kept_of_a_time_in_which_nobody_looked_for_answers() {
    for (away, is_kept) in [
        (Duration::ZERO, true),
        (LATENESS_MAX, true),
        (LATENESS_MAX + Duration::from_millis(1), false),
        (Duration::from_secs(3_600), false),
    ] {
        let mut kept = Kept::new(1);
        assert!(!kept.ask(1, "a.example"));
        kept.bench.connect(0);
        kept.bench.wait(900);
        assert!(!kept.ask(2, "a.example"));
        kept.bench.wait(1_500);
        kept.bench.now = kept.bench.now + Duration::from_millis(500) + away;
        kept.bench.engine.handle_timeout(kept.bench.now);
        kept.bench.settle();
        let told = kept.bench.outcomes();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().all(|(_, rcode, _)| *rcode == Rcode::SERVFAIL));
        assert_eq!(kept.ask(3, "a.example"), is_kept, "{away:?}");
    }
}

#[test]
fn what_nobody_waits_for_ends_like_everything_else() {
    let mut kept = Kept::new(1);
    let asked = Asked {
        question: question("a.example"),
        dnssec_ok: false,
        checking_disabled: false,
        group: GroupId::DEFAULT,
    };
    kept.bench.engine.refresh(asked.clone(), kept.bench.now);
    kept.bench.engine.refresh(asked, kept.bench.now);
    kept.bench.settle();
    assert_eq!(kept.bench.engine.load().exchanges, 1, "once");
    kept.bench.connect(0);
    // Somebody who asks meanwhile waits for it.
    assert!(!kept.ask(1, "a.example"));
    assert_eq!(kept.answer(0), 1);
    assert_eq!(kept.bench.outcomes(), [(1, GOOD, None)]);
    let other = Asked {
        question: question("b.example"),
        dnssec_ok: false,
        checking_disabled: false,
        group: GroupId::DEFAULT,
    };
    kept.bench.engine.refresh(other, kept.bench.now);
    kept.bench.settle();
    kept.bench.wait(2_000);
    assert_eq!(kept.bench.engine.load().exchanges, 0);
}

#[test]
fn an_answer_of_the_fallback_is_not_kept() {
    let mut bench = with_fallback(1);
    let cache = Arc::new(Cache::new(CacheConfig {
        groups: 2,
        ..CacheConfig::new(1 << 20, [3; 16])
    }));
    bench.engine.cache = Arc::clone(&cache);
    bench.ask_group(1, "db.corp.example", GroupId(1));
    bench.close(0, CloseReason::Refused);
    bench.connect(1);
    for query in bench.written(1) {
        bench.receive(1, &response(&query, Rcode::NXDOMAIN));
    }
    assert_eq!(bench.outcomes(), [(1, Rcode::NXDOMAIN, None)]);
    assert_eq!(cache.stats().inserts, 0);
}

#[test]
fn who_finds_no_room_gets_what_is_kept_past_its_time() {
    let mut kept = Kept::stale();
    for client in 0..u32::try_from(WAITERS_PER_EXCHANGE_MAX).unwrap() {
        kept.ask(client, "a.example");
    }
    let outcomes = kept.bench.outcomes();
    assert!(!outcomes.is_empty(), "there was room for all");
    for (client, rcode, error) in outcomes {
        assert_eq!((rcode, error), (GOOD, STALE), "{client}");
    }
}

#[test]
fn who_cannot_be_handed_to_the_engine_gets_what_is_kept_past_its_time() {
    let mut kept = Kept::stale();
    let everybody = Acl::new(&["0.0.0.0/0".parse().unwrap()]);
    let front = Front::new(FrontConfig {
        cache: Arc::clone(&kept.cache),
        ..FrontConfig::new(everybody, PolicyConfig::default())
    });
    for (client, stale) in [(1, true), (2, false)] {
        let mut request = request(asker(client, "a.example"), kept.bench.now);
        request.stale = stale;
        let mut reply = Vec::new();
        front.refuse_overloaded(&request, kept.bench.now, &mut reply);
        kept.bench.replies.push((client, reply));
    }
    let other = Some(0);
    assert_eq!(
        kept.bench.outcomes(),
        [(1, GOOD, STALE), (2, Rcode::SERVFAIL, other)]
    );
}
