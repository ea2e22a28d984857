//! What the program says of its own making: which commit it was made of, and by which compiler.
//!
//! Promises: the same sources and compiler give the same program: no date, no path and no name of a machine goes in. Without git, as from an
//! archive, `DOTWARD_REVISION` says which commit it is, or it is unknown.
//!
//! A build for development does not ask: each commit would have everything compiled anew.

use std::env;
use std::process::Command;

/// The name of a commit, cut to what nobody takes for another one.
const LENGTH: usize = 12;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=DOTWARD_REVISION");
    let given = env::var("DOTWARD_REVISION").ok();
    let revision = given.filter(|it| is_revision(it)).or_else(from_git);
    let revision = revision.unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=DOTWARD_REVISION={revision}");
    let rust = compiler().unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=DOTWARD_RUST={rust}");
}

/// Whether it can be told in one word: what a tool leaves when it knows nothing is no revision.
fn is_revision(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || b".-_+".contains(&it))
}

fn from_git() -> Option<String> {
    if env::var("PROFILE").as_deref() != Ok("release") {
        return None;
    }
    // In an archive that was unpacked inside of somebody else's repository the commit would be that one's.
    said("git", &["ls-files", "--error-unmatch", "build.rs"])?;
    // Where HEAD is, and what it was moved by.
    for file in ["HEAD", "logs/HEAD"] {
        let file = said("git", &["rev-parse", "--git-path", file])?;
        println!("cargo::rerun-if-changed={file}");
    }
    let mut commit = said("git", &["rev-parse", "HEAD"])?;
    commit.truncate(LENGTH);
    Some(commit)
}

/// The release, as in `rustc 1.95.0 (…)`.
fn compiler() -> Option<String> {
    let line = said(&env::var("RUSTC").ok()?, &["--version"])?;
    line.split_whitespace().nth(1).map(str::to_owned)
}

/// The first line that a command says, run beside this file; nothing of one that is not there or fails.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.to_owned();
    output.status.success().then_some(line)
}
