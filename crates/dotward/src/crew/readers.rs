//! Which worker reads which UDP socket.
//!
//! Each UDP address has a socket for each worker there may be (`SO_REUSEPORT`: the kernel spreads clients over them by a hash of both
//! addresses and ports). All sockets are open from start to end, whoever is active; what changes is who reads them. So nothing is
//! lost when workers join and leave, and no port has to be bound again after privileges were dropped.
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
use crate::near::Host;
use crate::signal::Signal;

/// The UDP sockets: by address, in the order of the configuration, then by worker. An address has one at least.
pub(crate) type UdpSockets = Arc<[Vec<Arc<BatchSocket>>]>;

/// What one worker reads.
pub(crate) struct Readers {
    sockets: UdpSockets,
    /// Its place among the workers.
    number: usize,
    /// By address and socket: what ends the reading.
    reading: Vec<Vec<Option<Rc<Signal>>>>,
}

impl Readers {
    /// Opens the ports that `host` replies through and reads nothing yet.
    pub(crate) fn open<H: Host>(host: &Rc<H>, sockets: UdpSockets, number: usize) -> Self {
        host.near_turn(|near, _, _| {
            for of_address in sockets.iter() {
                let own = of_address.get(number).or_else(|| of_address.first());
                if let Some(own) = own {
                    udp::open(near, Arc::clone(own));
                }
            }
        });
        let reading = sockets.iter().map(|it| vec![None; it.len()]).collect();
        Self {
            sockets,
            number,
            reading,
        }
    }

    /// Reads the worker's share of the sockets and no others, when the first `active` workers are to read.
    pub(crate) fn share<H: Host>(&mut self, host: &Rc<H>, active: usize) -> io::Result<()> {
        let addresses = self.sockets.iter().zip(&mut self.reading).enumerate();
        for (port, (sockets, reading)) in addresses {
            for (place, (socket, reading)) in sockets.iter().zip(reading).enumerate() {
                let mine = place % active.max(1) == self.number;
                match reading {
                    None if mine => *reading = Some(udp::read(host, Arc::clone(socket), port)?),
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

    /// Reads nothing any more, but what had arrived before.
    pub(crate) fn stop(&mut self) {
        for signal in self.reading.iter_mut().flatten().filter_map(Option::take) {
            signal.stop();
        }
    }
}
