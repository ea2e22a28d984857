//! How much a client gets of what all clients share.

use super::{ROW, key};
use crate::settings::{Default, Group, Id, Kind, Setting};

const fn number(min: u32, max: u32) -> Kind {
    Kind::Number { min, max }
}

pub(super) const ROWS: &[Setting] = &[
    Setting {
        id: Id::LimitRate,
        key: key("limits", "rate"),
        kind: number(0, 100_000),
        default: Default::Values(&["1000"]),
        example: "200",
        group: Group::Listen,
        help: "Queries a second over UDP from one client network; 0 for no bound",
        detail: "Above it queries get a truncated reply, so that clients come over TCP, where addresses cannot be forged, or dropped (limits.slip). One second's worth may come at once. \
                 Networks in limits.exempt are not counted.",
        ..ROW
    },
    Setting {
        id: Id::LimitOctets,
        key: key("limits", "octets"),
        kind: number(0, 1_000_000_000),
        default: Default::Values(&["100000"]),
        example: "50000",
        group: Group::Listen,
        help: "Octets of replies a second over UDP to one client network; 0 for no bound",
        detail: "Bounds what somebody gains who asks for long answers under another's address. Above it the network's queries are treated as above limits.rate, and so are answers that come from upstreams all at once.",
        ..ROW
    },
    Setting {
        id: Id::LimitSlip,
        key: key("limits", "slip"),
        kind: number(0, 100),
        default: Default::Values(&["2"]),
        example: "1",
        group: Group::Listen,
        help: "Of the queries above a rate, every n-th gets a truncated reply (try TCP); 0 for none",
        detail: "The others are dropped. 1 answers all, so that an honest client never waits; the reply is no longer than the query, but for the 16 octets of a server cookie where one is due.",
        ..ROW
    },
    Setting {
        id: Id::LimitPrefixV4,
        key: key("limits", "prefix_v4"),
        kind: number(8, 32),
        default: Default::Values(&["32"]),
        example: "24",
        group: Group::Listen,
        help: "Bits of an IPv4 address that tell client networks apart",
        ..ROW
    },
    Setting {
        id: Id::LimitPrefixV6,
        key: key("limits", "prefix_v6"),
        kind: number(16, 128),
        default: Default::Values(&["56"]),
        example: "64",
        group: Group::Listen,
        help: "Bits of an IPv6 address that tell client networks apart",
        ..ROW
    },
    Setting {
        id: Id::LimitHandshakes,
        key: key("limits", "handshakes"),
        kind: number(0, 100_000),
        default: Default::Values(&["100"]),
        example: "10",
        group: Group::Listen,
        help: "TLS handshakes a second for one client network; 0 for no bound",
        detail: "One second's worth may come at once; above it clients are hung up on before anything is read. Networks in limits.exempt are not counted. Whoever asks for them, one listener begins at most 500 a second, and more wait.",
        ..ROW
    },
    Setting {
        id: Id::LimitExempt,
        key: key("limits", "exempt"),
        kind: Kind::Network,
        many: true,
        default: Default::Values(&["loopback", "private"]),
        example: "\"loopback\", \"203.0.113.7\"",
        group: Group::Listen,
        help: "Networks whose queries over UDP and TLS handshakes are not counted",
        detail: "As in listen.allow. Forged addresses of private networks do not come from outside, so the default leaves a home or an office alone and protects \
                 others as soon as listen.allow is opened to the world. An empty list counts everybody.",
        ..ROW
    },
    Setting {
        id: Id::LimitClients,
        key: key("limits", "clients"),
        kind: number(1, 1_000_000),
        default: Default::Values(&["2048"]),
        example: "10000",
        group: Group::Listen,
        help: "Clients connected over TCP and TLS at once",
        detail: "The next one takes a place of the source that has the most: first of who only connected, once these are more than an eighth, then of the one idle longest. There are fewer when the system grants fewer descriptors (RLIMIT_NOFILE); the log says so.",
        ..ROW
    },
    Setting {
        id: Id::LimitClientsPerSource,
        key: key("limits", "clients_per_source"),
        kind: number(1, 1_000_000),
        default: Default::Values(&["100"]),
        example: "25",
        group: Group::Listen,
        help: "The same from one IPv4 address or one IPv6 /56",
        detail: "Each worker counts those it has, so where several are at work one source may have several times as many, all within limits.clients.",
        ..ROW
    },
];
