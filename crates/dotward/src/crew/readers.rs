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

use crate::listen::udp::{self, Reading};
use crate::near::{Host, PortKey};

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
    /// By socket. One that was told to stop stays here until it is needed again: until it has ended the socket has its place in the event
    /// loop, and there is only one.
    reading: Vec<Option<Reading>>,
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
            reading: of.sockets.iter().map(|_| None).collect(),
            of,
            port,
        });
    }

    /// Reads the worker's share of the sockets and no others, when the first `active` workers are to read.
    ///
    /// # Errors
    ///
    /// When the system refuses a socket its place in the event loop. The others are read all the same.
    pub(crate) fn share<H: Host>(&mut self, host: &Rc<H>, active: usize) -> io::Result<()> {
        self.active = active;
        let mut shared = Ok(());
        for of_address in &mut self.addresses {
            let sockets = of_address.of.sockets.iter();
            for (place, (socket, reading)) in sockets.zip(&mut of_address.reading).enumerate() {
                let mine = active > 0 && place % active == self.number;
                match reading {
                    Some(reading) if !mine => reading.stop(),
                    Some(reading) if reading.go_on() => {}
                    Some(_) | None if mine => {
                        let begun = udp::read(host, Arc::clone(socket), of_address.port);
                        match begun {
                            Ok(begun) => *reading = Some(begun),
                            Err(error) => shared = Err(error),
                        }
                    }
                    Some(_) | None => {}
                }
            }
        }
        shared
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
        for reading in of_address.reading.into_iter().flatten() {
            reading.stop();
        }
        host.near_turn(|near, _, _| near.ports.remove(of_address.port));
    }

    /// Reads nothing any more, but what had arrived before. Gives back what is to be waited for until that is done.
    pub(crate) fn stop(&mut self) -> Vec<Reading> {
        self.active = 0;
        let reading = self.addresses.iter_mut().flat_map(|it| &mut it.reading);
        let reading: Vec<_> = reading.filter_map(Option::take).collect();
        reading.iter().for_each(Reading::stop);
        reading
    }
}

/// Waits until what had arrived was taken.
pub(crate) async fn ended(readings: Vec<Reading>) {
    for reading in readings {
        reading.ended().await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};
    use std::time::Duration;

    use dotward_core::wire::{Class, QueryOptions, Question, RecordType, write_query};

    use super::*;
    use crate::run::local_runtime;
    use crate::worker::{State, Worker};

    fn socket() -> Arc<BatchSocket> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        Arc::new(BatchSocket::new(socket).unwrap())
    }

    fn of(sockets: Vec<Arc<BatchSocket>>) -> [UdpSockets; 1] {
        [UdpSockets {
            address: AddressId(0),
            sockets: sockets.into(),
        }]
    }

    /// Whether who asks at `socket` gets an answer.
    async fn is_read(socket: &BatchSocket) -> bool {
        let name = "localhost".parse().unwrap();
        let question = Question::new(&name, RecordType::A, Class::IN);
        let options = QueryOptions {
            checking_disabled: false,
            dnssec_ok: false,
            keepalive: false,
            padding: None,
        };
        let mut message = Vec::new();
        write_query(question.view(), options, &mut message);
        let to = socket.local_addr().unwrap();
        let client = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .unwrap();
        client.send_to(&message, to).await.unwrap();
        let mut octets = [0; 512];
        let answer = tokio::time::timeout(Duration::from_secs(5), client.recv(&mut octets));
        answer.await.is_ok()
    }

    #[test]
    fn a_socket_that_is_given_away_and_back_at_once_is_read() {
        local_runtime().unwrap().block_on(async {
            let worker = Worker::start(State::for_test());
            let sockets = vec![socket(), socket()];
            let mut readers = Readers::open(&worker, &of(sockets.clone()), 0);
            readers.share(&worker, 1).unwrap();
            assert!(is_read(&sockets[1]).await);
            // The task of the second one has had no turn to end in.
            readers.share(&worker, 2).unwrap();
            readers.share(&worker, 1).unwrap();
            assert!(is_read(&sockets[1]).await);
            // Now it has.
            readers.share(&worker, 2).unwrap();
            assert!(is_read(&sockets[0]).await);
            readers.share(&worker, 1).unwrap();
            assert!(is_read(&sockets[1]).await);
            ended(readers.stop()).await;
        });
    }

    #[test]
    fn a_socket_that_cannot_be_read_leaves_the_others_read_and_is_tried_again() {
        local_runtime().unwrap().block_on(async {
            let worker = Worker::start(State::for_test());
            let sockets = vec![socket(), socket(), socket()];
            // It has its place in the event loop already.
            let port = worker.near_turn(|near, _, _| udp::open(near, Arc::clone(&sockets[1])));
            let taken = udp::read(&worker, Arc::clone(&sockets[1]), port).unwrap();
            let mut readers = Readers::open(&worker, &of(sockets.clone()), 0);
            readers.share(&worker, 1).unwrap_err();
            assert!(is_read(&sockets[0]).await && is_read(&sockets[2]).await);
            taken.stop();
            taken.ended().await;
            readers.share(&worker, 1).unwrap();
            assert!(is_read(&sockets[1]).await);
            ended(readers.stop()).await;
        });
    }
}
