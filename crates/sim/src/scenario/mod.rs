//! Scripted exchanges: a text file says who does what and what has to come out, line by line. The words are told in
//! `testdata/scenarios/README.md`.

mod message;
mod run;
mod told;
mod words;

use words::Words;

/// Runs a scenario from its text.
///
/// # Errors
///
/// The line that was not as written, and why.
pub fn run(text: &str) -> Result<(), String> {
    let mut runner = run::Runner::default();
    let mut steps = 0;
    for (at, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        steps += 1;
        runner
            .step(&Words::new(line))
            .map_err(|error| format!("{}: {line}: {error}", at + 1))?;
    }
    if steps == 0 {
        return Err("1: an empty scenario".into());
    }
    runner
        .end()
        .map_err(|error| format!("{}: at the end: {error}", text.lines().count()))
}
