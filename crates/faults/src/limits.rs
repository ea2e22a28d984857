//! The bounds of the server: what it remembers, what it waits for, what it takes from a mode.
//!
//! Promises: nothing the client sends makes the server hold more than these. They are wide, because a judge that
//! runs out of memory before the candidate does judges nothing.

use std::time::Duration;

/// Connections that get figures of their own; later ones appear in the totals only.
pub const CONNECTIONS_REMEMBERED: usize = 65_536;
/// IDs remembered per connection, in order of arrival.
pub const IDS_REMEMBERED: usize = 131_072;
/// Distinct questions remembered to find repeated ones.
pub const QUESTIONS_REMEMBERED: usize = 262_144;
/// Responses kept back on one connection by `hold`, a batch or a delay: twice the IDs there are. The next query is
/// left unanswered.
pub const RESPONSES_HELD: usize = 131_072;
/// Queries read but not taken into service on one connection (`in-flight=N`); beyond it nothing is read.
pub const QUERIES_WAITING: usize = 65_536;
/// Outputs between the part that decides and the part that writes; beyond it nothing is read.
pub const OUTPUTS_QUEUED: usize = 1_024;
/// Octets read from a connection at a time, the size of the largest TLS record.
pub const READ_OCTETS: usize = 16_384;
/// Octets written as one TLS record when responses are coalesced.
pub const COALESCED_OCTETS: usize = 16_384;
/// Responses with a foreign ID per query, and copies per response.
pub const EXTRA_RESPONSES: usize = 64;
/// Pause after an accept that failed: without descriptors it would fail again at once, and for long.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// A client that has not finished its handshake by then is let go.
pub const HANDSHAKE: Duration = Duration::from_secs(30);
/// Time in which what the client still sends is read after a close, so that the kernel does not turn FIN into RST.
pub const LINGER: Duration = Duration::from_secs(1);
/// Time a `wait_for_*` call waits unless told otherwise.
pub const WAIT: Duration = Duration::from_secs(10);
/// Age at which an incomplete batch leaves unless the mode says otherwise.
pub const BATCH_LINGER: Duration = Duration::from_millis(20);
