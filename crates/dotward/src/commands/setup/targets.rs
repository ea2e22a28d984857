//! What is changed where.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::{Map, Value};

use super::files::{Change, FileError, Ours, kept, read, sealed};
use super::{SetupError, below};
use crate::cli::{SetupArgs, SetupTarget};
use crate::config::{Config, DNS_PORT, ListenAddress, ListenTransport};
use crate::listen::follow;

/// Docker's bridge on a machine where nobody chose another.
const DOCKER_BRIDGE: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);

/// What is to be done for a target.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The file; `None` where there is none on this machine.
    pub(super) change: Option<Change>,
    /// What has to be typed after it.
    pub(super) after: Vec<String>,
    /// The same after undoing it.
    pub(super) after_undo: Vec<String>,
    /// What has to be known first.
    pub(super) notes: Vec<String>,
    /// Where questions will be sent.
    pub(super) servers: Vec<SocketAddr>,
    /// Whether dotward can only listen once this is done.
    pub(super) frees_the_port: bool,
}

impl Plan {
    /// What is to be done for `args.target` with the listeners of `config`.
    pub(super) fn of(config: &Config, args: &SetupArgs) -> Result<Self, SetupError> {
        match args.target {
            SetupTarget::SystemdResolved => systemd_resolved(config, args),
            SetupTarget::NetworkManager => networkmanager(config, args),
            SetupTarget::ResolvConf => resolv_conf(config, args),
            SetupTarget::Docker => docker(config, args),
            SetupTarget::Kubernetes => Ok(kubernetes()),
        }
    }
}

/// What is listened on over UDP, with the addresses that interfaces have now. Those of one link only are left out: who reads the file may
/// stand at another.
fn udp_listeners(config: &Config) -> Vec<ListenAddress> {
    let of_interfaces = follow::addresses_now(config).unwrap_or_default().addresses;
    let is_local = |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let all = config.listeners.iter().copied().chain(of_interfaces);
    all.filter(|it| it.transport == ListenTransport::Udp && !is_local(it.address.ip()))
        .collect()
}

/// Where the machine itself reaches the listeners over UDP: loopback if it can, IPv4 first.
fn servers(config: &Config) -> Vec<SocketAddr> {
    let mut servers: Vec<SocketAddr> = udp_listeners(config)
        .into_iter()
        .map(|listener| {
            let ip: IpAddr = match listener.address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
            };
            SocketAddr::new(ip, listener.address.port())
        })
        .collect();
    servers.sort_by_key(|it| (!it.ip().is_loopback(), it.is_ipv6()));
    servers.dedup();
    if servers.iter().any(|it| it.ip().is_loopback()) {
        servers.retain(|it| it.ip().is_loopback());
    }
    servers
}

/// The same for those who ask at port 53 and nowhere else.
fn servers_at_53(config: &Config, target: SetupTarget) -> Result<Vec<SocketAddr>, SetupError> {
    let mut servers = servers(config);
    servers.retain(|it| it.port() == DNS_PORT);
    if servers.is_empty() {
        return Err(SetupError::NoListener {
            target,
            why: "it asks at port 53 only, and no listener over UDP has that port",
            fix: "listen there: --listen 127.0.0.1:53, or listen.dns in the file",
        });
    }
    Ok(servers)
}

fn ips(servers: &[SocketAddr], between: &str) -> String {
    let ips: Vec<_> = servers.iter().map(|it| it.ip().to_string()).collect();
    ips.join(between)
}

/// The line that says whose file it is.
fn mark(target: SetupTarget) -> String {
    format!(
        "# Written by `dotward setup {target}`; `dotward setup {target} --undo` puts back what was there.\n"
    )
}

fn change(args: &SetupArgs, path: &str, body: &str) -> Result<Change, FileError> {
    let path = below(&args.root, path);
    let mark = mark(args.target);
    Ok(Change {
        before: read(&path)?,
        after: sealed(&mark, body),
        path,
        ours: Ours::Sealed(mark),
    })
}

fn systemd_resolved(config: &Config, args: &SetupArgs) -> Result<Plan, SetupError> {
    let servers = servers(config);
    if servers.is_empty() {
        return Err(SetupError::NoListener {
            target: args.target,
            why: "no listener answers over UDP",
            fix: "listen there: --listen 127.0.0.1:53, or listen.dns in the file",
        });
    }
    let written: Vec<_> = servers
        .iter()
        .map(|it| match it.port() {
            DNS_PORT => it.ip().to_string(),
            _ => it.to_string(),
        })
        .collect();
    let everywhere =
        |it: &ListenAddress| it.address.ip().is_unspecified() && it.address.port() == DNS_PORT;
    let frees_the_port = config.listeners.iter().any(everywhere);
    let stub = if frees_the_port {
        "DNSStubListener=no\n"
    } else {
        ""
    };
    // Without encryption and validation of its own: dotward is on this machine, and answers are validated where they come from.
    let body = format!(
        "[Resolve]\nDNS={}\nDomains=~.\nDNSOverTLS=no\nDNSSEC=no\n{stub}",
        written.join(" ")
    );
    let restart = "systemctl restart systemd-resolved".to_owned();
    let (mut after, mut after_undo) = (vec![restart.clone()], vec![restart]);
    let mut notes = Vec::new();
    if frees_the_port {
        notes.push("dotward listens on all addresses: systemd-resolved gives up 127.0.0.53, and programs ask dotward itself".into());
        after.push("ln -sf ../run/systemd/resolve/resolv.conf /etc/resolv.conf".into());
        after.push("start dotward".into());
        after_undo.insert(
            0,
            "ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf".into(),
        );
    }
    Ok(Plan {
        change: Some(change(
            args,
            "/etc/systemd/resolved.conf.d/dotward.conf",
            &body,
        )?),
        after,
        after_undo,
        notes,
        servers,
        frees_the_port,
    })
}

fn networkmanager(config: &Config, args: &SetupArgs) -> Result<Plan, SetupError> {
    let servers = servers_at_53(config, args.target)?;
    let body = format!(
        "[global-dns]\n\n[global-dns-domain-*]\nservers={}\n",
        ips(&servers, ",")
    );
    let reload = || vec!["nmcli general reload".to_owned()];
    Ok(Plan {
        change: Some(change(
            args,
            "/etc/NetworkManager/conf.d/dotward.conf",
            &body,
        )?),
        after: reload(),
        after_undo: reload(),
        servers,
        ..Plan::default()
    })
}

fn resolv_conf(config: &Config, args: &SetupArgs) -> Result<Plan, SetupError> {
    let servers = servers_at_53(config, args.target)?;
    const FILE: &str = "/etc/resolv.conf";
    let before = read(&below(&args.root, FILE))?;
    let mark = mark(args.target);
    let mut body = String::new();
    let mut notes = Vec::new();
    for line in before.as_deref().unwrap_or_default().lines() {
        let word = line.split_whitespace().next().unwrap_or_default();
        if ["search", "domain", "options", "sortlist"].contains(&word) {
            body.push_str(&format!("{line}\n"));
        }
        let writers = ["NetworkManager", "systemd-resolved", "resolvconf", "dhcpcd"];
        if line.starts_with('#') && line != mark.trim_end() {
            let writer = writers.iter().find(|writer| line.contains(**writer));
            notes.extend(writer.map(|writer| {
                format!("{writer} writes this file, and will do so again: set that up instead")
            }));
        }
    }
    for server in &servers {
        body.push_str(&format!("nameserver {}\n", server.ip()));
    }
    Ok(Plan {
        change: Some(change(args, FILE, &body)?),
        notes,
        servers,
        ..Plan::default()
    })
}

fn docker(config: &Config, args: &SetupArgs) -> Result<Plan, SetupError> {
    let udp = udp_listeners(config).into_iter();
    let reached = udp.filter(|it| it.address.port() == DNS_PORT && !it.address.ip().is_loopback());
    let mut servers: Vec<SocketAddr> = reached
        .map(|it| match it.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from((DOCKER_BRIDGE, DNS_PORT)),
            IpAddr::V4(_) | IpAddr::V6(_) => it.address,
        })
        .filter(|it| !it.ip().is_unspecified())
        .collect();
    servers.dedup();
    if servers.is_empty() {
        return Err(SetupError::NoListener {
            target: args.target,
            why: "containers have a loopback of their own, and no listener over UDP has another address at port 53",
            fix: "listen at Docker's bridge too: --listen 127.0.0.1:53 --listen 172.17.0.1:53 --freebind true",
        });
    }
    let path = below(&args.root, "/etc/docker/daemon.json");
    let before = read(&path)?;
    let unreadable = |why: String| FileError::Unreadable {
        path: path.clone(),
        why,
    };
    let dns = servers.iter().map(|it| Value::from(it.ip().to_string()));
    let dns: Value = dns.collect();
    let with_dns = |text: Option<&str>| -> Result<String, serde_json::Error> {
        let mut settings: Map<String, Value> = match text.map(str::trim) {
            None | Some("") => Map::new(),
            Some(text) => serde_json::from_str(text)?,
        };
        settings.insert("dns".into(), dns.clone());
        Ok(format!("{:#}\n", Value::Object(settings)))
    };
    let after = with_dns(before.as_deref()).map_err(|error| unreadable(error.to_string()))?;
    // What was written then was made of what is kept.
    let first = read(&kept(&path))?;
    let written = with_dns(first.as_deref()).unwrap_or_default();
    let restart = || vec!["systemctl restart docker".to_owned()];
    Ok(Plan {
        change: Some(Change {
            path,
            before,
            after,
            ours: Ours::Exactly(written),
        }),
        after: restart(),
        after_undo: restart(),
        notes: vec![
            "containers that run keep asking whom they asked until they are made anew".into(),
        ],
        servers,
        ..Plan::default()
    })
}

fn kubernetes() -> Plan {
    let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
    Plan {
        notes: vec![
            "For names outside the cluster; those of the cluster stay with CoreDNS. Other ways: docs/kubernetes.md".into(),
        ],
        after: lines(&[
            "kubectl apply -k deploy/kubernetes/deployment",
            "kubectl -n dotward rollout status deployment/dotward",
            "kubectl -n dotward get service dotward -o jsonpath='{.spec.clusterIP}'     # the ADDRESS below",
            "kubectl -n kube-system get configmap coredns -o yaml > coredns.before-dotward.yaml",
            "kubectl -n kube-system edit configmap coredns     # forward . /etc/resolv.conf  becomes  forward . ADDRESS",
        ]),
        after_undo: lines(&[
            "kubectl -n kube-system replace --force -f coredns.before-dotward.yaml",
            "kubectl delete -k deploy/kubernetes/deployment     # once nobody asks there any more",
        ]),
        ..Plan::default()
    }
}
