//! Interfaces that are listened on: their addresses come and go, and so do the sockets.
//!
//! Each address has sockets of its own, bound to it. One socket for all addresses, bound to the interface, would take port 53 from
//! every other program on the machine and leave out what this machine asks itself.
//!
//! Promises:
//! - The kernel's news are only a hint; what is opened and shut is the difference to the addresses there are. An address that is
//!   taken away and given back at once, as some DHCP clients do, changes nothing.
//! - An address that another listener of ours has is left to it.
//! - What cannot be opened is told once and tried again.
//!
//! Deliberately absent: binding (`sockets`), netlink (`network::interfaces`).

use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;

use super::doors::Doors;
use super::sockets;
use crate::config::{BindRules, Config, ListenAddress, ListenInterface, Workers};
use crate::crew;
use crate::limits::LISTEN_RETRY;
use crate::network::interfaces::{AddressNews, Found, Interfaces};
use crate::signal::Ready;

/// What the interfaces of a configuration have at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Now {
    /// Where to listen, none of it twice.
    pub(crate) addresses: Vec<ListenAddress>,
    /// Interfaces that are not there.
    pub(crate) missing: BTreeSet<String>,
    /// Interfaces without an address to listen on.
    pub(crate) bare: BTreeSet<String>,
}

/// Looks at the interfaces of the configuration.
///
/// # Errors
///
/// When the system does not tell.
pub(crate) fn addresses_now(config: &Config) -> io::Result<Now> {
    look(&config.interfaces, &config.listeners)
}

fn look(interfaces: &[ListenInterface], listeners: &[ListenAddress]) -> io::Result<Now> {
    if interfaces.is_empty() {
        return Ok(Now::default());
    }
    let system = Interfaces::look()?;
    Ok(gather(interfaces, listeners, |it| system.find(it)))
}

fn gather(
    interfaces: &[ListenInterface],
    listeners: &[ListenAddress],
    find: impl Fn(&ListenInterface) -> Found,
) -> Now {
    let mut now = Now::default();
    for interface in interfaces {
        let found = find(interface);
        if !found.exists {
            now.missing.insert(interface.name.clone());
        } else if found.addresses.is_empty() {
            now.bare.insert(interface.name.clone());
        }
        for listen in found.addresses {
            let served = listeners.iter().any(|own| serves(own, &listen));
            if !served && !now.addresses.contains(&listen) {
                now.addresses.push(listen);
            }
        }
    }
    now
}

/// Whether who asks at `listen` gets to the listener `own`.
fn serves(own: &ListenAddress, listen: &ListenAddress) -> bool {
    let (bound, ip) = (own.address.ip(), listen.address.ip());
    own.transport == listen.transport
        && own.address.port() == listen.address.port()
        && (bound == ip || bound.is_unspecified() && bound.is_ipv4() == ip.is_ipv4())
}

/// Opens and shuts doors as addresses come and go, from now on and until the doors are told to stop. To be called within the first
/// worker's runtime.
pub(crate) fn start(doors: &Rc<Doors>, config: &Config) {
    if config.interfaces.is_empty() {
        return;
    }
    let follower = Follower {
        doors: Rc::clone(doors),
        interfaces: config.interfaces.clone(),
        listeners: config.listeners.clone(),
        workers: config.workers,
        // A take-over is of what its predecessor had at the start; an address that comes later is not taken where somebody has it.
        rules: BindRules {
            takeover: false,
            ..config.rules
        },
        refused: Vec::new(),
    };
    match AddressNews::open() {
        Ok(news) => {
            tokio::task::spawn_local(follower.run(news));
        }
        Err(error) => {
            tracing::warn!(%error, "interfaces are not followed: no netlink here; addresses that come are not listened on");
        }
    }
}

struct Follower {
    doors: Rc<Doors>,
    interfaces: Vec<ListenInterface>,
    /// What is listened on whatever interfaces have.
    listeners: Vec<ListenAddress>,
    workers: Workers,
    rules: BindRules,
    /// What could not be opened and was told.
    refused: Vec<ListenAddress>,
}

impl Follower {
    async fn run(mut self, mut news: AddressNews) {
        let doors = Rc::clone(&self.doors);
        loop {
            let complete = self.catch_up();
            let retry = async {
                if complete {
                    std::future::pending::<()>().await;
                } else {
                    tokio::time::sleep(LISTEN_RETRY).await;
                }
            };
            tokio::select! {
                // The end comes before anything is opened.
                biased;
                ready = news.next(doors.follower()) => if ready == Ready::Stopped {
                    return;
                },
                () = retry => {}
            }
        }
    }

    /// Brings the doors in line with the interfaces. False when something could not be opened.
    fn catch_up(&mut self) -> bool {
        let now = match look(&self.interfaces, &self.listeners) {
            Ok(now) => now.addresses,
            Err(error) => {
                tracing::debug!(%error, "the addresses of interfaces are not told");
                return false;
            }
        };
        let open = self.doors.addresses();
        let followed = |it: &&ListenAddress| !self.listeners.contains(it);
        for gone in open.iter().filter(followed).filter(|it| !now.contains(it)) {
            self.doors.shut(*gone);
        }
        self.refused.retain(|it| now.contains(it));
        for new in now.iter().filter(|it| !open.contains(it)) {
            self.open(*new);
        }
        self.refused.is_empty()
    }

    fn open(&mut self, listen: ListenAddress) {
        let told = self.refused.contains(&listen);
        let opened = match sockets::try_bind(listen, crew::most(self.workers), self.rules) {
            Ok(socket) => {
                let opened = socket
                    .listen()
                    .and_then(|()| self.doors.open(listen, socket));
                opened.map_err(|it| it.to_string())
            }
            // Who is in the way is looked for once: clients wait meanwhile.
            Err(error) if !told => Err(error.with_holders().to_string()),
            Err(error) => Err(error.to_string()),
        };
        match opened {
            Ok(()) => self.refused.retain(|it| *it != listen),
            Err(error) if !told => {
                self.refused.push(listen);
                let transport = sockets::transport_word(listen.transport);
                tracing::warn!(address = %listen.address, transport, "an address of an interface is not listened on yet: {error}");
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ListenTransport;

    fn at(address: &str, transport: ListenTransport) -> ListenAddress {
        ListenAddress {
            address: address.parse().unwrap(),
            transport,
        }
    }

    #[test]
    fn what_an_interface_has_is_listened_on_once_and_not_where_another_listener_is() {
        use ListenTransport::{Tcp, Udp};
        let interface = |name: &str, transport| ListenInterface {
            name: name.to_owned(),
            only: None,
            port: 53,
            transport,
        };
        let interfaces = [
            interface("eth0", Udp),
            interface("eth0", Tcp),
            interface("twin", Udp),
            interface("bare", Udp),
            interface("gone", Udp),
        ];
        let listeners = [
            at("0.0.0.0:53", Tcp),
            at("192.0.2.2:53", Udp),
            at("192.0.2.1:5353", Udp),
        ];
        let now = gather(&interfaces, &listeners, |it| Found {
            exists: it.name != "gone",
            addresses: match it.name.as_str() {
                "eth0" | "twin" => ["192.0.2.1:53", "192.0.2.2:53", "[2001:db8::1]:53"]
                    .map(|address| at(address, it.transport))
                    .to_vec(),
                _ => Vec::new(),
            },
        });
        let expected = [
            at("192.0.2.1:53", Udp),
            at("[2001:db8::1]:53", Udp),
            at("[2001:db8::1]:53", Tcp),
        ];
        assert_eq!(now.addresses, expected);
        assert_eq!(now.missing, BTreeSet::from(["gone".to_owned()]));
        assert_eq!(now.bare, BTreeSet::from(["bare".to_owned()]));
    }
}
