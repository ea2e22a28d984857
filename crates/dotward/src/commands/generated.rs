//! `dotward completions` and `dotward man`: made of the same definitions as the command line.
//!
//! Completions offer words for values too, where there are some: providers, levels, files. They are what is offered, not all that is accepted: a
//! SPEC is more than the name of a provider. So the parsers know nothing of them.

use std::io::{self, Write};

use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, ValueHint};
use clap_complete::Shell;

use crate::cli;
use crate::control::LEVELS;
use crate::presets::PRESETS;
use crate::settings::{Kind, SETTINGS};

/// Writes what `shell` reads to complete our command line.
///
/// # Errors
///
/// Those of writing.
pub fn write_completions(out: &mut dyn Write, shell: Shell) -> io::Result<()> {
    // The generator panics where writing fails, as into a pipe that nobody reads any more.
    let mut script = Vec::new();
    let mut command = with_words(cli::command());
    clap_complete::generate(shell, &mut command, "dotward", &mut script);
    out.write_all(&script)
}

/// With the words that are offered for values, in every command below as well.
fn with_words(command: Command) -> Command {
    command.mut_args(with_words_for).mut_subcommands(with_words)
}

fn with_words_for(argument: Arg) -> Arg {
    let presets = || PRESETS.iter().map(|preset| preset.name).collect();
    let name = argument.get_id().as_str().to_owned();
    let setting = SETTINGS.iter().find(|it| it.flag == Some(name.as_str()));
    let words: Vec<&'static str> = match (setting.map(|it| it.kind), name.as_str()) {
        (Some(Kind::Choice(words)), _) => words.to_vec(),
        (None, "LEVEL") => LEVELS.iter().map(|(word, _)| *word).collect(),
        (Some(Kind::Spec | Kind::Target | Kind::Preset), _) | (None, "via" | "SPEC") => presets(),
        (Some(Kind::YesNo), _) => vec!["true", "false"],
        (Some(Kind::Path), _) | (None, "FILE") => {
            return argument.value_hint(ValueHint::FilePath);
        }
        (_, _) => return argument,
    };
    argument.value_parser(PossibleValuesParser::new(words))
}

/// Every command below `command` by the name of its page: `upstream`, `upstream-test`, and so on.
fn pages(command: &Command, above: &str) -> Vec<(String, Command)> {
    let mut pages = Vec::new();
    for below in command.get_subcommands() {
        let name = format!("{above}{}", below.get_name());
        pages.extend(self::pages(below, &format!("{name}-")));
        pages.push((name, below.clone()));
    }
    pages
}

/// The names of all pages but the program's own.
pub fn page_names() -> Vec<String> {
    let mut top = cli::command();
    top.build();
    let pages = pages(&top, "").into_iter();
    pages.map(|(name, _)| name).collect()
}

/// Writes the manual page of the program, or of one of its commands (`upstream-test` is `upstream test`'s). `false` when there is no such command.
///
/// # Errors
///
/// Those of writing.
pub fn write_man(out: &mut dyn Write, command: Option<&str>) -> io::Result<bool> {
    let mut top = cli::command();
    top.build();
    let page = match command {
        None => top,
        Some(name) => match pages(&top, "").into_iter().find(|(page, _)| page == name) {
            Some((page, found)) => {
                let name = format!("dotward-{page}");
                found.name(name.clone()).display_name(name)
            }
            None => return Ok(false),
        },
    };
    clap_mangen::Man::new(page).render(out)?;
    Ok(true)
}
