//! What is said to clients beside the answer.

use super::{ROW, key};
use crate::settings::{Default, Group, Id, Kind, Setting};

pub(super) const ROWS: &[Setting] = &[
    Setting {
        id: Id::UdpSize,
        key: key("listen", "udp_size"),
        flag: Some("udp-size"),
        variable: Some("DOTWARD_UDP_SIZE"),
        kind: Kind::Number {
            min: 512,
            max: 4096,
        },
        default: Default::Values(&["1232"]),
        example: "1400",
        group: Group::Listen,
        help: "Longest answer over UDP, in octets",
        detail: "Clients that advertise less get less. What is longer is truncated, and clients ask again over TCP. 1232 passes every path without fragments (RFC 9715); \
                 more is for networks whose paths are known.",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::Cookies,
        key: key("listen", "cookies"),
        flag: Some("cookies"),
        variable: Some("DOTWARD_COOKIES"),
        kind: Kind::Choice(&["off", "on", "require"]),
        default: Default::Values(&["on"]),
        example: "\"require\"",
        group: Group::Listen,
        help: "DNS cookies: off, on, or require",
        detail: "on answers a client's cookie with one of ours (RFC 7873). require answers a UDP query that bears a cookie, but no good one of ours, with BADCOOKIE and a \
                 good one, so that it is asked again; queries without a cookie are answered either way.",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::CookieSecretFile,
        key: key("listen", "cookie_secret_file"),
        flag: Some("cookie-secret-file"),
        variable: Some("DOTWARD_COOKIE_SECRET_FILE"),
        example: "\"/etc/dotward/cookie-secrets\"",
        default: Default::Nothing("a random secret at each start"),
        group: Group::Listen,
        help: "Secrets that several servers make cookies with",
        detail: "One secret a line, 32 hexadecimal digits, at most 4; # begins a comment. Cookies are made with the first and accepted with all of them. To change a \
                 secret, add the new one behind the old one on all servers, then put it first on all, and an hour later remove the old one (RFC 9018 section 5).",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::Nsid,
        key: key("listen", "nsid"),
        flag: Some("nsid"),
        variable: Some("DOTWARD_NSID"),
        kind: Kind::Label,
        example: "\"dns1.example\"",
        group: Group::Listen,
        help: "Name of this server for those who ask for it",
        detail: "In the NSID option (RFC 5001, dig +nsid), and as the TXT records id.server and hostname.bind of class CH (RFC 4892).",
        rare: true,
        ..ROW
    },
];
