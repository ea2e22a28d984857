//! The paths of a query through the core, each walked a given number of times, so that their instructions can be counted.
//!
//! ```text
//! paths PATH TIMES
//! ```
//!
//! `ci/instructions` runs this under callgrind with two numbers of times and divides the difference: what start and end cost falls out.
//! Time stands still or moves by fixed steps and randomness is seeded, so that two runs do the same.
//!
//! Deliberately absent: any measuring of time.

#![expect(
    clippy::unwrap_used,
    reason = "a path that is not walked as meant must not be counted"
)]

use core::hint::black_box;
use core::time::Duration;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use dotward_core::cache::{Cache, CacheConfig};
use dotward_core::engine::{Action, Engine, EngineConfig, Replies};
use dotward_core::front::{Client, Front, FrontConfig, Verdict};
use dotward_core::policy::{Acl, PolicyConfig, RebindingGuard};
use dotward_core::rate::RateConfig;
use dotward_core::time::{Moment, WallSeconds};
use dotward_core::upstream::{ConnectionId, Strategy, UpstreamConfig};
use dotward_core::wire::frame::{FrameReader, append_frame};
use dotward_core::wire::{
    Asker, Class, HEADER_LEN, QueryOptions, QueryView, Question, RecordType, ReplyOrigin,
    ResponseView, Transport, render_reply, write_query,
};
use ipnet::{IpNet, Ipv4Net};

const NAME: &str = "a-usual-name.of-some-length.example.com";

/// Questions in flight at a time on the path through the engine.
const BATCH: usize = 16;

/// Clients who wait for the same at a time on the path of those who are told that there is no answer.
const CROWD: usize = 960;

/// Octets the client takes over UDP.
const UDP_MAX: u16 = 1232;

/// NOERROR to a recursive query, one question and two records of answer.
const RESPONSE_HEADER: [u8; 10] = [0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0];
/// An A record whose owner is the question's name, TTL 300.
const ADDRESS: [u8; 16] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, 1];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap();
    let times: usize = arguments.next().unwrap().parse().unwrap();
    match path.as_str() {
        "parse-query" => parse_query(times),
        "parse-response" => parse_response(times),
        "render-reply" => render(times),
        "special-name" => front(times, "printer.local", true),
        "forward" => front(times, NAME, false),
        "cached" => cached(times),
        "cached-guarded" => cached_guarded(times),
        "in-flight" => in_flight(times, None),
        "in-flight-judged" => in_flight(times, Some(Arc::new(RebindingGuard::new(&[])))),
        "expired" => expired(times),
        other => panic!("no such path: {other}"),
    }
}

fn query(name: &str) -> Vec<u8> {
    let question = Question::new(&name.parse().unwrap(), RecordType::A, Class::IN);
    let options = QueryOptions {
        checking_disabled: false,
        dnssec_ok: false,
        keepalive: false,
        padding: None,
    };
    let mut message = Vec::new();
    write_query(question.view(), options, &mut message);
    message
}

/// The response of a resolver to `query`.
fn response(query: &[u8]) -> Vec<u8> {
    let view = QueryView::parse(query).unwrap();
    let question = view.question();
    let mut message = Vec::with_capacity(HEADER_LEN + question.octets().len() + 2 * ADDRESS.len());
    message.extend_from_slice(&query[..2]);
    message.extend_from_slice(&RESPONSE_HEADER);
    message.extend_from_slice(question.octets());
    message.extend_from_slice(&ADDRESS);
    message.extend_from_slice(&ADDRESS);
    message
}

fn parse_query(times: usize) {
    let message = query(NAME);
    for _ in 0..times {
        let view = QueryView::parse(black_box(&message));
        assert!(black_box(view).is_ok());
    }
}

fn parse_response(times: usize) {
    let message = response(&query(NAME));
    for _ in 0..times {
        let view = ResponseView::parse(black_box(&message));
        assert!(black_box(view).is_ok());
    }
}

fn render(times: usize) {
    let (query, mut reply) = (query(NAME), Vec::new());
    let response = response(&query);
    let view = ResponseView::parse(&response).unwrap();
    let query = QueryView::parse(&query).unwrap();
    let asker = Asker::new(&query, Transport::Udp, UDP_MAX);
    for _ in 0..times {
        let origin = ReplyOrigin::Upstream;
        render_reply(black_box(&view), black_box(&asker), origin, &mut reply);
        black_box(&reply);
    }
}

fn new_front(cache: &Arc<Cache>) -> Front {
    let allow: Vec<_> = ["127.0.0.0/8", "10.0.0.0/8", "192.168.0.0/16", "fc00::/7"]
        .map(|network| network.parse().unwrap())
        .into();
    let mut config = FrontConfig::new(Acl::new(&allow), PolicyConfig::default());
    config.cache = Arc::clone(cache);
    Front::new(config)
}

fn client() -> Client {
    Client {
        address: SocketAddr::from(([192, 168, 1, 7], 40_000)),
        transport: Transport::Udp,
        idle: Duration::ZERO,
    }
}

fn judge(front: &Front, message: &[u8], now: Moment, reply: &mut Vec<u8>) -> Verdict {
    front.handle_query(message, &client(), now, WallSeconds::default(), reply)
}

fn front(times: usize, name: &str, replies: bool) {
    let front = new_front(&Arc::new(Cache::off()));
    let (message, mut reply) = (query(name), Vec::new());
    for _ in 0..times {
        let verdict = judge(&front, black_box(&message), Moment::ZERO, &mut reply);
        assert_eq!(matches!(black_box(verdict), Verdict::Reply), replies);
    }
}

/// Front, engine and one upstream that answers at once.
struct Chain {
    front: Front,
    engine: Engine<usize>,
    connection: Option<ConnectionId>,
    reader: FrameReader,
    responses: Vec<u8>,
    replies: Replies<usize>,
    reply: Vec<u8>,
    now: Moment,
}

impl Chain {
    fn new(cache: &Arc<Cache>) -> Self {
        let endpoint = "192.0.2.1:853".parse().unwrap();
        let upstream = UpstreamConfig::new("one".to_owned(), vec![endpoint]);
        let mut config = EngineConfig::new(vec![upstream], Strategy::Ordered);
        config.cache = Arc::clone(cache);
        Self {
            front: new_front(cache),
            engine: Engine::new(config, [7; 32]),
            connection: None,
            reader: FrameReader::default(),
            responses: Vec::new(),
            replies: Replies::default(),
            reply: Vec::new(),
            now: Moment::from_nanos(1),
        }
    }

    /// From each client's message to its reply by way of the upstream connection; all in one turn. Gives back how many were answered.
    fn turn(&mut self, queries: &[Vec<u8>]) -> usize {
        let engine = &mut self.engine;
        for (client, message) in queries.iter().enumerate() {
            let verdict = judge(&self.front, message, self.now, &mut self.reply);
            let Verdict::Forward(request) = verdict else {
                panic!("{NAME} is to be forwarded");
            };
            engine.submit(request, client, self.now);
        }
        open_first(engine, &mut self.connection, self.now);
        self.now = self.now + Duration::from_millis(1);
        while let Some(id) = engine.poll_transmit() {
            let octets = engine.outbound(id);
            let length = octets.len();
            self.reader.push(octets);
            engine.handle_transmitted(id, length);
        }
        self.responses.clear();
        while let Some(message) = self.reader.next_message() {
            assert!(append_frame(&response(message), &mut self.responses));
        }
        engine.handle_bytes(self.connection.unwrap(), &self.responses, self.now);
        engine.take_replies(&mut self.replies);
        let mut answered = 0;
        self.replies
            .drain(|_, message| answered += usize::from(!black_box(message).is_empty()));
        while let Some(event) = engine.poll_event() {
            black_box(event);
        }
        black_box(engine.poll_timeout());
        answered
    }
}

/// As many questions at a time as one turn may bring.
fn in_flight(times: usize, guard: Option<Arc<RebindingGuard>>) {
    let mut chain = Chain::new(&Arc::new(Cache::off()));
    chain.engine.set_guard(guard);
    let queries: Vec<Vec<u8>> = (0..BATCH)
        .map(|number| query(&format!("q{number}.{NAME}")))
        .collect();
    for _ in 0..times.div_ceil(BATCH) {
        assert_eq!(chain.turn(&queries), BATCH);
    }
}

/// Clients who ask for the same one after the other, and are each told when their time has passed.
fn expired(times: usize) {
    let mut chain = Chain::new(&Arc::new(Cache::off()));
    let message = query(NAME);
    for _ in 0..times / CROWD {
        for number in 0..u32::try_from(CROWD).unwrap() {
            let address = Ipv4Addr::from(0x0a00_0000 + number);
            let client = Client {
                address: SocketAddr::new(address.into(), 40_000),
                ..client()
            };
            let (now, reply) = (chain.now, &mut chain.reply);
            let verdict =
                chain
                    .front
                    .handle_query(&message, &client, now, WallSeconds::default(), reply);
            let Verdict::Forward(request) = verdict else {
                panic!("{NAME} is to be forwarded");
            };
            chain.engine.submit(request, 0, now);
            chain.now = now + Duration::from_micros(100);
        }
        assert_eq!(chain.engine.in_flight(), CROWD);
        let mut told = 0;
        while let Some(due) = chain.engine.poll_timeout()
            && told < CROWD
        {
            chain.now = chain.now.max(due);
            chain.engine.handle_timeout(chain.now);
            chain.engine.take_replies(&mut chain.replies);
            chain.replies.drain(|_, _| told += 1);
        }
        assert_eq!(told, CROWD);
    }
}

fn cached(times: usize) {
    let mut chain = Chain::new(&Arc::new(Cache::new(CacheConfig::new(1 << 20, [7; 16]))));
    let message = query(NAME);
    assert_eq!(chain.turn(std::slice::from_ref(&message)), 1);
    for _ in 0..times {
        let verdict = judge(
            &chain.front,
            black_box(&message),
            chain.now,
            &mut chain.reply,
        );
        assert!(matches!(black_box(verdict), Verdict::Cached));
    }
}

/// The same where everybody is counted and 10,000 networks may ask: what access list and rates cost is the difference.
fn cached_guarded(times: usize) {
    let cache = Arc::new(Cache::new(CacheConfig::new(1 << 20, [7; 16])));
    let mut chain = Chain::new(&cache);
    let message = query(NAME);
    assert_eq!(chain.turn(std::slice::from_ref(&message)), 1);
    let networks: Vec<IpNet> = (0..10_000_u32).map(network).collect();
    let mut config = FrontConfig::new(Acl::new(&networks), PolicyConfig::default());
    config.cache = cache;
    config.rate = Some(RateConfig {
        queries: 1_000,
        octets: 1_000_000,
        slip: 2,
        prefix_v4: 32,
        prefix_v6: 56,
        exempt: Acl::new(&["127.0.0.0/8", "10.0.0.0/8"].map(|it| it.parse().unwrap())),
        key: [3; 16],
    });
    let front = Front::new(config);
    let mut now = chain.now;
    for (place, network) in networks.iter().cycle().take(times).enumerate() {
        let client = Client {
            address: SocketAddr::new(network.addr(), 40_000),
            ..client()
        };
        now = now + Duration::from_micros(10);
        let (message, reply) = (black_box(&message), &mut chain.reply);
        let verdict = front.handle_query(message, &client, now, WallSeconds::default(), reply);
        assert!(matches!(black_box(verdict), Verdict::Cached), "{place}");
    }
}

/// Networks of 24 bits, no two side by side, in no order.
fn network(number: u32) -> IpNet {
    let place = number.wrapping_mul(7_919) % 10_000;
    Ipv4Net::new(Ipv4Addr::from(0x2000_0000 + (place << 9)), 24)
        .unwrap()
        .into()
}

fn open_first(engine: &mut Engine<usize>, connection: &mut Option<ConnectionId>, now: Moment) {
    while let Some(action) = engine.poll_action() {
        if let Action::Open { connection: id, .. } = action
            && connection.is_none()
        {
            *connection = Some(id);
            engine.handle_connected(id, now);
        }
    }
}
