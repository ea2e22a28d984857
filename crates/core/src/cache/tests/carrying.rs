//! What is carried out of the cache and back into it.

use super::*;

#[test]
fn everything_is_shown_in_pieces_between_which_others_write() {
    let bench = Bench::with(CacheConfig::new(64 * MIB, [1; 16]));
    let all = 40_000;
    for number in 0..all {
        bench.store(&address(&format!("n{number}.example"), 100));
    }
    let (mut progress, mut shown, mut pieces) = (Progress::default(), 0, 0);
    loop {
        let mut piece = 0;
        let shown_some = bench
            .cache
            .visit_next(&mut progress, bench.now, |_| piece += 1);
        if !shown_some {
            break;
        }
        assert!(piece <= slots::PAGE_SLOTS, "{piece} under one lock");
        // Nobody holds a lock now.
        bench.store(&address(&format!("n{}.example", pieces % all), 100));
        shown += piece;
        pieces += 1;
    }
    assert_eq!(shown, bench.cache.stats().entries);
    assert_eq!(shown, all);
}

#[test]
fn what_is_shown_can_be_put_back_as_old_as_it_was() {
    let mut bench = Bench::new();
    bench.store(&address("a.example", 100));
    bench.store(&address("old.example", 10));
    bench.fail("failed.example");
    bench.wait(40);
    let other = Bench::new();
    let mut kinds = Vec::new();
    bench.cache.visit(bench.now, |kept| {
        kinds.push(kept.kind);
        if kept.kind == Kind::Failure {
            return;
        }
        let restored = Restored {
            group: kept.group,
            dnssec_ok: kept.dnssec_ok,
            checking_disabled: kept.checking_disabled,
            origin: kept.origin,
            age: kept.age,
            message: kept.message,
        };
        assert_eq!(other.cache.restore(&restored, bench.now), Ok(()));
    });
    kinds.sort_by_key(|kind| *kind == Kind::Failure);
    assert_eq!(kinds, [Kind::Positive, Kind::Positive, Kind::Failure]);
    bench.cache = other.cache;
    bench.wait(10);
    assert_eq!(bench.ask("a.example"), Answered::Yes);
    assert_eq!(bench.ttl(), 50);
    assert_eq!(bench.ask("old.example"), Answered::Stale);
    bench.wait(86_400 - 41);
    assert_eq!(bench.ask("old.example"), Answered::Stale);
    bench.wait(1);
    assert_eq!(bench.ask("old.example"), Answered::No);
    let mut shown = 0;
    let now = bench.now;
    bench
        .cache
        .visit_name(&name("A.example"), now, |_| shown += 1);
    assert_eq!(shown, 1);
}

#[test]
fn what_is_put_back_is_trusted_as_little_as_what_comes() {
    let bench = Bench::new();
    let good = address("a.example", 100);
    let restored = |message| Restored {
        group: GROUP,
        dnssec_ok: false,
        checking_disabled: false,
        origin: ReplyOrigin::Upstream,
        age: Duration::ZERO,
        message,
    };
    let restore = |restored: &Restored<'_>| bench.cache.restore(restored, bench.now);
    let mut query = good.clone();
    query[2] &= 0x7f;
    let zero = address("a.example", 0);
    for (message, fault) in [
        (&good[..good.len() - 1], RestoreFault::Malformed),
        (&query, RestoreFault::Malformed),
        (&zero, RestoreFault::NotKeepable),
    ] {
        assert_eq!(restore(&restored(message)), Err(fault));
    }
    let group = GroupId(1);
    let elsewhere = Restored {
        group,
        ..restored(&good)
    };
    assert_eq!(restore(&elsewhere), Err(RestoreFault::Group));
    let age = Duration::from_secs(86_500);
    let old = Restored {
        age,
        ..restored(&good)
    };
    assert_eq!(restore(&old), Err(RestoreFault::TooOld));
    let off = Cache::off();
    assert_eq!(
        off.restore(&restored(&good), bench.now),
        Err(RestoreFault::Off)
    );
    assert_eq!(restore(&restored(&good)), Ok(()));
    assert_eq!(bench.cache.stats().entries, 1);
}

#[test]
fn what_is_taken_out_is_looked_for_beside_those_who_read_and_stays_if_it_changed() {
    let bench = Bench::new();
    for number in 0..3000 {
        bench.store(&address(&format!("n{number}.example"), 60));
    }
    let free = |shard: &Shard| shard.store.try_read().is_ok();
    let gone = |_: Entry<'_>| {
        assert!(
            bench.cache.shards.iter().all(free),
            "locked while looked through"
        );
        true
    };
    let [shard] = &*bench.cache.shards else {
        panic!("small, so one shard");
    };
    let going = read(&shard.store).going(0, gone).unwrap();
    assert!((1000..=1300).contains(&going.len()), "a page is a piece");
    bench.store(&address("n7.example", 60));
    let removed = write(&shard.store).remove_all(&going);
    assert_eq!(removed, going.len() - 1);
    assert_eq!(bench.cache.take_out(gone), 3000 - removed);
    assert_eq!(read(&shard.store).octets(), 0);
}
