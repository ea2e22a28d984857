//! The configuration from outside: files, environment and command line in, the checked
//! configuration or all faults out. No test touches the environment or the files of the process, save
//! those of `testdata`.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use dotward::cli;
use dotward::config::fault::Fault;
use dotward::config::{Config, InForce, ListenTransport, Loaded, ReadFiles, Refused, load_where};

mod bad_files;
mod command_line;
mod dot_port;
mod example;
mod generated;
mod good_files;
mod identities;
mod manual;
mod older_names;
mod precedence;
mod routes;
mod start_line;
mod table;

/// Files that exist in a test only.
#[derive(Default)]
struct Files(BTreeMap<PathBuf, Vec<u8>>);

impl Files {
    fn with(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.0.insert(path.into(), content.into());
        self
    }
}

impl ReadFiles for Files {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0
            .get(path)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Loads with these arguments (without the program's name), variables and files.
fn load_with(
    arguments: &[&str],
    variables: &[(&str, &str)],
    files: &Files,
) -> Result<Loaded, Refused> {
    load_where_with(arguments, variables, files, InForce::WithoutFile)
}

/// The same, where `absence` of the file may be a fault.
fn load_where_with(
    arguments: &[&str],
    variables: &[(&str, &str)],
    files: &Files,
    in_force: InForce,
) -> Result<Loaded, Refused> {
    let all = ["dotward"].iter().chain(arguments).map(OsString::from);
    let invocation = cli::parse(all).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    let variables = variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    load_where(&invocation.options, variables, files, in_force)
}

/// Loads what must be good.
fn good(arguments: &[&str], variables: &[(&str, &str)], files: &Files) -> Loaded {
    load_with(arguments, variables, files).unwrap_or_else(|refused| {
        let faults: Vec<_> = refused.faults.iter().map(Fault::to_string).collect();
        panic!("{arguments:?} {variables:?}: {faults:#?}")
    })
}

/// Loads what must be refused; each fault as one line.
fn faults(arguments: &[&str], variables: &[(&str, &str)], files: &Files) -> Vec<String> {
    match load_with(arguments, variables, files) {
        Ok(loaded) => panic!("{arguments:?} {variables:?} is good: {:#?}", loaded.config),
        Err(refused) => refused.faults.iter().map(Fault::to_string).collect(),
    }
}

fn warnings(loaded: &Loaded) -> Vec<String> {
    loaded.warnings.iter().map(ToString::to_string).collect()
}

/// The listeners as `udp://ADDR tcp://ADDR …`.
fn listeners(config: &Config) -> String {
    let written = config.listeners.iter().map(|listener| {
        let scheme = match listener.transport {
            ListenTransport::Udp => "udp",
            ListenTransport::Tcp => "tcp",
            ListenTransport::Tls => "tls",
        };
        format!("{scheme}://{}", listener.address)
    });
    written.collect::<Vec<_>>().join(" ")
}

/// The upstreams as `NAME=SPEC …`.
fn upstreams(config: &Config) -> String {
    let written = config
        .upstreams
        .iter()
        .map(|it| format!("{}={}", it.name, it.spec()));
    written.collect::<Vec<_>>().join(" ")
}

/// A path in the top directory of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// Compares with a file of the repository, or writes it when `BLESS` is set.
fn assert_file(path: &Path, content: &str) {
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, content).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        return;
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    let same = content == expected;
    assert!(
        same,
        "{} differs (BLESS=1 writes it); it should be:\n{content}",
        path.display()
    );
}

/// The `.toml` files of a directory of `testdata/config`, by name.
fn samples(directory: &str) -> Vec<(PathBuf, String, String)> {
    let directory = repository("testdata/config").join(directory);
    let entries = std::fs::read_dir(&directory).unwrap_or_else(|e| panic!("{directory:?}: {e}"));
    let mut samples = Vec::new();
    for path in entries.map(|entry| entry.expect("readable").path()) {
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let name = path
                .file_name()
                .expect("a file")
                .to_string_lossy()
                .into_owned();
            let text = std::fs::read_to_string(&path).expect("readable");
            samples.push((path, name, text));
        }
    }
    samples.sort();
    assert!(!samples.is_empty());
    samples
}
