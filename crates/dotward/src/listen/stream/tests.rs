//! Client streams turn by turn, with the sockets of both sides at hand.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream as StdStream};

use dotward_core::wire::frame::append_frame;
use dotward_core::wire::{Class, QueryOptions, Question, RecordType, Transport, write_query};
use socket2::SockRef;
use tokio::net::TcpListener;

use super::*;
use crate::limits::{CLIENT_IDLE, CLIENT_READ_PER_TURN, CLIENTS_BACKLOG, CLIENTS_UNREAD};
use crate::worker::State;

/// Octets of the proxy's receive buffer, so that the kernel hides little of what was read; it grants twice that.
const RECEIVE_BUFFER: usize = 16 * 1024;

struct Pair {
    state: State,
    key: ClientKey,
    source: Rc<TcpStream>,
    client: StdStream,
}

/// A client that connects and is admitted among others.
async fn pair_in(state: &mut State) -> (ClientKey, Rc<TcpStream>, StdStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    SockRef::from(&listener)
        .set_recv_buffer_size(RECEIVE_BUFFER)
        .unwrap();
    let client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nonblocking(true).unwrap();
    SockRef::from(&client)
        .set_send_buffer_size(RECEIVE_BUFFER)
        .unwrap();
    let (socket, address) = listener.accept().await.unwrap();
    let stream = Stream::plain(socket);
    let source = stream.socket();
    let who = Client {
        address,
        transport: Transport::Tcp,
        idle: CLIENT_IDLE,
    };
    let (key, _) = state
        .near
        .clients
        .admit(stream, who, (Opening::Octets, None), clock::now());
    (key, source, client)
}

async fn pair() -> Pair {
    let mut state = State::for_test();
    let (key, source, client) = pair_in(&mut state).await;
    Pair {
        state,
        key,
        source,
        client,
    }
}

#[tokio::test]
async fn who_owes_most_goes_when_all_together_owe_too_much() {
    let mut state = State::for_test();
    let (large, _source, _client) = pair_in(&mut state).await;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(pair_in(&mut state).await);
    }
    let clients = &mut state.near.clients;
    let message = [0; 60_000];
    while clients.owed + message.len() < CLIENTS_BACKLOG {
        clients.reply(large, &message);
    }
    assert!(clients.streams.contains_key(large));
    for (key, ..) in &others {
        clients.reply(*key, &message);
        assert!(clients.owed <= CLIENTS_BACKLOG, "{}", clients.owed);
        assert!(clients.streams.contains_key(*key));
    }
    assert!(!clients.streams.contains_key(large));
}

/// Has the worker read what the client sends, and gives back how many octets the client could send.
fn send(state: &mut State, key: ClientKey, client: &mut StdStream, octets: &[u8]) -> usize {
    let sent = client.write(octets).unwrap_or(0);
    let (near, engine) = (&mut state.near, &mut state.engine);
    serve(near, engine, key, Reading::InTurn, clock::now());
    sent
}

#[tokio::test]
async fn a_query_of_the_largest_size_is_taken_and_its_memory_given_back() {
    let mut pair = pair().await;
    // Padding fills it up (RFC 7830).
    let mut message = framed_query().split_off(2);
    message[11] = 1;
    let rest = u16::MAX - u16::try_from(message.len()).unwrap() - 11;
    message.extend_from_slice(&[0, 0, 41, 0x10, 0, 0, 0, 0, 0]);
    message.extend_from_slice(&rest.to_be_bytes());
    message.extend_from_slice(&[0, 12]);
    message.extend_from_slice(&(rest - 4).to_be_bytes());
    message.resize(usize::from(u16::MAX), 0);
    let mut frame = Vec::new();
    assert!(append_frame(&message, &mut frame));
    let mut sent = 0;
    let of = |pair: &Pair| {
        let client = pair.state.near.clients.streams.get(pair.key).unwrap();
        (client.in_flight, client.unread)
    };
    let mut largest = 0;
    while of(&pair).0 == 0 {
        pair.source.readable().await.unwrap();
        let rest = &frame[sent..];
        sent += send(&mut pair.state, pair.key, &mut pair.client, rest);
        largest = largest.max(pair.state.near.clients.unread);
    }
    assert!(largest > 50_000, "{largest}");
    assert_eq!(of(&pair), (1, 0));
    assert_eq!(pair.state.near.clients.unread, 0);
}

#[tokio::test]
async fn messages_that_never_become_whole_take_a_bounded_amount_of_all_clients_together() {
    const HOSTILE: usize = 300;
    let mut state = State::for_test();
    state.near.clients.places.set(2 * HOSTILE, 2 * HOSTILE);
    // Half a query, as it may be when a network is slow.
    let mut small = pair_in(&mut state).await;
    let frame = framed_query();
    let (half, rest) = frame.split_at(frame.len() / 2);
    small.2.write_all(half).unwrap();
    small.1.readable().await.unwrap();
    send(&mut state, small.0, &mut small.2, &[]);
    let mut hostile = Vec::new();
    for _ in 0..HOSTILE {
        hostile.push((pair_in(&mut state).await, 0));
    }
    let mut frame = vec![7; 65_000];
    frame[0] = 0xff;
    let mut most = 0;
    for _ in 0..100 {
        // The event loop learns what there is to read.
        tokio::task::yield_now().await;
        for ((key, _, client), sent) in &mut hostile {
            *sent += send(&mut state, *key, client, &frame[*sent..]);
            let clients = &state.near.clients;
            let held = clients.streams.values().map(|it| it.messages.excess());
            assert_eq!(held.sum::<usize>(), clients.unread);
            assert!(clients.unread <= CLIENTS_UNREAD, "{}", clients.unread);
            most = most.max(clients.unread);
        }
    }
    assert!(most > CLIENTS_UNREAD - 1_000_000, "the bound was reached");
    let clients = &state.near.clients;
    let left = clients.streams.len() - 1;
    assert!((120..250).contains(&left), "{left} are within the bound");
    small.2.write_all(rest).unwrap();
    small.1.readable().await.unwrap();
    send(&mut state, small.0, &mut small.2, &[]);
    let asks = state.near.clients.streams.get(small.0).unwrap().in_flight;
    assert_eq!(asks, 1, "who holds little is not concerned");
    state.near.clients.close_all();
    assert_eq!(state.near.clients.unread, 0);
}

#[tokio::test]
async fn what_nobody_answers_does_not_keep_a_stream() {
    let mut pair = pair().await;
    let began = clock::now();
    let last = |pair: &Pair| {
        let client = pair.state.near.clients.streams.get(pair.key);
        client.unwrap().last_query
    };
    let mut send = async |octets: &[u8], seconds| {
        pair.client.write_all(octets).unwrap();
        pair.source.readable().await.unwrap();
        let state = &mut pair.state;
        let now = began + Duration::from_secs(seconds);
        let near = &mut state.near;
        serve(near, &mut state.engine, pair.key, Reading::InTurn, now);
        last(&pair)
    };
    let first = send(&framed_query(), 1).await;
    assert_eq!(first, began + Duration::from_secs(1));
    // A message of no octets.
    assert_eq!(send(&[0, 0], 9).await, first);
    let second = send(&framed_query(), 9).await;
    assert_eq!(second, began + Duration::from_secs(9));
}

fn framed_query() -> Vec<u8> {
    let question = Question::new(&"www.example".parse().unwrap(), RecordType::A, Class::IN);
    let options = QueryOptions {
        keepalive: false,
        checking_disabled: false,
        dnssec_ok: false,
        padding: None,
    };
    let (mut message, mut frame) = (Vec::new(), Vec::new());
    write_query(question.view(), options, &mut message);
    assert!(append_frame(&message, &mut frame));
    frame
}

#[tokio::test]
async fn a_client_that_never_pauses_is_read_only_when_no_whole_query_of_it_waits() {
    let mut pair = pair().await;
    let frame = framed_query();
    let stream = frame.repeat(100_000);
    let (mut written, mut replied) = (0, 0);
    for _ in 0..300 {
        let rest = stream.get(written % frame.len()..).unwrap();
        written += pair.client.write(rest).unwrap_or(0);
        pair.source.readable().await.unwrap();
        let state = &mut pair.state;
        serve(
            &mut state.near,
            &mut state.engine,
            pair.key,
            Reading::InTurn,
            clock::now(),
        );
        state.near.clients.reply(pair.key, &[0; 12]);
        state.near.clients.flush();
        replied += 1;
    }
    let client = pair.state.near.clients.streams.get(pair.key).unwrap();
    let taken = (replied + client.in_flight) * frame.len();
    // One turn's worth in the reader, the rest in the kernel.
    let inside = written - taken;
    let bound = 2 * CLIENT_READ_PER_TURN + 8 * RECEIVE_BUFFER;
    assert!(inside < bound, "{inside} octets wait, {bound} may");
}
