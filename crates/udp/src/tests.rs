//! Loopback tests of the public API; each runs on both back ends.
//!
//! Waiting is for readiness, never for time: [`PATIENCE`] only bounds how long a broken test hangs.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::*;

/// A back end's constructor.
type Open = fn(UdpSocket) -> io::Result<BatchSocket>;

/// Longest wait for something that is bound to happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes of each function, which takes a constructor, one test per back end.
macro_rules! on_both_back_ends {
    ($($name:ident),+ $(,)?) => {
        mod batched {
            $(#[test] fn $name() { super::$name(super::BatchSocket::new); })+
        }
        mod one_by_one {
            $(#[test] fn $name() { super::$name(super::BatchSocket::one_by_one); })+
        }
    };
}

on_both_back_ends!(
    v4_reply_leaves_from_the_address_asked,
    v6_reply_leaves_from_the_address_asked,
    dual_stack_serves_both_families,
    short_and_empty_datagrams_arrive_whole,
    datagram_of_4096_octets_arrives_whole_and_a_longer_one_says_it_is_cut,
    empty_socket_would_block_and_empties_the_batch,
    batches_come_in_order_and_never_exceed_their_size,
    full_batch_of_replies_goes_out,
    refused_messages_are_counted_and_the_others_go,
    batch_of_refused_messages_comes_to_an_end,
    v4_mapped_peer_is_reached_through_a_v4_socket,
    error_of_a_connected_peer_is_told_once,
    waiting_ends_when_the_time_has_passed,
    blocking_socket_becomes_non_blocking,
    descriptor_is_that_of_the_socket,
);

/// A socket on a free port of `ip`, of both families when `dual_stack`.
fn bound(ip: &str, dual_stack: bool) -> UdpSocket {
    let address = SocketAddr::new(ip.parse().unwrap(), 0);
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).unwrap();
    if address.is_ipv6() {
        socket.set_only_v6(!dual_stack).unwrap();
    }
    socket.bind(&SockAddr::from(address)).unwrap();
    socket.into()
}

fn server(open: Open, ip: &str) -> BatchSocket {
    open(bound(ip, false)).unwrap()
}

/// A blocking client that gives up after [`PATIENCE`].
fn client(ip: &str) -> UdpSocket {
    let client = bound(ip, false);
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// The address of `server` on `ip`.
fn at(server: &BatchSocket, ip: &str) -> SocketAddr {
    let port = server.local_addr().unwrap().port();
    SocketAddr::new(ip.parse().unwrap(), port)
}

/// What a test keeps of a datagram.
type Received = (Vec<u8>, RecvMeta);

/// Receives until there are `count` datagrams.
fn receive(server: &BatchSocket, count: usize) -> Vec<Received> {
    let mut batch = RecvBatch::new();
    let mut all = Vec::new();
    while all.len() < count {
        assert!(server.wait_readable(Some(PATIENCE)).unwrap());
        let received = server.recv(&mut batch).unwrap();
        assert!((1..=BATCH_SIZE).contains(&received));
        assert_eq!(received, batch.len());
        assert_eq!(received, batch.iter().len());
        assert_eq!(received == BATCH_SIZE, batch.is_full());
        all.extend(
            batch
                .iter()
                .map(|datagram| (datagram.bytes.to_vec(), datagram.meta)),
        );
    }
    assert_eq!(all.len(), count);
    all
}

/// Sends one message and expects it to go.
fn reply(server: &BatchSocket, bytes: &[u8], meta: &RecvMeta) {
    let mut batch = SendBatch::new();
    batch.push(bytes, meta.peer, meta.local).unwrap();
    let outcome = server.send(&mut batch).unwrap();
    assert_eq!((outcome.sent, outcome.skipped, outcome.left), (1, 0, 0));
    assert!(batch.is_empty());
}

/// Asks `server` at `ip`, and expects the answer to come from there when the back end can do that.
/// Tells what the server knew.
fn ask_at(server: &BatchSocket, client: &UdpSocket, ip: &str) -> RecvMeta {
    let target = at(server, ip);
    client.send_to(b"query", target).unwrap();
    let (bytes, meta) = receive(server, 1).remove(0);
    assert_eq!(bytes, b"query");
    assert_eq!(meta.peer, client.local_addr().unwrap());
    reply(server, b"response", &meta);

    let mut buffer = [0; 64];
    let (len, source) = client.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"response");
    if server.keeps_source_address() {
        assert_eq!(meta.local.ip(), Some(target.ip()));
        assert_ne!(meta.local.interface(), 0);
        assert_eq!(source, target);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let age = now.saturating_sub(meta.arrived.unwrap());
        assert!(age < Duration::from_secs(60), "{age:?}");
    } else {
        assert_eq!(meta.local, LocalAddress::UNKNOWN);
    }
    meta
}

fn v4_reply_leaves_from_the_address_asked(open: Open) {
    let server = server(open, "0.0.0.0");
    let client = client("127.0.0.1");
    for ip in ["127.0.0.3", "127.0.0.1", "127.9.9.9"] {
        let meta = ask_at(&server, &client, ip);
        assert!(!meta.truncated);
    }
}

fn v6_reply_leaves_from_the_address_asked(open: Open) {
    let server = server(open, "::");
    ask_at(&server, &client("::1"), "::1");
}

fn dual_stack_serves_both_families(open: Open) {
    let server = open(bound("::", true)).unwrap();
    let v4 = client("127.0.0.1");
    for ip in ["127.0.0.3", "127.0.0.1"] {
        assert!(ask_at(&server, &v4, ip).peer.is_ipv4());
    }
    assert!(ask_at(&server, &client("::1"), "::1").peer.is_ipv6());
}

fn short_and_empty_datagrams_arrive_whole(open: Open) {
    let server = server(open, "127.0.0.1");
    let client = client("127.0.0.1");
    let lengths = [0, 1, 2, 11, 12, 13, 0];
    for len in lengths {
        client
            .send_to(&vec![7; len], at(&server, "127.0.0.1"))
            .unwrap();
    }
    for ((bytes, meta), len) in receive(&server, lengths.len()).iter().zip(lengths) {
        assert_eq!(bytes, &vec![7; len]);
        assert!(!meta.truncated);
        reply(&server, bytes, meta);
        assert_eq!(client.recv(&mut [0; 64]).unwrap(), len);
    }
}

fn datagram_of_4096_octets_arrives_whole_and_a_longer_one_says_it_is_cut(open: Open) {
    let server = server(open, "127.0.0.1");
    let client = client("127.0.0.1");
    for len in [DATAGRAM_SIZE_MAX + 1, DATAGRAM_SIZE_MAX, 20_000, 5] {
        let sent: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        client.send_to(&sent, at(&server, "127.0.0.1")).unwrap();
    }
    let received = receive(&server, 4);
    let lengths = [DATAGRAM_SIZE_MAX, DATAGRAM_SIZE_MAX, DATAGRAM_SIZE_MAX, 5];
    for ((bytes, meta), (len, cut)) in received
        .iter()
        .zip(lengths.into_iter().zip([true, false, true, false]))
    {
        assert_eq!((bytes.len(), meta.truncated), (len, cut));
        assert!((0..len).all(|at| bytes[at] == (at % 251) as u8));
    }
}

fn empty_socket_would_block_and_empties_the_batch(open: Open) {
    let server = server(open, "127.0.0.1");
    let mut batch = RecvBatch::new();
    let target = at(&server, "127.0.0.1");
    client("127.0.0.1").send_to(b"x", target).unwrap();
    assert!(server.wait_readable(Some(PATIENCE)).unwrap());
    assert_eq!(server.recv(&mut batch).unwrap(), 1);

    let error = server.recv(&mut batch).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert!(batch.is_empty() && !batch.is_full());
    assert_eq!(batch.iter().count(), 0);
}

fn batches_come_in_order_and_never_exceed_their_size(open: Open) {
    let server = server(open, "127.0.0.1");
    let client = client("127.0.0.1");
    for count in [
        1,
        2,
        BATCH_SIZE - 1,
        BATCH_SIZE,
        BATCH_SIZE + 1,
        2 * BATCH_SIZE + 5,
    ] {
        for number in 0..count as u16 {
            client
                .send_to(&number.to_be_bytes(), at(&server, "127.0.0.1"))
                .unwrap();
        }
        for ((bytes, _), number) in receive(&server, count).iter().zip(0u16..) {
            assert_eq!(bytes, &number.to_be_bytes());
        }
    }
}

fn full_batch_of_replies_goes_out(open: Open) {
    let server = server(open, "0.0.0.0");
    let clients: Vec<UdpSocket> = (0..BATCH_SIZE).map(|_| client("127.0.0.1")).collect();
    for client in &clients {
        client.send_to(b"query", at(&server, "127.0.0.2")).unwrap();
    }
    let mut batch = SendBatch::new();
    for (number, (_, meta)) in (0u16..).zip(receive(&server, BATCH_SIZE)) {
        let write = |room: &mut [u8]| {
            room[..2].copy_from_slice(&number.to_be_bytes());
            2
        };
        batch.push_with(512, meta.peer, meta.local, write).unwrap();
    }
    let outcome = server.send(&mut batch).unwrap();
    assert_eq!(
        (outcome.sent, outcome.skipped, outcome.left),
        (BATCH_SIZE, 0, 0)
    );
    assert!(outcome.fault.is_none());
    for (number, client) in (0u16..).zip(&clients) {
        let mut buffer = [0; 64];
        let (len, source) = client.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], &number.to_be_bytes());
        if server.keeps_source_address() {
            assert_eq!(source, at(&server, "127.0.0.2"));
        }
    }
}

fn refused_messages_are_counted_and_the_others_go(open: Open) {
    let server = server(open, "127.0.0.1");
    let client = client("127.0.0.1");
    let good = client.local_addr().unwrap();
    let longest = vec![0; MESSAGE_SIZE_MAX];
    let port_zero = SocketAddr::new(good.ip(), 0);
    let broadcast: SocketAddr = "255.255.255.255:9".parse().unwrap();
    let other_family: SocketAddr = "[::1]:9".parse().unwrap();
    let mut batch = SendBatch::new();
    let mut push = |bytes: &[u8], peer| batch.push(bytes, peer, LocalAddress::UNKNOWN).unwrap();
    push(b"one", good);
    push(&longest, good);
    push(b"nowhere", port_zero);
    push(b"two", good);
    push(b"everywhere", broadcast);
    push(b"elsewhere", other_family);
    push(b"three", good);

    let outcome = server.send(&mut batch).unwrap();
    assert_eq!((outcome.sent, outcome.skipped, outcome.left), (3, 4, 0));
    assert_eq!(outcome.fault.unwrap().raw_os_error(), Some(libc::EMSGSIZE));
    assert!(batch.is_empty());
    for text in [&b"one"[..], b"two", b"three"] {
        let mut buffer = [0; 64];
        let len = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], text);
    }
}

fn batch_of_refused_messages_comes_to_an_end(open: Open) {
    let server = server(open, "127.0.0.1");
    let mut batch = SendBatch::new();
    for _ in 0..BATCH_SIZE {
        let port_zero = at(&server, "127.0.0.1").ip();
        batch
            .push(b"x", SocketAddr::new(port_zero, 0), LocalAddress::UNKNOWN)
            .unwrap();
    }
    let outcome = server.send(&mut batch).unwrap();
    assert_eq!(
        (outcome.sent, outcome.skipped, outcome.left),
        (0, BATCH_SIZE, 0)
    );
    assert!(batch.is_empty());
}

fn v4_mapped_peer_is_reached_through_a_v4_socket(open: Open) {
    let server = server(open, "127.0.0.1");
    let client = client("127.0.0.1");
    let IpAddr::V4(ip) = client.local_addr().unwrap().ip() else {
        panic!("a v4 client");
    };
    let port = client.local_addr().unwrap().port();
    let peer = SocketAddr::new(ip.to_ipv6_mapped().into(), port);
    let meta = RecvMeta {
        peer,
        local: LocalAddress::UNKNOWN,
        arrived: None,
        truncated: false,
    };
    reply(&server, b"x", &meta);
    assert_eq!(client.recv(&mut [0; 64]).unwrap(), 1);
}

/// A socket that is connected, as one that is being retired may be, hears of ICMP errors.
fn error_of_a_connected_peer_is_told_once(open: Open) {
    let gone = client("127.0.0.1").local_addr().unwrap();
    let server = server(open, "127.0.0.1");
    server.socket().connect(gone).unwrap();
    server.socket().send(b"anyone?").unwrap();
    assert!(server.wait_readable(Some(PATIENCE)).unwrap());
    let mut batch = RecvBatch::new();
    let error = server.recv(&mut batch).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    let error = server.recv(&mut batch).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

fn waiting_ends_when_the_time_has_passed(open: Open) {
    let server = server(open, "127.0.0.1");
    assert!(!server.wait_readable(Some(Duration::ZERO)).unwrap());
    assert!(!server.wait_readable(Some(Duration::from_nanos(1))).unwrap());
    assert!(server.wait_writable(None).unwrap());
}

fn blocking_socket_becomes_non_blocking(open: Open) {
    let socket = bound("127.0.0.1", false);
    socket.set_nonblocking(false).unwrap();
    let server = open(socket).unwrap();
    let error = server.socket().recv(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

fn descriptor_is_that_of_the_socket(open: Open) {
    let server = server(open, "127.0.0.1");
    assert_eq!(server.as_raw_fd(), server.socket().as_raw_fd());
    assert_eq!(server.as_fd().as_raw_fd(), server.as_raw_fd());
}

#[test]
fn source_address_that_is_not_ours_is_refused_and_the_others_go() {
    let server = server(BatchSocket::new, "0.0.0.0");
    if !server.keeps_source_address() {
        return;
    }
    let client = client("127.0.0.1");
    let peer = client.local_addr().unwrap();
    // TEST-NET-3 (RFC 5737).
    let foreign = LocalAddress::new("203.0.113.7".parse().unwrap(), 0);
    let ours = LocalAddress::new("127.0.0.8".parse().unwrap(), 0);
    let mut batch = SendBatch::new();
    batch.push(b"forged", peer, foreign).unwrap();
    batch.push(b"honest", peer, ours).unwrap();
    let outcome = server.send(&mut batch).unwrap();
    assert_eq!((outcome.sent, outcome.skipped, outcome.left), (1, 1, 0));
    let mut buffer = [0; 64];
    let (len, source) = client.recv_from(&mut buffer).unwrap();
    assert_eq!(
        (&buffer[..len], source),
        (&b"honest"[..], at(&server, "127.0.0.8"))
    );
}

#[test]
fn datagram_that_came_before_the_constructor_is_answered() {
    let socket = bound("0.0.0.0", false);
    let client = client("127.0.0.1");
    let port = socket.local_addr().unwrap().port();
    client.send_to(b"early", ("127.0.0.1", port)).unwrap();
    let server = BatchSocket::new(socket).unwrap();
    let (bytes, meta) = receive(&server, 1).remove(0);
    assert_eq!(bytes, b"early");
    reply(&server, b"response", &meta);
    assert_eq!(client.recv(&mut [0; 64]).unwrap(), 8);
}

#[cfg(target_os = "linux")]
#[test]
fn a_socket_of_one_address_tells_it_and_sends_from_it_whatever_a_reply_names() {
    for (ip, other) in [("127.0.0.3", "127.0.0.4"), ("::1", "::2")] {
        let server = server(BatchSocket::new, ip);
        let client = UdpSocket::bind((ip.parse::<IpAddr>().unwrap(), 0)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        // What comes from elsewhere is not received by a connected socket.
        client.connect(server.local_addr().unwrap()).unwrap();
        client.send(b"query").unwrap();
        let mut batch = RecvBatch::new();
        assert!(server.wait_readable(Some(PATIENCE)).unwrap());
        server.recv(&mut batch).unwrap();
        let meta = batch.iter().next().unwrap().meta;
        assert_eq!(meta.local.ip(), Some(ip.parse().unwrap()));
        assert!(meta.arrived.is_some());
        for local in [meta.local, LocalAddress::new(other.parse().unwrap(), 0)] {
            let mut replies = SendBatch::new();
            replies.push(b"reply", meta.peer, local).unwrap();
            assert_eq!(server.send(&mut replies).unwrap().sent, 1);
            assert_eq!(client.recv(&mut [0; 16]).unwrap(), 5);
        }
    }
}

#[test]
fn only_the_one_by_one_back_end_lacks_source_control() {
    assert!(!server(BatchSocket::one_by_one, "127.0.0.1").keeps_source_address());
    let batched = server(BatchSocket::new, "127.0.0.1").keeps_source_address();
    assert_eq!(batched, cfg!(target_os = "linux"));
}

#[test]
fn sockets_and_batches_may_move_between_threads() {
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<BatchSocket>();
    is_send_and_sync::<RecvBatch>();
    is_send_and_sync::<SendBatch>();
}
