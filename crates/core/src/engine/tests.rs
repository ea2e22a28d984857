use core::time::Duration;

use super::*;
use crate::limits::{
    CONNECTIONS_PER_UPSTREAM_MAX, DATAGRAMS_PER_UPSTREAM_MAX, DIAL_TIMEOUT, HEDGE_BURST,
    IDLE_TIMEOUT, IN_FLIGHT_BEFORE_GROWTH, QUESTIONS_PER_HEDGE,
};
use crate::upstream::{GroupId, HealthState, Protocol, TlsFault};
use crate::wire::frame::{FrameReader, append_frame};
use crate::wire::{
    Asker, Class, Flags, QueryView, Question, Rcode, RecordType, ResponseComposer, ResponseView,
    Transport,
};

/// An engine, what came out of it, and a clock that moves only when told.
struct Bench {
    engine: Engine<u32>,
    now: Moment,
    opened: Vec<(ConnectionId, usize, SocketAddr)>,
    closed: Vec<ConnectionId>,
    replies: Vec<(u32, Vec<u8>)>,
    events: Vec<Event>,
}

fn question(name: &str) -> Question {
    Question::new(&name.parse().unwrap(), RecordType::A, Class::IN)
}

fn endpoint(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

impl Bench {
    fn new(endpoints: &[&[&str]]) -> Self {
        let upstreams = endpoints
            .iter()
            .map(|list| {
                UpstreamConfig::new("test", list.iter().map(|text| endpoint(text)).collect())
            })
            .collect();
        Self::with(upstreams, Strategy::Ordered)
    }

    fn with(upstreams: Vec<UpstreamConfig>, strategy: Strategy) -> Self {
        let members = (0..upstreams.len()).map(UpstreamId).collect();
        let group = GroupConfig {
            members,
            strategy,
            fallback: None,
        };
        let config = EngineConfig {
            upstreams,
            groups: vec![group],
            budget: QUESTION_BUDGET,
        };
        Self {
            engine: Engine::new(config, [42; 32]),
            now: Moment::from_nanos(1_000_000_000),
            opened: Vec::new(),
            closed: Vec::new(),
            replies: Vec::new(),
            events: Vec::new(),
        }
    }

    fn one() -> Self {
        Self::new(&[&["192.0.2.1:853"]])
    }

    fn two() -> Self {
        Self::new(&[&["192.0.2.1:853"], &["192.0.2.2:853"]])
    }

    fn settle(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Open {
                    connection,
                    upstream,
                    endpoint,
                    protocol: _,
                } => {
                    self.opened.push((connection, upstream.0, endpoint));
                }
                Action::Close { connection } => self.closed.push(connection),
            }
        }
        let mut replies = Replies::default();
        self.engine.take_replies(&mut replies);
        replies.drain(|client, message| self.replies.push((client, message.to_vec())));
        self.events
            .extend(std::iter::from_fn(|| self.engine.poll_event()));
    }

    fn ask(&mut self, client: u32, name: &str) {
        self.ask_group(client, name, GroupId::DEFAULT);
    }

    fn ask_group(&mut self, client: u32, name: &str, group: GroupId) {
        let asker = Asker {
            id: u16::try_from(client).unwrap(),
            flags: Flags::NONE.with_recursion_desired(true),
            question: question(name),
            edns: Some(crate::wire::AskerEdns {
                udp_size: 1232,
                dnssec_ok: false,
            }),
            transport: Transport::Udp,
        };
        self.engine
            .submit(Request { asker, group }, client, self.now);
        self.settle();
    }

    /// The connection opened `place`-th.
    fn connection(&self, place: usize) -> ConnectionId {
        self.opened[place].0
    }

    fn connect(&mut self, place: usize) {
        self.engine
            .handle_connected(self.connection(place), self.now);
        self.settle();
    }

    fn close(&mut self, place: usize, reason: CloseReason) {
        self.engine
            .handle_closed(self.connection(place), reason, self.now);
        self.settle();
    }

    /// What an encrypted connection has to write: ID and name of each query.
    fn written(&mut self, place: usize) -> Vec<(u16, String)> {
        self.written_in_blocks(place, 128)
    }

    /// The same for a clear-text one, whose queries are not padded.
    fn written_bare(&mut self, place: usize) -> Vec<(u16, String)> {
        self.written_in_blocks(place, 1)
    }

    fn written_in_blocks(&mut self, place: usize, block: usize) -> Vec<(u16, String)> {
        let id = self.connection(place);
        let mut listed = Vec::from_iter(std::iter::from_fn(|| self.engine.poll_transmit()));
        listed.retain(|listed| *listed == id);
        assert_eq!(
            listed.len(),
            usize::from(!self.engine.outbound(id).is_empty()),
            "listed once or not at all"
        );
        self.taken(id, block)
    }

    fn taken(&mut self, id: ConnectionId, block: usize) -> Vec<(u16, String)> {
        let outbound = self.engine.outbound(id).to_vec();
        self.engine.handle_transmitted(id, outbound.len());
        let mut reader = FrameReader::default();
        reader.push(&outbound);
        let mut queries = Vec::new();
        while let Some(message) = reader.next_message() {
            let view = QueryView::parse(message).unwrap();
            assert_eq!(message.len() % block, 0);
            queries.push((
                view.header().id,
                view.question().to_owned().qname().to_string(),
            ));
        }
        queries
    }

    fn receive(&mut self, place: usize, message: &[u8]) {
        let mut frame = Vec::new();
        append_frame(message, &mut frame);
        self.engine
            .handle_bytes(self.connection(place), &frame, self.now);
        self.settle();
    }

    fn answer(&mut self, place: usize, query: &(u16, String)) {
        self.receive(place, &response(query, Rcode::NOERROR));
    }

    fn state(&self, upstream: usize) -> Option<HealthState> {
        self.engine
            .status(UpstreamId(upstream), self.now)
            .map(|status| status.state)
    }

    fn wait(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while let Some(next) = self.engine.poll_timeout().filter(|next| *next <= end) {
            self.now = next.max(self.now);
            self.engine.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
    }

    /// RCODE and extended error of the replies, by client.
    fn outcomes(&self) -> Vec<(u32, Rcode, Option<u16>)> {
        let outcome = |(client, message): &(u32, Vec<u8>)| {
            let view = ResponseView::parse(message).unwrap();
            assert_eq!(view.header().id, u16::try_from(*client).unwrap());
            (
                *client,
                view.rcode(),
                view.extended_errors().next().map(|error| error.code.0),
            )
        };
        self.replies.iter().map(outcome).collect()
    }
}

fn response((id, name): &(u16, String), rcode: Rcode) -> Vec<u8> {
    let mut composer = ResponseComposer::new(&question(name));
    composer.rcode(rcode);
    let mut message = composer.finish();
    message[..2].copy_from_slice(&id.to_be_bytes());
    message
}

const GOOD: Rcode = Rcode::NOERROR;

#[test]
fn a_question_goes_out_and_its_answer_comes_back_with_the_clients_spelling() {
    let mut bench = Bench::one();
    bench.ask(7, "WWW.example");
    assert_eq!(bench.opened[0].2, endpoint("192.0.2.1:853"));
    assert!(bench.written(0).is_empty());
    bench.connect(0);
    let queries = bench.written(0);
    assert_eq!(queries[0].1, "WWW.example");
    bench.answer(0, &(queries[0].0, "www.EXAMPLE".into()));
    assert_eq!(bench.outcomes(), [(7, GOOD, None)]);
    let view = ResponseView::parse(&bench.replies[0].1).unwrap();
    assert_eq!(view.question().unwrap().to_string(), "WWW.example IN A");
    assert_eq!(bench.engine.in_flight(), 0);
}

#[test]
fn two_hundred_questions_on_a_fresh_start_open_one_connection_and_leave_together() {
    let mut bench = Bench::one();
    for client in 0..200 {
        bench.ask(client, &format!("n{client}.example"));
    }
    bench.connect(0);
    let mut queries = bench.written(0);
    assert_eq!((bench.opened.len(), queries.len()), (1, 200));
    queries.reverse();
    for query in &queries {
        bench.answer(0, query);
    }
    let mut outcomes = bench.outcomes();
    outcomes.sort_unstable_by_key(|(client, ..)| *client);
    assert_eq!(
        outcomes,
        Vec::from_iter((0..200).map(|client| (client, GOOD, None)))
    );
}

#[test]
fn equal_questions_in_flight_are_asked_once_and_all_answered() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.ask(2, "A.EXAMPLE");
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    assert_eq!(queries.len(), 1);
    bench.answer(0, &queries[0]);
    assert_eq!(
        bench.outcomes(),
        [(1, GOOD, None), (2, GOOD, None), (1, GOOD, None)]
    );
}

#[test]
fn questions_of_a_dead_connection_move_to_another() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.ask(2, "b.example");
    bench.connect(0);
    let first = bench.written(0);
    bench.answer(0, &first[0]);
    bench.close(0, CloseReason::Ended);
    assert_eq!(bench.opened.len(), 2);
    bench.connect(1);
    let second = bench.written(1);
    assert_eq!(second[0].1, "b.example");
    bench.answer(1, &second[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None), (2, GOOD, None)]);
}

#[test]
fn a_connection_lost_before_its_first_answer_is_replaced_even_without_another_upstream() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    bench.close(0, CloseReason::Reset);
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

#[test]
fn one_question_is_sent_to_one_upstream_three_times_at_most() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    for place in 0..3 {
        bench.connect(place);
        assert_eq!(bench.written(place).len(), 1);
        bench.close(place, CloseReason::Ended);
    }
    assert_eq!(bench.opened.len(), 3);
    assert_eq!(bench.outcomes(), [(1, Rcode::SERVFAIL, Some(23))]);
}

#[test]
fn a_refused_upstream_alone_is_told_at_once_and_dialed_again_within_a_second() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.close(0, CloseReason::Refused);
    bench.ask(2, "b.example");
    assert_eq!(bench.opened.len(), 1);
    assert_eq!(
        bench.outcomes(),
        [
            (1, Rcode::SERVFAIL, Some(23)),
            (2, Rcode::SERVFAIL, Some(23))
        ]
    );
    bench.wait(800);
    bench.ask(3, "c.example");
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes()[2], (3, GOOD, None));
}

#[test]
fn a_refused_endpoint_is_followed_by_the_next_one_of_the_same_upstream() {
    let mut bench = Bench::new(&[&["192.0.2.1:853", "[2001:db8::1]:853"]]);
    bench.ask(1, "a.example");
    bench.close(0, CloseReason::Unreachable);
    assert_eq!(bench.opened[1].2, endpoint("[2001:db8::1]:853"));
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

#[test]
fn the_second_upstream_takes_over_when_the_first_refuses_or_fails_tls() {
    let fault = CloseReason::Tls(TlsFault::WrongName);
    for reason in [CloseReason::Refused, CloseReason::Unreachable, fault] {
        let mut bench = Bench::two();
        bench.ask(1, "a.example");
        bench.close(0, reason);
        assert_eq!(bench.opened[1].1, 1);
        bench.connect(1);
        let queries = bench.written(1);
        bench.answer(1, &queries[0]);
        bench.ask(2, "b.example");
        assert_eq!((bench.opened.len(), bench.written(1).len()), (2, 1));
    }
}

#[test]
fn a_mute_first_upstream_costs_a_question_the_patience_and_no_more() {
    let mut bench = Bench::two();
    bench.ask(1, "a.example");
    bench.connect(0);
    assert_eq!(bench.written(0).len(), 1);
    bench.wait(400);
    assert_eq!(bench.opened[1].1, 1);
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
    assert_eq!(bench.state(0), Some(HealthState::Suspect));
    bench.ask(2, "b.example");
    assert_eq!(bench.written(1).len(), 1);
}

#[test]
fn a_preferred_upstream_comes_back_by_one_trial() {
    let mut bench = Bench::two();
    bench.ask(1, "a.example");
    bench.close(0, CloseReason::Refused);
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    bench.wait(400);
    bench.ask(2, "b.example");
    bench.ask(3, "c.example");
    assert_eq!(
        bench.opened[2].1, 0,
        "one question tries the first upstream again"
    );
    let queries = bench.written(1);
    assert_eq!(
        queries.len(),
        2,
        "and goes where it is safe as well, like the other one"
    );
    bench.answer(1, &queries[0]);
    assert_eq!(
        bench.outcomes().last(),
        Some(&(2, GOOD, None)),
        "nobody waits for the outcome"
    );
    bench.connect(2);
    let queries = bench.written(2);
    bench.answer(2, &queries[0]);
    assert_eq!(bench.state(0), Some(HealthState::Up));
    bench.ask(4, "d.example");
    assert_eq!(bench.written(2).len(), 1);
}

#[test]
fn a_silent_connection_is_replaced_while_its_late_answer_still_counts() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    let first = bench.written(0);
    bench.wait(450);
    assert_eq!(
        bench.opened.len(),
        2,
        "another connection to the same upstream"
    );
    bench.answer(0, &first[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

#[test]
fn a_slow_name_on_a_living_connection_is_not_asked_twice() {
    let mut bench = Bench::one();
    bench.ask(1, "slow.example");
    bench.connect(0);
    let slow = bench.written(0);
    for client in 2..20 {
        bench.ask(client, &format!("n{client}.example"));
        let queries = bench.written(0);
        bench.wait(50);
        bench.answer(0, &queries[0]);
    }
    assert_eq!(bench.opened.len(), 1);
    bench.answer(0, &slow[0]);
    assert_eq!(bench.outcomes().last(), Some(&(1, GOOD, None)));
}

#[test]
fn a_question_nobody_answers_fails_at_its_deadline() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    bench.wait(1_999);
    assert!(bench.replies.is_empty());
    bench.wait(1);
    assert_eq!(bench.outcomes(), [(1, Rcode::SERVFAIL, Some(22))]);
    bench.wait(60_000);
    assert_eq!(bench.replies.len(), 1);
}

#[test]
fn answers_to_another_question_are_never_delivered() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.answer(0, &(queries[0].0, "b.example".into()));
    assert!(bench.replies.is_empty());
    bench.wait(2_000);
    assert_eq!(bench.outcomes(), [(1, Rcode::SERVFAIL, Some(24))]);
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.answer(0, &(queries[0].0, "b.example".into()));
    bench.answer(0, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

#[test]
fn stray_ids_before_the_right_answer_do_no_harm() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    for _ in 0..100 {
        bench.answer(0, &(queries[0].0 ^ 1, "a.example".into()));
    }
    bench.answer(0, &queries[0]);
    assert_eq!(
        (bench.outcomes(), bench.opened.len()),
        (vec![(1, GOOD, None)], 1)
    );
}

#[test]
fn servfail_asks_one_other_upstream_and_the_better_answer_wins() {
    for rcode in [Rcode::SERVFAIL, Rcode::REFUSED] {
        let mut bench = Bench::two();
        bench.ask(1, "a.example");
        bench.connect(0);
        let queries = bench.written(0);
        bench.receive(0, &response(&queries[0], rcode));
        assert!(bench.replies.is_empty());
        bench.connect(1);
        let queries = bench.written(1);
        bench.answer(1, &queries[0]);
        assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
    }
}

#[test]
fn servfail_from_everybody_is_passed_on_as_the_first_one_said_it() {
    let mut bench = Bench::two();
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.receive(0, &response(&queries[0], Rcode::REFUSED));
    bench.connect(1);
    let queries = bench.written(1);
    bench.receive(1, &response(&queries[0], Rcode::SERVFAIL));
    assert_eq!(bench.outcomes(), [(1, Rcode::REFUSED, None)]);
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.receive(0, &response(&queries[0], Rcode::SERVFAIL));
    assert_eq!(bench.outcomes(), [(1, Rcode::SERVFAIL, None)]);
}

#[test]
fn a_poor_answer_is_given_when_the_other_upstream_stays_mute() {
    let mut bench = Bench::two();
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.receive(0, &response(&queries[0], Rcode::REFUSED));
    bench.connect(1);
    bench.wait(2_000);
    assert_eq!(bench.outcomes(), [(1, Rcode::REFUSED, None)]);
}

#[test]
fn a_frame_that_is_not_dns_ends_the_connection_and_the_question_moves() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    bench.receive(0, b"short");
    assert_eq!(bench.closed, [bench.connection(0)]);
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

#[test]
fn dialing_and_idling_end_by_the_clock() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.wait(u64::try_from(DIAL_TIMEOUT.as_millis()).unwrap());
    assert_eq!(bench.outcomes(), [(1, Rcode::SERVFAIL, Some(22))]);
    assert!(bench.closed.contains(&bench.connection(0)));
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.answer(0, &queries[0]);
    bench.wait(u64::try_from(IDLE_TIMEOUT.as_millis()).unwrap());
    assert_eq!((bench.closed.len(), bench.engine.poll_timeout()), (1, None));
}

#[test]
fn an_upstream_without_addresses_is_not_ready_until_it_has_some() {
    let mut bench = Bench::new(&[&[]]);
    bench.ask(1, "a.example");
    assert_eq!(bench.outcomes(), [(1, Rcode::SERVFAIL, Some(14))]);
    bench
        .engine
        .set_endpoints(UpstreamId(0), vec![endpoint("192.0.2.9:853")], bench.now);
    bench.ask(2, "a.example");
    assert_eq!(bench.opened[0].2, endpoint("192.0.2.9:853"));
}

#[test]
fn hedges_are_a_share_of_traffic() {
    let mut bench = Bench::two();
    bench.ask(0, "first.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.answer(0, &queries[0]);
    for client in 1..1_000 {
        bench.ask(client, &format!("n{client}.example"));
    }
    bench.written(0);
    bench.wait(80);
    bench.connect(1);
    let hedged = bench.written(1).len();
    assert!((64..200).contains(&hedged), "{hedged} hedged at once");
    bench.wait(320);
    assert_eq!(
        hedged + bench.written(1).len(),
        999,
        "patience has an end all the same"
    );
}

/// Queries written to both upstreams of `bench` for the last 300 of 500 questions, 20 ms apart, while each answers `delay` after
/// it was asked.
fn queries_of_slow_upstreams(bench: &mut Bench, delay: [u64; 2]) -> usize {
    let mut waiting: VecDeque<(Moment, usize, (u16, String))> = VecDeque::new();
    let (mut written, mut connected) = (0, 0);
    for client in 0..500 {
        bench.ask(client, &format!("n{client}.example"));
        for _ in 0..20 {
            for place in connected..bench.opened.len() {
                bench.connect(place);
            }
            connected = bench.opened.len();
            for place in 0..connected {
                let upstream = bench.opened[place].1;
                let due = bench.now + Duration::from_millis(delay[upstream]);
                for query in bench.taken(bench.connection(place), 128) {
                    written += usize::from(client >= 200);
                    waiting.push_back((due, place, query));
                }
            }
            bench.wait(1);
            let now = bench.now;
            for (_, place, query) in waiting.iter().filter(|(due, ..)| *due <= now) {
                bench.answer(*place, query);
            }
            waiting.retain(|(due, ..)| *due > now);
        }
    }
    written
}

#[test]
fn two_slow_upstreams_are_not_asked_everything_twice() {
    let written = queries_of_slow_upstreams(&mut Bench::two(), [800, 800]);
    // The share of traffic that may be asked twice, and the burst.
    let bound = 300 + 500 / QUESTIONS_PER_HEDGE + HEDGE_BURST;
    assert!(
        written < usize::try_from(bound).unwrap(),
        "{written} queries for 300 questions"
    );
}

#[test]
fn a_quick_upstream_helps_out_a_slow_one() {
    let mut bench = Bench::two();
    let written = queries_of_slow_upstreams(&mut bench, [800, 10]);
    assert!(written > 580, "{written} queries for 300 questions");
}

#[test]
fn a_lost_connection_in_the_middle_of_an_answer_leaves_no_half_message() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    let mut frame = Vec::new();
    append_frame(&response(&queries[0], GOOD), &mut frame);
    bench
        .engine
        .handle_bytes(bench.connection(0), &frame[..20], bench.now);
    bench.close(0, CloseReason::Reset);
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

fn upstreams(tiers: &[u8]) -> Vec<UpstreamConfig> {
    let upstream = |(place, tier): (usize, &u8)| {
        let address = format!("192.0.2.{}:853", place + 1).parse().unwrap();
        let config = UpstreamConfig::new(format!("upstream-{place}"), vec![address]);
        UpstreamConfig {
            tier: *tier,
            ..config
        }
    };
    tiers.iter().enumerate().map(upstream).collect()
}

#[test]
fn a_higher_tier_is_asked_only_while_no_lower_one_is_well() {
    let mut bench = Bench::with(upstreams(&[1, 0]), Strategy::Fastest);
    bench.ask(1, "a.example");
    assert_eq!(bench.opened[0].1, 1);
    bench.close(0, CloseReason::Refused);
    assert_eq!(bench.opened[1].1, 0);
}

#[test]
fn turns_go_round_the_group_and_a_race_runs_on_two_tracks() {
    let mut bench = Bench::with(upstreams(&[0, 0, 0]), Strategy::RoundRobin);
    for client in 0..6 {
        bench.ask(client, &format!("n{client}.example"));
    }
    assert_eq!(
        Vec::from_iter(bench.opened.iter().map(|(_, upstream, _)| *upstream)),
        [0, 1, 2]
    );
    let mut bench = Bench::with(upstreams(&[0, 0, 0]), Strategy::Race);
    bench.ask(1, "a.example");
    assert_eq!(bench.opened.len(), 2);
    bench.connect(0);
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
    bench.ask(2, "b.example");
    assert_eq!(bench.engine.in_flight(), 1);
}

#[test]
fn a_group_keeps_its_questions_to_itself() {
    let upstreams = upstreams(&[0, 0]);
    let group = |member| GroupConfig {
        members: vec![UpstreamId(member)],
        strategy: Strategy::Fastest,
        fallback: None,
    };
    let config = EngineConfig {
        upstreams,
        groups: vec![group(0), group(1)],
        budget: QUESTION_BUDGET,
    };
    let mut bench = Bench::two();
    bench.engine = Engine::new(config, [1; 32]);
    bench.ask_group(1, "a.example", GroupId(1));
    assert_eq!(bench.opened[0].1, 1);
    bench.ask(2, "a.example");
    assert_eq!(
        bench.opened[1].1, 0,
        "the same name in another group is another question"
    );
    bench.close(0, CloseReason::Refused);
    assert_eq!(bench.outcomes(), [(1, Rcode::SERVFAIL, Some(23))]);
    assert_eq!(
        bench.opened.len(),
        2,
        "a private group that fails asks nobody else"
    );
}

/// Upstream 0 is public; upstreams from 1 on are a private group that falls back to it.
fn with_fallback(private: usize) -> Bench {
    let upstreams = upstreams(&vec![0; private + 1]);
    let group = |members: std::ops::Range<usize>, fallback| GroupConfig {
        members: members.map(UpstreamId).collect(),
        strategy: Strategy::Ordered,
        fallback,
    };
    let groups = vec![
        group(0..1, None),
        group(1..private + 1, Some(GroupId::DEFAULT)),
    ];
    let config = EngineConfig {
        upstreams,
        groups,
        budget: QUESTION_BUDGET,
    };
    let mut bench = Bench::two();
    bench.engine = Engine::new(config, [1; 32]);
    bench
}

#[test]
fn a_fallback_is_asked_when_nobody_of_the_group_can_be_reached() {
    let mut bench = with_fallback(2);
    bench.ask_group(1, "a.example", GroupId(1));
    bench.close(0, CloseReason::Refused);
    bench.close(1, CloseReason::Refused);
    assert_eq!(
        bench.opened.iter().map(|it| it.1).collect::<Vec<_>>(),
        [1, 2, 0]
    );
    bench.connect(2);
    let queries = bench.written(2);
    bench.answer(2, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

#[test]
fn a_fallback_is_asked_when_all_of_the_group_failed_or_refuse() {
    let mut bench = with_fallback(1);
    bench.ask_group(1, "a.example", GroupId(1));
    bench.connect(0);
    let queries = bench.written(0);
    bench.receive(0, &response(&queries[0], Rcode::REFUSED));
    assert_eq!(bench.opened[1].1, 0);
    bench.close(1, CloseReason::Refused);
    assert_eq!(
        bench.outcomes(),
        [(1, Rcode::REFUSED, None)],
        "what the group said is better than nothing"
    );
}

#[test]
fn an_answer_of_the_group_is_final_whatever_it_says() {
    let mut bench = with_fallback(1);
    bench.ask_group(1, "a.example", GroupId(1));
    bench.connect(0);
    let queries = bench.written(0);
    bench.receive(0, &response(&queries[0], Rcode::NXDOMAIN));
    assert_eq!(bench.outcomes(), [(1, Rcode::NXDOMAIN, None)]);
    assert_eq!(bench.opened.len(), 1);
}

#[test]
fn a_silent_group_is_waited_for_before_its_fallback_is_asked() {
    for private in [1, 2] {
        let mut bench = with_fallback(private);
        let public = |bench: &Bench| bench.opened.iter().position(|it| it.1 == 0);
        bench.ask_group(1, "a.example", GroupId(1));
        let (mut waited, mut connected) = (0, 0);
        while public(&bench).is_none() && waited < 2_000 {
            while connected < bench.opened.len() {
                bench.connect(connected);
                connected += 1;
            }
            bench.wait(10);
            waited += 10;
        }
        assert!((800..=1_400).contains(&waited), "{private}: {waited} ms");
        let place = public(&bench).unwrap();
        bench.connect(place);
        let queries = bench.written(place);
        bench.answer(place, &queries[0]);
        assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
    }
}

#[test]
fn a_lost_datagram_of_a_quick_group_does_not_bring_the_fallback_in() {
    let mut bench = with_fallback(1);
    bench.ask_group(1, "a.example", GroupId(1));
    bench.connect(0);
    let queries = bench.written(0);
    bench.wait(5);
    bench.answer(0, &queries[0]);
    bench.ask_group(2, "b.example", GroupId(1));
    bench.wait(900);
    assert!(
        bench.opened.iter().all(|it| it.1 == 1),
        "{:?}",
        bench.opened
    );
    bench.wait(500);
    assert!(bench.opened.iter().any(|it| it.1 == 0));
}

#[test]
fn the_fallback_of_a_fallback_is_not_followed() {
    let group = |member, fallback| GroupConfig {
        members: vec![UpstreamId(member)],
        strategy: Strategy::Ordered,
        fallback: Some(GroupId(fallback)),
    };
    let config = EngineConfig {
        upstreams: upstreams(&[0, 0, 0]),
        groups: vec![group(0, 1), group(1, 2), group(2, 0)],
        budget: QUESTION_BUDGET,
    };
    let mut bench = Bench::two();
    bench.engine = Engine::new(config, [1; 32]);
    bench.ask(1, "a.example");
    bench.close(0, CloseReason::Refused);
    bench.close(1, CloseReason::Refused);
    assert_eq!(bench.outcomes(), [(1, Rcode::SERVFAIL, Some(23))]);
    assert_eq!(bench.opened.len(), 2);
}

#[test]
fn a_failure_tells_of_the_group_that_failed() {
    let group = |member| GroupConfig {
        members: vec![UpstreamId(member)],
        strategy: Strategy::Ordered,
        fallback: None,
    };
    let known = UpstreamConfig::new("known", vec![endpoint("192.0.2.1:853")]);
    let config = EngineConfig {
        upstreams: vec![known, UpstreamConfig::new("unknown", Vec::new())],
        groups: vec![group(0), group(1)],
        budget: QUESTION_BUDGET,
    };
    let mut bench = Bench::two();
    bench.engine = Engine::new(config, [1; 32]);
    bench.ask(1, "a.example");
    bench.close(0, CloseReason::Refused);
    bench.ask_group(2, "b.example", GroupId(1));
    let (network_error, not_ready) = (Some(23), Some(14));
    assert_eq!(
        bench.outcomes(),
        [
            (1, Rcode::SERVFAIL, network_error),
            (2, Rcode::SERVFAIL, not_ready)
        ]
    );
}

#[test]
fn a_dead_upstream_is_probed_from_one_second_to_thirty_and_not_oftener() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    let mut dials = Vec::new();
    for _ in 0..60 {
        let place = bench.opened.len() - 1;
        dials.push(bench.now.since(Moment::from_nanos(1_000_000_000)).as_secs());
        bench.close(place, CloseReason::Refused);
        while bench.opened.len() < place + 2 {
            let due = bench.engine.poll_timeout().unwrap();
            bench.wait(u64::try_from(due.since(bench.now).as_millis()).unwrap() + 1);
        }
        assert_eq!(bench.opened.len(), place + 2, "one dial at a time");
    }
    assert!((1..=3).contains(&dials[2]), "{dials:?}");
    let minutes = dials.iter().filter(|second| **second < 15 * 60).count();
    assert!(
        (30..=40).contains(&minutes),
        "{minutes} probes in 15 minutes"
    );
}

#[test]
fn a_probe_that_is_answered_brings_the_upstream_back() {
    let mut bench = Bench::two();
    bench.ask(1, "a.example");
    bench.close(0, CloseReason::Refused);
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.state(0), Some(HealthState::Down));
    bench.wait(1_500);
    assert_eq!(bench.opened[2].1, 0, "nobody asks, so a probe does");
    bench.connect(2);
    assert_eq!(bench.state(0), Some(HealthState::Suspect));
    let probe = bench.written(2);
    assert_eq!(probe[0].1, ".");
    let question = Question::new(&".".parse().unwrap(), RecordType::NS, Class::IN);
    let mut message = ResponseComposer::new(&question).finish();
    message[..2].copy_from_slice(&probe[0].0.to_be_bytes());
    bench.receive(2, &message);
    assert_eq!(bench.state(0), Some(HealthState::Up));
    bench.ask(2, "b.example");
    assert_eq!(bench.written(2).len(), 1);
}

#[test]
fn an_idle_limit_is_learned_and_undercut() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.answer(0, &queries[0]);
    bench.wait(10_000);
    bench.close(0, CloseReason::Ended);
    let status = bench.engine.status(UpstreamId(0), bench.now).unwrap();
    assert_eq!(status.idle_limit, Some(Duration::from_secs(10)));
    assert_eq!(
        status.state,
        HealthState::Up,
        "closing an idle connection is no failure"
    );
    bench.ask(2, "b.example");
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    bench.wait(8_999);
    assert!(bench.closed.is_empty());
    bench.wait(2);
    assert_eq!(bench.closed, [bench.connection(1)]);
}

#[test]
fn a_warm_connection_is_replaced_before_it_is_missed() {
    let mut config = upstreams(&[0]);
    config[0].keep_warm = 1;
    let mut bench = Bench::with(config, Strategy::Ordered);
    bench.engine.start(bench.now);
    bench.settle();
    assert_eq!(bench.opened.len(), 1, "opened before anybody asks");
    bench.connect(0);
    bench.ask(1, "a.example");
    let queries = bench.written(0);
    bench.answer(0, &queries[0]);
    bench.wait(61_000);
    assert_eq!(
        (bench.opened.len(), bench.closed.len()),
        (2, 0),
        "the successor comes first"
    );
    bench.connect(1);
    bench.wait(1);
    assert_eq!(bench.closed, [bench.connection(0)]);
    bench.close(1, CloseReason::Ended);
    assert_eq!(bench.opened.len(), 3);
}

#[test]
fn a_distrusted_connection_serves_until_its_successor_is_ready() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    let before = bench.written(0);
    let (renewed, now) = (bench.connection(0), bench.now);
    bench.engine.renew(renewed, now);
    bench.engine.renew(renewed, now);
    bench.settle();
    assert_eq!((bench.opened.len(), bench.closed.len()), (2, 0));
    bench.ask(2, "b.example");
    let meanwhile = bench.written(0);
    assert_eq!(meanwhile.len(), 1, "nobody waits for the successor");
    bench.connect(1);
    bench.ask(3, "c.example");
    assert_eq!(bench.written(1).len(), 1);
    bench.answer(0, &before[0]);
    assert!(bench.closed.is_empty(), "an answer is still to come");
    bench.answer(0, &meanwhile[0]);
    bench.wait(1);
    assert_eq!(bench.closed, [renewed]);
    assert_eq!(bench.replies.len(), 2);
}

#[test]
fn a_distrusted_connection_goes_though_no_successor_can_be_opened() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.answer(0, &queries[0]);
    let renewed = bench.connection(0);
    bench.engine.renew(renewed, bench.now);
    bench.settle();
    bench.close(1, CloseReason::Tls(TlsFault::UnknownIssuer));
    bench.wait(u64::try_from(DIAL_TIMEOUT.as_millis()).unwrap() - 1);
    assert!(!bench.closed.contains(&renewed));
    let probes = bench.written(0);
    bench.wait(2);
    bench.ask(2, "b.example");
    assert!(bench.written(0).is_empty(), "it takes no more questions");
    for probe in &probes {
        bench.answer(0, probe);
    }
    bench.wait(1);
    assert!(bench.closed.contains(&renewed));
}

#[test]
fn of_several_distrusted_connections_the_first_brings_the_one_successor() {
    let mut bench = Bench::one();
    bench.ask(0, "n0.example");
    bench.connect(0);
    for client in 1..u32::try_from(2 * IN_FLIGHT_BEFORE_GROWTH).unwrap() {
        bench.ask(client, &format!("n{client}.example"));
    }
    let grown = bench.opened.len();
    assert!(grown >= 2, "load opens more");
    for place in 1..grown {
        bench.connect(place);
    }
    for place in 0..grown {
        bench.engine.renew(bench.connection(place), bench.now);
    }
    bench.settle();
    assert_eq!(bench.opened.len(), grown + 1);
}

#[test]
fn a_connection_that_is_being_opened_is_not_renewed() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.engine.renew(bench.connection(0), bench.now);
    bench.settle();
    assert_eq!((bench.opened.len(), bench.closed.len()), (1, 0));
    bench.connect(0);
    assert_eq!(bench.written(0).len(), 1);
}

#[test]
fn an_old_connection_hands_over_without_a_question_lost() {
    let mut bench = Bench::one();
    bench.ask(0, "n0.example");
    bench.connect(0);
    let mut client = 0;
    while bench.opened.len() < 2 {
        let queries = bench.written(0);
        bench.wait(300);
        bench.answer(0, &queries[0]);
        client += 1;
        bench.ask(client, &format!("n{client}.example"));
    }
    let age = bench.now.since(Moment::from_nanos(1_000_000_000)).as_secs();
    assert!((3_240..=4_020).contains(&age), "{age} s old");
    let queries = bench.written(0);
    assert_eq!(
        queries.len(),
        1,
        "the old one serves until the new one is ready"
    );
    bench.connect(1);
    bench.ask(client + 1, "after.example");
    assert_eq!(bench.written(1).len(), 1);
    bench.answer(0, &queries[0]);
    bench.wait(1);
    assert_eq!(bench.closed, [bench.connection(0)]);
    assert!(bench.outcomes().iter().all(|(_, rcode, _)| *rcode == GOOD));
}

#[test]
fn keepalive_zero_drains_and_other_limits_are_believed() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    bench.ask(2, "b.example");
    let queries = bench.written(0);
    bench.receive(0, &with_keepalive(&queries[0], 0));
    bench.ask(3, "c.example");
    assert_eq!(
        bench.opened.len(),
        2,
        "no further query on the one that drains"
    );
    bench.answer(0, &queries[1]);
    bench.wait(1);
    assert_eq!(bench.closed, [bench.connection(0)]);
    bench.connect(1);
    let queries = bench.written(1);
    bench.receive(1, &with_keepalive(&queries[0], 50));
    let status = bench.engine.status(UpstreamId(0), bench.now).unwrap();
    assert_eq!(status.idle_limit, Some(Duration::from_secs(5)));
    assert_eq!(bench.outcomes().len(), 3);
}

/// A response with an edns-tcp-keepalive option of `tenths` of a second.
fn with_keepalive(query: &(u16, String), tenths: u8) -> Vec<u8> {
    let mut message = response(query, GOOD);
    message[11] = 1;
    message.extend_from_slice(b"\x00\x00\x29\x04\xd0\0\0\0\0\x00\x06\x00\x0b\x00\x02\x00");
    message.push(tenths);
    message
}

#[test]
fn the_other_family_is_dialed_beside_a_slow_one_and_the_first_wins() {
    let mut bench = Bench::new(&[&["[2001:db8::1]:853", "192.0.2.1:853"]]);
    bench.ask(1, "a.example");
    bench.wait(250);
    assert_eq!(bench.opened[1].2, endpoint("192.0.2.1:853"));
    bench.connect(1);
    assert_eq!(bench.closed, [bench.connection(0)]);
    let queries = bench.written(1);
    assert_eq!(
        queries.len(),
        1,
        "the question moved to the one that answered"
    );
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
    assert_eq!(bench.opened.len(), 2);
}

#[test]
fn a_network_change_leaves_everything_and_probes_at_once() {
    let mut bench = Bench::two();
    bench.ask(1, "a.example");
    bench.close(0, CloseReason::Refused);
    bench.connect(1);
    let sent = bench.written(1);
    assert_eq!(sent.len(), 1);
    bench.engine.handle_network_change(bench.now);
    bench.settle();
    assert_eq!(bench.closed, [bench.connection(1)]);
    assert_eq!(
        bench.state(0),
        Some(HealthState::Up),
        "what was known is forgotten"
    );
    bench.connect(2);
    let queries = bench.written(2);
    let moved = queries
        .iter()
        .find(|(_, name)| name == "a.example")
        .unwrap();
    bench.answer(2, moved);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

#[test]
fn a_serial_upstream_gets_more_connections_when_questions_queue() {
    let mut bench = Bench::one();
    bench.ask(0, "first.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.wait(1);
    bench.answer(0, &queries[0]);
    let mut waiting = VecDeque::new();
    for client in 1..200 {
        bench.ask(client, &format!("n{client}.example"));
        waiting.extend(bench.written(0));
        if client > 30 {
            bench.wait(10);
            let query = waiting.pop_front().unwrap();
            bench.answer(0, &query);
        }
    }
    assert!((2..=CONNECTIONS_PER_UPSTREAM_MAX).contains(&bench.opened.len()));
}

fn datagrams() -> Bench {
    let mut config = upstreams(&[0]);
    config[0].protocol = Protocol::Udp;
    Bench::with(config, Strategy::Ordered)
}

/// The one query a datagram socket has to send.
fn sent(bench: &mut Bench, place: usize) -> (u16, String) {
    let id = bench.connection(place);
    let message = bench.engine.outbound(id).to_vec();
    bench.engine.handle_transmitted(id, message.len());
    let view = QueryView::parse(&message).unwrap();
    assert!(
        view.edns().unwrap().options().next().is_none(),
        "neither padding nor keepalive"
    );
    (
        view.header().id,
        view.question().to_owned().qname().to_string(),
    )
}

fn receive_datagram(bench: &mut Bench, place: usize, message: &[u8]) {
    bench
        .engine
        .handle_datagram(bench.connection(place), message, bench.now);
    bench.settle();
}

#[test]
fn every_datagram_has_its_own_socket_which_goes_with_the_answer() {
    let mut bench = datagrams();
    bench.ask(1, "a.corp.example");
    bench.ask(2, "b.corp.example");
    assert_eq!(bench.opened.len(), 2);
    for place in [1, 0] {
        let query = sent(&mut bench, place);
        let mut message = response(&query, GOOD);
        message[3] |= 0x20;
        receive_datagram(&mut bench, place, &message);
    }
    assert_eq!(bench.outcomes(), [(2, GOOD, None), (1, GOOD, None)]);
    assert_eq!(bench.closed, [bench.connection(1), bench.connection(0)]);
    let view = ResponseView::parse(&bench.replies[0].1).unwrap();
    assert!(
        !view.header().flags.authentic_data(),
        "clear text proves nothing"
    );
}

#[test]
fn a_truncated_datagram_is_asked_again_over_a_stream() {
    let mut bench = datagrams();
    bench.ask(1, "a.corp.example");
    let query = sent(&mut bench, 0);
    let mut message = response(&query, GOOD);
    message[2] |= 0x02;
    receive_datagram(&mut bench, 0, &message);
    assert!(bench.replies.is_empty());
    bench.connect(1);
    let queries = bench.written_bare(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

#[test]
fn a_lost_datagram_is_sent_again_from_another_port_and_a_forged_one_over_a_stream() {
    let mut bench = datagrams();
    bench.ask(1, "a.corp.example");
    bench.wait(400);
    assert_eq!(bench.opened.len(), 2);
    let query = sent(&mut bench, 1);
    receive_datagram(&mut bench, 1, &response(&query, GOOD));
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
    bench.ask(2, "b.corp.example");
    let query = sent(&mut bench, 2);
    receive_datagram(
        &mut bench,
        2,
        &response(&(query.0, "evil.example".into()), GOOD),
    );
    bench.connect(3);
    let queries = bench.written_bare(3);
    bench.answer(3, &queries[0]);
    assert_eq!(bench.outcomes()[1], (2, GOOD, None));
}

#[test]
fn a_port_nobody_listens_at_is_told_at_once() {
    let mut bench = datagrams();
    bench.ask(1, "a.corp.example");
    bench.close(0, CloseReason::Refused);
    assert_eq!(bench.outcomes(), [(1, Rcode::SERVFAIL, Some(23))]);
}

#[test]
fn datagram_sockets_are_bounded_and_the_rest_goes_over_streams() {
    let mut bench = datagrams();
    for client in 0..600 {
        bench.ask(client, &format!("n{client}.corp.example"));
    }
    assert_eq!(bench.opened.len(), DATAGRAMS_PER_UPSTREAM_MAX + 1);
}

#[test]
fn a_connection_that_dies_after_the_handshake_or_another_answer_is_noticed_too() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.wait(100);
    bench.connect(0);
    bench.written(0);
    bench.wait(500);
    assert_eq!(bench.opened.len(), 2, "silent since the handshake");
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.ask(2, "b.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.wait(10);
    bench.answer(0, &queries[0]);
    bench.wait(450);
    assert_eq!(bench.opened.len(), 2, "silent since the other answer");
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None), (2, GOOD, None)]);
}

#[test]
fn a_question_waits_for_a_slow_dial_when_there_is_nothing_else() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.wait(850);
    assert_eq!(bench.opened.len(), 2, "two dials and no more");
    bench.ask(2, "b.example");
    assert!(bench.replies.is_empty());
    bench.connect(0);
    assert_eq!(bench.written(0).len(), 2);
}

#[test]
fn a_house_full_of_silent_connections_makes_room_for_a_new_one() {
    let mut bench = Bench::one();
    for place in 0..4 {
        bench.ask(u32::try_from(place).unwrap(), &format!("n{place}.example"));
        bench.connect(place);
        bench.written(place);
        bench.wait(401);
    }
    bench.ask(9, "z.example");
    assert!(
        bench.replies.iter().all(|(client, _)| *client != 9),
        "told that nobody is there while a new connection was not tried"
    );
    assert_eq!((bench.opened.len(), bench.closed.len()), (5, 1));
    let newest = bench.opened.len() - 1;
    bench.connect(newest);
    let queries = bench.written(newest);
    let mine = queries.iter().find(|query| query.1 == "z.example").unwrap();
    bench.answer(newest, mine);
    assert_eq!(bench.outcomes().last(), Some(&(9, GOOD, None)));
}

#[test]
fn the_other_address_is_tried_when_the_one_in_use_goes_whatever_happened_before() {
    let mut bench = Bench::new(&[&["192.0.2.1:853", "192.0.2.2:853"]]);
    bench.ask(1, "a.example");
    bench.close(0, CloseReason::Refused);
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    bench.close(1, CloseReason::Ended);
    bench.ask(2, "b.example");
    assert_eq!(bench.opened[2].2, endpoint("192.0.2.2:853"));
    bench.close(2, CloseReason::Refused);
    assert_eq!(bench.opened[3].2, endpoint("192.0.2.1:853"));
    bench.connect(3);
    let queries = bench.written(3);
    bench.answer(3, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None), (2, GOOD, None)]);
}

#[test]
fn a_trial_goes_through_every_address() {
    let mut bench = Bench::new(&[&["192.0.2.1:853", "192.0.2.2:853"]]);
    bench.ask(1, "a.example");
    bench.close(0, CloseReason::Refused);
    bench.close(1, CloseReason::Refused);
    assert_eq!(bench.outcomes(), [(1, Rcode::SERVFAIL, Some(23))]);
    bench.wait(800);
    bench.ask(2, "b.example");
    bench.close(2, CloseReason::Refused);
    assert_eq!(bench.opened.len(), 4, "the second address may be back");
    bench.connect(3);
    let queries = bench.written(3);
    let mine = queries.iter().find(|query| query.1 == "b.example").unwrap();
    bench.answer(3, mine);
    assert_eq!(bench.outcomes()[1], (2, GOOD, None));
}

#[test]
fn a_second_try_that_is_lost_is_replaced_though_the_first_still_runs() {
    let mut bench = Bench::new(&[&["192.0.2.1:853"], &["192.0.2.2:853"], &["192.0.2.3:853"]]);
    bench.ask(1, "a.example");
    bench.wait(400);
    assert_eq!(bench.opened[1].1, 1);
    bench.close(1, CloseReason::Reset);
    assert_eq!(bench.opened[2].1, 2, "the third upstream is asked at once");
    bench.connect(2);
    let queries = bench.written(2);
    bench.answer(2, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

#[test]
fn nothing_is_sent_for_those_whose_deadline_passed_in_a_sleep() {
    let mut bench = Bench::two();
    bench.ask(1, "a.example");
    bench.connect(0);
    bench.written(0);
    bench.now = bench.now + Duration::from_secs(3_600);
    bench.engine.handle_timeout(bench.now);
    bench.settle();
    assert_eq!((bench.opened.len(), bench.replies.len()), (1, 1));
}

#[test]
fn dials_that_hang_do_not_use_up_the_connections_at_once() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.wait(850);
    bench.ask(2, "b.example");
    assert_eq!(bench.opened.len(), 2);
    bench.wait(400);
    bench.ask(3, "c.example");
    assert_eq!(bench.opened.len(), 3, "a third beside the two that hang");
    bench.connect(2);
    assert_eq!(bench.outcomes(), []);
    let queries = bench.written(2);
    assert!(queries.iter().any(|query| query.1 == "c.example"));
}

#[test]
fn an_upstream_without_a_connection_to_offer_is_passed_over() {
    let mut bench = Bench::two();
    // The first upstream's dials hang; whatever its trials use up, the second one is always there.
    for round in 0..60 {
        bench.ask(round, &format!("n{round}.example"));
        for place in 0..bench.opened.len() {
            if bench.opened[place].1 == 1 {
                bench.connect(place);
                for query in bench.written(place) {
                    bench.answer(place, &query);
                }
            }
        }
        bench.wait(130);
    }
    let failed = bench.outcomes().into_iter().filter(|reply| reply.1 != GOOD);
    assert_eq!(failed.count(), 0);
}

#[test]
fn all_connections_draining_at_once_leave_room_for_new_ones() {
    let mut bench = Bench::one();
    let mut client = 0;
    while bench.opened.len() < 4 {
        bench.ask(client, &format!("n{client}.example"));
        client += 1;
        if client % 1_024 == 1 {
            bench.connect(bench.opened.len() - 1);
        }
        assert!(client < 10_000);
    }
    for place in 0..4 {
        bench.connect(place);
    }
    let endpoints = vec![endpoint("192.0.2.99:853")];
    bench
        .engine
        .set_endpoints(UpstreamId(0), endpoints, bench.now);
    bench.ask(20_000, "z.example");
    assert_eq!((bench.opened.len(), bench.replies.len()), (5, 0));
}

#[test]
fn a_question_whose_dial_was_overtaken_is_still_looked_after() {
    let mut bench = Bench::new(&[&["192.0.2.1:853"], &["192.0.2.2:853", "192.0.2.3:853"]]);
    bench.ask(1, "a.example");
    bench.wait(650);
    assert_eq!(bench.opened[2].2, endpoint("192.0.2.3:853"));
    bench.connect(2);
    bench.wait(500);
    let queries = bench.written(2);
    assert_eq!(queries.len(), 1, "the first upstream's dial hangs");
    bench.answer(2, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

#[test]
fn a_second_try_takes_no_connection_that_may_be_as_dead_as_the_first() {
    let mut bench = Bench::one();
    for client in 0..1_025 {
        bench.ask(client, &format!("n{client}.example"));
    }
    bench.connect(0);
    bench.connect(1);
    for place in 0..2 {
        for query in bench.written(place) {
            bench.answer(place, &query);
        }
    }
    bench.wait(1_000);
    let before = bench.opened.len();
    bench.ask(9_000, "a.example");
    bench.wait(80);
    assert_eq!(
        bench.opened.len(),
        before + 1,
        "both stood idle; whatever took one may have taken both"
    );
}

#[test]
fn who_was_asked_and_lost_is_asked_again_when_another_refuses() {
    let mut bench = Bench::two();
    bench.ask(1, "a.example");
    bench.connect(0);
    bench.wait(400);
    bench.connect(1);
    bench.close(0, CloseReason::Reset);
    let queries = bench.written(1);
    let refused = response(&queries[0], Rcode::REFUSED);
    bench.receive(1, &refused);
    let place = bench.opened.len() - 1;
    assert_eq!(bench.opened[place].1, 0);
    bench.connect(place);
    let queries = bench.written(place);
    bench.answer(place, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

#[test]
fn one_slow_name_on_a_quiet_connection_is_no_outage() {
    let mut bench = Bench::two();
    bench.ask(1, "quick.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.wait(15);
    bench.answer(0, &queries[0]);
    bench.ask(2, "slow.example");
    let queries = bench.written(0);
    bench.wait(120);
    bench.answer(0, &queries[0]);
    assert_eq!(bench.state(0), Some(HealthState::Up));
    let said = |event: &Event| matches!(event, Event::UpstreamSuspect { .. });
    assert!(!bench.events.iter().any(said));
    bench.ask(3, "next.example");
    assert_eq!(bench.written(0).len(), 1);
}

#[test]
fn an_upstream_without_addresses_is_no_company() {
    let mut bench = Bench::new(&[&["192.0.2.1:853"], &[]]);
    for client in 0..6 {
        bench.ask(client, &format!("n{client}.example"));
        let newest = bench.opened.len() - 1;
        bench.close(newest, CloseReason::Refused);
        bench.wait(801);
    }
    assert!(
        bench.opened.len() >= 6,
        "tried again within a second, as when there is no other"
    );
}

#[test]
fn an_error_without_a_question_is_an_answer_over_tls() {
    let mut bench = Bench::two();
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    let mut bare = vec![0; 12];
    bare[..2].copy_from_slice(&queries[0].0.to_be_bytes());
    bare[2] = 0x81;
    bare[3] = 0x85;
    bench.receive(0, &bare);
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    bare[..2].copy_from_slice(&queries[0].0.to_be_bytes());
    bench.receive(0, &bare);
    assert_eq!(bench.outcomes(), [(1, Rcode::REFUSED, None)]);
}

#[test]
fn a_dial_to_an_address_that_is_gone_is_given_up() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    let (engine, now) = (&mut bench.engine, bench.now);
    engine.set_endpoints(UpstreamId(0), vec![endpoint("192.0.2.7:853")], now);
    bench.settle();
    assert_eq!(bench.closed, [bench.connection(0)]);
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

/// Connects what was opened and has the second upstream answer what it was asked; the first one says nothing.
fn serve_second_only(bench: &mut Bench, connected: &mut usize) {
    for place in *connected..bench.opened.len() {
        bench.connect(place);
    }
    *connected = bench.opened.len();
    for place in 0..*connected {
        let queries = bench.taken(bench.connection(place), 128);
        let second = bench.opened[place].1 == 1;
        for query in queries.iter().filter(|_| second) {
            bench.answer(place, query);
        }
    }
}

#[test]
fn an_upstream_all_of_whose_connections_fall_silent_is_in_doubt_whatever_comes_after_them() {
    let mut bench = Bench::two();
    bench.ask(0, "first.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.wait(1);
    bench.answer(0, &queries[0]);
    let mut connected = 1;
    let mut asked_at = vec![bench.now];
    let mut slowest = Duration::ZERO;
    for client in 1..=150 {
        bench.ask(client, &format!("n{client}.example"));
        asked_at.push(bench.now);
        for _ in 0..10 {
            bench.wait(1);
            let known = bench.replies.len();
            serve_second_only(&mut bench, &mut connected);
            for (client, _) in &bench.replies[known..] {
                let began = asked_at[usize::try_from(*client).unwrap()];
                slowest = slowest.max(bench.now.since(began));
            }
        }
    }
    assert_eq!(bench.state(0), Some(HealthState::Suspect));
    assert!(slowest < Duration::from_millis(100), "{slowest:?}");
}

#[test]
fn an_upstream_that_allows_one_connection_works_on_it_and_is_not_dialed_for_every_question() {
    let mut bench = Bench::one();
    bench.ask(0, "first.example");
    bench.connect(0);
    let mut waiting = VecDeque::from(bench.written(0));
    let mut refused = 0;
    for client in 1..600 {
        bench.ask(client, &format!("n{client}.example"));
        waiting.extend(bench.written(0));
        bench.wait(5);
        // A queue builds up between the twentieth question and the hundredth, and stays.
        if !(20..100).contains(&client) || client % 2 == 0 {
            let query = waiting.pop_front().unwrap();
            bench.answer(0, &query);
        }
        while bench.opened.len() > refused + 1 {
            refused += 1;
            bench.close(refused, CloseReason::Reset);
        }
    }
    assert!(
        (2..=3).contains(&bench.opened.len()),
        "{}",
        bench.opened.len()
    );
    assert_eq!(bench.state(0), Some(HealthState::Up));
    assert!(bench.outcomes().iter().all(|(_, rcode, _)| *rcode == GOOD));
}
