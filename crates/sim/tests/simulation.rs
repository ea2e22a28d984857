//! Lives through some worlds. `DOTWARD_SIM_SEED=N` lives through one, with a storm as
//! long as here; `cargo run -p dotward-sim --release -- --hours N` through many.

use std::time::Duration;

use dotward_sim::world::{self, Chance};

#[test]
fn laws_hold_in_every_world() {
    let only = std::env::var("DOTWARD_SIM_SEED")
        .ok()
        .map(|seed| seed.parse::<u64>().unwrap());
    let seeds = only.map_or(0..40, |seed| seed..seed + 1);
    for seed in seeds {
        let storm = Duration::from_secs(10);
        if let Err(fault) = world::live(Chance::seeded(seed), storm) {
            panic!("DOTWARD_SIM_SEED={seed} (--seed {seed} --storm 10): {fault}");
        }
    }
}

/// Worlds in which a law was broken once, with the storm it takes.
const BROKE_A_LAW: [(u64, u64); 5] = [
    // Waiting where others were answered, a question was sent to the healthy upstream when 5 ms were left.
    (8_644_450_653_655_007_619, 1),
    // The questions of a connection that made room opened more connections than there may be.
    (3_847, 10),
    // A question was failed by a dial it had joined 185 ms before its end.
    (2_000_008_571, 20),
    // A question whose second try was given up waited on for the first, though that was overdue.
    (2_000_019_109, 20),
    // A question whose dials had failed was given one more each time, because a connection was ready that it could not use.
    (1_611, 20),
];

#[test]
fn worlds_that_once_broke_a_law_keep_it() {
    for (seed, storm) in BROKE_A_LAW {
        if let Err(fault) = world::live(Chance::seeded(seed), Duration::from_secs(storm)) {
            panic!("--seed {seed} --storm {storm}: {fault}");
        }
    }
}
