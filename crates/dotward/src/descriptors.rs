//! Descriptors: how many there may be, and who gets them.
//!
//! Promises: as many as the system grants are asked for; clients never get all of them, so that upstreams can still be connected to and
//! files read when every place for clients is taken.
//!
//! Deliberately absent: what happens when they run out all the same (see `listen::stream` for accepting).

use std::io;

use dotward_core::limits::{CONNECTIONS_PER_UPSTREAM_MAX, DATAGRAMS_PER_UPSTREAM_MAX};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::limits::DESCRIPTORS_OF_OUR_OWN;

/// Asks for as many descriptors as this process may ask for.
///
/// # Errors
///
/// When the system refuses; what was granted before stays.
pub(crate) fn raise() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit)?;
    }
    Ok(())
}

/// Who needs descriptors beside clients.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Others {
    /// Sockets of listeners.
    pub(crate) listeners: usize,
    /// Upstreams, and who is asked for their addresses.
    pub(crate) upstreams: usize,
    /// Those of them that are spoken to in datagrams, each of which has a socket of its own.
    pub(crate) by_datagrams: usize,
    /// Workers there may be.
    pub(crate) workers: usize,
    /// Connections to the admin listener, the control socket and the shared cache.
    pub(crate) beside: usize,
}

/// How many of the `wanted` client streams there may be at once beside `others`.
pub(crate) fn client_streams(wanted: usize, others: Others) -> usize {
    let granted = getrlimit(Resource::Nofile).current;
    let granted = granted.map_or(usize::MAX, |it| usize::try_from(it).unwrap_or(usize::MAX));
    shares(granted, wanted, others)
}

fn shares(granted: usize, wanted: usize, others: Others) -> usize {
    // With datagrams to everybody at once clients would get nothing; what has no socket goes over TCP.
    let datagrams = others
        .by_datagrams
        .saturating_mul(DATAGRAMS_PER_UPSTREAM_MAX)
        .min(granted / 4);
    // A UDP listener waits for room through a second descriptor; a connection's successor is there before it goes; each worker has an
    // event loop, its second handle, and what wakes it.
    let reserve = DESCRIPTORS_OF_OUR_OWN
        .saturating_add(others.listeners.saturating_mul(2))
        .saturating_add(
            others
                .upstreams
                .saturating_mul(2 * CONNECTIONS_PER_UPSTREAM_MAX),
        )
        .saturating_add(others.workers.saturating_mul(3))
        .saturating_add(others.beside)
        .saturating_add(datagrams);
    let left = granted.saturating_sub(reserve);
    // With a limit that small nobody gets what he should have, but everybody something.
    left.max(granted / 4).min(wanted).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_listeners_and_upstreams_leave() {
        let others = Others {
            listeners: 4,
            upstreams: 2,
            by_datagrams: 0,
            workers: 3,
            beside: 20,
        };
        let many = Others {
            upstreams: 10,
            ..others
        };
        let by_datagrams = |by_datagrams| Others {
            by_datagrams,
            ..others
        };
        let streams_only = 1024 - DESCRIPTORS_OF_OUR_OWN - 8 - 16 - 9 - 20;
        assert_eq!(shares(usize::MAX, 2048, others), 2048);
        assert_eq!(shares(1024, 2048, others), streams_only);
        assert_eq!(shares(1024, 2048, by_datagrams(2)), streams_only - 256);
        assert_eq!(
            shares(8192, 8192, by_datagrams(1)),
            8192 - (1024 - streams_only) - DATAGRAMS_PER_UPSTREAM_MAX
        );
        assert_eq!(shares(64, 2048, many), 16);
        assert_eq!(shares(0, 2048, many), 1);
    }

    #[test]
    fn as_many_as_may_be_asked_for_are() {
        raise().unwrap();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
