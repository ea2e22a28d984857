//! What another configuration changes that only a start can: everything that was bound, opened or given up then.
//!
//! Deliberately absent: everything else, which is applied.

use crate::config::Config;
use crate::settings::Id;

/// The settings of `new` that are others than those of `started` and take a restart.
#[must_use]
pub fn needs_restart(started: &Config, new: &Config) -> Vec<Id> {
    let user = |config: &Config| config.run_as.as_ref().map(|it| it.user.clone());
    let group = |config: &Config| config.run_as.as_ref().and_then(|it| it.group.clone());
    let path = |config: &Config| config.snapshot.as_ref().map(|it| it.path.clone());
    // Where there was no snapshot, or is to be none, how often it is written is no change of its own.
    let both = started.snapshot.as_ref().zip(new.snapshot.as_ref());
    let rhythm_changes = both.is_some_and(|(started, new)| started.every != new.every);
    let url = |config: &Config| config.shared_cache.as_ref().map(|it| it.url.clone());
    let password = |config: &Config| {
        let shared = config.shared_cache.as_ref();
        shared.and_then(|it| it.password_file.clone())
    };
    let sentinels = |config: &Config| {
        let shared = config.shared_cache.as_ref();
        shared.and_then(|it| it.sentinel_password_file.clone())
    };
    let roots = |config: &Config| {
        let shared = config.shared_cache.as_ref();
        shared.and_then(|it| it.ca_file.clone())
    };
    let changes = [
        (
            Id::Listen,
            started.listeners != new.listeners || started.interfaces != new.interfaces,
        ),
        (
            Id::ListenFreebind,
            started.rules.freebind != new.rules.freebind,
        ),
        (Id::User, user(started) != user(new)),
        (Id::RunGroup, group(started) != group(new)),
        (Id::ListenControl, started.control != new.control),
        (Id::CacheSize, started.cache.size != new.cache.size),
        (Id::CacheSnapshot, path(started) != path(new)),
        (Id::CacheSnapshotEvery, rhythm_changes),
        (Id::SharedCache, url(started) != url(new)),
        (
            Id::SharedCachePasswordFile,
            password(started) != password(new),
        ),
        (Id::SharedCacheCaFile, roots(started) != roots(new)),
        (
            Id::SharedCacheSentinelPasswordFile,
            sentinels(started) != sentinels(new),
        ),
        (Id::Admin, started.admin != new.admin),
        (
            Id::ReadyRequires,
            started.ready_requires != new.ready_requires,
        ),
        (Id::Sandbox, started.sandbox != new.sandbox),
        (Id::Watch, started.watch != new.watch),
        (Id::Workers, started.workers != new.workers),
    ];
    let changed = changes.into_iter().filter(|(_, changed)| *changed);
    changed.map(|(id, _)| id).collect()
}

/// `new` with what only a start can change left as it is in `running`.
pub(super) fn effective(running: &Config, new: Config) -> Config {
    let mut cache = new.cache;
    cache.size = running.cache.size;
    Config {
        listeners: running.listeners.clone(),
        interfaces: running.interfaces.clone(),
        rules: running.rules,
        run_as: running.run_as.clone(),
        // Listeners that speak TLS stay, and go on showing what they showed where nothing else is given.
        listen_tls: new.listen_tls.or_else(|| running.listen_tls.clone()),
        control: running.control.clone(),
        cache,
        snapshot: running.snapshot.clone(),
        shared_cache: running.shared_cache.clone(),
        admin: running.admin,
        ready_requires: running.ready_requires,
        sandbox: running.sandbox,
        watch: running.watch,
        workers: running.workers,
        ..new
    }
}
