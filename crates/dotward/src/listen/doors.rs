//! What is listened on at the moment, and how it becomes more and less.
//!
//! Promises: an address that is shut takes nobody's streams with it: who is connected stays until the connection ends by itself.
//!
//! Deliberately absent: sockets being made (`sockets`), reasons to open and shut (`follow`, `run`).

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::UdpSocket;
use std::rc::Rc;
use std::sync::Arc;

use dotward_udp::BatchSocket;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::accept;
use super::sockets::{self, Bound};
use crate::config::{ListenAddress, ListenTransport};
use crate::crew::{AddressId, Crew};
use crate::signal::Signal;

/// Everything that is listened on.
pub(crate) struct Doors {
    crew: Rc<Crew>,
    open: RefCell<Vec<(ListenAddress, Door)>>,
    /// Ends whoever opens and shuts.
    follower: Signal,
}

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.addresses()).finish()
    }
}

/// One address and transport.
enum Door {
    Datagrams(AddressId),
    /// What ends the accepting, and its task, which ends after that.
    Streams(Rc<Signal>, JoinHandle<()>),
}

impl Doors {
    /// Nothing is listened on yet.
    pub(crate) fn new(crew: Rc<Crew>) -> Self {
        Self {
            crew,
            open: RefCell::default(),
            follower: Signal::default(),
        }
    }

    /// Serves who comes to a socket. To be called within the first worker's runtime.
    ///
    /// # Errors
    ///
    /// When the system refuses the socket its place in the event loop.
    pub(crate) fn open(&self, listen: ListenAddress, socket: Bound) -> io::Result<()> {
        if let Ok(address) = socket.local_addr() {
            let transport = sockets::transport_word(listen.transport);
            tracing::info!(%address, transport, "listening");
        }
        let door = match socket {
            Bound::Udp(sockets) => Door::Datagrams(self.crew.open(batched(sockets)?)?),
            Bound::Stream(socket) => {
                let tls = listen.transport == ListenTransport::Tls;
                let signal = Rc::new(Signal::default());
                let listener = TcpListener::from_std(socket)?;
                let first = Rc::clone(self.crew.first());
                let accept = accept::accept(first, listener, tls, Rc::clone(&signal));
                Door::Streams(signal, tokio::task::spawn_local(accept))
            }
        };
        self.open.borrow_mut().push((listen, door));
        Ok(())
    }

    /// Listens no longer where nothing can arrive any more.
    pub(super) fn shut(&self, listen: ListenAddress) {
        let mut open = self.open.borrow_mut();
        let Some(place) = open.iter().position(|(it, _)| *it == listen) else {
            return;
        };
        let (_, door) = open.swap_remove(place);
        drop(open);
        match door {
            Door::Datagrams(address) => self.crew.shut(address),
            Door::Streams(signal, _) => signal.stop(),
        }
        let transport = sockets::transport_word(listen.transport);
        tracing::info!(address = %listen.address, transport, "no longer listening: the interface has this address no more");
    }

    /// What is listened on, as it was asked for.
    pub(super) fn addresses(&self) -> Vec<ListenAddress> {
        self.open.borrow().iter().map(|(it, _)| *it).collect()
    }

    /// What ends whoever opens and shuts.
    pub(super) fn follower(&self) -> &Signal {
        &self.follower
    }

    /// Accepts those who have connected, and nobody more.
    pub(crate) async fn stop(&self) {
        self.follower.stop();
        let mut accepting = Vec::new();
        for (_, door) in self.open.borrow_mut().drain(..) {
            if let Door::Streams(signal, task) = door {
                signal.stop();
                accepting.push(task);
            }
        }
        for task in accepting {
            if let Err(error) = task.await {
                tracing::error!(%error, "accepting clients failed");
            }
        }
    }
}

fn batched(sockets: Vec<UdpSocket>) -> io::Result<Vec<Arc<BatchSocket>>> {
    let sockets = sockets.into_iter();
    sockets
        .map(|socket| BatchSocket::new(socket).map(Arc::new))
        .collect()
}
