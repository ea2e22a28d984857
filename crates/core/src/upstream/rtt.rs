//! How long an upstream usually takes to respond: a smoothed mean and deviation (RFC 6298 section 2).

use core::time::Duration;

use crate::limits::{
    CONGESTION_FACTOR, CONGESTION_MIN, HEDGE_AFTER_MIN, HEDGE_RTT_FACTOR, IMPATIENCE, RTT_HALF_LIFE,
};
use crate::time::Moment;

/// Response times of one upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rtt {
    smoothed: Option<Duration>,
    /// The shortest of late; grows slowly, so that a path that became longer is believed after a while.
    shortest: Option<Duration>,
    updated: Moment,
}

impl Rtt {
    /// Takes in one response time.
    pub(crate) fn handle_sample(&mut self, sample: Duration, now: Moment) {
        self.updated = now;
        let stretched = self
            .shortest
            .map_or(sample, |shortest| shortest + shortest / 64);
        self.shortest = Some(stretched.min(sample));
        self.smoothed = Some(match self.smoothed {
            None => sample,
            Some(smoothed) => (smoothed * 7 + sample) / 8,
        });
    }

    /// The usual response time as far as it can still be believed: it halves with every [`RTT_HALF_LIFE`] without a sample, so
    /// that an upstream that was slow once is tried again. Zero while nobody knows.
    pub(crate) fn estimate(&self, now: Moment) -> Duration {
        let halvings = now.since(self.updated).as_nanos() / RTT_HALF_LIFE.as_nanos();
        let divisor = 1_u32.checked_shl(u32::try_from(halvings).unwrap_or(u32::MAX));
        let smoothed = self.smoothed.unwrap_or_default();
        divisor.map_or(Duration::ZERO, |divisor| smoothed / divisor)
    }

    /// Whether responses take several times what they can take: questions queue up at the other end. A queue may have stood there
    /// before the first response, so that nobody knows what they can take; then taking longer than clients are made to wait is enough.
    pub(crate) fn is_congested(&self) -> bool {
        let shortest = self.shortest.unwrap_or_default();
        let usual = (shortest * CONGESTION_FACTOR).clamp(CONGESTION_MIN, IMPATIENCE);
        self.smoothed.is_some_and(|smoothed| smoothed > usual)
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
            rtt.handle_sample(ms(sample), Moment::ZERO);
            assert_eq!(rtt.hedge_after(), ms(patience));
        }
    }

    #[test]
    fn a_response_time_nobody_confirms_fades() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.estimate(Moment::ZERO), Duration::ZERO);
        rtt.handle_sample(ms(80), Moment::ZERO);
        for (seconds, estimate) in [(0, 80), (29, 80), (30, 40), (60, 20), (3_600, 0)] {
            assert_eq!(
                rtt.estimate(Moment::ZERO + Duration::from_secs(seconds))
                    .as_millis(),
                estimate
            );
        }
    }

    #[test]
    fn questions_that_queue_show_as_congestion() {
        let mut rtt = Rtt::default();
        assert!(!rtt.is_congested());
        rtt.handle_sample(ms(10), Moment::ZERO);
        assert!(!rtt.is_congested());
        for _ in 0..10 {
            rtt.handle_sample(ms(180), Moment::ZERO);
        }
        assert!(rtt.is_congested());
        for _ in 0..400 {
            rtt.handle_sample(ms(120), Moment::ZERO);
        }
        assert!(!rtt.is_congested(), "a longer path is no queue");
    }

    #[test]
    fn a_queue_that_stood_from_the_start_shows_too() {
        let mut rtt = Rtt::default();
        for _ in 0..10 {
            rtt.handle_sample(ms(1_900), Moment::ZERO);
        }
        assert!(rtt.is_congested());
    }

    #[test]
    fn one_outlier_moves_the_mean_a_little_and_many_move_it_all_the_way() {
        let mut rtt = Rtt::default();
        rtt.handle_sample(ms(40), Moment::ZERO);
        rtt.handle_sample(ms(120), Moment::ZERO);
        assert_eq!(rtt.hedge_after(), ms(150));
        for _ in 0..100 {
            rtt.handle_sample(ms(120), Moment::ZERO);
        }
        assert!(rtt.hedge_after() > ms(359));
    }
}
