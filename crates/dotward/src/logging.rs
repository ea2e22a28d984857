//! Log lines: text or JSON, to standard error or a file.
//!
//! Promises: writing never holds up an answer. Lines go to a thread through a bounded queue; when it is full (a disk that hangs, a
//! terminal that is stopped), and when the log takes none (a disk that is full, a pipe nobody reads any more), lines are dropped, counted,
//! and the count is told in the log as soon as it takes lines again. A log that takes nothing does not keep the process from ending.
//! A file that was moved away or removed is made anew with the next line, so that whoever rotates logs need not tell us. One event is one
//! line, whatever is in it. Level, form and file may change while lines are written. A file that is made is for its owner to write and its
//! group to read (0640), for at debug it says who asks for what; it is made and opened as the user that the program becomes.
//!
//! Deliberately absent: moving files away and removing old ones, and the choice of what is logged.

use std::borrow::Cow;
use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{self as lines, MakeWriter};
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::{LogFormat, LogSettings};
use crate::limits::{LOG_END, LOG_LINES};
use crate::plain;
use crate::privileges::FileUser;

mod error;
mod file;

pub use error::LogError;
use file::LogFile;

/// Keeps the writer thread; dropping it writes what is waiting, if that takes no longer than
/// a second.
#[derive(Debug)]
pub struct LogGuard {
    lines: SyncSender<Message>,
    ending: Arc<AtomicBool>,
    /// Closed when the thread is over.
    over: Receiver<Infallible>,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        // Wakes a thread that waits for lines. One whose queue is full does not, and one that is gone has written all it could.
        drop(self.lines.try_send(Message::End));
        // A log that takes nothing does not keep the process from ending.
        match self.over.recv_timeout(LOG_END) {
            Ok(never) => match never {},
            Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {}
        }
    }
}

enum Message {
    Line(Vec<u8>),
    /// Where lines go from here on.
    Target(Target),
    End,
}

/// Starts logging for the whole process. Later calls have no effect but their own thread.
///
/// # Errors
///
/// [`LogError`], ready to be shown.
pub fn start(settings: &LogSettings) -> Result<LogGuard, LogError> {
    start_as(None, settings)
}

/// The same with files made and opened as `user`, who the process becomes later: whoever owns the directory of the log could lead root to
/// any file by a link.
///
/// # Errors
///
/// [`LogError`], ready to be shown.
pub(crate) fn start_as(
    user: Option<FileUser>,
    settings: &LogSettings,
) -> Result<LogGuard, LogError> {
    let next = Next::default();
    let wanted = settings.clone();
    let open = move || Target::open_as(user, &wanted);
    let (guard, queue) = start_thread(open, next.clone())?;
    let (level, handle) = reload::Layer::new(settings.level);
    let (format, of_format) = reload::Layer::new(formatted(settings.format, queue.clone()));
    let subscriber = tracing_subscriber::registry().with(level).with(format);
    // Only the first subscriber of a process counts; a second start (in tests) keeps it.
    if subscriber.try_init().is_ok() {
        let log = Log {
            level: handle,
            format: of_format,
            queue,
            next,
        };
        drop(LOG.set(log));
    }
    Ok(guard)
}

/// What takes the lines.
struct Target {
    out: Box<dyn Write + Send>,
    /// The form of lines of its own.
    format: LogFormat,
}

impl Target {
    fn open(settings: &LogSettings) -> Result<Self, LogError> {
        let out: Box<dyn Write + Send> = match &settings.file {
            None => Box::new(io::stderr()),
            Some(path) => Box::new(LogFile::open(path).map_err(|error| LogError::File {
                path: path.clone(),
                user: None,
                error,
            })?),
        };
        let format = settings.format;
        Ok(Self { out, format })
    }

    /// The same as `user`, which this thread is from now on where files are concerned.
    fn open_as(as_user: Option<FileUser>, settings: &LogSettings) -> Result<Self, LogError> {
        // Nothing else is opened before the process is that user.
        let Some(as_user) = as_user.filter(|_| settings.file.is_some()) else {
            return Self::open(settings);
        };
        as_user.assume().map_err(|error| LogError::User {
            user: as_user.name().to_owned(),
            error,
        })?;
        Self::open(settings).map_err(|error| match error {
            LogError::File { path, error, .. } => LogError::File {
                path,
                user: Some(as_user.name().to_owned()),
                error,
            },
            LogError::User { .. } | LogError::Thread(_) => error,
        })
    }
}

/// What takes the lines from the next one on, where the queue was too full to say so.
#[derive(Clone, Default)]
struct Next(Arc<Mutex<Option<Target>>>);

impl Next {
    fn set(&self, target: Target) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(target);
    }

    fn take(&self) -> Option<Target> {
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        next.take()
    }
}

type Levelled = Layered<reload::Layer<LevelFilter, Registry>, Registry>;
type Formatted = Box<dyn Layer<Levelled> + Send + Sync>;

fn formatted(format: LogFormat, queue: LineQueue) -> Formatted {
    let layer = lines::layer()
        .with_target(false)
        .with_ansi(false)
        .with_writer(queue);
    match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

/// The log of the process.
struct Log {
    level: reload::Handle<LevelFilter, Registry>,
    format: reload::Handle<Formatted, Levelled>,
    queue: LineQueue,
    next: Next,
}

/// There once logging has started.
static LOG: OnceLock<Log> = OnceLock::new();

/// Other settings for the log, with what they name open already.
pub(crate) struct Change {
    level: LevelFilter,
    format: LogFormat,
    target: Target,
}

impl Change {
    /// Opens what `settings` name, anew if it is open already.
    ///
    /// # Errors
    ///
    /// [`LogError`], ready to be shown.
    pub(crate) fn prepare(settings: &LogSettings) -> Result<Self, LogError> {
        Ok(Self {
            level: settings.level,
            format: settings.format,
            target: Target::open(settings)?,
        })
    }

    /// Has all lines from now on go by it. Nothing happens where logging was not started by [`start`].
    pub(crate) fn apply(self) {
        let Some(log) = LOG.get() else {
            return;
        };
        // Behind the lines that wait for the target of before.
        let target = Message::Target(self.target);
        if let Err(full) = log.queue.lines.try_send(target)
            && let TrySendError::Full(Message::Target(target)) = full
        {
            log.next.set(target);
        }
        let levelled = log.level.reload(self.level);
        let format = formatted(self.format, log.queue.clone());
        if let (Err(error), _) | (_, Err(error)) = (levelled, log.format.reload(format)) {
            tracing::error!(%error, "the log keeps its form");
        }
    }
}

/// Lines of the process's log that were dropped so far.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines that the log did not take since the start.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// From which level on lines are written; `None` before logging has started.
pub fn level() -> Option<LevelFilter> {
    LOG.get()?.level.clone_current()
}

/// Writes lines from this level on.
///
/// # Errors
///
/// When logging was not started by [`start`].
pub fn set_level(level: LevelFilter) -> Result<(), &'static str> {
    let changed = LOG.get().map(|log| log.level.reload(level));
    match changed {
        Some(Ok(())) => Ok(()),
        Some(Err(_)) | None => Err("this program does not write its log itself"),
    }
}

/// Starts the thread that writes, to what it has from `open`.
fn start_thread(
    open: impl FnOnce() -> Result<Target, LogError> + Send + 'static,
    next: Next,
) -> Result<(LogGuard, LineQueue), LogError> {
    let (lines, queue) = sync_channel(LOG_LINES);
    let (alive, over) = sync_channel(0);
    let ending = Arc::new(AtomicBool::new(false));
    let dropped = Arc::new(AtomicU64::new(0));
    let writer = {
        let (dropped, ending) = (Arc::clone(&dropped), Arc::clone(&ending));
        |target| Writer {
            queue,
            target,
            next,
            torn: false,
            dropped,
            ending,
            _alive: alive,
        }
    };
    let (opening, opened) = sync_channel(1);
    let work = move || match open() {
        Ok(target) => {
            drop(opening.send(Ok(())));
            writer(target).run();
        }
        Err(error) => drop(opening.send(Err(error))),
    };
    let thread = std::thread::Builder::new().name("log".into());
    thread.spawn(work).map_err(LogError::Thread)?;
    let lost = |_| Err(LogError::Thread(io::Error::other("it ended")));
    opened.recv().unwrap_or_else(lost)?;
    let queue = LineQueue {
        lines: lines.clone(),
        dropped,
    };
    let guard = LogGuard {
        lines,
        ending,
        over,
    };
    Ok((guard, queue))
}

/// What the thread has.
struct Writer {
    queue: Receiver<Message>,
    target: Target,
    next: Next,
    /// A part of a line was taken, and not its end.
    torn: bool,
    /// Lines dropped that were not told of yet.
    dropped: Arc<AtomicU64>,
    ending: Arc<AtomicBool>,
    /// Tells the guard by its end that everything is written.
    _alive: SyncSender<Infallible>,
}

impl Writer {
    fn run(mut self) {
        while let Some(line) = self.next_line() {
            if let Some(target) = self.next.take() {
                self.replace(target);
            }
            if !(self.tell_dropped() && self.put(&line)) {
                count_dropped(&self.dropped);
            }
        }
        self.tell_dropped();
        // There is nobody to tell that the last octets were not taken.
        drop(self.target.out.flush());
    }

    fn next_line(&mut self) -> Option<Vec<u8>> {
        loop {
            // Once the end is near nothing is waited for: a queue that was full did not take the word of it.
            let message = if self.ending.load(Ordering::Acquire) {
                self.queue.try_recv().ok()
            } else {
                self.queue.recv().ok()
            };
            match message? {
                Message::Line(line) => return Some(line),
                Message::Target(target) => self.replace(target),
                Message::End => return None,
            }
        }
    }

    fn replace(&mut self, target: Target) {
        drop(self.target.out.flush());
        self.target = target;
        self.torn = false;
    }

    /// Tells how many lines are missing at this place. False when some are and the log does not take that either.
    fn tell_dropped(&mut self) -> bool {
        let missing = self.dropped.load(Ordering::Relaxed);
        if missing == 0 {
            return true;
        }
        let told = self.put(note(missing, self.target.format).as_bytes());
        if told {
            self.dropped.fetch_sub(missing, Ordering::Relaxed);
        }
        told
    }

    /// Writes one line. False when the log does not take all of it.
    fn put(&mut self, line: &[u8]) -> bool {
        // The line that was cut stays what it is, and this one is whole.
        let end: &[u8] = if self.torn { b"\n" } else { b"" };
        let octets = [end, line].concat();
        let mut left = octets.as_slice();
        while !left.is_empty() {
            match self.target.out.write(left) {
                Ok(taken) if taken > 0 => {
                    left = left.get(taken..).unwrap_or_default();
                    self.torn = !left.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return false,
            }
        }
        true
    }
}

/// The line about lines that are missing, as the others are written.
fn note(missing: u64, format: LogFormat) -> String {
    const MESSAGE: &str = "log lines dropped: the log takes none, or too slowly";
    let mut now = String::new();
    let written = SystemTime.format_time(&mut lines::format::Writer::new(&mut now));
    debug_assert!(written.is_ok(), "a String takes everything");
    match format {
        LogFormat::Text => format!("{now}  WARN {MESSAGE} lines={missing}\n"),
        LogFormat::Json => {
            format!(
                "{{\"timestamp\":\"{now}\",\"level\":\"WARN\",\"message\":\"{MESSAGE}\",\"lines\":{missing}}}\n"
            )
        }
    }
}

fn count_dropped(untold: &AtomicU64) {
    untold.fetch_add(1, Ordering::Relaxed);
    DROPPED.fetch_add(1, Ordering::Relaxed);
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
        let octets = std::mem::take(&mut self.octets);
        let line = Message::Line(match plain::log_line(&octets) {
            Cow::Borrowed(_) => octets,
            Cow::Owned(escaped) => escaped,
        });
        if self.queue.lines.try_send(line).is_err() {
            count_dropped(&self.queue.dropped);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::sync_channel;
    use std::time::{Duration, Instant};

    use super::*;

    /// A log that takes nothing until its gate opens, and then tells what it gets.
    struct Stuck {
        gate: Receiver<Infallible>,
        written: SyncSender<Vec<u8>>,
    }

    impl Write for Stuck {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            // Nothing is ever sent: closing the gate's other end opens it.
            let (Ok(_) | Err(_)) = self.gate.recv();
            drop(self.written.send(octets.to_vec()));
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn stuck(gate: Receiver<Infallible>, written: SyncSender<Vec<u8>>) -> Target {
        Target {
            out: Box::new(Stuck { gate, written }),
            format: LogFormat::Text,
        }
    }

    #[test]
    fn one_event_is_one_line_whatever_is_in_it() {
        let (written, lines) = sync_channel(8);
        let (open, gate) = sync_channel(1);
        drop(open);
        let target = stuck(gate, written);
        let (guard, queue) = start_thread(|| Ok(target), Next::default()).unwrap();
        queue
            .make_writer()
            .write_all(b"WARN a\n\x1b[2J b\n")
            .unwrap();
        drop((guard, queue));
        let lines: Vec<Vec<u8>> = lines.iter().collect();
        assert_eq!(lines, [b"WARN a\\u000a\\u001b[2J b\n"]);
    }

    #[test]
    fn a_stuck_log_with_a_full_queue_does_not_hold_up_the_end() {
        let (open, gate) = sync_channel(1);
        let (written, lines) = sync_channel(2 * LOG_LINES);
        let target = stuck(gate, written);
        let (guard, queue) = start_thread(|| Ok(target), Next::default()).unwrap();
        let all = LOG_LINES + 10;
        for _ in 0..all {
            queue.make_writer().write_all(b"line\n").unwrap();
        }
        let began = Instant::now();
        drop(guard);
        assert!(began.elapsed() < Duration::from_secs(2));
        // Should it get going after all, everything is told or counted.
        drop(open);
        let lines: Vec<Vec<u8>> = lines.iter().collect();
        let (told, notes): (Vec<_>, Vec<_>) = lines.iter().partition(|line| *line == b"line\n");
        let note = String::from_utf8(notes.into_iter().flatten().copied().collect()).unwrap();
        let dropped = all - told.len();
        assert!(dropped > 0);
        assert!(
            note.contains("log lines dropped") && note.ends_with(&format!(" lines={dropped}\n")),
            "{note}"
        );
    }

    /// A log with room for so many octets, and what it took.
    #[derive(Clone)]
    struct Small(Arc<Mutex<(usize, Vec<u8>)>>);

    impl Small {
        fn with_room(octets: usize) -> Self {
            Self(Arc::new(Mutex::new((octets, Vec::new()))))
        }

        fn make_room(&self, octets: usize) {
            self.0.lock().unwrap().0 += octets;
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().1.clone()).unwrap()
        }
    }

    impl Write for Small {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            let mut inside = self.0.lock().unwrap();
            let taken = octets.len().min(inside.0);
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            inside.0 -= taken;
            inside.1.extend_from_slice(&octets[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn writer(target: &Small) -> (Writer, SyncSender<Message>) {
        let (lines, queue) = sync_channel(LOG_LINES);
        let writer = Writer {
            queue,
            target: Target {
                out: Box::new(target.clone()),
                format: LogFormat::Json,
            },
            next: Next::default(),
            torn: false,
            dropped: Arc::default(),
            ending: Arc::default(),
            _alive: sync_channel(0).0,
        };
        (writer, lines)
    }

    #[test]
    fn lines_a_full_disk_does_not_take_are_counted_and_told_when_it_does() {
        let line = b"{\"level\":\"INFO\"}\n";
        let log = Small::with_room(line.len() * 2 + 5);
        let (mut writer, _lines) = writer(&log);
        let put = |writer: &mut Writer| {
            let taken = writer.tell_dropped() && writer.put(line);
            if !taken {
                count_dropped(&writer.dropped);
            }
            taken
        };
        assert_eq!(
            [(); 5].map(|()| put(&mut writer)),
            [true, true, false, false, false]
        );
        log.make_room(1_000);
        assert!(put(&mut writer) && put(&mut writer));
        let text = log.text();
        let lines: Vec<&str> = text.lines().collect();
        // Two that were whole, a piece of the third, the note, and two more.
        assert_eq!(lines.len(), 6, "{text}");
        let note: serde_json::Value = serde_json::from_str(lines[3]).unwrap();
        assert_eq!(note["lines"], 3);
        assert_eq!(note["level"], "WARN");
        assert!(note["timestamp"].as_str().unwrap().ends_with('Z'));
        assert!(text.ends_with("}\n"));
    }
}
