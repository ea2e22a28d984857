//! The cache against a naive model of it, under random clients, zones and passing of time.

use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_kept_is_what_an_upstream_would_say(octets in vec(any::<u8>(), 0..3_000)) {
        dotward_sim::kept::live(&octets);
    }

    /// One name, so that it grows hot and old: little of everything else.
    #[test]
    fn a_busy_name_is_right_at_every_moment(
        steps in vec((prop_oneof![12 => Just(0_u8), 1 => 11..16_u8], any::<u8>(), any::<u8>()), 0..600),
    ) {
        let octets: Vec<u8> = steps.iter().flat_map(|(what, first, second)| {
            let first = if *what == 0 || *what > 13 { 0 } else { *first % 20 };
            [*what, first, second | 1, 0]
        }).collect();
        dotward_sim::kept::live(&octets);
    }
}
