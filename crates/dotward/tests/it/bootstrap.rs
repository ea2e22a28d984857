//! Upstreams that are given by name only.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use dotward::config::{Config, ListenTransport, LocalData, LocalRecord, UpstreamSettings};
use dotward::run::Proxy;
use dotward_faults::Mode;
use dotward_faults::mode::Opening;
use rustls::pki_types::ServerName;

use crate::dot_listener::with_listener;
use crate::network::{Cable, enter, runtime};
use crate::support::{BOUND, NAME, Trust, ask_udp, config, within};

/// A resolver of our own that knows the upstream's address, and how to ask it.
pub(crate) fn helper(
    trust: &Trust,
    somebody: UpstreamSettings,
) -> (dotward::run::Running, UpstreamSettings) {
    let mut helper = config(vec![somebody.clone()]);
    with_listener(&mut helper, trust);
    helper.local = vec![LocalRecord {
        name: NAME.parse().unwrap(),
        data: LocalData::A(Ipv4Addr::LOCALHOST),
        ttl: 60,
    }];
    let running = Proxy::start(helper).unwrap();
    let settings = UpstreamSettings {
        name: "helper".to_owned(),
        endpoints: vec![running.address(ListenTransport::Tls).unwrap()],
        tls_name: Some(ServerName::try_from("listener.example").unwrap()),
        ..somebody
    };
    (running, settings)
}

/// A configuration whose upstream has a name only.
fn by_name_only(
    server: &dotward_faults::Running,
    trust: &Trust,
    bootstrap: Vec<UpstreamSettings>,
) -> Config {
    let mut config = config(vec![trust.upstream(server)]);
    config.upstreams[0].endpoints.clear();
    config.bootstrap = bootstrap;
    config
}

#[tokio::test]
async fn the_address_is_found_by_asking_the_next_helper_when_one_fails() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let broken = trust.server(Mode {
        opening: Opening::Reset,
        ..Mode::default()
    });
    let (_running, good) = helper(&trust, trust.upstream(&server));
    let bootstrap = vec![trust.upstream(&broken), good];
    let proxy = Proxy::start(by_name_only(&server, &trust, bootstrap)).unwrap();
    let udp = proxy.address(ListenTransport::Udp).unwrap();
    // Questions that come before the address is known fail; the first that does not is what is waited for.
    within(async { while !ask_udp(udp, "www.example").await.is_good() {} }).await;
}

#[tokio::test]
async fn the_address_is_looked_for_again_until_a_helper_answers() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let (running, good) = helper(&trust, trust.upstream(&server));
    let address = good.endpoints[0];
    running.stop().unwrap();
    let proxy = Proxy::start(by_name_only(&server, &trust, vec![good])).unwrap();
    let udp = proxy.address(ListenTransport::Udp).unwrap();
    assert!(!ask_udp(udp, "early.example").await.is_good());
    let mut late = config(vec![trust.upstream(&server)]);
    with_listener(&mut late, &trust);
    late.listeners[2].address = address;
    late.local = vec![LocalRecord {
        name: NAME.parse().unwrap(),
        data: LocalData::A(Ipv4Addr::LOCALHOST),
        ttl: 60,
    }];
    let _late = Proxy::start(late).unwrap();
    within(async { while !ask_udp(udp, "www.example").await.is_good() {} }).await;
}

/// RCODE 3 of RFC 1035: there is no such name.
const NXDOMAIN: u16 = 3;

#[tokio::test]
async fn somebody_out_of_reach_is_tried_every_second_while_no_address_is_known() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let broken = trust.server(Mode {
        opening: Opening::Reset,
        ..Mode::default()
    });
    let bootstrap = vec![trust.upstream(&broken)];
    let _proxy = Proxy::start(by_name_only(&server, &trust, bootstrap)).unwrap();
    // Pauses that went on growing would take 7.5 s for these.
    let began = Instant::now();
    within(broken.wait_for_connections(5)).await.unwrap();
    assert!(
        began.elapsed() < Duration::from_millis(6500),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn news_of_the_network_have_an_address_looked_for_at_once() {
    let cable = match Cable::new("names") {
        Ok(cable) => cable,
        Err(reason) => {
            eprintln!("skipped: no network name spaces here: {reason}");
            return;
        }
    };
    std::thread::scope(|scope| {
        let found = scope.spawn(|| {
            enter(&cable.near);
            runtime().block_on(look_after_news(&cable));
        });
        found.join().unwrap();
    });
}

#[test]
fn news_that_do_not_cease_keep_nobody_from_being_asked() {
    let cable = match Cable::new("noise") {
        Ok(cable) => cable,
        Err(reason) => {
            eprintln!("skipped: no network name spaces here: {reason}");
            return;
        }
    };
    std::thread::scope(|scope| {
        let found = scope.spawn(|| {
            enter(&cable.near);
            runtime().block_on(look_amid_noise(&cable));
        });
        found.join().unwrap();
    });
}

async fn look_amid_noise(cable: &Cable) {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let mute = || {
        trust.server(Mode {
            opening: Opening::AcceptOnly,
            ..Mode::default()
        })
    };
    let (one, two) = (mute(), mute());
    let (_running, good) = helper(&trust, trust.upstream(&server));
    let bootstrap = vec![trust.upstream(&one), trust.upstream(&two), good];
    let proxy = Proxy::start(by_name_only(&server, &trust, bootstrap)).unwrap();
    let udp = proxy.address(ListenTransport::Udp).unwrap();
    let noise = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(400));
        loop {
            cable.near("addr add 10.213.0.9/24 dev near0");
            ticks.tick().await;
            cable.near("addr del 10.213.0.9/24 dev near0");
            ticks.tick().await;
        }
    };
    let found = async { while !ask_udp(udp, "www.example").await.is_good() {} };
    tokio::select! {
        found = tokio::time::timeout(3 * BOUND, found) => found.unwrap(),
        () = noise => {}
    }
}

async fn look_after_news(cable: &Cable) {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let ignorant = trust.server(Mode {
        rcode: Some(NXDOMAIN),
        ..Mode::default()
    });
    let bootstrap = vec![trust.upstream(&ignorant)];
    let _proxy = Proxy::start(by_name_only(&server, &trust, bootstrap)).unwrap();
    // Two questions each at 0, 0.5, 1.5 and 3.5 s; the next would come 4 s later.
    within(ignorant.wait_for_queries(8)).await.unwrap();
    cable.near("addr add 10.213.0.9/24 dev near0");
    let news = Instant::now();
    within(ignorant.wait_for_queries(10)).await.unwrap();
    assert!(
        news.elapsed() < Duration::from_secs(2),
        "{:?}",
        news.elapsed()
    );
}
