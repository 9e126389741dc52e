//! A clock that runs with the system's, and can be moved forward and stopped.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ldk_peer_storage::exchange::Time;
use ldk_peer_storage::service::{Clock, SystemClock};

#[derive(Default)]
pub struct ManualClock {
    system: SystemClock,
    ahead_ms: AtomicU64,
    stopped: OnceLock<Time>,
}

impl ManualClock {
    pub fn new() -> Arc<ManualClock> {
        Arc::default()
    }

    /// From now on it only moves when it is moved.
    pub fn stop(&self) {
        self.stopped.get_or_init(|| self.system.now());
    }

    /// Moves the clock. Call `PeerStorage::clock_moved` after it.
    pub fn advance(&self, span: Duration) {
        self.ahead_ms
            .fetch_add(span.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Time {
        let time = self.stopped.get().copied();
        time.unwrap_or_else(|| self.system.now())
            .after(Duration::from_millis(self.ahead_ms.load(Ordering::SeqCst)))
    }
}
