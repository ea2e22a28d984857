//! Taking the place of a running process (`--takeover`).
//!
//! Both have the ports for a while (see `listen::sockets`); the new one, about to serve, tells the old one to drain. Nothing is lost in
//! between: what waits in the old one's sockets is answered by it, what arrives in the new one's as soon as it serves.
//!
//! Deliberately absent: finding a process of another namespace, whose manager has to end it.

use std::io;

use rustix::process::{Pid, Signal, kill_process};

use crate::config::ListenAddress;
use crate::listen::holder::{self, Holder};

/// Who has ports that are to be taken over.
#[derive(Debug)]
pub(super) struct Predecessors {
    /// Programs like this one.
    pub(super) processes: Vec<Holder>,
    /// What one of them has.
    pub(super) addresses: Vec<ListenAddress>,
}

impl Predecessors {
    /// Looks for whoever has any of these addresses, before any is bound here.
    pub(super) fn find(wanted: &[ListenAddress]) -> Self {
        let own_name = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
        let own_pid = i32::try_from(std::process::id()).unwrap_or_default();
        let (mut processes, mut addresses) = (Vec::new(), Vec::new());
        for listen in wanted {
            let found = holder::find(*listen).into_iter();
            let before = processes.len();
            processes.extend(found.filter(|it| it.name == own_name.trim() && it.pid != own_pid));
            if processes.len() > before {
                addresses.push(*listen);
            }
        }
        processes.sort();
        processes.dedup();
        if processes.is_empty() {
            tracing::warn!(
                "--takeover: no dotward that this user can see has any of these ports; there is nobody to take them over from"
            );
        }
        Self {
            processes,
            addresses,
        }
    }
}

/// Tells a process whose place was taken to drain and end.
pub(super) fn relieve(predecessor: &Holder) {
    let pid = predecessor.pid;
    let told = match Pid::from_raw(pid) {
        Some(pid) => kill_process(pid, Signal::TERM).map_err(io::Error::from),
        None => Ok(()),
    };
    match told {
        Ok(()) => tracing::info!(pid, "ports taken over; the process that had them drains"),
        Err(error) => {
            tracing::warn!(pid, %error, "ports taken over; the process that had them has to be ended by hand");
        }
    }
}
