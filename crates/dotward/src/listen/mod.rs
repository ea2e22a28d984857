//! The near side: sockets that clients send queries to.
//!
//! Promises: the same three steps for every transport: the front judges a message, the engine gets what is to be forwarded, the worker
//! writes replies. No message is looked into here.

pub(crate) mod accept;
mod holder;
mod opening;
pub(crate) mod places;
pub mod sockets;
mod source;
pub(crate) mod stream;
pub(crate) mod udp;

use dotward_core::front::{Client, Verdict};
use dotward_core::time::Moment;

use crate::near::{Far, Near, ReplyTo};

/// Judges one message. `to` is called when it is to be answered later.
fn take_query(
    near: &mut Near,
    far: &mut impl Far,
    message: &[u8],
    client: &Client,
    to: impl FnOnce() -> ReplyTo,
    now: Moment,
) -> Taken {
    near.counters.queries(client.transport).add(1);
    let wall = near.wall_seconds(now);
    match near
        .front
        .handle_query(message, client, now, wall, &mut near.reply)
    {
        Verdict::Reply => {
            near.counters.answered_here.add(1);
            Taken::Reply
        }
        Verdict::ReplyAndRefresh(asked) => {
            near.counters.answered_here.add(1);
            near.refresh(far, asked, now);
            Taken::Reply
        }
        Verdict::Limited { reply } => {
            near.note_limited(now);
            if reply { Taken::Reply } else { Taken::Dropped }
        }
        Verdict::Drop(_) => {
            near.counters.dropped.add(1);
            Taken::Dropped
        }
        Verdict::Forward(request) => {
            near.forward(far, request, to(), now);
            Taken::Forwarded
        }
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// The reply is in [`Near::reply`].
    Reply,
    /// Nothing is to be said.
    Dropped,
    /// It is on its way to the engine.
    Forwarded,
}
