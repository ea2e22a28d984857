//! Who is asked, how, and about what.

use super::{PIN_MODES, ROW, STRATEGY_WORDS, field, key, top};
use crate::settings::{Default, Group, Id, Kind, Setting};

pub(super) const ROWS: &[Setting] = &[
    Setting {
        id: Id::Upstream,
        key: top("upstream"),
        flag: Some("upstream"),
        short: Some('u'),
        variable: Some("DOTWARD_UPSTREAM"),
        kind: Kind::Spec,
        many: true,
        default: Default::Values(&["cloudflare"]),
        example: "\"quad9\", \"tls://dot.example@192.0.2.53\"",
        group: Group::Upstreams,
        help: "Upstream to ask",
        detail: "A preset, tls://NAME@ADDR, tls://NAME and more, see SPEC. In the file either this list, or one [[upstream]] table for each.",
        ..ROW
    },
    Setting {
        id: Id::UpstreamName,
        key: field("upstream", "name"),
        kind: Kind::Label,
        default: Default::Nothing("preset, TLS name or address"),
        example: "\"office\"",
        group: Group::Upstreams,
        help: "Its name in logs, metrics and commands; unique",
        ..ROW
    },
    Setting {
        id: Id::UpstreamPreset,
        key: field("upstream", "preset"),
        kind: Kind::Preset,
        example: "\"quad9\"",
        group: Group::Upstreams,
        help: "A known provider, instead of address and tls_name (dotward upstream list)",
        ..ROW
    },
    Setting {
        id: Id::UpstreamAddress,
        key: field("upstream", "address"),
        kind: Kind::Endpoint,
        many: true,
        default: Default::Nothing("found through bootstrap"),
        example: "\"10.1.0.53\", \"[2001:db8::53]:853\"",
        group: Group::Upstreams,
        help: "Where it is reached, the preferred first",
        ..ROW
    },
    Setting {
        id: Id::UpstreamPort,
        key: field("upstream", "port"),
        kind: Kind::Port,
        default: Default::Nothing("853"),
        example: "853",
        group: Group::Upstreams,
        help: "Port of the addresses that name none",
        ..ROW
    },
    Setting {
        id: Id::UpstreamTlsName,
        key: field("upstream", "tls_name"),
        kind: Kind::TlsName,
        example: "\"dns.corp.example\"",
        group: Group::Upstreams,
        help: "The name, or the address, its certificate must carry",
        ..ROW
    },
    Setting {
        id: Id::UpstreamPin,
        key: field("upstream", "pin"),
        kind: Kind::Pin,
        many: true,
        example: "\"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"",
        group: Group::Upstreams,
        help: "Its public key must be one of these",
        ..ROW
    },
    Setting {
        id: Id::UpstreamCaFile,
        key: field("upstream", "ca_file"),
        default: Default::Nothing("tls.ca_file"),
        example: "\"/etc/dotward/corp-ca.pem\"",
        group: Group::Upstreams,
        help: "Roots (PEM) for this upstream only",
        ..ROW
    },
    Setting {
        id: Id::UpstreamClientCert,
        key: field("upstream", "client_cert"),
        default: Default::Nothing("tls.client_cert"),
        example: "\"/etc/dotward/client.pem\"",
        group: Group::Upstreams,
        help: "Certificate chain (PEM) shown to this upstream if it asks",
        ..ROW
    },
    Setting {
        id: Id::UpstreamClientKey,
        key: field("upstream", "client_key"),
        default: Default::Nothing("tls.client_key"),
        example: "\"/etc/dotward/client.key\"",
        group: Group::Upstreams,
        help: "Private key (PEM) of that certificate",
        ..ROW
    },
    Setting {
        id: Id::UpstreamPinMode,
        key: field("upstream", "pin_mode"),
        kind: PIN_MODES,
        default: Default::Nothing("tls.pin_mode"),
        example: "\"report\"",
        group: Group::Upstreams,
        help: "What a key that is none of the pinned ones leads to: enforce or report",
        detail: "An upstream with nothing but pins to verify it by cannot have report.",
        ..ROW
    },
    Setting {
        id: Id::UpstreamSource,
        key: field("upstream", "source"),
        kind: Kind::Ip,
        many: true,
        default: Default::Nothing("chosen by the system"),
        example: "\"192.0.2.7\", \"2001:db8::7\"",
        group: Group::Upstreams,
        help: "Address of ours to connect from, one of each family at most",
        ..ROW
    },
    Setting {
        id: Id::UpstreamInterface,
        key: field("upstream", "interface"),
        kind: Kind::Interface,
        default: Default::Nothing("any"),
        example: "\"wg0\"",
        group: Group::Upstreams,
        help: "Network interface to connect through (SO_BINDTODEVICE, Linux)",
        ..ROW
    },
    Setting {
        id: Id::UpstreamMark,
        key: field("upstream", "mark"),
        kind: Kind::Number {
            min: 1,
            max: u32::MAX,
        },
        example: "51",
        group: Group::Upstreams,
        help: "Mark of its packets for routing rules and firewalls (SO_MARK, Linux)",
        detail: "Needs CAP_NET_ADMIN.",
        ..ROW
    },
    Setting {
        id: Id::UpstreamTier,
        key: field("upstream", "tier"),
        kind: Kind::Number { min: 1, max: 9 },
        default: Default::Nothing("1; if a route names it, none"),
        example: "2",
        group: Group::Upstreams,
        help: "Asked only while none of a lower tier works; one without a tier serves the routes that name it and nobody else",
        ..ROW
    },
    Setting {
        id: Id::UpstreamWeight,
        key: field("upstream", "weight"),
        kind: Kind::Number { min: 1, max: 100 },
        default: Default::Nothing("1"),
        example: "3",
        group: Group::Upstreams,
        help: "Its share of questions relative to the others of its tier; ordered ignores it",
        ..ROW
    },
    Setting {
        id: Id::UpstreamKeepWarm,
        key: field("upstream", "keep_warm"),
        kind: Kind::Number { min: 0, max: 2 },
        default: Default::Nothing("0"),
        example: "1",
        group: Group::Upstreams,
        help: "Connections kept open while nobody asks",
        ..ROW
    },
    Setting {
        id: Id::UpstreamEdns,
        key: field("upstream", "edns"),
        kind: Kind::YesNo,
        default: Default::Nothing("true"),
        example: "false",
        group: Group::Upstreams,
        help: "Whether queries carry an OPT record (EDNS)",
        detail: "An upstream that knows no EDNS is found out and asked without it; this saves the finding out. Without EDNS there are no DNSSEC \
                 records and no padding. What clients put into theirs (client subnet, cookies, unknown options) never leaves this machine.",
        ..ROW
    },
    Setting {
        id: Id::UpstreamPadding,
        key: field("upstream", "padding"),
        kind: Kind::Padding,
        default: Default::Nothing("true"),
        example: "false",
        group: Group::Upstreams,
        help: "Pad queries to a multiple of this many octets, so that their length does not tell the name; true means 128",
        ..ROW
    },
    Setting {
        id: Id::Strategy,
        key: top("strategy"),
        flag: Some("strategy"),
        variable: Some("DOTWARD_STRATEGY"),
        kind: Kind::Choice(&STRATEGY_WORDS),
        default: Default::Values(&["fastest"]),
        example: "\"ordered\"",
        group: Group::Upstreams,
        help: "How one of several upstreams is chosen",
        rare: true,
        detail: "One of fastest, ordered, round-robin, hash, race. fastest prefers the shorter response time and still spreads; ordered asks the first and the next only while it fails; round-robin asks in turn; \
                 hash sends a name always to the same one, so that none sees every name; race asks two at once. \
                 Whoever does not answer in time or fails is replaced at once, whatever the strategy.",
        ..ROW
    },
    Setting {
        id: Id::Route,
        key: top("route"),
        flag: Some("route"),
        variable: Some("DOTWARD_ROUTE"),
        kind: Kind::Route,
        many: true,
        example: "\"corp.example=udp://10.0.0.53\"",
        group: Group::Upstreams,
        help: "Names sent to other upstreams",
        detail: "SUFFIX is a domain, or a network such as 10.0.0.0/8 for the reverse names of its addresses; the longest that fits decides. \
                 SPEC may be the name of an upstream, or unencrypted: udp://IP, tcp://IP. \
                 In the file either this list, or one [[route]] table for each.",
        ..ROW
    },
    Setting {
        id: Id::RouteSuffix,
        key: field("route", "suffix"),
        kind: Kind::Suffix,
        many: true,
        default: Default::Nothing("must be given"),
        example: "\"corp.example\", \"10.0.0.0/8\"",
        group: Group::Upstreams,
        help: "These names and all below; a network stands for its reverse names",
        ..ROW
    },
    Setting {
        id: Id::RouteTo,
        key: field("route", "to"),
        kind: Kind::Target,
        many: true,
        default: Default::Nothing("must be given"),
        example: "\"office\"",
        group: Group::Upstreams,
        help: "Who is asked about them",
        ..ROW
    },
    Setting {
        id: Id::RouteStrategy,
        key: field("route", "strategy"),
        kind: Kind::Choice(&STRATEGY_WORDS),
        default: Default::Nothing("strategy"),
        example: "\"ordered\"",
        group: Group::Upstreams,
        help: "How one of several upstreams is chosen",
        ..ROW
    },
    Setting {
        id: Id::RouteFallback,
        key: field("route", "fallback"),
        kind: Kind::YesNo,
        default: Default::Nothing("false: the answer is SERVFAIL"),
        example: "true",
        group: Group::Upstreams,
        help: "Whether the other upstreams learn the name when none of these can answer",
        ..ROW
    },
    Setting {
        id: Id::Bootstrap,
        key: top("bootstrap"),
        flag: Some("bootstrap"),
        variable: Some("DOTWARD_BOOTSTRAP"),
        kind: Kind::Spec,
        many: true,
        default: Default::Nothing("upstreams with an address, else cloudflare"),
        example: "\"quad9\"",
        group: Group::Upstreams,
        help: "Resolvers for the addresses of upstreams given by name only",
        rare: true,
        detail: "Used only when there is such an upstream. Each SPEC must have addresses.",
        ..ROW
    },
    Setting {
        id: Id::CaFile,
        key: key("tls", "ca_file"),
        flag: Some("ca-file"),
        variable: Some("DOTWARD_CA_FILE"),
        default: Default::Nothing("bundled roots"),
        example: "\"/etc/dotward/corp-ca.pem\"",
        group: Group::Upstreams,
        help: "Roots (PEM) to trust",
        rare: true,
        detail: "Read again within seconds when the file changes.",
        ..ROW
    },
    Setting {
        id: Id::ClientCert,
        key: key("tls", "client_cert"),
        flag: Some("client-cert"),
        variable: Some("DOTWARD_CLIENT_CERT"),
        example: "\"/etc/dotward/client.pem\"",
        group: Group::Upstreams,
        help: "Certificate chain (PEM) shown to upstreams that ask for one",
        detail: "Read again within seconds when the file changes.",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::ClientKey,
        key: key("tls", "client_key"),
        flag: Some("client-key"),
        variable: Some("DOTWARD_CLIENT_KEY"),
        example: "\"/etc/dotward/client.key\"",
        group: Group::Upstreams,
        help: "Private key (PEM) of that certificate",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::PinMode,
        key: key("tls", "pin_mode"),
        flag: Some("pin-mode"),
        variable: Some("DOTWARD_PIN_MODE"),
        kind: PIN_MODES,
        default: Default::Values(&["enforce"]),
        example: "\"report\"",
        group: Group::Upstreams,
        help: "Whether a key that is none of the pinned ones is refused (enforce) or only logged (report)",
        rare: true,
        detail: "report is for trying pins out: name and chain decide, the log says what enforce would do. Where pins are all there is to verify \
                 an upstream by, they are enforced in any case.",
        ..ROW
    },
];
