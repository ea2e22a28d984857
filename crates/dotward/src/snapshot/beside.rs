//! The file that is written beside a snapshot before it takes its place.
//!
//! It is called `NAME.new.PID` and locked while it is written, so that what a process that was killed has left can be told from what another
//! one is writing, in whichever container either is.
//!
//! Deliberately absent: what is in it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file that has not taken its place yet. Dropping it removes the file.
#[derive(Debug)]
pub(super) struct Beside(Option<PathBuf>);

impl Drop for Beside {
    fn drop(&mut self) {
        // Writing failed, and says why; what is left is removed by the next start at the latest.
        drop(self.0.take().map(fs::remove_file));
    }
}

impl Beside {
    /// Makes an empty one for the snapshot at `path`, locked until the file is closed.
    ///
    /// # Errors
    ///
    /// What the system says; that it exists when a process of the same number, in another container, is writing it.
    pub(super) fn create(path: &Path) -> io::Result<(Self, File)> {
        let mut name = prefix(path);
        name.push(format!(".{}", std::process::id()));
        let beside = path.with_file_name(name);
        loop {
            if beside.exists() {
                remove_unless_locked(&beside);
            }
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&beside)?;
            file.lock()?;
            // Who cleans up may have been between making it and locking it.
            if file.metadata()?.nlink() > 0 {
                return Ok((Self(Some(beside)), file));
            }
        }
    }

    /// Gives it the name of the snapshot.
    pub(super) fn take_place(mut self, path: &Path) -> io::Result<()> {
        if let Some(beside) = &self.0 {
            fs::rename(beside, path)?;
        }
        self.0 = None;
        // So that the new name outlives a power cut too.
        File::open(directory(path))?.sync_all()
    }
}

/// Removes what processes that were killed while they wrote have left.
pub(super) fn clean_up(path: &Path) {
    let prefix = prefix(path);
    // A directory that cannot be read has nothing of ours that could be removed.
    let entries = fs::read_dir(directory(path)).into_iter().flatten();
    for entry in entries.filter_map(Result::ok) {
        if is_ours(&entry.file_name(), &prefix) {
            remove_unless_locked(&entry.path());
        }
    }
}

/// Whether a name is `NAME.new.PID`, or `NAME.new`, as it was called before it had a number.
fn is_ours(name: &OsStr, prefix: &OsStr) -> bool {
    let rest = name.as_encoded_bytes();
    match rest.strip_prefix(prefix.as_encoded_bytes()) {
        Some([b'.', number @ ..]) => !number.is_empty() && number.iter().all(u8::is_ascii_digit),
        Some(rest) => rest.is_empty(),
        None => false,
    }
}

fn remove_unless_locked(beside: &Path) {
    let file = OpenOptions::new().write(true).open(beside);
    if file.is_ok_and(|file| file.try_lock().is_ok()) {
        // Whoever else cleans up may have been first.
        drop(fs::remove_file(beside));
    }
}

fn prefix(path: &Path) -> OsString {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    name
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_being_written_stays_and_what_was_left_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cache");
        let place = |name: &str| directory.path().join(name);
        for name in [
            "cache.new",
            "cache.new.17",
            "cache.news",
            "cache.new.d",
            "cache",
        ] {
            fs::write(place(name), "x").unwrap();
        }
        let other = File::create(place("cache.new.18")).unwrap();
        other.lock().unwrap();
        let (beside, _file) = Beside::create(&path).unwrap();
        clean_up(&path);
        let mut left: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let own = format!("cache.new.{}", std::process::id());
        let mut expected = vec!["cache", "cache.new.18", "cache.new.d", "cache.news", &own];
        expected.sort_unstable();
        assert_eq!(left, expected);
        beside.take_place(&path).unwrap();
        assert!(!place(&own).exists());
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn one_of_the_same_number_that_is_being_written_is_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cache");
        let (first, _file) = Beside::create(&path).unwrap();
        let error = Beside::create(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        drop(first);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        Beside::create(&path).unwrap();
    }
}
