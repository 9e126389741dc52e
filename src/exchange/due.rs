//! When a new snapshot is due.

use std::time::Duration;

use super::Time;

/// State changes are pushed after so much quiet, or a minute after the first of them...
const QUIET: Duration = Duration::from_secs(3);
/// ...and no more often than this.
const STATE_INTERVAL: Duration = Duration::from_secs(60);

/// Whether a new snapshot is due, and how urgently.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Channels, peers or app data have changed: at once.
    pub structure: bool,
    /// State stamps are not those of the last snapshot: after some quiet, or on background.
    pub stamps: Option<Moved>,
    /// Channels have moved on since their monitors were read: the same.
    pub monitors: Option<Moved>,
    /// The host was asked for the monitors and has not given them yet.
    pub asked: bool,
    /// The app has gone to background meanwhile.
    pub urgent: bool,
    /// When states were last taken into a snapshot for their own sake.
    pub last: Option<Time>,
}

/// A change that goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    pub first: Time,
    pub last: Time,
}

impl Due {
    pub fn structure(&mut self) {
        self.structure = true;
    }

    /// When a snapshot is due for the sake of states alone.
    pub fn states_due_at(&self) -> Option<Time> {
        if self.asked {
            return None;
        }
        let moved = self.stamps.into_iter().chain(self.monitors);
        moved.map(|moved| self.due_at(moved)).min()
    }

    /// A channel that never rests is backed up all the same.
    fn due_at(&self, moved: Moved) -> Time {
        let quiet = moved.last.after(QUIET);
        let quiet = quiet.min(moved.first.after(STATE_INTERVAL));
        quiet.max(self.last.map_or(quiet, |last| last.after(STATE_INTERVAL)))
    }
}

impl Moved {
    /// `again`: this is another change than the one before.
    pub fn note(slot: &mut Option<Moved>, now: Time, again: bool) {
        match slot {
            Some(moved) if again => moved.last = now,
            Some(_) => {}
            None => {
                *slot = Some(Moved {
                    first: now,
                    last: now,
                })
            }
        }
    }
}
