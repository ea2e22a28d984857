//! Which worker reads which UDP socket.
//!
//! Each UDP address has a socket for each worker there may be (`SO_REUSEPORT`: the kernel spreads clients over them by a hash of both
//! addresses and ports). All sockets are open as long as the address is listened on, whoever is active; what changes is who reads them.
//! So nothing is lost when workers join and leave, and no port has to be bound again for that after privileges were dropped.
//!
//! Closing a socket of such a group loses what waits in it, and connecting it away takes a socket bound to a wildcard address out of
//! the group for good (`udp_lib_rehash`), which is why sockets do not come and go with workers.
//!
//! Promises: at each moment every socket is read by one worker, or is about to be; what arrives in between waits in it.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use dotward_udp::BatchSocket;

use crate::listen::udp;
use crate::near::{Host, PortKey};
use crate::signal::Signal;

/// The sockets of one UDP address.
#[derive(Debug, Clone)]
pub(crate) struct UdpSockets {
    /// The same for every worker, and never another's.
    pub(crate) address: AddressId,
    /// By worker; one at least.
    pub(crate) sockets: Arc<[Arc<BatchSocket>]>,
}

/// A UDP address that is, or was, listened on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AddressId(pub(crate) u64);

/// What one worker reads.
pub(crate) struct Readers {
    addresses: Vec<OfAddress>,
    /// Its place among the workers.
    number: usize,
    /// How many workers read.
    active: usize,
}

/// What a worker has of one address.
struct OfAddress {
    of: UdpSockets,
    /// Where it replies.
    port: PortKey,
    /// By socket: what ends the reading.
    reading: Vec<Option<Rc<Signal>>>,
}

impl Readers {
    /// Opens the ports that `host` replies through and reads nothing yet.
    pub(crate) fn open<H: Host>(host: &Rc<H>, sockets: &[UdpSockets], number: usize) -> Self {
        let mut readers = Self {
            addresses: Vec::new(),
            number,
            active: 0,
        };
        for of_address in sockets {
            readers.open_port(host, of_address.clone());
        }
        readers
    }

    fn open_port<H: Host>(&mut self, host: &Rc<H>, of: UdpSockets) {
        let own = of.sockets.get(self.number).or_else(|| of.sockets.first());
        let Some(own) = own.map(Arc::clone) else {
            return;
        };
        let port = host.near_turn(|near, _, _| udp::open(near, own));
        self.addresses.push(OfAddress {
            reading: vec![None; of.sockets.len()],
            of,
            port,
        });
    }

    /// Reads the worker's share of the sockets and no others, when the first `active` workers are to read.
    pub(crate) fn share<H: Host>(&mut self, host: &Rc<H>, active: usize) -> io::Result<()> {
        self.active = active;
        for of_address in &mut self.addresses {
            let sockets = of_address.of.sockets.iter();
            for (place, (socket, reading)) in sockets.zip(&mut of_address.reading).enumerate() {
                let mine = active > 0 && place % active == self.number;
                match reading {
                    None if mine => {
                        let port = of_address.port;
                        *reading = Some(udp::read(host, Arc::clone(socket), port)?);
                    }
                    Some(signal) if !mine => {
                        signal.stop();
                        *reading = None;
                    }
                    None | Some(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Serves one address more, in the shares of now.
    pub(crate) fn add<H: Host>(&mut self, host: &Rc<H>, sockets: UdpSockets) -> io::Result<()> {
        self.open_port(host, sockets);
        self.share(host, self.active)
    }

    /// Serves one address less. What is in flight for its clients gets no reply: there is nowhere it could come from.
    pub(crate) fn remove<H: Host>(&mut self, host: &Rc<H>, address: AddressId) {
        let Some(place) = self
            .addresses
            .iter()
            .position(|it| it.of.address == address)
        else {
            return;
        };
        let of_address = self.addresses.swap_remove(place);
        for signal in of_address.reading.into_iter().flatten() {
            signal.stop();
        }
        host.near_turn(|near, _, _| near.ports.remove(of_address.port));
    }

    /// Reads nothing any more, but what had arrived before.
    pub(crate) fn stop(&mut self) {
        self.active = 0;
        let reading = self.addresses.iter_mut().flat_map(|it| &mut it.reading);
        for signal in reading.filter_map(Option::take) {
            signal.stop();
        }
    }
}
