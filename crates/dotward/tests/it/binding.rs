//! From where upstreams are connected to.

use std::net::{Ipv4Addr, SocketAddr};

use dotward::config::Binding;
use dotward::run::{Proxy, StartFault};
use dotward_core::wire::Rcode;
use dotward_faults::Mode;
use tokio::net::TcpListener;

use crate::support::{Chain, Trust, ask_udp, config, within};

fn lo(interface: &str) -> Binding {
    Binding {
        interface: Some(interface.to_owned()),
        ..Binding::default()
    }
}

#[tokio::test]
async fn connections_come_from_the_source_address() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let chain = Chain::with(Mode::default(), |config, _| {
        let upstream = &mut config.upstreams[0];
        upstream.endpoints = vec![listener.local_addr().unwrap()];
        upstream.binding.source = vec!["::1".parse().unwrap(), "127.0.0.9".parse().unwrap()];
    });
    let to = chain.udp();
    let asking = tokio::spawn(async move { ask_udp(to, "www.example").await });
    let (_, peer) = within(listener.accept()).await.unwrap();
    assert_eq!(peer.ip(), Ipv4Addr::new(127, 0, 0, 9));
    drop(listener);
    assert!(!asking.await.unwrap().is_good());
}

#[tokio::test]
async fn connections_go_through_the_interface_or_not_at_all() {
    let through = |interface: &'static str| {
        Chain::with(Mode::default(), |config, _| {
            config.upstreams[0].binding = lo(interface);
        })
    };
    assert!(through("lo").ask("www.example").await.is_good());
    let chain = through("no-such-thing0");
    assert_eq!(chain.ask("www.example").await.rcode(), Rcode::SERVFAIL);
    assert_eq!(chain.server.counters().connections_accepted, 0);
}

#[tokio::test]
async fn a_mark_is_set_or_refused_at_start_with_what_would_help() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let mut config = config(vec![trust.upstream(&server)]);
    config.upstreams[0].binding.mark = Some(51);
    match Proxy::start(config) {
        Ok(proxy) => {
            let to: SocketAddr = proxy
                .address(dotward::config::ListenTransport::Udp)
                .unwrap();
            assert!(ask_udp(to, "www.example").await.is_good());
        }
        Err(error) => {
            assert!(matches!(error.faults[..], [StartFault::Binding { .. }]));
            let text = error.to_string();
            assert!(
                text.contains("mark 51") && text.contains("CAP_NET_ADMIN"),
                "{text}"
            );
        }
    }
}
