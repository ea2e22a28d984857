//! A scriptable DNS-over-TLS server that misbehaves on purpose, for testing any DoT client.
pub mod answers;
pub mod certificates;
mod connection;
pub mod counters;
pub mod limits;
pub mod mode;
pub mod server;
mod tls;

pub use certificates::{CertificateKind, TestCa};
pub use counters::{ConnectionCounters, Counters, WaitTimedOut};
pub use mode::Mode;
pub use server::{Config, Running, Server, StartError};
