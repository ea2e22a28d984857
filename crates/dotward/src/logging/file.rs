//! The log as a file that somebody else may move away.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file that has the name of the log, whichever that is.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// Device and number of the file.
    identity: (u64, u64),
}

impl LogFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // Made absolute, because the directory a relative path begins in may change.
        let path = std::path::absolute(path)?;
        let mut options = OpenOptions::new();
        options.create(true).append(true).mode(0o640);
        let file = options.open(&path)?;
        let about = file.metadata()?;
        Ok(Self {
            path,
            file,
            identity: (about.dev(), about.ino()),
        })
    }

    /// Opens what has the name now, unless it is this one already. What cannot be opened is no reason to lose lines: they go on to the
    /// file there was.
    fn follow(&mut self) {
        let about = std::fs::metadata(&self.path);
        let is_same = about.is_ok_and(|it| (it.dev(), it.ino()) == self.identity);
        if is_same {
            return;
        }
        if let Ok(now) = Self::open(&self.path) {
            *self = now;
        }
    }
}

impl Write for LogFile {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.follow();
        self.file.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_moved_away_or_removed_is_made_anew_and_no_line_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let [path, old] = ["log", "log.1"].map(|it| directory.path().join(it));
        let mut log = LogFile::open(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o137, 0, "nobody else reads who asks for what");
        log.write_all(b"1\n").unwrap();
        std::fs::rename(&path, &old).unwrap();
        log.write_all(b"2\n").unwrap();
        assert_eq!(std::fs::read(&old).unwrap(), b"1\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"2\n");
        std::fs::remove_file(&path).unwrap();
        log.write_all(b"3\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"3\n");
        // Emptied in its place, as by `copytruncate`.
        File::create(&path).unwrap();
        log.write_all(b"4\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"4\n");
        // Where no file can be made, the old one gets the lines.
        std::fs::rename(&path, &old).unwrap();
        std::fs::create_dir(&path).unwrap();
        log.write_all(b"5\n").unwrap();
        assert_eq!(std::fs::read(&old).unwrap(), b"4\n5\n");
    }
}
