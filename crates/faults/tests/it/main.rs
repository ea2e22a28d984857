//! Proof that each mode does what it says, with a client that shares no code with the server.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that cannot go on ends its test"
)]

mod certificates;
mod client;
mod content;
mod control;
mod counters;
mod endings;
mod openings;
mod order;
