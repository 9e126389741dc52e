//! Visits that nobody has called for: what is due while the app is visible, and what is due before it is
//! suspended.

use std::collections::BTreeSet;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;

use super::schedule::{Visited, Whom};
use super::shared::{OpenStorage, Shared};
use super::state::State;
use super::visit::Visit;
use super::Unavailable;
use crate::backup::{PeerRecord, Revision};
use crate::exchange::Past;
use crate::service::PeerStorage;
use crate::session::{merged, NotReached, PeerReport, Returned, SessionReport, Work};

/// The live state is taken, and what has changed is written, within so much.
const TO_WRITE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sync,
    Drain,
}

/// Starts the thread of a pass. One at a time.
pub(super) fn start(shared: &Arc<Shared>, state: &mut State, kind: Kind) {
    let whom = match kind {
        Kind::Sync => state.schedule.begin(shared.now()),
        Kind::Drain => {
            // What comes to be due from now on is due again.
            state.drained = true;
            state.complete = false;
            Whom::default()
        }
    };
    let at_work = shared.clone();
    let whom_at_work = whom.clone();
    let named = thread::Builder::new().name("peer-storage-pass".into());
    match named.spawn(move || run(&at_work, kind, whom_at_work)) {
        Ok(thread) => {
            state.pass = Some(thread);
            state.pass_runs = true;
        }
        Err(error) => {
            log::error!("cannot start a thread: {error}");
            let (now, sync) = (shared.now(), state.sync);
            state.schedule.failed(now, whom, &sync);
        }
    }
}

fn run(shared: &Arc<Shared>, kind: Kind, whom: Whom) {
    let outcome = catch_unwind(AssertUnwindSafe(|| match (shared.peek(), kind) {
        (None, _) => Ok(Visited::default()),
        (Some(storage), Kind::Sync) => sync(shared, &storage, &whom),
        (Some(storage), Kind::Drain) => drain(shared, &storage),
    }));
    let outcome = outcome.unwrap_or_else(|_| Err(Unavailable::Failed("it panicked".to_owned())));
    let now = shared.now();
    let mut state = shared.state();
    let sync = state.sync;
    match (kind, outcome) {
        (_, Ok(visited)) => state.schedule.ended(now, &whom, visited, &sync),
        (Kind::Sync, Err(error)) => {
            log::warn!("peers were not visited: {error}");
            state.schedule.failed(now, whom, &sync);
        }
        (Kind::Drain, Err(error)) => log::warn!("no peer was visited: {error}"),
    }
    state.pass_runs = false;
    drop(state);
    shared.notify();
}

/// Visits whom it is due to visit.
fn sync(shared: &Arc<Shared>, storage: &OpenStorage, whom: &Whom) -> Result<Visited, Unavailable> {
    storage.take_what_changed(TO_WRITE);
    // Before the app has said what the directory and the wallet are, nothing is compared or pushed.
    if !shared.reported.is_known() || storage.past() != Past::Known {
        return Ok(Visited::default());
    }
    let lacking = lacking(shared, storage);
    let mut peers = known_peers(shared, storage);
    peers.retain(|peer| whom.includes(&peer.node_id, lacking.contains(&peer.node_id)));
    let budget = shared.state().sync.budget;
    let report = visit(shared, storage, &peers, Work { verify: true }, budget)?;
    Ok(visited(&report))
}

/// Makes what has changed durable, and pushes it to whom it was not pushed yet.
fn drain(shared: &Arc<Shared>, storage: &OpenStorage) -> Result<Visited, Unavailable> {
    let flushed = storage.on_background(left(shared) / 2);
    shared.state().complete = flushed.complete;
    if !shared.reported.is_known() || storage.past() != Past::Known {
        return Ok(Visited::default());
    }
    let lacking = lacking(shared, storage);
    let mut peers = known_peers(shared, storage);
    peers.retain(|peer| lacking.contains(&peer.node_id));
    let report = visit(shared, storage, &peers, Work::default(), left(shared))?;
    Ok(visited(&report))
}

/// What is left for it before things are closed.
fn left(shared: &Arc<Shared>) -> Duration {
    let deadline = shared.state().calls.deadline();
    // Visible again: then there is no hurry.
    deadline.map_or(TO_WRITE, |deadline| deadline.work_until.since(shared.now()))
}

/// Visits these peers, as long as no obstacle comes.
pub(super) fn visit(
    shared: &Arc<Shared>,
    storage: &OpenStorage,
    peers: &[PeerRecord],
    work: Work,
    budget: Duration,
) -> Result<SessionReport, Unavailable> {
    if peers.is_empty() {
        return Ok(SessionReport { peers: Vec::new() });
    }
    let began = shared.now();
    let newest = newest(storage);
    let visit = Visit::begin(shared, storage, began.after(budget))?;
    let left = budget.saturating_sub(shared.now().since(began));
    let report = visit.session().run(peers, work, left);
    let now = shared.now();
    let mut state = shared.state();
    for peer in &report.peers {
        if let (true, Some(newest)) = (was_served(peer), newest) {
            state.served.insert(peer.peer, newest);
        }
    }
    state.last_session = Some((now, report.clone()));
    Ok(report)
}

/// All peers that are worth a visit: those of the backup, and those that were reported.
pub(super) fn known_peers(shared: &Shared, storage: &PeerStorage) -> Vec<PeerRecord> {
    let mut peers = shared.reported.peers();
    peers.extend(storage.known().peers);
    merged(&peers)
}

/// Which of the peers were not given the newest backup. Some want none, or not every one: whoever was
/// read back had his chance.
fn lacking(shared: &Shared, storage: &PeerStorage) -> BTreeSet<PublicKey> {
    let status = storage.status().backup;
    let Some(newest) = status.newest else {
        return BTreeSet::new();
    };
    let served = shared.state().served.clone();
    let has_it = |peer: &PublicKey| {
        let known = status.peers.iter().find(|known| known.node_id == *peer);
        let given = known.into_iter().flat_map(|p| [p.sent, p.verified]);
        let mut given = given.flatten().map(|sent| sent.revision);
        given.any(|r| r >= newest) || served.get(peer).is_some_and(|r| *r >= newest)
    };
    let known = known_peers(shared, storage).into_iter();
    let known = known.filter(|peer| !peer.addresses.is_empty());
    known.map(|p| p.node_id).filter(|p| !has_it(p)).collect()
}

fn newest(storage: &PeerStorage) -> Option<Revision> {
    storage.status().backup.newest
}

fn was_served(report: &PeerReport) -> bool {
    let visit = report.outcome.as_ref();
    visit.is_ok_and(|visit| visit.delivered && visit.returned != Returned::NothingInTime)
}

/// Whom it has reached, and whom another try may reach.
fn visited(report: &SessionReport) -> Visited {
    let mut visited = Visited::default();
    for report in &report.peers {
        match &report.outcome {
            _ if was_served(report) => visited.reached.insert(report.peer),
            Err(NotReached::NoAddress | NotReached::NeedsTor | NotReached::Incompatible) => false,
            _ => visited.missed.insert(report.peer),
        };
    }
    visited
}
