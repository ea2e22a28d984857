//! `dotward top`: what the running program does, as it does it.
//!
//! Promises: the terminal is as it was before when it ends, by `q`, Ctrl-C or SIGTERM; a program that does not answer, or is started
//! again meanwhile, is waited for. It asks over the control socket as `dotward status` does and costs the program no more.
//!
//! Deliberately absent: names that were asked for, and clients.

use std::fmt;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::control::Request;
use crate::control::client::{self, ClientError};
use screen::Screen;
use view::{Sample, View};

mod screen;
mod view;

/// Keys that wait to be looked at. Nobody types faster.
const KEYS: usize = 16;

/// Why there is nothing to see.
#[derive(Debug)]
pub enum TopError {
    /// Input or output is no terminal.
    NoTerminal,
    /// The program could not be asked the first time.
    Client(ClientError),
    /// The terminal or the system refused something.
    System(io::Error),
}

impl fmt::Display for TopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTerminal => f.write_str(
                "top needs a terminal\n  fix:     dotward status prints one screen of text, dotward status --json the same for programs",
            ),
            Self::Client(error) => error.fmt(f),
            Self::System(error) => write!(f, "the terminal cannot be used: {error}"),
        }
    }
}

impl std::error::Error for TopError {}

impl From<io::Error> for TopError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// Shows what the program at `path` does until somebody has seen enough.
///
/// # Errors
///
/// [`TopError`], ready to be shown.
pub fn run(path: &Path, every: Duration, colour: bool) -> Result<(), TopError> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(TopError::NoTerminal);
    }
    // A wrong path is told on the screen that stays.
    let first = client::ask(path, &Request::Status).map_err(TopError::Client)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut view = View::new(colour);
    view.handle_sample(Sample::new(first.value, Instant::now()));
    let shown = runtime.block_on(show(path, every, view));
    // A question that waits for its answer holds nobody up.
    runtime.shutdown_background();
    Ok(shown?)
}

async fn show(path: &Path, every: Duration, mut view: View) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut resized = signal(SignalKind::window_change())?;
    let mut screen = Screen::new()?;
    let mut keys = keys()?;
    let mut asking: Option<Asking> = None;
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        screen.draw(&view.lines())?;
        tokio::select! {
            _ = ticks.tick() => {
                if asking.is_none() {
                    asking = Some(ask(path.to_owned()));
                }
            }
            answered = answer(&mut asking) => {
                asking = None;
                view.handle_answer(answered, Instant::now());
            }
            key = keys.recv() => {
                if quits(key) {
                    return Ok(());
                }
            }
            () = received(&mut terminate) => return Ok(()),
            () = received(&mut hang_up) => return Ok(()),
            () = received(&mut resized) => {}
        }
    }
}

type Asking = JoinHandle<Result<Value, ClientError>>;

fn ask(path: PathBuf) -> Asking {
    tokio::task::spawn_blocking(move || {
        client::ask(&path, &Request::Status).map(|answered| answered.value)
    })
}

/// The answer to the question that is under way; nothing ever without one.
async fn answer(asking: &mut Option<Asking>) -> Result<Value, String> {
    let Some(asking) = asking else {
        return std::future::pending().await;
    };
    match asking.await {
        Ok(answered) => answered.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

async fn received(signal: &mut Signal) {
    // `None` only when there will never be another one.
    if signal.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

/// Keys as they are pressed; the end of the channel is the end of the terminal. The thread that reads them ends with the process,
/// because nothing else ends a read of a terminal.
fn keys() -> io::Result<mpsc::Receiver<u8>> {
    let (pressed, keys) = mpsc::channel(KEYS);
    std::thread::Builder::new()
        .name("keys".into())
        .spawn(move || {
            let mut key = [0];
            while io::stdin().read_exact(&mut key).is_ok() {
                if pressed.blocking_send(key[0]).is_err() {
                    return;
                }
            }
        })?;
    Ok(keys)
}

/// q, Ctrl-C, Ctrl-D, or no more keys.
fn quits(key: Option<u8>) -> bool {
    key.is_none_or(|key| b"qQ\x03\x04".contains(&key))
}
