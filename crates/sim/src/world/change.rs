//! The configuration changes while questions are in flight.

use dotward_core::upstream::UpstreamConfig;

use super::{Happening, World, endpoints};

impl World<'_> {
    /// Somebody changes the configuration: some upstreams leave it, others come back, in another order and at other addresses. Who is
    /// healthy stays.
    pub(super) fn reconfigure(&mut self) -> Result<(), String> {
        if self.calm_since.is_some() {
            return Ok(());
        }
        if self.chance.percent(40) {
            let all = 0..self.sites.len();
            let mut stay: Vec<usize> = all
                .filter(|place| self.sites[*place].healthy || self.chance.percent(70))
                .collect();
            if stay.is_empty() {
                stay.push(0);
            }
            if self.chance.percent(50) {
                stay.reverse();
            }
            self.absent = stay.len() < self.sites.len();
            self.configure(&stay)?;
        }
        let after = self.chance.millis(500..=12_000);
        self.later(after, Happening::Reconfigure);
        Ok(())
    }

    pub(super) fn configure(&mut self, places: &[usize]) -> Result<(), String> {
        let chance = &mut self.chance;
        let upstream =
            |place: &usize| UpstreamConfig::new(format!("u{place}"), endpoints(chance, *place));
        let done = self
            .harness
            .reconfigure(places.iter().map(upstream).collect())?;
        let names: Vec<usize> = done.upstreams.iter().map(|it| it.0).collect();
        if names != places {
            return Err(format!("{places:?} are called {names:?} after a change"));
        }
        Ok(())
    }
}
