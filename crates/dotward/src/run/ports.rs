//! The ports of a proxy: bound here, or passed by the service manager.
//!
//! Promises: a start that takes over and fails leaves those who ask the process that was there alone. Nothing is bound unless everything
//! else is in order; what receives without being told to, datagrams to an address that another process has, is bound last of all.
//!
//! Deliberately absent: how a socket is made (`listen::sockets`), interfaces whose addresses change (`listen::follow`).

use std::io;

use super::takeover::{Predecessor, Predecessors};
use super::{StartFault, bound, checks};
use crate::config::{BindRules, Config, ListenAddress, ListenTransport};
use crate::crew;
use crate::listen::follow;
use crate::listen::sockets::{self, BindError, Bound};
use crate::privileges;

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

/// Where a proxy listens, and with what.
#[derive(Debug, Default)]
pub(super) struct Ports {
    /// What is to be bound, in the order of the configuration.
    wanted: Vec<Wanted>,
    /// What is.
    pub(super) bound: Vec<(ListenAddress, Bound)>,
    /// Processes that had the ports before, to be told to drain.
    pub(super) predecessors: Vec<Predecessor>,
}

#[derive(Debug)]
struct Wanted {
    listen: ListenAddress,
    /// It is an interface's, and may have gone while we looked.
    fleeting: bool,
}

impl Ports {
    /// Those of the service manager, bound and listening.
    pub(super) fn passed(bound: Vec<(ListenAddress, Bound)>) -> Self {
        Self {
            bound,
            ..Self::default()
        }
    }

    /// Those that the configuration says, not bound yet.
    pub(super) fn wanted(config: &Config, faults: &mut Vec<StartFault>) -> Self {
        let wanted = |fleeting: bool| move |listen| Wanted { listen, fleeting };
        let own = config.listeners.iter().copied().map(wanted(false));
        let of_interfaces = interface_addresses(config, faults).into_iter();
        Self {
            wanted: own.chain(of_interfaces.map(wanted(true))).collect(),
            ..Self::default()
        }
    }

    /// Binds what is wanted. With a take-over that is left when there are faults already, and what another process may lose by it is bound
    /// last.
    pub(super) fn bind(&mut self, config: &Config, faults: &mut Vec<StartFault>) {
        let owner = privileges::owner_of_sockets(config);
        let owner = owner.map_err(|error| faults.push(StartFault::Privileges(error)));
        let rules = BindRules {
            owner: owner.unwrap_or_default(),
            ..config.rules
        };
        // What the service manager holds is nobody's to take over.
        if !rules.takeover || self.wanted.is_empty() {
            self.bind_those(|_| true, config, rules, faults);
            checks::loops(config, &bound(&self.bound), faults);
            return;
        }
        let wanted: Vec<ListenAddress> = self.wanted.iter().map(|it| it.listen).collect();
        checks::loops(config, &wanted, faults);
        if !faults.is_empty() {
            return;
        }
        let before = Predecessors::find(&wanted);
        let is_risky = |it: &ListenAddress| {
            it.transport == ListenTransport::Udp && before.addresses.contains(it)
        };
        self.bind_those(|it| !is_risky(it), config, rules, faults);
        if faults.is_empty() {
            self.bind_those(is_risky, config, rules, faults);
        }
        let place = |listen: &ListenAddress| wanted.iter().position(|it| it == listen);
        self.bound.sort_by_key(|(listen, _)| place(listen));
        self.predecessors = before.processes;
    }

    fn bind_those(
        &mut self,
        which: impl Fn(&ListenAddress) -> bool,
        config: &Config,
        rules: BindRules,
        faults: &mut Vec<StartFault>,
    ) {
        for Wanted { listen, fleeting } in self.wanted.iter().filter(|it| which(&it.listen)) {
            match sockets::bind(*listen, crew::most(config.workers), rules) {
                Ok(socket) => self.bound.push((*listen, socket)),
                Err(error)
                    if *fleeting && error.error.kind() == io::ErrorKind::AddrNotAvailable => {}
                Err(error) => faults.push(StartFault::Bind(error)),
            }
        }
    }

    /// Hears who connects, where it was bound here.
    pub(super) fn listen(&self, faults: &mut Vec<StartFault>) {
        let own = self.bound.iter().filter(|_| !self.wanted.is_empty());
        for (listen, socket) in own {
            if let Err(error) = socket.listen() {
                faults.push(StartFault::Bind(BindError::of(*listen, error)));
            }
        }
    }
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
