//! `dotward check`: every fault of the configuration, or that there is none.
//!
//! It loads the configuration as a start would and stops there: no socket is bound, nobody is
//! asked.

use std::io::{self, Write};

use crate::config::report::{Style, write_faults, write_warnings};
use crate::config::{Config, Loaded, Refused};
use crate::listen::sockets::transport_word;

/// Writes what `check` says about a configuration; `true` if it can be used. The exit code is 0
/// then, else 2.
///
/// # Errors
///
/// Those of `out`.
pub fn write_check(
    out: &mut dyn Write,
    loaded: &Result<Loaded, Refused>,
    show_origin: bool,
    style: Style,
) -> io::Result<bool> {
    match loaded {
        Ok(loaded) => write_good(out, loaded, show_origin).map(|()| true),
        Err(refused) => write_bad(out, refused, style).map(|()| false),
    }
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
