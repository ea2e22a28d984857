//! The real shell on loopback, in front of a DoT server that does what it is told to do wrong.
//!
//! Every test waits for the thing itself and is bounded in time; none sleeps to give something time to happen.

mod support;

mod bootstrap;
mod clients;
mod commands;
mod dot_listener;
mod forwarding;
mod pieces;
mod program;
mod stopping;
mod trust;
