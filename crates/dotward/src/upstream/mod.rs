//! The far side: connections to upstreams, opened and closed as the engine says.
//!
//! Promises: octets are moved and ends are reported at once; nothing is decided here: when to open, what to write, how long to wait for
//! a connection and when to give one up are the engine's.

pub(crate) mod addresses;
pub mod bootstrap;
pub(crate) mod datagram;
pub mod dial;
pub(crate) mod driver;
pub(crate) mod listed;
pub mod one_shot;
