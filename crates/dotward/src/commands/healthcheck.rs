//! `dotward healthcheck`: is the running program good, for containers whose image has nothing else to ask with?
//!
//! Promises: asks `/readyz` where the configuration has an admin listener, and otherwise each way DNS is served for a name that never
//! leaves the program; is over within a few seconds whatever happens.
//!
//! Deliberately absent: exit codes.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};

use dotward_core::wire::{Class, QueryOptions, Question, RecordType, write_query};

use crate::config::{Config, ListenTransport};
use crate::limits::HEALTHCHECK;
use crate::listen::follow;

/// Why the program is not healthy.
#[derive(Debug)]
pub enum Unhealthy {
    /// It does not answer.
    Silent {
        /// Whom we asked.
        asked: String,
        /// What the system says.
        error: io::Error,
    },
    /// It does not answer this machine whether it is good or not.
    Denied {
        /// Whom we asked.
        asked: String,
        /// From where.
        own: IpAddr,
    },
    /// It answers that it is not ready.
    NotReady(String),
}

impl fmt::Display for Unhealthy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent { asked, error } => write!(f, "{asked} does not answer: {error}"),
            Self::Denied { asked, own } => write!(
                f,
                "{asked} does not answer: `listen.allow` leaves {own} out, so that nothing can be told from it\n  fix:     allow \
                 {own} (--allow loopback), or give an admin listener (--admin 127.0.0.1:9853)"
            ),
            Self::NotReady(why) => write!(f, "not ready: {why}"),
        }
    }
}

impl std::error::Error for Unhealthy {}

/// Asks the program that runs with this configuration.
///
/// # Errors
///
/// Why it is not healthy.
pub fn healthcheck(config: &Config) -> Result<(), Unhealthy> {
    if let Some(admin) = config.admin {
        return ask_admin(reachable(admin));
    }
    let of_interfaces = follow::addresses_now(config).unwrap_or_default().addresses;
    if config.listeners.is_empty() && of_interfaces.is_empty() {
        let why = "its interfaces have no address to listen on";
        return Err(Unhealthy::NotReady(why.into()));
    }
    for listener in config.listeners.iter().chain(&of_interfaces) {
        let address = reachable(listener.address);
        let answered = match listener.transport {
            ListenTransport::Udp => ask_udp(address),
            ListenTransport::Tcp => ask_tcp(address),
            ListenTransport::Tls => TcpStream::connect_timeout(&address, HEALTHCHECK).map(drop),
        };
        let Err(error) = answered else { continue };
        let own = own_address(address).filter(|own| !allows(config, *own));
        // Whom it does not serve it hangs up on, which takes somebody who accepts.
        if own.is_some() && is_hang_up(&error) {
            continue;
        }
        let word = crate::listen::sockets::transport_word(listener.transport);
        let asked = format!("{word} {address}");
        return Err(match own {
            Some(own) if is_silence(&error) => Unhealthy::Denied { asked, own },
            Some(_) | None => Unhealthy::Silent { asked, error },
        });
    }
    Ok(())
}

/// The address this machine asks `there` from.
fn own_address(there: SocketAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((unspecified_like(there), 0)).ok()?;
    socket.connect(there).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn allows(config: &Config, client: IpAddr) -> bool {
    config.allow.iter().any(|network| network.contains(&client))
}

fn is_hang_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
    )
}

fn is_silence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// Who listens at all addresses listens at loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        // As it is, with the link of an address that is good on one link only.
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}

fn ask_admin(address: SocketAddr) -> Result<(), Unhealthy> {
    let response = get_ready(address).map_err(|error| Unhealthy::Silent {
        asked: format!("http://{address}/readyz"),
        error,
    })?;
    if response.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    let line = head.lines().next().unwrap_or_default();
    let why = if body.trim().is_empty() {
        line
    } else {
        body.trim()
    };
    Err(Unhealthy::NotReady(why.escape_debug().to_string()))
}

fn get_ready(address: SocketAddr) -> io::Result<String> {
    let mut stream = connect(address)?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut response = Vec::new();
    stream.take(ANSWER).read_to_end(&mut response)?;
    Ok(String::from_utf8_lossy(&response).into_owned())
}

/// Octets of an answer that are looked at.
const ANSWER: u64 = 4096;

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, HEALTHCHECK)?;
    stream.set_read_timeout(Some(HEALTHCHECK))?;
    stream.set_write_timeout(Some(HEALTHCHECK))?;
    Ok(stream)
}

pub(super) fn ask_udp(address: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind((unspecified_like(address), 0))?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(HEALTHCHECK))?;
    let query = query();
    socket.send(&query)?;
    let mut response = [0; 512];
    let length = socket.recv(&mut response)?;
    is_answer(response.get(..length).unwrap_or_default(), &query)
}

fn unspecified_like(address: SocketAddr) -> IpAddr {
    match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn ask_tcp(address: SocketAddr) -> io::Result<()> {
    let mut stream = connect(address)?;
    let query = query();
    let length = u16::try_from(query.len()).unwrap_or_default();
    stream.write_all(&[&length.to_be_bytes()[..], &query].concat())?;
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let mut response = vec![0; usize::from(u16::from_be_bytes(head))];
    stream.read_exact(&mut response)?;
    is_answer(&response, &query)
}

/// What is asked: special, so that it is answered without asking anybody (RFC 6761 section 6.3).
fn query() -> Vec<u8> {
    let name = "localhost"
        .parse()
        .unwrap_or_else(|_| crate::config::Name::root());
    let question = Question::new(&name, RecordType::A, Class::IN);
    let options = QueryOptions {
        keepalive: false,
        checking_disabled: false,
        dnssec_ok: false,
        padding: None,
    };
    let mut message = Vec::new();
    write_query(question.view(), options, &mut message);
    message
}

/// Whether it is a response with the ID of ours. What it says does not matter: somebody turns.
fn is_answer(response: &[u8], query: &[u8]) -> io::Result<()> {
    let is_response = response.get(2).is_some_and(|flags| flags & 0x80 != 0);
    if is_response && response.get(..2) == query.get(..2) {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "what came is no response",
        ))
    }
}
