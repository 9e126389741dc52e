//! From facts to the state that they ask for. A pure function: it knows no state before, so flips of
//! the facts collapse into the last.

use super::facts::Facts;
use crate::exchange::Time;

/// What should be alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The database is open, and peers are visited whenever something is due.
    Active,
    /// The same for what is due now; then nothing.
    Draining,
    /// Nothing: no thread at work, no socket, no open database, no lock.
    Suspended,
}

/// What should be alive now. `drained`: all that was due when the app was left is done, or cannot be.
pub fn wanted(facts: &Facts, drained: bool, now: Time) -> Wanted {
    let before = |end: Option<Time>| end.is_some_and(|end| now < end);
    if facts.shut_down_at.is_some() {
        return match before(facts.shut_down_at) && !drained {
            true => Wanted::Draining,
            false => Wanted::Suspended,
        };
    }
    if facts.visible {
        return Wanted::Active;
    }
    // The end of the budget is the system's, not ours: nothing outlasts it, no payment either.
    if !before(facts.background_until) {
        return Wanted::Suspended;
    }
    let stays = facts.holds > 0 || before(facts.lingers_until);
    match drained && !stays {
        true => Wanted::Suspended,
        false => Wanted::Draining,
    }
}

/// When to ask again, if no fact changes before.
pub fn changes_at(facts: &Facts, now: Time) -> Option<Time> {
    let ends = [
        facts.shut_down_at,
        facts.background_until,
        facts.lingers_until,
    ];
    ends.into_iter().flatten().filter(|end| now < *end).min()
}
