//! Upstreams that are given by name only.

use std::net::Ipv4Addr;

use dotward::config::{Config, ListenTransport, LocalData, LocalRecord, UpstreamSettings};
use dotward::run::Proxy;
use dotward_faults::Mode;
use dotward_faults::mode::Opening;
use rustls::pki_types::ServerName;

use crate::dot_listener::with_listener;
use crate::support::{NAME, Trust, ask_udp, config, within};

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
