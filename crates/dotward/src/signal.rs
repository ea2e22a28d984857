//! How the worker tells a task what its socket is to wait for.
//!
//! A stream belongs to the worker's state; the task of the stream only waits for its socket and then lets the worker act. What it
//! waits for can change while it sleeps (a write blocked, the stream was closed), so both sides share a [`Signal`].
//!
//! Promises: no change is lost between two waits; one task waits on a signal.
//!
//! Deliberately absent: the signals of Unix (see [`unix_signals`](crate::unix_signals)).

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::net::{TcpStream, UdpSocket};
use tokio::time::Sleep;

/// A socket that can be waited for. A broken one counts as ready: using it tells the error.
pub(crate) trait Waitable {
    /// Whether octets or datagrams are there.
    fn poll_readable(&self, cx: &mut Context<'_>) -> bool;
    /// Whether there is room for some.
    fn poll_writable(&self, cx: &mut Context<'_>) -> bool;
}

impl Waitable for TcpStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> bool {
        self.poll_read_ready(cx).is_ready()
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> bool {
        self.poll_write_ready(cx).is_ready()
    }
}

impl Waitable for UdpSocket {
    fn poll_readable(&self, cx: &mut Context<'_>) -> bool {
        self.poll_recv_ready(cx).is_ready()
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> bool {
        self.poll_send_ready(cx).is_ready()
    }
}

/// What a task waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    /// Octets from the peer.
    pub(crate) read: bool,
    /// Room for octets to the peer.
    pub(crate) write: bool,
}

/// Why a task woke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// The socket can be read, or written, or the worker poked.
    Io,
    /// The time is over.
    Deadline,
    /// The stream is gone; the task ends.
    Stopped,
}

/// Shared by the worker's state and one task.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    wants: Cell<Wants>,
    stopped: Cell<bool>,
    poked: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Signal {
    /// Says what to wait for.
    pub(crate) fn want(&self, wants: Wants) {
        if self.wants.replace(wants) != wants {
            self.wake();
        }
    }

    /// Ends the task.
    pub(crate) fn stop(&self) {
        self.stopped.set(true);
        self.wake();
    }

    /// Takes [`Signal::stop`] back. Of use only while the task has not noticed.
    pub(crate) fn go_on(&self) {
        self.stopped.set(false);
    }

    /// Whether [`Signal::stop`] was called last.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Wakes the task once, whatever the socket does.
    pub(crate) fn poke(&self) {
        self.poked.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn listen(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        match &mut *waker {
            Some(known) => known.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
    }

    /// Waits until [`Signal::stop`] was called.
    pub(crate) async fn stopped(&self) {
        poll_fn(|cx| {
            self.listen(cx);
            if self.stopped.get() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Waits until [`Signal::poke`] or [`Signal::stop`] was called, or until `deadline`.
    pub(crate) async fn poked(&self, mut deadline: Option<Pin<&mut Sleep>>) -> Ready {
        poll_fn(|cx| {
            let deadline = deadline.as_mut().map(Pin::as_mut);
            self.poll(cx, None, deadline)
        })
        .await
    }

    /// Waits until the socket has what is wanted of it, until a poke, until `deadline`, or until the end.
    pub(crate) async fn ready(
        &self,
        socket: &impl Waitable,
        mut deadline: Option<Pin<&mut Sleep>>,
    ) -> Ready {
        poll_fn(|cx| {
            let deadline = deadline.as_mut().map(Pin::as_mut);
            self.poll(cx, Some(socket), deadline)
        })
        .await
    }

    fn poll(
        &self,
        cx: &mut Context<'_>,
        socket: Option<&dyn Waitable>,
        deadline: Option<Pin<&mut Sleep>>,
    ) -> Poll<Ready> {
        self.listen(cx);
        if self.stopped.get() {
            return Poll::Ready(Ready::Stopped);
        }
        let wants = self.wants.get();
        let io = self.poked.take()
            | socket.is_some_and(|socket| {
                let read = wants.read && socket.poll_readable(cx);
                let write = wants.write && socket.poll_writable(cx);
                read || write
            });
        if io {
            return Poll::Ready(Ready::Io);
        }
        match deadline.map(|deadline| deadline.poll(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(Ready::Deadline),
            Some(Poll::Pending) | None => Poll::Pending,
        }
    }
}
