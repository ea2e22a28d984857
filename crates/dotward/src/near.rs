//! What every worker has of the near side, and what listeners need of the worker they serve.
//!
//! The first worker keeps the engine beside its [`Near`], further ones keep the way to it (see `crew`); a listener does not know
//! which of them it serves, only that questions go to a [`Far`].
//!
//! Promises: what is answered here touches nothing of the far side.
//!
//! Deliberately absent: waiting, upstreams, any look into messages.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, PoisonError, RwLock};

use dotward_core::exchange::{Asked, Request};
use dotward_core::front::Front;
use dotward_core::limits::{LATENESS_MAX, QUESTION_BUDGET};
use dotward_core::policy::Acl;
use dotward_core::rate::Pace;
use dotward_core::time::{Moment, WallSeconds};
use dotward_core::wire::Transport;
use dotward_udp::LocalAddress;
use rustls::Connection;
use rustls::pki_types::UnixTime;
use slotmap::{SlotMap, new_key_type};

use crate::clock::{self, WallClock};
use crate::counters::Counters;
use crate::events::Repeats;
use crate::gather;
use crate::listen::handshakes::HandshakeRate;
use crate::listen::stream::{ClientKey, Clients};
use crate::listen::udp::UdpPort;
use crate::signal::Signal;
use crate::stream::ReadBuffers;
use crate::tally::{AtOnce, ReplySource};
use crate::tls::server::ListenerTls;

new_key_type! {
    /// A worker's way out of one UDP address. That of an address that was given up leads nowhere.
    pub(crate) struct PortKey;
}

/// What is kept of a client who waits: where its reply goes, within one worker, and what is counted of it then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReplyTo {
    pub(crate) way: Way,
    /// Over what the query came.
    pub(crate) transport: Transport,
    /// Whether who asks is known to be at its address.
    pub(crate) proven: bool,
    /// When it arrived, which may be a while before it was read.
    pub(crate) since: Moment,
}

/// Where a reply goes, within one worker.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// Out of a UDP socket.
    Udp {
        /// Which of the worker's ports.
        port: PortKey,
        /// To whom.
        peer: SocketAddr,
        /// From which address of ours.
        local: LocalAddress,
        /// Who is charged for it; another than `peer` behind a load balancer.
        client: IpAddr,
    },
    /// Into a client's stream, if it still exists.
    Stream(ClientKey),
}

/// Who answers what cannot be answered here.
pub(crate) trait Far {
    /// Takes a question. Exactly one reply for `to` follows, at once or later, by [`Near::deliver`]. To be called through
    /// [`Near::forward`], so that the turn knows of it.
    fn forward(&mut self, request: Request, to: ReplyTo, now: Moment);

    /// Takes a question whose answer is kept and should be a newer one. Nobody waits for it, and it may be dropped. To be called through
    /// [`Near::refresh`].
    fn refresh(&mut self, asked: Asked, now: Moment);
}

/// A worker, as its listeners see it.
pub(crate) trait Host: Sized + 'static {
    /// Where its questions go.
    type Far: Far;

    /// Takes an input of clients and does everything that follows from it: replies leave, questions are on their way.
    fn near_turn<R>(
        self: &Rc<Self>,
        input: impl FnOnce(&mut Near, &mut Self::Far, Moment) -> R,
    ) -> R;
}

/// What a near side goes by: all of the configuration that it knows, replaced as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// How queries are judged.
    pub(crate) front: Arc<Front>,
    /// Who may have a stream.
    pub(crate) allow: Acl,
    /// Whose PROXY headers say who asks.
    pub(crate) balancers: Acl,
    /// How many TLS handshakes clients get.
    pub(crate) handshakes: Arc<HandshakeRate>,
}

fn transport_word(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
        Transport::Tls => "tls",
    }
}

/// The near side of one worker.
pub(crate) struct Near {
    pub(crate) front: Arc<Front>,
    /// One for each UDP address.
    pub(crate) ports: SlotMap<PortKey, UdpPort>,
    pub(crate) clients: Clients,
    pub(crate) buffers: ReadBuffers,
    /// A reply that needs no upstream, being written.
    pub(crate) reply: Vec<u8>,
    pub(crate) listen_tls: SharedListenerTls,
    /// Whose PROXY headers say who asks.
    pub(crate) balancers: Acl,
    /// How many TLS handshakes they get.
    pub(crate) handshakes: Arc<HandshakeRate>,
    pub(crate) counters: Arc<Counters>,
    /// Replies of this turn whose time is to be counted.
    pub(crate) at_once: AtOnce,
    pub(crate) wall: WallClock,
    /// Asks for a turn in which what waits is flushed.
    pub(crate) nudge: Rc<Signal>,
    /// Something was forwarded in this turn.
    forwarded: bool,
    /// Queries above a rate, as they are told of.
    limited: Repeats,
    /// Handshakes above a rate, likewise.
    refused: Repeats,
    /// Load balancers that send no PROXY header, likewise.
    headless: Repeats,
}

impl Near {
    /// A near side without sockets.
    pub(crate) fn new(
        front: Arc<Front>,
        clients: Clients,
        handshakes: Arc<HandshakeRate>,
        listen_tls: SharedListenerTls,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            front,
            ports: SlotMap::default(),
            clients,
            buffers: ReadBuffers::default(),
            reply: Vec::new(),
            listen_tls,
            balancers: Acl::new(&[]),
            handshakes,
            counters,
            at_once: AtOnce::default(),
            wall: WallClock::default(),
            nudge: Rc::default(),
            forwarded: false,
            limited: Repeats::default(),
            refused: Repeats::default(),
            headless: Repeats::default(),
        }
    }

    /// The wall clock as cookies bear it.
    pub(crate) fn wall_seconds(&mut self, now: Moment) -> WallSeconds {
        // Modulo 2^32 is what the format says.
        let [.., a, b, c, d] = self.wall.about(now).as_secs().to_be_bytes();
        WallSeconds(u32::from_be_bytes([a, b, c, d]))
    }

    /// Gives a question to whoever can answer it.
    pub(crate) fn forward(
        &mut self,
        far: &mut impl Far,
        request: Request,
        to: ReplyTo,
        now: Moment,
    ) {
        gather::note_forwarded();
        self.counters.forwarded.add(1);
        self.forwarded = true;
        self.tell_forwarded(&request, to);
        far.forward(request, to, now);
    }

    /// Names and addresses of clients, at debug and trace only, and only of what the cache does not answer.
    fn tell_forwarded(&self, request: &Request, to: ReplyTo) {
        tracing::debug!(
            client = self.client_of(to.way).map(tracing::field::display),
            transport = transport_word(to.transport),
            question = %request.asker.question,
            "a question goes to the upstreams"
        );
    }

    fn client_of(&self, way: Way) -> Option<IpAddr> {
        match way {
            Way::Udp { client, .. } => Some(client),
            Way::Stream(key) => self.clients.address_of(key),
        }
    }

    /// Has an answer that is kept asked for once more.
    pub(crate) fn refresh(&mut self, far: &mut impl Far, asked: Asked, now: Moment) {
        self.forwarded = true;
        far.refresh(asked, now);
    }

    /// A query was above its network's rate.
    pub(crate) fn note_limited(&mut self, now: Moment) {
        self.counters.limited.add(1);
        if let Some(queries) = self.limited.note(now) {
            tracing::warn!(
                queries,
                "queries over UDP above the rate of one client network (limits.rate, limits.octets); told to use TCP or dropped"
            );
        }
    }

    /// Whether a client gets a TLS handshake; counts and tells of it when not.
    pub(crate) fn admits_handshake(&mut self, address: IpAddr, now: Moment) -> bool {
        if self.handshakes.admit(address, now) {
            return true;
        }
        tracing::debug!(%address, "no handshake for a client");
        self.counters.handshakes_refused.add(1);
        if let Some(handshakes) = self.refused.note(now) {
            tracing::warn!(
                handshakes,
                "TLS handshakes above the rate of one client network (limits.handshakes); hung up on"
            );
        }
        false
    }

    /// What a load balancer sent does not begin with a PROXY header, or with none that is good.
    pub(crate) fn note_headless(&mut self, balancer: IpAddr, now: Moment) {
        self.counters.headless.add(1);
        if let Some(times) = self.headless.note(now) {
            tracing::warn!(
                %balancer, times,
                "no good PROXY header from an address in listen.proxy_from: not answered; have the balancer send one (version 2 over UDP), or take it \
                 out of listen.proxy_from"
            );
        }
    }

    /// Whether anything was forwarded since the last call.
    pub(crate) fn take_forwarded(&mut self) -> bool {
        std::mem::take(&mut self.forwarded)
    }

    /// Appends a reply to what leaves with the next [`Near::flush`], or less where a client network has had as much as it gets, or
    /// nothing where nobody waits any more.
    pub(crate) fn deliver(&mut self, to: ReplyTo, message: &[u8], now: Moment) {
        gather::note_answer();
        let took = now.since(to.since);
        let kind = (to.transport, ReplySource::Upstream);
        match to.way {
            // Nobody would believe it to be in time.
            Way::Udp { .. } if took > QUESTION_BUDGET + LATENESS_MAX => {
                self.counters.stale.add(1);
            }
            Way::Udp {
                port,
                peer,
                local,
                client,
            } => {
                let whose = (client, to.proven);
                let pace = self.front.pace_reply(whose, message, now, &mut self.reply);
                let message = match pace {
                    Pace::Within => message,
                    Pace::Truncate => &self.reply,
                    Pace::Silence => {
                        self.counters.tally.add_limited();
                        return self.note_limited(now);
                    }
                };
                self.counters.tally.add_reply(kind, message, took);
                match self.ports.get_mut(port) {
                    Some(port) => port.push(message, peer, local),
                    None => self.counters.lost.add(1),
                }
                if pace != Pace::Within {
                    self.note_limited(now);
                }
            }
            Way::Stream(key) => {
                self.counters.tally.add_reply(kind, message, took);
                self.clients.reply(key, message);
            }
        }
    }

    /// Sends all replies that wait: one system call for each UDP port and each stream.
    pub(crate) fn flush(&mut self) {
        self.clients.flush();
        let streams = u64::try_from(self.clients.count()).unwrap_or_default();
        self.counters.streams.set(streams);
        for port in self.ports.values_mut() {
            port.flush();
        }
    }

    /// Counts the reply that was written: it leaves in the turn its query came in.
    pub(crate) fn count_at_once(&mut self, transport: Transport, source: ReplySource) {
        let (tally, kind) = (&self.counters.tally, (transport, source));
        tally.add_reply_at_once(kind, &self.reply, &mut self.at_once);
    }

    /// Counts how long the replies of a turn took that began at `now`. Once a turn, after they left.
    pub(crate) fn end_turn(&mut self, now: Moment) {
        if !self.at_once.is_empty() {
            let took = clock::now().since(now);
            self.counters.tally.end_turn(&mut self.at_once, took);
        }
    }

    /// Closes the streams of clients whose certificates would not be believed now. A handshake under way, in which the certificate
    /// is still to come, may go on where it is judged by the same trust.
    pub(crate) fn let_go_of_distrusted(&mut self, same_trust: bool) {
        let tls = self.listen_tls.0.read();
        let tls = tls.unwrap_or_else(PoisonError::into_inner);
        let Some(tls) = &*tls else {
            return;
        };
        let date = UnixTime::now();
        let closed = self.clients.retain_tls(|it| match it.is_handshaking() {
            true => same_trust,
            false => tls.examine(it, date).is_ok(),
        });
        if closed > 0 {
            tracing::info!(closed, "clients let go whose certificates hold no longer");
        }
    }

    /// Goes by other terms from now on. Streams stay: whoever may not ask any more is told so when he does.
    pub(crate) fn adopt(&mut self, terms: Terms) {
        self.front = terms.front;
        self.clients.set_allowed(terms.allow);
        self.balancers = terms.balancers;
        self.handshakes = terms.handshakes;
    }

    /// Whether no reply waits here.
    pub(crate) fn owes_nothing(&self) -> bool {
        self.clients.owes_nothing() && self.ports.values().all(UdpPort::owes_nothing)
    }
}

/// What TLS listeners show, for all workers: replaced when its files change, read once for each client that connects.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedListenerTls(Arc<RwLock<Option<ListenerTls>>>);

impl SharedListenerTls {
    /// Makes `tls` what clients are shown from now on. False when it trusts other clients than what it replaces.
    pub(crate) fn replace(&self, tls: ListenerTls) -> bool {
        let mut place = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = &*place else {
            *place = Some(tls);
            return true;
        };
        let same_trust = tls.trusts_whom(before);
        *place = Some(tls.succeeding(before));
        same_trust
    }

    /// Whether this is what clients are shown; `None` where there is nothing to show yet.
    pub(crate) fn is_like(&self, tls: &ListenerTls) -> Option<bool> {
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        shown.as_ref().map(|it| it.is_like(tls))
    }

    /// What is left to check of a client's handshake that is over.
    ///
    /// # Errors
    ///
    /// What is wrong with the client's certificate.
    pub(crate) fn check(&self, connection: &Connection) -> Result<(), rustls::Error> {
        let tls = self.0.read().unwrap_or_else(PoisonError::into_inner);
        tls.as_ref().map_or(Ok(()), |it| it.check(connection))
    }

    /// The server's side of a connection, for a client of a TLS listener; `None` where there is nothing to show.
    pub(crate) fn accept(&self) -> Option<Result<Connection, rustls::Error>> {
        let tls = self.0.read().unwrap_or_else(PoisonError::into_inner);
        tls.as_ref().map(ListenerTls::accept)
    }
}
