//! The shell of dotward: configuration, sockets, threads, TLS, logs, signals and the command line.
//!
//! No DNS decision is made here; those live in `dotward_core`.

pub mod cli;
pub mod commands;
pub mod config;
mod env;
pub mod presets;
pub mod settings;
