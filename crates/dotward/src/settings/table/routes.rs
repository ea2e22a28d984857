//! The rows about who of several upstreams is asked, and about names that are asked elsewhere.

use super::{Default, Group, Id, Kind, ROW, Setting, field, top};

const STRATEGIES: Kind = Kind::Choice(&["fastest", "ordered", "round-robin", "hash", "race"]);

pub(super) const ROWS: [Setting; 6] = [
    Setting {
        id: Id::Strategy,
        key: top("strategy"),
        flag: Some("strategy"),
        variable: Some("DOTWARD_STRATEGY"),
        kind: STRATEGIES,
        default: Default::Values(&["fastest"]),
        example: "\"ordered\"",
        group: Group::Upstreams,
        help: "Who of several is asked",
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
        help: "Split horizon: names asked elsewhere",
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
        kind: STRATEGIES,
        default: Default::Nothing("strategy"),
        example: "\"ordered\"",
        group: Group::Upstreams,
        help: "Who of several is asked",
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
];
