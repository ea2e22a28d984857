//! Questions on a connection of their own, with everything the connection did: for `dotward query`, measuring upstreams, the
//! demonstration, and finding an upstream's address.
//!
//! Promises: bounded in time; the response answers the question that was asked, with its ID (RFC 7858
//! section 3.3); the upstream is examined as for any other connection.
//!
//! Deliberately absent: trying again, choosing another upstream, several questions in flight.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dotward_core::limits::QUERY_PADDING_BLOCK;
use dotward_core::upstream::Protocol;
use dotward_core::wire::frame::{FrameReader, append_frame};
use dotward_core::wire::{QueryOptions, Question, ResponseView, write_query};
use rustls::HandshakeKind;
use rustls::pki_types::CertificateDer;

use super::dial;
use crate::config::Binding;
use crate::limits::{ONE_SHOT, READ_PER_TURN};
use crate::signal::{Signal, Wants};
use crate::stream::{ReadBuffers, Stream, StreamEnd};
use crate::tls::client::UpstreamTls;
use crate::tls::words::{remedy, words};

mod clear;

pub use clear::ask_clear;

/// What came back, and how.
#[derive(Debug, Clone)]
pub struct OneShot {
    /// The whole DNS message.
    pub response: Vec<u8>,
    /// What the connection did.
    pub facts: ConnectionFacts,
}

/// What a connection did.
#[derive(Debug, Clone)]
pub struct ConnectionFacts {
    /// Where it went.
    pub endpoint: SocketAddr,
    /// What was spoken. Without TLS nothing below is known of it; without TCP there was no connection.
    pub protocol: Protocol,
    /// Time until TCP stood.
    pub tcp: Duration,
    /// Time from then until TLS stood.
    pub tls: Duration,
    /// Time from then until the response was there.
    pub answer: Duration,
    /// TLS version, as the standards write it.
    pub version: Option<String>,
    /// Key exchange group; absent on sessions resumed with TLS 1.2.
    pub group: Option<String>,
    /// Cipher suite.
    pub cipher: Option<String>,
    /// The ALPN protocol the upstream chose.
    pub alpn: Option<String>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The upstream's certificates, its own first.
    pub certificates: Vec<CertificateDer<'static>>,
}

impl ConnectionFacts {
    /// Where nothing is encrypted; times are the caller's.
    fn clear(endpoint: SocketAddr, protocol: Protocol) -> Self {
        Self {
            endpoint,
            protocol,
            tcp: Duration::ZERO,
            tls: Duration::ZERO,
            answer: Duration::ZERO,
            version: None,
            group: None,
            cipher: None,
            alpn: None,
            resumed: false,
            certificates: Vec::new(),
        }
    }
}

/// How far a question got before time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// TCP was being set up.
    Tcp,
    /// TLS was being set up.
    Tls,
    /// The question was sent.
    Answer,
}

/// Why there is no response.
#[derive(Debug)]
pub enum OneShotError {
    /// No TCP connection.
    Connect(io::Error),
    /// TLS failed, or the upstream is not who it has to be.
    Tls(rustls::Error),
    /// The upstream closed before it answered.
    Closed(Stage),
    /// The connection broke.
    Broken(Stage, io::Error),
    /// No datagram could be sent, or the network says that nobody takes it.
    Datagram(io::Error),
    /// What came is no response to the question.
    NoAnswer,
    /// Time is over.
    TimedOut(Stage),
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "while TCP was being set up",
            Self::Tls => "while TLS was being set up",
            Self::Answer => "before it answered",
        })
    }
}

impl fmt::Display for OneShotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "no TCP connection: {error}"),
            Self::Tls(error) => write!(f, "TLS failed: {}", words(error)),
            Self::Closed(stage) => write!(f, "the upstream closed the connection {stage}"),
            Self::Broken(stage, error) => write!(f, "the connection broke {stage}: {error}"),
            Self::Datagram(error) => write!(f, "no answer by UDP: {error}"),
            Self::NoAnswer => f.write_str("what came back is no response to the question"),
            Self::TimedOut(stage) => write!(f, "nothing came within {ONE_SHOT:?}, {stage}"),
        }
    }
}

impl std::error::Error for OneShotError {}

impl OneShotError {
    /// What to do about it, where something can be said.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Tls(error) => Some(remedy(error)),
            Self::Connect(_)
            | Self::Closed(_)
            | Self::Broken(..)
            | Self::Datagram(_)
            | Self::NoAnswer
            | Self::TimedOut(_) => None,
        }
    }
}

/// Asks `question` at `endpoint`. To be called within a runtime of [`crate::run::local_runtime`].
///
/// # Errors
///
/// [`OneShotError`], which says how far it got.
pub async fn ask(
    tls: &UpstreamTls,
    binding: &Binding,
    endpoint: SocketAddr,
    question: &Question,
) -> Result<OneShot, OneShotError> {
    let stage = Cell::new(Stage::Tcp);
    let run = async {
        let conversation = Conversation::set_up(tls, binding, endpoint, &stage).await?;
        conversation.ask_once(question).await
    };
    bounded(&stage, run).await
}

/// A connection that stands, to an upstream that proved who it is. Dropping it ends it.
pub struct Conversation {
    peer: Peer,
    facts: ConnectionFacts,
}

impl Conversation {
    /// Connects. To be called within a runtime of [`crate::run::local_runtime`].
    ///
    /// # Errors
    ///
    /// [`OneShotError`], which says how far it got.
    pub async fn open(
        tls: &UpstreamTls,
        binding: &Binding,
        endpoint: SocketAddr,
    ) -> Result<Self, OneShotError> {
        let stage = Cell::new(Stage::Tcp);
        bounded(&stage, Self::set_up(tls, binding, endpoint, &stage)).await
    }

    /// What the connection did until now; the time of the answer is zero.
    pub fn facts(&self) -> &ConnectionFacts {
        &self.facts
    }

    /// Asks, and gives back the message with the time it took.
    ///
    /// # Errors
    ///
    /// [`OneShotError`]; the connection is of no use any more then.
    pub async fn ask(&mut self, question: &Question) -> Result<(Vec<u8>, Duration), OneShotError> {
        bounded(&Cell::new(Stage::Answer), self.exchange(question)).await
    }

    /// Ends it as TLS wants it.
    pub fn close(self) {
        self.peer.stream.close();
    }

    async fn set_up(
        tls: &UpstreamTls,
        binding: &Binding,
        endpoint: SocketAddr,
        stage: &Cell<Stage>,
    ) -> Result<Self, OneShotError> {
        let began = Instant::now();
        let socket = dial::connect(endpoint, binding)
            .await
            .map_err(OneShotError::Connect)?;
        let tcp = began.elapsed();
        stage.set(Stage::Tls);
        let connection = tls.connect(endpoint.ip()).map_err(OneShotError::Tls)?;
        let mut peer = Peer::new(Stream::tls(socket, connection));
        while peer.stream.is_handshaking() {
            peer.turn(Stage::Tls).await?;
        }
        let connection = peer
            .stream
            .connection()
            .ok_or(OneShotError::Closed(Stage::Tls))?;
        tls.check(connection, endpoint.ip())
            .map_err(OneShotError::Tls)?;
        stage.set(Stage::Answer);
        let facts = ConnectionFacts {
            tcp,
            tls: began.elapsed().saturating_sub(tcp),
            ..peer.facts(endpoint, Protocol::Tls)
        };
        Ok(Self { peer, facts })
    }

    /// Asks and ends the connection. Without a bound of its own.
    async fn ask_once(mut self, question: &Question) -> Result<OneShot, OneShotError> {
        let (response, answer) = self.exchange(question).await?;
        let facts = ConnectionFacts {
            answer,
            ..self.facts.clone()
        };
        self.close();
        Ok(OneShot { response, facts })
    }

    async fn exchange(&mut self, question: &Question) -> Result<(Vec<u8>, Duration), OneShotError> {
        let began = Instant::now();
        let id = random_id();
        let message = query(question, id, self.facts.protocol);
        append_frame(&message, self.peer.stream.outgoing());
        loop {
            if let Some(response) = self.peer.messages.next_message() {
                let answers = ResponseView::parse(response)
                    .is_ok_and(|view| view.header().id == id && view.answers(question.view()));
                return if answers {
                    Ok((response.to_vec(), began.elapsed()))
                } else {
                    Err(OneShotError::NoAnswer)
                };
            }
            self.peer.turn(Stage::Answer).await?;
        }
    }
}

/// Bounds what is tried by [`ONE_SHOT`].
async fn bounded<T>(
    stage: &Cell<Stage>,
    tried: impl Future<Output = Result<T, OneShotError>>,
) -> Result<T, OneShotError> {
    match tokio::time::timeout(ONE_SHOT, tried).await {
        Ok(result) => result,
        Err(_) => Err(OneShotError::TimedOut(stage.get())),
    }
}

/// Padding hides the length of what is encrypted, and of nothing else (RFC 8467).
fn query(question: &Question, id: u16, protocol: Protocol) -> Vec<u8> {
    let options = QueryOptions {
        keepalive: false,
        checking_disabled: false,
        dnssec_ok: false,
        padding: (protocol == Protocol::Tls).then_some(QUERY_PADDING_BLOCK),
    };
    let mut message = Vec::new();
    write_query(question.view(), options, &mut message);
    if let Some(octets) = message.first_chunk_mut() {
        *octets = id.to_be_bytes();
    }
    message
}

/// Without randomness there is no TLS either, and on a connection of its own the question protects itself.
fn random_id() -> u16 {
    let mut octets = [0; 2];
    match aws_lc_rs::rand::fill(&mut octets) {
        Ok(()) | Err(_) => u16::from_be_bytes(octets),
    }
}

/// The other end, with what came from it.
struct Peer {
    stream: Stream,
    signal: Signal,
    buffers: ReadBuffers,
    messages: FrameReader,
}

impl Peer {
    fn new(stream: Stream) -> Self {
        Self {
            stream,
            signal: Signal::default(),
            buffers: ReadBuffers::default(),
            messages: FrameReader::default(),
        }
    }

    /// Writes what waits, then waits for octets and takes them.
    async fn turn(&mut self, stage: Stage) -> Result<(), OneShotError> {
        let broken = |error| OneShotError::Broken(stage, error);
        self.stream.flush().map_err(broken)?;
        self.signal.want(Wants {
            read: true,
            write: self.stream.is_blocked(),
        });
        self.signal.ready(&*self.stream.socket(), None).await;
        let received = self.stream.read(&mut self.buffers, READ_PER_TURN);
        self.messages.push(&self.buffers.plain);
        match received.end {
            None => Ok(()),
            // A response may have come right before the end.
            Some(StreamEnd::Ended) if !self.buffers.plain.is_empty() => Ok(()),
            Some(StreamEnd::Ended) => Err(OneShotError::Closed(stage)),
            Some(StreamEnd::Failed(error)) => Err(OneShotError::Broken(stage, error)),
            Some(StreamEnd::Tls(error)) => {
                // The alert tells the other side what is wrong with it.
                self.stream.flush().map_err(broken)?;
                Err(OneShotError::Tls(error))
            }
        }
    }

    /// What TLS agreed on, if it is spoken; times are the caller's.
    fn facts(&self, endpoint: SocketAddr, protocol: Protocol) -> ConnectionFacts {
        let tls = self.stream.connection();
        let debug = |value: &dyn fmt::Debug| format!("{value:?}");
        let certificates = tls.and_then(|tls| tls.peer_certificates());
        ConnectionFacts {
            version: tls
                .and_then(|tls| tls.protocol_version())
                .map(|version| debug(&version).replace("TLSv1_", "TLS 1.")),
            group: tls
                .and_then(|tls| tls.negotiated_key_exchange_group())
                .map(|group| debug(&group.name())),
            cipher: tls
                .and_then(|tls| tls.negotiated_cipher_suite())
                .map(|suite| debug(&suite.suite()).replace("TLS13_", "TLS_")),
            alpn: tls
                .and_then(|tls| tls.alpn_protocol())
                .map(|protocol| String::from_utf8_lossy(protocol).into_owned()),
            resumed: tls.and_then(|tls| tls.handshake_kind()) == Some(HandshakeKind::Resumed),
            certificates: certificates
                .unwrap_or_default()
                .iter()
                .map(|certificate| certificate.clone().into_owned())
                .collect(),
            ..ConnectionFacts::clear(endpoint, protocol)
        }
    }
}
