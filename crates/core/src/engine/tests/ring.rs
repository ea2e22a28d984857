//! Forwarders that ask each other in a ring: nobody has the answer, and the question has to die out. So have the probes, which are
//! questions to whoever gets them.

use super::*;
use crate::cache::CacheConfig;
use crate::exchange::Source;

/// Milliseconds a message takes to the next one.
const HOP: u64 = 1;

/// The client; all others are members of the ring, by connection and message ID.
const CLIENT: u32 = u32::MAX;

/// An engine whose one upstream is the next one of the ring.
struct Member {
    bench: Bench,
    connected: usize,
}

impl Member {
    fn new(cache: Cache, seed: u8) -> Self {
        let endpoints = vec![endpoint("192.0.2.1:853")];
        let upstreams = vec![UpstreamConfig::new("next", endpoints)];
        let config = EngineConfig {
            cache: Arc::new(cache),
            ..EngineConfig::new(upstreams, Strategy::Ordered)
        };
        let mut bench = Bench::one();
        bench.engine = Engine::new(config, [seed; 32]);
        Self {
            bench,
            connected: 0,
        }
    }

    fn ask(&mut self, client: u32, id: u16, question: Question) {
        let asker = Asker {
            id,
            flags: Flags::NONE.with_recursion_desired(true),
            question,
            edns: None,
            options: crate::wire::ReplyOptions::NONE,
            transport: Transport::Tls,
        };
        let request = Request {
            asker,
            group: GroupId::DEFAULT,
            source: Source::of([192, 0, 2, 1].into()),
            since: self.bench.now,
            stale: false,
            signed: None,
        };
        self.bench.engine.submit(request, client, self.bench.now);
        self.bench.settle();
    }

    /// What it asks the next one: by connection and message ID.
    fn queries(&mut self) -> Vec<(u32, u16, Question)> {
        for place in self.connected..self.bench.opened.len() {
            self.bench.connect(place);
        }
        self.connected = self.bench.opened.len();
        let mut queries = Vec::new();
        for place in 0..self.connected {
            let id = self.bench.connection(place);
            let outbound = self.bench.engine.outbound(id).to_vec();
            self.bench.engine.handle_transmitted(id, outbound.len());
            let mut reader = FrameReader::default();
            reader.push(&outbound);
            while let Some(message) = reader.next_message() {
                let view = QueryView::parse(message).unwrap();
                let from = u32::try_from(place).unwrap() << 16 | u32::from(view.header().id);
                queries.push((from, view.header().id, view.question().to_owned()));
            }
        }
        queries
    }
}

/// Lets a ring go on for `seconds` after a client has asked one of it; gives back how many questions went from one to the next in each
/// second.
fn questions_in_each_second(ring: &mut [Member], seconds: usize) -> Vec<usize> {
    ring[0].ask(CLIENT, 1, question("around.example"));
    let mut answered = 0;
    let mut numbers = Vec::new();
    for _ in 0..seconds {
        let mut asked = 0;
        for _ in 0..1_000 / HOP {
            for place in 0..ring.len() {
                let (next, before) = (
                    (place + 1) % ring.len(),
                    (place + ring.len() - 1) % ring.len(),
                );
                for (client, message) in std::mem::take(&mut ring[place].bench.replies) {
                    match client {
                        CLIENT => answered += 1,
                        _ => ring[before]
                            .bench
                            .receive((client >> 16) as usize, &message),
                    }
                }
                for (from, id, question) in ring[place].queries() {
                    asked += 1;
                    ring[next].ask(from, id, question);
                }
            }
            ring.iter_mut().for_each(|member| member.bench.wait(HOP));
        }
        numbers.push(asked);
    }
    assert_eq!(answered, 1);
    numbers
}

#[test]
fn a_question_dies_out_in_a_ring_also_where_no_answers_are_kept() {
    for length in [2, 3, 5] {
        let member = |seed| Member::new(Cache::new(CacheConfig::new(0, [seed; 16])), seed);
        let mut ring: Vec<Member> = (0..length).map(member).collect();
        let numbers = questions_in_each_second(&mut ring, 40);
        assert!(numbers[0] > 0, "it goes around at all");
        let late: usize = numbers[20..].iter().sum();
        assert_eq!(late, 0, "{length}: {numbers:?}");
    }
}
