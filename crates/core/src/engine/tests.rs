use core::time::Duration;

use super::*;
use crate::cache::Cache;
use crate::limits::{
    CONNECTIONS_PER_UPSTREAM_MAX, DATAGRAMS_PER_UPSTREAM_MAX, DIAL_TIMEOUT,
    DRAINING_PER_UPSTREAM_MAX, HEDGE_BURST, IDLE_TIMEOUT, IN_FLIGHT_BEFORE_GROWTH,
    QUESTIONS_PER_HEDGE, SENDS_MAX,
};
use crate::upstream::{GroupId, HealthState, Protocol, TlsFault};
use crate::wire::frame::{FrameReader, append_frame};
use crate::wire::{
    Asker, Class, Flags, QueryView, Question, Rcode, RecordType, ResponseComposer, ResponseView,
    Transport,
};
use std::sync::Arc;

mod addresses;
mod clear_text;
mod counts;
mod crowd;
mod edns;
mod failures;
mod groups;
mod guard;
mod keeping;
mod kept;
mod lifecycle;
mod mute;
mod poor;
mod questions;
mod reconfigure;
mod ring;
mod shared;
mod signed;
mod slow;
mod warm;

/// An engine, what came out of it, and a clock that moves only when told.
struct Bench {
    engine: Engine<u32>,
    now: Moment,
    opened: Vec<(ConnectionId, usize, SocketAddr)>,
    /// How many of those for one datagram.
    datagrams: usize,
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
            label: Box::default(),
        };
        let config = EngineConfig {
            upstreams,
            groups: vec![group],
            budget: QUESTION_BUDGET,
            cache: Arc::new(Cache::off()),
        };
        Self {
            engine: Engine::new(config, [42; 32]),
            now: Moment::from_nanos(1_000_000_000),
            opened: Vec::new(),
            datagrams: 0,
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
                    protocol,
                } => {
                    self.datagrams += usize::from(protocol == Protocol::Udp);
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
        self.ask_as(client, name, group, Transport::Udp);
    }

    fn ask_as(&mut self, client: u32, name: &str, group: GroupId, transport: Transport) {
        let source = crate::exchange::Source::of([192, 0, 2, 1].into());
        self.ask_from(source, client, name, group, transport);
    }

    fn ask_from(
        &mut self,
        source: crate::exchange::Source,
        client: u32,
        name: &str,
        group: GroupId,
        transport: Transport,
    ) {
        let asker = Asker {
            id: u16::try_from(client).unwrap(),
            flags: Flags::NONE.with_recursion_desired(true),
            question: question(name),
            edns: Some(crate::wire::AskerEdns {
                udp_size: 1232,
                dnssec_ok: false,
            }),
            options: crate::wire::ReplyOptions::NONE,
            transport,
        };
        let request = Request {
            asker,
            group,
            source,
            since: self.now,
            stale: false,
            signed: None,
        };
        self.engine.submit(request, client, self.now);
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

    /// Answers the one query a connection has to write, which is a probe.
    fn answer_probe(&mut self, place: usize) {
        let probe = self.written(place);
        assert_eq!((probe.len(), probe[0].1.as_str()), (1, "."));
        let question = Question::new(&".".parse().unwrap(), RecordType::NS, Class::IN);
        let mut message = ResponseComposer::new(&question).finish();
        message[..2].copy_from_slice(&probe[0].0.to_be_bytes());
        self.receive(place, &message);
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

/// Upstream 0 is public; upstreams from 1 on are a private group that falls back to it.
fn with_fallback(private: usize) -> Bench {
    let upstreams = upstreams(&vec![0; private + 1]);
    let group = |members: std::ops::Range<usize>, fallback| GroupConfig {
        members: members.map(UpstreamId).collect(),
        strategy: Strategy::Ordered,
        fallback,
        label: Box::default(),
    };
    let groups = vec![
        group(0..1, None),
        group(1..private + 1, Some(GroupId::DEFAULT)),
    ];
    let config = EngineConfig {
        upstreams,
        groups,
        budget: QUESTION_BUDGET,
        cache: Arc::new(Cache::off()),
    };
    let mut bench = Bench::two();
    bench.engine = Engine::new(config, [1; 32]);
    bench
}

/// A response with an edns-tcp-keepalive option of `tenths` of a second.
fn with_keepalive(query: &(u16, String), tenths: u8) -> Vec<u8> {
    let mut message = response(query, GOOD);
    message[11] = 1;
    message.extend_from_slice(b"\x00\x00\x29\x04\xd0\0\0\0\0\x00\x06\x00\x0b\x00\x02\x00");
    message.push(tenths);
    message
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
