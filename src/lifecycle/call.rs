//! Calls that may take a budget, and what has to be done of it by when.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::exchange::Time;

/// No budget is longer: beyond that times cannot be reckoned with.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// What is kept of a long budget for hanging up and closing...
const FOR_THE_END: Duration = Duration::from_secs(2);
/// ...and of that for closing alone.
const FOR_CLOSING: Duration = Duration::from_millis(500);

/// When what ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deadline {
    /// Nothing new is done, and connections are ended in order.
    pub work_until: Time,
    /// Connections are cut.
    pub cut_at: Time,
    /// Everything is closed, whoever still holds it.
    pub over: Time,
}

impl Deadline {
    pub fn new(now: Time, budget: Duration) -> Deadline {
        let budget = budget.min(LONGEST);
        let for_the_end = FOR_THE_END.min(budget / 4);
        let for_closing = FOR_CLOSING.min(budget / 8);
        Deadline {
            work_until: now.after(budget - for_the_end),
            cut_at: now.after(budget - for_closing),
            over: now.after(budget),
        }
    }

    /// Nobody waits for anything.
    pub fn none(now: Time) -> Deadline {
        Deadline::new(now, Duration::ZERO)
    }

    pub fn min(self, other: Deadline) -> Deadline {
        Deadline {
            work_until: self.work_until.min(other.work_until),
            cut_at: self.cut_at.min(other.cut_at),
            over: self.over.min(other.over),
        }
    }

    fn max(self, other: Deadline) -> Deadline {
        Deadline {
            work_until: self.work_until.max(other.work_until),
            cut_at: self.cut_at.max(other.cut_at),
            over: self.over.max(other.over),
        }
    }
}

/// The calls under way that may keep something alive in background.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: BTreeMap<u64, Call>,
    last_id: u64,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    deadline: Deadline,
    /// It has something of its own to do: until that is done, nothing is closed before its time.
    at_work: bool,
}

impl Calls {
    pub fn begin(&mut self, deadline: Deadline, at_work: bool) -> u64 {
        self.last_id += 1;
        self.calls.insert(self.last_id, Call { deadline, at_work });
        self.last_id
    }

    /// What it had to do is done.
    pub fn done(&mut self, id: u64) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.at_work = false;
        }
    }

    pub fn end(&mut self, id: u64) {
        self.calls.remove(&id);
    }

    pub fn any_at_work(&self) -> bool {
        self.calls.values().any(|call| call.at_work)
    }

    /// The system takes its time back: none has any longer.
    pub fn cut(&mut self, over: Deadline) {
        for call in self.calls.values_mut() {
            call.deadline = over;
        }
    }

    /// The latest of all.
    pub fn deadline(&self) -> Option<Deadline> {
        let deadlines = self.calls.values().map(|call| call.deadline);
        deadlines.reduce(Deadline::max)
    }
}
