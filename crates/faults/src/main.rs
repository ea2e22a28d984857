//! The command `dotward-faults`: starts one misbehaving DoT server and switches it by lines on stdin or a socket.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use dotward_faults::script::WORDS;
use dotward_faults::{Config, Mode, Running, Server, TestCa, control};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Control lines read from stdin ahead of their execution.
const LINES_QUEUED: usize = 16;

fn command() -> Command {
    Command::new("dotward-faults")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A DNS-over-TLS server that misbehaves on purpose")
        .after_long_help(words())
        .arg(
            Arg::new("listen")
                .long("listen")
                .value_name("ADDRESS:PORT")
                .default_value("127.0.0.1:0")
                .value_parser(value_parser!(SocketAddr))
                .help("Where to listen; port 0 takes a free one"),
        )
        .arg(
            Arg::new("name")
                .long("name")
                .default_value("dot.test")
                .help("DNS name or IP address in the certificate"),
        )
        .arg(
            Arg::new("mode")
                .long("mode")
                .value_name("WORDS")
                .action(ArgAction::Append)
                .help("What to do wrong, as listed by --help; several are joined"),
        )
        .arg(path(
            "ca-out",
            "Writes the certificate of the CA to this file, as PEM",
        ))
        .arg(path(
            "client-out",
            "Writes a client certificate and its key to this file, as PEM",
        ))
        .arg(path(
            "control",
            "Takes control lines on this Unix socket as well as on stdin",
        ))
}

fn path(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help(help)
}

fn words() -> String {
    let mut text = "Modes, joined by commas:\n".to_owned();
    for word in WORDS {
        text.push_str(&format!(
            "  {}{}\n      {}\n",
            word.word, word.parameter, word.meaning
        ));
    }
    text
}

fn start(matches: &ArgMatches) -> Result<Running, String> {
    let ca = TestCa::new().map_err(|error| error.to_string())?;
    let name = matches
        .get_one::<String>("name")
        .map_or("dot.test", String::as_str);
    let mut config = Config::new(&ca, name);
    if let Some(address) = matches.get_one("listen") {
        config.address = *address;
    }
    let modes: Vec<&str> = matches
        .get_many::<String>("mode")
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    config.mode = modes
        .join(",")
        .parse::<Mode>()
        .map_err(|error| format!("--mode: {error}; --help lists the modes"))?;
    let running = Server::start(config).map_err(|error| error.to_string())?;
    if let Some(file) = matches.get_one::<PathBuf>("client-out") {
        let client = ca
            .client("client.dot.test")
            .map_err(|error| error.to_string())?;
        let pem = client.chain_pem().to_owned() + &client.key_pem();
        std::fs::write(file, pem).map_err(|error| format!("--client-out: {error}"))?;
    }
    if let Some(file) = matches.get_one::<PathBuf>("ca-out") {
        ca.write_pem(file)
            .map_err(|error| format!("--ca-out: {error}"))?;
    }
    Ok(running)
}

/// Prints a line at once, even into a pipe.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody listening is no reason to stop serving.
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Reads stdin in a thread of its own: a read cannot be taken back when the program wants to end.
fn lines_of_stdin() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(LINES_QUEUED);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

async fn serve(matches: &ArgMatches) -> Result<(), String> {
    let running = start(matches)?;
    say(&format!("listening on {}\n", running.address()));
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let socket = async {
        match matches.get_one::<PathBuf>("control") {
            Some(path) => control::serve_socket(&running, path).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = control::serve_lines(&running, lines_of_stdin(), |reply| say(&reply.line())) => {}
        result = socket => result.map_err(|error| format!("--control: {error}"))?,
        Ok(()) = tokio::signal::ctrl_c() => {}
        Some(()) = terminate.recv() => {}
    }
    running.stop().await;
    Ok(())
}

fn main() -> ExitCode {
    let matches = command().get_matches();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(serve(&matches)),
        Err(error) => Err(error.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let line = format!("dotward-faults: {why}\n");
            // Without stderr the exit code has to do.
            drop(std::io::stderr().write_all(line.as_bytes()));
            ExitCode::from(2)
        }
    }
}
