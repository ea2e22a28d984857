//! Octets that come in the most inconvenient pieces, on both sides, and streams that end in the middle.

use dotward_core::wire::RecordType;
use dotward_faults::Mode;
use dotward_faults::mode::{
    Batch, Closing, Cut, Ending, Framing, Junk, Lie, LieAbout, Order, Writing,
};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

use crate::support::{Chain, TcpClient, framed, query, within};

#[tokio::test]
async fn responses_that_come_octet_by_octet_are_put_together() {
    for mode in [
        Mode {
            writing: Writing::Octets,
            ..Mode::default()
        },
        Mode {
            tcp_chunk: Some(1),
            ..Mode::default()
        },
        Mode {
            tcp_chunk: Some(7),
            writing: Writing::Coalesced,
            ..Mode::default()
        },
    ] {
        let chain = Chain::new(mode.clone());
        for n in 0..5 {
            let answer = chain.ask(&format!("n{n}.example")).await;
            assert!(answer.is_good(), "{mode:?}");
        }
    }
}

#[tokio::test]
async fn a_response_cut_at_any_octet_is_put_together() {
    let chain = Chain::new(Mode::default());
    for cut in 1..90 {
        chain.server.set_mode(Mode {
            writing: Writing::Cuts(vec![cut]),
            ..Mode::default()
        });
        let answer = chain.ask(&format!("n{cut}.example")).await;
        assert!(answer.is_good(), "cut at {cut}");
    }
    assert_eq!(chain.server.counters().connections_accepted, 1);
}

#[tokio::test]
async fn a_query_cut_at_any_octet_is_put_together() {
    let chain = Chain::new(Mode::default());
    let mut client = TcpClient::connect(chain.tcp()).await;
    let message = query(9, "www.example", RecordType::A);
    let octets = framed(&[message]);
    for cut in 1..octets.len() {
        let (head, tail) = octets.split_at(cut);
        within(client.stream.write_all(head)).await.unwrap();
        // The proxy has read the head once it answers another client.
        chain.ask(&format!("between-{cut}.example")).await;
        within(client.stream.write_all(tail)).await.unwrap();
        assert!(client.receive().await.unwrap().is_good(), "cut at {cut}");
    }
}

#[tokio::test]
async fn an_upstream_that_ends_mid_message_costs_no_question() {
    for ending in [Ending::Notify, Ending::Fin, Ending::Reset] {
        for after in [0, 1, 2, 3, 14, 40] {
            let chain = Chain::new(Mode::default());
            assert!(chain.ask("first.example").await.is_good());
            chain.server.set_mode_of_live(Mode {
                framing: Framing::Abort(Cut::After(after)),
                ending: Some(ending),
                ..Mode::default()
            });
            let answer = chain.ask("second.example").await;
            assert!(answer.is_good(), "{ending:?} after {after}: {answer:?}");
            assert_eq!(chain.server.counters().connections_accepted, 2);
        }
    }
}

#[tokio::test]
async fn an_idle_connection_that_is_closed_is_noticed_before_the_next_question() {
    for ending in [Ending::Notify, Ending::Fin, Ending::Reset] {
        let chain = Chain::new(Mode::default());
        assert!(chain.ask("first.example").await.is_good());
        chain.server.close_connections(ending);
        within(chain.server.wait_for_all_closed()).await.unwrap();
        assert!(chain.ask("second.example").await.is_good(), "{ending:?}");
    }
}

#[tokio::test]
async fn a_close_after_each_reply_costs_no_question() {
    let chain = Chain::new(Mode {
        closing: Closing::EachReply,
        ..Mode::default()
    });
    for n in 0..20 {
        let answer = chain.ask(&format!("n{n}.example")).await;
        assert!(answer.is_good(), "{n}: {answer:?}");
    }
}

#[tokio::test]
async fn the_questions_of_a_connection_that_dies_move_to_another() {
    let chain = Chain::new(Mode::default());
    assert!(chain.ask("first.example").await.is_good());
    chain.server.set_mode_of_live(Mode {
        closing: Closing::After {
            replies: 0,
            pending: 30,
        },
        ending: Some(Ending::Reset),
        ..Mode::default()
    });
    let mut client = TcpClient::connect(chain.tcp()).await;
    let queries: Vec<_> = (0..30)
        .map(|n| query(n, &format!("n{n}.example"), RecordType::A))
        .collect();
    client.send(&queries).await;
    for _ in 0..30 {
        assert!(client.receive().await.unwrap().is_good());
    }
}

#[tokio::test]
async fn garbage_and_lies_never_reach_the_client() {
    let lie = |about| Mode {
        lie: Some(Lie {
            about,
            then_right: true,
        }),
        ..Mode::default()
    };
    let junk = |junk| Mode {
        junk: Some(junk),
        ..Mode::default()
    };
    let modes = [
        lie(LieAbout::Id),
        lie(LieAbout::Name),
        lie(LieAbout::Type),
        lie(LieAbout::Class),
        lie(LieAbout::Direction),
        junk(Junk::Stream),
        junk(Junk::Frame),
        junk(Junk::Loop),
        junk(Junk::Counts),
    ];
    let asked = modes.map(|mode| tokio::spawn(ask_a_liar(mode)));
    for asked in asked {
        asked.await.unwrap();
    }
}

async fn ask_a_liar(mode: Mode) {
    let chain = Chain::new(mode.clone());
    let answer = chain.ask("www.example").await;
    let poison = dotward_faults::answers::POISON_A.octets();
    assert!(
        !answer.octets.windows(4).any(|piece| piece == poison),
        "{mode:?}"
    );
    if mode.lie.is_some() {
        assert!(answer.is_good(), "{mode:?}: {answer:?}");
    }
}

#[tokio::test]
async fn answers_go_to_their_questions_whatever_their_order() {
    let chain = Chain::new(Mode {
        order: Order::Reversed(Batch {
            depth: 20,
            linger: Duration::from_millis(200),
        }),
        ..Mode::default()
    });
    let mut client = TcpClient::connect(chain.tcp()).await;
    let queries: Vec<_> = (0..20)
        .map(|n| query(n, &format!("n{n}.example"), RecordType::A))
        .collect();
    client.send(&queries).await;
    let mut order = Vec::new();
    for _ in 0..20 {
        let answer = client.receive().await.unwrap();
        assert_eq!(answer.name(), format!("n{}.example", answer.id()));
        order.push(answer.id());
    }
    let reversed: Vec<u16> = (0..20).rev().collect();
    assert_eq!(order, reversed);
}
