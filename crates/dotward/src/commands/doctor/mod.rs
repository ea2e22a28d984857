//! `dotward doctor`: what stands in the way here, and what to do about it.
//!
//! Promises: it reads, and asks the upstreams one question each; nothing is changed, no port is taken, nothing is written. Every finding is
//! a fact, and where it matters what it means and what to do. What this user may not read is said to be unknown and never guessed.
//!
//! Deliberately absent: mending anything (`dotward setup` prints and, when told, makes changes).

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use dotward_core::wire::{Class, Name, Question, RecordType};
use serde_json::{Value, json};

use super::survey::progress::Progress;
use super::survey::{Tested, ask_all};
use crate::config::load::DEFAULT_FILE;
use crate::config::place::Place;
use crate::config::{Config, Loaded, ReadFiles, Refused, load};
use crate::run::local_runtime;

mod machine;
mod ports;
mod reach;
mod resolver;
mod running;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// As it should be.
    Good,
    /// Nothing that has to be changed.
    Note,
    /// It keeps dotward, or those who ask it, from working.
    Wrong,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Wrong => "wrong",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    topic: String,
    level: Level,
    fact: String,
    /// What follows from it; empty where that is plain.
    meaning: String,
    /// What to do; empty where there is nothing.
    remedy: String,
}

impl Finding {
    fn good(topic: impl Into<String>, fact: impl Into<String>) -> Self {
        Self {
            topic: topic.into(),
            level: Level::Good,
            fact: fact.into(),
            meaning: String::new(),
            remedy: String::new(),
        }
    }

    fn note(topic: impl Into<String>, fact: impl Into<String>) -> Self {
        Self {
            level: Level::Note,
            ..Self::good(topic, fact)
        }
    }

    fn wrong(topic: impl Into<String>, fact: impl Into<String>) -> Self {
        Self {
            level: Level::Wrong,
            ..Self::good(topic, fact)
        }
    }

    fn means(self, meaning: impl Into<String>) -> Self {
        Self {
            meaning: meaning.into(),
            ..self
        }
    }

    fn mended_by(self, remedy: impl Into<String>) -> Self {
        Self {
            remedy: remedy.into(),
            ..self
        }
    }
}

/// The machine that is looked at.
struct Machine {
    /// The directory its files are below.
    root: PathBuf,
}

impl Machine {
    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// What is in a file; `None` when it is not there or may not be read.
    fn read(&self, path: &str) -> Option<String> {
        let octets = std::fs::read(self.path(path)).ok()?;
        Some(String::from_utf8_lossy(&octets).into_owned())
    }

    /// The process of a program of this name, of which the kernel keeps 15 octets.
    fn process(&self, name: &str) -> Option<u32> {
        let processes = std::fs::read_dir(self.path("/proc")).ok()?.flatten();
        processes
            .filter_map(|process| {
                let pid = process.file_name().to_str()?.parse().ok()?;
                let comm = std::fs::read_to_string(process.path().join("comm")).ok()?;
                (comm.trim() == name.get(..15).unwrap_or(name)).then_some(pid)
            })
            .min()
    }
}

/// Looks at everything and writes what there is to say; `progress` is told while upstreams are asked. `true` if nothing is wrong.
///
/// # Errors
///
/// Those of `out`, and of a system that gives no event loop.
pub fn write_findings(
    out: &mut dyn Write,
    progress: Option<&mut dyn Write>,
    loaded: &Result<Loaded, Refused>,
    control: Option<&Path>,
    json: bool,
) -> io::Result<bool> {
    let machine = Machine { root: "/".into() };
    let mut findings = vec![configuration(loaded)];
    let defaults;
    let config = match loaded {
        Ok(loaded) => Some(&loaded.config),
        Err(_) => {
            defaults = load(&crate::cli::Options::default(), [], &NoFiles).ok();
            defaults.as_ref().map(|it| &it.config)
        }
    };
    findings.extend(running::findings(control));
    if let Some(config) = config {
        findings.extend(ports::findings(&machine, config));
        findings.extend(resolver::findings(&machine, config));
        findings.extend(machine::findings(&machine, config));
        let tested = local_runtime()?.block_on(ask(config, Progress::new(progress)));
        findings.extend(reach::findings(&tested));
    }
    write(out, &findings, json)
}

/// One question to each: the name servers of the root, which everybody knows and nobody minds.
async fn ask(config: &Config, progress: Progress<'_>) -> Vec<Tested> {
    let question = Question::new(&Name::root(), RecordType::NS, Class::IN);
    ask_all(config, config.upstreams.clone(), &question, progress).await
}

fn configuration(loaded: &Result<Loaded, Refused>) -> Finding {
    const TOPIC: &str = "configuration";
    match loaded {
        Ok(Loaded {
            file: Some(file), ..
        }) => Finding::good(TOPIC, format!("{} is good", file.display())),
        Ok(_) => Finding::good(TOPIC, "no file; defaults, variables and options"),
        Err(refused) => {
            let first = refused.faults.first().map(ToString::to_string);
            let first = first.as_deref().and_then(|it| it.lines().next());
            Finding::wrong(
                TOPIC,
                format!(
                    "{}: {}",
                    faults_words(refused.faults.len()),
                    first.unwrap_or_default()
                ),
            )
            .means("dotward does not start; what follows is said about the defaults")
            .mended_by(format!(
                "dotward check{} shows each fault and what to write instead",
                file_of(refused)
            ))
        }
    }
}

/// The file with the faults as an argument, where one has to be given.
fn file_of(refused: &Refused) -> String {
    let mut places = refused.faults.iter().map(|it| &it.place);
    let name = places.find_map(|place| match place {
        Place::File(spot) => Some(spot.source.name.as_str()),
        Place::Default | Place::Variable(_) | Place::Flag(_) => None,
    });
    name.filter(|name| *name != DEFAULT_FILE)
        .map(|name| format!(" {name}"))
        .unwrap_or_default()
}

fn faults_words(faults: usize) -> String {
    match faults {
        1 => "1 fault".to_owned(),
        more => format!("{more} faults"),
    }
}

/// For the defaults: nothing is there.
struct NoFiles;

impl ReadFiles for NoFiles {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

fn write(out: &mut dyn Write, findings: &[Finding], json: bool) -> io::Result<bool> {
    let wrong = findings
        .iter()
        .filter(|it| it.level == Level::Wrong)
        .count();
    if json {
        let findings: Vec<Value> = findings.iter().map(finding_json).collect();
        writeln!(out, "{:#}", json!({ "findings": findings, "wrong": wrong }))?;
    } else {
        let width = findings.iter().map(|it| it.topic.chars().count()).max();
        let width = width.unwrap_or(0);
        for finding in findings {
            writeln!(out, "{}", Lines { finding, width })?;
        }
        match wrong {
            0 => writeln!(out, "nothing is wrong")?,
            1 => writeln!(out, "1 thing is wrong")?,
            more => writeln!(out, "{more} things are wrong")?,
        }
    }
    Ok(wrong == 0)
}

fn finding_json(finding: &Finding) -> Value {
    let or_null = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    json!({
        "topic": finding.topic,
        "level": finding.level.word(),
        "fact": finding.fact,
        "meaning": or_null(&finding.meaning),
        "remedy": or_null(&finding.remedy),
    })
}

/// A finding for people.
struct Lines<'a> {
    finding: &'a Finding,
    width: usize,
}

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { finding, width } = self;
        let word = finding.level.word();
        write!(f, "{word:5}  {:width$}  {}", finding.topic, finding.fact)?;
        for (what, text) in [("meaning", &finding.meaning), ("to do", &finding.remedy)] {
            if !text.is_empty() {
                write!(f, "\n       {:width$}  {what}: {text}", "")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
