//! A token bucket: a few at once, then one a minute.

use std::time::Duration;

use super::time::Time;

/// Writes that a peer may cause at once.
const SIZE: u32 = 6;
/// One more after each of these.
const REFILL: Duration = Duration::from_secs(60);

/// How many writes a peer may cause now.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenBucket {
    tokens: u32,
    refilled_at: Time,
}

impl TokenBucket {
    pub fn full(now: Time) -> Self {
        TokenBucket {
            tokens: SIZE,
            refilled_at: now,
        }
    }

    /// Takes a token if there is one.
    pub fn take(&mut self, now: Time) -> bool {
        self.refill(now);
        if self.tokens == 0 {
            return false;
        }
        self.tokens -= 1;
        true
    }

    /// Whether nothing is missing: then it says no more than no bucket at all.
    pub fn is_full(&mut self, now: Time) -> bool {
        self.refill(now);
        self.tokens == SIZE
    }

    fn refill(&mut self, now: Time) {
        // The clock was set back: what was earned by then is lost, not what comes.
        self.refilled_at = self.refilled_at.min(now);
        let earned = (now.since(self.refilled_at).as_millis() / REFILL.as_millis()) as u64;
        if u64::from(self.tokens) + earned >= u64::from(SIZE) {
            *self = Self::full(now);
        } else if earned > 0 {
            self.tokens += earned as u32;
            self.refilled_at = self.refilled_at.after(REFILL * earned as u32);
        }
    }

    /// When the next token comes, for an empty bucket.
    pub fn next_token_at(&self) -> Time {
        self.refilled_at.after(REFILL)
    }
}
