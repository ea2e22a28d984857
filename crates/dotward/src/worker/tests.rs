use dotward_core::upstream::GroupId;
use dotward_core::wire::{Class, Question, RecordType};

use super::*;
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
