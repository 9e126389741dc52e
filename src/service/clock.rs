//! Where the time comes from.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::exchange::Time;
use crate::locks::lock;

/// A clock. Wallets use [`SystemClock`]; tests and simulators bring their own.
pub trait Clock: Send + Sync {
    /// The time now. Must not go back while the process lives.
    fn now(&self) -> Time;
}

/// The system's clock, which neither goes back nor stands still while the process lives.
///
/// A phone's steady clock stops while the phone sleeps, so the system's time is followed forward. When
/// that is set back, time goes on steadily from where it was.
#[derive(Debug)]
pub struct SystemClock {
    last: Mutex<(Instant, Duration)>,
}

impl SystemClock {
    /// Reads the system's clock.
    pub fn new() -> Self {
        SystemClock {
            last: Mutex::new((Instant::now(), since_epoch())),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Time {
        let mut last = lock(&self.last);
        let steady = Instant::now();
        let passed = steady.saturating_duration_since(last.0);
        *last = (steady, (last.1 + passed).max(since_epoch()));
        Time::default().after(last.1)
    }
}

fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
