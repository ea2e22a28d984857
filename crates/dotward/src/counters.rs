//! What a worker counts of its own work.
//!
//! Promises: a worker's counters are written by its thread only and share no cache line with another's, so that counting is an
//! addition and nothing else; they never go backwards; readers see each number whole, though not all at the same moment.
//!
//! Deliberately absent: names and labels for the world outside; what is known about upstreams (the engine's).

use std::sync::atomic::{AtomicU64, Ordering};

use dotward_core::wire::Transport;

use crate::tally::Tally;

/// A number that one thread adds to and any may read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds. By the owner's thread only: this is a read and a write, not one atomic step, which would cost ten times as much.
    pub(crate) fn add(&self, more: u64) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(more);
        self.0.store(sum, Ordering::Relaxed);
    }

    /// Replaces. By the owner's thread only.
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The number at this moment.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one worker. Two cache lines apart from anything else, because processors fetch lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    /// Messages received, by transport: UDP, TCP, TLS.
    queries: [Counter; 3],
    /// Messages answered without the engine: from the cache, by policy, or refused.
    pub(crate) answered_here: Counter,
    /// Messages given to the engine.
    pub(crate) forwarded: Counter,
    /// Messages that get no reply: malformed from strangers, responses, less than a header.
    pub(crate) dropped: Counter,
    /// Queries over UDP above the rate of one client network, told to come over TCP or not answered.
    pub(crate) limited: Counter,
    /// Datagrams that waited in the socket, or whose replies came when this process ran again, for longer than a client waits.
    pub(crate) stale: Counter,
    /// Datagrams longer than any query.
    pub(crate) cut: Counter,
    /// Datagrams and connections of load balancers that do not begin with a PROXY header.
    pub(crate) headless: Counter,
    /// Datagrams from port 0, or that say to come from one of our own sockets.
    pub(crate) unanswerable: Counter,
    /// Questions that found the way to the engine full and got SERVFAIL.
    pub(crate) shed: Counter,
    /// Replies over UDP that found no room or that the kernel refused.
    pub(crate) lost: Counter,
    /// Client streams open at this moment, TCP and TLS.
    pub(crate) streams: Counter,
    /// Clients over TLS hung up on for the rate of their network.
    pub(crate) handshakes_refused: Counter,
    /// The same by kind, for metrics.
    pub(crate) tally: Tally,
    /// Signs of life that were asked of a further worker, by the first.
    pub(crate) beats_asked: Counter,
    /// Signs of life that it gave.
    pub(crate) beats: Counter,
    /// Processor time of the worker's thread, in nanoseconds, as of its last look.
    pub(crate) cpu: Counter,
}

impl Counters {
    /// Messages received over one transport.
    pub(crate) fn queries(&self, transport: Transport) -> &Counter {
        let [udp, tcp, tls] = &self.queries;
        match transport {
            Transport::Udp => udp,
            Transport::Tcp => tcp,
            Transport::Tls => tls,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_workers_share_no_cache_line() {
        assert_eq!(align_of::<Counters>(), 128);
        assert_eq!(size_of::<Counters>() % 128, 0);
    }

    #[test]
    fn each_transport_has_its_own_counter() {
        let counters = Counters::default();
        let all = [Transport::Udp, Transport::Tcp, Transport::Tls];
        for (more, transport) in (1..).zip(all) {
            counters.queries(transport).add(more);
        }
        assert_eq!(all.map(|it| counters.queries(it).get()), [1, 2, 3]);
    }
}
