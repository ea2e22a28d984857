//! Finds the addresses of upstreams that were given by name only, by asking upstreams that have addresses.
//!
//! Promises: asked over TLS with verification like everything else, never through the system's resolver and never through
//! ourselves (either may depend on us); tried again with growing pauses until it works, at once when there is news of the network, and looked up again when the
//! TTL has passed or the machine is elsewhere; a known address is kept while nothing better is found. Files of certificates are read when the proxy is prepared, with the rights it has
//! then, and again when they change (`trust`).
//!
//! Deliberately absent: any judgement of the answer but which addresses it holds.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dotward_core::upstream::UpstreamId;
use dotward_core::wire::{Class, Name, Question, RecordType, ResponseView, Section};
use rustls::pki_types::ServerName;
use tokio::task::AbortHandle;

use super::one_shot;
use crate::clock;
use crate::config::{Binding, Config, Disk, ReadFiles, UpstreamSettings};
use crate::events::Repeats;
use crate::limits::{
    BOOTSTRAP_ADDRESSES, BOOTSTRAP_KEPT, BOOTSTRAP_OVERTAKEN, BOOTSTRAP_PAUSE, BOOTSTRAP_UNREACHED,
};
use crate::network::news::Listener;
use crate::run::StartFault;
use crate::tls::client::UpstreamTls;
use crate::worker::Worker;

/// Who is asked, in order.
#[derive(Debug, Default)]
pub(crate) struct Helpers(Vec<Helper>);

/// One upstream to ask, ready to be asked.
#[derive(Debug)]
struct Helper {
    name: String,
    tls: RefCell<Arc<UpstreamTls>>,
    binding: Binding,
    endpoints: Vec<SocketAddr>,
}

impl Helpers {
    /// Reads what they are verified by. Those that cannot be used are faults.
    pub(crate) fn new(
        settings: &[UpstreamSettings],
        files: &dyn ReadFiles,
        faults: &mut Vec<StartFault>,
    ) -> Self {
        let helpers = settings.iter().filter_map(|settings| {
            let fault = |error| {
                faults.push(StartFault::UpstreamTls {
                    upstream: settings.name.clone(),
                    error,
                });
            };
            let tls = UpstreamTls::read(settings, files).map_err(fault).ok()?;
            Some(Helper {
                name: settings.name.clone(),
                tls: RefCell::new(Arc::new(tls)),
                binding: settings.binding.clone(),
                endpoints: settings.endpoints.clone(),
            })
        });
        Self(helpers.collect())
    }

    /// Files of all of them were read again: `others` are the same ones.
    fn adopt(&self, others: Self) {
        for (own, other) in self.0.iter().zip(others.0) {
            *own.tls.borrow_mut() = other.tls.into_inner();
        }
    }

    /// Files of the one in this place were read again.
    pub(crate) fn replace(&self, place: usize, tls: UpstreamTls) {
        if let Some(helper) = self.0.get(place)
            && !helper.tls.borrow().is_like(&tls)
        {
            tracing::info!(
                bootstrap = helper.name,
                "other certificates read; they hold from now on"
            );
            *helper.tls.borrow_mut() = Arc::new(tls);
        }
    }
}

/// What was found.
struct Found {
    addresses: Vec<IpAddr>,
    ttl: Duration,
}

/// Why nothing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NotFound {
    /// Nobody could be asked.
    Unreached,
    /// Who was asked knows no address.
    Unknown,
}

/// The tasks that look for addresses, one for each upstream that has none. Dropping it ends them.
#[derive(Debug, Default)]
pub(crate) struct Finders {
    /// Who is asked, as configured and ready to be asked.
    settings: Vec<UpstreamSettings>,
    helpers: Rc<Helpers>,
    tasks: Vec<Finder>,
}

/// One of them.
#[derive(Debug)]
struct Finder {
    upstream: UpstreamId,
    name: Name,
    port: u16,
    task: AbortHandle,
}

impl Drop for Finder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Finders {
    /// Looks for the addresses that `config` does not have, whose upstreams are called `ids`. What was looked for in the same way before goes
    /// on.
    pub(crate) fn set(
        &mut self,
        worker: &Rc<Worker>,
        config: &Config,
        ids: &[UpstreamId],
        helpers: Helpers,
    ) {
        if self.settings == config.bootstrap {
            self.helpers.adopt(helpers);
        } else {
            self.settings.clone_from(&config.bootstrap);
            self.helpers = Rc::new(helpers);
            self.tasks.clear();
        }
        let mut before = std::mem::take(&mut self.tasks);
        for (settings, upstream) in config.upstreams.iter().zip(ids) {
            let nameless = settings.endpoints.is_empty();
            let Some(name) = dns_name(settings).filter(|_| nameless) else {
                continue;
            };
            let (upstream, port) = (*upstream, settings.port);
            let known = before
                .iter()
                .position(|it| (it.upstream, &it.name, it.port) == (upstream, &name, port));
            if let Some(known) = known {
                self.tasks.push(before.swap_remove(known));
                continue;
            }
            let helpers = Rc::clone(&self.helpers);
            let task = find(Rc::clone(worker), upstream, name.clone(), port, helpers);
            let task = tokio::task::spawn_local(task).abort_handle();
            self.tasks.push(Finder {
                upstream,
                name,
                port,
                task,
            });
        }
    }

    /// Who is asked.
    pub(crate) fn helpers(&self) -> &Rc<Helpers> {
        &self.helpers
    }
}

/// Where to reach `upstream`: as configured, or as found by asking the helpers once. Empty when nothing was found.
pub(crate) async fn endpoints(config: &Config, upstream: &UpstreamSettings) -> Vec<SocketAddr> {
    if !upstream.endpoints.is_empty() {
        return upstream.endpoints.clone();
    }
    let Some(name) = dns_name(upstream) else {
        return Vec::new();
    };
    let mut faults = Vec::new();
    let helpers = Helpers::new(&config.bootstrap, &Disk, &mut faults);
    for fault in faults {
        if let StartFault::UpstreamTls { upstream, error } = fault {
            tracing::warn!(bootstrap = upstream, %error, "cannot be asked");
        }
    }
    let found = look_up(&helpers, &name, &Cell::new(0)).await.ok();
    let addresses = found.map(|found| found.addresses).unwrap_or_default();
    let endpoints = addresses.into_iter();
    endpoints
        .map(|ip| SocketAddr::new(ip, upstream.port))
        .collect()
}

fn dns_name(upstream: &UpstreamSettings) -> Option<Name> {
    let Some(ServerName::DnsName(name)) = &upstream.tls_name else {
        return None;
    };
    name.as_ref().parse().ok()
}

async fn find(
    worker: Rc<Worker>,
    upstream: UpstreamId,
    name: Name,
    port: u16,
    helpers: Rc<Helpers>,
) {
    let mut patience = Patience::default();
    let mut known = Vec::new();
    let mut news = worker.listen_to_news();
    let asked = Cell::new(0);
    loop {
        news.forget();
        let undisturbed = std::mem::take(&mut patience.overtaken);
        let found = tokio::select! {
            found = look_up(&helpers, &name, &asked) => found,
            () = overtaken(&mut news), if !undisturbed => {
                patience.begin_anew(&name);
                // It may have waited for somebody who never answers.
                asked.set(asked.get() + 1);
                continue;
            }
        };
        asked.set(0);
        let found = match found {
            Ok(found) => found,
            Err(NotFound::Unreached) if known.is_empty() => {
                patience.wait(&name, BOOTSTRAP_UNREACHED, &mut news).await;
                continue;
            }
            Err(NotFound::Unreached | NotFound::Unknown) => {
                patience.wait(&name, BOOTSTRAP_PAUSE.1, &mut news).await;
                continue;
            }
        };
        patience = Patience::default();
        let addresses = found.addresses.iter();
        let endpoints: Vec<SocketAddr> = addresses.map(|ip| SocketAddr::new(*ip, port)).collect();
        if endpoints != known {
            tracing::info!(upstream = %name, ?endpoints, "address found");
            known.clone_from(&endpoints);
            worker.turn(|state, _, now| state.engine.set_endpoints(upstream, endpoints, now));
            worker.look_at_network();
        }
        tokio::select! {
            () = tokio::time::sleep(found.ttl) => {}
            () = news.change() => {}
        }
    }
}

/// How long it is until the next try, and what is told of the tries.
struct Patience {
    pause: Duration,
    told: Repeats,
    /// The last try was overtaken. The next one is left to its end, so that news that do not cease do not keep anybody from being asked.
    overtaken: bool,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            pause: BOOTSTRAP_PAUSE.0,
            told: Repeats::default(),
            overtaken: false,
        }
    }
}

impl Patience {
    /// Waits after a try in vain, at most for `longest` and until there is news.
    async fn wait(&mut self, name: &Name, longest: Duration, news: &mut Listener) {
        let pause = self.pause.min(longest);
        self.tell(name, pause);
        self.pause = tokio::select! {
            () = tokio::time::sleep(pause) => pause * 2,
            () = news.hint() => BOOTSTRAP_PAUSE.0,
        };
    }

    /// A try was overtaken by news of the network.
    fn begin_anew(&mut self, name: &Name) {
        self.tell(name, Duration::ZERO);
        self.pause = BOOTSTRAP_PAUSE.0;
        self.overtaken = true;
    }

    fn tell(&mut self, name: &Name, again_in: Duration) {
        if let Some(tries) = self.told.note(clock::now()) {
            tracing::warn!(upstream = %name, tries, ?again_in, "address not found");
        }
    }
}

/// Waits until a try that is under way should begin anew.
async fn overtaken(news: &mut Listener) {
    news.hint().await;
    tokio::time::sleep(BOOTSTRAP_OVERTAKEN).await;
}

/// Asks one helper after the other, all of them, until one knows an address. It begins with the one whose place `asked` holds, which holds
/// the place of who is asked from then on. IPv4 addresses come first: a host without IPv6 is still more common than one without IPv4.
async fn look_up(helpers: &Helpers, name: &Name, asked: &Cell<usize>) -> Result<Found, NotFound> {
    let mut why = NotFound::Unreached;
    let all = helpers.0.iter().enumerate();
    let order = all.cycle().skip(asked.get() % helpers.0.len().max(1));
    for (place, helper) in order.take(helpers.0.len()) {
        asked.set(place);
        let tls = Arc::clone(&helper.tls.borrow());
        for endpoint in &helper.endpoints {
            let mut found = Found {
                addresses: Vec::new(),
                ttl: BOOTSTRAP_KEPT.1,
            };
            for qtype in [RecordType::A, RecordType::AAAA] {
                let question = Question::new(name, qtype, Class::IN);
                match one_shot::ask(&tls, &helper.binding, *endpoint, &question).await {
                    Ok(answer) => {
                        why = NotFound::Unknown;
                        collect(&answer.response, &mut found);
                    }
                    Err(error) => {
                        tracing::debug!(bootstrap = helper.name, %endpoint, %error, "no answer");
                        break;
                    }
                }
            }
            if !found.addresses.is_empty() {
                found.ttl = found.ttl.clamp(BOOTSTRAP_KEPT.0, BOOTSTRAP_KEPT.1);
                return Ok(found);
            }
        }
    }
    Err(why)
}

fn collect(response: &[u8], found: &mut Found) {
    let Ok(view) = ResponseView::parse(response) else {
        return;
    };
    let answers = view
        .records()
        .flatten()
        .filter(|record| record.section == Section::Answer);
    let bound = found.addresses.len() + BOOTSTRAP_ADDRESSES;
    for record in answers {
        if found.addresses.len() == bound {
            return;
        }
        let address = match (record.rtype, record.rdata.len()) {
            (RecordType::A, 4) => <[u8; 4]>::try_from(record.rdata)
                .ok()
                .map(|octets| IpAddr::V4(Ipv4Addr::from(octets))),
            (RecordType::AAAA, 16) => <[u8; 16]>::try_from(record.rdata)
                .ok()
                .map(|octets| IpAddr::V6(Ipv6Addr::from(octets))),
            _ => None,
        };
        found.ttl = found.ttl.min(Duration::from_secs(record.ttl.into()));
        found.addresses.extend(address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_very_many_addresses_the_first_ones_are_taken() {
        let count = 200_u8;
        let mut response = vec![0, 1, 0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0];
        response.extend(b"\x03dot\x07example\0\0\x01\0\x01");
        for last in 0..count {
            response.extend(b"\xc0\x0c\0\x01\0\x01\0\0\x0e\x10\0\x04");
            response.extend([192, 0, 2, last]);
        }
        let mut found = Found {
            addresses: Vec::new(),
            ttl: BOOTSTRAP_KEPT.1,
        };
        collect(&response, &mut found);
        let first = (0..8).map(|last| IpAddr::from([192, 0, 2, last]));
        assert_eq!(found.addresses, first.collect::<Vec<_>>());
        collect(&response, &mut found);
        assert_eq!(found.addresses.len(), 2 * BOOTSTRAP_ADDRESSES);
    }
}
