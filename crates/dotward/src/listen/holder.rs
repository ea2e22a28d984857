//! Finds out which process holds a port, for the message that says so.
//!
//! Promises: best effort by reading `/proc`; what may not be read is an absence, never an error.

use std::fmt;
use std::fs;
use std::net::{IpAddr, SocketAddr};

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
            let (address, local_port) = local.split_at_checked(local.rfind(':')?)?;
            let holds = local_port == port
                && (!is_tcp || state == TCP_LISTEN)
                && overlaps(address, listen.address.ip());
            holds.then(|| inode.to_owned())
        })
        .collect()
}

/// Whether a socket bound to `local`, an address as `/proc/net` writes it, gets what is sent to `ip`, or a part of it.
fn overlaps(local: &str, ip: IpAddr) -> bool {
    let is_any = local.bytes().all(|digit| digit == b'0');
    is_any || ip.is_unspecified() || local == in_table(ip)
}

/// An address as `/proc/net` writes it: words of four octets in the machine's order.
fn in_table(ip: IpAddr) -> String {
    let octets = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = octets.as_chunks::<4>().0.iter();
    words
        .map(|word| format!("{:08X}", u32::from_ne_bytes(*word)))
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
    fn addresses_are_told_apart_as_the_kernel_does() {
        let loopback: IpAddr = [127, 0, 0, 1].into();
        let table = fs::read_to_string("/proc/net/udp").unwrap();
        let socket = UdpSocket::bind((loopback, 0)).unwrap();
        let port = format!(":{:04X}", socket.local_addr().unwrap().port());
        assert!(!table.contains(&format!("{}{port}", in_table(loopback))));
        let table = fs::read_to_string("/proc/net/udp").unwrap();
        assert!(table.contains(&format!("{}{port}", in_table(loopback))));
        let other: IpAddr = [127, 0, 0, 2].into();
        let unspecified: IpAddr = [0, 0, 0, 0].into();
        assert!(!overlaps(&in_table(loopback), other));
        assert!(overlaps(&in_table(unspecified), other));
        assert!(overlaps(&in_table(loopback), unspecified));
    }

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
