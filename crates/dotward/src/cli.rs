//! The command line, derived from the table of settings.
//!
//! Options of settings stand before or after the command; lists given in both places are joined.
//! Their values are taken as they are: `config` parses them together with those of file and environment, so
//! that all faults are told at once. What this module refuses itself (an unknown option, a missing argument)
//! is a [`clap::Error`] whose exit code is 2.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgMatches, Error};
use clap_complete::Shell;
use tracing::level_filters::LevelFilter;

use crate::config::fault::{Fault, Problem};
use crate::config::layers::Given;
use crate::config::place::Place;
use crate::config::value::{self, Family, ListenPlace, Value, ValueFault, split_list};
use crate::config::{Name, RecordType};
use crate::control::Request;
use crate::settings::{Id, Kind, OLDER_NAMES, OlderForm, SETTINGS, Setting};

mod arguments;
mod remote;
mod tools;

pub use arguments::command;
pub use tools::{SetupAction, SetupArgs, SetupTarget, Survey, SurveyArgs};

/// What the program is asked to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Serve.
    Run,
    /// Show the whole chain on loopback.
    Demo {
        /// Where the forwarder of the demonstration listens.
        listen: Option<SocketAddr>,
    },
    /// Check the configuration and stop.
    Check(CheckArgs),
    /// Ask one question.
    Query(QueryArgs),
    /// Tell what would become of a question.
    Explain(ExplainArgs),
    /// Print a commented example of the configuration file.
    ConfigExample,
    /// Print the configuration in effect.
    ConfigShow {
        /// As JSON.
        json: bool,
    },
    /// Print the JSON Schema of the configuration file.
    ConfigSchema,
    /// Print the presets.
    UpstreamList {
        /// As JSON.
        json: bool,
    },
    /// Test, rank or pin upstreams.
    UpstreamSurvey(SurveyArgs),
    /// Tell what stands in the way on this machine.
    Doctor {
        /// As JSON.
        json: bool,
    },
    /// Have a machine ask the program.
    Setup(SetupArgs),
    /// Show what the running program does.
    Top {
        /// How often it is looked at.
        every: Duration,
    },
    /// Ask or order a running program over its control socket.
    Remote(RemoteArgs),
    /// Ask the running program whether it is good.
    Healthcheck,
    /// Print what a shell reads to complete the command line.
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Print the manual page.
    Man {
        /// Of which command; of the program if none is given.
        command: Option<String>,
    },
    /// Print the version.
    Version {
        /// As JSON.
        json: bool,
    },
}

/// Arguments of `check`.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckArgs {
    /// The file to check instead of the one that would be read; part of the [`Options`] too.
    pub file: Option<PathBuf>,
    /// Print each value and where it came from.
    pub show_origin: bool,
    /// Print the result as JSON.
    pub json: bool,
}

/// Arguments of `query`.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryArgs {
    /// The name asked for.
    pub name: Name,
    /// The type asked for; A if not given.
    pub qtype: RecordType,
    /// Who is asked instead of the configured ones: the name of one of them, or a SPEC.
    pub via: Option<String>,
    /// Print the result as JSON.
    pub json: bool,
}

/// Arguments of `explain`.
#[derive(Debug, Clone, PartialEq)]
pub struct ExplainArgs {
    /// The name in question.
    pub name: Name,
    /// The type in question; A if not given.
    pub qtype: RecordType,
    /// Print the result as JSON.
    pub json: bool,
}

/// Arguments of the commands that speak to a running program.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteArgs {
    /// What is asked of it.
    pub request: Request,
    /// Print the result as JSON.
    pub json: bool,
}

/// The command line, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Invocation {
    /// What to do.
    pub command: Command,
    /// What was said about settings.
    pub options: Options,
}

/// What the command line says about settings, unparsed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    settings: BTreeMap<Id, (String, Vec<OsString>)>,
    older: BTreeMap<&'static str, OsString>,
}

/// Settings, older names, and what is not UTF-8.
pub(crate) type OptionsRead = (
    Vec<(Id, Place, Vec<Given>)>,
    BTreeMap<&'static str, Given>,
    Vec<Fault>,
);

impl Options {
    /// As texts with their places.
    pub(crate) fn read(&self) -> OptionsRead {
        let (mut settings, mut older, mut faults) = (Vec::new(), BTreeMap::new(), Vec::new());
        for (id, (written, values)) in &self.settings {
            let (setting, place) = (Setting::of(*id), Place::Flag(written.clone()));
            let mut given = Vec::new();
            for text in values
                .iter()
                .filter_map(|value| text(value, &place, &mut faults))
            {
                let texts = if setting.many {
                    split_list(setting.kind, &text)
                } else {
                    vec![text]
                };
                given.extend(texts.into_iter().map(|text| Given {
                    text,
                    place: place.clone(),
                }));
            }
            settings.push((*id, place, given));
        }
        for (name, value) in &self.older {
            let place = Place::Flag(format!("--{name}"));
            if let Some(text) = text(value, &place, &mut faults) {
                older.insert(*name, Given { text, place });
            }
        }
        (settings, older, faults)
    }

    fn collect(&mut self, matches: &ArgMatches) {
        for setting in SETTINGS {
            let Some(flag) = setting.flag else { continue };
            let values: Vec<_> = if setting.kind == Kind::Switch {
                let on = matches.try_get_one(flag).ok().flatten() == Some(&true);
                on.then(OsString::new).into_iter().collect()
            } else {
                values_of(matches, flag).collect()
            };
            if !values.is_empty() {
                self.add(setting, format!("--{flag}"), values);
            }
        }
        for older in OLDER_NAMES
            .iter()
            .filter(|older| older.form == OlderForm::Flag)
        {
            if let Some(value) = values_of(matches, older.name).next_back() {
                self.older.insert(older.name, value);
            }
        }
    }

    fn add(&mut self, setting: &Setting, written: String, values: Vec<OsString>) {
        let (_, known) = self
            .settings
            .entry(setting.id)
            .or_insert((written, Vec::new()));
        if !setting.many {
            known.clear();
        }
        known.extend(values);
    }

    /// Says something in the place of what was said before.
    fn replace(&mut self, id: Id, written: &str, values: Vec<OsString>) {
        self.settings.insert(id, (written.to_owned(), values));
    }

    /// The same options, but that `id` is said to be `values`.
    pub(crate) fn with(&self, id: Id, written: &str, values: Vec<OsString>) -> Self {
        let mut options = self.clone();
        options.replace(id, written, values);
        options
    }
}

fn values_of<'a>(
    matches: &'a ArgMatches,
    name: &str,
) -> impl DoubleEndedIterator<Item = OsString> + use<'a> {
    let values = matches.try_get_many::<OsString>(name).ok().flatten();
    values.into_iter().flatten().cloned()
}

fn text(value: &OsString, place: &Place, faults: &mut Vec<Fault>) -> Option<String> {
    if let Some(text) = value.to_str() {
        return Some(text.to_owned());
    }
    let (key, value) = (place.to_string(), value.to_string_lossy().into_owned());
    let problem = Problem::BadValue {
        key,
        value,
        fault: ValueFault::NotUtf8,
    };
    faults.push(Fault::new(place, problem));
    None
}

/// Takes the command line apart. The first argument is the name of the program.
///
/// # Errors
///
/// Wrong usage (exit code 2), or a request for help or version (exit code 0): print it and exit
/// with its code.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, Error> {
    let matches = command().try_get_matches_from(arguments)?;
    let mut options = Options::default();
    options.collect(&matches);
    let Some((name, of_command)) = matches.subcommand() else {
        return Ok(Invocation {
            command: Command::Run,
            options,
        });
    };
    options.collect(of_command);
    if let Some((_, nested)) = of_command.subcommand() {
        options.collect(nested);
    }
    let command = match name {
        "demo" => Command::Demo {
            listen: demo_listen(&options)?,
        },
        "check" => Command::Check(check(of_command, &mut options)?),
        "query" => Command::Query(query(of_command)?),
        "explain" => Command::Explain(explain(of_command)?),
        "config" => config(of_command.subcommand()),
        "upstream" => upstream(of_command.subcommand())?,
        "doctor" => Command::Doctor {
            json: of_command.get_flag("json"),
        },
        "setup" => Command::Setup(tools::setup_args(of_command)?),
        "status" => remote(Request::Status, of_command),
        "top" => Command::Top {
            every: remote::top_pause(of_command),
        },
        "cache" => cache(of_command)?,
        "log-level" => remote(log_level(of_command)?, of_command),
        "reload" => remote(Request::Reload, of_command),
        "drain" => remote(Request::Drain, of_command),
        "healthcheck" => Command::Healthcheck,
        "completions" => Command::Completions {
            shell: shell(of_command)?,
        },
        "man" => Command::Man {
            command: of_command.get_many::<String>("COMMAND").map(|words| {
                let words: Vec<_> = words.map(String::as_str).collect();
                words.join("-")
            }),
        },
        "version" => Command::Version {
            json: of_command.get_flag("json"),
        },
        _ => Command::Run,
    };
    Ok(Invocation { command, options })
}

fn config(nested: Option<(&str, &ArgMatches)>) -> Command {
    match nested {
        Some(("show", matches)) => Command::ConfigShow {
            json: matches.get_flag("json"),
        },
        Some(("schema", _)) => Command::ConfigSchema,
        Some(_) | None => Command::ConfigExample,
    }
}

fn upstream(nested: Option<(&str, &ArgMatches)>) -> Result<Command, Error> {
    Ok(match nested {
        Some((name @ ("test" | "rank" | "pin"), matches)) => {
            Command::UpstreamSurvey(tools::survey_args(name, matches)?)
        }
        Some((_, matches)) => Command::UpstreamList {
            json: matches.get_flag("json"),
        },
        None => Command::UpstreamList { json: false },
    })
}

fn demo_listen(options: &Options) -> Result<Option<SocketAddr>, Error> {
    let Some((_, values)) = options.settings.get(&Id::Listen) else {
        return Ok(None);
    };
    let Some(text) = values.last().map(|value| value.to_string_lossy()) else {
        return Ok(None);
    };
    match value::parse(Kind::Listen, &text) {
        Ok(Value::Listen(listen)) => match listen.place {
            ListenPlace::Address(address) => Ok(Some(address)),
            ListenPlace::Interface { name, .. } => {
                let family = Family::Any;
                let fault = ValueFault::NotAnAddress {
                    family,
                    found: name,
                };
                Err(bad_value("--listen", &text, &fault))
            }
        },
        Ok(_) => Ok(None),
        Err(fault) => Err(bad_value("--listen", &text, &fault)),
    }
}

fn check(matches: &ArgMatches, options: &mut Options) -> Result<CheckArgs, Error> {
    let file = values_of(matches, "FILE").next();
    if let Some(file) = &file {
        if options.settings.contains_key(&Id::ConfigFile) {
            let message = "FILE and --config are two files to check; give one of them";
            return Err(command().error(ErrorKind::ArgumentConflict, message));
        }
        options.replace(Id::ConfigFile, "check FILE", vec![file.clone()]);
    }
    Ok(CheckArgs {
        file: file.map(PathBuf::from),
        show_origin: matches.get_flag("show-origin"),
        json: matches.get_flag("json"),
    })
}

fn query(matches: &ArgMatches) -> Result<QueryArgs, Error> {
    let (name, qtype) = name_and_type(matches)?;
    Ok(QueryArgs {
        name,
        qtype,
        via: matches.get_one::<String>("via").cloned(),
        json: matches.get_flag("json"),
    })
}

fn explain(matches: &ArgMatches) -> Result<ExplainArgs, Error> {
    let (name, qtype) = name_and_type(matches)?;
    let json = matches.get_flag("json");
    Ok(ExplainArgs { name, qtype, json })
}

/// Commands without `--json` print nothing that a program would read.
fn remote(request: Request, matches: &ArgMatches) -> Command {
    let json = matches.try_get_one("json").ok().flatten() == Some(&true);
    Command::Remote(RemoteArgs { request, json })
}

fn cache(matches: &ArgMatches) -> Result<Command, Error> {
    let missing = || {
        command().error(
            ErrorKind::MissingSubcommand,
            "stats, get or flush is missing",
        )
    };
    let (name, of_command) = matches.subcommand().ok_or_else(missing)?;
    let request = remote::cache_request(name, of_command).ok_or_else(missing)?;
    Ok(remote(request, of_command))
}

fn log_level(matches: &ArgMatches) -> Result<Request, Error> {
    let level = matches.get_one::<LevelFilter>("LEVEL").copied();
    let missing = || command().error(ErrorKind::MissingRequiredArgument, "LEVEL is missing");
    level.map(Request::LogLevel).ok_or_else(missing)
}

fn name_and_type(matches: &ArgMatches) -> Result<(Name, RecordType), Error> {
    let missing = || command().error(ErrorKind::MissingRequiredArgument, "NAME is missing");
    let name = matches.get_one::<Name>("NAME").cloned();
    let qtype = matches.get_one::<RecordType>("TYPE").copied();
    Ok((name.ok_or_else(missing)?, qtype.unwrap_or(RecordType::A)))
}

fn shell(matches: &ArgMatches) -> Result<Shell, Error> {
    let missing = || command().error(ErrorKind::MissingRequiredArgument, "SHELL is missing");
    matches
        .get_one::<Shell>("SHELL")
        .copied()
        .ok_or_else(missing)
}

fn bad_value(flag: &str, text: &str, fault: &ValueFault) -> Error {
    let shown = text.escape_debug();
    let message = format!(
        "bad value \"{shown}\" for {flag}: {fault}; {}",
        fault.remedy()
    );
    command().error(ErrorKind::ValueValidation, message)
}
