//! The line protocol by which a running server is switched, over stdin or a Unix socket.
//!
//! One command a line, one line back: `ok`, `ok` with a figure or JSON, or `error` with what is wrong.
//!
//! * `mode WORDS` · `mode-fresh WORDS` · `mode-live WORDS`: the words of [`crate::script`], for all connections, for
//!   those accepted from here on, for the live ones.
//! * `release`: what is held back leaves. `close [notify|fin|reset]`: every live connection ends.
//! * `counters`: the totals as JSON. `asked NAME TYPE-NUMBER`: how often.
//! * `wait queries|responses|connections|handshakes N [DURATION]` · `wait closed [DURATION]`: answers when the figure
//!   is reached or no connection is open.
//! * `stop`: the program ends.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::counters::Counters;
use crate::limits;
use crate::mode::{Ending, Mode};
use crate::script;
use crate::server::Running;

/// What a command line led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Done; the text is what follows `ok`, possibly nothing.
    Done(String),
    /// Refused or not reached; the text says why.
    Failed(String),
    /// The program is to end.
    Stop,
}

impl Reply {
    /// The line that is sent back, with its line feed.
    pub fn line(&self) -> String {
        match self {
            Self::Done(text) if text.is_empty() => "ok\n".to_owned(),
            Self::Done(text) => format!("ok {text}\n"),
            Self::Failed(why) => format!("error {why}\n"),
            Self::Stop => "ok stopping\n".to_owned(),
        }
    }

    fn of<T>(result: Result<T, String>, text: impl FnOnce(T) -> String) -> Self {
        match result {
            Ok(value) => Self::Done(text(value)),
            Err(why) => Self::Failed(why),
        }
    }
}

/// Carries out one line.
pub async fn execute(running: &Running, line: &str) -> Reply {
    let (command, rest) = line
        .trim()
        .split_once(' ')
        .unwrap_or_else(|| (line.trim(), ""));
    match command {
        "mode" => with_mode(rest, |mode| running.set_mode(mode)),
        "mode-fresh" => with_mode(rest, |mode| running.set_mode_of_fresh(mode)),
        "mode-live" => with_mode(rest, |mode| running.set_mode_of_live(mode)),
        "release" => {
            running.release();
            Reply::Done(String::new())
        }
        "close" => close(running, rest),
        "counters" => Reply::Done(running.counters().to_json()),
        "asked" => Reply::of(asked(running, rest), |times| times.to_string()),
        "wait" => Reply::of(wait(running, rest).await, |counters| counters.to_json()),
        "stop" => Reply::Stop,
        _ => Reply::Failed(format!("no command is called {command:?}")),
    }
}

fn with_mode(words: &str, set: impl FnOnce(Mode)) -> Reply {
    let mode = words
        .parse()
        .map_err(|error: script::ScriptError| error.to_string());
    Reply::of(mode, |mode| {
        set(mode);
        String::new()
    })
}

fn close(running: &Running, word: &str) -> Reply {
    let ending = if word.is_empty() {
        Some(Ending::Notify)
    } else {
        script::ending(word)
    };
    Reply::of(
        ending.ok_or_else(|| "write close notify|fin|reset".to_owned()),
        |ending| {
            running.close_connections(ending);
            String::new()
        },
    )
}

fn asked(running: &Running, rest: &str) -> Result<u64, String> {
    let (name, qtype) = rest.split_once(' ').unwrap_or((rest, "1"));
    let qtype = qtype
        .trim()
        .parse()
        .map_err(|_| "write asked NAME TYPE-NUMBER".to_owned())?;
    Ok(running.times_asked(name, qtype))
}

async fn wait(running: &Running, rest: &str) -> Result<Counters, String> {
    let form = || {
        "write wait queries|responses|connections|handshakes N [DURATION] or wait closed [DURATION]"
            .to_owned()
    };
    let mut words = rest.split_whitespace();
    let figure: fn(&Counters) -> u64 = match words.next() {
        Some("queries") => |counters| counters.queries,
        Some("responses") => |counters| counters.responses,
        Some("connections") => |counters| counters.connections_accepted,
        Some("handshakes") => |counters| counters.handshakes_completed,
        Some("closed") => |counters| u64::from(counters.connections_open == 0),
        Some(_) | None => return Err(form()),
    };
    let least = match rest.starts_with("closed") {
        true => 1,
        false => words.next().and_then(|n| n.parse().ok()).ok_or_else(form)?,
    };
    let bound: Duration = match words.next() {
        Some(bound) => script::duration(bound).ok_or_else(form)?,
        None => limits::WAIT,
    };
    running
        .wait_until_within(bound, |counters| figure(counters) >= least)
        .await
        .map_err(|_| format!("not within {bound:?}: {}", running.counters().to_json()))
}

/// Carries out lines from a channel, such as those of stdin, until one says `stop`. `answer` takes each reply.
pub async fn serve_lines(
    running: &Running,
    mut lines: mpsc::Receiver<String>,
    mut answer: impl FnMut(&Reply),
) {
    while let Some(line) = lines.recv().await {
        let reply = execute(running, &line).await;
        answer(&reply);
        if reply == Reply::Stop {
            return;
        }
    }
    // Without a hand at stdin the server goes on.
    std::future::pending::<()>().await;
}

/// Carries out lines from any number of clients of a Unix socket until one says `stop`.
///
/// # Errors
/// When the socket cannot be bound; a socket left behind at `path` is replaced.
pub async fn serve_socket(running: &Running, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt as _;
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    let (asking, mut questions) = mpsc::channel::<Question>(LINES_QUEUED);
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                clients.spawn(serve_client(stream, asking.clone()));
            },
            Some(_) = clients.join_next() => {}
            Some((line, answer)) = questions.recv() => {
                let reply = execute(running, &line).await;
                let stop = reply == Reply::Stop;
                // A client that left does not want its reply.
                drop(answer.send(reply));
                if stop {
                    return Ok(());
                }
            }
        }
    }
}

/// Lines of all clients together that wait for their turn.
const LINES_QUEUED: usize = 16;

type Question = (String, oneshot::Sender<Reply>);

async fn serve_client(stream: UnixStream, asking: mpsc::Sender<Question>) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        let (sender, receiver) = oneshot::channel();
        if asking.send((line, sender)).await.is_err() {
            break;
        }
        let Ok(reply) = receiver.await else { break };
        writer.write_all(reply.line().as_bytes()).await?;
    }
    Ok(())
}
