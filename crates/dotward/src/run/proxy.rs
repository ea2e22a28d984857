//! A proxy for programs and tests that embed it, and for the program itself.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;

use tokio::sync::watch;

use super::{Ended, Listening, Order, Prepared, StartError, StartFault, local_runtime};
use crate::config::{Config, ListenTransport};
use crate::listen::activation::{self, ActivationError};
use crate::reload::{self, ConfigSource};

/// A proxy on a thread of its own, for programs and tests that embed it.
#[derive(Debug)]
pub struct Proxy;

/// A proxy at work. Dropping it stops it as [`Running::stop`] does.
#[derive(Debug)]
pub struct Running {
    listening: Vec<Listening>,
    admin: Option<SocketAddr>,
    orders: watch::Sender<Order>,
    thread: Option<JoinHandle<io::Result<Ended>>>,
}

impl Proxy {
    /// Binds everything and serves on a thread of its own.
    ///
    /// # Errors
    ///
    /// [`StartError`] with every fault there is.
    pub fn start(config: Config) -> Result<Running, StartError> {
        Self::start_prepared(Prepared::new(config)?)
    }

    /// Serves on a thread of its own.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn start_prepared(prepared: Prepared) -> Result<Running, StartError> {
        let listening = prepared.listening();
        let admin = prepared.admin();
        let (orders, receiver) = watch::channel(Order::Serve);
        let thread = std::thread::Builder::new()
            .name("worker".into())
            .spawn(move || run(prepared.serve(receiver)))?;
        Ok(Running {
            listening,
            admin,
            orders,
            thread: Some(thread),
        })
    }

    /// Serves on this thread until `shutdown` says [`Order::Drain`] or [`Order::Abort`] is due, and reads the configuration again from `source` when
    /// that is asked for with the handle. `shutdown` is called before anything
    /// is bound, so that nobody sees a proxy that listens and does not obey yet, and one that never would does not start. The process gives up what the
    /// configuration does not need; there is no way back, so this is for the program, not for who embeds it.
    ///
    /// # Errors
    ///
    /// [`StartError`] with every fault there is.
    pub fn run<F: Future<Output = ()>>(
        config: Config,
        source: ConfigSource,
        shutdown: impl FnOnce(watch::Sender<Order>, reload::Handle) -> io::Result<F>,
    ) -> Result<Ended, StartError> {
        let (orders, receiver) = watch::channel(Order::Serve);
        let (handle, calls) = reload::channel();
        run(async {
            let shutdown = shutdown(orders, handle.clone())?;
            let passed = activation::take().map_err(refused)?;
            let prepared = Prepared::with_sockets(config, passed)?;
            let prepared = prepared.with_source(source, (handle, calls));
            let mut prepared = prepared.drop_privileges()?;
            prepared.enter_sandbox();
            let ended = tokio::select! {
                biased;
                () = shutdown => std::future::pending().await,
                ended = prepared.serve(receiver) => ended,
            };
            Ok(ended?)
        })
    }
}

/// Runs until `work` is done, and waits for nobody who looks at a file system that hangs.
fn run<T, E: From<io::Error>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let runtime = local_runtime()?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    done
}

fn refused(faults: Vec<ActivationError>) -> StartError {
    let faults = faults.into_iter().map(StartFault::Activation);
    StartError {
        faults: faults.collect(),
    }
}

impl Running {
    /// Where it listens, in the order of the configuration.
    pub fn listening(&self) -> &[Listening] {
        &self.listening
    }

    /// Where metrics and health are told.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The first address of a transport.
    pub fn address(&self, transport: ListenTransport) -> Option<SocketAddr> {
        let mut listening = self.listening.iter();
        listening
            .find(|listening| listening.transport == transport)
            .map(|listening| listening.address)
    }

    /// Orders an end without waiting for it.
    pub fn order(&self, order: Order) {
        self.orders.send_replace(order);
    }

    /// Ends in order and waits for it.
    ///
    /// # Errors
    ///
    /// When the proxy's thread had ended by a failure.
    pub fn stop(mut self) -> io::Result<Ended> {
        self.join()
    }

    fn join(&mut self) -> io::Result<Ended> {
        // An order to abort stands.
        self.orders.send_if_modified(|order| {
            let serving = *order == Order::Serve;
            if serving {
                *order = Order::Drain;
            }
            serving
        });
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            Some(Err(_)) => Err(io::Error::other("the worker panicked")),
            None => Ok(Ended { unanswered: 0 }),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.join() {
            tracing::error!(%error, "the proxy ended badly");
        }
    }
}
