//! The resolvers known by name: addresses, the name their certificate carries, who runs them where,
//! and what they do with queries, in one line each.
//!
//! Policies are the providers' own statements, shortened; what a preset promises are the addresses and the
//! name. Deliberately absent: any ranking. The first is the default because the programs this one
//! replaces asked it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustls::pki_types::{DnsName, ServerName};

use crate::config::{Config, Protocol, Strategy, UpstreamSettings};

/// One provider of public DNS over TLS.
#[derive(Debug, PartialEq, Eq)]
pub struct Preset {
    /// What `--upstream` calls it.
    pub name: &'static str,
    /// Who runs it.
    pub provider: &'static str,
    /// The name its certificate carries.
    pub tls_name: &'static str,
    /// Its IPv4 addresses, in the order they are tried.
    pub v4: &'static [Ipv4Addr],
    /// Its IPv6 addresses.
    pub v6: &'static [Ipv6Addr],
    /// Under whose law it is run.
    pub jurisdiction: &'static str,
    /// What it filters and what it keeps, in its own words shortened.
    pub policy: &'static str,
    /// What somebody who chooses it has to know first.
    pub notice: Option<&'static str>,
}

/// All presets; the first is the default.
pub static PRESETS: &[Preset] = &[
    Preset {
        name: "cloudflare",
        provider: "Cloudflare, Inc.",
        tls_name: "cloudflare-dns.com",
        v4: &[Ipv4Addr::new(1, 1, 1, 1), Ipv4Addr::new(1, 0, 0, 1)],
        v6: &[
            Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111),
            Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1001),
        ],
        jurisdiction: "United States",
        policy: "no filtering; client addresses not kept, logs deleted within 25 hours",
        notice: None,
    },
    Preset {
        name: "quad9",
        provider: "Quad9 Foundation",
        tls_name: "dns.quad9.net",
        v4: &[Ipv4Addr::new(9, 9, 9, 9), Ipv4Addr::new(149, 112, 112, 112)],
        v6: &[
            Ipv6Addr::new(0x2620, 0xfe, 0, 0, 0, 0, 0, 0xfe),
            Ipv6Addr::new(0x2620, 0xfe, 0, 0, 0, 0, 0, 9),
        ],
        jurisdiction: "Switzerland",
        policy: "blocks malicious names; client addresses not kept",
        notice: None,
    },
    Preset {
        name: "google",
        provider: "Google LLC",
        tls_name: "dns.google",
        v4: &[Ipv4Addr::new(8, 8, 8, 8), Ipv4Addr::new(8, 8, 4, 4)],
        v6: &[
            Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888),
            Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8844),
        ],
        jurisdiction: "United States",
        policy: "no filtering; full client addresses kept for 24 to 48 hours",
        notice: None,
    },
    Preset {
        name: "adguard",
        provider: "AdGuard Software Ltd",
        tls_name: "dns.adguard-dns.com",
        v4: &[
            Ipv4Addr::new(94, 140, 14, 14),
            Ipv4Addr::new(94, 140, 15, 15),
        ],
        v6: &[
            Ipv6Addr::new(0x2a10, 0x50c0, 0, 0, 0, 0, 0xad1, 0xff),
            Ipv6Addr::new(0x2a10, 0x50c0, 0, 0, 0, 0, 0xad2, 0xff),
        ],
        jurisdiction: "Cyprus",
        policy: "blocks advertising and trackers; no personal query logs",
        notice: None,
    },
    Preset {
        name: "mullvad",
        provider: "Mullvad VPN AB",
        tls_name: "dns.mullvad.net",
        v4: &[Ipv4Addr::new(194, 242, 2, 2)],
        v6: &[Ipv6Addr::new(0x2a07, 0xe340, 0, 0, 0, 0, 0, 2)],
        jurisdiction: "Sweden",
        policy: "no filtering; no query logs",
        notice: Some(
            "Mullvad announced the end of this service for 2 November 2026 and sponsors quad9 instead",
        ),
    },
    Preset {
        name: "dns4eu",
        provider: "DNS4EU consortium (Whalebone s.r.o.)",
        tls_name: "protective.joindns4.eu",
        v4: &[Ipv4Addr::new(86, 54, 11, 1), Ipv4Addr::new(86, 54, 11, 201)],
        v6: &[
            Ipv6Addr::new(0x2a13, 0x1001, 0, 0, 0x86, 0x54, 0x11, 1),
            Ipv6Addr::new(0x2a13, 0x1001, 0, 0, 0x86, 0x54, 0x11, 0x201),
        ],
        jurisdiction: "European Union (Czechia)",
        policy: "blocks malicious names; query logs anonymised",
        notice: None,
    },
];

impl Preset {
    /// All addresses, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4.iter().copied().map(IpAddr::V4);
        v4.chain(self.v6.iter().copied().map(IpAddr::V6))
    }

    /// The name its certificate carries, ready for TLS.
    pub fn server_name(&self) -> ServerName<'static> {
        #[expect(clippy::expect_used, reason = "a test proves it for every row")]
        let name = DnsName::try_from(self.tls_name).expect("a DNS name");
        ServerName::DnsName(name)
    }
}

/// The lines a start prints: who is asked about what, and how to choose another.
pub fn start_lines(config: &Config) -> Vec<String> {
    let general = config.upstreams_of(None);
    let asked = in_tiers(&general, config.strategy);
    // Whoever chose knows how to.
    let choose = match general.as_slice() {
        [one] if one.preset.is_some() && one.preset == PRESETS.first() => {
            "; choose another with --upstream NAME, see dotward upstream list"
        }
        _ => "",
    };
    let mut lines = vec![format!("queries go to {asked}{choose}")];
    let notices = config.upstreams.iter().filter_map(|upstream| {
        let notice = upstream.preset?.notice?;
        Some(format!("about {}: {notice}", upstream.name))
    });
    lines.extend(notices);
    for route in &config.routes {
        let asked = in_tiers(&config.upstreams_of(Some(route)), route.strategy);
        let otherwise = match route.fallback {
            true => ", and where all others go when that fails",
            false => "",
        };
        lines.push(format!(
            "those below {} go to {asked}{otherwise}",
            route.names()
        ));
    }
    lines
}

/// Upstreams in the order in which they stand in for each other.
fn in_tiers(upstreams: &[&UpstreamSettings], strategy: Strategy) -> String {
    let mut tiers: BTreeMap<u8, Vec<String>> = BTreeMap::new();
    for upstream in upstreams {
        let tier = tiers.entry(upstream.tier.unwrap_or(1)).or_default();
        tier.push(describe(upstream));
    }
    let between = match strategy {
        Strategy::Ordered => ", then ",
        Strategy::Fastest | Strategy::RoundRobin | Strategy::Hash | Strategy::Race => " and ",
    };
    let tiers: Vec<_> = tiers.values().map(|tier| tier.join(between)).collect();
    tiers.join("; while none of these is well to ")
}

fn describe(upstream: &UpstreamSettings) -> String {
    match (upstream.preset, upstream.protocol) {
        (Some(preset), _) => {
            format!(
                "{} ({}, {})",
                upstream.name, preset.provider, preset.jurisdiction
            )
        }
        (None, Protocol::Tls) => upstream.name.clone(),
        (None, Protocol::Tcp | Protocol::Udp) => format!("{} (unencrypted)", upstream.spec()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_preset_is_complete_and_no_address_or_name_belongs_to_two() {
        let mut seen = BTreeSet::new();
        for preset in PRESETS {
            assert!(matches!(preset.server_name(), ServerName::DnsName(_)));
            assert!(
                !preset.v4.is_empty() && !preset.v6.is_empty(),
                "{}",
                preset.name
            );
            assert!(seen.insert(preset.name.to_owned()));
            assert!(seen.insert(preset.tls_name.to_owned()));
            for address in preset.addresses() {
                assert!(seen.insert(address.to_string()), "{address}");
            }
        }
    }

    #[test]
    fn who_chooses_a_service_that_ends_is_told() {
        let ends: Vec<_> = PRESETS
            .iter()
            .filter(|preset| preset.notice.is_some())
            .collect();
        assert_eq!(ends.len(), 1);
        assert_eq!(ends[0].name, "mullvad");
    }

    #[test]
    fn the_addresses_are_those_the_providers_publish() {
        let published = [
            (
                "cloudflare",
                "1.1.1.1 1.0.0.1 2606:4700:4700::1111 2606:4700:4700::1001",
            ),
            ("quad9", "9.9.9.9 149.112.112.112 2620:fe::fe 2620:fe::9"),
            (
                "google",
                "8.8.8.8 8.8.4.4 2001:4860:4860::8888 2001:4860:4860::8844",
            ),
            (
                "adguard",
                "94.140.14.14 94.140.15.15 2a10:50c0::ad1:ff 2a10:50c0::ad2:ff",
            ),
            ("mullvad", "194.242.2.2 2a07:e340::2"),
            (
                "dns4eu",
                "86.54.11.1 86.54.11.201 2a13:1001::86:54:11:1 2a13:1001::86:54:11:201",
            ),
        ];
        for (preset, (name, addresses)) in PRESETS.iter().zip(published) {
            assert_eq!(preset.name, name);
            let ours: Vec<_> = preset.addresses().map(|ip| ip.to_string()).collect();
            assert_eq!(ours.join(" "), addresses);
        }
    }
}
