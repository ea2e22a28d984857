//! Lives through worlds until so many hours have passed inside them, and says which seed breaks a law.
//!
//! ```text
//! cargo run -p dotward-sim --release -- [--hours N] [--seed N] [--storm SECONDS]
//! ```
//!
//! `DOTWARD_SIM_HOURS` and `DOTWARD_SIM_SEED` say the same. Every seed is one world of its own, so a failing one is lived through again by
//! its number alone.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use dotward_sim::world::{self, Chance, Summary};

struct Wanted {
    span: Duration,
    seed: u64,
    storm: Duration,
}

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    let result = wanted().and_then(|wanted| live(&wanted, &mut out));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            // Nowhere to go when even this cannot be written.
            drop(writeln!(out, "{fault}"));
            ExitCode::FAILURE
        }
    }
}

fn wanted() -> Result<Wanted, String> {
    let number = |text: &str| {
        text.parse::<f64>()
            .map_err(|_| format!("not a number: {text}"))
    };
    let mut hours = std::env::var("DOTWARD_SIM_HOURS").unwrap_or_else(|_| "1".into());
    let mut seed = std::env::var("DOTWARD_SIM_SEED").unwrap_or_else(|_| "0".into());
    let mut storm = "20".to_owned();
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{flag} what?"))?;
        match flag.as_str() {
            "--hours" => hours = value,
            "--seed" => seed = value,
            "--storm" => storm = value,
            _ => {
                return Err(format!(
                    "unknown: {flag}; --hours, --seed and --storm are known"
                ));
            }
        }
    }
    Ok(Wanted {
        span: Duration::from_secs_f64(number(&hours)? * 3_600.0),
        seed: seed.parse().map_err(|_| format!("not a seed: {seed}"))?,
        storm: Duration::from_secs_f64(number(&storm)?),
    })
}

fn live(wanted: &Wanted, out: &mut impl Write) -> Result<(), String> {
    let mut total = Summary::default();
    let mut seed = wanted.seed;
    while total.span < wanted.span {
        let one = world::live(Chance::seeded(seed), wanted.storm)
            .map_err(|fault| format!("DOTWARD_SIM_SEED={seed}: {fault}"))?;
        total.questions += one.questions;
        total.good += one.good;
        total.failed += one.failed;
        total.connections += one.connections;
        total.span += one.span;
        seed += 1;
    }
    writeln!(
        out,
        "{} worlds, {:.1} h inside: {} questions, {} answered, {} failed, {} connections; every law held",
        seed - wanted.seed,
        total.span.as_secs_f64() / 3_600.0,
        total.questions,
        total.good,
        total.failed,
        total.connections
    )
    .map_err(|error| error.to_string())
}
