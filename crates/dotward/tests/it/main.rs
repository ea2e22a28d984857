//! The real shell on loopback, in front of a DoT server that does what it is told to do wrong.
//!
//! Every test waits for the thing itself and is bounded in time; none sleeps to give something time to happen.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; a panic is how a test fails"
)]

mod support;

mod admin;
mod allocations;
mod binding;
mod bootstrap;
mod cache;
mod client_certificates;
mod clients;
mod commands;
mod confined;
mod control;
mod door;
mod dot_listener;
mod forwarding;
mod generated;
mod handover;
mod hostile_names;
mod interfaces;
mod network;
mod pieces;
mod program;
mod proxy_header;
mod rebinding;
mod reload;
mod renewal;
mod sandbox;
mod shared_cache;
mod shared_fleet;
mod shared_store;
mod snapshot;
mod split_horizon;
mod stopping;
mod survey;
mod top;
mod trust;
mod workers;
