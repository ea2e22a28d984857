//! What the process takes of the machine.
//!
//! Promises: what the system does not tell is left out, and never zero.
//!
//! Deliberately absent: systems other than Linux, where only the CPU time and the bound of descriptors are known.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// What the process takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// CPU time of all threads since the start.
    pub(super) cpu: Duration,
    /// Octets of memory in RAM.
    pub(super) resident: Option<u64>,
    /// Octets of address space.
    pub(super) mapped: Option<u64>,
    pub(super) threads: Option<u64>,
    pub(super) descriptors: Option<u64>,
    pub(super) descriptors_max: Option<u64>,
}

/// Looks now.
pub(super) fn usage() -> Usage {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kibibytes = |key| Some(field(&status, key)? * 1024);
    Usage {
        cpu: clock_gettime(ClockId::ProcessCPUTime)
            .try_into()
            .unwrap_or_default(),
        resident: kibibytes("VmRSS:"),
        mapped: kibibytes("VmSize:"),
        threads: field(&status, "Threads:"),
        descriptors: descriptors(),
        descriptors_max: getrlimit(Resource::Nofile).current,
    }
}

fn field(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

fn descriptors() -> Option<u64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?.count();
    // The look itself takes one.
    u64::try_from(entries).ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_runs_takes_something() {
        let usage = usage();
        assert!(usage.cpu > Duration::ZERO);
        assert!(usage.descriptors_max.is_none_or(|max| max > 0));
        if cfg!(target_os = "linux") {
            assert!(usage.resident > Some(100_000) && usage.mapped >= usage.resident);
            assert!(usage.threads >= Some(1) && usage.descriptors >= Some(3));
        }
    }
}
