use core::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

use super::*;
use crate::wire::{Class, QueryOptions, Question, RecordType, ResponseComposer, write_query};

struct Bench {
    connection: Connection<u32>,
    rng: ChaCha12Rng,
    now: Moment,
}

fn question(name: &str) -> Question {
    Question::new(&name.parse().unwrap(), RecordType::A, Class::IN)
}

impl Bench {
    fn new() -> Self {
        let endpoint = "192.0.2.1:853".parse().unwrap();
        Self {
            connection: Connection::new(UpstreamId(0), endpoint, Protocol::Tls, Moment::ZERO),
            rng: ChaCha12Rng::from_seed([3; 32]),
            now: Moment::ZERO,
        }
    }

    /// Says that a query sent then waits longer than 75 ms.
    fn impatience(&mut self, sent: Moment) -> Option<Moment> {
        let patience = Duration::from_millis(75);
        self.connection.handle_impatience(sent, patience, self.now)
    }

    fn ready() -> Self {
        let mut bench = Self::new();
        bench.connection.handle_ready(bench.now, 0.5);
        bench
    }

    fn submit(&mut self, owner: u32, name: &str) -> u16 {
        let options = QueryOptions {
            checking_disabled: false,
            dnssec_ok: false,
            keepalive: false,
            padding: None,
        };
        let mut message = Vec::new();
        write_query(question(name).view(), options, &mut message);
        let (connection, rng) = (&mut self.connection, &mut self.rng);
        connection
            .submit(owner, question(name).view(), &mut message, self.now, rng)
            .unwrap()
    }

    fn wait(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
    }
}

fn response(id: u16, name: &str) -> Vec<u8> {
    let mut message = ResponseComposer::new(&question(name)).finish();
    message[..2].copy_from_slice(&id.to_be_bytes());
    message
}

#[test]
fn questions_wait_while_opening_and_leave_together() {
    let mut bench = Bench::new();
    let first = bench.submit(1, "a.example");
    let second = bench.submit(2, "b.example");
    assert_ne!(first, second);
    assert!(bench.connection.outbound().is_empty());
    bench.connection.handle_ready(bench.now, 0.5);
    let outbound = bench.connection.outbound().to_vec();
    let mut reader = FrameReader::default();
    reader.push(&outbound);
    assert_eq!(reader.next_message().unwrap()[..2], first.to_be_bytes());
    assert_eq!(reader.next_message().unwrap()[..2], second.to_be_bytes());
    bench.connection.handle_transmitted(10);
    assert_eq!(bench.connection.outbound(), &outbound[10..]);
    bench.connection.handle_transmitted(outbound.len() - 10);
    assert!(bench.connection.outbound().is_empty());
}

#[test]
fn the_right_response_is_accepted_once() {
    let mut bench = Bench::ready();
    let id = bench.submit(7, "a.example");
    let message = response(id, "A.Example");
    assert!(matches!(
        bench.connection.accept(&message),
        Accepted::Response { owner: Some(7), .. }
    ));
    assert!(matches!(
        bench.connection.accept(&message),
        Accepted::Stray(None)
    ));
    assert_eq!(bench.connection.load(), 0);
}

#[test]
fn an_abandoned_query_keeps_its_id_until_its_answer_comes() {
    let mut bench = Bench::ready();
    let id = bench.submit(7, "a.example");
    bench.connection.abandon(id);
    assert_eq!(bench.connection.load(), 0);
    let message = response(id, "a.example");
    assert!(matches!(
        bench.connection.accept(&message),
        Accepted::Response { owner: None, .. }
    ));
    assert!(matches!(
        bench.connection.accept(&message),
        Accepted::Stray(None)
    ));
}

#[test]
fn answers_to_another_question_are_never_accepted_and_ten_end_the_connection() {
    let mut bench = Bench::ready();
    let id = bench.submit(7, "a.example");
    let mut wrong = [
        response(id, "b.example"),
        response(id, "a.example"),
        vec![0; 14],
    ];
    let qtype_at = wrong[1].len() - 3;
    wrong[1][qtype_at] = 28;
    wrong[2][..2].copy_from_slice(&id.to_be_bytes());
    for round in 1..MISMATCHES_MAX {
        let message = &wrong[usize::try_from(round).unwrap() % 3];
        assert!(matches!(
            bench.connection.accept(message),
            Accepted::Disputed { owner: Some(7), .. }
        ));
    }
    assert_eq!(bench.connection.load(), 1);
    assert!(matches!(
        bench.connection.accept(&wrong[0]),
        Accepted::Misbehaved
    ));
}

#[test]
fn a_frame_without_a_header_is_not_dns() {
    let mut bench = Bench::ready();
    bench.submit(7, "a.example");
    for length in [0, 1, 11] {
        assert!(matches!(
            bench.connection.accept(&vec![0; length]),
            Accepted::Misbehaved
        ));
    }
}

#[test]
fn silence_makes_it_suspect_and_any_octet_clears_it() {
    let mut bench = Bench::ready();
    bench.wait(10);
    bench.submit(1, "a.example");
    let sent = bench.now;
    bench.wait(100);
    assert_eq!(bench.impatience(sent), None);
    assert!(!bench.connection.is_usable());
    bench.wait(299);
    assert_eq!(bench.connection.due(bench.now), None);
    bench.wait(1);
    assert_eq!(bench.connection.due(bench.now), Some(Due::Doubt));
    bench.connection.set_doubted();
    bench.wait(1_599);
    assert_eq!(bench.connection.due(bench.now), None);
    bench.connection.handle_received(bench.now);
    assert!(bench.connection.is_usable());
    assert_eq!(bench.impatience(sent), Some(bench.now));
    bench.wait(75);
    assert_eq!(bench.impatience(sent), None, "silent for as long again");
}

#[test]
fn a_suspect_connection_ends_with_the_budget_of_the_question_it_left_waiting() {
    let mut bench = Bench::ready();
    bench.submit(1, "a.example");
    let sent = bench.now;
    bench.wait(400);
    assert_eq!(bench.impatience(sent), None);
    assert_eq!(bench.connection.due(bench.now), Some(Due::Doubt));
    bench.connection.set_doubted();
    bench.wait(1_599);
    assert_eq!(bench.connection.due(bench.now), None);
    bench.wait(1);
    assert_eq!(
        bench.connection.due(bench.now),
        Some(Due::Close(CloseReason::Silent))
    );
    assert_eq!(bench.connection.into_owners(), [1]);
}

#[test]
fn opening_has_a_head_start_and_an_end() {
    let mut bench = Bench::new();
    bench.wait(249);
    assert_eq!(bench.connection.due(bench.now), None);
    bench.wait(1);
    assert_eq!(bench.connection.due(bench.now), Some(Due::Overtake));
    bench.connection.set_overtaken();
    bench.wait(2_749);
    assert_eq!(bench.connection.due(bench.now), None);
    bench.wait(1);
    assert_eq!(
        bench.connection.due(bench.now),
        Some(Due::Close(CloseReason::DialTimedOut))
    );
}

#[test]
fn idling_ends_after_what_was_learned() {
    let mut bench = Bench::ready();
    bench.connection.idle_after = Duration::from_secs(9);
    let id = bench.submit(1, "a.example");
    bench.wait(20_000);
    assert_eq!(
        bench.connection.due(bench.now),
        None,
        "a question in flight is no idling"
    );
    bench.connection.accept(&response(id, "a.example"));
    bench.connection.handle_received(bench.now);
    bench.wait(8_999);
    assert_eq!(bench.connection.due(bench.now), None);
    bench.wait(1);
    assert_eq!(
        bench.connection.due(bench.now),
        Some(Due::Close(CloseReason::Idle))
    );
}

#[test]
fn an_old_connection_serves_until_its_successor_is_ready_and_then_drains() {
    let mut bench = Bench::ready();
    bench.connection.idle_after = Duration::from_secs(9_999);
    bench.wait(3_600_000);
    assert_eq!(bench.connection.due(bench.now), Some(Due::Succeed));
    bench.connection.set_aged(Moment::ZERO);
    assert!(bench.connection.is_usable() && !bench.connection.is_lasting());
    let id = bench.submit(1, "a.example");
    bench.connection.drain();
    assert!(!bench.connection.is_usable());
    assert_eq!(bench.connection.due(bench.now), None);
    bench.connection.accept(&response(id, "a.example"));
    assert_eq!(
        bench.connection.due(bench.now),
        Some(Due::Close(CloseReason::Aged))
    );
}
