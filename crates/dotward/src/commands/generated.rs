//! `dotward completions` and `dotward man`: made of the same definitions as the command line.

use std::io::{self, Write};

use clap_complete::Shell;

use crate::cli;

/// Writes what `shell` reads to complete our command line.
///
/// # Errors
///
/// Those of writing.
pub fn write_completions(out: &mut dyn Write, shell: Shell) -> io::Result<()> {
    // The generator panics where writing fails, as into a pipe that nobody reads any more.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::command(), "dotward", &mut script);
    out.write_all(&script)
}

/// Every command below `command` by the name of its page: `upstream`, `upstream-test`, and so on.
fn pages(command: &clap::Command, above: &str) -> Vec<(String, clap::Command)> {
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
