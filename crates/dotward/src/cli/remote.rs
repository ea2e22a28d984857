//! The commands that speak to a running program.

use std::time::Duration;

use clap::{Arg, ArgMatches, Command};
use tracing::level_filters::LevelFilter;

use super::arguments::{sub, switch, with_settings};
use crate::config::value::{self, Value};
use crate::config::{Name, RecordType};
use crate::control::{LEVELS, Request};
use crate::limits::TOP_PAUSE;
use crate::settings::{Id, Kind};

/// All of them. The list of commands leaves them to its heading and to the end of the long help, so that it fits a screen.
pub(super) fn commands() -> impl Iterator<Item = Command> {
    all().into_iter().map(|command| command.hide(true))
}

fn all() -> [Command; 6] {
    [status(), top(), cache(), reload(), log_level(), drain()]
}

/// What they are called.
pub(super) fn names() -> Vec<String> {
    all().map(|it| it.get_name().to_owned()).into()
}

/// A line for each.
pub(super) fn lines() -> Vec<String> {
    let about = |command: &Command| command.get_about().map(ToString::to_string);
    let line = |it: Command| format!("  {:<10} {}", it.get_name(), about(&it).unwrap_or_default());
    all().map(line).into()
}

fn status() -> Command {
    let about = "Show the state of the running program; exit code 1 when something is wrong";
    let lines = [
        "dotward status",
        "dotward status --json",
        "dotward status --control /run/dotward/control.sock",
    ];
    let command = sub("status", about, lines).arg(switch("json", "Print it as JSON"));
    with_socket(command)
}

fn top() -> Command {
    let about = "Watch what the running program does; press q to quit";
    let lines = [
        "dotward top",
        "dotward top --every 200ms",
        "dotward top --control /run/dotward/control.sock",
    ];
    let command = sub("top", about, lines).arg(
        Arg::new("every")
            .long("every")
            .value_name("DUR")
            .default_value("1s")
            .help("How often it looks, 100ms to 1m")
            .value_parser(pause),
    );
    with_socket(command)
}

fn pause(text: &str) -> Result<Duration, String> {
    let (min, max) = TOP_PAUSE;
    match value::parse(Kind::Duration { min, max }, text) {
        Ok(Value::Duration(pause)) => Ok(pause),
        Ok(_) => Err("not a duration".into()),
        Err(fault) => Err(format!("{fault}; {}", fault.remedy())),
    }
}

/// The pause of a `top` command.
pub(super) fn top_pause(matches: &ArgMatches) -> Duration {
    let given = matches.get_one::<Duration>("every").copied();
    given.unwrap_or(Duration::from_secs(1))
}

fn cache() -> Command {
    let about = "The cache of the running program: stats, get NAME, flush";
    let lines = [
        "dotward cache stats",
        "dotward cache get www.example.com",
        "dotward cache flush example.com",
    ];
    let json = || switch("json", "Print it as JSON");
    let name = |text: &str| text.parse::<Name>();
    let qtype = |text: &str| text.parse::<RecordType>();
    let stats = sub("stats", "Print cache size, hits and misses", lines).arg(json());
    let get = sub(
        "get",
        "Print the cached answers for a name; exit code 1 if there are none",
        lines,
    )
    .arg(
        Arg::new("NAME")
            .help("The name")
            .required(true)
            .value_parser(name),
    )
    .arg(
        Arg::new("TYPE")
            .help("The record type [default: all]")
            .value_parser(qtype),
    )
    .arg(json());
    let flush = sub(
        "flush",
        "Drop cached answers at and below a name, or everything",
        lines,
    )
    .arg(
        Arg::new("SUFFIX")
            .help("The name [default: everything]")
            .value_parser(name),
    )
    .arg(json());
    sub("cache", about, lines)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommands([stats, get, flush].map(with_socket))
}

/// The request of a `cache` command.
pub(super) fn cache_request(command: &str, matches: &ArgMatches) -> Option<Request> {
    let name = |id: &str| matches.get_one::<Name>(id).cloned();
    match command {
        "stats" => Some(Request::CacheStats),
        "get" => Some(Request::CacheGet(
            name("NAME")?,
            matches.get_one::<RecordType>("TYPE").copied(),
        )),
        "flush" => Some(Request::CacheFlush(name("SUFFIX"))),
        _ => None,
    }
}

fn log_level() -> Command {
    let about = "Change the log level of the running program until it ends or reads its configuration again";
    let lines = [
        "dotward log-level debug",
        "dotward log-level info",
        "dotward log-level warn --control /run/dotward/control.sock",
    ];
    let command = sub("log-level", about, lines).arg(
        Arg::new("LEVEL")
            .help("off, error, warn, info, debug or trace")
            .required(true)
            .value_parser(level),
    );
    with_socket(command)
}

fn reload() -> Command {
    let about = "Have the running program read its configuration again and apply it; exit code 2 when it has faults";
    let lines = [
        "dotward reload",
        "dotward check && dotward reload",
        "dotward reload --control /run/dotward/control.sock",
    ];
    let command = sub("reload", about, lines).arg(switch("json", "Print what changed as JSON"));
    with_socket(command)
}

fn drain() -> Command {
    let about = "Have the running program answer what is in flight and exit; waits until it has";
    let lines = [
        "dotward drain",
        "dotward drain --control /run/dotward/control.sock",
        "dotward drain && dotward run",
    ];
    with_socket(sub("drain", about, lines))
}

/// Adds the options that say where the control socket is.
fn with_socket(command: Command) -> Command {
    let command = with_settings(command, |setting| {
        matches!(setting.id, Id::ListenControl | Id::ConfigFile)
    });
    // Rare for who serves, and the first thing to say here.
    command.mut_arg("control", |it| it.hide_short_help(false))
}

fn level(text: &str) -> Result<LevelFilter, String> {
    let known = LEVELS
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(text));
    let words = || LEVELS.map(|(word, _)| word).join(", ");
    known
        .map(|(_, level)| *level)
        .ok_or_else(|| format!("write one of {}", words()))
}
