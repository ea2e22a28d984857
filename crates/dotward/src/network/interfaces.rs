//! Which addresses an interface has, and when that may have changed.
//!
//! Promises: what is told is the state of one moment, read after the news; an address that cannot be bound to, because other machines
//! are still being asked whether it is theirs, is not told before it can.
//!
//! Deliberately absent: what is done with the addresses (`listen::follow`).

use std::io;
use std::net::SocketAddr;

use crate::config::{ListenAddress, ListenInterface};

#[cfg(target_os = "linux")]
pub(crate) use linux::{AddressNews, Interfaces};

/// An interface that is to be listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Whether there is one of that name.
    pub(crate) exists: bool,
    /// Where to listen.
    pub(crate) addresses: Vec<ListenAddress>,
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::OwnedFd;

    use rustix::net::{RecvFlags, SendFlags, netdevice, recv, send};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    use super::super::netlink::{self, ADDRESS_GROUPS, Dump, InterfaceAddress};
    use super::super::watch::open_netlink;
    use super::{Found, ListenAddress, ListenInterface, SocketAddr, io};
    use crate::limits::{
        INTERFACE_ADDRESSES, NETLINK_DUMP_TRIES, NETLINK_READ, NETLINK_READS, NETWORK_SETTLE,
    };
    use crate::signal::{Ready, Signal, Wants};

    /// The interfaces and their addresses at one moment.
    #[derive(Debug)]
    pub(crate) struct Interfaces {
        questions: OwnedFd,
        addresses: Vec<InterfaceAddress>,
    }

    impl Interfaces {
        /// Asks the kernel.
        pub(crate) fn look() -> io::Result<Self> {
            let questions = open_netlink(0)?;
            let mut addresses = Vec::new();
            for sequence in 1..=NETLINK_DUMP_TRIES {
                addresses.clear();
                if dump(&questions, sequence, &mut addresses)? {
                    return Ok(Self {
                        questions,
                        addresses,
                    });
                }
            }
            Err(io::Error::other(
                "the addresses of interfaces change all the time",
            ))
        }

        /// Where to listen for `wanted` now.
        pub(crate) fn find(&self, wanted: &ListenInterface) -> Found {
            let Ok(number) = netdevice::name_to_index(&self.questions, &wanted.name) else {
                return Found {
                    exists: false,
                    addresses: Vec::new(),
                };
            };
            let own = self.addresses.iter();
            let own = own.filter(|it| it.interface == number && wanted.wants(it.address));
            let addresses = own.take(INTERFACE_ADDRESSES).map(|it| ListenAddress {
                address: with_scope(SocketAddr::new(it.address, wanted.port), number),
                transport: wanted.transport,
            });
            Found {
                exists: true,
                addresses: addresses.collect(),
            }
        }
    }

    /// An address that is good on one link only is bound together with the link's number.
    fn with_scope(mut address: SocketAddr, interface: u32) -> SocketAddr {
        if let SocketAddr::V6(it) = &mut address
            && it.ip().is_unicast_link_local()
        {
            it.set_scope_id(interface);
        }
        address
    }

    /// Waits until what belongs together has been told, or for the end.
    async fn settle(signal: &Signal) -> Ready {
        tokio::select! {
            biased;
            () = signal.stopped() => Ready::Stopped,
            () = tokio::time::sleep(NETWORK_SETTLE) => Ready::Io,
        }
    }

    /// False when something changed meanwhile.
    fn dump(
        questions: &OwnedFd,
        sequence: u32,
        into: &mut Vec<InterfaceAddress>,
    ) -> io::Result<bool> {
        let mut question = Vec::new();
        netlink::write_address_dump(sequence, &mut question);
        send(questions, &question, SendFlags::empty())?;
        let mut octets = vec![0; NETLINK_READ];
        loop {
            // The kernel writes each part within the call that reads the one before, so nothing is waited for.
            let (length, _) = recv(questions, octets.as_mut_slice(), RecvFlags::empty())?;
            let part = octets.get(..length).unwrap_or_default();
            match netlink::read_addresses(part, sequence, into) {
                Dump::More => {}
                Dump::Done => return Ok(true),
                Dump::Torn => return Ok(false),
            }
        }
    }

    /// Tells when addresses or interfaces came or went.
    #[derive(Debug)]
    pub(crate) struct AddressNews {
        news: AsyncFd<OwnedFd>,
        octets: Vec<u8>,
    }

    impl AddressNews {
        /// Begins to listen. To be called within a runtime.
        #[expect(
            deprecated,
            reason = "the other constructors are unsafe for descriptors that change behind the event loop's back; an OwnedFd \
                      stays what it is"
        )]
        pub(crate) fn open() -> io::Result<Self> {
            let news = open_netlink(ADDRESS_GROUPS)?;
            Ok(Self {
                news: AsyncFd::with_interest(news, Interest::READABLE)?,
                octets: vec![0; NETLINK_READ],
            })
        }

        /// Waits for news, and until they have settled; or for `signal`, which is told to want what is needed here.
        pub(crate) async fn next(&mut self, signal: &Signal) -> Ready {
            signal.want(Wants {
                read: true,
                write: false,
            });
            if signal.ready(&self.news, None).await == Ready::Stopped
                || settle(signal).await == Ready::Stopped
            {
                return Ready::Stopped;
            }
            self.read_all();
            Ready::Io
        }

        /// Takes what the kernel has to tell. What it says is not looked at: the state is asked for afterwards.
        fn read_all(&mut self) {
            for _ in 0..NETLINK_READS {
                let octets = self.octets.as_mut_slice();
                let read = self.news.try_io(Interest::READABLE, |news| {
                    Ok(recv(news, octets, RecvFlags::empty())?.0)
                });
                if read.is_err() {
                    return;
                }
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[tokio::test]
        async fn news_that_settle_when_the_end_comes_are_followed_by_nothing() {
            let signal = Signal::default();
            let mut settling = std::pin::pin!(settle(&signal));
            tokio::select! {
                biased;
                ready = &mut settling => panic!("{ready:?} before anything happened"),
                () = std::future::ready(()) => {}
            }
            signal.stop();
            assert_eq!(settling.await, Ready::Stopped);
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::{AddressNews, Interfaces};

/// Other systems tell these things in other ways, which nobody has written yet.
#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use super::{Found, ListenInterface, io};
    use crate::signal::{Ready, Signal};

    #[derive(Debug)]
    pub(crate) struct Interfaces;

    impl Interfaces {
        pub(crate) fn look() -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(crate) fn find(&self, _: &ListenInterface) -> Found {
            Found {
                exists: false,
                addresses: Vec::new(),
            }
        }
    }

    #[derive(Debug)]
    pub(crate) struct AddressNews;

    impl AddressNews {
        pub(crate) fn open() -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(crate) async fn next(&mut self, signal: &Signal) -> Ready {
            signal.poked(None).await
        }
    }
}
