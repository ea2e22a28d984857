//! A plain DoT client for the tests: it says what came over the wire and forgives nothing.

use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use dotward_faults::{Config, Mode, Running, Server, TestCa};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) const NAME: &str = "dot.test";
pub(crate) const A: u16 = 1;
pub(crate) const TXT: u16 = 16;
pub(crate) const AAAA: u16 = 28;

/// A server in this mode.
pub(crate) fn server(words: &str) -> Running {
    let mut config = Config::new(&TestCa::new().unwrap(), NAME);
    config.mode = mode(words);
    Server::start(config).unwrap()
}

pub(crate) fn mode(words: &str) -> Mode {
    words.parse().unwrap()
}

/// How the server ended the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Notify,
    Fin,
    Reset,
}

/// A socket that keeps a copy of what it read.
pub(crate) struct Recorder {
    socket: TcpStream,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Recorder {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(context, buf))?;
        self.seen
            .lock()
            .unwrap()
            .extend_from_slice(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Recorder {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

/// The settings of a client that trusts the server's CA; kept by tests that resume sessions.
pub(crate) fn trusting(ca: &TestCa) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(ca.roots())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"dot".to_vec()];
    config
}

pub(crate) struct Client {
    stream: TlsStream<Recorder>,
    input: Vec<u8>,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Client {
    pub(crate) async fn connect(running: &Running) -> io::Result<Self> {
        Self::connect_with(running, Arc::new(trusting(running.ca())), NAME).await
    }

    pub(crate) async fn connect_with(
        running: &Running,
        config: Arc<ClientConfig>,
        name: &'static str,
    ) -> io::Result<Self> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let socket = TcpStream::connect(running.address()).await?;
        socket.set_nodelay(true)?;
        let recorder = Recorder {
            socket,
            seen: Arc::clone(&seen),
        };
        let name = ServerName::try_from(name).unwrap();
        let stream = TlsConnector::from(config).connect(name, recorder).await?;
        Ok(Self {
            stream,
            input: Vec::new(),
            seen,
        })
    }

    pub(crate) async fn send(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(crate) async fn ask(&mut self, id: u16, name: &str, qtype: u16) {
        self.send(&query(id, name, qtype)).await;
    }

    /// One frame, or how the connection ended and what was left of an incomplete frame.
    pub(crate) async fn frame(&mut self) -> Result<Vec<u8>, (End, Vec<u8>)> {
        loop {
            if let Some((prefix, rest)) = self.input.split_first_chunk() {
                let length = usize::from(u16::from_be_bytes(*prefix));
                if rest.len() >= length {
                    let frame = rest[..length].to_vec();
                    self.input.drain(..length + 2);
                    return Ok(frame);
                }
            }
            let mut octets = vec![0; 16_384];
            let end = match self.stream.read(&mut octets).await {
                Ok(0) => End::Notify,
                Ok(read) => {
                    self.input.extend_from_slice(&octets[..read]);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => End::Fin,
                Err(_) => End::Reset,
            };
            return Err((end, std::mem::take(&mut self.input)));
        }
    }

    pub(crate) async fn message(&mut self) -> Message {
        Message::parse(&self.frame().await.unwrap())
    }

    /// Asks one A question and checks that the answer is the right one.
    pub(crate) async fn works(&mut self, id: u16, name: &str) {
        self.ask(id, name, A).await;
        let message = self.message().await;
        assert_eq!(
            (message.id, message.address()),
            (id, Some(dotward_faults::expected_a(name)))
        );
    }

    /// How the connection ended, everything before it thrown away.
    pub(crate) async fn end(&mut self) -> End {
        loop {
            if let Err((end, _)) = self.frame().await {
                return end;
            }
        }
    }

    /// Octets of plaintext in each application-data record read so far; for TLS 1.2 with AES-GCM.
    pub(crate) fn records(&self) -> Vec<usize> {
        let seen = self.seen.lock().unwrap();
        let mut rest = seen.as_slice();
        let mut sizes = Vec::new();
        while let [kind, _, _, high, low, after @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if *kind == 23 {
                sizes.push(length - 24);
            }
            rest = after.get(length..).unwrap_or_default();
        }
        sizes
    }
}

/// A framed query with RD=1 and an empty OPT record.
pub(crate) fn query(id: u16, name: &str, qtype: u16) -> Vec<u8> {
    let opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
    framed(&[header(id, 1).as_slice(), &question(name, qtype), &opt].concat())
}

pub(crate) fn header(id: u16, additionals: u16) -> Vec<u8> {
    [id, 0x0100, 1, 0, 0, additionals]
        .iter()
        .flat_map(|word| word.to_be_bytes())
        .collect()
}

pub(crate) fn question(name: &str, qtype: u16) -> Vec<u8> {
    let mut octets = wire(name);
    octets.extend(qtype.to_be_bytes());
    octets.extend([0, 1]);
    octets
}

pub(crate) fn wire(name: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        octets.push(u8::try_from(label.len()).unwrap());
        octets.extend(label.as_bytes());
    }
    octets.push(0);
    octets
}

pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let mut octets = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    octets.extend(message);
    octets
}

/// A response, read as far as the tests look at it.
#[derive(Debug, Default)]
pub(crate) struct Message {
    pub(crate) octets: usize,
    pub(crate) id: u16,
    pub(crate) flags: u16,
    pub(crate) rcode: u16,
    pub(crate) question: Option<(Vec<u8>, u16, u16)>,
    /// Type, TTL and data of each record of the answer section.
    pub(crate) answers: Vec<(u16, u32, Vec<u8>)>,
    pub(crate) authorities: Vec<(u16, u32, Vec<u8>)>,
    /// Options of the OPT record.
    pub(crate) options: Option<Vec<u8>>,
}

impl Message {
    pub(crate) fn parse(octets: &[u8]) -> Self {
        let word = |at: usize| u16::from_be_bytes([octets[at], octets[at + 1]]);
        let mut message = Self {
            octets: octets.len(),
            id: word(0),
            ..Self::default()
        };
        (message.flags, message.rcode) = (word(2) & 0xfff0, word(2) & 0x000f);
        let mut at = 12;
        if word(4) == 1 {
            let end = skip_name(octets, at);
            message.question = Some((octets[at..end].to_vec(), word(end), word(end + 2)));
            at = end + 4;
        }
        for (section, count) in [word(6), word(8), word(10)].into_iter().enumerate() {
            for _ in 0..count {
                at = skip_name(octets, at);
                let length = usize::from(word(at + 8));
                let data = octets[at + 10..at + 10 + length].to_vec();
                let ttl = u32::from(word(at + 4)) << 16 | u32::from(word(at + 6));
                match (section, word(at)) {
                    (2, 41) => {
                        message.rcode |= word(at + 4) >> 8 << 4;
                        message.options = Some(data);
                    }
                    (0, rtype) => message.answers.push((rtype, ttl, data)),
                    (1, rtype) => message.authorities.push((rtype, ttl, data)),
                    _ => {}
                }
                at += 10 + length;
            }
        }
        assert_eq!(at, octets.len(), "octets after the last record");
        message
    }

    /// The first A record of the answer section.
    pub(crate) fn address(&self) -> Option<Ipv4Addr> {
        let (_, _, data) = self.answers.iter().find(|(rtype, ..)| *rtype == A)?;
        Some(Ipv4Addr::from(
            <[u8; 4]>::try_from(data.as_slice()).unwrap(),
        ))
    }

    pub(crate) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

fn skip_name(octets: &[u8], mut at: usize) -> usize {
    loop {
        match octets[at] {
            0 => return at + 1,
            0xc0.. => return at + 2,
            length => at += usize::from(length) + 1,
        }
    }
}
