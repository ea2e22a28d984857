//! Connections from opening to end, and probes.

use super::*;

#[test]
fn a_refused_upstream_alone_is_told_at_once_and_dialed_again_within_a_second() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.close(0, CloseReason::Refused);
    bench.ask(2, "b.example");
    assert_eq!(bench.opened.len(), 1);
    assert_eq!(
        bench.outcomes(),
        [
            (1, Rcode::SERVFAIL, Some(23)),
            (2, Rcode::SERVFAIL, Some(23))
        ]
    );
    bench.wait(800);
    bench.ask(3, "c.example");
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes()[2], (3, GOOD, None));
}

#[test]
fn dialing_and_idling_end_by_the_clock() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.wait(u64::try_from(DIAL_TIMEOUT.as_millis()).unwrap());
    assert_eq!(bench.outcomes(), [(1, Rcode::SERVFAIL, Some(22))]);
    assert!(bench.closed.contains(&bench.connection(0)));
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.answer(0, &queries[0]);
    bench.wait(u64::try_from(IDLE_TIMEOUT.as_millis()).unwrap());
    assert_eq!((bench.closed.len(), bench.engine.poll_timeout()), (1, None));
}

#[test]
fn a_dead_upstream_is_probed_from_one_second_to_thirty_and_not_oftener() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    let mut dials = Vec::new();
    for _ in 0..60 {
        let place = bench.opened.len() - 1;
        dials.push(bench.now.since(Moment::from_nanos(1_000_000_000)).as_secs());
        bench.close(place, CloseReason::Refused);
        while bench.opened.len() < place + 2 {
            let due = bench.engine.poll_timeout().unwrap();
            bench.wait(u64::try_from(due.since(bench.now).as_millis()).unwrap() + 1);
        }
        assert_eq!(bench.opened.len(), place + 2, "one dial at a time");
    }
    assert!((1..=3).contains(&dials[2]), "{dials:?}");
    let minutes = dials.iter().filter(|second| **second < 15 * 60).count();
    assert!(
        (30..=40).contains(&minutes),
        "{minutes} probes in 15 minutes"
    );
}

#[test]
fn a_probe_that_is_answered_brings_the_upstream_back() {
    let mut bench = Bench::two();
    bench.ask(1, "a.example");
    bench.close(0, CloseReason::Refused);
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.state(0), Some(HealthState::Down));
    bench.wait(1_500);
    assert_eq!(bench.opened[2].1, 0, "nobody asks, so a probe does");
    bench.connect(2);
    assert_eq!(bench.state(0), Some(HealthState::Probing));
    bench.answer_probe(2);
    assert_eq!(bench.state(0), Some(HealthState::Up));
    bench.ask(2, "b.example");
    assert_eq!(bench.written(2).len(), 1);
}

#[test]
fn an_upstream_that_only_falls_silent_says_so() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    bench.written(0);
    bench.wait(450);
    let status = bench.engine.status(UpstreamId(0), bench.now).unwrap();
    assert_eq!(status.reason, Some(CloseReason::Silent));
    assert!(matches!(
        status.state,
        HealthState::Suspect | HealthState::Probing
    ));
}

#[test]
fn want_of_our_own_resources_says_nothing_about_an_upstream() {
    let mut bench = Bench::two();
    bench.ask(1, "a.example");
    bench.close(0, CloseReason::NoResources);
    assert_eq!(bench.state(0), Some(HealthState::Up));
    assert_eq!(bench.opened[1].1, 1, "another upstream may still be asked");
    bench.close(1, CloseReason::NoResources);
    assert_eq!(bench.outcomes(), [(1, Rcode::SERVFAIL, Some(0))]);
    let told = bench
        .engine
        .endpoint_statuses(UpstreamId(0))
        .next()
        .unwrap();
    assert_eq!((told.reason, told.failures), (None, 0));
    assert!(
        !bench
            .events
            .iter()
            .any(|event| matches!(event, Event::UpstreamDown { .. }))
    );
    // The next question finds it as it was.
    bench.ask(2, "b.example");
    bench.connect(2);
    assert_eq!((bench.opened[2].1, bench.written(2).len()), (0, 1));
}

#[test]
fn want_of_our_own_resources_stops_the_growth_of_a_pool() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    for client in 2..=IN_FLIGHT_BEFORE_GROWTH + 1 {
        bench.ask(u32::try_from(client).unwrap(), &format!("n{client}"));
    }
    assert_eq!(bench.opened.len(), 2);
    bench.close(1, CloseReason::NoResources);
    bench.ask(2_000, "one-more.example");
    assert_eq!(bench.opened.len(), 2, "not dialed for every question");
    assert!(bench.replies.is_empty());
}

#[test]
fn an_idle_limit_is_learned_and_undercut() {
    let mut bench = Bench::one();
    for (place, life) in [(0, 10_000), (1, 10_100)] {
        bench.ask(u32::try_from(place).unwrap(), &format!("n{place}.example"));
        bench.connect(place);
        let queries = bench.written(place);
        bench.answer(place, &queries[0]);
        bench.wait(life);
        bench.close(place, CloseReason::Ended);
    }
    let status = bench.engine.status(UpstreamId(0), bench.now).unwrap();
    assert_eq!(status.idle_limit, Some(Duration::from_secs(10)));
    assert_eq!(
        status.state,
        HealthState::Up,
        "closing an idle connection is no failure"
    );
    bench.ask(2, "b.example");
    bench.connect(2);
    let queries = bench.written(2);
    bench.answer(2, &queries[0]);
    bench.wait(8_999);
    assert!(bench.closed.is_empty());
    bench.wait(2);
    assert_eq!(bench.closed, [bench.connection(2)]);
}

#[test]
fn a_connection_that_is_being_opened_is_not_renewed() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.engine.renew(bench.connection(0), bench.now);
    bench.settle();
    assert_eq!((bench.opened.len(), bench.closed.len()), (1, 0));
    bench.connect(0);
    assert_eq!(bench.written(0).len(), 1);
}

#[test]
fn what_waits_for_dials_of_before_goes_into_new_ones_when_an_upstream_is_connected_to_in_another_way()
 {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.wait(400);
    bench.ask(2, "b.example");
    let before = bench.opened.len();
    assert_eq!(before, 2);
    bench.engine.renew_all(UpstreamId(0), bench.now);
    bench.settle();
    assert_eq!(bench.closed.len(), before);
    let after = before;
    bench.connect(after);
    let queries = bench.written(after);
    let mut names: Vec<&str> = queries.iter().map(|query| query.1.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a.example", "b.example"]);
    for query in &queries {
        bench.answer(after, query);
    }
    assert_eq!(bench.outcomes().len(), 2);
    // One that is ready is left once another one is.
    bench.engine.renew_all(UpstreamId(0), bench.now);
    bench.settle();
    bench.connect(bench.opened.len() - 1);
    bench.wait(0);
    assert!(bench.closed.contains(&bench.connection(after)));
}

#[test]
fn an_old_connection_hands_over_without_a_question_lost() {
    let mut bench = Bench::one();
    bench.ask(0, "n0.example");
    bench.connect(0);
    let mut client = 0;
    while bench.opened.len() < 2 {
        let queries = bench.written(0);
        bench.wait(300);
        bench.answer(0, &queries[0]);
        client += 1;
        bench.ask(client, &format!("n{client}.example"));
    }
    let age = bench.now.since(Moment::from_nanos(1_000_000_000)).as_secs();
    assert!((3_240..=4_020).contains(&age), "{age} s old");
    let queries = bench.written(0);
    assert_eq!(
        queries.len(),
        1,
        "the old one serves until the new one is ready"
    );
    bench.connect(1);
    bench.ask(client + 1, "after.example");
    assert_eq!(bench.written(1).len(), 1);
    bench.answer(0, &queries[0]);
    bench.wait(1);
    assert_eq!(bench.closed, [bench.connection(0)]);
    assert!(bench.outcomes().iter().all(|(_, rcode, _)| *rcode == GOOD));
}

#[test]
fn an_old_connection_whose_successor_cannot_be_opened_is_succeeded_later() {
    let mut bench = Bench::one();
    bench.ask(0, "n0.example");
    bench.connect(0);
    let (mut client, mut opened_at) = (0, Vec::new());
    while opened_at.len() < 4 {
        let queries = bench.written(0);
        bench.wait(300);
        bench.answer(0, &queries[0]);
        client += 1;
        bench.ask(client, &format!("n{client}.example"));
        let now = bench.now.since(Moment::ZERO).as_secs();
        assert!(now < 4_100, "{opened_at:?}");
        if bench.opened.len() > opened_at.len() + 1 {
            opened_at.push(now);
            if opened_at.len() < 4 {
                bench.close(opened_at.len(), CloseReason::Refused);
            }
        }
    }
    let pauses: Vec<u64> = opened_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        pauses.iter().all(|pause| (5..=6).contains(pause)),
        "{pauses:?}"
    );
    assert_eq!(bench.state(0), Some(HealthState::Up));
    bench.connect(4);
    bench.ask(client + 1, "after.example");
    assert_eq!(bench.written(4).len(), 1, "the new one");
}

#[test]
fn keepalive_zero_drains_and_other_limits_are_believed() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    bench.ask(2, "b.example");
    let queries = bench.written(0);
    bench.receive(0, &with_keepalive(&queries[0], 0));
    bench.ask(3, "c.example");
    assert_eq!(
        bench.opened.len(),
        2,
        "no further query on the one that drains"
    );
    bench.answer(0, &queries[1]);
    bench.wait(1);
    assert_eq!(bench.closed, [bench.connection(0)]);
    bench.connect(1);
    let queries = bench.written(1);
    bench.receive(1, &with_keepalive(&queries[0], 50));
    let status = bench.engine.status(UpstreamId(0), bench.now).unwrap();
    assert_eq!(status.idle_limit, Some(Duration::from_secs(5)));
    assert_eq!(bench.outcomes().len(), 3);
}

#[test]
fn a_network_change_leaves_everything_and_probes_at_once() {
    let mut bench = Bench::two();
    bench.ask(1, "a.example");
    bench.close(0, CloseReason::Refused);
    bench.connect(1);
    let sent = bench.written(1);
    assert_eq!(sent.len(), 1);
    bench.engine.handle_network_change(bench.now);
    bench.settle();
    assert_eq!(bench.closed, [bench.connection(1)]);
    assert_eq!(
        bench.state(0),
        Some(HealthState::Up),
        "what was known is forgotten"
    );
    bench.connect(2);
    let queries = bench.written(2);
    let moved = queries
        .iter()
        .find(|(_, name)| name == "a.example")
        .unwrap();
    bench.answer(2, moved);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

#[test]
fn a_serial_upstream_gets_more_connections_when_questions_queue() {
    let mut bench = Bench::one();
    bench.ask(0, "first.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.wait(1);
    bench.answer(0, &queries[0]);
    let mut waiting = VecDeque::new();
    for client in 1..200 {
        bench.ask(client, &format!("n{client}.example"));
        waiting.extend(bench.written(0));
        if client > 30 {
            bench.wait(10);
            let query = waiting.pop_front().unwrap();
            bench.answer(0, &query);
        }
    }
    assert!((2..=CONNECTIONS_PER_UPSTREAM_MAX).contains(&bench.opened.len()));
}

#[test]
fn a_question_waits_for_a_slow_dial_when_there_is_nothing_else() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.wait(850);
    assert_eq!(bench.opened.len(), 2, "two dials and no more");
    bench.ask(2, "b.example");
    assert!(bench.replies.is_empty());
    bench.connect(0);
    assert_eq!(bench.written(0).len(), 2);
}

#[test]
fn dials_that_hang_do_not_use_up_the_connections_at_once() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.wait(850);
    bench.ask(2, "b.example");
    assert_eq!(bench.opened.len(), 2);
    bench.wait(400);
    bench.ask(3, "c.example");
    assert_eq!(bench.opened.len(), 3, "a third beside the two that hang");
    bench.connect(2);
    assert_eq!(bench.outcomes(), []);
    let queries = bench.written(2);
    assert!(queries.iter().any(|query| query.1 == "c.example"));
}

/// Questions that wait for dials that hang: one that will be answered, and those that began the dials at 0, 250, 960 and 1700 ms.
fn dials_that_hang() -> Bench {
    let mut bench = Bench::one();
    for (client, millis) in [(1, 250), (2, 710), (3, 740), (4, 900)] {
        bench.ask(client, &format!("n{client}.example"));
        bench.wait(millis);
    }
    assert_eq!(bench.opened.len(), CONNECTIONS_PER_UPSTREAM_MAX);
    bench
}

#[test]
fn a_question_joins_the_dial_that_has_the_most_time_left() {
    let mut bench = dials_that_hang();
    bench.ask(9, "late.example");
    bench.wait(700);
    assert!(bench.outcomes().iter().all(|it| it.0 != 9));
    bench.connect(3);
    let queries = bench.written(3);
    let late = queries.iter().find(|it| it.1 == "late.example").unwrap();
    bench.answer(3, late);
    assert!(bench.outcomes().contains(&(9, GOOD, None)));
}

#[test]
fn a_question_whose_dial_failed_uses_a_connection_that_is_ready() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.wait(1_200);
    bench.ask(2, "b.example");
    assert_eq!(bench.opened.len(), 3, "two for the first, one beside them");
    bench.close(0, CloseReason::Reset);
    bench.connect(2);
    assert!(bench.closed.contains(&bench.connection(1)));
    let queries = bench.written(2);
    let first = queries.iter().find(|it| it.1 == "a.example").unwrap();
    bench.answer(2, first);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

/// Asks until there are so many connections in all, and makes them.
fn crowd_onto(bench: &mut Bench, client: &mut u32, connections: usize) {
    let end = *client + 10_000;
    while bench.opened.len() < connections {
        bench.ask(*client, &format!("n{client}.example"));
        *client += 1;
        if *client % 1_024 == 1 {
            bench.connect(bench.opened.len() - 1);
        }
        assert!(*client < end);
    }
    for place in connections - CONNECTIONS_PER_UPSTREAM_MAX..connections {
        bench.connect(place);
    }
}

/// The upstream has another address: every connection drains.
fn leave_all(bench: &mut Bench, address: &str) {
    let endpoints = vec![endpoint(address)];
    let now = bench.now;
    bench.engine.set_endpoints(UpstreamId(0), endpoints, now);
}

#[test]
fn all_connections_draining_at_once_leave_room_for_new_ones() {
    let mut bench = Bench::one();
    let mut client = 0;
    crowd_onto(&mut bench, &mut client, CONNECTIONS_PER_UPSTREAM_MAX);
    leave_all(&mut bench, "192.0.2.99:853");
    bench.ask(20_000, "z.example");
    assert_eq!((bench.opened.len(), bench.replies.len()), (5, 0));
}

#[test]
fn no_more_connections_drain_than_may_when_one_is_opened() {
    let mut bench = Bench::one();
    let mut client = 0;
    for (place, address) in ["192.0.2.98:853", "192.0.2.99:853"].into_iter().enumerate() {
        let connections = (place + 1) * CONNECTIONS_PER_UPSTREAM_MAX;
        crowd_onto(&mut bench, &mut client, connections);
        leave_all(&mut bench, address);
    }
    bench.ask(20_000, "z.example");
    let connections = bench.engine.connections.values();
    let draining = connections.filter(|it| it.is_draining()).count();
    assert_eq!(draining, DRAINING_PER_UPSTREAM_MAX);
}
