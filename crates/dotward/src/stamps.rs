//! Whether files changed, seen by looking at them now and then.
//!
//! Promises: a file is known by device, inode, size and times of itself, links followed, so that replacing, rewriting and switching a link are
//! all seen; files that are still being changed are left until two looks in a row see the same; each change is told once.
//!
//! Deliberately absent: inotify. What matters is the file at the end of a path of links and mounts; a few `stat`s see that, and watching
//! directories does not.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fs, io};

/// What a file is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stamp {
    /// It is not there.
    Absent,
    /// Device, inode, size, modification and change in nanoseconds.
    There(u64, u64, u64, (i64, i64), (i64, i64)),
    /// It may have been changed while it was read: whatever is seen of it, its absence included, is something else.
    Doubtful,
}

/// What tells whether one file has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark(Stamp);

impl Mark {
    /// As the file is now; to be taken before it is read.
    pub(crate) fn of(file: &Path) -> Self {
        Self(stamp(file))
    }

    /// Whether the file is seen to be another one than then. One in a directory that may not be looked into is not.
    pub(crate) fn is_outdated(&self, file: &Path) -> bool {
        let hidden =
            fs::metadata(file).is_err_and(|it| it.kind() == io::ErrorKind::PermissionDenied);
        !hidden && stamp(file) != self.0
    }
}

/// Some files that belong together, as they were when they were read.
#[derive(Debug)]
pub(crate) struct Stamps {
    files: Vec<PathBuf>,
    read: Vec<Stamp>,
    /// As they were at the last look, if that was not as they were read.
    changed: Option<Vec<Stamp>>,
}

impl Stamps {
    /// As they are now; to be taken before they are read, so that no change in between is missed.
    pub(crate) fn now(files: Vec<PathBuf>) -> Self {
        let read = stamps(&files);
        Self {
            files,
            read,
            changed: None,
        }
    }

    /// As they are now, when they were read since `began`: one that was changed after that counts as changed.
    pub(crate) fn read_since(files: Vec<PathBuf>, began: SystemTime) -> Self {
        let mut stamps = Self::now(files);
        let began = began.duration_since(SystemTime::UNIX_EPOCH);
        let began = began.as_ref().map_or(0, Duration::as_secs).cast_signed();
        for stamp in &mut stamps.read {
            // Times of files have the resolution of a clock tick: the whole second is in doubt.
            if let Stamp::There(.., (changed, _)) = stamp
                && *changed >= began
            {
                *stamp = Stamp::Doubtful;
            }
        }
        stamps
    }

    /// As they are now, which is as they are to be.
    #[cfg(test)]
    pub(crate) fn renew(&mut self) {
        self.read = stamps(&self.files);
    }

    /// Whether there are none.
    pub(crate) fn is_of_nothing(&self) -> bool {
        self.files.is_empty()
    }

    /// Files that were read with other rights, and cannot be looked at now, are not taken for changed.
    pub(crate) fn leave_out_of_reach(&mut self) {
        for (file, read) in self.files.iter().zip(&mut self.read) {
            let looked = fs::metadata(file);
            if looked.is_err_and(|it| it.kind() == io::ErrorKind::PermissionDenied) {
                *read = Stamp::Absent;
            }
        }
    }

    /// Whether a change was seen and is to be looked at again soon.
    pub(crate) fn is_settling(&self) -> bool {
        self.changed.is_some()
    }

    /// Looks at them. `true` when they changed and have come to rest: then they are to be read.
    pub(crate) fn look(&mut self) -> bool {
        let stamps = stamps(&self.files);
        if stamps == self.read {
            self.changed = None;
            return false;
        }
        if self.changed.as_ref() != Some(&stamps) {
            self.changed = Some(stamps);
            return false;
        }
        self.changed = None;
        self.read = stamps;
        true
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    files.iter().map(|file| stamp(file)).collect()
}

fn stamp(file: &Path) -> Stamp {
    let Ok(about) = fs::metadata(file) else {
        return Stamp::Absent;
    };
    Stamp::There(
        about.dev(),
        about.ino(),
        about.size(),
        (about.mtime(), about.mtime_nsec()),
        (about.ctime(), about.ctime_nsec()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_while_it_was_read_counts_as_changed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a");
        fs::write(&file, "1").unwrap();
        let now = SystemTime::now();
        let later = now + Duration::from_secs(5);
        let mut read = Stamps::read_since(vec![file.clone()], later);
        assert!(!read.look() && !read.look(), "it was there long before");
        let earlier = now - Duration::from_secs(5);
        let mut read = Stamps::read_since(vec![file.clone()], earlier);
        assert!(!read.look() && read.look() && !read.look(), "told once");
        // Also when the next thing that is seen is that it is gone.
        let mut read = Stamps::read_since(vec![file.clone()], earlier);
        fs::remove_file(file).unwrap();
        assert!(!read.look() && read.look() && !read.look(), "told once");
    }
}
