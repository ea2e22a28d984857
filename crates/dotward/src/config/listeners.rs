//! Where queries are received: addresses, and interfaces whose addresses are found out later.

use super::build::Parts;
use super::fault::{Clash, Fault, Problem};
use super::layers::Level;
use super::place::Place;
use super::value::{ListenPlace, ListenText, Value};
use super::{ListenAddress, ListenInterface, ListenTransport};
use crate::settings::Id;

/// The listeners with the places where they are written.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    pub(super) addresses: Vec<(ListenAddress, Place)>,
    pub(super) interfaces: Vec<(ListenInterface, Place)>,
}

impl Listeners {
    fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.interfaces.is_empty()
    }

    fn add(&mut self, at: &ListenPlace, transport: ListenTransport, place: &Place) {
        match at {
            &ListenPlace::Address(address) => {
                let listener = ListenAddress { address, transport };
                let known = self.addresses.iter().any(|(known, _)| *known == listener);
                // Port 0 is another port each time.
                if !known || address.port() == 0 {
                    self.addresses.push((listener, place.clone()));
                }
            }
            ListenPlace::Interface { name, only, port } => {
                let listener = ListenInterface {
                    name: name.clone(),
                    only: *only,
                    port: *port,
                    transport,
                };
                if !self.interfaces.iter().any(|(known, _)| *known == listener) {
                    self.interfaces.push((listener, place.clone()));
                }
            }
        }
    }

    /// Refuses what the system refuses: two sockets of one kind and port where one has the address of the other too.
    fn refuse_overlaps(&self, faults: &mut Vec<Fault>) {
        for (place, (later, written)) in self.addresses.iter().enumerate() {
            let mut earlier = self.addresses.iter().take(place).map(|(it, _)| it);
            if let Some(first) = earlier.find(|first| overlap(first, later)) {
                let problem = Clash::Listeners {
                    one: listener_text(later),
                    other: listener_text(first),
                };
                let fault = Fault::new(written, problem);
                // Once for what is served over UDP and TCP.
                if !faults.contains(&fault) {
                    faults.push(fault);
                }
            }
        }
    }

    /// The first one that speaks TLS, as it is written in messages.
    pub(super) fn first_tls(&self) -> Option<(String, &Place)> {
        let addresses = self.addresses.iter();
        let mut addresses =
            addresses.map(|(it, place)| (it.transport, it.address.to_string(), place));
        let interfaces = self.interfaces.iter();
        let interfaces = interfaces.map(|(it, place)| (it.transport, it.to_string(), place));
        let is_tls = |(transport, _, _): &(ListenTransport, String, &Place)| {
            *transport == ListenTransport::Tls
        };
        let found = addresses
            .find(is_tls)
            .or_else(|| interfaces.into_iter().find(is_tls));
        found.map(|(_, written, place)| (written, place))
    }

    /// The ports of all.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> {
        let addresses = self.addresses.iter().map(|(it, _)| it.address.port());
        addresses.chain(self.interfaces.iter().map(|(it, _)| it.port))
    }
}

/// The listeners of the configuration; none only after a fault, or where the values are at fault.
pub(super) fn build(parts: &Parts<'_>, faults: &mut Vec<Fault>) -> Listeners {
    let values = parts.values;
    let mut listeners = Listeners::default();
    let list = parts.layers.strongest(Id::Listen);
    // The option and the variable speak for TLS listeners too.
    let from_file = list.is_none_or(|(level, _)| level <= Level::File);
    let tls = if from_file {
        values.all(Id::ListenTls)
    } else {
        &[]
    };
    let default = default_transports(values.word(Id::ListenProto));
    for parsed in values.all(Id::Listen).iter().chain(tls) {
        if let Value::Listen(ListenText { place, transport }) = &parsed.value {
            let transports = transport.as_ref().map_or(default, std::slice::from_ref);
            for &transport in transports {
                listeners.add(place, transport, &parsed.place);
            }
        }
    }
    listeners.refuse_overlaps(faults);
    let said = parts.layers.texts(Id::Listen).len() + parts.layers.texts(Id::ListenTls).len();
    if listeners.is_empty() && said == 0 {
        let place = list.map_or(Place::Default, |(_, place)| place.clone());
        faults.push(Fault::new(&place, Problem::NoListener));
    }
    listeners
}

fn overlap(one: &ListenAddress, other: &ListenAddress) -> bool {
    let is_udp = |it: &ListenAddress| it.transport == ListenTransport::Udp;
    let (first, second) = (one.address.ip(), other.address.ip());
    let everywhere = first.is_unspecified() || second.is_unspecified();
    is_udp(one) == is_udp(other)
        && one.address.port() == other.address.port()
        && one.address.port() != 0
        && (first == second || everywhere && first.is_ipv4() == second.is_ipv4())
        && one != other
}

fn listener_text(listener: &ListenAddress) -> String {
    match listener.transport {
        ListenTransport::Udp | ListenTransport::Tcp => listener.address.to_string(),
        ListenTransport::Tls => format!("tls://{}", listener.address),
    }
}

fn default_transports(proto: Option<&str>) -> &'static [ListenTransport] {
    match proto {
        Some("udp") => &[ListenTransport::Udp],
        Some("tcp") => &[ListenTransport::Tcp],
        Some(_) | None => &[ListenTransport::Udp, ListenTransport::Tcp],
    }
}
