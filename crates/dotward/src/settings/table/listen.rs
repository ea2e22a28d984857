//! Where clients are served, and which of them.

use super::{Change, ROW, key};
use crate::settings::{Default, Group, Id, Kind, Setting};

pub(super) const ROWS: &[Setting] = &[
    Setting {
        id: Id::Listen,
        change: Change::Restart,
        key: key("listen", "dns"),
        flag: Some("listen"),
        short: Some('l'),
        variable: Some("DOTWARD_LISTEN"),
        kind: Kind::Listen,
        many: true,
        default: Default::Values(&["127.0.0.1:53", "[::1]:53"]),
        example: "\"0.0.0.0:53\"",
        group: Group::Listen,
        help: "Addresses to serve",
        detail: "IP addresses or names of interfaces (Linux): eth0 is every address eth0 has or will have, [fe80::1%eth0] one of them. With udp://, tcp:// or tls:// before it for that one only, else what --proto says. Port 53 if none is given, 853 after tls://. \
                 Port 0 lets the system choose. The option and the variable replace listen.dns and \
                 listen.tls together; an empty listen.dns leaves only listen.tls.",
        ..ROW
    },
    Setting {
        id: Id::ListenTls,
        change: Change::Restart,
        key: key("listen", "tls"),
        kind: Kind::ListenTls,
        many: true,
        default: Default::Nothing("none"),
        example: "\"0.0.0.0:853\"",
        group: Group::Listen,
        help: "Addresses to serve over TLS (--listen tls://ADDR)",
        detail: "Needs listen.certificate and listen.key. Port 853 if none is given.",
        ..ROW
    },
    Setting {
        id: Id::ListenProto,
        change: Change::Restart,
        flag: Some("proto"),
        variable: Some("DOTWARD_PROTO"),
        kind: Kind::Choice(&["both", "udp", "tcp"]),
        default: Default::Values(&["both"]),
        example: "udp",
        group: Group::Listen,
        help: "Transport of addresses without a prefix: both, udp or tcp",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::ListenAllow,
        key: key("listen", "allow"),
        flag: Some("allow"),
        variable: Some("DOTWARD_ALLOW"),
        kind: Kind::Network,
        many: true,
        default: Default::Values(&["loopback", "private"]),
        example: "\"192.0.2.0/24\"",
        group: Group::Listen,
        help: "Networks that may ask",
        detail: "Networks in CIDR form, addresses, or the words loopback, private and any. loopback is 127.0.0.0/8 and ::1; private is 10.0.0.0/8, 172.16.0.0/12, \
                 192.168.0.0/16, 169.254.0.0/16, fc00::/7 and fe80::/10.",
        ..ROW
    },
    Setting {
        id: Id::ListenDeny,
        key: key("listen", "deny"),
        flag: Some("deny"),
        variable: Some("DOTWARD_DENY"),
        kind: Kind::Choice(&["refuse", "silent"]),
        default: Default::Values(&["refuse"]),
        example: "\"silent\"",
        group: Group::Listen,
        help: "What others get: refuse (REFUSED, a few a second) or silent",
        detail: "Over TCP and TLS their connections are closed in either case.",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::ListenCertificate,
        key: key("listen", "certificate"),
        flag: Some("listen-cert"),
        variable: Some("DOTWARD_LISTEN_CERT"),
        example: "\"/etc/dotward/server.pem\"",
        group: Group::Listen,
        help: "Certificate chain (PEM) shown to clients that ask over TLS",
        detail: "Read again within seconds when the file changes.",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::ListenKey,
        key: key("listen", "key"),
        flag: Some("listen-key"),
        variable: Some("DOTWARD_LISTEN_KEY"),
        example: "\"/etc/dotward/server.key\"",
        group: Group::Listen,
        help: "Private key (PEM) of that certificate",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::ListenClientCa,
        key: key("listen", "client_ca"),
        flag: Some("listen-client-ca"),
        variable: Some("DOTWARD_LISTEN_CLIENT_CA"),
        default: Default::Nothing("none: no certificate is asked for"),
        example: "\"/etc/dotward/clients.pem\"",
        group: Group::Listen,
        help: "Roots (PEM) of the certificates clients must show over TLS",
        detail: "Clients without a certificate of one of these are refused in the handshake, also when it resumes an earlier one. Clients that ask over UDP or TCP show \
                 none: listen there on trusted addresses only. Read again within seconds when the file changes; connections it no longer allows are closed.",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::ListenProxyFrom,
        key: key("listen", "proxy_from"),
        flag: Some("proxy-from"),
        variable: Some("DOTWARD_PROXY_FROM"),
        kind: Kind::Network,
        many: true,
        default: Default::Nothing("none"),
        example: "\"192.0.2.10\"",
        group: Group::Listen,
        help: "Load balancers whose PROXY header names the client",
        detail: "Connections and datagrams from these networks must begin with a PROXY header (version 2; version 1 over TCP and TLS too), and the address in \
                 it is the client's for listen.allow, limits and logs. From everywhere else a header ends the connection. A datagram is believed to come from the \
                 address on it, which can be forged: over UDP only where the network keeps others from using the balancer's.",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::ListenControl,
        change: Change::Restart,
        key: key("listen", "control"),
        flag: Some("control"),
        variable: Some("DOTWARD_CONTROL"),
        default: Default::Nothing("$RUNTIME_DIRECTORY/control.sock where set"),
        example: "\"/run/dotward/control.sock\"",
        group: Group::Listen,
        help: "Unix socket that takes orders (dotward status, drain and others), or off",
        detail: "Only the user that runs the program, and root, may use it. systemd sets RUNTIME_DIRECTORY where the unit has RuntimeDirectory=. \
                 The commands look in the same places and, where nobody says anything, at /run/dotward/control.sock.",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::ListenFreebind,
        change: Change::Restart,
        key: key("listen", "freebind"),
        flag: Some("freebind"),
        variable: Some("DOTWARD_FREEBIND"),
        kind: Kind::YesNo,
        default: Default::Nothing("false"),
        example: "true",
        group: Group::Listen,
        help: "Listen on addresses the machine does not have yet",
        detail: "Interfaces too. They are served as soon as they appear, and again when they come back (Linux: IP_FREEBIND). Without it such an address keeps the program from starting.",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::Takeover,
        change: Change::Restart,
        flag: Some("takeover"),
        kind: Kind::Switch,
        default: Default::Nothing("no"),
        group: Group::Listen,
        help: "Share the ports with the dotward that runs, and have it drain and end",
        detail: "Without it a second start says that the address is in use, and by whom. Both have to be started by the same user.",
        rare: true,
        ..ROW
    },
];
