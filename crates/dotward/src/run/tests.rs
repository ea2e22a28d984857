//! A whole proxy on the thread of the test, so that the test can move its clock.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use dotward_core::wire::{
    Class, QueryOptions, Question, Rcode, RecordType, ResponseView, write_query,
};
use dotward_faults::{Mode, Server, TestCa};
use tokio::net::UdpSocket;

use super::*;
use crate::clock;
use crate::config::{
    BindRules, CacheSettings, Deny, LimitSettings, LogFormat, LogSettings, Strategy,
    UpstreamSettings, Workers,
};

const NAME: &str = "dot.example";

fn config(server: &dotward_faults::Running, roots: &std::path::Path) -> Config {
    let endpoint = server.address();
    Config {
        listeners: vec![ListenAddress {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            transport: ListenTransport::Udp,
        }],
        interfaces: Vec::new(),
        listen_tls: None,
        proxy_from: Vec::new(),
        rules: BindRules::default(),
        run_as: None,
        control: None,
        snapshot: None,
        shared_cache: None,
        allow: vec!["127.0.0.0/8".parse().unwrap()],
        deny: Deny::default(),
        limits: LimitSettings::default(),
        answers: crate::config::AnswerSettings {
            udp_size: 1232,
            cookies: crate::config::Cookies::Answer,
            cookie_secrets: None,
            nsid: None,
        },
        upstreams: vec![UpstreamSettings {
            tls_name: Some(NAME.try_into().unwrap()),
            ca_file: Some(roots.to_owned()),
            ..UpstreamSettings::new("test".into(), vec![endpoint], endpoint.port())
        }],
        strategy: Strategy::Ordered,
        routes: Vec::new(),
        forward_special: Vec::new(),
        private_domains: None,
        refuse_snooping: false,
        local: Vec::new(),
        cache: CacheSettings::OFF,
        bootstrap: Vec::new(),
        log: LogSettings {
            level: tracing::level_filters::LevelFilter::INFO,
            format: LogFormat::Text,
            file: None,
        },
        drain: Duration::from_secs(2),
        admin: None,
        ready_requires: crate::config::ReadyRequires::Start,
        sandbox: false,
        watch: false,
        workers: Workers::Auto,
    }
}

async fn ask(to: SocketAddr, name: &str) -> Rcode {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let question = Question::new(&name.parse().unwrap(), RecordType::A, Class::IN);
    let options = QueryOptions {
        checking_disabled: false,
        dnssec_ok: false,
        keepalive: false,
        padding: None,
    };
    let mut message = Vec::new();
    write_query(question.view(), options, &mut message);
    socket.send_to(&message, to).await.unwrap();
    let mut octets = [0; 4096];
    let received = tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut octets));
    let length = received.await.unwrap().unwrap();
    ResponseView::parse(&octets[..length]).unwrap().rcode()
}

#[test]
fn the_first_question_after_a_sleep_is_answered_over_a_new_connection_within_a_second() {
    let directory = tempfile::tempdir().unwrap();
    let roots = directory.path().join("ca.pem");
    let ca = TestCa::new().unwrap();
    ca.write_pem(&roots).unwrap();
    local_runtime().unwrap().block_on(async {
        let mut server = dotward_faults::Config::new(&ca, NAME);
        server.mode = Mode::default();
        let server = Server::start(server).unwrap();
        let prepared = Prepared::new(config(&server, &roots)).unwrap();
        let to = prepared.listening()[0].address;
        let (orders, receiver) = watch::channel(Order::Serve);
        let proxy = tokio::task::spawn_local(prepared.serve(receiver));
        assert_eq!(ask(to, "before.example").await, Rcode::NOERROR);
        assert_eq!(server.counters().connections_accepted, 1);

        // What stood before never says another word, as when a NAT forgot it meanwhile.
        server.set_mode("mute".parse().unwrap());
        clock::tests::sleep(Duration::from_secs(3600));
        server.set_mode(Mode::default());
        let woke = Instant::now();
        assert_eq!(ask(to, "after.example").await, Rcode::NOERROR);
        assert!(
            woke.elapsed() < Duration::from_secs(1),
            "{:?}",
            woke.elapsed()
        );
        let counters = server.counters();
        assert_eq!(counters.connections_accepted, 2, "{counters:?}");
        assert_eq!(
            counters.handshakes_resumed, 0,
            "sessions of before are dropped"
        );
        assert_eq!(ask(to, "later.example").await, Rcode::NOERROR);
        assert_eq!(server.counters().connections_accepted, 2, "once is enough");

        orders.send(Order::Drain).unwrap();
        proxy.await.unwrap().unwrap();
    });
}
