//! How much a client gets: the table `[limits]`.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::layers::Values;
use super::value::Value;
use crate::settings::Id;

/// How much a client gets of what all clients share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitSettings {
    /// Queries a second over UDP from one client network; 0: no bound.
    pub rate: u32,
    /// Octets of replies a second over UDP to one client network; 0: no bound.
    pub octets: u32,
    /// Which queries above a rate are told to come over TCP: every n-th; 0: none.
    pub slip: u32,
    /// Bits of an IPv4 address that tell networks apart.
    pub prefix_v4: u8,
    /// The same of an IPv6 address.
    pub prefix_v6: u8,
    /// TLS handshakes a second for one client network; 0: no bound.
    pub handshakes: u32,
    /// Networks that are not counted.
    pub exempt: Vec<IpNet>,
    /// Clients connected over TCP and TLS at once.
    pub clients: usize,
    /// The same from one source.
    pub clients_per_source: usize,
}

impl LimitSettings {
    /// The settings of values that have all their defaults.
    pub(crate) fn of(values: &Values) -> Option<Self> {
        Some(Self {
            rate: number(values, Id::LimitRate)?,
            octets: number(values, Id::LimitOctets)?,
            slip: number(values, Id::LimitSlip)?,
            prefix_v4: number(values, Id::LimitPrefixV4)?.try_into().ok()?,
            prefix_v6: number(values, Id::LimitPrefixV6)?.try_into().ok()?,
            handshakes: number(values, Id::LimitHandshakes)?,
            exempt: networks(values, Id::LimitExempt),
            clients: number(values, Id::LimitClients)?.try_into().ok()?,
            clients_per_source: number(values, Id::LimitClientsPerSource)?.try_into().ok()?,
        })
    }
}

impl Default for LimitSettings {
    /// What holds when nobody says anything: the defaults of the table of settings (a test compares them).
    fn default() -> Self {
        let private = [
            "127.0.0.0/8",
            "::1/128",
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "fc00::/7",
            "fe80::/10",
        ];
        Self {
            rate: 1_000,
            octets: 100_000,
            slip: 2,
            prefix_v4: 32,
            prefix_v6: 56,
            handshakes: 100,
            exempt: private.iter().filter_map(|net| net.parse().ok()).collect(),
            clients: 2_048,
            clients_per_source: 100,
        }
    }
}

fn number(values: &Values, id: Id) -> Option<u32> {
    if let Value::Number(number) = values.one(id)?.value {
        Some(number)
    } else {
        None
    }
}

/// The networks of a list, each once.
pub(crate) fn networks(values: &Values, id: Id) -> Vec<IpNet> {
    let mut seen = BTreeSet::new();
    let mut networks = Vec::new();
    for parsed in values.all(id) {
        if let Value::Networks(some) = &parsed.value {
            networks.extend(some.iter().copied().filter(|network| seen.insert(*network)));
        }
    }
    networks
}

#[cfg(test)]
mod tests {
    use super::super::layers::Layers;
    use super::*;

    #[test]
    fn the_default_is_that_of_the_table() {
        let mut faults = Vec::new();
        let values = Layers::of_defaults().parse(&mut faults);
        assert!(faults.is_empty());
        let of_table = LimitSettings::of(&values).unwrap();
        assert_eq!(of_table, LimitSettings::default());
    }
}
