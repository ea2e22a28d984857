//! The control socket: orders and questions of the operator to a running program.
//!
//! A Unix stream socket. A client connects, sends one line and gets one line back:
//!
//! ```text
//! request  = word *( SP word ) LF          UTF-8, at most 4096 octets; the words are those of [`Request::TABLE`]
//! response = JSON LF                       {"ok": …} or {"error": {"kind": …, "message": …}}
//! ```
//!
//! Promises:
//! - Only the user that runs the program, and root, may connect: the file is never there with another mode than 0600.
//! - A file in the way is removed only if it is a socket and nobody answers there.
//! - Reachable while the DNS side is busy: the server has a thread of its own, and what has to be asked of a worker is given up,
//!   with a response that says so, when the worker does not turn.
//! - Requests, connections and every wait are bounded.
//!
//! Deliberately absent: reading by anybody else (that is for a listener that can do nothing), orders over a network.

mod cache;
pub mod client;
mod counts;
mod request;
mod response;
mod server;
mod socket;
mod status;

pub use request::{LEVELS, Request, Row, UnknownRequest};
pub use response::Refusal;
pub use socket::{ControlBindError, ControlSocket};

pub(crate) use server::{Desk, Server, start};
pub(crate) use status::{Facts, answer_questions, log_when_asked};
