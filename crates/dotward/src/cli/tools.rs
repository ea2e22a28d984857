//! The commands that look at upstreams, at this machine and at the configuration, and those that change a machine.

use std::fmt;
use std::path::PathBuf;

use clap::builder::{PossibleValue, ValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Command, Error, ValueEnum, value_parser};

use super::arguments::{command, sub, switch, with_settings};
use crate::config::Name;
use crate::limits::RANK_QUESTIONS;
use crate::settings::{Group, Id};

/// What is done with upstreams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survey {
    /// Each address is asked once.
    Test,
    /// Each upstream is asked so often.
    Rank {
        /// How often.
        questions: u32,
    },
    /// Their keys are shown.
    Pin,
}

/// Arguments of `upstream test`, `rank` and `pin`.
#[derive(Debug, Clone, PartialEq)]
pub struct SurveyArgs {
    /// What is done.
    pub what: Survey,
    /// Who is looked at instead of the configured ones: names of theirs, or each a SPEC.
    pub specs: Vec<String>,
    /// The known providers too.
    pub presets: bool,
    /// Name whose name servers are asked for.
    pub name: Name,
    /// Print the result as JSON.
    pub json: bool,
}

/// Who is to ask dotward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetupTarget {
    /// systemd's stub resolver.
    SystemdResolved,
    /// NetworkManager.
    NetworkManager,
    /// The programs of this machine.
    ResolvConf,
    /// Containers of Docker.
    Docker,
    /// Pods of a cluster.
    Kubernetes,
}

impl SetupTarget {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::SystemdResolved,
        Self::NetworkManager,
        Self::ResolvConf,
        Self::Docker,
        Self::Kubernetes,
    ];

    /// What it is called on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::SystemdResolved => "systemd-resolved",
            Self::NetworkManager => "networkmanager",
            Self::ResolvConf => "resolv.conf",
            Self::Docker => "docker",
            Self::Kubernetes => "kubernetes",
        }
    }
}

impl fmt::Display for SetupTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl ValueEnum for SetupTarget {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.word()))
    }
}

/// What is done for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetupAction {
    /// The change is printed.
    Print,
    /// It is made.
    Apply,
    /// It is taken back.
    Undo,
}

/// Arguments of `setup`.
#[derive(Debug, Clone, PartialEq)]
pub struct SetupArgs {
    /// Who is to ask dotward.
    pub target: SetupTarget,
    /// What is done.
    pub action: SetupAction,
    /// The directory the machine's files are below.
    pub root: PathBuf,
}

/// `upstream` and what is below it.
pub(super) fn upstream() -> Command {
    let lines = [
        "dotward upstream list",
        "dotward upstream rank --presets",
        "dotward upstream test tls://dns.corp.example@10.1.0.53",
    ];
    let about = "List known providers, and which upstreams serve which names";
    let list = sub("list", about, lines).arg(switch("json", "Print the list as JSON"));
    let list = with_settings(list, |_| true);
    let about = "Upstreams: list them, test, rank by speed, pin their keys";
    sub("upstream", about, lines)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommands([list, test(), rank(), pin()])
}

fn test() -> Command {
    let lines = [
        "dotward upstream test",
        "dotward upstream test quad9 --json",
        "dotward upstream test --presets",
    ];
    survey(
        "test",
        "Ask each address of each upstream; exit code 1 when one has none that answers",
        lines,
    )
}

fn rank() -> Command {
    let lines = [
        "dotward upstream rank --presets",
        "dotward upstream rank quad9 cloudflare --questions 50",
        "dotward upstream rank --presets --json",
    ];
    let about = "Rank upstreams by response time on an open connection";
    survey("rank", about, lines).arg(
        Arg::new("questions")
            .short('n')
            .long("questions")
            .value_name("N")
            .default_value("20")
            .help("Questions for each")
            .value_parser(value_parser!(u32).range(1..=i64::from(RANK_QUESTIONS))),
    )
}

fn pin() -> Command {
    let lines = [
        "dotward upstream pin",
        "dotward upstream pin tls://dns.corp.example@10.1.0.53",
        "dotward upstream pin quad9 --json",
    ];
    let about = "Print the keys that verified upstreams show, ready for the file";
    survey("pin", about, lines)
}

fn survey(name: &'static str, about: &'static str, lines: [&'static str; 3]) -> Command {
    let parse = |text: &str| text.parse::<Name>();
    let command = sub(name, about, lines)
        .arg(
            Arg::new("SPEC")
                .num_args(0..)
                .help("These instead of the configured ones; the name of one of them, or a SPEC"),
        )
        .arg(switch("presets", "The known providers too"))
        .arg(
            Arg::new("name")
                .long("name")
                .value_name("NAME")
                .default_value(".")
                .help("Name whose name servers are asked for")
                .value_parser(parse),
        )
        .arg(switch("json", "Print the result as JSON"));
    with_settings(command, |setting| {
        setting.group == Group::Upstreams || setting.id == Id::ConfigFile
    })
}

/// Reads the arguments of `test`, `rank` or `pin`.
pub(super) fn survey_args(name: &str, matches: &ArgMatches) -> Result<SurveyArgs, Error> {
    let specs = matches.get_many("SPEC").into_iter().flatten().cloned();
    let questions = || matches.get_one::<u32>("questions").copied();
    let what = match name {
        "rank" => Survey::Rank {
            questions: questions().unwrap_or(1),
        },
        "pin" => Survey::Pin,
        _ => Survey::Test,
    };
    let root = || Some(Name::root());
    let name = matches.get_one::<Name>("name").cloned().or_else(root);
    let missing = || command().error(ErrorKind::MissingRequiredArgument, "NAME is missing");
    Ok(SurveyArgs {
        what,
        specs: specs.collect(),
        presets: matches.get_flag("presets"),
        name: name.ok_or_else(missing)?,
        json: matches.get_flag("json"),
    })
}

/// `config` and what is below it.
pub(super) fn config() -> Command {
    let lines = [
        "dotward config example > dotward.toml",
        "dotward config show -c dotward.toml",
        "dotward config schema > dotward.schema.json",
    ];
    let example = sub(
        "example",
        "Print a commented configuration file with every key at its default",
        lines,
    );
    let show = sub(
        "show",
        "Print the configuration in effect as a file, and where each value came from",
        lines,
    )
    .arg(switch("json", "Print a list of values as JSON"));
    let show = with_settings(show, |_| true);
    let schema = sub(
        "schema",
        "Print the JSON Schema of the configuration file",
        lines,
    );
    let about = "Configuration files: print an example, what is in effect, the schema";
    sub("config", about, lines)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommands([example, show, schema])
}

/// `doctor`.
pub(super) fn doctor() -> Command {
    let lines = [
        "dotward doctor",
        "dotward doctor -c dotward.toml",
        "dotward doctor --json",
    ];
    let about = "Diagnose this machine, change nothing; exit code 1 when something is wrong";
    let command = sub("doctor", about, lines).arg(switch("json", "Print the findings as JSON"));
    with_settings(command, |_| true)
}

/// `setup`.
pub(super) fn setup() -> Command {
    let lines = [
        "dotward setup systemd-resolved",
        "dotward setup systemd-resolved --apply",
        "dotward setup systemd-resolved --undo",
    ];
    let about = "Point this machine, its containers or a cluster at dotward";
    let command = sub("setup", about, lines)
        .arg(
            Arg::new("TARGET")
                .required(true)
                .help("systemd-resolved, networkmanager, resolv.conf, docker or kubernetes")
                .hide_possible_values(true)
                .value_parser(value_parser!(SetupTarget)),
        )
        .arg(switch("apply", "Write it, and keep what was there"))
        .arg(switch("undo", "Put back what was there").conflicts_with("apply"))
        .arg(
            Arg::new("root")
                .long("root")
                .value_name("DIR")
                .default_value("/")
                .help("Root directory of the files, for example of an image")
                .value_parser(ValueParser::path_buf()),
        );
    with_settings(command, |_| true)
}

/// Reads the arguments of `setup`.
pub(super) fn setup_args(matches: &ArgMatches) -> Result<SetupArgs, Error> {
    let missing = || command().error(ErrorKind::MissingRequiredArgument, "TARGET is missing");
    let target = matches.get_one("TARGET").copied().ok_or_else(missing)?;
    let action = match (matches.get_flag("apply"), matches.get_flag("undo")) {
        (true, _) => SetupAction::Apply,
        (false, true) => SetupAction::Undo,
        (false, false) => SetupAction::Print,
    };
    let root = matches.get_one::<PathBuf>("root").cloned();
    Ok(SetupArgs {
        target,
        action,
        root: root.unwrap_or_else(|| "/".into()),
    })
}
