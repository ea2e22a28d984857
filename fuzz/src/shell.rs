//! What the operator writes (files, variables, arguments, and lines to the control socket), and records as the operator reads them.
//!
//! The laws: nothing panics; there is a configuration or at least one fault; what is told is text that a terminal shows as it is; and a
//! configuration means the same when it is written down and read again.

use std::ffi::OsString;
use std::fmt::Display;
use std::io;
use std::path::Path;

use dotward::cli;
use dotward::commands::records;
use dotward::config::report::write_faults;
use dotward::config::{Loaded, Protocol, ReadFiles, Refused, Style, UpstreamSettings, load};
use dotward::control::Request;
use dotward::plan;
use dotward_core::wire::ResponseView;

/// The only file there is besides what it names.
const NAME: &str = "/c.toml";

/// What follows it is the content of every file that the first one names.
const OTHER_FILES: &[u8] = b"\n#--\n";

struct Files<'a> {
    file: &'a [u8],
    others: Option<&'a [u8]>,
}

impl ReadFiles for Files<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let found = match path == Path::new(NAME) {
            true => Some(self.file),
            false => self.others,
        };
        found
            .map(<[u8]>::to_vec)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// A configuration file, and what is in the files it names.
pub fn file(data: &[u8]) {
    let cut = data
        .windows(OTHER_FILES.len())
        .position(|it| it == OTHER_FILES);
    let files = match cut {
        Some(at) => Files {
            file: &data[..at],
            others: Some(&data[at + OTHER_FILES.len()..]),
        },
        None => Files {
            file: data,
            others: None,
        },
    };
    let arguments = ["dotward", "-c", NAME].map(OsString::from);
    loaded(arguments, [], &files);
}

/// Lines: arguments as they are, `NAME=VALUE` of the environment behind a `$`, requests of the control socket behind a `>`.
pub fn words(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut arguments = vec![OsString::from("dotward")];
    let mut variables = Vec::new();
    for line in text.split('\n') {
        match line.as_bytes().first() {
            Some(b'$') => {
                let (name, value) = line[1..].split_once('=').unwrap_or((&line[1..], ""));
                variables.push((name.into(), value.into()));
            }
            Some(b'>') => request(&line[1..]),
            Some(_) => arguments.push(line.into()),
            None => {}
        }
    }
    let files = Files {
        file: b"",
        others: None,
    };
    loaded(arguments, variables, &files);
}

fn request(line: &str) {
    match Request::parse(line) {
        Ok(request) => {
            shown(&request);
            let again = Request::parse(&request.to_string());
            assert_eq!(again.ok(), Some(request), "of {line:?}");
        }
        Err(fault) => shown(&fault),
    }
}

fn loaded(
    arguments: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    files: &dyn ReadFiles,
) {
    let Ok(invocation) = cli::parse(arguments) else {
        return;
    };
    match load(&invocation.options, variables, files) {
        Ok(loaded) => good(&loaded),
        Err(refused) => bad(&refused),
    }
}

fn good(loaded: &Loaded) {
    loaded.warnings.iter().for_each(|it| shown(it));
    assert!(!loaded.config.listeners.is_empty() || !loaded.config.interfaces.is_empty());
    assert!(loaded.config.general_upstreams().next().is_some());
    drop(plan::policy(&loaded.config));
    for upstream in loaded
        .config
        .upstreams
        .iter()
        .filter(|it| it.protocol == Protocol::Tls)
    {
        reread(upstream);
    }
}

/// The SPEC of an upstream says where it is and what it is verified by. Files of roots are left out: their names may hold what separates
/// words.
fn reread(upstream: &UpstreamSettings) {
    if upstream.ca_file.is_some() {
        return;
    }
    let spec = upstream.spec();
    let arguments = ["dotward", "-u", &spec].map(OsString::from);
    let Ok(invocation) = cli::parse(arguments) else {
        panic!("no argument: {spec}");
    };
    let files = Files {
        file: b"",
        others: None,
    };
    let again = match load(&invocation.options, [], &files) {
        Ok(again) => again.config,
        Err(refused) => panic!("{spec}: {:?}", refused.faults),
    };
    let [again] = again.upstreams.as_slice() else {
        panic!("{spec} is not one upstream: {:?}", again.upstreams);
    };
    let parts = |it: &UpstreamSettings| {
        // The port is that of addresses yet to be found.
        let port = it.endpoints.is_empty().then_some(it.port);
        (
            it.endpoints.clone(),
            port,
            it.tls_name.clone(),
            it.pins.clone(),
        )
    };
    assert_eq!(parts(again), parts(upstream), "of {spec}");
}

fn bad(refused: &Refused) {
    assert!(!refused.faults.is_empty());
    refused.warnings.iter().for_each(|it| shown(it));
    refused.faults.iter().for_each(|it| shown(it));
    let mut written = Vec::new();
    assert!(
        write_faults(
            &mut written,
            &refused.faults,
            Style::Terminal { colour: false }
        )
        .is_ok()
    );
    let written = String::from_utf8_lossy(&written);
    written.lines().for_each(|it| shown(&it));
}

/// The records of an upstream's message, as people are shown them.
pub fn records(message: &[u8]) {
    let Ok(response) = ResponseView::parse(message) else {
        return;
    };
    for record in response.records().flatten() {
        for text in [
            records::owner(message, &record),
            records::data(message, &record),
        ] {
            let printable = |octet: u8| matches!(octet, b' '..=b'~');
            assert!(text.bytes().all(printable), "{text:?}");
        }
    }
}

/// One line that moves no cursor.
fn shown(text: &dyn Display) {
    let text = text.to_string();
    assert!(!text.contains(char::is_control), "{text:?}");
}
