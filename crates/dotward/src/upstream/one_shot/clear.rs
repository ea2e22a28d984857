//! One question in the clear, over UDP or TCP: to a proxy that runs, or to an unencrypted upstream of a route.
//!
//! Promises: a datagram that does not answer the question is not taken for its answer; one that may be lost is sent again; what does not fit
//! into a datagram is asked for over TCP (RFC 7766 section 5).

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use dotward_core::upstream::Protocol;
use dotward_core::wire::{Question, ResponseView};
use tokio::net::UdpSocket;

use super::{ConnectionFacts, Conversation, OneShot, OneShotError, Peer, Stage, bounded};
use super::{query, random_id};
use crate::config::Binding;
use crate::limits::ONE_SHOT_AGAIN;
use crate::stream::Stream;
use crate::upstream::{datagram, dial};

/// Asks `question` at `endpoint` over `protocol`, which is not TLS. To be called within a runtime of [`crate::run::local_runtime`].
///
/// # Errors
///
/// [`OneShotError`], which says how far it got.
pub async fn ask_clear(
    protocol: Protocol,
    binding: &Binding,
    endpoint: SocketAddr,
    question: &Question,
) -> Result<OneShot, OneShotError> {
    let stage = Cell::new(Stage::Answer);
    let run = async {
        if protocol == Protocol::Udp {
            let told = ask_datagram(binding, endpoint, question);
            let told = told.await.map_err(OneShotError::Datagram)?;
            if !is_truncated(&told.response) {
                return Ok(told);
            }
        }
        stage.set(Stage::Tcp);
        ask_stream(binding, endpoint, question, &stage).await
    };
    bounded(&stage, run).await
}

async fn ask_stream(
    binding: &Binding,
    endpoint: SocketAddr,
    question: &Question,
    stage: &Cell<Stage>,
) -> Result<OneShot, OneShotError> {
    let began = Instant::now();
    let socket = dial::connect(endpoint, binding)
        .await
        .map_err(OneShotError::Connect)?;
    stage.set(Stage::Answer);
    let peer = Peer::new(Stream::plain(socket));
    let facts = ConnectionFacts {
        tcp: began.elapsed(),
        ..ConnectionFacts::clear(endpoint, Protocol::Tcp)
    };
    Conversation { peer, facts }.ask_once(question).await
}

/// Sends it until it is answered; whoever calls has a bound.
async fn ask_datagram(
    binding: &Binding,
    endpoint: SocketAddr,
    question: &Question,
) -> io::Result<OneShot> {
    let began = Instant::now();
    let socket = datagram::connect(endpoint, binding)?;
    let id = random_id();
    let message = query(question, id, Protocol::Udp);
    loop {
        socket.send(&message).await?;
        let answer = answer(&socket, id, question);
        if let Ok(answer) = tokio::time::timeout(ONE_SHOT_AGAIN, answer).await {
            return Ok(OneShot {
                response: answer?,
                facts: ConnectionFacts {
                    answer: began.elapsed(),
                    ..ConnectionFacts::clear(endpoint, Protocol::Udp)
                },
            });
        }
    }
}

/// The first datagram that answers the question.
async fn answer(socket: &UdpSocket, id: u16, question: &Question) -> io::Result<Vec<u8>> {
    let mut room = vec![0; usize::from(u16::MAX)];
    loop {
        let octets = socket.recv(&mut room).await?;
        let message = &room[..octets];
        let answers =
            |view: ResponseView<'_>| view.header().id == id && view.answers(question.view());
        if ResponseView::parse(message).is_ok_and(answers) {
            return Ok(message.to_vec());
        }
    }
}

fn is_truncated(message: &[u8]) -> bool {
    ResponseView::parse(message).is_ok_and(|view| view.header().flags.truncated())
}
