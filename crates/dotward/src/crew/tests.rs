//! Workers that join and leave while clients ask, and a hand-over that is full.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU8;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use dotward_core::front::{Client, Verdict};
use dotward_core::time::{Moment, WallSeconds};
use dotward_core::wire::{Class, QueryOptions, Question, RecordType, Transport, write_query};
use dotward_udp::LocalAddress;

use super::link::Handed;
use super::*;
use crate::config::{BindRules, ListenAddress, ListenTransport};
use crate::limits::{BUSY_LOOK, HANDED_OVER, LEAVE_AFTER};
use crate::listen::sockets::{self, Bound};
use crate::near::{ReplyTo, Way};
use crate::run::local_runtime;

const WORKERS: usize = 3;

/// Clients that ask at the same time, so many that the kernel gives each socket of the address some.
const CLIENTS: usize = 24;

/// What a client waits for an answer: one that was not lost comes within this on any machine.
const PATIENCE: Duration = Duration::from_secs(10);

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

fn bind(workers: usize) -> Vec<Arc<BatchSocket>> {
    let listen = ListenAddress {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        transport: ListenTransport::Udp,
    };
    let Ok(Bound::Udp(bound)) = sockets::bind(listen, workers, BindRules::default()) else {
        panic!("no sockets");
    };
    let batched = |socket| Arc::new(BatchSocket::new(socket).unwrap());
    bound.into_iter().map(batched).collect()
}

/// One client: asks what a worker answers by itself, one question after the other. Gives back how many got no answer.
fn ask(to: SocketAddr, answered: &AtomicUsize, over: &AtomicBool) -> usize {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let (message, mut lost) = (query("localhost"), 0);
    while !over.load(Ordering::Relaxed) {
        socket.send(&message).unwrap();
        match socket.recv(&mut [0; 512]) {
            Ok(_) => answered.fetch_add(1, Ordering::Relaxed),
            Err(_) => {
                lost += 1;
                break;
            }
        };
    }
    lost
}

#[test]
fn workers_join_and_leave_under_load_and_no_question_is_lost() {
    let sockets = bind(WORKERS);
    let to = sockets[0].local_addr().unwrap();
    let (answered, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let lost = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| ask(to, &answered, &over)))
            .collect();
        let run = local_runtime().unwrap();
        let by_further = run.block_on(change_workers(sockets, &answered));
        over.store(true, Ordering::Relaxed);
        // Who waits at this moment is answered before the end.
        let lost = run.block_on(async {
            let ended = || {
                clients
                    .iter()
                    .all(std::thread::ScopedJoinHandle::is_finished)
            };
            while !ended() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            clients
                .into_iter()
                .map(|it| it.join().unwrap())
                .sum::<usize>()
        });
        let (crew, counts) = by_further;
        crew.close();
        assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
        lost
    });
    assert_eq!(lost, 0);
}

/// Has one to all workers work, in turn, while clients are answered. Gives back how many questions each further worker answered.
async fn change_workers(
    sockets: Vec<Arc<BatchSocket>>,
    answered: &AtomicUsize,
) -> (Rc<Crew>, Vec<u64>) {
    let worker = Worker::start(State::for_test());
    let workers = Workers::Number(NonZeroU8::new(u8::try_from(WORKERS).unwrap()).unwrap());
    let crew = Crew::start(worker, workers, Supplies::for_test()).unwrap();
    crew.open(sockets).unwrap();
    for change in 0..60 {
        crew.set_active(1 + change % WORKERS).unwrap();
        let enough = answered.load(Ordering::Relaxed) + 2 * CLIENTS;
        while answered.load(Ordering::Relaxed) < enough {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }
    let links = crew.links.borrow();
    let counts = links.iter().map(|it| it.counters.answered_here.get());
    let counts = counts.collect();
    drop(links);
    (crew, counts)
}

#[test]
fn what_the_hand_over_has_no_room_for_is_given_back_and_answered_with_servfail() {
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let peer = client.local_addr().unwrap();
    let link = Link::new(Arc::default());
    let mut near = Supplies::for_test().near(Arc::clone(&link.counters));
    let port = local_runtime()
        .unwrap()
        .block_on(async { udp::open(&mut near, Arc::clone(&bind(1)[0])) });
    let asking = Client {
        address: peer,
        transport: Transport::Udp,
        idle: Duration::ZERO,
    };
    let to = ReplyTo {
        way: Way::Udp {
            port,
            peer,
            local: LocalAddress::UNKNOWN,
            client: peer.ip(),
        },
        transport: Transport::Udp,
        proven: false,
        since: clock::now(),
    };
    let message = query("www.example");
    let front = Arc::clone(&near.front);
    let handed = || {
        let (now, wall) = (Moment::ZERO, WallSeconds(0));
        let verdict = front.handle_query(&message, &asking, now, wall, &mut Vec::new());
        let Verdict::Forward(request) = verdict else {
            panic!("{verdict:?}");
        };
        Handed::Question(request, to)
    };
    let mut batch: Vec<_> = (0..HANDED_OVER - 1).map(|_| handed()).collect();
    link.hand_over(&mut batch);
    assert!(batch.is_empty());
    let mut batch: Vec<_> = (0..3).map(|_| handed()).collect();
    further::hand_over(&link, &mut near, &mut batch, Moment::ZERO);
    near.flush();
    for _ in 0..2 {
        let mut octets = [0; 512];
        let length = client.recv(&mut octets).unwrap();
        // The message of the query, answered; SERVFAIL.
        assert_eq!(
            (octets[..2] == message[..2], octets[3] & 15, length > 12),
            (true, 2, true)
        );
    }
    assert_eq!(link.counters.shed.get(), 2);
    // What did fit is there still, and there is room again once it was taken.
    link.take_questions(&mut batch);
    assert_eq!(batch.len(), HANDED_OVER);
    let mut one = vec![handed()];
    link.hand_over(&mut one);
    assert!(one.is_empty());
}

#[test]
fn a_worker_too_many_leaves_also_while_a_few_questions_come() {
    local_runtime().unwrap().block_on(async {
        let worker = Worker::start(State::for_test());
        let crew = Crew::start(worker, Workers::Auto, Supplies::for_test()).unwrap();
        let now = clock::now();
        *crew.balance.borrow_mut() = Balance::new(2, now);
        let busy = Duration::from_secs(60);
        assert!(crew.balance.borrow_mut().look(busy, now + BUSY_LOOK));
        crew.set_active(2).unwrap();
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        while crew.balance.borrow().active() > 1 {
            assert!(clock::now().since(now) < 4 * LEAVE_AFTER, "nobody leaves");
            crew.called.notify_one();
            pause.tick().await;
        }
        crew.close();
    });
}

/// Clients over TCP, by the worker they are placed with.
struct Placed {
    worker: Rc<Worker>,
    crew: Rc<Crew>,
    listener: tokio::net::TcpListener,
}

impl Placed {
    async fn new(places: usize) -> Self {
        let supplies = Supplies {
            places: Arc::new(Places::new(places, places)),
            ..Supplies::for_test()
        };
        let mut state = State::for_test();
        state.near = supplies.near(Arc::default());
        let worker = Worker::start(state);
        let two = Workers::Number(NonZeroU8::new(2).unwrap());
        let crew = Crew::start(Rc::clone(&worker), two, supplies).unwrap();
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.unwrap();
        Self {
            worker,
            crew,
            listener,
        }
    }

    /// How many streams the first worker and the other one have.
    fn held(&self) -> [usize; 2] {
        let first = self.worker.turn(|state, _, _| state.near.clients.count());
        [first, self.crew.links.borrow()[0].streams().unwrap()]
    }

    async fn wait_for(&self, held: [usize; 2]) {
        let reached = async {
            while self.held() != held {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        assert!(reached.is_ok(), "{:?} and not {held:?}", self.held());
    }

    /// One more, who is answered.
    async fn connect(&self) -> TcpStream {
        let to = self.listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(to), self.listener.accept());
        let (socket, address) = accepted.unwrap();
        place(&self.worker, socket, address, None);
        let mut client = client.unwrap();
        assert!(self.is_answered(&mut client).await);
        client
    }

    async fn is_answered(&self, client: &mut TcpStream) -> bool {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let mut framed = Vec::new();
        dotward_core::wire::frame::append_frame(&query("localhost"), &mut framed);
        let mut length = [0; 2];
        let asked = async {
            client.write_all(&framed).await?;
            client.read_exact(&mut length).await?;
            let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
            client.read_exact(&mut reply).await
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap().is_ok()
    }
}

#[test]
fn who_has_the_most_makes_room_also_when_it_has_left() {
    local_runtime().unwrap().block_on(async {
        let placed = Placed::new(8).await;
        let mut clients = Vec::new();
        placed.wait_for([0, 0]).await;
        for number in 1..=8_usize {
            clients.push(placed.connect().await);
            placed.wait_for([number.div_ceil(2), number / 2]).await;
        }
        // The first worker has every other client; two of them go, and so many places with them.
        clients.remove(2);
        clients.remove(0);
        placed.wait_for([2, 4]).await;
        placed.crew.places().set(6, 6);
        placed.crew.set_active(1).unwrap();
        let mut newest = placed.connect().await;
        placed.wait_for([2, 4]).await;
        let mut answered = Vec::new();
        for client in &mut clients {
            answered.push(placed.is_answered(client).await);
        }
        // The one that was idle longest of those that the further worker has.
        assert_eq!(answered, [false, true, true, true, true, true]);
        assert!(placed.is_answered(&mut newest).await);
        placed.crew.close();
    });
}
