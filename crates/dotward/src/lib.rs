//! The shell of dotward: configuration, sockets, threads, TLS, logs, signals and the command line.
//!
//! No DNS decision is made here; those live in `dotward_core`. The modules stand in the order in which a query meets
//! them, then what surrounds its way:
//!
//! ```text
//!  client ─▶ listen ─▶ worker (front, engine) ─▶ upstream ─▶ stream ─▶ tls ─▶ resolver
//!  client ◀─ listen ◀─ worker ◀──────────────── upstream ◀─ stream ◀─ tls ◀─ resolver
//! ```

#![forbid(unsafe_code)]

mod admin;
mod clock;
mod counters;
mod crew;
mod descriptors;
mod env;
mod events;
mod gather;
mod group_names;
mod limits;
mod near;
mod network;
mod plain;
mod post;
pub mod reload;
mod service;
mod signal;
mod snapshot;
mod stamps;
mod stream;
mod tally;
mod worker;

pub mod cli;
pub mod commands;
pub mod config;
pub mod control;
pub mod execute;
pub mod listen;
pub mod logging;
pub mod plan;
pub mod presets;
pub mod privileges;
pub mod run;
pub mod sandbox;
pub mod settings;
pub mod shared;
pub mod tls;
pub mod trust;
pub mod unix_signals;
pub mod upstream;
