//! `dotward version`.

use std::io::{self, Write};

use serde_json::json;

/// Prints the version, for people or as JSON with stable keys.
///
/// # Errors
///
/// Those of `out`.
pub fn write_version(out: &mut dyn Write, json: bool) -> io::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    if json {
        let version = json!({ "name": "dotward", "version": version, "os": os, "arch": arch });
        writeln!(out, "{version}")
    } else {
        writeln!(out, "dotward {version} ({os}, {arch})")
    }
}
