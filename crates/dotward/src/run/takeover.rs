//! Taking the place of a running process (`--takeover`).
//!
//! Both have the ports for a while (see `listen::sockets`); the new one, about to serve, tells the old one to drain. Nothing is lost in
//! between: what waits in the old one's sockets is answered by it, what arrives in the new one's as soon as it serves.
//!
//! What a predecessor leaves, it leaves at its end, which is seen here ([`Predecessor::has_ended`]).
//!
//! Deliberately absent: finding a process of another namespace, whose manager has to end it.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use crate::config::ListenAddress;
use crate::listen::holder::{self, Holder};

/// Who has ports that are to be taken over.
#[derive(Debug)]
pub(super) struct Predecessors {
    /// Programs like this one.
    pub(super) processes: Vec<Predecessor>,
    /// What one of them has.
    pub(super) addresses: Vec<ListenAddress>,
}

/// A process whose place is taken.
#[derive(Debug)]
pub(crate) struct Predecessor {
    pid: i32,
    /// The process itself, whoever has its number later; `None` where the kernel has no such thing.
    process: Option<OwnedFd>,
}

impl Predecessors {
    /// Looks for whoever has any of these addresses, before any is bound here.
    pub(super) fn find(wanted: &[ListenAddress]) -> Self {
        let own_name = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
        let own_pid = i32::try_from(std::process::id()).unwrap_or_default();
        let is_like_us = |it: &Holder| it.name == own_name.trim() && it.pid != own_pid;
        let (mut pids, mut addresses) = (Vec::new(), Vec::new());
        for listen in wanted {
            let found = holder::find(*listen).into_iter().filter(is_like_us);
            let before = pids.len();
            pids.extend(found.map(|it| it.pid));
            if pids.len() > before {
                addresses.push(*listen);
            }
        }
        pids.sort_unstable();
        pids.dedup();
        if pids.is_empty() {
            tracing::warn!(
                "--takeover: no dotward that this user can see has any of these ports; there is nobody to take them over from"
            );
        }
        Self {
            processes: pids.into_iter().map(Predecessor::new).collect(),
            addresses,
        }
    }
}

impl Predecessor {
    fn new(pid: i32) -> Self {
        let process = Pid::from_raw(pid);
        let process = process.and_then(|it| pidfd_open(it, PidfdFlags::empty()).ok());
        Self { pid, process }
    }

    /// Tells it to drain and end.
    pub(super) fn relieve(&self) {
        let pid = self.pid;
        let told = match (&self.process, Pid::from_raw(pid)) {
            (Some(process), _) => pidfd_send_signal(process, Signal::TERM),
            (None, Some(pid)) => kill_process(pid, Signal::TERM),
            (None, None) => Ok(()),
        };
        match told.map_err(io::Error::from) {
            Ok(()) => tracing::info!(pid, "ports taken over; the process that had them drains"),
            Err(error) => {
                tracing::warn!(pid, %error, "ports taken over; the process that had them has to be ended by hand");
            }
        }
    }

    /// Whether it has ended, as far as that can be known.
    pub(crate) fn has_ended(&self) -> bool {
        let Some(process) = &self.process else {
            return true;
        };
        let at_once = Timespec::try_from(Duration::ZERO).ok();
        let ready = poll(&mut [PollFd::new(process, PollFlags::IN)], at_once.as_ref());
        ready.is_ok_and(|ready| ready > 0)
    }
}
