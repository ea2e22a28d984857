//! The snapshot file: what is kept survives a restart.
//!
//! ```text
//! octets  8     "dotward" and a zero octet
//!         2     version, 1
//!   each  4, n  an answer of n octets, in the core's portable form
//!         4     0: no more answers
//!         8     how many there were
//!         32    SHA-256 of everything before it
//! ```
//!
//! Numbers are big-endian. Answers carry the wall-clock time at which they end, so that time spent off counts.
//!
//! Promises
//!
//! - The file at the path is always whole: it is written beside it, made safe on disk, and then renamed. Its mode is 0600, because it
//!   says what was asked for.
//! - Two processes that write at one time, as during a take-over, do not meet: each writes a file of its own (`beside`), and the one that
//!   is ready last stays.
//! - Who takes over reads what there is, and once more what the process before it wrote at its end; until then it writes nothing.
//! - Reading and writing happen on a thread of their own, a piece at a time: no answer waits for them.
//! - A file that is damaged, foreign, of another version or too large is told of once and ignored; nothing in it is trusted.
//!
//! - The end waits for a last snapshot that is being written, but not for a disk that hangs, and not when it has to come at once.
//!
//! Deliberately absent: failures; what is asked for how often.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use dotward_core::cache::{Cache, Portable, Progress, write_portable};
use dotward_core::upstream::GroupId;
use tokio::sync::oneshot;

use crate::clock;
use crate::group_names::GroupNames;
use crate::limits::{SNAPSHOT_ENTRY, SNAPSHOT_PAUSE, SNAPSHOT_PREDECESSOR_LOOK, SNAPSHOT_SLICE};
use crate::run::Predecessor;

mod beside;

use beside::Beside;

const MAGIC: [u8; 8] = *b"dotward\0";
const VERSION: u16 = 1;

/// What comes after the last answer.
const END_LEN: u64 = 4 + 8 + SHA256_OUTPUT_LEN as u64;

/// What a snapshot is of, and where it is.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The file.
    pub(crate) path: PathBuf,
    /// How often it is written.
    pub(crate) every: Duration,
    /// What is kept.
    pub(crate) cache: Arc<Cache>,
    /// What groups are called outside of this process.
    pub(crate) names: GroupNames,
    /// Who may still write the file.
    pub(crate) predecessors: Vec<Predecessor>,
    /// How long they are waited for.
    pub(crate) patience: Duration,
}

/// Why a snapshot was not read or written.
#[derive(Debug)]
enum SnapshotError {
    /// The system refused.
    System(io::Error),
    /// It is larger than what may be kept.
    TooLarge,
    /// It is no snapshot.
    Foreign,
    /// Another version wrote it.
    Version,
    /// It is not as it was written.
    Damaged,
    /// The program ends.
    Stopped,
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => error.fmt(f),
            Self::TooLarge => f.write_str("it is larger than the cache may be"),
            Self::Foreign => f.write_str("it is no snapshot of a cache"),
            Self::Version => f.write_str("another version of the program wrote it"),
            Self::Damaged => f.write_str("it is damaged"),
            Self::Stopped => f.write_str("the program ends"),
        }
    }
}

impl From<io::Error> for SnapshotError {
    fn from(error: io::Error) -> Self {
        // What ends in the middle of something was cut.
        if error.kind() == io::ErrorKind::UnexpectedEof {
            Self::Damaged
        } else {
            Self::System(error)
        }
    }
}

/// The thread at work. Dropping it ends it without waiting, and nothing more is written.
#[derive(Debug)]
pub(crate) struct Keeper {
    stop: Option<SyncSender<()>>,
    abandoned: Arc<AtomicBool>,
    /// Over when the thread has ended.
    ended: oneshot::Receiver<()>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::Release);
    }
}

impl Keeper {
    /// Writes the snapshot a last time. Who stops waiting for that leaves the file as it was.
    pub(crate) async fn end(mut self) {
        drop(self.stop.take());
        // Nothing is ever sent.
        drop((&mut self.ended).await);
    }
}

/// Reads what was written before, in the background, and then writes from time to time.
///
/// # Errors
///
/// When the system gives no thread.
pub(crate) fn start(snapshot: Snapshot) -> io::Result<Keeper> {
    // Nothing is ever sent: the end of the other side is the word.
    let (stop, stopped) = sync_channel(0);
    let (alive, ended) = oneshot::channel();
    let abandoned = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&abandoned);
    std::thread::Builder::new()
        .name("snapshot".into())
        .spawn(move || {
            run(&snapshot, &stopped, &told);
            drop::<oneshot::Sender<()>>(alive);
        })?;
    Ok(Keeper {
        stop: Some(stop),
        abandoned,
        ended,
    })
}

fn run(snapshot: &Snapshot, stopped: &Receiver<()>, abandoned: &AtomicBool) {
    let path = snapshot.path.display();
    beside::clean_up(&snapshot.path);
    // Told now, when there is time to mend it, and not only when there is something to lose.
    if let Err(error) = Beside::create(&snapshot.path) {
        tracing::warn!(%path, %error, "cache snapshots cannot be written; it is tried again");
    }
    let found = snapshot.stamp();
    // What was not read yet must not be lost by writing what was.
    if !snapshot.take_up(stopped) || !snapshot.take_up_what_is_left(found, stopped) {
        return;
    }
    let mut told = false;
    loop {
        let ends = match stopped.recv_timeout(snapshot.every) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => true,
            Err(RecvTimeoutError::Timeout) => false,
        };
        if abandoned.load(Ordering::Acquire) {
            return;
        }
        match snapshot.save() {
            Ok(answers) => {
                told = false;
                tracing::debug!(%path, answers, "cache snapshot written");
            }
            Err(error) if ends => {
                tracing::warn!(%path, %error, "the last cache snapshot could not be written; what was kept is lost");
            }
            Err(error) if !told => {
                told = true;
                tracing::warn!(%path, %error, "cache snapshot not written; it is tried again");
            }
            Err(_) => {}
        }
        if ends {
            return;
        }
    }
}

/// What came of reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Loaded {
    restored: usize,
    refused: usize,
}

impl Snapshot {
    /// Reads the file, if there is one that can be used, and says so. False when it was stopped before it had all of it.
    fn take_up(&self, stopped: &Receiver<()>) -> bool {
        let path = self.path.display();
        match self.load(stopped) {
            Ok(Some(read)) => {
                tracing::info!(%path, read.restored, read.refused, "cache snapshot read");
            }
            Ok(None) => tracing::info!(%path, "no cache snapshot yet"),
            Err(SnapshotError::Stopped) => return false,
            Err(error) => {
                tracing::warn!(%path, %error, "cache snapshot ignored; the next one takes its place");
            }
        }
        true
    }

    /// What tells the file from another one at its place.
    fn stamp(&self) -> Option<(u64, u64, i64, i64)> {
        let facts = fs::metadata(&self.path).ok()?;
        let changed = (facts.ctime(), facts.ctime_nsec());
        Some((facts.dev(), facts.ino(), changed.0, changed.1))
    }

    /// Reads the file once more when those who were here before have ended and have written another one than was `found`. False when it was
    /// stopped.
    fn take_up_what_is_left(
        &self,
        found: Option<(u64, u64, i64, i64)>,
        stopped: &Receiver<()>,
    ) -> bool {
        let began = Instant::now();
        while !self.predecessors.iter().all(Predecessor::has_ended) {
            if began.elapsed() >= self.patience {
                tracing::warn!(
                    "the process whose ports were taken over has not ended; what it kept is not waited for any longer"
                );
                return true;
            }
            match stopped.recv_timeout(SNAPSHOT_PREDECESSOR_LOOK) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        self.stamp() == found || self.take_up(stopped)
    }

    /// Reads the file and puts back what it has; `None` when there is none.
    fn load(&self, stopped: &Receiver<()>) -> Result<Option<Loaded>, SnapshotError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let facts = file.metadata()?;
        if !facts.is_file() {
            return Err(SnapshotError::Foreign);
        }
        let length = facts.len();
        // As many octets as the answers of a full cache take, and more than their places in it.
        if length > u64::try_from(self.cache.size()).unwrap_or(u64::MAX) {
            return Err(SnapshotError::TooLarge);
        }
        self.read(&file, length, stopped).map(Some)
    }

    /// Reads the file twice, all of it before anything of it is believed: the same file, whatever is at the path by then.
    fn read(
        &self,
        mut file: &File,
        length: u64,
        stopped: &Receiver<()>,
    ) -> Result<Loaded, SnapshotError> {
        check_head(&mut file)?;
        file.rewind()?;
        self.check_whole(&mut file, length)?;
        file.rewind()?;
        let mut file = BufReader::with_capacity(64 * 1024, file);
        check_head(&mut file)?;
        self.restore(&mut file, stopped)
    }

    /// Whether the file is as it was written: before anything of it is believed.
    fn check_whole(&self, file: &mut impl Read, length: u64) -> Result<(), SnapshotError> {
        let content = length
            .checked_sub(SHA256_OUTPUT_LEN as u64)
            .ok_or(SnapshotError::Damaged)?;
        let mut sum = Context::new(&SHA256);
        let mut content = file.take(content);
        let mut piece = vec![0; 64 * 1024];
        loop {
            match content.read(&mut piece)? {
                0 => break,
                read => sum.update(piece.get(..read).unwrap_or_default()),
            }
        }
        let mut written = [0; SHA256_OUTPUT_LEN];
        content.into_inner().read_exact(&mut written)?;
        if sum.finish().as_ref() == written {
            Ok(())
        } else {
            Err(SnapshotError::Damaged)
        }
    }

    fn restore(
        &self,
        file: &mut impl Read,
        stopped: &Receiver<()>,
    ) -> Result<Loaded, SnapshotError> {
        let mut loaded = Loaded::default();
        let mut entry = Vec::new();
        while read_entry(file, &mut entry)? {
            match self.put_back(&entry) {
                true => loaded.restored += 1,
                false => loaded.refused += 1,
            }
            if (loaded.restored + loaded.refused).is_multiple_of(SNAPSHOT_SLICE) {
                // Others get their turn, and those who write into the cache theirs.
                match stopped.recv_timeout(SNAPSHOT_PAUSE) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                        return Err(SnapshotError::Stopped);
                    }
                }
            }
        }
        Ok(loaded)
    }

    fn put_back(&self, entry: &[u8]) -> bool {
        let Ok(portable) = Portable::read(entry) else {
            return false;
        };
        let Some(group) = self.names.labelled(portable.label) else {
            return false;
        };
        self.put_back_into(group, &portable)
    }

    fn put_back_into(&self, group: GroupId, portable: &Portable<'_>) -> bool {
        let restored = portable.restored(group, clock::wall());
        let restored = self.cache.restore(&restored, clock::now()).is_ok();
        // Since its name was looked up a reload may have given the group up and forgotten what it had. Nobody would forget this one again, and
        // the place is another route's some time later.
        let there = self.names.labelled(portable.label) == Some(group);
        if !there {
            self.cache.forget(&[group]);
        }
        restored && there
    }

    /// Writes what is kept, and gives back how many answers that are.
    fn save(&self) -> Result<usize, SnapshotError> {
        let (beside, file) = Beside::create(&self.path)?;
        let mut out = Summed {
            out: BufWriter::with_capacity(64 * 1024, file),
            sum: Context::new(&SHA256),
        };
        let written = self.write(&mut out)?;
        let sum = out.sum.finish();
        out.out.write_all(sum.as_ref())?;
        let file = out
            .out
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        beside.take_place(&self.path)?;
        Ok(written)
    }

    fn write(&self, out: &mut Summed<impl Write>) -> Result<usize, SnapshotError> {
        out.write_all(&MAGIC)?;
        out.write_all(&VERSION.to_be_bytes())?;
        let room = u64::try_from(self.cache.size()).unwrap_or(u64::MAX);
        let mut left =
            room.saturating_sub(u64::try_from(MAGIC.len()).unwrap_or_default() + 2 + END_LEN);
        let (mut written, mut slice, mut entry) = (0, Vec::new(), Vec::new());
        let mut progress = Progress::default();
        loop {
            slice.clear();
            let wall = clock::wall();
            let seen = self.cache.visit_next(&mut progress, clock::now(), |kept| {
                entry.clear();
                let write = |label: &[u8]| write_portable(&kept, label, wall, &mut entry);
                if self.names.with_label(kept.group, write) == Some(true) {
                    let length = u32::try_from(entry.len()).unwrap_or(u32::MAX);
                    let octets = u64::from(length) + 4;
                    if octets <= left {
                        left -= octets;
                        written += 1;
                        slice.extend_from_slice(&length.to_be_bytes());
                        slice.extend_from_slice(&entry);
                    }
                }
            });
            if !seen {
                break;
            }
            out.write_all(&slice)?;
        }
        out.write_all(&0_u32.to_be_bytes())?;
        out.write_all(&u64::try_from(written).unwrap_or(u64::MAX).to_be_bytes())?;
        Ok(written)
    }
}

fn check_head(file: &mut impl Read) -> Result<(), SnapshotError> {
    let (mut magic, mut version) = ([0; 8], [0; 2]);
    let whole = file
        .read_exact(&mut magic)
        .and_then(|()| file.read_exact(&mut version));
    if whole.is_err() || magic != MAGIC {
        return Err(SnapshotError::Foreign);
    }
    if u16::from_be_bytes(version) != VERSION {
        return Err(SnapshotError::Version);
    }
    Ok(())
}

/// Reads the next answer; `false` at the end of them.
fn read_entry(file: &mut impl Read, entry: &mut Vec<u8>) -> Result<bool, SnapshotError> {
    let mut length = [0; 4];
    file.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > SNAPSHOT_ENTRY {
        return Err(SnapshotError::Damaged);
    }
    entry.resize(length, 0);
    file.read_exact(entry)?;
    Ok(length > 0)
}

/// Sums up what is written.
struct Summed<W> {
    out: W,
    sum: Context,
}

impl<W: Write> Summed<W> {
    fn write_all(&mut self, octets: &[u8]) -> io::Result<()> {
        self.sum.update(octets);
        self.out.write_all(octets)
    }
}

#[cfg(test)]
mod tests;
