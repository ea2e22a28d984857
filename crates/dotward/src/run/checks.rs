//! What is found out about a configuration on this machine before anything is served.
//!
//! Deliberately absent: what the configuration says by itself (`config`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use super::StartFault;
use crate::config::{Config, ListenAddress, UpstreamSettings, own_endpoint};
use crate::upstream::dial;

/// What is not permitted is a fault; an interface or an address that is not there may come. Source addresses are not tried where the
/// process has given them up (`sources`): that is another fault, with another remedy.
pub(crate) fn bindings(config: &Config, sources: bool, faults: &mut Vec<StartFault>) {
    let possible = |it: &&UpstreamSettings| sources || it.binding.source.is_empty();
    for upstream in config.upstreams.iter().filter(possible) {
        let name = &upstream.name;
        match dial::check(&upstream.binding) {
            Ok(()) => {}
            Err(error) if error.is_permanent() => faults.push(StartFault::Binding {
                upstream: name.clone(),
                error,
            }),
            Err(error) => {
                tracing::warn!(upstream = name, %error, "it is tried again with every connection");
            }
        }
    }
}

/// Refuses upstreams that are this very proxy: a question to one would come back for ever.
pub(crate) fn loops(config: &Config, listeners: &[ListenAddress], faults: &mut Vec<StartFault>) {
    for upstream in &config.upstreams {
        if let Some(endpoint) = own_endpoint(listeners, upstream, is_own_address) {
            let upstream = upstream.name.clone();
            faults.push(StartFault::Loop { upstream, endpoint });
        }
    }
}

/// Whether the address is one of this machine's: the kernel reaches those from the same address, but for loopback ones. Nothing is sent.
fn is_own_address(ip: IpAddr) -> bool {
    if ip.is_loopback() {
        return true;
    }
    let unspecified: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = UdpSocket::bind((unspecified, 0)).and_then(|socket| {
        // Any port will do, but 0.
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == ip)
}
