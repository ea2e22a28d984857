//! A scriptable DNS-over-TLS server that misbehaves on purpose, for testing any DoT client.
pub mod answers;
pub mod certificates;
mod connection;
pub mod control;
mod conversation;
pub mod counters;
mod dns;
mod framing;
mod lies;
pub mod limits;
pub mod mode;
mod opening;
pub mod script;
pub mod server;
mod tap;
mod tls;
mod words;

pub use certificates::{CertificateKind, TestCa};
pub use counters::{ConnectionCounters, Counters, WaitTimedOut};
pub use mode::Mode;
pub use server::{Config, Running, Server, StartError};
