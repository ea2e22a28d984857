//! The real shell on loopback, in front of a DoT server that does what it is told to do wrong.
//!
//! Every test waits for the thing itself and is bounded in time; none sleeps to give something time to happen.

mod support;

mod clients;
mod dot_listener;
mod forwarding;
mod pieces;
mod stopping;
mod trust;
