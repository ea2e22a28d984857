//! How long an upstream usually takes to respond: a smoothed mean and deviation (RFC 6298 section 2).

use core::time::Duration;

use crate::limits::{HEDGE_AFTER_MIN, HEDGE_RTT_FACTOR, IMPATIENCE};

/// Response times of one upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rtt {
    smoothed: Option<Duration>,
}

impl Rtt {
    /// Takes in one response time.
    pub(crate) fn handle_sample(&mut self, sample: Duration) {
        self.smoothed = Some(match self.smoothed {
            None => sample,
            Some(smoothed) => (smoothed * 7 + sample) / 8,
        });
    }

    /// When a question sent to this upstream should also be sent elsewhere.
    pub(crate) fn hedge_after(&self) -> Duration {
        self.smoothed.map_or(IMPATIENCE, |smoothed| {
            (smoothed * HEDGE_RTT_FACTOR).clamp(HEDGE_AFTER_MIN, IMPATIENCE)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn an_unknown_upstream_gets_the_longest_patience() {
        assert_eq!(Rtt::default().hedge_after(), IMPATIENCE);
    }

    #[test]
    fn patience_follows_the_response_time_within_its_bounds() {
        for (sample, patience) in [(1, 75), (20, 75), (40, 120), (100, 300), (900, 400)] {
            let mut rtt = Rtt::default();
            rtt.handle_sample(ms(sample));
            assert_eq!(rtt.hedge_after(), ms(patience));
        }
    }

    #[test]
    fn one_outlier_moves_the_mean_a_little_and_many_move_it_all_the_way() {
        let mut rtt = Rtt::default();
        rtt.handle_sample(ms(40));
        rtt.handle_sample(ms(120));
        assert_eq!(rtt.hedge_after(), ms(150));
        for _ in 0..100 {
            rtt.handle_sample(ms(120));
        }
        assert!(rtt.hedge_after() > ms(359));
    }
}
