use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use dotward_core::cache::{CacheConfig, Restored};
use dotward_core::time::Moment;
use dotward_core::upstream::GroupId;
use dotward_core::wire::{Class, Name, Question, RecordType, ReplyOrigin, ResponseComposer};

use super::*;
use crate::run::local_runtime;

fn cache() -> Arc<Cache> {
    Arc::new(Cache::new(CacheConfig {
        groups: 2,
        ..CacheConfig::new(1 << 20, [7; 16])
    }))
}

fn put(cache: &Cache, name: &str, group: usize, age: u64) {
    let owner: Name = name.parse().unwrap();
    let question = Question::new(&owner, RecordType::A, Class::IN);
    let mut composer = ResponseComposer::new(&question);
    composer.answer(&owner, RecordType::A, 3600, &[192, 0, 2, 1]);
    let message = composer.finish();
    let restored = Restored {
        group: GroupId(group),
        dnssec_ok: false,
        checking_disabled: false,
        origin: ReplyOrigin::Upstream,
        age: Duration::from_secs(age),
        message: &message,
    };
    cache.restore(&restored, clock::now()).unwrap();
}

fn snapshot(path: &Path, cache: Arc<Cache>, labels: &[&str]) -> Snapshot {
    Snapshot {
        predecessors: Vec::new(),
        patience: Duration::ZERO,
        path: path.to_owned(),
        every: Duration::from_secs(3600),
        cache,
        names: GroupNames::labelled_as(labels),
    }
}

/// Names with their groups and how long they are still good for.
fn content(cache: &Cache) -> Vec<(String, usize, u64)> {
    let mut seen = Vec::new();
    cache.visit(clock::now(), |kept| {
        let name = kept.question.to_owned().qname().to_string();
        seen.push((name, kept.group.0, kept.remaining().as_secs()));
    });
    seen.sort();
    seen
}

fn load(snapshot: &Snapshot) -> Result<Option<Loaded>, SnapshotError> {
    let (_stop, stopped) = sync_channel(0);
    snapshot.load(&stopped)
}

#[test]
fn what_was_kept_is_kept_again_with_the_time_it_has_left_and_where_it_belongs() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache");
    let before = cache();
    put(&before, "a.example", 0, 600);
    put(&before, "b.corp.example", 1, 0);
    let saved = snapshot(&path, before, &["", "corp.example"]);
    assert_eq!(saved.save().unwrap(), 2);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // The route stands elsewhere in the new configuration.
    let after = snapshot(&path, cache(), &["other.example", "corp.example"]);
    let loaded = load(&after).unwrap().unwrap();
    assert_eq!((loaded.restored, loaded.refused), (1, 1));
    let found = content(&after.cache);
    assert_eq!((found[0].0.as_str(), found[0].1), ("b.corp.example", 1));

    let after = snapshot(&path, cache(), &["", "corp.example"]);
    assert_eq!(load(&after).unwrap().unwrap().restored, 2);
    let found = content(&after.cache);
    assert_eq!(found[0].0, "a.example");
    assert!((2990..=3000).contains(&found[0].2), "{found:?}");
}

#[test]
fn an_answer_for_a_route_that_went_away_meanwhile_is_not_put_into_the_place_it_had() {
    let before = cache();
    put(&before, "b.corp.example", 1, 0);
    let mut entry = Vec::new();
    before.visit(clock::now(), |kept| {
        write_portable(&kept, b"corp.example", clock::wall(), &mut entry);
    });
    let portable = Portable::read(&entry).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache");
    let with = snapshot(&path, cache(), &["", "corp.example"]);
    assert!(with.put_back_into(GroupId(1), &portable));
    assert_eq!(content(&with.cache).len(), 1);
    // Its name was looked up while it had one.
    let without = snapshot(&path, cache(), &["", "other.example"]);
    assert!(!without.put_back_into(GroupId(1), &portable));
    assert_eq!(content(&without.cache), []);
}

#[test]
fn there_is_always_a_whole_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache");
    // What a program of the same number that was killed while it wrote has left.
    let beside = directory
        .path()
        .join(format!("cache.new.{}", std::process::id()));
    fs::write(&beside, "half").unwrap();
    let saved = snapshot(&path, cache(), &["", "x"]);
    put(&saved.cache, "a.example", 0, 0);
    saved.save().unwrap();
    saved.save().unwrap();
    assert!(!beside.exists());
    assert_eq!(load(&saved).unwrap().unwrap().restored, 1);
}

#[test]
fn every_octet_that_changed_and_every_cut_is_noticed_and_nothing_is_put_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache");
    let saved = snapshot(&path, cache(), &["", "x"]);
    put(&saved.cache, "a.example", 0, 0);
    saved.save().unwrap();
    let good = fs::read(&path).unwrap();
    let empty = snapshot(&path, cache(), &["", "x"]);
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 1;
        fs::write(&path, &bad).unwrap();
        load(&empty).unwrap_err();
        fs::write(&path, &good[..place]).unwrap();
        load(&empty).unwrap_err();
    }
    fs::write(&path, [&good[..], b"x"].concat()).unwrap();
    load(&empty).unwrap_err();
    assert!(content(&empty.cache).is_empty());
}

#[test]
fn what_is_no_snapshot_is_told_from_one_of_another_version() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache");
    let snapshot = snapshot(&path, cache(), &[""]);
    assert!(load(&snapshot).unwrap().is_none());
    let told = |content: &[u8]| {
        fs::write(&path, content).unwrap();
        load(&snapshot).unwrap_err().to_string()
    };
    assert_eq!(told(b""), "it is no snapshot of a cache");
    assert_eq!(told(b"[listen]\n"), "it is no snapshot of a cache");
    let newer = [&MAGIC[..], &2_u16.to_be_bytes()].concat();
    assert_eq!(told(&newer), "another version of the program wrote it");
    assert_eq!(
        told(&vec![0; 2 << 20]),
        "it is larger than the cache may be"
    );
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(
        load(&snapshot).unwrap_err().to_string(),
        "it is no snapshot of a cache"
    );
}

#[test]
fn an_order_to_stop_ends_reading_and_keeps_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache");
    let saved = snapshot(&path, cache(), &["", "x"]);
    for number in 0..2 * SNAPSHOT_SLICE {
        put(&saved.cache, &format!("n{number}.example"), 0, 0);
    }
    saved.save().unwrap();
    let before = fs::read(&path).unwrap();
    let (stop, stopped) = sync_channel(0);
    drop(stop);
    let empty = snapshot(&path, cache(), &["", "x"]);
    run(&empty, &stopped, &AtomicBool::new(false));
    assert_eq!(fs::read(&path).unwrap(), before);
    assert!(content(&empty.cache).len() < 2 * SNAPSHOT_SLICE);
}

#[test]
fn what_was_checked_is_what_is_read_whatever_takes_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache");
    let saved = snapshot(&path, cache(), &["", "x"]);
    put(&saved.cache, "a.example", 0, 0);
    saved.save().unwrap();
    let file = File::open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    let other = directory.path().join("other");
    fs::write(&other, "junk").unwrap();
    fs::rename(&other, &path).unwrap();
    let after = snapshot(&path, cache(), &["", "x"]);
    let (_stop, stopped) = sync_channel(0);
    let read = after.read(&file, length, &stopped).unwrap();
    assert_eq!(read.restored, 1);
}

#[test]
fn it_is_written_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache");
    let kept = cache();
    let keeper = start(snapshot(&path, Arc::clone(&kept), &["", "x"])).unwrap();
    put(&kept, "a.example", 0, 0);
    local_runtime().unwrap().block_on(keeper.end());
    let after = snapshot(&path, cache(), &["", "x"]);
    assert_eq!(load(&after).unwrap().unwrap().restored, 1);
    assert_ne!(clock::now(), Moment::ZERO);
}
