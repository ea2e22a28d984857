//! `dotward version`: which program this is, and of what and by what it was made (`build.rs`).

use std::io::{self, Write};

use serde_json::json;

/// Prints the version, for people or as JSON with stable keys.
///
/// # Errors
///
/// Those of `out`.
pub fn write_version(out: &mut dyn Write, json: bool) -> io::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let (revision, rust) = (env!("DOTWARD_REVISION"), env!("DOTWARD_RUST"));
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    if json {
        let version = json!({
            "name": "dotward", "version": version, "revision": revision, "rust": rust, "os": os, "arch": arch
        });
        writeln!(out, "{version}")
    } else {
        writeln!(
            out,
            "dotward {version} ({os}, {arch}), revision {revision}, Rust {rust}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_programs_are_told_the_same() {
        let said = |json| {
            let mut out = Vec::new();
            write_version(&mut out, json).unwrap();
            String::from_utf8(out).unwrap()
        };
        let (line, json) = (said(false), said(true));
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        for key in ["version", "revision", "rust", "os", "arch"] {
            let value = json[key].as_str().unwrap();
            assert!(!value.is_empty() && line.contains(value), "{key}: {line}");
        }
        assert!(json["rust"].as_str().unwrap().starts_with("1."), "{json}");
    }
}
