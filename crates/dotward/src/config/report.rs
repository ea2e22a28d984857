//! Faults and warnings as people read them: one line each, or with the line of the file and a caret.

use std::fmt::{self, Write as _};
use std::io::{self, Write};

use super::fault::Fault;
use super::place::{Place, Spot};
use crate::limits::FAULTS_WRITTEN;
use crate::plain::Line;

/// How faults and warnings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One line each.
    Line,
    /// With the line of the file, a caret, and colour if asked for.
    Terminal {
        /// Whether escape sequences for colour may be used.
        colour: bool,
    },
}

impl Style {
    /// The style for a stream: caret and colour on a terminal only, colour only without `NO_COLOR`.
    pub fn of_stream(terminal: bool, no_color: bool) -> Self {
        if terminal {
            Self::Terminal { colour: !no_color }
        } else {
            Self::Line
        }
    }
}

/// Writes faults, one after the other.
///
/// # Errors
///
/// Those of `out`.
pub fn write_faults(out: &mut dyn Write, faults: &[Fault], style: Style) -> io::Result<()> {
    for fault in faults.iter().take(FAULTS_WRITTEN) {
        match style {
            Style::Line => writeln!(out, "error: {fault}")?,
            Style::Terminal { colour } => write_long(out, fault, colour)?,
        }
    }
    match faults.len().saturating_sub(FAULTS_WRITTEN) {
        0 => Ok(()),
        more => writeln!(out, "… and {more} more"),
    }
}

fn write_long(out: &mut dyn Write, fault: &Fault, colour: bool) -> io::Result<()> {
    let paint = |code: &'static str| if colour { code } else { "" };
    let (red, bold, plain) = (
        paint("\u{1b}[1;31m"),
        paint("\u{1b}[1m"),
        paint("\u{1b}[0m"),
    );
    let mut headline = String::new();
    fault
        .write_headline(&mut headline)
        .map_err(io::Error::other)?;
    writeln!(out, "{red}error:{plain} {bold}{headline}{plain}")?;
    let mut remedy = String::new();
    write!(Line(&mut remedy), "{}", fault.problem.remedy()).map_err(io::Error::other)?;
    match &fault.place {
        Place::File(spot) => write_excerpt(out, spot, &remedy, red, plain),
        Place::Default | Place::Variable(_) | Place::Flag(_) => {
            writeln!(out, "  fix:     {remedy}")
        }
    }
}

fn write_excerpt(
    out: &mut dyn Write,
    spot: &Spot,
    remedy: &str,
    red: &str,
    plain: &str,
) -> io::Result<()> {
    let (line, covered) = spot.excerpt();
    let indent = " ".repeat(spot.column() - 1);
    let caret = "^".repeat(covered);
    writeln!(out, "{:>5} | {line}", spot.line())?;
    writeln!(out, "      | {indent}{red}{caret}{plain} {remedy}")
}

/// What does not keep the configuration from being used but should be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A name of an older proxy.
    OlderName {
        /// As it was written.
        used: String,
        /// What is written instead.
        instead: String,
        /// What stands above it, so that it has no effect.
        overruled_by: Option<String>,
    },
    /// A variable that looks like ours and is not.
    UnknownVariable {
        /// Its name.
        name: String,
        /// What was probably meant.
        suggestion: Option<&'static str>,
    },
    /// A certificate nobody is shown.
    CertificateUnused {
        /// Where it was given.
        place: Place,
    },
    /// Domains that may have private addresses, where all may.
    PrivateDomainUnused {
        /// Where it was given.
        place: Place,
    },
    /// Every client is believed to be a load balancer.
    ProxyFromEverybody {
        /// Where it was given.
        place: Place,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_words(&mut Line(f))
    }
}

impl Warning {
    fn write_words(&self, f: &mut impl fmt::Write) -> fmt::Result {
        match self {
            Self::OlderName {
                used,
                instead,
                overruled_by: None,
            } => {
                write!(f, "`{used}` is an older name; write `{instead}`")
            }
            Self::OlderName {
                used,
                instead,
                overruled_by: Some(above),
            } => {
                write!(
                    f,
                    "`{used}` is an older name for `{instead}` and overruled by {above}; remove it"
                )
            }
            Self::UnknownVariable {
                name,
                suggestion: Some(suggestion),
            } => {
                write!(
                    f,
                    "unknown variable {name} has no effect; did you mean {suggestion}?"
                )
            }
            Self::UnknownVariable {
                name,
                suggestion: None,
            } => {
                write!(f, "unknown variable {name} has no effect; remove it")
            }
            Self::CertificateUnused { place } => write!(
                f,
                "{place}: a certificate for clients, but no listener speaks TLS; add one with \
                 --listen tls://ADDR or listen.tls"
            ),
            Self::PrivateDomainUnused { place } => write!(
                f,
                "{place}: a domain that may have private addresses, but all may; withhold those of others with \
                 privacy.block_private = true (--block-private true)"
            ),
            Self::ProxyFromEverybody { place } => write!(
                f,
                "{place}: every client may claim any address, and none can ask without a PROXY header; list the addresses of \
                 the load balancers only"
            ),
        }
    }
}

/// Writes warnings, one line each.
///
/// # Errors
///
/// Those of `out`.
pub fn write_warnings(out: &mut dyn Write, warnings: &[Warning]) -> io::Result<()> {
    warnings
        .iter()
        .try_for_each(|warning| writeln!(out, "warn:  {warning}"))
}
