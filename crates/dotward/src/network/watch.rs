//! The task that listens to the kernel.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::Context;

use dotward_core::upstream::UpstreamId;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netdevice, recv, send,
    socket_with,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::netlink::{self, GROUPS, Way, WayQuery};
use super::picture::{self, Links, Picture, Seen};
use crate::config::Binding;
use crate::limits::{NETLINK_READ, NETLINK_READS, NETWORK_SETTLE};
use crate::signal::{Ready, Waitable, Wants};
use crate::worker::{State, Worker};

/// Begins to listen, where that is possible. To be called within a local runtime.
pub(crate) fn start(worker: &Rc<Worker>) {
    match Watch::open() {
        Ok(watch) => {
            tokio::task::spawn_local(watch.run(Rc::clone(worker)));
        }
        Err(error) => {
            tracing::debug!(%error, "changes of the network are not noticed: no netlink here");
        }
    }
}

/// What a look at the kernel needs.
struct Watch {
    news: AsyncFd<OwnedFd>,
    questions: OwnedFd,
    sequence: u32,
    links: Links,
    octets: Vec<u8>,
    picture: Picture,
}

/// What the kernel had to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// Nothing that matters.
    Nothing,
    /// Something that may.
    Something,
}

impl Waitable for AsyncFd<OwnedFd> {
    fn poll_readable(&self, cx: &mut Context<'_>) -> bool {
        self.poll_read_ready(cx).is_ready()
    }

    fn poll_writable(&self, _: &mut Context<'_>) -> bool {
        // Nothing is written here.
        false
    }
}

impl Watch {
    #[expect(
        deprecated,
        reason = "the other constructors are unsafe for descriptors that change behind the event loop's back; an OwnedFd \
                  stays what it is"
    )]
    fn open() -> io::Result<Self> {
        let news = open_netlink(GROUPS)?;
        Ok(Self {
            news: AsyncFd::with_interest(news, Interest::READABLE)?,
            questions: open_netlink(0)?,
            sequence: 0,
            links: Links::default(),
            octets: vec![0; NETLINK_READ],
            picture: Picture::new(),
        })
    }

    async fn run(mut self, worker: Rc<Worker>) {
        let signal = worker.network();
        signal.want(Wants {
            read: true,
            write: false,
        });
        worker.turn(|state, _, _| self.picture = self.look(state));
        while signal.ready(&self.news, None).await != Ready::Stopped {
            if self.read_news() == Read::Nothing {
                tokio::task::yield_now().await;
                continue;
            }
            tokio::time::sleep(NETWORK_SETTLE).await;
            // What came meanwhile is part of the same change, whatever it is.
            match self.read_news() {
                Read::Nothing | Read::Something => {}
            }
            worker.turn(|state, _, now| {
                state.news.hint();
                let picture = self.look(state);
                // Another configuration has other ways; that the network changed does not follow.
                let comparable = !std::mem::take(&mut state.ways_are_others);
                let found = picture::difference(&self.picture, &picture).filter(|_| comparable);
                self.picture = picture;
                if let Some(found) = found {
                    tracing::info!(
                        upstream = state.trust.name(found.upstream),
                        address = %found.address, before = %found.before, after = %found.after,
                        "the network changed; connections are made anew"
                    );
                    state.handle_network_change(now);
                }
            });
        }
    }

    /// Takes what the kernel has to tell.
    fn read_news(&mut self) -> Read {
        // Woken without a message, by somebody else who knows something.
        let mut matters = true;
        for turn in 0..NETLINK_READS {
            let octets = &mut self.octets;
            let read = self.news.try_io(Interest::READABLE, |news| {
                Ok(recv(news, octets.as_mut_slice(), RecvFlags::empty())?.0)
            });
            match read {
                Ok(length) => {
                    matters &= turn > 0;
                    for news in netlink::news(self.octets.get(..length).unwrap_or_default()) {
                        matters |= self.links.handle(news);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Most often: more happened than fits, so everything may be another.
                Err(_) => return Read::Something,
            }
        }
        if matters {
            Read::Something
        } else {
            Read::Nothing
        }
    }

    /// The ways to all addresses of all upstreams as they are.
    fn look(&mut self, state: &State) -> Picture {
        let mut picture = Picture::new();
        for (place, binding) in state.bindings.iter().enumerate() {
            let upstream = UpstreamId(place);
            for endpoint in state.engine.endpoints(upstream) {
                let way = self.way(endpoint.ip(), binding);
                let link = way.map(|way| self.links.of(way.interface));
                let link = link.unwrap_or_default();
                picture.insert((upstream, endpoint.ip()), Seen { way, link });
            }
        }
        picture
    }

    /// Asks the kernel, which replies within the call. No reply counts as no way.
    fn way(&mut self, to: IpAddr, binding: &Binding) -> Option<Way> {
        let same_family = |source: &&IpAddr| source.is_ipv4() == to.is_ipv4();
        let interface = binding.interface.as_deref();
        let query = WayQuery {
            to,
            source: binding.source.iter().find(same_family).copied(),
            interface: interface
                .and_then(|name| netdevice::name_to_index(&self.questions, name).ok()),
            mark: binding.mark,
        };
        self.sequence = self.sequence.wrapping_add(1);
        let mut question = Vec::new();
        netlink::write_way_query(&query, self.sequence, &mut question);
        send(&self.questions, &question, SendFlags::empty()).ok()?;
        loop {
            let (length, _) = recv(
                &self.questions,
                self.octets.as_mut_slice(),
                RecvFlags::empty(),
            )
            .ok()?;
            let octets = self.octets.get(..length).unwrap_or_default();
            // A late reply to an earlier question may come first.
            if let Some(way) = netlink::read_way(octets, self.sequence) {
                return way;
            }
        }
    }
}

pub(super) fn open_netlink(groups: u32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    // The protocol is NETLINK_ROUTE, which is 0.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}
