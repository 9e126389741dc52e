//! When peers are visited without being told to. Pure: it is told the time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;

use super::AutoSync;
use crate::exchange::Time;

/// A wallet that changes all the time is visited for after so many times
/// [`after_change`](AutoSync::after_change).
const LONGEST_CHANGE: u32 = 10;

/// What is due, and when. What is due while an obstacle stands stays due.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// A visit of everyone, or of those that lack the newest backup.
    due: Option<Due>,
    changed: Option<Changed>,
    /// Peers that were not reached, although they may be later: each has a time of its own.
    missed: BTreeMap<PublicKey, Missed>,
    /// After how long a visit that could not be made was put off.
    pause: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    at: Time,
    everyone: bool,
}

/// The wallet has changed, and may go on to.
#[derive(Clone, Copy, Debug)]
struct Changed {
    first: Time,
    due_at: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Missed {
    due_at: Time,
    /// How long that was after the last try.
    pause: Duration,
}

/// Whom to visit, beside those that lack the newest backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Whom {
    pub everyone: bool,
    /// Those that were not reached and whose time has come, each with the pause before.
    missed: BTreeMap<PublicKey, Duration>,
    /// Those whose time has not come.
    spared: BTreeSet<PublicKey>,
}

impl Whom {
    /// Whether this peer is to be visited; `lacks`: it lacks the newest backup.
    pub fn includes(&self, peer: &PublicKey, lacks: bool) -> bool {
        let is_due = self.missed.contains_key(peer);
        self.everyone || is_due || (lacks && !self.spared.contains(peer))
    }
}

/// Whom a visit has reached, and whom not, although another may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Visited {
    pub reached: BTreeSet<PublicKey>,
    pub missed: BTreeSet<PublicKey>,
}

impl Schedule {
    /// The world may have changed while nobody looked: everyone is visited, now.
    pub fn resumed(&mut self, now: Time) {
        *self = Schedule {
            due: Some(Due {
                at: now,
                everyone: true,
            }),
            ..Schedule::default()
        };
    }

    /// The wallet has changed: in a while, for more changes may follow.
    pub fn wallet_changed(&mut self, now: Time, sync: &AutoSync) {
        let first = self.changed.map_or(now, |changed| changed.first);
        let last = first.after(sync.after_change.saturating_mul(LONGEST_CHANGE));
        let due_at = now.after(sync.after_change).min(last);
        self.changed = Some(Changed { first, due_at });
    }

    /// What could not be done may be done now. Who was not reached is not any nearer by that.
    pub fn retry(&mut self, now: Time) {
        if let Some(due) = &mut self.due {
            due.at = due.at.min(now);
        }
    }

    pub fn due_at(&self) -> Option<Time> {
        let due = self.due.map(|due| due.at);
        let changed = self.changed.map(|changed| changed.due_at);
        let missed = self.missed.values().map(|missed| missed.due_at);
        missed.chain(due).chain(changed).min()
    }

    /// A visit begins: whom to visit. What comes to be due from now on is due again.
    pub fn begin(&mut self, now: Time) -> Whom {
        // Whoever lacks the newest backup is visited in any case.
        self.changed = None;
        let due = self.due.take_if(|due| due.at <= now);
        let everyone = due.is_some_and(|due| due.everyone);
        let missed = std::mem::take(&mut self.missed);
        let is_due = |missed: &Missed| everyone || missed.due_at <= now;
        let (due, rest): (BTreeMap<_, _>, _) =
            missed.into_iter().partition(|(_, missed)| is_due(missed));
        self.missed = rest;
        Whom {
            everyone,
            missed: due.into_iter().map(|(id, m)| (id, m.pause)).collect(),
            spared: self.missed.keys().copied().collect(),
        }
    }

    /// The visit has ended.
    pub fn ended(&mut self, now: Time, whom: &Whom, visited: Visited, sync: &AutoSync) {
        self.pause = None;
        for peer in visited.reached {
            self.missed.remove(&peer);
        }
        for peer in visited.missed {
            let known = self.missed.get(&peer).map(|missed| missed.pause);
            let before = known.or(whom.missed.get(&peer).copied());
            let pause = longer(before, sync);
            let due_at = now.after(pause);
            self.missed.insert(peer, Missed { due_at, pause });
        }
    }

    /// It could not be made: all of it stays due, in a while.
    pub fn failed(&mut self, now: Time, whom: Whom, sync: &AutoSync) {
        let pause = longer(self.pause, sync);
        self.pause = Some(pause);
        let due_at = now.after(pause);
        let known = self.due;
        self.due = Some(Due {
            at: known.map_or(due_at, |known| known.at.min(due_at)),
            everyone: whom.everyone || known.is_some_and(|known| known.everyone),
        });
        for (peer, pause) in whom.missed {
            let missed = self.missed.entry(peer);
            missed.or_insert(Missed { due_at, pause });
        }
    }
}

/// Each pause is twice as long as the one before.
fn longer(before: Option<Duration>, sync: &AutoSync) -> Duration {
    let doubled = before.map(|pause| pause.saturating_mul(2));
    doubled.unwrap_or(sync.first_pause).min(sync.longest_pause)
}
