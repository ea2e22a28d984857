//! The workers: the first one, which is a whole proxy, and those that help it when it is busy.
//!
//! Promises:
//! - At ordinary load the first worker is alone: a question wakes one thread.
//! - Further workers answer what needs no upstream; everything else is decided by the one engine, so that equal questions are asked
//!   once and each upstream has few connections.
//! - Workers join and leave without losing a query, a connection or a reply (see `readers`, `further`).
//!
//! Deliberately absent: listeners' sockets being made, configuration, signals.

pub(crate) mod busy;
mod further;
pub(crate) mod link;
mod readers;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{JoinHandle, available_parallelism};
use std::time::Duration;

use dotward_udp::BatchSocket;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::clock;
use crate::config::Workers;
use crate::counters::Counters;
use crate::limits::{LEAVE_LOOK, WORKERS_AGAIN, WORKERS_MAX};
use crate::listen::handshakes::Turnstile;
use crate::listen::places::Places;
use crate::listen::stream::Clients;
use crate::listen::{accept, udp};
use crate::near::{Host, Near, SharedListenerTls, Terms};
use crate::signal::Ready;
use crate::worker::{self, State, Worker};

use busy::Balance;
use link::{Instruction, Link};
use readers::Readers;

pub(crate) use readers::{AddressId, UdpSockets};

/// How many workers there may be.
pub(crate) fn most(workers: Workers) -> usize {
    match workers {
        Workers::Auto => available_parallelism().map_or(1, NonZeroUsize::get),
        Workers::Number(number) => usize::from(number.get()),
    }
    .min(WORKERS_MAX)
}

/// How many work whether they are needed or not.
fn at_once(workers: Workers) -> usize {
    match workers {
        Workers::Auto => 1,
        Workers::Number(_) => most(workers),
    }
}

/// What every worker's near side is made of.
#[derive(Clone)]
pub(crate) struct Supplies {
    pub(crate) terms: Terms,
    /// The ports are somebody else's, who keeps them when this process ends.
    pub(crate) keeps_ports: bool,
    pub(crate) places: Arc<Places>,
    pub(crate) listen_tls: SharedListenerTls,
}

impl Supplies {
    /// The near side of a worker that counts there.
    pub(crate) fn near(&self, counters: Arc<Counters>) -> Near {
        let mut near = Near::new(
            Arc::clone(&self.terms.front),
            Clients::new(self.terms.allow.clone(), Arc::clone(&self.places)),
            Arc::clone(&self.terms.handshakes),
            self.listen_tls.clone(),
            counters,
        );
        near.balancers = self.terms.balancers.clone();
        near
    }

    /// Loopback may ask, nothing is kept, and eight clients find a place.
    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        use dotward_core::cache::Cache;
        use dotward_core::front::{Deny, Front, FrontConfig, OptionsConfig};
        use dotward_core::policy::{Acl, PolicyConfig};

        let allow = Acl::new(&["127.0.0.0/8".parse().unwrap()]);
        let front = Front::new(FrontConfig {
            allow: allow.clone(),
            policy: PolicyConfig::default(),
            cache: Arc::new(Cache::off()),
            options: OptionsConfig::default(),
            deny: Deny::default(),
            tells_kept: true,
            rate: None,
        });
        Self {
            terms: Terms {
                front: Arc::new(front),
                allow,
                balancers: Acl::new(&[]),
                handshakes: Arc::default(),
            },
            keeps_ports: false,
            places: Arc::new(Places::new(8, 8)),
            listen_tls: SharedListenerTls::default(),
        }
    }
}

/// All workers.
pub(crate) struct Crew {
    first: Rc<Worker>,
    supplies: RefCell<Supplies>,
    /// Those of all UDP addresses.
    sockets: RefCell<Vec<UdpSockets>>,
    /// The name of the next UDP address.
    next_address: Cell<u64>,
    /// What the first worker reads.
    readers: RefCell<Readers>,
    threads: RefCell<Vec<JoinHandle<()>>>,
    links: RefCell<Vec<Arc<Link>>>,
    /// Poked by further workers.
    called: Arc<Notify>,
    balance: RefCell<Balance>,
    /// Something could not be had, and the first worker does everything until it is tried again.
    alone: Cell<bool>,
    draining: Cell<bool>,
}

impl Crew {
    /// The first worker and as many more as `workers` demands at once. To be called within the first worker's runtime.
    pub(crate) fn start(
        first: Rc<Worker>,
        workers: Workers,
        supplies: Supplies,
    ) -> io::Result<Rc<Self>> {
        let readers = Readers::open(&first, &[], 0);
        let crew = Rc::new(Self {
            balance: RefCell::new(Balance::new(most(workers), clock::now())),
            first,
            supplies: RefCell::new(supplies),
            sockets: RefCell::default(),
            next_address: Cell::new(0),
            readers: RefCell::new(readers),
            threads: RefCell::default(),
            links: RefCell::default(),
            called: Arc::default(),
            alone: Cell::new(false),
            draining: Cell::new(false),
        });
        crew.set_active(at_once(workers))?;
        tokio::task::spawn_local(run(Rc::clone(&crew), workers));
        Ok(crew)
    }

    /// The first worker.
    pub(crate) fn first(&self) -> &Rc<Worker> {
        &self.first
    }

    /// Serves one UDP address more; `sockets` has one for each worker there may be.
    ///
    /// # Errors
    ///
    /// When the system refuses a socket its place in the event loop; the address is not served then.
    pub(crate) fn open(&self, sockets: Vec<Arc<BatchSocket>>) -> io::Result<AddressId> {
        let address = AddressId(self.next_address.get());
        self.next_address.set(address.0 + 1);
        let sockets = UdpSockets {
            address,
            sockets: sockets.into(),
        };
        let added = self.readers.borrow_mut().add(&self.first, sockets.clone());
        if let Err(error) = added {
            self.readers.borrow_mut().remove(&self.first, address);
            return Err(error);
        }
        self.sockets.borrow_mut().push(sockets.clone());
        for link in self.links.borrow().iter() {
            link.tell(Instruction::Open(sockets.clone()));
        }
        Ok(address)
    }

    /// Serves one UDP address less.
    pub(crate) fn shut(&self, address: AddressId) {
        self.sockets.borrow_mut().retain(|it| it.address != address);
        self.readers.borrow_mut().remove(&self.first, address);
        for link in self.links.borrow().iter() {
            link.tell(Instruction::Shut(address));
        }
    }

    /// Has every worker, those to come included, go by `terms` from now on.
    pub(crate) fn replace_terms(&self, terms: &Terms) {
        self.supplies.borrow_mut().terms = terms.clone();
        self.first.near_turn(|near, _, _| near.adopt(terms.clone()));
        for link in self.links.borrow().iter() {
            link.tell(Instruction::Terms(Box::new(terms.clone())));
        }
    }

    /// What every worker goes by.
    pub(crate) fn terms(&self) -> Terms {
        self.supplies.borrow().terms.clone()
    }

    /// How many client streams there may be.
    pub(crate) fn places(&self) -> Arc<Places> {
        Arc::clone(&self.supplies.borrow().places)
    }

    /// Has the first `active` workers work, and starts those that are missing.
    fn set_active(&self, active: usize) -> io::Result<()> {
        while self.links.borrow().len() + 1 < active {
            self.hire()?;
        }
        self.first.turn(|state, _, _| state.active = active);
        self.readers.borrow_mut().share(&self.first, active)?;
        for link in self.links.borrow().iter() {
            link.tell(Instruction::Share { active });
        }
        Ok(())
    }

    /// Starts one more worker.
    fn hire(&self) -> io::Result<()> {
        let link = Arc::new(Link::new(Arc::clone(&self.called)));
        let thread = further::start(further::Kit {
            number: self.links.borrow().len() + 1,
            link: Arc::clone(&link),
            supplies: self.supplies.borrow().clone(),
            sockets: self.sockets.borrow().clone(),
        })?;
        self.threads.borrow_mut().push(thread);
        self.links.borrow_mut().push(Arc::clone(&link));
        self.first
            .turn(|state, _, _| state.further.push(worker::Further::new(link)));
        Ok(())
    }

    /// Sees how busy everybody is and acts on it.
    fn look(&self) {
        let now = clock::now();
        let own = self.first.turn(|state, _, now| {
            state.busy.look(now, &state.near.counters);
            state.near.counters.cpu.get()
        });
        let links = self.links.borrow();
        let further: u64 = links.iter().map(|link| link.counters.cpu.get()).sum();
        drop(links);
        let spent = Duration::from_nanos(own.saturating_add(further));
        let before = self.balance.borrow().active();
        if !self.balance.borrow_mut().look(spent, now) {
            return;
        }
        let active = self.balance.borrow().active();
        match self.set_active(active) {
            Ok(()) => tracing::info!(before, active, "the number of active workers changed"),
            Err(error) => {
                tracing::error!(%error, again_in = ?WORKERS_AGAIN, "no more workers can be had");
                self.work_alone();
            }
        }
    }

    /// The first worker does everything for a while.
    fn work_alone(&self) {
        let until = clock::now() + WORKERS_AGAIN;
        self.balance.borrow_mut().stay_alone(until);
        self.alone.set(true);
        if let Err(error) = self.set_active(1) {
            tracing::error!(%error, again_in = ?WORKERS_AGAIN, "UDP sockets are not read");
        }
    }

    /// That while is over: as many work as `workers` demands at once; others join when they are needed.
    fn try_again(&self, workers: Workers) {
        self.alone.set(false);
        let active = self.balance.borrow().active();
        if let Err(error) = self.set_active(at_once(workers).max(active)) {
            tracing::error!(%error, again_in = ?WORKERS_AGAIN, "no more workers can be had");
            self.work_alone();
        }
    }

    /// Takes no more queries, and waits until what is in flight is answered, at most `limit`. Gives back how many questions were not.
    pub(crate) async fn drain(&self, limit: Duration) -> usize {
        self.draining.set(true);
        if !self.supplies.borrow().keeps_ports {
            let sockets = self.sockets.borrow();
            let sockets = sockets.iter().flat_map(|it| it.sockets.iter());
            sockets.for_each(|it| udp::depart(it));
        }
        let readings = self.readers.borrow_mut().stop();
        // The others take nobody more.
        self.first.turn(|state, _, _| state.active = 1);
        for link in self.links.borrow().iter() {
            link.tell(Instruction::Drain);
        }
        readers::ended(readings).await;
        self.first.drain(limit).await
    }

    /// Says goodbye to everybody and waits for the threads to end.
    pub(crate) fn close(&self) {
        self.first.close();
        for link in self.links.borrow().iter() {
            link.tell(Instruction::Close);
        }
        for thread in self.threads.borrow_mut().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }
}

/// Serves what further workers call for, and watches how busy everybody is. Ends with the first worker.
async fn run(crew: Rc<Crew>, workers: Workers) {
    let auto = workers == Workers::Auto;
    // They go on over everything else that happens: what a few questions bring would put them off for ever.
    let mut leave_look = pin!(tokio::time::sleep(LEAVE_LOOK));
    let mut again = pin!(tokio::time::sleep(WORKERS_AGAIN));
    let mut was_alone = false;
    loop {
        let fewer = auto && crew.balance.borrow().active() > 1;
        let alone = crew.alone.get();
        if alone && !was_alone {
            again.as_mut().reset(Instant::now() + WORKERS_AGAIN);
        }
        was_alone = alone;
        let look = tokio::select! {
            () = crew.called.notified() => {
                crew.first.turn(|state, _, now| state.take_handed(now));
                let failed = crew.links.borrow().iter().any(|link| link.take_failed());
                if failed && !crew.draining.get() {
                    crew.work_alone();
                }
                false
            }
            ready = crew.first.crew().poked(None) => {
                if ready == Ready::Stopped {
                    return;
                }
                true
            }
            () = &mut leave_look, if fewer => {
                leave_look.as_mut().reset(Instant::now() + LEAVE_LOOK);
                true
            }
            () = &mut again, if alone && !crew.draining.get() => {
                was_alone = false;
                crew.try_again(workers);
                false
            }
        };
        if look && auto && !crew.draining.get() {
            crew.look();
        }
    }
}

/// Serves a client that connected, by the active worker that has the fewest; when all places are taken by the one that has the most, active
/// or not, because only it can make room.
pub(crate) fn place(
    first: &Rc<Worker>,
    socket: TcpStream,
    address: SocketAddr,
    tls: Option<Arc<Turnstile>>,
) {
    let Some(link) = first.turn(|state, _, _| choose(state)) else {
        accept::admit(first, socket, address, tls);
        return;
    };
    match socket.into_std() {
        Ok(socket) => link.tell(Instruction::Admit {
            socket,
            address,
            tls,
        }),
        Err(error) => tracing::debug!(%error, %address, "a client is let go"),
    }
}

/// The worker for the next client; `None` for the first one.
fn choose(state: &State) -> Option<Arc<Link>> {
    let full = state.near.clients.are_full();
    let mut chosen = (state.near.clients.count(), None);
    let among = match full {
        true => state.further.len(),
        false => state.active.saturating_sub(1),
    };
    for further in state.further.iter().take(among) {
        // One that does not keep up gets no more.
        let Some(streams) = further.link.streams() else {
            continue;
        };
        let (most, _) = chosen;
        if if full { streams > most } else { streams < most } {
            chosen = (streams, Some(&further.link));
        }
    }
    chosen.1.map(Arc::clone)
}

#[cfg(test)]
mod tests;
