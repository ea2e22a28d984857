//! The rows. Order: by group, as help and manual print them.
//!
//! `Change::Restart` stands wherever no code path applies a changed value to a running process.

use std::time::Duration;

use super::{Change, Default, Group, Id, Key, Kind, Setting};

mod routes;
mod upstreams;

const fn top(name: &'static str) -> Option<Key> {
    Some(Key {
        table: "",
        repeated: false,
        name,
    })
}

const fn key(table: &'static str, name: &'static str) -> Option<Key> {
    Some(Key {
        table,
        repeated: false,
        name,
    })
}

const fn field(table: &'static str, name: &'static str) -> Option<Key> {
    Some(Key {
        table,
        repeated: true,
        name,
    })
}

/// What a row does not say.
const ROW: Setting = Setting {
    id: Id::Listen,
    key: None,
    flag: None,
    short: None,
    variable: None,
    kind: Kind::Path,
    many: false,
    default: Default::Nothing("none"),
    example: "",
    group: Group::Expert,
    help: "",
    detail: "",
    change: Change::Restart,
    rare: false,
};

/// Every setting there is.
pub static SETTINGS: &[Setting] = &joined::<49>([&LISTEN, &upstreams::ROWS, &routes::ROWS, &REST]);

/// One list of several. A wrong total does not compile, because it leaves rows over or reaches beyond them.
const fn joined<const N: usize>(parts: [&[Setting]; 4]) -> [Setting; N] {
    let mut all = [ROW; N];
    let (mut part, mut row, mut next) = (0, 0, 0);
    while part < parts.len() {
        if row < parts[part].len() {
            all[next] = parts[part][row];
            (row, next) = (row + 1, next + 1);
        } else {
            (part, row) = (part + 1, 0);
        }
    }
    assert!(next == N);
    all
}

const LISTEN: [Setting; 6] = [
    Setting {
        id: Id::Listen,
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
        detail: "With udp://, tcp:// or tls:// before it for that one only, else what --proto says. Port 53 if none is given, 853 after tls://. \
                 Port 0 lets the system choose. The option and the variable replace listen.dns and \
                 listen.tls together; an empty listen.dns leaves only listen.tls.",
        ..ROW
    },
    Setting {
        id: Id::ListenTls,
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
        flag: Some("proto"),
        variable: Some("DOTWARD_PROTO"),
        kind: Kind::Choice(&["both", "udp", "tcp"]),
        default: Default::Values(&["both"]),
        example: "udp",
        group: Group::Listen,
        help: "both, udp or tcp, where no prefix says",
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
];

const REST: [Setting; 15] = [
    Setting {
        id: Id::ForwardSpecial,
        key: key("privacy", "forward_special"),
        flag: Some("forward-special"),
        variable: Some("DOTWARD_FORWARD_SPECIAL"),
        kind: Kind::Suffix,
        many: true,
        example: "\"test\", \"192.168.0.0/16\"",
        group: Group::Privacy,
        help: "Special-use names to forward like any other",
        rare: true,
        detail: "They are answered here, because asking outside would leak them and nobody outside knows them: localhost, local, internal, test, invalid, onion, alt, \
                 home.arpa, resolver.arpa and the reverse names of private networks. A route for them needs no entry here.",
        ..ROW
    },
    Setting {
        id: Id::LogLevel,
        key: key("log", "level"),
        flag: Some("log-level"),
        variable: Some("DOTWARD_LOG_LEVEL"),
        kind: Kind::Choice(&["off", "error", "warn", "info", "debug", "trace"]),
        default: Default::Values(&["info"]),
        example: "\"warn\"",
        group: Group::Observe,
        help: "Least severe level written",
        detail: "One of off, error, warn, info, debug, trace. Names asked for and addresses of clients appear at debug and trace only.",
        ..ROW
    },
    Setting {
        id: Id::LogFormat,
        key: key("log", "format"),
        flag: Some("log-format"),
        variable: Some("DOTWARD_LOG_FORMAT"),
        kind: Kind::Choice(&["text", "json"]),
        default: Default::Values(&["text"]),
        example: "\"json\"",
        group: Group::Observe,
        help: "Form of a line: text or json",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::LogFile,
        key: key("log", "file"),
        flag: Some("log-file"),
        variable: Some("DOTWARD_LOG_FILE"),
        default: Default::Values(&["stderr"]),
        example: "\"/var/log/dotward.log\"",
        group: Group::Observe,
        help: "Where lines are appended: a file, or stderr",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::Debug,
        flag: Some("debug"),
        short: Some('d'),
        kind: Kind::Switch,
        default: Default::Nothing("no"),
        group: Group::Observe,
        help: "Same as --log-level debug",
        ..ROW
    },
    Setting {
        id: Id::ConfigFile,
        flag: Some("config"),
        short: Some('c'),
        variable: Some("DOTWARD_CONFIG"),
        default: Default::Nothing("/etc/dotward/dotward.toml"),
        example: "dotward.toml",
        group: Group::Expert,
        help: "Configuration file",
        detail: "The default is read if it exists. Paths in the file are relative to the directory the file is in.",
        ..ROW
    },
    Setting {
        id: Id::Drain,
        key: key("runtime", "drain"),
        flag: Some("drain"),
        variable: Some("DOTWARD_DRAIN"),
        kind: Kind::Duration {
            min: Duration::ZERO,
            max: Duration::from_secs(60),
        },
        default: Default::Values(&["2s"]),
        example: "\"5s\"",
        group: Group::Expert,
        help: "Time to answer what is in flight when told to stop",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::Compat,
        variable: Some("DOTWARD_COMPAT"),
        kind: Kind::Choice(&["b", "c", "off"]),
        default: Default::Nothing("decided by which names are set"),
        example: "off",
        group: Group::Expert,
        help: "Which older proxy's variables are read: b, c, or off for none",
        ..ROW
    },
    Setting {
        id: Id::LocalName,
        key: field("local", "name"),
        kind: Kind::DomainName,
        default: Default::Nothing("must be given"),
        example: "\"nas.home.arpa\"",
        group: Group::Expert,
        help: "The name of records answered here",
        ..ROW
    },
    Setting {
        id: Id::LocalA,
        key: field("local", "a"),
        kind: Kind::Ipv4,
        many: true,
        example: "\"192.168.1.20\"",
        group: Group::Expert,
        help: "Its IPv4 addresses",
        ..ROW
    },
    Setting {
        id: Id::LocalAaaa,
        key: field("local", "aaaa"),
        kind: Kind::Ipv6,
        many: true,
        example: "\"fd00::20\"",
        group: Group::Expert,
        help: "Its IPv6 addresses",
        ..ROW
    },
    Setting {
        id: Id::LocalTxt,
        key: field("local", "txt"),
        kind: Kind::Text,
        many: true,
        example: "\"in the cellar\"",
        group: Group::Expert,
        help: "Its texts",
        ..ROW
    },
    Setting {
        id: Id::LocalPtr,
        key: field("local", "ptr"),
        kind: Kind::DomainName,
        many: true,
        example: "\"nas.home.arpa\"",
        group: Group::Expert,
        help: "The names an address stands for, where name is one of in-addr.arpa or ip6.arpa",
        ..ROW
    },
    Setting {
        id: Id::LocalCname,
        key: field("local", "cname"),
        kind: Kind::DomainName,
        example: "\"nas.home.arpa\"",
        group: Group::Expert,
        help: "The name it is an alias of; no other record may stand beside it",
        ..ROW
    },
    Setting {
        id: Id::LocalTtl,
        key: field("local", "ttl"),
        kind: Kind::Seconds { max: 604_800 },
        default: Default::Nothing("300"),
        example: "300",
        group: Group::Expert,
        help: "How long the records may be kept, in seconds",
        ..ROW
    },
];
