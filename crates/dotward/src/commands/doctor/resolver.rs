//! Whom the programs of this machine ask: `resolv.conf`, `nsswitch.conf`, systemd-resolved.

use std::net::IpAddr;

use super::{Finding, Machine};
use crate::config::{Config, DNS_PORT, ListenTransport};
use crate::listen::holder;

/// Servers that glibc asks at most (resolv.conf(5), `MAXNS`).
const SERVERS_ASKED: usize = 3;

pub(super) fn findings(machine: &Machine, config: &Config) -> Vec<Finding> {
    let resolved = machine.process("systemd-resolved");
    let mut findings = vec![resolv_conf(machine, config, resolved.is_some())];
    findings.extend(nsswitch(machine, resolved.is_some()));
    if let Some(pid) = resolved {
        findings.push(systemd_resolved(machine, config, pid));
    }
    findings
}

/// The addresses behind `nameserver`, in their order.
fn nameservers(text: &str) -> Vec<IpAddr> {
    let lines = text.lines().map(str::trim);
    lines
        .filter_map(|line| line.strip_prefix("nameserver"))
        .filter(|rest| rest.starts_with(char::is_whitespace))
        .filter_map(|rest| {
            let word = rest.split_whitespace().next()?;
            // A link-local address may name its interface.
            word.split('%').next()?.parse().ok()
        })
        .collect()
}

/// Whether a question sent there over UDP comes to a listener of this configuration.
fn is_ours(config: &Config, address: IpAddr) -> bool {
    config.listeners.iter().any(|listener| {
        let own = listener.address.ip();
        let there = own == address
            || (own.is_unspecified()
                && own.is_ipv4() == address.is_ipv4()
                && address.is_loopback());
        there && listener.address.port() == DNS_PORT && listener.transport == ListenTransport::Udp
    })
}

fn resolv_conf(machine: &Machine, config: &Config, resolved: bool) -> Finding {
    const FILE: &str = "/etc/resolv.conf";
    let Some(text) = machine.read(FILE) else {
        return Finding::note(FILE, "not there, or not to be read")
            .means("glibc asks 127.0.0.1 then")
            .mended_by("dotward setup resolv.conf");
    };
    let mut servers = nameservers(&text);
    servers.truncate(SERVERS_ASKED);
    let listed: Vec<_> = servers.iter().map(ToString::to_string).collect();
    let fact = match listed.as_slice() {
        [] => "names no server".to_owned(),
        listed => format!("programs ask {}", listed.join(", ")),
    };
    let (ours, others): (Vec<IpAddr>, Vec<IpAddr>) =
        servers.iter().partition(|server| is_ours(config, **server));
    let target = std::fs::read_link(machine.path(FILE)).unwrap_or_default();
    let target = target.to_string_lossy();
    let remedy = match () {
        () if resolved || target.contains("systemd") => "dotward setup systemd-resolved",
        () if text.contains("NetworkManager") || target.contains("NetworkManager") => {
            "dotward setup networkmanager"
        }
        () => "dotward setup resolv.conf",
    };
    match (ours.as_slice(), others.as_slice()) {
        ([], _) => Finding::note(FILE, fact)
            .means("not dotward, as it is configured here")
            .mended_by(format!(
                "{remedy} prints what to change, and how to undo it"
            )),
        ([first, ..], []) => {
            let there = |it: &&crate::config::ListenAddress| it.transport == ListenTransport::Udp;
            let mut listeners = config.listeners.iter().filter(there);
            if listeners.any(|it| !holder::held(*it).is_empty()) {
                Finding::good(FILE, fact)
            } else {
                Finding::wrong(FILE, fact)
                    .means(format!(
                        "nobody listens at {first}: no name resolves on this machine"
                    ))
                    .mended_by("start dotward, or undo: dotward setup resolv.conf --undo")
            }
        }
        (_, [other, ..]) => Finding::wrong(FILE, fact)
            .means(format!(
                "when an answer is slow, programs ask {other} too, and unencrypted"
            ))
            .mended_by(format!("let only dotward be asked: {remedy}")),
    }
}

fn nsswitch(machine: &Machine, resolved: bool) -> Option<Finding> {
    const FILE: &str = "/etc/nsswitch.conf";
    let text = machine.read(FILE)?;
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("hosts:"))?;
    let words: Vec<_> = line.split_whitespace().collect();
    let fact = format!("hosts: {}", words.join(" "));
    let place = |word: &str| words.iter().position(|it| *it == word);
    Some(match (place("resolve"), place("dns")) {
        (None, None) => Finding::wrong(FILE, fact)
            .means("programs that use glibc ask no DNS server at all")
            .mended_by("add dns to the line"),
        (Some(resolve), dns) if resolved && dns.is_none_or(|dns| resolve < dns) => Finding::note(
            FILE, fact,
        )
        .means("programs that use glibc ask systemd-resolved first, whatever /etc/resolv.conf says")
        .mended_by("dotward setup systemd-resolved has it ask dotward"),
        (_, _) => Finding::good(FILE, fact),
    })
}

fn systemd_resolved(machine: &Machine, config: &Config, pid: u32) -> Finding {
    const TOPIC: &str = "systemd-resolved";
    let text = machine.read("/run/systemd/resolve/resolv.conf");
    let servers = text.as_deref().map(nameservers).unwrap_or_default();
    let listed: Vec<_> = servers.iter().map(ToString::to_string).collect();
    let fact = match listed.as_slice() {
        [] => format!("runs (pid {pid}); whom it asks is not known"),
        listed => format!("runs (pid {pid}) and asks {}", listed.join(", ")),
    };
    if !servers.is_empty() && servers.iter().all(|server| is_ours(config, *server)) {
        Finding::good(TOPIC, fact)
    } else {
        Finding::note(TOPIC, fact)
            .means("it answers at 127.0.0.53 and does not ask dotward alone")
            .mended_by("dotward setup systemd-resolved")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Level;
    use crate::commands::doctor::tests::{config, machine};

    #[test]
    fn servers_are_read_as_glibc_reads_them() {
        let text = "# nameserver 192.0.2.9\nnameserver 192.0.2.1\n nameserver\tfe80::1%eth0 \nnameserverx 1.1.1.1\nnameserver nonsense\n";
        let read: Vec<_> = nameservers(text).iter().map(ToString::to_string).collect();
        assert_eq!(read, ["192.0.2.1", "fe80::1"]);
    }

    fn resolv(text: &str) -> Finding {
        let (_directory, machine) = machine(&[("etc/resolv.conf", text)]);
        resolv_conf(&machine, &config(&[]), false)
    }

    #[test]
    fn another_server_beside_us_is_wrong_and_another_alone_is_told() {
        let other = resolv("nameserver 192.0.2.1\n");
        assert_eq!(other.level, Level::Note);
        assert!(
            other.remedy.starts_with("dotward setup resolv.conf"),
            "{other:?}"
        );
        let both = resolv("nameserver 127.0.0.1\nnameserver 192.0.2.1\n");
        assert_eq!(both.level, Level::Wrong);
        assert!(both.meaning.contains("192.0.2.1"), "{both:?}");
        let manager = resolv("# Generated by NetworkManager\nnameserver 192.0.2.1\n");
        assert!(manager.remedy.contains("networkmanager"), "{manager:?}");
        // The fourth is asked by nobody.
        let fourth = "nameserver 127.0.0.1\n".repeat(3) + "nameserver 192.0.2.1\n";
        assert!(!resolv(&fourth).meaning.contains("192.0.2.1"));
    }

    #[test]
    fn a_file_that_keeps_glibc_from_dns_is_wrong() {
        let of = |line: &str, resolved| {
            let (_directory, machine) = machine(&[("etc/nsswitch.conf", line)]);
            nsswitch(&machine, resolved).unwrap().level
        };
        assert_eq!(of("passwd: files\nhosts: files\n", false), Level::Wrong);
        assert_eq!(of("hosts: files dns\n", false), Level::Good);
        let both = "hosts: mymachines resolve [!UNAVAIL=return] files dns\n";
        assert_eq!(of(both, true), Level::Note);
        assert_eq!(of(both, false), Level::Good);
    }

    #[test]
    fn systemd_resolved_is_found_and_whom_it_asks() {
        let (_directory, machine) = machine(&[
            ("proc/412/comm", "systemd-resolve\n"),
            ("run/systemd/resolve/resolv.conf", "nameserver 127.0.0.1\n"),
        ]);
        let pid = machine.process("systemd-resolved");
        assert_eq!(pid, Some(412));
        let asks_us = systemd_resolved(&machine, &config(&[]), 412);
        assert_eq!(asks_us.level, Level::Good, "{asks_us:?}");
        let elsewhere = config(&["--listen", "127.0.0.1:5300"]);
        let not_us = systemd_resolved(&machine, &elsewhere, 412);
        assert_eq!(not_us.level, Level::Note, "{not_us:?}");
    }
}
