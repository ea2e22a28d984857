//! Whether the listening addresses can be had: who holds them, whether this machine has them, whether this user may bind them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::{Finding, Machine};
use crate::config::{Config, DNS_PORT, ListenAddress, ListenTransport};
use crate::listen::follow::{self, Now};
use crate::listen::holder::{self, Held};
use crate::listen::sockets::transport_word;

/// The bit of `CAP_NET_BIND_SERVICE` in a mask of capabilities (linux/capability.h).
const CAP_NET_BIND_SERVICE: u64 = 1 << 10;

pub(super) fn findings(machine: &Machine, config: &Config) -> Vec<Finding> {
    let now = follow::addresses_now(config);
    let of_interfaces = now.iter().flat_map(|now| now.addresses.iter());
    let listeners = config.listeners.iter().chain(of_interfaces);
    let listeners = listeners.filter(|it| it.address.port() != 0);
    let mut findings: Vec<_> = listeners
        .map(|listen| of_listener(machine, *listen, config.rules.freebind))
        .collect();
    findings.extend(of_interfaces_without(now, config.rules.freebind));
    let addresses = config.listeners.iter().map(|it| it.address.port());
    let mut ports = addresses.chain(config.interfaces.iter().map(|it| it.port));
    if !ports.any(|port| port == DNS_PORT) {
        findings.extend(port_53());
    }
    findings
}

/// Interfaces that give nothing to listen at.
fn of_interfaces_without(now: io::Result<Now>, freebind: bool) -> Vec<Finding> {
    let now = match now {
        Ok(now) => now,
        Err(error) => {
            let fact = format!("their addresses cannot be found out: {error}");
            return vec![
                Finding::wrong("interfaces", fact)
                    .means("dotward does not start")
                    .mended_by("permit netlink (AF_NETLINK) to this process, or give addresses in the place of interfaces"),
            ];
        }
    };
    let missing = now.missing.iter().map(|name| {
        let fact = "there is no such interface";
        if freebind {
            return Finding::note(name, fact).means("it is listened on when it comes");
        }
        Finding::wrong(name, fact)
            .means("dotward does not start")
            .mended_by(
                "give one that `ip link` shows, or say that it will come (listen.freebind = true)",
            )
    });
    let bare = now.bare.iter().map(|name| {
        Finding::note(name, "the interface has no address to listen at now")
            .means("it is listened on when it gets one")
    });
    missing.chain(bare).collect()
}

fn of_listener(machine: &Machine, listen: ListenAddress, freebind: bool) -> Finding {
    let topic = format!("{}/{}", listen.address, transport_word(listen.transport));
    let held = holder::held(listen);
    let (ours, others): (Vec<_>, Vec<_>) = held.iter().partition(|held| is_dotward(held));
    if let Some(first) = others.first() {
        let others: Vec<_> = others.iter().map(ToString::to_string).collect();
        return Finding::wrong(topic, format!("held by {}", others.join(", ")))
            .means("dotward cannot listen there")
            .mended_by(way_out(listen, first));
    }
    if let Some(first) = ours.first() {
        return Finding::good(topic, format!("held by {first}"));
    }
    let mut some_port = listen.address;
    some_port.set_port(0);
    let there = UdpSocket::bind(some_port);
    let is_missing = there.is_err_and(|it| it.kind() == io::ErrorKind::AddrNotAvailable);
    if is_missing && !freebind {
        return Finding::wrong(topic, "this machine has no such address")
            .means("dotward does not start")
            .mended_by("give an address that `ip address` shows, or say that it will come (listen.freebind = true)");
    }
    if !may_bind(machine, listen.address.port()) {
        return Finding::wrong(topic, "free, but this user may not bind it")
            .means("dotward does not start as this user: it takes root, CAP_NET_BIND_SERVICE, or a service manager that gives it")
            .mended_by("start by systemd (deploy/systemd), or `setcap cap_net_bind_service=+ep` the program, or a port above 1023");
    }
    Finding::good(topic, "free")
}

fn is_dotward(held: &Held) -> bool {
    let name = held.holder.as_ref().map(|it| it.name.as_str());
    name == Some("dotward")
}

/// What to do about somebody who is in the way.
fn way_out(listen: ListenAddress, held: &Held) -> String {
    let name = held.holder.as_ref().map_or("", |it| it.name.as_str());
    let specific = !held.address.ip().is_unspecified();
    if listen.address.ip().is_unspecified() && specific {
        let own = match name.starts_with("systemd-resolve") {
            true => ", or free the port: dotward setup systemd-resolved",
            false => "",
        };
        return format!(
            "listen on one address instead of all, such as --listen {}{own}",
            SocketAddr::from((Ipv4Addr::LOCALHOST, listen.address.port()))
        );
    }
    match name {
        "" => "as root, dotward doctor names the program".into(),
        name => format!(
            "stop {name} (systemctl status {name}), or give another address or port (--listen)"
        ),
    }
}

/// Who answers at the port of DNS while we are to listen elsewhere.
fn port_53() -> Option<Finding> {
    let everywhere = [
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ];
    let listeners = everywhere.into_iter().flat_map(|ip| {
        [ListenTransport::Udp, ListenTransport::Tcp].map(|transport| ListenAddress {
            address: SocketAddr::new(ip, DNS_PORT),
            transport,
        })
    });
    let held = listeners.flat_map(holder::held);
    let mut held: Vec<_> = held.map(|it| it.to_string()).collect();
    held.sort();
    held.dedup();
    let fact = match held.as_slice() {
        [] => "nobody holds it".to_owned(),
        held => format!("held by {}", held.join(", ")),
    };
    Some(
        Finding::note("port 53", fact)
            .means("dotward is to listen elsewhere; programs ask at port 53 unless told otherwise"),
    )
}

/// Whether this user may bind the port. What cannot be read counts as permission: the start will tell.
fn may_bind(machine: &Machine, port: u16) -> bool {
    let first = machine.read("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let first = first.and_then(|text| text.trim().parse::<u32>().ok());
    let capable = || {
        let status = machine.read("/proc/self/status")?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))?;
        let mask = u64::from_str_radix(line.trim(), 16).ok()?;
        Some(mask & CAP_NET_BIND_SERVICE != 0)
    };
    first.is_none_or(|first| u32::from(port) >= first) || capable().unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::listen::holder::Holder;

    fn listen(address: &str) -> ListenAddress {
        ListenAddress {
            address: address.parse().unwrap(),
            transport: ListenTransport::Udp,
        }
    }

    fn held(name: &str, address: &str) -> Held {
        Held {
            address: address.parse().unwrap(),
            holder: (!name.is_empty()).then(|| Holder {
                name: name.into(),
                pid: 1,
            }),
        }
    }

    #[test]
    fn the_way_out_fits_who_is_in_the_way() {
        let resolved = held("systemd-resolve", "127.0.0.53:53");
        let told = way_out(listen("0.0.0.0:53"), &resolved);
        assert!(told.contains("--listen 127.0.0.1:53"), "{told}");
        assert!(told.contains("dotward setup systemd-resolved"), "{told}");
        let told = way_out(listen("127.0.0.1:53"), &held("dnsmasq", "0.0.0.0:53"));
        assert!(told.starts_with("stop dnsmasq"), "{told}");
        assert!(way_out(listen("127.0.0.1:53"), &held("", "0.0.0.0:53")).contains("as root"));
    }

    #[test]
    fn interfaces_that_give_nothing_are_told() {
        let now = || Now {
            missing: ["eth9".to_owned()].into(),
            bare: ["wg0".to_owned()].into(),
            ..Now::default()
        };
        let levels = |freebind| -> Vec<_> {
            let findings = of_interfaces_without(Ok(now()), freebind);
            findings
                .into_iter()
                .map(|it| (it.topic, it.level))
                .collect()
        };
        let note = ("wg0".to_owned(), Level::Note);
        let missing = |level| ("eth9".to_owned(), level);
        assert_eq!(levels(false), [missing(Level::Wrong), note.clone()]);
        assert_eq!(levels(true), [missing(Level::Note), note]);
        let unknown = of_interfaces_without(Err(io::ErrorKind::Unsupported.into()), false);
        assert_eq!(unknown.len(), 1);
    }

    #[test]
    fn the_right_to_bind_is_read_from_the_kernel() {
        let directory = tempfile::tempdir().unwrap();
        let machine = Machine {
            root: directory.path().to_owned(),
        };
        assert!(may_bind(&machine, 53), "unknown is no refusal");
        std::fs::create_dir_all(machine.path("/proc/sys/net/ipv4")).unwrap();
        std::fs::create_dir_all(machine.path("/proc/self")).unwrap();
        let start = machine.path("/proc/sys/net/ipv4/ip_unprivileged_port_start");
        std::fs::write(&start, "1024\n").unwrap();
        let status = machine.path("/proc/self/status");
        std::fs::write(&status, "Name:\tx\nCapEff:\t0000000000000000\n").unwrap();
        assert!(!may_bind(&machine, 53));
        assert!(may_bind(&machine, 1024));
        std::fs::write(&status, "CapEff:\t0000000000000400\n").unwrap();
        assert!(may_bind(&machine, 53));
        std::fs::write(&status, "CapEff:\t0000000000000000\n").unwrap();
        std::fs::write(&start, "0\n").unwrap();
        assert!(may_bind(&machine, 53));
    }
}
