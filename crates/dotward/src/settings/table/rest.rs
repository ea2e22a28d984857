//! What is seen of the program, what stays private, and what few people need.

use std::time::Duration;

use super::{Change, ROW, field, key};
use crate::settings::{Default, Group, Id, Kind, Setting};

pub(super) const ROWS: &[Setting] = &[
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
        id: Id::BlockPrivate,
        key: key("privacy", "block_private"),
        flag: Some("block-private"),
        variable: Some("DOTWARD_BLOCK_PRIVATE"),
        kind: Kind::YesNo,
        default: Default::Values(&["false"]),
        example: "true",
        group: Group::Privacy,
        help: "Withhold answers with private addresses (DNS rebinding)",
        rare: true,
        detail: "An answer from the general upstreams with an address of a private network, of this machine or of this link, be it in an A, AAAA, HTTPS or SVCB record, is \
                 answered as no data with extended error 15. Answers of a route's upstreams are not looked at. docs/hardening.md has the list.",
        ..ROW
    },
    Setting {
        id: Id::PrivateDomain,
        key: key("privacy", "private_domain"),
        flag: Some("private-domain"),
        variable: Some("DOTWARD_PRIVATE_DOMAIN"),
        kind: Kind::Domain,
        many: true,
        example: "\"plex.direct\", \"zen.spamhaus.org\"",
        group: Group::Privacy,
        help: "Domains that may have private addresses all the same",
        rare: true,
        detail: "What counts is the name asked for, not the one its aliases lead to. DNS blocklists answer with \
                 127.0.0.0/8 and belong here.",
        ..ROW
    },
    Setting {
        id: Id::RefuseSnooping,
        key: key("privacy", "refuse_snooping"),
        flag: Some("refuse-snooping"),
        variable: Some("DOTWARD_REFUSE_SNOOPING"),
        kind: Kind::YesNo,
        default: Default::Values(&["false"]),
        example: "true",
        group: Group::Privacy,
        help: "Refuse non-recursive queries instead of answering from the cache",
        rare: true,
        detail: "A query with RD clear is answered from the cache, and so shows whether somebody asked it lately. With true it is refused, as if nothing were cached; names that \
                 are answered here are answered.",
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
        help: "Where lines are appended: a file (recreated when it is moved away) or stderr",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::Admin,
        change: Change::Restart,
        key: key("listen", "admin"),
        flag: Some("admin"),
        variable: Some("DOTWARD_ADMIN"),
        kind: Kind::Admin,
        default: Default::Values(&["off"]),
        example: "\"127.0.0.1:9853\"",
        group: Group::Observe,
        help: "Address for /metrics, /livez, /readyz and /healthz, or off",
        detail: "Plain HTTP, read-only. Port 9853 if none is given; never a port that DNS is served on. Whoever can reach it sees which upstreams \
                 are used and how many questions are asked, never a name or a client.",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::ReadyRequires,
        change: Change::Restart,
        key: key("runtime", "ready_requires"),
        flag: Some("ready-requires"),
        variable: Some("DOTWARD_READY_REQUIRES"),
        kind: Kind::Choice(&["start", "upstream"]),
        default: Default::Values(&["start"]),
        example: "\"upstream\"",
        group: Group::Observe,
        help: "What /readyz asks for: start (an upstream answered once) or upstream (one answers now)",
        detail: "With upstream, each general upstream is probed when it has been quiet for 0.4 s.",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::Debug,
        change: Change::Restart,
        flag: Some("debug"),
        short: Some('d'),
        kind: Kind::Switch,
        default: Default::Nothing("no"),
        group: Group::Observe,
        help: "Same as --log-level debug",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::ConfigFile,
        change: Change::Restart,
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
        id: Id::Workers,
        change: Change::Restart,
        key: key("runtime", "workers"),
        flag: Some("workers"),
        variable: Some("DOTWARD_WORKERS"),
        kind: Kind::Workers,
        default: Default::Values(&["auto"]),
        example: "2",
        group: Group::Expert,
        help: "Threads that answer: a number, or auto",
        detail: "auto is one thread, and more up to the number of cores while it is busy; they leave again when they are not needed. A number is \
                 how many there always are, 64 at most. Each thread receives from UDP sockets of its own and answers what needs no upstream; \
                 upstreams are asked by the first one.",
        rare: true,
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
        id: Id::User,
        change: Change::Restart,
        key: key("runtime", "user"),
        flag: Some("user"),
        variable: Some("DOTWARD_USER"),
        kind: Kind::Label,
        default: Default::Nothing("whoever starts the program"),
        example: "\"dotward\"",
        group: Group::Expert,
        help: "User to become once everything is bound",
        detail: "A name or a number. The program has to be started by root; it keeps no capability, and the groups of that user only.",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::RunGroup,
        change: Change::Restart,
        key: key("runtime", "group"),
        flag: Some("group"),
        variable: Some("DOTWARD_GROUP"),
        kind: Kind::Label,
        default: Default::Nothing("the user's own"),
        example: "\"dotward\"",
        group: Group::Expert,
        help: "Group to become with that user",
        detail: "A process that already runs as that user must be in this group.",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::Watch,
        change: Change::Restart,
        key: key("runtime", "watch"),
        flag: Some("watch"),
        variable: Some("DOTWARD_WATCH"),
        kind: Kind::YesNo,
        default: Default::Values(&["false"]),
        example: "true",
        group: Group::Expert,
        help: "Reload when the configuration file changes",
        detail: "Looked at every 10 s, links followed, so that a ConfigMap that keeps its name is applied without a command. A file with faults changes nothing and is reported.",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::Sandbox,
        change: Change::Restart,
        key: key("runtime", "sandbox"),
        variable: Some("DOTWARD_SANDBOX"),
        kind: Kind::YesNo,
        default: Default::Values(&["true"]),
        example: "false",
        group: Group::Expert,
        help: "Give up files, ports and system calls that are not needed, as far as the kernel offers it",
        detail: "Landlock and seccomp, entered when everything is bound; the log says what is enforced. docs/hardening.md says what stays allowed.",
        ..ROW
    },
    Setting {
        id: Id::NoSandbox,
        change: Change::Restart,
        flag: Some("no-sandbox"),
        kind: Kind::Switch,
        default: Default::Nothing("no"),
        group: Group::Expert,
        help: "Same as runtime.sandbox = false",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::Compat,
        change: Change::Restart,
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
