//! The ports of a proxy: bound here, or passed by the service manager.
//!
//! Deliberately absent: how a socket is made (`listen::sockets`), interfaces whose addresses change (`listen::follow`).

use std::io;

use super::StartFault;
use crate::config::{Config, ListenAddress, ListenTransport};
use crate::crew;
use crate::listen::follow;
use crate::listen::sockets::{self, Bound};

/// The addresses of the service manager's sockets become those of the configuration.
pub(super) fn take_over_addresses(
    config: &mut Config,
    passed: &[(ListenAddress, Bound)],
    faults: &mut Vec<StartFault>,
) {
    config.listeners = passed.iter().map(|(listen, _)| *listen).collect();
    config.interfaces.clear();
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
    for listen in interface_addresses(config, faults) {
        match sockets::bind(listen, crew::most(config.workers), config.rules) {
            Ok(socket) => bound.push((listen, socket)),
            // It went while we looked.
            Err(error) if error.error.kind() == io::ErrorKind::AddrNotAvailable => {}
            Err(error) => faults.push(StartFault::Bind(error)),
        }
    }
    bound
}

/// What the interfaces have now. One that is not there is a fault, unless it may come later.
fn interface_addresses(config: &Config, faults: &mut Vec<StartFault>) -> Vec<ListenAddress> {
    let now = follow::addresses_now(config);
    let now = now.unwrap_or_else(|error| {
        faults.push(StartFault::Interfaces(error));
        follow::Now::default()
    });
    for name in now.missing {
        if config.rules.freebind {
            tracing::warn!("there is no interface {name} yet; it is listened on when it comes");
        } else {
            faults.push(StartFault::NoInterface(name));
        }
    }
    for name in now.bare {
        tracing::warn!("interface {name} has no address to listen on yet");
    }
    now.addresses
}
