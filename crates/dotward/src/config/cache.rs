//! What is kept and for how long, the snapshot file, and the cache that several instances share.

use super::build::{Parts, duration, named_file, path_of_setting};
use super::fault::{Clash, Fault, Problem};
use super::files;
use super::layers::Values;
use super::place::Place;
use super::value::{STORE_OFF, Value};
use super::{CacheSettings, SharedCacheSettings, SnapshotSettings};
use crate::settings::{Id, Setting};
use crate::shared::Place as StorePlace;

/// What is kept; `None` only after a fault.
pub(super) fn settings(values: &Values, faults: &mut Vec<Fault>) -> Option<CacheSettings> {
    let seconds = |id| {
        if let Value::Seconds(seconds) = values.one(id)?.value {
            Some(seconds)
        } else {
            None
        }
    };
    let max_ttl = seconds(Id::CacheMaxTtl)?;
    let min_ttl = seconds(Id::CacheMinTtl)?;
    if min_ttl > max_ttl {
        let ids = [Id::CacheMinTtl, Id::CacheMaxTtl];
        let [least, most] = [(ids[0], min_ttl), (ids[1], max_ttl)]
            .map(|(id, value)| format!("`{}` {value} s", Setting::of(id).title()));
        let said = ids.into_iter().filter_map(|id| values.one(id));
        let said = said.map(|it| &it.place).find(|it| **it != Place::Default);
        let problem = Clash::Bounds { least, most };
        faults.push(Fault::new(said.unwrap_or(&Place::Default), problem));
    }
    let Value::Size(size) = values.one(Id::CacheSize)?.value else {
        return None;
    };
    Some(CacheSettings {
        size,
        stale: duration(values, Id::CacheStale)?,
        min_ttl,
        max_ttl,
        negative_ttl: seconds(Id::CacheNegativeTtl)?,
        prefetch: values.one(Id::CachePrefetch)?.value == Value::YesNo(true),
    })
}

/// `None` only after a fault; within it `None` without a snapshot.
pub(super) fn snapshot(values: &Values) -> Option<Option<SnapshotSettings>> {
    let every = duration(values, Id::CacheSnapshotEvery)?;
    let path = path_of_setting(values, Id::CacheSnapshot);
    Some(path.map(|path| SnapshotSettings { path, every }))
}

/// The files have to be readable now; what is in them is looked at when the program starts.
pub(super) fn shared(parts: &Parts<'_>, faults: &mut Vec<Fault>) -> Option<SharedCacheSettings> {
    let named = [
        Id::SharedCachePasswordFile,
        Id::SharedCacheSentinelPasswordFile,
        Id::SharedCacheCaFile,
    ]
    .map(|id| named_file(parts.values, id));
    let [password_file, sentinel_password_file, ca_file] = &named;
    let passwords = [password_file, sentinel_password_file]
        .map(|file| file.as_ref().map(|it| it.text(parts.files).map(drop)));
    let roots = ca_file
        .as_ref()
        .map(|file| files::check_roots(file, parts.files));
    let checked = passwords.into_iter().chain([roots]).flatten();
    faults.extend(checked.filter_map(Result::err));
    let Value::Text(url) = &parts.values.one(Id::SharedCache)?.value else {
        return None;
    };
    if url == STORE_OFF {
        return None;
    }
    let [password_file, sentinel_password_file, ca_file] = named;
    let place = StorePlace::parse(url)?;
    // What would be of no effect is not what was meant.
    let idle = [
        ca_file.as_ref().filter(|_| !place.is_tls()),
        sentinel_password_file
            .as_ref()
            .filter(|_| !place.has_sentinels()),
    ];
    for file in idle.into_iter().flatten() {
        let (one, other) = (file.key.clone(), Setting::of(Id::SharedCache).title());
        faults.push(Fault::new(&file.place, Problem::Conflict { one, other }));
    }
    Some(SharedCacheSettings {
        url: url.clone(),
        password_file: password_file.map(|file| file.path),
        sentinel_password_file: sentinel_password_file.map(|file| file.path),
        ca_file: ca_file.map(|file| file.path),
    })
}
