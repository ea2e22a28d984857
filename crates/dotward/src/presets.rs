//! The resolvers known by name: addresses, the name their certificate carries, who runs them where,
//! and what they do with queries, in one line each.
//!
//! Facts are the providers' own statements; a preset promises the addresses and the name only.
//! Deliberately absent: any ranking. The first is the default because the programs this one
//! replaces asked it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
}

impl Preset {
    /// All addresses, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4.iter().copied().map(IpAddr::V4);
        v4.chain(self.v6.iter().copied().map(IpAddr::V6))
    }
}
