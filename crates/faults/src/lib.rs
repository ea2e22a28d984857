//! A scriptable DNS-over-TLS server (RFC 7858) that misbehaves on purpose, for testing any DoT client.
//!
//! [`Server::start`] binds an address and serves it in the current tokio runtime; [`Running`] is the test's handle:
//! it sets the [`Mode`], tells what was seen ([`Counters`]) and waits for conditions, bounded and without sleeping.
//! Certificates, good and bad, are made on the spot by [`TestCa`]. Answers are computed from the asked name
//! ([`answers`]), so that a client which mixes them up is found out. Modes have a text form ([`script`]), and a line
//! protocol switches a running program ([`control`]).
//!
//! ```
//! use dotward_faults::{Config, Mode, Server, TestCa, mode::Choice};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let ca = TestCa::new()?;
//! let mut config = Config::new(&ca, "dot.test");
//! config.mode = "delay=20ms,case=upper".parse()?;
//! let server = Server::start(config)?;
//!
//! let client = tokio::net::TcpStream::connect(server.address()).await?;
//! server.wait_for_connections(1).await?;
//! assert_eq!(server.counters().queries, 0);
//!
//! server.set_mode(Mode { choice: Choice::Mute, ..Mode::default() });
//! drop(client);
//! server.wait_for_all_closed().await?;
//! server.stop().await;
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! Deliberately not here: anything of dotward-core, for a judge brings his own ruler; UDP and TCP on port 53; faults
//! of the network, which belong to the firewall.

pub mod answers;
pub mod certificates;
mod connection;
pub mod control;
mod conversation;
pub mod counters;
mod dns;
mod framing;
mod hello;
mod lies;
pub mod limits;
pub mod mode;
mod opening;
pub mod script;
pub mod server;
mod tap;
mod tls;
mod words;

pub use answers::{expected_a, expected_aaaa, expected_txt};
pub use certificates::{CertificateKind, TestCa};
pub use counters::{ConnectionCounters, Counters, WaitTimedOut};
pub use mode::Mode;
pub use server::{Config, Running, Server, StartError};
