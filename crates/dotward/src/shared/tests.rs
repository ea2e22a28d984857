use std::time::{Duration, Instant};

use super::*;
use crate::config::SharedCacheSettings;
use crate::run::local_runtime;
use crate::worker::State;

/// No test waits longer for one thing.
const BOUND: Duration = Duration::from_secs(10);

/// A thread that waits for nothing but work has taken it by then.
const TAKEN: Duration = Duration::from_millis(300);

#[test]
fn the_end_does_not_wait_for_room_that_nobody_makes() {
    local_runtime().unwrap().block_on(async {
        let worker = Worker::start(State::for_test());
        let store = Store::new(&SharedCacheSettings {
            url: "redis://127.0.0.1:1".to_owned(),
            password_file: None,
            sentinel_password_file: None,
            ca_file: None,
        });
        start(&worker, store.unwrap()).unwrap();
        let shared = worker.turn(|state, _, _| state.shared.take()).unwrap();
        // Nothing is taken here meanwhile: each of these brings an outcome, until there is no more room for one. Those that the thread
        // takes together bring theirs together, so how many it takes is not known.
        let jobs = shared.jobs.clone().unwrap();
        let began = Instant::now();
        let mut waits = false;
        while !waits && began.elapsed() < BOUND {
            let write = SharedAction::Keep {
                key: vec![1],
                value: vec![2],
                seconds: 60,
            };
            jobs.try_send(write).unwrap();
            let sent = Instant::now();
            while jobs.capacity() < jobs.max_capacity() && sent.elapsed() < TAKEN {
                std::thread::yield_now();
            }
            waits = jobs.capacity() < jobs.max_capacity();
        }
        assert!(waits, "for room");
        drop(jobs);
        let (over, ended) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            drop(shared);
            over.send(()).unwrap();
        });
        ended.recv_timeout(BOUND).unwrap();
    });
}
