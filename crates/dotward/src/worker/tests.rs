use dotward_core::exchange::Source;
use dotward_core::limits::QUESTIONS_PER_TURN;
use dotward_core::upstream::GroupId;
use dotward_core::wire::{Asker, Class, Flags, Question, RecordType, ReplyOptions, Transport};
use tokio::net::UdpSocket;

use super::*;
use crate::near::Way;
use crate::run::local_runtime;

fn any_question() -> exchange::Asked {
    exchange::Asked {
        question: Question::new(&"a.example".parse().unwrap(), RecordType::A, Class::IN),
        dnssec_ok: false,
        checking_disabled: false,
        group: GroupId(0),
    }
}

#[test]
fn a_wake_up_seen_with_a_cached_answer_has_connections_made_anew_at_once() {
    local_runtime().unwrap().block_on(async {
        let worker = Worker::start(State::for_test());
        let connection = |worker: &Worker| worker.state.borrow().connections.keys().next();
        worker.turn(|state, _, now| state.engine.refresh(any_question(), now));
        let before = connection(&worker).unwrap();
        clock::tests::sleep(Duration::from_secs(3600));
        worker.near_turn(|_, _, _| ());
        assert_eq!(worker.state.borrow_mut().engine.poll_action(), None);
        let after = connection(&worker).unwrap();
        assert_ne!(before, after, "the connection of before the sleep is kept");
    });
}

#[test]
fn a_wake_up_of_the_timer_takes_one_turn() {
    local_runtime().unwrap().block_on(async {
        let worker = Worker::start(State::for_test());
        worker.turn(|state, _, now| state.engine.refresh(any_question(), now));
        let due = worker.state.borrow().engine.poll_timeout().unwrap();
        while clock::now() < due {
            std::thread::yield_now();
        }
        let woke = clock::now();
        assert!(worker.fire().unwrap() > woke);
    });
}

/// A question of client number `client`, for a name of its own.
fn question_of(client: u32, since: Moment) -> Request {
    let name = format!("n{client}.example").parse().unwrap();
    Request {
        asker: Asker {
            id: 1,
            flags: Flags::NONE.with_recursion_desired(true),
            question: Question::new(&name, RecordType::A, Class::IN),
            edns: None,
            options: ReplyOptions::NONE,
            transport: Transport::Tcp,
        },
        group: GroupId(0),
        source: Source::of(std::net::Ipv4Addr::from(client).into()),
        since,
        signed: None,
        stale: false,
    }
}

#[test]
fn what_is_overdue_waits_for_sockets_and_for_no_timer() {
    const QUESTIONS: u32 = 20_000;
    local_runtime().unwrap().block_on(async {
        let worker = Worker::start(State::for_test());
        worker.turn(|state, _, now| {
            for client in 1..=QUESTIONS {
                let to = AskedBy::Here(ReplyTo {
                    way: Way::Stream(stream::ClientKey::default()),
                    transport: Transport::Tcp,
                    proven: true,
                    since: now,
                });
                state.engine.submit(question_of(client, now), to, now);
            }
        });
        assert_eq!(worker.in_flight(), QUESTIONS as usize);
        // The upstream cannot be dialed, so all of them are to be ended at once. Meanwhile a socket of somebody else is used once in each
        // round of the runtime that looks at sockets.
        let mut rounds = 0;
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(socket.local_addr().unwrap()).await.unwrap();
        while worker.in_flight() == QUESTIONS as usize {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        while worker.in_flight() > 0 {
            // Found empty, so that the next datagram is one the runtime has to look for.
            assert!(socket.try_recv(&mut [0; 8]).is_err());
            socket.send(b"x").await.unwrap();
            socket.recv(&mut [0; 8]).await.unwrap();
            rounds += 1;
        }
        let turns = QUESTIONS as usize / QUESTIONS_PER_TURN;
        assert!(
            rounds > turns / 8 && rounds < turns + turns / 2,
            "{rounds} rounds"
        );
    });
}
