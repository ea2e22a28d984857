//! The near side: sockets that clients send queries to.
//!
//! Promises: the same three steps for every transport: the front judges a message, the engine gets what is to be forwarded, the worker
//! writes replies. No message is looked into here.

pub(crate) mod accept;
pub mod activation;
mod backlog;
pub(crate) mod doors;
pub(crate) mod follow;
pub(crate) mod handshakes;
pub(crate) mod holder;
mod opening;
pub(crate) mod places;
pub mod sockets;
mod source;
pub(crate) mod stream;
pub(crate) mod udp;

use dotward_core::front::{Client, Verdict};
use dotward_core::time::Moment;

use crate::gather;
use crate::near::{Far, Near, ReplyTo, Way};
use crate::tally::ReplySource;

/// Judges one message. `to` is called when it is to be answered later.
fn take_query(
    near: &mut Near,
    far: &mut impl Far,
    message: &[u8],
    client: &Client,
    to: impl FnOnce() -> Later,
    now: Moment,
) -> Taken {
    let transport = client.transport;
    gather::note_query();
    near.counters.queries(transport).add(1);
    near.counters.tally.add_query(client, message);
    let wall = near.wall_seconds(now);
    match near
        .front
        .handle_query(message, client, now, wall, &mut near.reply)
    {
        Verdict::Reply => {
            near.counters.answered_here.add(1);
            near.count_at_once(transport, ReplySource::Local);
            Taken::Reply
        }
        Verdict::Cached => {
            near.counters.answered_here.add(1);
            near.count_at_once(transport, ReplySource::Cache);
            Taken::Reply
        }
        Verdict::ReplyAndRefresh(asked) => {
            near.counters.answered_here.add(1);
            near.count_at_once(transport, ReplySource::Cache);
            near.refresh(far, asked, now);
            Taken::Reply
        }
        Verdict::Limited { reply } => {
            near.note_limited(now);
            if reply {
                near.count_at_once(transport, ReplySource::Local);
                Taken::Reply
            } else {
                near.counters.tally.add_limited();
                Taken::Dropped
            }
        }
        Verdict::Drop(reason) => {
            near.counters.dropped.add(1);
            near.counters.tally.add_dropped(reason);
            Taken::Dropped
        }
        Verdict::Forward(mut request) => {
            let Later { way, since } = to();
            request.since = since;
            let to = ReplyTo {
                way,
                transport,
                proven: request.is_proven(),
                since,
            };
            near.forward(far, request, to, now);
            Taken::Forwarded
        }
    }
}

/// What is to be known of a message that is answered later.
struct Later {
    /// Where its reply goes.
    way: Way,
    /// When it arrived.
    since: Moment,
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
