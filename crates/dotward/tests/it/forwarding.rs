//! Questions that go out and answers that come back.

use dotward_core::wire::RecordType;
use dotward_faults::Mode;

use crate::support::{Chain, TcpClient, query};

#[tokio::test]
async fn a_question_over_udp_is_answered_through_tls() {
    let chain = Chain::new(Mode::default());
    let answer = chain.ask("www.example").await;
    assert!(answer.is_good(), "{answer:?}");
    let counters = chain.server.counters();
    assert_eq!(counters.connections_accepted, 1);
    assert_eq!(counters.connections[0].alpn.as_deref(), Some("dot"));
    assert_eq!(
        counters.connections[0].server_name.as_deref(),
        Some("dot.example")
    );
}

#[tokio::test]
async fn a_question_over_tcp_is_answered_through_tls() {
    let chain = Chain::new(Mode::default());
    let mut client = TcpClient::connect(chain.tcp()).await;
    client.send(&[query(7, "www.example", RecordType::A)]).await;
    let answer = client.receive().await.unwrap();
    assert!(answer.is_good() && answer.id() == 7, "{answer:?}");
}
