//! Where everything is now, and the next step to where the facts want it. Nothing here waits, opens or
//! closes: that is the driver's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;

use super::call::{Calls, Deadline};
use super::facts::Facts;
use super::schedule::Schedule;
use super::wanted::{changes_at, wanted, Wanted};
use super::{AutoSync, LifeState, Unavailable};
use crate::backup::Revision;
use crate::exchange::Time;
use crate::service::{self, PeerStorage};
use crate::session::{Session, SessionReport};

/// While the app is visible, an opening that has failed is tried again after so long, then after twice as
/// long, and so on...
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// ...up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Where no call has a deadline, sessions and borrowed storages have so long to end.
const WITHOUT_DEADLINE: Duration = Duration::from_secs(5);

pub(super) struct State {
    pub facts: Facts,
    pub calls: Calls,
    pub place: Place,
    /// Why the last opening failed. It is tried again when the app says or asks something, and by itself
    /// while the app is visible.
    pub trouble: Option<Unavailable>,
    /// After how long, and when that is; none: what is wrong does not pass by itself.
    next_try: Option<(Duration, Time)>,
    pub slot: Slot,
    /// How many openings there were.
    pub openings: u64,
    pub schedule: Schedule,
    pub sync: AutoSync,
    /// What was due when the app was left, or was told since, is done, or cannot be.
    pub drained: bool,
    /// At the last drain, or the last closing, everything was made durable and handed over.
    pub complete: bool,
    pub pass: Option<JoinHandle<()>>,
    pub pass_runs: bool,
    pub driver: Option<JoinHandle<()>>,
    pub driver_runs: bool,
    /// By when what is to be done of the last call, where that has come.
    ending: Option<Deadline>,
    /// The end of a call's budget at which something was still open in background.
    left_open: Option<Time>,
    /// Since when everything is being closed.
    suspends_since: Option<Time>,
    /// Up to which of our backups a peer was given what it takes. Not everyone takes every backup.
    pub served: BTreeMap<PublicKey, Revision>,
    pub last_session: Option<(Time, SessionReport)>,
    pub last_status: service::Status,
    /// How many channels were restored and not yet recovered when it was last open.
    pub last_restored: u32,
}

/// The storage.
pub(super) enum Place {
    Closed,
    Opening,
    Open(Open),
    Closing,
}

pub(super) struct Open {
    pub storage: PeerStorage,
    /// Which opening it is.
    pub number: u64,
    /// How many hold it.
    pub guards: usize,
}

/// The session: made by the first who needs one, dropped by the last.
pub(super) enum Slot {
    Empty,
    /// One of its users is making it, or dropping it.
    Changing,
    Full {
        session: Arc<Session>,
        users: usize,
        /// When it was told to end.
        stopped_at: Option<Time>,
        cut: bool,
    },
}

/// What the driver does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Open,
    Close(Deadline),
    /// Visit peers that are due.
    Sync,
    /// Push what is due before the end.
    Drain,
    Wait(Option<Time>),
    /// All is as it should be, and nothing will change by itself.
    End,
}

impl State {
    pub fn new(facts: Facts, sync: AutoSync, storage: PeerStorage) -> State {
        State {
            facts,
            calls: Calls::default(),
            last_status: storage.status(),
            last_restored: 0,
            place: Place::Open(Open {
                storage,
                number: 1,
                guards: 0,
            }),
            trouble: None,
            next_try: None,
            slot: Slot::Empty,
            openings: 1,
            schedule: Schedule::default(),
            sync,
            drained: true,
            complete: true,
            pass: None,
            pass_runs: false,
            driver: None,
            driver_runs: false,
            ending: None,
            left_open: None,
            suspends_since: None,
            served: BTreeMap::new(),
            last_session: None,
        }
    }

    // ---- what the app says ----------------------------------------------------------------------

    /// The app is on the screen.
    pub fn came_back(&mut self, now: Time) {
        let over = self.calls.deadline().map(|deadline| deadline.over);
        let over = over.max(self.left_open.take());
        let overslept = !self.facts.visible && over.is_some_and(|over| now > over);
        self.facts.visible = !self.is_shut_down();
        self.facts.lingers_until = None;
        if overslept {
            // The system has stopped us before all was closed: connections from before are dead.
            self.cut_session(now);
            self.schedule.resumed(now);
        }
    }

    /// The app was left.
    pub fn was_left(&mut self, now: Time, deadline: Deadline, linger: Duration) {
        if self.is_shut_down() {
            return;
        }
        if self.facts.visible {
            self.facts.lingers_until = Some(now.after(linger).min(deadline.work_until));
        }
        // Said again while suspended there is nothing to do, unless something was told since.
        self.drained &= !self.facts.visible && matches!(self.place, Place::Closed);
        self.facts.visible = false;
    }

    pub fn network_is(&mut self, now: Time, available: bool) {
        let was_there = std::mem::replace(&mut self.facts.network, available);
        if available && !was_there {
            self.obstacle_has_gone(now);
        }
    }

    pub fn host_node_is(&mut self, now: Time, runs: bool) {
        let facts = &mut self.facts;
        let ran = facts.host_node_runs || facts.host_node_may_run;
        facts.host_node_may_run = false;
        facts.host_node_runs = runs;
        if ran && !runs {
            self.obstacle_has_gone(now);
        }
    }

    pub fn hold_begins(&mut self) {
        self.facts.holds = self.facts.holds.saturating_add(1);
    }

    pub fn hold_ends(&mut self, now: Time) {
        self.facts.holds = self.facts.holds.saturating_sub(1);
        if self.facts.holds == 0 {
            self.schedule.retry(now);
            self.drain_again();
        }
    }

    /// The wallet has changed.
    pub fn wallet_changed(&mut self, now: Time) {
        self.drained = false;
        self.schedule.wallet_changed(now, &self.sync);
    }

    /// The app wants none of it any more. Said again it can only be over earlier.
    pub fn shut_down(&mut self, deadline: Deadline) {
        if !self.is_shut_down() {
            self.drained &= matches!(self.place, Place::Closed);
        }
        self.end_by(deadline);
        self.facts.visible = false;
    }

    /// It was opened.
    pub fn opened(&mut self, now: Time, storage: PeerStorage) {
        self.openings += 1;
        self.place = Place::Open(Open {
            storage,
            number: self.openings,
            guards: 0,
        });
        self.trouble = None;
        self.next_try = None;
        self.schedule.resumed(now);
    }

    /// It could not be opened.
    pub fn not_opened(&mut self, now: Time, error: Unavailable) {
        self.place = Place::Closed;
        let before = self.next_try.map(|(pause, _)| pause.saturating_mul(2));
        let pause = before.unwrap_or(FIRST_PAUSE).min(LONGEST_PAUSE);
        self.next_try = error.may_pass().then(|| (pause, now.after(pause)));
        self.trouble = Some(error);
    }

    /// The system takes its time back: no call has any longer, and no end.
    pub fn cut(&mut self, over: Deadline) {
        self.calls.cut(over);
        if self.is_shut_down() {
            self.end_by(over);
        }
    }

    fn end_by(&mut self, deadline: Deadline) {
        let ending = self.ending.map_or(deadline, |ending| ending.min(deadline));
        self.facts.shut_down_at = Some(ending.work_until);
        self.ending = Some(ending);
    }

    /// Peers may be visited again, as far as this goes.
    fn obstacle_has_gone(&mut self, now: Time) {
        self.schedule.resumed(now);
        self.drain_again();
    }

    /// In background, while there is time.
    fn drain_again(&mut self) {
        self.drained &= self.facts.visible || matches!(self.place, Place::Closed);
    }

    /// What follows at once from any change of the facts.
    pub fn heed(&mut self, now: Time) {
        let calls = self.calls.deadline();
        self.facts.background_until = calls.map(|deadline| deadline.work_until);
        if self.facts.obstacle().is_some() {
            self.stop_session(now);
        }
    }

    /// A call has ended.
    pub fn has_ended(&mut self, call: u64, over: Time) {
        self.calls.end(call);
        if !self.facts.visible && !self.is_closed() {
            self.left_open = Some(over);
        }
    }

    // ---- how things stand -----------------------------------------------------------------------

    /// Which opening it is.
    pub fn opening(&self) -> Option<u64> {
        match &self.place {
            Place::Open(open) => Some(open.number),
            _ => None,
        }
    }

    pub fn is_shut_down(&self) -> bool {
        self.facts.shut_down_at.is_some()
    }

    pub fn wanted(&self, now: Time) -> Wanted {
        wanted(&self.facts, self.is_drained(), now)
    }

    /// Nothing that was due, or that somebody does at present, would be cut.
    fn is_drained(&self) -> bool {
        let is_used = match &self.place {
            Place::Open(open) => open.guards > 0,
            _ => false,
        };
        let at_work = self.pass_runs || is_used || self.has_session() || self.calls.any_at_work();
        self.drained && !at_work
    }

    pub fn has_session(&self) -> bool {
        !matches!(self.slot, Slot::Empty)
    }

    /// Nothing is open.
    pub fn is_closed(&self) -> bool {
        matches!(self.place, Place::Closed) && !self.has_session()
    }

    /// Nothing is open, and nothing of ours runs.
    pub fn is_at_rest(&self) -> bool {
        self.is_closed() && !self.driver_runs && !self.pass_runs
    }

    pub fn life_state(&self, now: Time) -> LifeState {
        match (&self.place, self.wanted(now)) {
            (Place::Closed, _) if self.is_shut_down() => LifeState::Closed,
            (Place::Closed, _) => LifeState::Suspended,
            (_, Wanted::Active) => LifeState::Active,
            _ => LifeState::Draining,
        }
    }

    // ---- what follows ---------------------------------------------------------------------------

    /// Ends all visits as soon as they can be left in order.
    pub fn stop_session(&mut self, now: Time) {
        if let Slot::Full {
            session,
            stopped_at: stopped_at @ None,
            ..
        } = &mut self.slot
        {
            *stopped_at = Some(now);
            session.stop();
        }
    }

    pub fn cut_session(&mut self, now: Time) {
        self.stop_session(now);
        if let Slot::Full {
            session,
            cut: cut @ false,
            ..
        } = &mut self.slot
        {
            *cut = true;
            session.cut();
        }
    }

    /// What the driver does next. Ends and cuts sessions by itself.
    pub fn next_step(&mut self, now: Time) -> Step {
        let step = self.step(now);
        // A session that was stopped and does not end is cut.
        let cut_at = match &self.slot {
            Slot::Full {
                stopped_at: Some(at),
                cut: false,
                ..
            } => at.after(WITHOUT_DEADLINE),
            _ => return step,
        };
        match step {
            Step::Wait(_) if now >= cut_at => {
                self.cut_session(now);
                step
            }
            Step::Wait(until) => Step::Wait(Some(until.map_or(cut_at, |until| until.min(cut_at)))),
            step => step,
        }
    }

    fn step(&mut self, now: Time) -> Step {
        let wanted = self.wanted(now);
        if wanted != Wanted::Suspended {
            self.suspends_since = None;
        }
        match (&self.place, wanted) {
            (Place::Closed, Wanted::Suspended) => Step::End,
            (Place::Closed, _) if self.trouble.is_some() => self.step_after_trouble(wanted, now),
            (Place::Closed, _) => Step::Open,
            (Place::Open(_), Wanted::Active) => self.step_while_active(now),
            (Place::Open(_), Wanted::Draining) => self.step_while_draining(now),
            (Place::Open(_), Wanted::Suspended) => self.step_to_suspension(now),
            // The driver itself is at it.
            (Place::Opening | Place::Closing, _) => Step::Wait(None),
        }
    }

    /// In background nothing waits: each pass tries once.
    fn step_after_trouble(&self, wanted: Wanted, now: Time) -> Step {
        match self.next_try {
            Some((_, at)) if wanted == Wanted::Active && now >= at => Step::Open,
            Some((_, at)) if wanted == Wanted::Active => Step::Wait(Some(at)),
            _ => Step::End,
        }
    }

    fn step_while_active(&mut self, now: Time) -> Step {
        let Some(due_at) = self.schedule.due_at() else {
            return Step::Wait(None);
        };
        // The end of either has the driver look again.
        if self.pass_runs || self.facts.obstacle().is_some() {
            return Step::Wait(None);
        }
        match now >= due_at {
            true => Step::Sync,
            false => Step::Wait(Some(due_at)),
        }
    }

    fn step_while_draining(&mut self, now: Time) -> Step {
        // Who calls with something of his own to do has it done by that.
        if !self.drained && !self.pass_runs && !self.calls.any_at_work() {
            return Step::Drain;
        }
        Step::Wait(changes_at(&self.facts, now))
    }

    fn step_to_suspension(&mut self, now: Time) -> Step {
        let since = *self.suspends_since.get_or_insert(now);
        let given = self.ending.or(self.calls.deadline());
        let deadline = given.unwrap_or(Deadline {
            work_until: since,
            cut_at: since.after(WITHOUT_DEADLINE),
            over: since.after(WITHOUT_DEADLINE),
        });
        self.stop_session(now);
        let is_used = self.has_session() || self.pass_runs || !self.is_unused();
        if !is_used || now >= deadline.over {
            self.cut_session(now);
            return Step::Close(deadline);
        }
        if now >= deadline.cut_at {
            self.cut_session(now);
            return Step::Wait(Some(deadline.over));
        }
        Step::Wait(Some(deadline.cut_at))
    }

    fn is_unused(&self) -> bool {
        match &self.place {
            Place::Open(open) => open.guards == 0,
            _ => true,
        }
    }
}
