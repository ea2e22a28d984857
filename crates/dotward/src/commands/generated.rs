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

/// Writes the manual page of the program, or of one of its commands. `false` when there is no such command.
///
/// # Errors
///
/// Those of writing.
pub fn write_man(out: &mut dyn Write, command: Option<&str>) -> io::Result<bool> {
    let mut top = cli::command();
    top.build();
    let page = match command.map(|name| top.find_subcommand(name)) {
        Some(Some(found)) => {
            let name = format!("dotward-{}", found.get_name());
            found.clone().name(name.clone()).display_name(name)
        }
        Some(None) => return Ok(false),
        None => top,
    };
    clap_mangen::Man::new(page).render(out)?;
    Ok(true)
}
