//! The near side: sockets that clients send queries to.
//!
//! Promises: the same three steps for every transport: the front judges a message, the engine gets what is to be forwarded, the worker
//! writes replies. No message is looked into here.

mod holder;
pub mod sockets;
mod source;
pub(crate) mod stream;
pub(crate) mod udp;

use dotward_core::front::{Client, Verdict};
use dotward_core::time::Moment;

use crate::tally::{Dropped, Source};
use crate::worker::{Asked, ReplyTo, State};

/// Judges one message. True when `state.reply` holds the reply; `to` is called when the engine is to answer later.
fn take_query(
    state: &mut State,
    message: &[u8],
    client: &Client,
    to: impl FnOnce() -> ReplyTo,
    now: Moment,
) -> Taken {
    state.tally.add_query(client, message);
    let transport = client.transport;
    match state
        .front
        .handle_query(message, client, now, &mut state.reply)
    {
        Verdict::Reply => {
            let (tally, reply) = (&mut state.tally, &state.reply);
            tally.add_reply_at_once(transport, Source::Local, reply);
            Taken::Reply
        }
        Verdict::Drop(reason) => {
            state.tally.add_dropped(Dropped::Front(reason), 1);
            Taken::Dropped
        }
        Verdict::Forward(request) => {
            let asked = Asked {
                to: to(),
                transport,
                since: now,
            };
            state.engine.submit(request, asked, now);
            Taken::Forwarded
        }
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// The reply is in [`State::reply`].
    Reply,
    /// Nothing is to be said.
    Dropped,
    /// The engine has it.
    Forwarded,
}
