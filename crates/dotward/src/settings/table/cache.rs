//! What is kept, and for how long.

use std::time::Duration;

use super::{Change, ROW, key};
use crate::settings::{Default, Group, Id, Kind, Setting};

pub(super) const ROWS: &[Setting] = &[
    Setting {
        id: Id::CacheSize,
        change: Change::Restart,
        key: key("cache", "size"),
        flag: Some("cache"),
        variable: Some("DOTWARD_CACHE"),
        kind: Kind::Size,
        default: Default::Values(&["64MiB"]),
        example: "\"256MiB\"",
        group: Group::Cache,
        help: "Memory for answers, or off",
        detail: "A hard bound: question, answer and index are counted. A typical answer takes 200 to 300 octets, so 64MiB hold about a quarter of a million. \
                 With off no answer is kept and none is given stale; failures are kept for a moment all the same.",
        ..ROW
    },
    Setting {
        id: Id::CacheStale,
        key: key("cache", "stale"),
        flag: Some("stale"),
        variable: Some("DOTWARD_STALE"),
        kind: Kind::Duration {
            min: Duration::ZERO,
            max: Duration::from_secs(7 * 86_400),
        },
        default: Default::Values(&["1d"]),
        example: "\"3d\"",
        group: Group::Cache,
        help: "How long expired answers are kept, for use while no upstream responds",
        rare: true,
        detail: "An old answer is better than none while all upstreams fail (RFC 8767). It is given after 1.8 seconds without a newer one, at once while that is known \
                 to fail, with a TTL of 30 seconds and extended error 3 or 19. `0s`: never.",
        ..ROW
    },
    Setting {
        id: Id::CacheMinTtl,
        key: key("cache", "min_ttl"),
        flag: Some("cache-min-ttl"),
        variable: Some("DOTWARD_CACHE_MIN_TTL"),
        kind: Kind::Seconds { max: 3_600 },
        default: Default::Values(&["0"]),
        example: "60",
        group: Group::Cache,
        help: "Shortest time an answer is kept, in seconds",
        rare: true,
        detail: "Clients see the raised TTL. Negative answers, failures and answers with a TTL of 0 are not concerned. Not above max_ttl.",
        ..ROW
    },
    Setting {
        id: Id::CacheMaxTtl,
        key: key("cache", "max_ttl"),
        flag: Some("cache-max-ttl"),
        variable: Some("DOTWARD_CACHE_MAX_TTL"),
        kind: Kind::Seconds { max: 604_800 },
        default: Default::Values(&["86400"]),
        example: "3600",
        group: Group::Cache,
        help: "Longest time an answer is kept, in seconds",
        rare: true,
        detail: "Clients see the lowered TTL. 0: answers go to those who wait for them and are not kept.",
        ..ROW
    },
    Setting {
        id: Id::CacheNegativeTtl,
        key: key("cache", "negative_ttl"),
        flag: Some("cache-negative-ttl"),
        variable: Some("DOTWARD_CACHE_NEGATIVE_TTL"),
        kind: Kind::Seconds { max: 10_800 },
        default: Default::Values(&["10800"]),
        example: "900",
        group: Group::Cache,
        help: "Longest time a negative answer is kept, in seconds",
        rare: true,
        detail: "The zone itself says how long, by its SOA record (RFC 2308); three hours are the most that is sensible.",
        ..ROW
    },
    Setting {
        id: Id::CachePrefetch,
        key: key("cache", "prefetch"),
        flag: Some("cache-prefetch"),
        variable: Some("DOTWARD_CACHE_PREFETCH"),
        kind: Kind::YesNo,
        default: Default::Values(&["true"]),
        example: "false",
        group: Group::Cache,
        help: "Refresh popular answers before they expire",
        rare: true,
        detail: "In the last tenth of its time, an answer that was given ten times since it came is asked for once more, so that nobody waits for it. At most one question \
                 in ten is added.",
        ..ROW
    },
    Setting {
        id: Id::CacheSnapshot,
        change: Change::Restart,
        key: key("cache", "snapshot"),
        flag: Some("cache-snapshot"),
        variable: Some("DOTWARD_CACHE_SNAPSHOT"),
        example: "\"/var/lib/dotward/cache\"",
        group: Group::Cache,
        help: "File that keeps the cache over a restart",
        rare: true,
        detail: "Written at the end and every snapshot_every, mode 0600: it says what was asked for. Read at the start in the background; what is damaged is ignored. \
                 The directory has to exist and to be writable.",
        ..ROW
    },
    Setting {
        id: Id::CacheSnapshotEvery,
        change: Change::Restart,
        key: key("cache", "snapshot_every"),
        flag: Some("cache-snapshot-every"),
        variable: Some("DOTWARD_CACHE_SNAPSHOT_EVERY"),
        kind: Kind::Duration {
            min: Duration::from_secs(10),
            max: Duration::from_secs(86_400),
        },
        default: Default::Values(&["10m"]),
        example: "\"1h\"",
        group: Group::Cache,
        help: "How often the snapshot is written while the program runs",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::SharedCache,
        change: Change::Restart,
        key: key("cache", "shared"),
        flag: Some("shared-cache"),
        variable: Some("DOTWARD_SHARED_CACHE"),
        kind: Kind::Store,
        example: "\"rediss://cache.internal:6380\"",
        group: Group::Cache,
        help: "Redis or Valkey server that several instances share, or off",
        rare: true,
        detail: "redis://HOST, unix:///PATH, redis+sentinel://HOST,HOST/NAME or redis+cluster://HOST,HOST; rediss in place of redis for TLS. Asked before an upstream, for a \
                 few milliseconds at most; never needed. Passwords do not belong in the URL.",
        ..ROW
    },
    Setting {
        id: Id::SharedCachePasswordFile,
        change: Change::Restart,
        key: key("cache", "shared_password_file"),
        flag: Some("shared-cache-password-file"),
        variable: Some("DOTWARD_SHARED_CACHE_PASSWORD_FILE"),
        example: "\"/etc/dotward/cache-password\"",
        group: Group::Cache,
        help: "File with the password of the shared cache",
        rare: true,
        ..ROW
    },
    Setting {
        id: Id::SharedCacheSentinelPasswordFile,
        change: Change::Restart,
        key: key("cache", "shared_sentinel_password_file"),
        flag: Some("shared-cache-sentinel-password-file"),
        variable: Some("DOTWARD_SHARED_CACHE_SENTINEL_PASSWORD_FILE"),
        example: "\"/etc/dotward/sentinel-password\"",
        group: Group::Cache,
        help: "File with the password of the sentinels of the shared cache",
        rare: true,
        detail: "Sentinels are asked without one where this is not set, whatever the password of the servers.",
        ..ROW
    },
    Setting {
        id: Id::SharedCacheCaFile,
        change: Change::Restart,
        key: key("cache", "shared_ca_file"),
        flag: Some("shared-cache-ca-file"),
        variable: Some("DOTWARD_SHARED_CACHE_CA_FILE"),
        default: Default::Nothing("bundled roots"),
        example: "\"/etc/dotward/corp-ca.pem\"",
        group: Group::Cache,
        help: "Roots (PEM) to trust for the shared cache",
        rare: true,
        ..ROW
    },
];
