//! Descriptors: how many there may be, and who gets them.
//!
//! Promises: as many as the system grants are asked for; clients never get all of them, so that upstreams can still be connected to and
//! files read when every place for clients is taken.
//!
//! Deliberately absent: what happens when they run out all the same (see `listen::stream` for accepting).

use std::io;

use dotward_core::limits::CONNECTIONS_PER_UPSTREAM_MAX;
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

/// How many of the `wanted` client streams there may be at once beside `listeners` and `upstreams`.
pub(crate) fn client_streams(wanted: usize, listeners: usize, upstreams: usize) -> usize {
    let granted = getrlimit(Resource::Nofile).current;
    let granted = granted.map_or(usize::MAX, |it| usize::try_from(it).unwrap_or(usize::MAX));
    shares(granted, wanted, listeners, upstreams)
}

fn shares(granted: usize, wanted: usize, listeners: usize, upstreams: usize) -> usize {
    // A UDP listener waits for room through a second descriptor; a connection's successor is there before it goes.
    let reserve = DESCRIPTORS_OF_OUR_OWN
        .saturating_add(listeners.saturating_mul(2))
        .saturating_add(upstreams.saturating_mul(2 * CONNECTIONS_PER_UPSTREAM_MAX));
    let left = granted.saturating_sub(reserve);
    // With a limit that small nobody gets what he should have, but everybody something.
    left.max(granted / 4).min(wanted).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_listeners_and_upstreams_leave() {
        assert_eq!(shares(usize::MAX, 2048, 2, 1), 2048);
        assert_eq!(
            shares(1024, 2048, 4, 2),
            1024 - DESCRIPTORS_OF_OUR_OWN - 8 - 16
        );
        assert_eq!(shares(64, 2048, 2, 10), 16);
        assert_eq!(shares(0, 2048, 2, 10), 1);
    }

    #[test]
    fn as_many_as_may_be_asked_for_are() {
        raise().unwrap();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
