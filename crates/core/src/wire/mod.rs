//! DNS messages as octets: borrowed views that prove a message well-formed, and edits that leave the rest alone.
//!
//! What this layer promises
//!
//! - Parsing allocates nothing, costs time linear in the octets read (compression is followed at most
//!   [`name::POINTER_HOPS_MAX`] times a name), and never believes a length or a count: a claim that does not fit the octets
//!   at hand is a [`WireError`].
//! - Once a view exists nobody checks again: a [`QueryView`] is one well-formed question, a [`ResponseView`] is a
//!   message whose every record lies inside it.
//! - Names keep every octet a client sent, letter case included (RFC 4343 section 3); only comparisons fold, and only ASCII.
//!
//! Ruled by RFC 1035 section 4.1, RFC 6891, RFC 3597, RFC 9619.
//!
//! Deliberately absent: a tree of records, re-encoding of names, zone files. Messages are relayed as received.

#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

mod addresses;
mod asker;
mod compose;
mod edit;
pub mod edns;
mod error;
pub mod frame;
mod header;
pub mod name;
mod name_text;
mod numbers;
mod octets;
mod options;
pub mod peek;
pub mod proxy;
mod query;
mod question;
mod records;
mod response;

pub use asker::{Asker, AskerEdns, Transport};
pub use compose::{
    QueryOptions, ResponseComposer, truncate_reply, write_cookie, write_error, write_fault,
    write_query, write_query_without_edns, write_truncated,
};
pub use edit::{Canonical, Counts, ReplyOrigin, Ttls, relay_reply, render_reply};
pub use error::WireError;
pub use header::{Flags, HEADER_LEN, Header};
pub use name::{Name, NameError};
pub use numbers::{Class, Opcode, ParseNumberError, Rcode, RecordType};
pub use options::{
    AskedOptions, CLIENT_COOKIE_LEN, COOKIE_LEN, REPLY_PADDING_BLOCK, ReplyCookie, ReplyOptions,
};
pub use query::{QueryFault, QueryView, Signature};
pub use question::{AsQuestion, Question, QuestionRef};
pub use records::{Record, Records, Section};
pub use response::ResponseView;
