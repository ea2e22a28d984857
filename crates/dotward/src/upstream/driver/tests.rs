//! Upstream connections turn by turn, with the sockets of both sides at hand.

use std::io::Read;
use std::net::{Ipv4Addr, TcpStream as StdStream};
use std::time::Duration;

use dotward_core::engine::Action;
use dotward_core::front::{Client, Verdict};
use dotward_core::time::WallSeconds;
use dotward_core::wire::{Class, QueryOptions, Question, RecordType, Transport, write_query};
use socket2::SockRef;
use tokio::net::TcpListener;

use super::*;
use crate::clock;
use crate::listen::stream::ClientKey;
use crate::near::{ReplyTo, Way};
use crate::worker::AskedBy;

/// No wait of a test is longer.
const BOUND: Duration = Duration::from_secs(10);

struct Pair {
    state: State,
    connection: ConnectionId,
    source: Rc<TcpStream>,
    signal: Rc<Signal>,
    upstream: StdStream,
}

/// Gives the engine a question.
fn reply_to() -> ReplyTo {
    ReplyTo {
        way: Way::Stream(ClientKey::default()),
        transport: Transport::Tcp,
        proven: true,
        since: clock::now(),
    }
}

fn submit(state: &mut State, number: usize) {
    let name = format!("a-name-of-some-length-to-fill-the-buffer-{number}.example");
    let question = Question::new(&name.parse().unwrap(), RecordType::A, Class::IN);
    let options = QueryOptions {
        keepalive: false,
        checking_disabled: false,
        dnssec_ok: false,
        padding: None,
    };
    let mut message = Vec::new();
    write_query(question.view(), options, &mut message);
    let client = Client {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 5353)),
        transport: Transport::Tcp,
        idle: Duration::ZERO,
    };
    let (near, now) = (&mut state.near, clock::now());
    let verdict = near.front.handle_query(
        &message,
        &client,
        now,
        WallSeconds::default(),
        &mut near.reply,
    );
    let Verdict::Forward(request) = verdict else {
        panic!("{verdict:?}");
    };
    let to = AskedBy::Here(reply_to());
    state.engine.submit(request, to, clock::now());
}

/// A connection the engine asked for, without TLS, in the phase that `phase` makes of its stream.
async fn pair(phase: impl FnOnce(Stream) -> Phase) -> Pair {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let upstream = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, endpoint) = listener.accept().await.unwrap();
    SockRef::from(&socket).set_send_buffer_size(8192).unwrap();
    let mut state = State::for_test();
    submit(&mut state, 0);
    let Some(Action::Open {
        connection,
        upstream: id,
        ..
    }) = state.engine.poll_action()
    else {
        panic!("no connection is opened");
    };
    let stream = Stream::plain(socket);
    let source = stream.socket();
    let signal = Rc::new(Signal::default());
    let open = UpstreamConnection {
        upstream: id,
        endpoint,
        signal: Rc::clone(&signal),
        began: clock::now(),
        tls: None,
        phase: phase(stream),
    };
    state.connections.insert(connection, open);
    Pair {
        state,
        connection,
        source,
        signal,
        upstream,
    }
}

#[tokio::test]
async fn queries_beyond_one_chunk_follow_when_a_full_socket_has_room_again() {
    let mut pair = pair(Phase::Up).await;
    let (state, connection) = (&mut pair.state, pair.connection);
    state.engine.handle_connected(connection, clock::now());
    for number in 1..2000 {
        submit(state, number);
    }
    let wanted = state.engine.outbound(connection).len();
    assert!(wanted > 2 * TRANSMIT_CHUNK, "{wanted}");
    transmit(state, connection, clock::now());
    assert!(is_blocked(state, connection));
    // The upstream reads everything and says nothing before it has it.
    let (mut upstream, bound) = (pair.upstream, Some(BOUND));
    upstream.set_read_timeout(bound).unwrap();
    let reader = tokio::task::spawn_blocking(move || upstream.read_exact(&mut vec![0; wanted]));
    while !state.engine.outbound(connection).is_empty() || is_blocked(state, connection) {
        assert!(is_blocked(state, connection), "nothing would wake the task");
        let ready = pair.signal.ready(&*pair.source, None);
        assert_eq!(tokio::time::timeout(BOUND, ready).await, Ok(Ready::Io));
        serve(state, connection, clock::now());
    }
    reader.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_that_cannot_be_examined_is_not_reported_up() {
    let mut pair = pair(Phase::Handshaking).await;
    let (state, connection) = (&mut pair.state, pair.connection);
    assert!(!complete_handshake(state, connection, clock::now()));
    assert!(state.connections.get(connection).is_none());
    assert!(state.engine.outbound(connection).is_empty());
}
