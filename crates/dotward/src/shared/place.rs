//! Where the shared cache is: what its URL says.
//!
//! ```text
//! redis://[USER@]HOST[:PORT][/DB]                              one server, or what looks like one
//! unix:///PATH
//! redis+sentinel://[USER@]HOST[:PORT],HOST[:PORT],…/NAME[/DB]  who is the master of NAME is asked of sentinels
//! redis+cluster://[USER@]HOST[:PORT],HOST[:PORT],…             nodes that know the others of their cluster
//! ```
//!
//! `rediss` in place of `redis`: over TLS, all of it. Ports are 6379, and 26379 of a sentinel, unless said.
//!
//! Deliberately absent: passwords (they come from files).

use std::collections::BTreeSet;
use std::net::IpAddr;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use crate::limits::SHARED_SEEDS;

const SENTINEL_PORT: u16 = 26_379;

/// Where the shared cache is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(super) kind: Kind,
    /// The server, the sentinels, or nodes of the cluster; never empty. What is said of the database and the user is the same for all.
    pub(super) nodes: Vec<ConnectionInfo>,
}

/// Who is behind the addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    One,
    /// They know who is the master of this name.
    Sentinels {
        master: String,
    },
    Cluster,
}

/// The TCP ports that are connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ports {
    /// These.
    Known(BTreeSet<u16>),
    /// Whichever sentinels or nodes name.
    Any,
}

impl Place {
    /// Understands a URL; `None` when it is none.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (tls, kind) = match scheme.split_once('+') {
            Some((base, kind)) => (base, Some(kind)),
            None => (scheme, None),
        };
        match (tls, kind) {
            ("redis" | "rediss" | "unix", None) => {
                let node = url.into_connection_info().ok()?;
                Some(Self {
                    kind: Kind::One,
                    nodes: vec![node],
                })
            }
            ("redis" | "rediss", Some("sentinel")) => Self::sentinels(tls, rest),
            ("redis" | "rediss", Some("cluster")) => {
                let authority = rest.strip_suffix('/').unwrap_or(rest);
                let nodes = nodes(tls, authority, "", 6_379)?;
                Some(Self {
                    kind: Kind::Cluster,
                    nodes,
                })
            }
            _ => None,
        }
    }

    fn sentinels(tls: &str, rest: &str) -> Option<Self> {
        let (authority, path) = rest.split_once('/')?;
        let (master, database) = path.split_once('/').unwrap_or((path, ""));
        // What a sentinel takes as a name, so that nothing of a query or a fragment becomes one.
        let is_name = |octet: u8| octet.is_ascii_alphanumeric() || b".-_".contains(&octet);
        if master.is_empty() || !master.bytes().all(is_name) {
            return None;
        }
        Some(Self {
            kind: Kind::Sentinels {
                master: master.to_owned(),
            },
            nodes: nodes(tls, authority, database, SENTINEL_PORT)?,
        })
    }

    /// Whether all connections are over TLS.
    pub(crate) fn is_tls(&self) -> bool {
        let is_tls = |node: &ConnectionInfo| matches!(node.addr(), ConnectionAddr::TcpTls { .. });
        self.nodes.iter().all(is_tls)
    }

    /// Whether sentinels are asked.
    pub(crate) fn has_sentinels(&self) -> bool {
        matches!(self.kind, Kind::Sentinels { .. })
    }

    /// Whether nobody on the way can write what is read: TLS, or this machine. Who is named by others may be anywhere.
    pub(crate) fn is_authenticated(&self) -> bool {
        let is_here = |node: &ConnectionInfo| match node.addr() {
            ConnectionAddr::Tcp(host, _) => address(host).is_some_and(|ip| ip.is_loopback()),
            ConnectionAddr::Unix(_) => true,
            ConnectionAddr::TcpTls { .. } | _ => false,
        };
        self.is_tls() || (self.kind == Kind::One && self.nodes.iter().all(is_here))
    }

    /// Whether addresses of names may have to be found.
    pub(crate) fn has_names(&self) -> bool {
        let is_name = |node: &ConnectionInfo| host(node).is_some_and(|it| address(it).is_none());
        self.kind != Kind::One || self.nodes.iter().any(is_name)
    }

    /// The TCP ports of the shared cache.
    pub(crate) fn ports(&self) -> Ports {
        let port = |node: &ConnectionInfo| match node.addr() {
            ConnectionAddr::Tcp(_, port) | ConnectionAddr::TcpTls { port, .. } => Some(*port),
            ConnectionAddr::Unix(_) | _ => None,
        };
        match self.kind {
            Kind::One => Ports::Known(self.nodes.iter().filter_map(port).collect()),
            Kind::Sentinels { .. } | Kind::Cluster => Ports::Any,
        }
    }
}

/// The nodes of a list; each by what the client itself understands of a URL.
fn nodes(tls: &str, authority: &str, database: &str, port: u16) -> Option<Vec<ConnectionInfo>> {
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), authority),
    };
    let foreign = |text: &str| text.contains(['?', '#', '/', '@']);
    if foreign(hosts) || foreign(database) {
        return None;
    }
    let node = |host: &str| {
        let is_bare = host.ends_with(']') || !host.contains(':');
        let port = if is_bare {
            format!(":{port}")
        } else {
            String::new()
        };
        let url = format!("{tls}://{user}{host}{port}/{database}");
        url.into_connection_info().ok().filter(|_| !host.is_empty())
    };
    let nodes: Vec<_> = hosts.split(',').map(node).collect::<Option<_>>()?;
    (nodes.len() <= SHARED_SEEDS).then_some(nodes)
}

fn host(node: &ConnectionInfo) -> Option<&str> {
    match node.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => Some(host),
        ConnectionAddr::Unix(_) | _ => None,
    }
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_matches(['[', ']']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Place {
        Place::parse(url).unwrap()
    }

    fn addresses(place: &Place) -> Vec<String> {
        place.nodes.iter().map(|it| it.addr().to_string()).collect()
    }

    #[test]
    fn lists_of_sentinels_and_of_nodes_are_understood() {
        let sentinels = place("redis+sentinel://dot@a.test,[2001:db8::1]:1,192.0.2.1/main-1/3");
        assert_eq!(
            addresses(&sentinels),
            ["a.test:26379", "2001:db8::1:1", "192.0.2.1:26379"]
        );
        let master = "main-1".to_owned();
        assert_eq!(sentinels.kind, Kind::Sentinels { master });
        let settings = sentinels.nodes[1].redis_settings();
        assert_eq!((settings.username(), settings.db()), (Some("dot"), 3));
        for url in [
            "rediss+cluster://a.test,b.test:7000",
            "rediss+cluster://a.test,b.test:7000/",
        ] {
            let cluster = place(url);
            assert_eq!(addresses(&cluster), ["a.test:6379", "b.test:7000"]);
            assert!(cluster.is_tls() && cluster.is_authenticated());
        }
        for bad in [
            "redis+sentinel://a.test",
            "redis+sentinel://a.test/",
            "redis+sentinel:///main",
            "redis+sentinel://a.test,/main",
            "redis+sentinel://a.test/main?x",
            "redis+sentinel://a.test/main/x",
            "redis+sentinel://a.test#main",
            "redis+cluster://",
            "redis+cluster://a.test/1",
            "redis+cluster://a.test,b.test:port",
            "redis+other://a.test",
            "unix+cluster:///run/store.sock",
        ] {
            assert!(Place::parse(bad).is_none(), "{bad}");
        }
        let many = vec!["a.test"; SHARED_SEEDS + 1].join(",");
        assert!(Place::parse(&format!("redis+cluster://{many}")).is_none());
    }

    #[test]
    fn an_open_line_is_trusted_on_this_machine_only_and_only_to_whom_it_leads() {
        for (url, expected) in [
            ("redis://127.0.0.1", true),
            ("redis://[::1]:1", true),
            ("unix:///run/store.sock", true),
            ("rediss://cache.test", true),
            ("rediss+sentinel://cache.test/main", true),
            ("redis://192.0.2.1", false),
            ("redis://localhost", false),
            ("redis+sentinel://127.0.0.1/main", false),
            ("redis+cluster://127.0.0.1", false),
        ] {
            assert_eq!(place(url).is_authenticated(), expected, "{url}");
        }
    }

    #[test]
    fn what_the_sandbox_has_to_leave_open_is_known() {
        let known = |ports: &[u16]| Ports::Known(ports.iter().copied().collect());
        assert_eq!(place("redis://a.test").ports(), known(&[6379]));
        assert_eq!(place("unix:///run/store.sock").ports(), known(&[]));
        assert_eq!(place("redis+cluster://192.0.2.1").ports(), Ports::Any);
        assert!(place("redis://a.test").has_names());
        assert!(!place("redis://192.0.2.1:1").has_names());
        assert!(!place("unix:///run/store.sock").has_names());
        assert!(place("redis+sentinel://192.0.2.1/main").has_names());
    }
}
