//! What is kept of failures, and what is given past its time.

use super::*;

#[test]
fn a_failure_is_kept_longer_each_time_and_forgotten_on_recovery() {
    let mut bench = Bench::new();
    for lifetime in [1, 2, 4, 8, 16, 30, 30] {
        bench.fail("a.example");
        assert_eq!(bench.ask("a.example"), Answered::Yes);
        assert_eq!(bench.reply().rcode(), Rcode::SERVFAIL);
        assert_eq!(bench.error(), Some(22));
        bench.wait(lifetime - 1);
        assert_eq!(bench.ask("a.example"), Answered::Yes, "{lifetime} s");
        bench.wait(1);
        assert_eq!(bench.ask("a.example"), Answered::No, "{lifetime} s");
    }
    bench.fail("a.example");
    bench.cache.handle_recovery(GroupId(5), bench.now);
    assert_eq!(bench.ask("a.example"), Answered::Yes);
    bench.cache.handle_recovery(GROUP, bench.now);
    assert_eq!(bench.ask("a.example"), Answered::No);
    bench.wait(1);
    bench.fail("a.example");
    bench.wait(1);
    assert_eq!(bench.ask("a.example"), Answered::No, "it began anew");
    let stats = bench.cache.stats();
    assert_eq!((stats.entries, stats.failures), (1, 15));
}

#[test]
fn a_failure_never_replaces_data_that_may_be_given() {
    let mut bench = Bench::new();
    bench.store(&address("a.example", 60));
    bench.fail("a.example");
    assert_eq!(bench.ask("a.example"), Answered::Yes);
    assert_eq!(bench.reply().rcode(), Rcode::NOERROR);
    bench.wait(60 + 86_400);
    bench.fail("a.example");
    assert_eq!(bench.ask("a.example"), Answered::Yes);
    assert_eq!(bench.reply().rcode(), Rcode::SERVFAIL);
}

#[test]
fn stale_data_is_given_at_once_while_a_refresh_has_just_failed() {
    let mut bench = Bench::new();
    let mut message = address("a.example", 60);
    message[3] |= 0x20;
    bench.store(&message);
    bench.store(&negative("no.example", Rcode::NXDOMAIN, 60, 60));
    bench.wait(61);
    assert_eq!(bench.ask("a.example"), Answered::Stale);
    bench.fail("a.example");
    bench.fail("no.example");
    let validated = Asker {
        flags: asker("a.example").flags.with_authentic_data(true),
        ..asker("a.example")
    };
    assert_eq!(bench.ask_as(&validated), Answered::Yes);
    assert_eq!((bench.ttl(), bench.error()), (30, Some(3)));
    assert!(!bench.reply().header().flags.authentic_data());
    assert_eq!(bench.ask("no.example"), Answered::Yes);
    assert_eq!((bench.ttl(), bench.error()), (30, Some(19)));
    assert_eq!(bench.reply().rcode(), Rcode::NXDOMAIN);
    bench.wait(29);
    assert_eq!(bench.ask("a.example"), Answered::Yes);
    bench.wait(1);
    assert_eq!(bench.ask("a.example"), Answered::AndRefresh);
    assert_eq!(bench.ask("a.example"), Answered::Yes, "one refresh");
    bench.wait(60);
    assert_eq!(bench.ask("a.example"), Answered::Stale);
    bench.fail("a.example");
    bench.cache.handle_recovery(GROUP, bench.now);
    assert_eq!(bench.ask("a.example"), Answered::Stale);
}

#[test]
fn without_recursion_only_what_is_fresh_is_told() {
    let mut bench = Bench::new();
    let snoop = |text| Asker {
        flags: Flags::NONE,
        ..asker(text)
    };
    bench.store(&address("a.example", 60));
    bench.fail("b.example");
    assert_eq!(bench.ask_as(&snoop("a.example")), Answered::Yes);
    assert!(!bench.reply().header().flags.recursion_desired());
    assert_eq!(bench.ask_as(&snoop("b.example")), Answered::No);
    bench.wait(60);
    bench.fail("a.example");
    assert_eq!(bench.ask_as(&snoop("a.example")), Answered::No);
    let given = bench
        .cache
        .answer_stale(&snoop("a.example"), GROUP, bench.now, &mut Vec::new());
    assert!(!given);
}
