//! What is kept, and a guard that comes, changes and goes.

use super::*;
use crate::outcome::Withheld;
use std::sync::Arc;

fn guard(allowed: &[&str]) -> Option<Arc<RebindingGuard>> {
    let allowed: Vec<Name> = allowed.iter().map(|it| name(it)).collect();
    Some(Arc::new(RebindingGuard::new(&allowed)))
}

fn private(text: &str) -> Vec<u8> {
    let mut composer = ResponseComposer::new(&question(text, RecordType::A));
    composer.answer(&name(text), RecordType::A, 100, &[10, 0, 0, 1]);
    composer.finish()
}

/// A response whose answer is public, and whose additional record is not.
fn with_additional(text: &str) -> Vec<u8> {
    let mut message = address(text, 100);
    message[11] += 1;
    message.extend_from_slice(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x01");
    message
}

fn restored(message: &[u8], group: GroupId) -> Restored<'_> {
    Restored {
        group,
        dnssec_ok: false,
        checking_disabled: false,
        origin: ReplyOrigin::Upstream,
        age: Duration::ZERO,
        message,
    }
}

impl Bench {
    /// Keeps that the answer to `text` is not told.
    fn withhold(&self, text: &str) {
        let message = private(text);
        let rules = self.cache.rules();
        let mut settled = Settled::default();
        settled.settle(&ResponseView::parse(&message).unwrap(), rules);
        settled.withhold(Withheld::PrivateAddress.told(), rules);
        let asked = Asked::new(&asker(text), GROUP);
        let origin = ReplyOrigin::Upstream;
        self.cache.store(&asked, &settled, origin, self.now);
    }
}

#[test]
fn a_guard_that_comes_takes_out_what_it_does_not_let_pass() {
    let mut bench = Bench::new();
    bench.store(&private("a.example"));
    bench.store(&private("nas.home.example"));
    bench.store(&address("public.example", 100));
    bench.store(&with_additional("trimmed.example"));
    bench.fail("failed.example");
    bench.cache.set_guard(guard(&["home.example"]));
    assert_eq!(bench.cache.judge_again(), 2);
    assert_eq!(bench.ask("a.example"), Answered::No);
    assert_eq!(bench.ask("trimmed.example"), Answered::No);
    for stays in ["nas.home.example", "public.example", "failed.example"] {
        assert_eq!(bench.ask(stays), Answered::Yes, "{stays}");
    }
}

#[test]
fn a_guard_that_changes_or_goes_takes_out_what_was_withheld() {
    for after in [None, guard(&["home.example"])] {
        let mut bench = Bench::new();
        bench.cache.set_guard(guard(&[]));
        bench.withhold("nas.home.example");
        bench.store(&address("public.example", 100));
        assert_eq!(bench.ask("nas.home.example"), Answered::Yes);
        assert_eq!(
            (bench.error(), bench.reply().rcode()),
            (Some(15), Rcode::NOERROR)
        );
        bench.cache.set_guard(after);
        assert_eq!(bench.cache.judge_again(), 1);
        assert_eq!(bench.ask("nas.home.example"), Answered::No);
        assert_eq!(bench.ask("public.example"), Answered::Yes);
    }
}

#[test]
fn what_is_put_back_is_judged_but_for_that_of_a_route() {
    let mut config = CacheConfig::new(4 * MIB, [1; 16]);
    config.groups = 2;
    let mut bench = Bench::with(config);
    bench.cache.set_guard(guard(&["home.example"]));
    let (route, now) = (GroupId(1), bench.now);
    let put_back = |message: &[u8], group| bench.cache.restore(&restored(message, group), now);
    assert_eq!(
        put_back(&private("a.example"), GROUP),
        Err(RestoreFault::Private)
    );
    assert_eq!(put_back(&private("a.example"), route), Ok(()));
    assert_eq!(put_back(&private("nas.home.example"), GROUP), Ok(()));
    assert_eq!(put_back(&with_additional("b.example"), GROUP), Ok(()));
    // Of a route, it stays whatever the guard.
    assert_eq!(bench.cache.judge_again(), 0);
    assert_eq!(bench.ask("b.example"), Answered::Yes);
    assert_eq!(bench.reply().header().additionals, 1, "the OPT record");
}

#[test]
fn what_is_withheld_is_shown_as_that_and_does_not_travel() {
    let bench = Bench::new();
    bench.withhold("a.example");
    let (mut kinds, mut octets) = (Vec::new(), Vec::new());
    bench.cache.visit(bench.now, |kept| {
        kinds.push(kept.kind);
        assert!(!write_portable(
            &kept,
            b"",
            Duration::from_secs(1_800_000_000),
            &mut octets
        ));
    });
    assert_eq!(kinds, [Kind::Withheld]);
    assert!(octets.is_empty());
}
