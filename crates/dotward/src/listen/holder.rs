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

/// A socket that is bound to a port, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Held {
    /// Where it is bound.
    pub(crate) address: SocketAddr,
    /// Who has it; `None` for a process that this user may not look into.
    pub(crate) holder: Option<Holder>,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.holder {
            Some(holder) => write!(f, "{holder} on {}", self.address),
            None => write!(f, "a process only root may look into, on {}", self.address),
        }
    }
}

/// Who, being a program like this one, whose IPv6 sockets take IPv6 only, holds the port of `listen` so that it cannot be bound; processes
/// that may not be looked into are left out.
pub(crate) fn find(listen: ListenAddress) -> Vec<Holder> {
    let same_family = |it: &Held| it.address.is_ipv4() == listen.address.is_ipv4();
    let held = held(listen).into_iter().filter(same_family);
    let mut holders: Vec<Holder> = held.filter_map(|it| it.holder).collect();
    holders.sort();
    holders.dedup();
    holders
}

/// The sockets that keep `listen` from being bound.
pub(crate) fn held(listen: ListenAddress) -> Vec<Held> {
    let tables = match listen.transport {
        ListenTransport::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        ListenTransport::Tcp | ListenTransport::Tls => ["/proc/net/tcp", "/proc/net/tcp6"],
    };
    let texts = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok());
    let sockets: Vec<_> = texts
        .flat_map(|table| sockets_on_port(&table, listen))
        .collect();
    let of_socket = |(address, inode): (SocketAddr, String)| Held {
        address,
        holder: owner(&inode),
    };
    let mut held: Vec<Held> = sockets.into_iter().map(of_socket).collect();
    held.sort();
    held.dedup();
    held
}

/// The sockets of a `/proc/net` table that are bound to the port: their addresses and inodes.
fn sockets_on_port(table: &str, listen: ListenAddress) -> Vec<(SocketAddr, String)> {
    let is_tcp = listen.transport != ListenTransport::Udp;
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let local = fields.nth(1)?;
            let state = fields.nth(1)?;
            let inode = fields.nth(5)?;
            let local = from_table(local)?;
            let holds = local.port() == SocketAddr::port(&listen.address)
                && (!is_tcp || state == TCP_LISTEN)
                && overlaps(local.ip(), listen.address.ip());
            holds.then(|| (local, inode.to_owned()))
        })
        .collect()
}

/// Whether a socket bound to `local` gets what is sent to `ip`, or a part of it. Our IPv6 sockets take IPv6 only, but others' may not:
/// the kernel's tables do not say.
fn overlaps(local: IpAddr, ip: IpAddr) -> bool {
    match (local.to_canonical(), ip) {
        (IpAddr::V4(_), IpAddr::V6(_)) => false,
        (IpAddr::V6(local), IpAddr::V4(_)) => local.is_unspecified(),
        (local, ip) => local.is_unspecified() || ip.is_unspecified() || local == ip,
    }
}

/// An address and port as `/proc/net` writes them: words of four octets in the machine's order, in hexadecimal.
fn from_table(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut octets = Vec::with_capacity(16);
    for word in address.as_bytes().as_chunks::<8>().0 {
        let word = u32::from_str_radix(str::from_utf8(word).ok()?, 16).ok()?;
        octets.extend(word.to_ne_bytes());
    }
    let ip = match octets.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(octets).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(octets).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
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
    use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};

    #[test]
    fn a_row_of_the_kernel_is_read_as_an_address() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let table = fs::read_to_string("/proc/net/udp").unwrap();
        let mut locals = table
            .lines()
            .filter_map(|line| line.split_whitespace().nth(1));
        assert!(locals.any(|local| from_table(local) == Some(address)));
        for nonsense in [
            "",
            ":",
            "0100007F",
            "0100007F:",
            "0100:0035",
            "zzzzzzzz:0035",
        ] {
            assert_eq!(from_table(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn addresses_are_told_apart_as_the_kernel_does() {
        let [one, other]: [IpAddr; 2] = [[127, 0, 0, 1].into(), [127, 0, 0, 2].into()];
        let unspecified: IpAddr = [0, 0, 0, 0].into();
        assert!(!overlaps(one, other));
        assert!(overlaps(unspecified, other));
        assert!(overlaps(one, unspecified));
        let own_v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let other_v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
        assert!(overlaps(own_v6, other_v6));
        assert!(!overlaps(unspecified, own_v6));
        assert!(!overlaps(one, own_v6));
        assert!(!overlaps(other_v6, unspecified));
        // Somebody else's may take both.
        assert!(overlaps(own_v6, one));
        assert!(overlaps(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), one));
        assert!(!overlaps(
            Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(),
            other
        ));
    }

    #[test]
    fn who_listens_in_the_other_family_is_no_predecessor() {
        use crate::config::BindRules;
        use crate::listen::sockets;

        let at = |address: SocketAddr| ListenAddress {
            address,
            transport: ListenTransport::Udp,
        };
        let everywhere = at((Ipv6Addr::UNSPECIFIED, 0).into());
        let socket = sockets::bind(everywhere, 1, BindRules::default()).unwrap();
        let port = socket.local_addr().unwrap().port();
        let pid = i32::try_from(std::process::id()).unwrap();
        let is_found = |address: SocketAddr| find(at(address)).iter().any(|it| it.pid == pid);
        assert!(is_found((Ipv6Addr::LOCALHOST, port).into()));
        assert!(!is_found((Ipv4Addr::LOCALHOST, port).into()));
        assert!(!is_found((Ipv4Addr::UNSPECIFIED, port).into()));
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
        let told: Vec<_> = held(listen).iter().map(Held::to_string).collect();
        let own = format!("(pid {pid}) on {}", listen.address);
        assert!(told.iter().any(|it| it.ends_with(&own)), "{told:?}");
    }
}
