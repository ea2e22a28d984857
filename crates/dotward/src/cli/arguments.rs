//! The arguments as clap sees them, and what help says about them.

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, Command, value_parser};

use super::{remote, tools};
use crate::config::{Name, RecordType};
use crate::settings::{Group, Id, Kind, OLDER_NAMES, OlderForm, SETTINGS, Setting};

/// The widest help is set: longer lines are hard to read.
const HELP_COLUMNS: usize = 100;

const TEMPLATE: &str = "{about}\n\n{usage-heading} {usage}\n\n{all-args}{after-help}";

/// The command line this program understands.
pub fn command() -> Command {
    let top = Command::new("dotward")
        .bin_name("dotward")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Takes ordinary DNS from clients and carries it over TLS to resolvers you trust.")
        .after_help(examples([
            "dotward demo",
            "dotward --listen 127.0.0.1:5300 --upstream quad9",
            "dotward check /etc/dotward/dotward.toml",
        ]))
        .after_long_help(long_ending())
        .subcommand_help_heading(format!(
            "Commands (more: {}, healthcheck, man, completions)",
            remote::names().join(", ")
        ))
        .disable_help_subcommand(true)
        .max_term_width(HELP_COLUMNS)
        .help_template(TEMPLATE)
        .subcommands([
            run(),
            demo(),
            check(),
            query(),
            explain(),
            tools::upstream(),
            tools::config(),
            tools::doctor(),
            tools::setup(),
            healthcheck(),
            completions(),
            man(),
            version(),
        ])
        .subcommands(remote::commands());
    with_settings(top, |_| true)
}

fn run() -> Command {
    let about = "Run the forwarder (the default command)";
    let lines = [
        "dotward run",
        "dotward run -u quad9 -u cloudflare",
        "dotward run -c dotward.toml",
    ];
    with_settings(sub("run", about, lines), |_| true)
}

fn demo() -> Command {
    let about = "Show the whole chain on loopback: no network, no configuration";
    let lines = [
        "dotward demo",
        "dotward demo --listen 127.0.0.1:5300",
        "dotward demo --debug",
    ];
    with_settings(sub("demo", about, lines), |setting| {
        setting.id == Id::Listen || setting.group == Group::Observe
    })
}

fn check() -> Command {
    let about = "Report every fault in the configuration; do nothing else";
    let lines = [
        "dotward check",
        "dotward check dotward.toml",
        "dotward check dotward.toml --show-origin",
    ];
    let command = sub("check", about, lines)
        .arg(
            Arg::new("FILE")
                .help("The file to check")
                .value_parser(ValueParser::os_string()),
        )
        .arg(switch(
            "show-origin",
            "Print each value and where it came from",
        ))
        .arg(switch("json", "Print the result as JSON"));
    with_settings(command, |_| true)
}

fn query() -> Command {
    let about = "Ask one question and show what the connection did";
    let lines = [
        "dotward query example.com AAAA --via quad9",
        "dotward query example.com --via tls://dot.example@192.0.2.53 --json",
        "dotward query example.com --via udp://127.0.0.1",
    ];
    let command = sub("query", about, lines)
        .args(name_and_type("The name to ask for"))
        .arg(
            Arg::new("via")
                .long("via")
                .value_name("SPEC")
                .help("Ask this upstream instead of the configured ones, or a running proxy: udp://ADDRESS or tcp://ADDRESS"),
        )
        .arg(switch("json", "Print the result as JSON"));
    with_settings(command, |_| true)
}

/// The two arguments that make a question.
fn name_and_type(help: &'static str) -> [Arg; 2] {
    let name = |text: &str| text.parse::<Name>();
    let qtype = |text: &str| text.parse::<RecordType>();
    [
        Arg::new("NAME")
            .help(help)
            .required(true)
            .value_parser(name),
        Arg::new("TYPE")
            .help("The record type [default: A]")
            .value_parser(qtype),
    ]
}

fn explain() -> Command {
    let about = "Show how a question would be handled, and why; send nothing";
    let lines = [
        "dotward explain db.corp.example",
        "dotward explain 4.3.2.10.in-addr.arpa PTR --json",
        "dotward explain db.corp.example --route corp.example=udp://10.0.0.53",
    ];
    let command = sub("explain", about, lines)
        .args(name_and_type("The name in question"))
        .arg(switch("json", "Print the decision as JSON"));
    with_settings(command, |_| true)
}

fn healthcheck() -> Command {
    let about =
        "Ask the running program whether it is healthy: exit code 0 if so, else 1 (for containers)";
    let lines = [
        "dotward healthcheck",
        "dotward healthcheck -c dotward.toml",
        "dotward healthcheck --admin 127.0.0.1:9853",
    ];
    with_settings(sub("healthcheck", about, lines).hide(true), |_| true)
}

fn completions() -> Command {
    let about = "Print a shell completion script";
    let lines = [
        "dotward completions bash > /usr/share/bash-completion/completions/dotward",
        "dotward completions zsh > /usr/local/share/zsh/site-functions/_dotward",
        "dotward completions fish > ~/.config/fish/completions/dotward.fish",
    ];
    sub("completions", about, lines).hide(true).arg(
        Arg::new("SHELL")
            .help("bash, zsh, fish, elvish or powershell")
            .hide_possible_values(true)
            .required(true)
            .value_parser(value_parser!(clap_complete::Shell)),
    )
}

fn man() -> Command {
    let about = "Print the manual page";
    let lines = [
        "dotward man | man -l -",
        "dotward man query | man -l -",
        "dotward man > /usr/share/man/man1/dotward.1",
    ];
    sub("man", about, lines).hide(true).arg(
        Arg::new("COMMAND")
            .num_args(0..=2)
            .help("The command [default: dotward itself]"),
    )
}

fn version() -> Command {
    let lines = [
        "dotward version",
        "dotward version --json",
        "dotward --version",
    ];
    sub("version", "Print the version", lines)
        .hide(true)
        .arg(switch("json", "Print it as JSON"))
}

pub(super) fn sub(name: &'static str, about: &'static str, lines: [&'static str; 3]) -> Command {
    Command::new(name)
        .about(about)
        .after_help(examples(lines))
        .max_term_width(HELP_COLUMNS)
        .help_template(TEMPLATE)
}

pub(super) fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .action(ArgAction::SetTrue)
        .help(help)
}

fn examples(lines: [&str; 3]) -> String {
    let lines: Vec<_> = lines.iter().map(|line| format!("  {line}")).collect();
    format!("Examples:\n{}", lines.join("\n"))
}

fn long_ending() -> String {
    let older: Vec<_> = OLDER_NAMES
        .iter()
        .filter(|older| older.form == OlderForm::Flag)
        .map(|older| {
            format!(
                "  --{:<20} {}: write {}",
                older.name, older.meaning, older.instead
            )
        })
        .collect();
    format!(
        "Commands to a running program:\n{}\n\n\
         Precedence, the stronger last: default, file, environment, command line.\n\
         SPEC: a preset (dotward upstream list), tls://NAME@ADDR[,ADDR...][:PORT][?pin=sha256/...],\n\
         tls://NAME (found through --bootstrap), tls://IP, IP@PORT#NAME, or an address of a preset.\n\
         Routes also take udp://IP[:PORT] and tcp://IP[:PORT].\n\n\
         Options of older proxies, each with one warning:\n{}\n\n{}",
        remote::lines().join("\n"),
        older.join("\n"),
        examples([
            "dotward demo",
            "dotward --listen 127.0.0.1:5300 --upstream quad9",
            "dotward check /etc/dotward/dotward.toml",
        ])
    )
}

/// Adds the options of the settings that are wanted, and those of older proxies where all are.
pub(super) fn with_settings(command: Command, wanted: impl Fn(&Setting) -> bool) -> Command {
    let with_older = SETTINGS.iter().all(&wanted);
    let older = OLDER_NAMES
        .iter()
        .filter(|older| older.form == OlderForm::Flag && with_older);
    let older = older.map(|older| {
        let parser = ValueParser::os_string();
        Arg::new(older.name)
            .long(older.name)
            .hide(true)
            .value_parser(parser)
    });
    let settings = SETTINGS
        .iter()
        .filter(|setting| wanted(setting))
        .filter_map(argument);
    command.args(settings).args(older)
}

fn argument(setting: &Setting) -> Option<Arg> {
    let flag = setting.flag?;
    let mut argument = Arg::new(flag)
        .long(flag)
        .help_heading(setting.group.title())
        .hide_short_help(setting.rare)
        .help(short_help(setting))
        .long_help(long_help(setting));
    if let Some(short) = setting.short {
        argument = argument.short(short);
    }
    if setting.kind == Kind::Switch {
        return Some(argument.action(ArgAction::SetTrue));
    }
    let action = if setting.many {
        ArgAction::Append
    } else {
        ArgAction::Set
    };
    let argument = argument
        .action(action)
        .value_name(setting.kind.placeholder());
    Some(argument.value_parser(ValueParser::os_string()))
}

fn short_help(setting: &Setting) -> String {
    format!("{} {}", setting.help, facts(setting))
}

fn long_help(setting: &Setting) -> String {
    let mut text = format!("{}.", setting.help);
    if !setting.detail.is_empty() {
        text = format!("{text} {}", setting.detail);
    }
    if setting.many {
        text.push_str(" May be repeated; a comma separates too.");
    }
    if let Some(key) = setting.key {
        text = format!("{text} In the file: {key}.");
    }
    format!("{text} {}", facts(setting))
}

/// Variable and default.
fn facts(setting: &Setting) -> String {
    let variable = setting
        .variable
        .map(|variable| format!("[env: {variable}] "));
    format!(
        "{}[default: {}]",
        variable.unwrap_or_default(),
        setting.default_text()
    )
}
