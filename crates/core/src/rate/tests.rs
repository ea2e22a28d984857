use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use super::*;

fn limiter(queries: u32, octets: u32) -> RateLimiter {
    RateLimiter::new(RateConfig {
        queries,
        octets,
        slip: 2,
        prefix_v4: 32,
        prefix_v6: 56,
        exempt: Acl::new(&["10.0.0.0/8".parse().unwrap()]),
        key: [9; 16],
    })
}

fn at(micros: u64) -> Moment {
    // Not the epoch, so that a moment that is forgotten to be subtracted shows.
    Moment::from_nanos(77_777_777_777_777) + Duration::from_micros(micros)
}

fn v4(number: u32) -> IpAddr {
    Ipv4Addr::from(0xc000_0000 | number).into()
}

/// Queries admitted of one every `every` microseconds for `seconds`.
fn admitted(limiter: &RateLimiter, address: IpAddr, every: u64, seconds: u64) -> u64 {
    let count = seconds * 1_000_000 / every;
    let admit = |n: &u64| limiter.admit(address, at(n * every)) == Pace::Within;
    u64::try_from((0..count).filter(admit).count()).unwrap()
}

#[test]
fn a_network_gets_its_rate_and_one_second_in_advance() {
    for rate in [1, 10, 1_000, RATE_MAX] {
        let limiter = limiter(rate, 0);
        let got = admitted(&limiter, v4(1), 5, 10);
        let due = u64::from(rate) * 11;
        let allowed = due.min(2_000_000);
        assert!(
            got.abs_diff(allowed) <= allowed / 100 + 1,
            "{rate}: {got} of {allowed}"
        );
        assert_eq!(limiter.admit(v4(2), at(10_000_000)), Pace::Within);
    }
}

#[test]
fn who_keeps_to_the_rate_is_never_limited_and_who_pauses_starts_anew() {
    let limiter = limiter(100, 0);
    assert_eq!(admitted(&limiter, v4(1), 10_000, 60), 6_000);
    for day in 0..40 {
        let noon = at(day * 86_400_000_000 / 2);
        for n in 0..100 {
            assert_eq!(limiter.admit(v4(2), noon), Pace::Within, "{day} {n}");
        }
        assert_ne!(limiter.admit(v4(2), noon), Pace::Within);
    }
}

#[test]
fn of_those_above_the_rate_every_second_is_told_to_come_over_tcp() {
    let told = |slip, between: usize| {
        let limiter = RateLimiter::new(RateConfig {
            slip,
            ..limiter(1, 0).config
        });
        let mut told: u32 = 0;
        let mut silence: u32 = 0;
        for n in 0..=3_000 {
            // Somebody else asks so often between two.
            for _ in 0..between {
                limiter.admit(v4(2), at(1));
            }
            match limiter.admit(v4(1), at(1)) {
                Pace::Within => assert_eq!(n, 0),
                Pace::Truncate => (told, silence) = (told + 1, 0),
                Pace::Silence => silence += 1,
            }
            assert!(slip == 0 || silence <= 20 * slip, "{slip} {between}");
        }
        told
    };
    assert_eq!((told(0, 0), told(1, 0), told(1, 1)), (0, 3_000, 3_000));
    for slip in [2, 3, 10] {
        for between in [0, 1, 2, 3, 9] {
            let told = told(slip, between);
            assert!(told.abs_diff(3_000 / slip) <= 30, "{slip} {between} {told}");
        }
    }
}

#[test]
fn octets_are_paid_for_afterwards_and_never_for_long() {
    let limiter = limiter(0, 10_000);
    limiter.charge(v4(1), 10_000, at(0));
    assert_eq!(limiter.admit(v4(1), at(0)), Pace::Within);
    limiter.charge(v4(1), 5_000, at(0));
    assert_ne!(limiter.admit(v4(1), at(0)), Pace::Within);
    assert_ne!(limiter.admit(v4(1), at(499_000)), Pace::Within);
    assert_eq!(limiter.admit(v4(1), at(501_000)), Pace::Within);
    for _ in 0..1_000 {
        limiter.charge(v4(1), 60_000, at(600_000));
    }
    let forgiven = at(600_000) + RATE_DEBT_MAX;
    assert_ne!(
        limiter.admit(v4(1), forgiven - Duration::from_millis(1_001)),
        Pace::Within
    );
    assert_eq!(limiter.admit(v4(1), forgiven), Pace::Within);
}

#[test]
fn replies_that_come_together_get_a_second_s_worth_and_one_more() {
    let limiter = limiter(0, 10_000);
    let leave = |time| {
        let within = |_: &u32| limiter.admit_reply(v4(1), 1_000, at(time)) == Pace::Within;
        (0..1_000).filter(within).count()
    };
    // All queries came while nothing was owed.
    assert_eq!(limiter.admit(v4(1), at(0)), Pace::Within);
    assert_eq!((leave(1), leave(1)), (11, 0));
    assert_eq!(leave(2_000_000), 11);
    let told = |_: &u32| limiter.admit_reply(v4(1), 1_000, at(2_000_000)) == Pace::Truncate;
    assert_eq!((0..1_000).filter(told).count(), 500);
    let unbounded = self::limiter(0, 0);
    let exempt = "10.1.2.3".parse().unwrap();
    for _ in 0..100 {
        assert_eq!(unbounded.admit_reply(v4(1), 60_000, at(0)), Pace::Within);
        assert_eq!(limiter.admit_reply(exempt, 60_000, at(0)), Pace::Within);
    }
}

#[test]
fn addresses_of_one_network_share_and_others_do_not() {
    let limiter = limiter(1, 0);
    let v6 = |text: &str| IpAddr::from(text.parse::<Ipv6Addr>().unwrap());
    let first = |address| limiter.admit(address, at(0)) == Pace::Within;
    assert!(first(v6("2001:db8:0:100::1")));
    assert!(!first(v6("2001:db8:0:1ff:ffff::9")));
    assert!(first(v6("2001:db8:0:200::1")));
    assert!(first(v4(7)) && !first(v6("::ffff:192.0.0.7")));
    assert!(first(v4(8)));
    let whole = RateLimiter::new(RateConfig {
        prefix_v4: 0,
        prefix_v6: 0,
        ..limiter.config.clone()
    });
    assert_eq!(whole.admit(v4(1), at(0)), Pace::Within);
    assert_ne!(whole.admit(v4(2), at(0)), Pace::Within);
}

#[test]
fn the_exempt_are_not_counted_and_cost_no_memory() {
    let limiter = limiter(1, 1);
    let friend = "10.1.2.3".parse().unwrap();
    for _ in 0..1_000 {
        limiter.charge(friend, 1_000, at(0));
        assert_eq!(limiter.admit(friend, at(0)), Pace::Within);
    }
    assert!(limiter.sets.get().is_none());
}

#[test]
fn refusals_have_a_rate_of_their_own_whoever_gets_them() {
    let limiter = limiter(0, 0);
    let refused = |second: u64| {
        (0..1_000)
            .filter(|_| limiter.admit_refusal(v4(1), at(second * 1_000_000)))
            .count()
    };
    let rate = usize::try_from(REFUSALS_PER_SECOND).unwrap();
    assert_eq!((refused(0), refused(1), refused(60)), (rate, rate, rate));
}

#[test]
fn strangers_take_nothing_from_those_of_their_network_who_may_ask() {
    let limiter = limiter(20, 0);
    let within = |time| {
        let within = |_: &u32| limiter.admit(v4(1), at(time)) == Pace::Within;
        (0..1_000).filter(within).count()
    };
    for n in 0..1_000 {
        limiter.admit_refusal(v4(1), at(n));
    }
    assert_eq!(within(1_000), 20);
    // Nor the other way round.
    assert!(limiter.admit_refusal(v4(1), at(101_000)));
    assert!(!limiter.admit_refusal(v4(1), at(101_000)));
}

#[test]
fn a_million_networks_fit_beside_one_that_asks_too_much() {
    let limiter = limiter(20, 0);
    let busy: Vec<IpAddr> = (0..50).map(|n| v4(0x00f0_0000 | n)).collect();
    let mut passed = 0_u64;
    let mut strangers = 0_u64;
    // A second of a million queries, each from a network of its own, and 5,000 a second of each busy one.
    for n in 0..1_000_000_u32 {
        let now = at(u64::from(n));
        strangers += u64::from(limiter.admit(v4(n & 0x000f_ffff), now) == Pace::Within);
        if n.is_multiple_of(200) {
            for &address in &busy {
                passed += u64::from(limiter.admit(address, now) == Pace::Within);
            }
        }
    }
    assert_eq!(strangers, 1_000_000);
    let due = 50 * 40;
    assert!(passed <= due + due / 20, "{passed} of {due}");
    let octets = limiter
        .sets
        .get()
        .map(|sets| size_of_val(&**sets))
        .unwrap_or_default();
    assert!(octets <= 32 << 20, "{octets}");
}

#[test]
fn threads_share_one_bound() {
    let limiter = limiter(1_000, 0);
    let passed: usize = std::thread::scope(|scope| {
        let work = || {
            (0..100_000)
                .filter(|_| limiter.admit(v4(1), at(0)) == Pace::Within)
                .count()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|it| it.join().unwrap()).sum()
    });
    // Who gets in each other's way four times over passes uncounted: the bound is approximate by that.
    assert!((1_000..1_100).contains(&passed), "{passed}");
}
