//! The ports of a proxy: bound here, or passed by the service manager.
//!
//! Deliberately absent: how a socket is made (`listen::sockets`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use super::StartFault;
use crate::config::{Config, ListenAddress, ListenTransport, own_endpoint};
use crate::crew;
use crate::listen::sockets::{self, Bound};

/// The addresses of the service manager's sockets become those of the configuration.
pub(super) fn take_over_addresses(
    config: &mut Config,
    passed: &[(ListenAddress, Bound)],
    faults: &mut Vec<StartFault>,
) {
    config.listeners = passed.iter().map(|(listen, _)| *listen).collect();
    if config.listen_tls.is_none() {
        let tls = config.listeners.iter();
        let tls = tls.filter(|it| it.transport == ListenTransport::Tls);
        faults.extend(tls.map(|it| StartFault::ActivatedWithoutCertificate(it.address)));
    }
}

pub(super) fn bind_all(
    config: &Config,
    faults: &mut Vec<StartFault>,
) -> Vec<(ListenAddress, Bound)> {
    let mut bound = Vec::new();
    for listen in &config.listeners {
        match sockets::bind(*listen, crew::most(config.workers), config.rules) {
            Ok(socket) => bound.push((*listen, socket)),
            Err(error) => faults.push(StartFault::Bind(error)),
        }
    }
    bound
}

/// Refuses upstreams that are this very proxy: a question to one would come back for ever.
pub(super) fn refuse_loops(
    config: &Config,
    sockets: &[(ListenAddress, Bound)],
    faults: &mut Vec<StartFault>,
) {
    let bound = |(listen, socket): &(ListenAddress, Bound)| {
        let address = socket.local_addr().ok()?;
        Some(ListenAddress { address, ..*listen })
    };
    let listeners: Vec<_> = sockets.iter().filter_map(bound).collect();
    for upstream in &config.upstreams {
        if let Some(endpoint) = own_endpoint(&listeners, upstream, is_own_address) {
            let upstream = upstream.name.clone();
            faults.push(StartFault::Loop { upstream, endpoint });
        }
    }
}

/// Whether the address is one of this machine's: the kernel reaches those from the same address, but for loopback ones. Nothing is sent.
fn is_own_address(ip: IpAddr) -> bool {
    if ip.is_loopback() {
        return true;
    }
    let unspecified: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = UdpSocket::bind((unspecified, 0)).and_then(|socket| {
        // Any port will do, but 0.
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == ip)
}
