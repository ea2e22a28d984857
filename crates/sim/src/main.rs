//! Lives through so many worlds, or until so many hours have passed inside them or minutes outside, and says which seed breaks a law.
//!
//! ```text
//! cargo run -p dotward-sim --release -- [--worlds N] [--hours N] [--minutes N] [--seed N|random] [--storm SECONDS] [--threads N]
//! ```
//!
//! `DOTWARD_SIM_HOURS` and `DOTWARD_SIM_SEED` say the same as the flags. The worlds of a run have the seeds from `--seed` on, one each, so
//! a failing one is lived through again by its number alone, whatever the number of threads was. The end comes with whichever of
//! worlds, hours and minutes is reached first; with worlds or minutes given, hours are without bound unless given too. How far a machine
//! gets in hours and minutes depends on it: the same worlds are lived through everywhere with `--worlds` alone.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use dotward_sim::world::{self, Chance, Summary};

struct Wanted {
    /// How many worlds.
    worlds: u64,
    /// Time inside the worlds, all together.
    span: Duration,
    /// Time outside.
    patience: Duration,
    seed: u64,
    storm: Duration,
    threads: usize,
}

/// What the threads share.
struct Shared {
    next: u64,
    total: Summary,
    fault: Option<String>,
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
    let mut hours = std::env::var("DOTWARD_SIM_HOURS").ok();
    let mut minutes = None;
    let mut worlds = None;
    let mut seed = std::env::var("DOTWARD_SIM_SEED").unwrap_or_else(|_| "0".into());
    let mut storm = "20".to_owned();
    let mut threads = "1".to_owned();
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{flag} what?"))?;
        match flag.as_str() {
            "--hours" => hours = Some(value),
            "--minutes" => minutes = Some(value),
            "--worlds" => worlds = Some(value),
            "--seed" => seed = value,
            "--storm" => storm = value,
            "--threads" => threads = value,
            _ => {
                return Err(format!(
                    "unknown: {flag}; --worlds, --hours, --minutes, --seed, --storm and --threads are known"
                ));
            }
        }
    }
    let given = |text: Option<String>, unit: f64| text.map(|text| seconds(&text, unit)).transpose();
    let patience = given(minutes, 60.0)?;
    let span = given(hours, 3_600.0)?;
    let number = |text: String| match text.parse::<u64>() {
        Ok(number) if number > 0 => Ok(number),
        Ok(_) | Err(_) => Err(format!("not a number of worlds: {text}")),
    };
    let worlds = worlds.map(number).transpose()?;
    let seed = match seed.as_str() {
        "random" => RandomState::new().build_hasher().finish(),
        seed => seed.parse().map_err(|_| format!("not a seed: {seed}"))?,
    };
    Ok(Wanted {
        span: span.unwrap_or(match (patience, worlds) {
            (None, None) => Duration::from_secs(3_600),
            (Some(_), _) | (_, Some(_)) => Duration::MAX,
        }),
        worlds: worlds.unwrap_or(u64::MAX),
        patience: patience.unwrap_or(Duration::MAX),
        seed,
        storm: seconds(&storm, 1.0)?,
        threads: threads
            .parse()
            .ok()
            .filter(|count| (1..=256).contains(count))
            .ok_or_else(|| format!("not 1 to 256 threads: {threads}"))?,
    })
}

fn seconds(text: &str, unit: f64) -> Result<Duration, String> {
    let number = text.parse::<f64>().ok();
    number
        .and_then(|number| Duration::try_from_secs_f64(number * unit).ok())
        .ok_or_else(|| format!("not a time: {text}"))
}

fn live(wanted: &Wanted, out: &mut impl Write) -> Result<(), String> {
    let began = Instant::now();
    let shared = Mutex::new(Shared {
        next: wanted.seed,
        total: Summary::default(),
        fault: None,
    });
    writeln!(out, "worlds from seed {} on", wanted.seed).map_err(|error| error.to_string())?;
    std::thread::scope(|scope| {
        for _ in 0..wanted.threads {
            scope.spawn(|| live_on(wanted, began, &shared));
        }
    });
    let shared = shared.into_inner().map_err(|error| error.to_string())?;
    if let Some(fault) = shared.fault {
        return Err(fault);
    }
    let total = shared.total;
    writeln!(
        out,
        "{} worlds, {:.1} h inside, {:.0} s outside: {} questions, {} answered, {} failed, {} connections; every law held",
        shared.next.wrapping_sub(wanted.seed),
        total.span.as_secs_f64() / 3_600.0,
        began.elapsed().as_secs_f64(),
        total.questions,
        total.good,
        total.failed,
        total.connections
    )
    .map_err(|error| error.to_string())
}

/// Lives through one world after the other until there is no time left, or a law was broken.
fn live_on(wanted: &Wanted, began: Instant, shared: &Mutex<Shared>) {
    loop {
        let seed = {
            let Ok(mut shared) = shared.lock() else {
                return;
            };
            let over = shared.next.wrapping_sub(wanted.seed) >= wanted.worlds
                || shared.total.span >= wanted.span
                || began.elapsed() >= wanted.patience;
            if over || shared.fault.is_some() {
                return;
            }
            let seed = shared.next;
            shared.next = seed.wrapping_add(1);
            seed
        };
        let result = world::live(Chance::seeded(seed), wanted.storm);
        let Ok(mut shared) = shared.lock() else {
            return;
        };
        match result {
            Ok(one) => add(&mut shared.total, one),
            Err(fault) => {
                shared
                    .fault
                    .get_or_insert_with(|| format!("DOTWARD_SIM_SEED={seed}: {fault}"));
            }
        }
    }
}

fn add(total: &mut Summary, one: Summary) {
    total.questions += one.questions;
    total.good += one.good;
    total.failed += one.failed;
    total.connections += one.connections;
    total.span += one.span;
}
