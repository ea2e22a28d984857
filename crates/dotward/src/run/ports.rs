//! The ports of a proxy: bound here, or passed by the service manager.
//!
//! Deliberately absent: how a socket is made (`listen::sockets`).

use super::StartFault;
use crate::config::{Config, ListenAddress, ListenTransport};
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
