//! `dotward setup TARGET`: has this machine, its containers or a cluster ask dotward.
//!
//! Promises: by default nothing is changed: the change and its undo are printed. `--apply` writes files, keeps what was there beside them
//! and starts no program; `--undo` puts it back, unless somebody changed it meanwhile. A machine is not pointed at a dotward that does not
//! answer.
//!
//! Deliberately absent: restarting services (the commands are printed), changing a cluster.

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::healthcheck;
use crate::cli::{SetupAction, SetupArgs, SetupTarget};
use crate::config::Config;

mod files;
mod targets;

pub use files::FileError;

use files::Change;
use targets::Plan;

/// Why nothing was done.
#[derive(Debug)]
pub enum SetupError {
    /// No listener of the configuration is of use to the target; what to listen at.
    NoListener {
        /// Who is to ask.
        target: SetupTarget,
        /// Why none is.
        why: &'static str,
        /// What to do.
        fix: &'static str,
    },
    /// Nobody answers where the machine would be pointed to.
    Silent {
        /// Where.
        server: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The target is no file of this machine.
    NotHere,
    /// A file could not be changed, or is not to be.
    File(FileError),
    /// The result could not be written.
    Output(io::Error),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoListener { target, why, fix } => {
                write!(f, "{target} cannot ask dotward: {why}\n  fix:     {fix}")
            }
            Self::Silent { server, error } => write!(
                f,
                "nobody answers at {server} ({error}), so this would leave the machine without names; nothing was changed\n  \
                 fix:     start dotward with this configuration first, then do this again"
            ),
            Self::NotHere => f.write_str(
                "dotward does not change a cluster; nothing was changed\n  fix:     run without --apply and --undo, and type the commands it prints",
            ),
            Self::File(error) => error.fmt(f),
            Self::Output(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SetupError {}

impl From<io::Error> for SetupError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<FileError> for SetupError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

/// Prints, applies or undoes.
///
/// # Errors
///
/// [`SetupError`], ready to be shown.
pub fn run(out: &mut dyn Write, config: &Config, args: &SetupArgs) -> Result<(), SetupError> {
    let plan = Plan::of(config, args)?;
    match (args.action, &plan.change) {
        (SetupAction::Print, _) => print(out, args, &plan)?,
        (SetupAction::Apply | SetupAction::Undo, None) => return Err(SetupError::NotHere),
        (SetupAction::Apply, Some(change)) => {
            if args.root == Path::new("/") && !plan.frees_the_port {
                somebody_answers(&plan.servers)?;
            }
            let done = change.apply()?;
            writeln!(out, "{done}")?;
            write_commands(out, "now type:", &plan.after)?;
        }
        (SetupAction::Undo, Some(change)) => {
            let done = change.undo()?;
            writeln!(out, "{done}")?;
            write_commands(out, "now type:", &plan.after_undo)?;
        }
    }
    Ok(())
}

/// A machine that asks where nobody answers knows no name any more.
fn somebody_answers(servers: &[SocketAddr]) -> Result<(), SetupError> {
    for server in servers {
        healthcheck::ask_udp(*server).map_err(|error| SetupError::Silent {
            server: *server,
            error,
        })?;
    }
    Ok(())
}

fn print(out: &mut dyn Write, args: &SetupArgs, plan: &Plan) -> io::Result<()> {
    // With what was typed, but for options of settings, which this command does not keep.
    let mut target = args.target.to_string();
    if args.root != Path::new("/") {
        target.push_str(&format!(" --root {}", args.root.display()));
    }
    for note in &plan.notes {
        writeln!(out, "# {note}")?;
    }
    let Some(change) = &plan.change else {
        write_commands(out, "to do:", &plan.after)?;
        return write_commands(out, "\nto undo:", &plan.after_undo);
    };
    writeln!(
        out,
        "# Nothing was changed. `dotward setup {target} --apply`, with the --config and --listen given now, writes this:\n"
    )?;
    write_change(out, change)?;
    write_commands(out, "then:", &plan.after)?;
    writeln!(out, "\n# To undo, `dotward setup {target} --undo`, or:\n")?;
    let mut undo = vec![change.undo_command()];
    undo.extend(plan.after_undo.iter().cloned());
    write_commands(out, "undo:", &undo)
}

fn write_change(out: &mut dyn Write, change: &Change) -> io::Result<()> {
    match &change.before {
        None => writeln!(out, "new file {}:", change.path.display())?,
        Some(_) => writeln!(
            out,
            "{} (what is there now is kept as {}):",
            change.path.display(),
            change.kept().display()
        )?,
    }
    let before: Vec<&str> = change.before.iter().flat_map(|text| text.lines()).collect();
    let after: Vec<&str> = change.after.lines().collect();
    for line in before.iter().filter(|line| !after.contains(line)) {
        writeln!(out, "- {line}")?;
    }
    for line in &after {
        let mark = if before.contains(line) { ' ' } else { '+' };
        writeln!(out, "{mark} {line}")?;
    }
    Ok(())
}

fn write_commands(out: &mut dyn Write, heading: &str, commands: &[String]) -> io::Result<()> {
    if commands.is_empty() {
        return Ok(());
    }
    writeln!(out, "{heading}")?;
    commands
        .iter()
        .try_for_each(|command| writeln!(out, "  {command}"))
}

/// A path of the machine below the directory that stands for its root.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests;
