//! How long what is in flight may take when the end is asked for; may change while the program serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The limit. Copies are of the same one.
#[derive(Debug, Clone)]
pub(crate) struct Drain(Arc<AtomicU64>);

impl Drain {
    pub(crate) fn new(limit: Duration) -> Self {
        let drain = Self(Arc::default());
        drain.set(limit);
        drain
    }

    pub(crate) fn set(&self, limit: Duration) {
        let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.0.store(millis, Ordering::Relaxed);
    }

    pub(crate) fn limit(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}
