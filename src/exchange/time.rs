//! Time as the exchange sees it: a number that the host hands in.

use std::time::Duration;

/// Milliseconds since the Unix epoch, by the host's clock.
///
/// Times are compared for rates and retries alone, never for safety. A stored time from the future
/// (the clock was set back) is read as "now" when state is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// This time and `span` later.
    pub fn after(self, span: Duration) -> Time {
        Time(self.0.saturating_add(span.as_millis() as u64))
    }

    /// How long ago `earlier` was; zero where it lies in the future.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}
