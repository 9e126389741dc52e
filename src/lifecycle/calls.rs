//! The calls that take a budget.

use std::sync::Arc;
use std::time::Duration;

use super::call::Deadline;
use super::check;
use super::pass::{known_peers, visit};
use super::shared::{OpenStorage, Shared};
use super::state::{Place, State};
use super::visit::Visit;
use super::{
    BackgroundReport, Lifecycle, NodeStart, PassReport, ShutdownReport, Status, Unavailable,
    WhyUnknown,
};
use crate::backup::PeerRecord;
use crate::exchange::Time;
use crate::service::PeerStorage;
use crate::session::{RestoreOutcome, Session, SessionReport, Work};

/// What is to be durable, or waits for a session that is just ending, has so long.
const PATIENCE: Duration = Duration::from_secs(5);

/// A call under way: as long as it lasts, things may be open in background.
struct Call {
    shared: Arc<Shared>,
    id: u64,
    deadline: Deadline,
}

impl Call {
    /// `at_work`: it has something of its own to do, up to [`done`](Call::done).
    fn begin(
        shared: &Arc<Shared>,
        budget: Duration,
        at_work: bool,
        change: impl FnOnce(&mut State, Time, Deadline),
    ) -> Call {
        shared.change(|state, now| {
            let deadline = Deadline::new(now, budget);
            let id = state.calls.begin(deadline, at_work);
            change(state, now, deadline);
            Call {
                shared: shared.clone(),
                id,
                deadline,
            }
        })
    }

    fn done(&self) {
        self.shared.adjust(|state, _| state.calls.done(self.id));
    }

    /// What is left of the time to work in.
    fn left(&self) -> Duration {
        self.deadline.work_until.since(self.shared.now())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let over = self.deadline.over;
        self.shared
            .adjust(|state, _| state.has_ended(self.id, over));
    }
}

/// The app was left, and the word is out: what is left to do is to wait. Made by
/// [`begin_background`](Lifecycle::begin_background). Who drops it does not wait: then everything is
/// closed now, unless another call has time left.
#[must_use = "dropping it ends the time for what is due"]
pub struct Leaving {
    call: Call,
    _life: Lifecycle,
}

impl Leaving {
    pub(super) fn begin(life: &Lifecycle, budget: Duration) -> Leaving {
        let shared = &life.shared;
        let call = Call::begin(shared, budget, false, |state, now, deadline| {
            if budget.is_zero() {
                state.cut(deadline);
            }
            state.was_left(now, deadline, shared.linger);
        });
        Leaving {
            call,
            _life: life.clone(),
        }
    }

    /// Waits as [`on_background`](Lifecycle::on_background) does.
    pub fn wait(self) -> BackgroundReport {
        let shared = &self.call.shared;
        let suspended = shared.wait_for_rest(self.call.deadline);
        let state = shared.state();
        BackgroundReport {
            drained: state.drained && state.complete,
            suspended,
            visible_again: state.facts.visible,
            obstacle: state.facts.obstacle(),
            status: status_of(shared, &state),
        }
    }
}

pub(super) fn run_background_pass(shared: &Arc<Shared>, budget: Duration) -> PassReport {
    let call = Call::begin(shared, budget, true, |state, _, _| {
        // What comes to be due from now on is due again.
        state.drained = true;
        state.complete = false;
    });
    let session = shared
        .storage_by(call.deadline.work_until)
        .and_then(|storage| {
            let peers = known_peers(shared, &storage);
            let pass = visit(shared, &storage, &peers, Work::default(), call.left());
            let flushed = storage.on_background(call.left());
            shared.state().complete = flushed.complete;
            pass
        });
    if session.is_err() {
        shared.state().drained = false;
    }
    call.done();
    let suspended = shared.wait_for_rest(call.deadline);
    let state = shared.state();
    let report = PassReport {
        session,
        drained: state.complete,
        suspended,
        status: status_of(shared, &state),
    };
    drop(state);
    report
}

pub(super) fn check_before_node_start(shared: &Arc<Shared>, budget: Duration) -> NodeStart {
    let call = Call::begin(shared, budget, true, |state, _, _| {
        state.facts.host_node_may_run = false;
    });
    let storage = shared.storage_by(call.deadline.work_until);
    let answer = match known_against(shared, storage.as_ref().ok()) {
        Some(answer) => answer,
        None => {
            let asked = match &storage {
                Ok(storage) => check::ask(shared, storage, call.left()),
                Err(error) => Err(WhyUnknown::Unavailable(error.clone())),
            };
            // From here on no visit begins; then none is left.
            shared.change(|state, _| state.facts.host_node_may_run = !state.is_shut_down());
            let ended = end_sessions(shared, call.deadline);
            match (known_against(shared, storage.as_ref().ok()), asked) {
                (Some(answer), _) => {
                    shared.change(|state, _| state.facts.host_node_may_run = false);
                    answer
                }
                (None, Ok(()) | Err(WhyUnknown::NoStateStamps)) if !ended => {
                    NodeStart::Unknown(WhyUnknown::StillConnected)
                }
                (None, Ok(())) => NodeStart::NothingKnownAgainst,
                (None, Err(why)) => NodeStart::Unknown(why),
            }
        }
    };
    drop(storage);
    call.done();
    shared.wait_for_rest(call.deadline);
    answer
}

/// What is known without asking anybody. What cannot be opened now may have told of it before.
fn known_against(shared: &Arc<Shared>, storage: Option<&OpenStorage>) -> Option<NodeStart> {
    let (alarms, channels) = match storage {
        Some(storage) => {
            // The last report may not have been looked at yet.
            storage.compare_wallet();
            (storage.alarms(), check::restored(storage))
        }
        None => {
            let state = shared.state();
            let alarms = state.last_status.backup.alarms.clone();
            (alarms, state.last_restored)
        }
    };
    let alarms = check::holding(alarms);
    match (alarms.is_empty(), channels) {
        (false, _) => Some(NodeStart::DoNotStart { alarms }),
        (true, 0) => None,
        (true, channels) => Some(NodeStart::Restored { channels }),
    }
}

/// Waits until no session is left, and says whether that came in time. Without a network nothing can be
/// ended in order.
fn end_sessions(shared: &Arc<Shared>, deadline: Deadline) -> bool {
    let mut state = shared.state();
    while state.has_session() {
        let now = shared.now();
        let cut = !state.facts.network || now >= deadline.cut_at;
        if cut {
            state.cut_session(now);
        }
        if now >= deadline.over {
            return false;
        }
        let next = if cut { deadline.over } else { deadline.cut_at };
        state = shared.wait(state, Some(next));
    }
    true
}

pub(super) fn sync_with_peers(
    shared: &Arc<Shared>,
    peers: &[PeerRecord],
    work: Work,
    budget: Duration,
) -> Result<SessionReport, Unavailable> {
    let began = shared.now();
    let storage = shared.storage_by(began.after(budget))?;
    let left = budget.saturating_sub(shared.now().since(began));
    visit(shared, &storage, peers, work, left)
}

pub(super) fn restore(
    shared: &Arc<Shared>,
    peers: &[PeerRecord],
    budget: Duration,
) -> Result<RestoreOutcome, Unavailable> {
    let began = shared.now();
    let end = began.after(budget);
    let storage = shared.storage_by(end)?;
    let visit = Visit::begin(shared, &storage, end)?;
    let left = end.since(shared.now());
    Ok(visit.session().restore(peers, left)?)
}

pub(super) fn with_session<R>(
    shared: &Arc<Shared>,
    run: impl FnOnce(&OpenStorage, &Session) -> R,
) -> Result<R, Unavailable> {
    let storage = shared.storage()?;
    let visit = Visit::begin(shared, &storage, shared.now().after(PATIENCE))?;
    Ok(run(&storage, visit.session()))
}

pub(super) fn durably<R>(
    shared: &Arc<Shared>,
    run: impl FnOnce(&PeerStorage) -> R,
) -> Result<R, Unavailable> {
    let storage = shared.storage()?;
    let result = run(&storage);
    let written = storage.engine().settle(PATIENCE);
    // At the end of a budget it is closed beneath us, and takes nothing any more.
    let state = shared.state();
    if !storage.is_in(&state.place) {
        return Err(match state.is_shut_down() {
            true => Unavailable::Closed,
            false => Unavailable::Suspended,
        });
    }
    drop(state);
    match written {
        true => Ok(result),
        false => Err(Unavailable::NotDurable(storage.engine().failure())),
    }
}

/// The end, and the word is out: what is left to do is to wait. Made by
/// [`begin_shutdown`](Lifecycle::begin_shutdown). Who drops it does not wait for what is due.
#[must_use = "dropping it ends the time for what is due"]
pub struct Ending {
    call: Call,
    _life: Lifecycle,
}

impl Ending {
    pub(super) fn begin(life: &Lifecycle, budget: Duration) -> Ending {
        let call = Call::begin(&life.shared, budget, false, |state, _, deadline| {
            state.shut_down(deadline);
        });
        Ending {
            call,
            _life: life.clone(),
        }
    }

    /// Waits as [`shutdown`](Lifecycle::shutdown) does.
    pub fn wait(self) -> ShutdownReport {
        let shared = &self.call.shared;
        let closed = shared.wait_for_rest(self.call.deadline);
        let state = shared.state();
        ShutdownReport {
            drained: state.drained && state.complete,
            closed,
            status: status_of(shared, &state),
        }
    }
}

/// Nobody is left who could call anything, or wait for what is due.
pub(super) fn abandon(shared: &Arc<Shared>) {
    shared.change(|state, now| state.shut_down(Deadline::none(now)));
}

pub(super) fn status(shared: &Arc<Shared>) -> Status {
    status_of(shared, &shared.state())
}

fn status_of(shared: &Arc<Shared>, state: &State) -> Status {
    Status {
        state: state.life_state(shared.now()),
        obstacle: state.facts.obstacle(),
        trouble: state.trouble.clone(),
        visiting: state.has_session(),
        wallet_reported: shared.reported.is_known(),
        last_session: state.last_session.clone(),
        storage: match &state.place {
            Place::Open(open) => open.storage.status(),
            _ => state.last_status.clone(),
        },
    }
}
