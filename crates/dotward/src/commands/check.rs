//! `dotward check`: every fault of the configuration, or that there is none.
//!
//! It loads the configuration as a start would, looks at the user and the directory it names, and stops there: no socket is bound, nobody is
//! asked.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::config::place::Place;
use crate::config::report::{Style, write_faults, write_warnings};
use crate::config::{Config, Fault, Loaded, Refused};
use crate::listen::sockets::transport_word;
use crate::privileges;

/// How the result is written.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// Each value and where it came from too.
    pub show_origin: bool,
    /// For programs.
    pub json: bool,
    /// For people.
    pub style: Style,
}

/// Writes what `check` says about a configuration; `true` if it can be used. The exit code is 0
/// then, else 2.
///
/// # Errors
///
/// Those of `out`.
pub fn write_check(
    out: &mut dyn Write,
    loaded: &Result<Loaded, Refused>,
    form: Form,
) -> io::Result<bool> {
    let of_machine = loaded.as_ref().ok().and_then(|it| of_machine(&it.config));
    if form.json {
        write_json(out, loaded, of_machine.as_deref(), form.show_origin)?;
        return Ok(loaded.is_ok() && of_machine.is_none());
    }
    match (loaded, of_machine) {
        (Err(refused), _) => write_bad(out, refused, form.style).map(|()| false),
        (Ok(loaded), Some(fault)) => {
            write_warnings(out, &loaded.warnings)?;
            writeln!(out, "error: {fault}\n1 fault")?;
            Ok(false)
        }
        (Ok(loaded), None) => write_good(out, loaded, form.show_origin).map(|()| true),
    }
}

/// What this machine lacks of what the configuration names.
fn of_machine(config: &Config) -> Option<String> {
    if let Err(error) = privileges::check(config) {
        return Some(error.to_string());
    }
    let snapshot = &config.snapshot.as_ref()?.path;
    let directory = snapshot.parent()?;
    // Beside where the program is started.
    if directory.as_os_str().is_empty() || directory.is_dir() {
        return None;
    }
    Some(format!(
        "no directory {} for the snapshot of the cache\n  fix:     make it (mkdir -p {}), or correct cache.snapshot",
        directory.display(),
        directory.display()
    ))
}

fn write_json(
    out: &mut dyn Write,
    loaded: &Result<Loaded, Refused>,
    of_machine: Option<&str>,
    show_origin: bool,
) -> io::Result<()> {
    let (faults, warnings) = match loaded {
        Ok(loaded) => (&[][..], &loaded.warnings),
        Err(refused) => (refused.faults.as_slice(), &refused.warnings),
    };
    let mut faults: Vec<Value> = faults.iter().map(fault_json).collect();
    faults.extend(of_machine.map(|fault| {
        let (problem, remedy) = fault.split_once("\n  fix:     ").unwrap_or((fault, ""));
        json!({ "place": null, "line": null, "column": null, "problem": problem, "remedy": remedy })
    }));
    let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    let loaded = loaded.as_ref().ok();
    let file = loaded.and_then(|it| it.file.as_ref());
    let mut value = json!({
        "good": faults.is_empty(),
        "file": file.map(|it| it.to_string_lossy()),
        "faults": faults,
        "warnings": warnings,
    });
    if let (Some(loaded), true) = (loaded, show_origin) {
        value["values"] = super::show::values_json(loaded);
    }
    writeln!(out, "{value:#}")
}

fn fault_json(fault: &Fault) -> Value {
    let spot = match &fault.place {
        Place::File(spot) => Some(spot),
        Place::Default | Place::Variable(_) | Place::Flag(_) => None,
    };
    json!({
        "place": match spot {
            Some(spot) => spot.source.name.clone(),
            None => fault.place.to_string(),
        },
        "line": spot.map(|it| it.line()),
        "column": spot.map(|it| it.column()),
        "problem": fault.problem.to_string(),
        "remedy": fault.problem.remedy(),
    })
}

fn write_bad(out: &mut dyn Write, refused: &Refused, style: Style) -> io::Result<()> {
    write_warnings(out, &refused.warnings)?;
    write_faults(out, &refused.faults, style)?;
    match refused.faults.len() {
        1 => writeln!(out, "1 fault"),
        faults => writeln!(out, "{faults} faults"),
    }
}

fn write_good(out: &mut dyn Write, loaded: &Loaded, show_origin: bool) -> io::Result<()> {
    write_warnings(out, &loaded.warnings)?;
    if show_origin {
        write_origins(out, loaded)?;
    }
    let file = match &loaded.file {
        Some(file) => file.display().to_string(),
        None => "no file".to_owned(),
    };
    let general = loaded.config.upstreams_of(None);
    let asked: Vec<_> = general.iter().map(|it| it.name.as_str()).collect();
    let (listeners, asked) = (listeners(&loaded.config), asked.join(", "));
    let routes = match loaded.config.routes.len() {
        0 => String::new(),
        1 => "; 1 route".to_owned(),
        routes => format!("; {routes} routes"),
    };
    writeln!(
        out,
        "good: {file}; listens on {listeners}; asks {asked}{routes}"
    )
}

/// Addresses with what is spoken there, each address once.
fn listeners(config: &Config) -> String {
    let mut listed: Vec<(String, Vec<&str>)> = Vec::new();
    let addresses = config.listeners.iter();
    let addresses = addresses.map(|it| (it.address.to_string(), it.transport));
    let interfaces = config.interfaces.iter();
    let interfaces = interfaces.map(|it| (it.to_string(), it.transport));
    for (address, transport) in addresses.chain(interfaces) {
        let word = transport_word(transport);
        match listed.iter_mut().find(|(known, _)| *known == address) {
            Some((_, words)) => words.push(word),
            None => listed.push((address, vec![word])),
        }
    }
    let listed: Vec<_> = listed
        .iter()
        .map(|(address, words)| format!("{address} ({})", words.join(", ")))
        .collect();
    listed.join(", ")
}

fn write_origins(out: &mut dyn Write, loaded: &Loaded) -> io::Result<()> {
    let rows: Vec<_> = loaded
        .origins
        .iter()
        .map(|it| (&it.key, &it.value, it.place.to_string()))
        .collect();
    let widest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0).min(48);
    let keys = widest(&mut rows.iter().map(|(key, _, _)| key.chars().count()));
    let values = widest(&mut rows.iter().map(|(_, value, _)| value.chars().count()));
    for (key, value, place) in rows {
        writeln!(out, "{key:keys$} = {value:values$}  # {place}")?;
    }
    Ok(())
}
