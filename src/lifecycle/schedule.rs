//! When peers are visited without being told to. Pure: it is told the time.

use std::collections::BTreeSet;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;

use super::AutoSync;
use crate::exchange::Time;

/// What is due, and when. What is due while an obstacle stands stays due.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    due_at: Option<Time>,
    whom: Whom,
    pause: Option<Duration>,
}

/// Whom to visit, beside those that lack the newest backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Whom {
    pub everyone: bool,
    /// Those that the last visit did not reach.
    pub missed: BTreeSet<PublicKey>,
}

impl Schedule {
    /// The world may have changed while nobody looked: everyone is visited, now.
    pub fn resumed(&mut self, now: Time) {
        self.due_at = Some(now);
        self.whom.everyone = true;
        self.pause = None;
    }

    /// The wallet has changed: in a while, for more changes may follow.
    pub fn wallet_changed(&mut self, now: Time, sync: &AutoSync) {
        self.due_by(now.after(sync.after_change));
    }

    /// What was kept from being done may be done now.
    pub fn retry(&mut self, now: Time) {
        if self.due_at.is_some() {
            self.due_at = Some(now);
        }
    }

    pub fn due_at(&self) -> Option<Time> {
        self.due_at
    }

    /// A visit begins: whom to visit. What comes to be due from now on is due again.
    pub fn begin(&mut self) -> Whom {
        self.due_at = None;
        std::mem::take(&mut self.whom)
    }

    /// The visit has ended; these were not reached, although they may be later.
    pub fn ended(&mut self, now: Time, missed: BTreeSet<PublicKey>, sync: &AutoSync) {
        if missed.is_empty() {
            self.pause = None;
            return;
        }
        self.put_off(now, sync);
        self.whom.missed.extend(missed);
    }

    /// It could not be made.
    pub fn failed(&mut self, now: Time, whom: Whom, sync: &AutoSync) {
        self.put_off(now, sync);
        self.whom.everyone |= whom.everyone;
        self.whom.missed.extend(whom.missed);
    }

    fn put_off(&mut self, now: Time, sync: &AutoSync) {
        let doubled = self.pause.map(|pause| pause.saturating_mul(2));
        let pause = doubled.unwrap_or(sync.first_pause).min(sync.longest_pause);
        self.pause = Some(pause);
        self.due_by(now.after(pause));
    }

    fn due_by(&mut self, at: Time) {
        self.due_at = Some(self.due_at.map_or(at, |due| due.min(at)));
    }
}
