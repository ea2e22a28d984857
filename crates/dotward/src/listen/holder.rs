//! Finds out which process holds a port, for the message that says so.
//!
//! Promises: best effort by reading `/proc`; what may not be read is an absence, never an error.

use std::fmt;
use std::fs;
use std::net::SocketAddr;

use crate::config::{ListenAddress, ListenTransport};

/// `listen` state of TCP sockets in `/proc/net/tcp`.
const TCP_LISTEN: &str = "0A";

/// A process that holds a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Holder {
    /// The name of its program, cut to 15 octets.
    pub(crate) name: String,
    /// Its process id.
    pub(crate) pid: i32,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// Who holds the port of `listen`, on whatever address.
pub(crate) fn find(listen: ListenAddress) -> Vec<Holder> {
    let tables = match listen.transport {
        ListenTransport::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        ListenTransport::Tcp | ListenTransport::Tls => ["/proc/net/tcp", "/proc/net/tcp6"],
    };
    let inodes: Vec<String> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| inodes_on_port(&table, listen))
        .collect();
    let mut holders: Vec<Holder> = inodes.iter().filter_map(|inode| owner(inode)).collect();
    holders.sort();
    holders.dedup();
    holders
}

/// The inodes of the sockets of a `/proc/net` table that are bound to the port.
fn inodes_on_port(table: &str, listen: ListenAddress) -> Vec<String> {
    let is_tcp = listen.transport != ListenTransport::Udp;
    let port = format!(":{:04X}", SocketAddr::port(&listen.address));
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let local = fields.nth(1)?;
            let state = fields.nth(1)?;
            let inode = fields.nth(5)?;
            let holds = local.ends_with(&port) && (!is_tcp || state == TCP_LISTEN);
            holds.then(|| inode.to_owned())
        })
        .collect()
}

/// The process that has a descriptor of the socket.
fn owner(inode: &str) -> Option<Holder> {
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    for process in processes {
        let pid = process.file_name();
        let pid = pid.to_string_lossy();
        if !pid.bytes().all(|octet| octet.is_ascii_digit()) {
            continue;
        }
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let holds = descriptors.flatten().any(|descriptor| {
            fs::read_link(descriptor.path())
                .is_ok_and(|target| target.to_string_lossy() == wanted.as_str())
        });
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(Holder {
                name: name.trim().to_owned(),
                pid: pid.parse().ok()?,
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, UdpSocket};

    #[test]
    fn the_holder_of_a_port_is_found_when_it_is_this_process() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let listen = ListenAddress {
            address: socket.local_addr().unwrap(),
            transport: ListenTransport::Udp,
        };
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(find(listen).iter().any(|holder| holder.pid == pid));
    }
}
