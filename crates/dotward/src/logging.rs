//! Log lines: text or JSON, to standard error or a file.
//!
//! Promises: writing never holds up an answer. Lines go to a thread through a bounded queue; when it is full (a disk that hangs, a
//! terminal that is stopped) lines are dropped, counted, and the count is told as soon as there is room.
//!
//! Deliberately absent: rotation, and the choice of what is logged.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use tracing_subscriber::fmt::MakeWriter;

use crate::config::{LogFormat, LogSettings};
use crate::limits::LOG_LINES;

/// Keeps the writer thread; dropping it writes what is waiting.
#[derive(Debug)]
pub struct LogGuard {
    lines: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        if let Some(lines) = self.lines.take() {
            // A thread that is gone has written all it could.
            drop(lines.send(Message::End));
        }
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

enum Message {
    Line(Vec<u8>),
    End,
}

/// Why logging could not be started.
#[derive(Debug)]
pub enum LogError {
    /// The file cannot be opened for writing.
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The system gives no thread.
    Thread(io::Error),
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, error } => write!(
                f,
                "cannot write the log to {}: {error}\n  fix:     give a file in a directory that exists and that this user may \
                 write to (--log-file), or stderr",
                path.display()
            ),
            Self::Thread(error) => write!(f, "no thread for the log: {error}"),
        }
    }
}

impl std::error::Error for LogError {}

/// Starts logging for the whole process. Later calls have no effect but their own thread.
///
/// # Errors
///
/// [`LogError`], ready to be shown.
pub fn start(settings: &LogSettings) -> Result<LogGuard, LogError> {
    let target: Box<dyn Write + Send> = match &settings.file {
        None => Box::new(io::stderr()),
        Some(path) => Box::new(open(path).map_err(|error| LogError::File {
            path: path.clone(),
            error,
        })?),
    };
    let (lines, queue) = sync_channel(LOG_LINES);
    let dropped = Arc::new(AtomicU64::new(0));
    let thread = {
        let dropped = Arc::clone(&dropped);
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write_lines(&queue, target, &dropped))
            .map_err(LogError::Thread)?
    };
    let queue = LineQueue {
        lines: lines.clone(),
        dropped,
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(settings.level)
        .with_target(false)
        .with_ansi(false)
        .with_writer(queue);
    // Only the first subscriber of a process counts; a second start (in tests) keeps it.
    let started = match settings.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    drop(started);
    Ok(LogGuard {
        lines: Some(lines),
        thread: Some(thread),
    })
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn write_lines(queue: &Receiver<Message>, mut target: Box<dyn Write + Send>, dropped: &AtomicU64) {
    while let Ok(Message::Line(line)) = queue.recv() {
        let missing = dropped.swap(0, Ordering::Relaxed);
        if missing > 0 {
            let note = format!("{missing} log lines dropped: the log is too slow\n");
            drop(target.write_all(note.as_bytes()));
        }
        // There is nobody to tell that telling failed.
        drop(target.write_all(&line));
    }
    drop(target.flush());
}

#[derive(Debug, Clone)]
struct LineQueue {
    lines: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl<'a> MakeWriter<'a> for LineQueue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line {
            queue: self,
            octets: Vec::new(),
        }
    }
}

/// One line on its way to the queue, which it enters when it is dropped.
struct Line<'a> {
    queue: &'a LineQueue,
    octets: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.octets.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let line = Message::Line(std::mem::take(&mut self.octets));
        if self.queue.lines.try_send(line).is_err() {
            self.queue.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}
