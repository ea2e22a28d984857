//! Tests of the core as a whole, on a clock that is a variable and without a network.
//!
//! - [`fixture`]: messages octet by octet, and what becomes of each (`testdata/wire`);
//! - [`laws`]: what holds for any octets, for property tests and fuzz targets;
//! - [`scenario`]: scripted exchanges between clients, the core and upstreams (`testdata/scenarios`);
//! - [`world`]: random clients and upstreams from a seed, against laws and a naive reference model.
//!
//! Deliberately absent: the shell. Its sockets, TLS and threads are tested where they live.

pub mod fixture;
pub mod harness;
mod judged;
pub mod kept;
pub mod laws;
pub mod octets;
pub mod scenario;
pub mod world;

use std::path::{Path, PathBuf};

/// The project's directory of test data.
#[must_use]
pub fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata")
}

/// The files of a directory under `testdata` that end in `.{extension}`, in order.
///
/// # Errors
///
/// What the file system says.
pub fn files(directory: &str, extension: &str) -> Result<Vec<(String, String)>, String> {
    let directory = testdata().join(directory);
    let told = |error: std::io::Error| format!("{}: {error}", directory.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&directory).map_err(told)? {
        let path = entry.map_err(told)?.path();
        if path.extension().is_some_and(|found| found == extension) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            found.push((
                name.into_owned(),
                std::fs::read_to_string(&path).map_err(told)?,
            ));
        }
    }
    found.sort();
    Ok(found)
}
