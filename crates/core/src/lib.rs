//! Every DNS and upstream decision of dotward, as pure state machines.
//!
//! The modules below stand in the order in which a query meets them:
//!
//! ```text
//!  bytes ─▶ wire::QueryView ─▶ policy ─▶ front::Verdict ──Reply──▶ bytes
//!                                            │ Forward
//!                                            ▼
//!             engine: exchange ─▶ choose an upstream ─▶ upstream::connection ─▶ bytes for TLS
//!  bytes ◀─ wire::edit ◀─ exchange ◀─ wire::ResponseView ◀─ upstream::connection ◀─ bytes from TLS
//! ```
//!
//! What this crate promises
//!
//! - It never reads a clock, opens a socket, asks for randomness, spawns, sleeps or logs. Time is an
//!   argument ([`time::Moment`]), randomness is a seed given to a constructor. What it does is a function of its
//!   inputs, so a test or a simulation can replay it.
//! - Bytes from a client or an upstream never make it panic, and never make it allocate by their own claim.
//! - Every collection has a bound in [`limits`], and reaching the bound is an ordinary outcome with an answer.
//!
//! The grammar is everywhere the same: `handle_*` says that something happened, `poll_*` asks what there is to do,
//! getters change nothing.
//!
//! Deliberately absent: TLS, sockets, threads, configuration files, log text, names of metrics. They live in the `dotward`
//! crate, which makes no DNS decision.

#![forbid(unsafe_code)]
// Blank lines keep the modules in the order of the path above.

pub mod time;

pub mod limits;

pub mod counts;

pub mod wire;

pub mod policy;

pub mod outcome;

pub mod cache;

pub mod rate;

pub mod front;

pub mod upstream;

pub mod exchange;

pub mod shared;

pub mod engine;
