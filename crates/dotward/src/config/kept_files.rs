//! Files that are read with the rights of the start, and again without them.
//!
//! Promises: what was read is known by its path, so that a sandbox leaves it within reach; a file that only root reads, and that is as it was
//! at the start, says at a reload what it said then, so that no reload is refused for it; one that was changed since cannot be read, and is a
//! fault. What everybody concerned may read is kept in memory by nobody.
//!
//! Deliberately absent: what the configuration file says, which is read to learn what is new.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::files::{Disk, ReadFiles};
use crate::stamps::Mark;

/// The file system, and what is not to be had from it any more.
#[derive(Debug, Default)]
pub struct KeptFiles(Mutex<Inside>);

#[derive(Debug, Default)]
struct Inside {
    /// Who the process is has been settled: nothing is added.
    settled: bool,
    files: BTreeMap<PathBuf, Kept>,
    /// Those that stood in for what is on disk, to be told.
    used: Vec<PathBuf>,
}

struct Kept {
    mark: Mark,
    octets: Vec<u8>,
}

impl std::fmt::Debug for Kept {
    /// Without what is in it, which may be a key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

impl KeptFiles {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This one is never kept.
    pub(crate) fn forget(&self, file: &Path) {
        self.inside().files.remove(file);
    }

    /// The files that were read so far.
    pub(crate) fn read_so_far(&self) -> Vec<PathBuf> {
        self.inside().files.keys().cloned().collect()
    }

    /// Keeps those of the files read so far that the process, as it is now, may not read, and no other. Gives them back.
    pub(crate) fn keep_out_of_reach(&self) -> Vec<PathBuf> {
        let mut inside = self.inside();
        inside.settled = true;
        inside.files.retain(|file, _| is_denied(&Disk.read(file)));
        inside.files.keys().cloned().collect()
    }

    /// What to tell of the files that were needed since the last time.
    pub(crate) fn take_told(&self) -> Vec<String> {
        let mut used = std::mem::take(&mut self.inside().used);
        used.sort();
        used.dedup();
        let told = |file: &PathBuf| {
            format!(
                "{} cannot be read any more by what the program has become; what it said at the start stays in force",
                file.display()
            )
        };
        used.iter().map(told).collect()
    }
}

impl ReadFiles for KeptFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mark = Mark::of(path);
        let read = Disk.read(path);
        let mut inside = self.inside();
        if let Ok(octets) = &read
            && !inside.settled
        {
            let octets = octets.clone();
            inside.files.insert(path.to_owned(), Kept { mark, octets });
        } else if is_denied(&read)
            && let Some(kept) = inside.files.get(path)
            && !kept.mark.is_outdated(path)
        {
            let octets = kept.octets.clone();
            inside.used.push(path.to_owned());
            return Ok(octets);
        }
        read
    }
}

fn is_denied(read: &io::Result<Vec<u8>>) -> bool {
    read.as_ref()
        .is_err_and(|it| it.kind() == io::ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_may_be_read_is_read_anew_and_not_kept() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a");
        fs::write(&file, "1").unwrap();
        let kept = KeptFiles::default();
        assert_eq!(kept.read(&file).unwrap(), b"1");
        assert_eq!(kept.read_so_far(), std::slice::from_ref(&file));
        assert!(kept.keep_out_of_reach().is_empty());
        fs::write(&file, "2").unwrap();
        assert_eq!(kept.read(&file).unwrap(), b"2");
        assert!(kept.inside().files.is_empty(), "also what is read later");
        assert!(kept.take_told().is_empty());
    }

    #[test]
    fn a_file_out_of_reach_says_what_it_said_and_one_changed_meanwhile_nothing() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(directory.path(), open).unwrap();
        let [same, changed] = ["same", "changed"].map(|it| directory.path().join(it));
        for file in [&same, &changed] {
            fs::write(file, "1").unwrap();
            let own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(file, own).unwrap();
        }
        let kept = KeptFiles::default();
        for file in [&same, &changed] {
            assert_eq!(kept.read(file).unwrap(), b"1");
        }
        let as_another = |work: &(dyn Fn() + Sync)| {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    // Of this thread alone.
                    nix::unistd::setfsuid(nix::unistd::Uid::from_raw(64_999));
                    work();
                });
            });
        };
        as_another(&|| {
            assert_eq!(kept.keep_out_of_reach().len(), 2);
            assert_eq!(kept.read(&same).unwrap(), b"1");
            assert_eq!(kept.take_told().len(), 1);
        });
        fs::write(&changed, "22").unwrap();
        as_another(&|| {
            assert_eq!(kept.read(&same).unwrap(), b"1");
            let refused = kept.read(&changed).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        });
    }
}
