//! Peer storage in an app that comes and goes: facts in, and what should be alive follows.
//!
//! ```text
//!  the app ──▶ facts: visible, network, holds, the wallet's own node
//!                 │  wanted(): a pure function
//!                 ▼
//!  Active ◀──▶ Draining ──▶ Suspended        one driver thread goes there
//!  PeerStorage, and a Session                nothing: no thread, no socket, no database, no lock
//!  whenever something is due
//! ```
//!
//! For wallets whose own node is not extended with a [`PeerStorage`]: those that only list their
//! channels (ldk-node), and those that hook messages (LDK's Java and Swift bindings). A Rust wallet that
//! wraps the parts of its LDK node uses [`PeerStorage`] itself.
//!
//! The app says what is the case, in any order and as often as it likes; it need not know what follows.
//! Flips collapse. What takes time takes a budget: the call returns when it is done or the budget (and
//! at most a second) is over, and says what came of it.
//!
//! # In what order
//!
//! * At the start: [`open`](Lifecycle::open), [`report_wallet`](Lifecycle::report_wallet),
//!   [`check_before_node_start`](Lifecycle::check_before_node_start), the node where the answer lets it
//!   start, [`on_host_node_changed(true)`](Lifecycle::on_host_node_changed).
//! * To background: stop the node, `on_host_node_changed(false)`, `report_wallet`,
//!   [`on_background`](Lifecycle::on_background).
//!
//! # Threads
//!
//! All calls may be made from any thread. Facts and reports return at once; bounded calls block. While
//! suspended there is no thread.

mod bell;
mod call;
mod calls;
mod check;
mod config;
mod driver;
mod facts;
mod hold;
mod pass;
mod report;
mod reported;
mod schedule;
mod shared;
mod state;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
mod unavailable;
mod visit;
mod wanted;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lightning::sign::{EntropySource, NodeSigner};

pub use bell::Subscription;
pub use calls::{Ending, Leaving};
pub use config::{AutoSync, LifecycleConfig};
pub use facts::Obstacle;
pub use hold::Hold;
pub use report::{
    BackgroundReport, LifeState, NodeStart, PassReport, ShutdownReport, Status, WhyUnknown,
};
pub use reported::WalletReport;
pub use shared::OpenStorage;
pub use unavailable::Unavailable;

use crate::backup::{ChannelIds, PeerRecord};
use crate::locks::write;
use crate::service::{self, OpenError, PeerStorage, SystemClock};
use crate::session::{RestoreOutcome, Session, SessionConfig, SessionReport, Work};
use facts::Facts;
use shared::{Opener, Shared};
use state::State;

/// One wallet's peer storage, over the life of its app. Clones share it; with the last one everything
/// is closed, without waiting for what is due: call [`shutdown`](Self::shutdown) before.
#[derive(Clone)]
pub struct Lifecycle {
    shared: Arc<Shared>,
    _last: Arc<Last>,
}

/// Dropped with the last clone. Drop does not block: what is open is closed by the driver.
struct Last(Arc<Shared>);

impl Drop for Last {
    fn drop(&mut self) {
        calls::abandon(&self.0);
    }
}

impl Lifecycle {
    /// Opens the data directory, visible or not: what is wrong with it shows now. Then goes where the
    /// facts say; out of sight it is closed again soon.
    pub fn open<K>(config: LifecycleConfig, keys: Arc<K>) -> Result<Lifecycle, OpenError>
    where
        K: NodeSigner + EntropySource + Send + Sync + 'static,
    {
        let clock = config.storage.clock.clone();
        let clock = clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let opener = opener(config.storage, config.session, keys);
        let storage = (opener.storage)()?;
        let facts = Facts {
            visible: config.visible,
            network: config.network,
            ..Facts::default()
        };
        let state = State::new(facts, config.sync, storage.clone());
        let shared = Shared::new(opener, clock, config.linger, state);
        driver::prepare(&shared, &storage);
        shared.change(|state, now| state.schedule.resumed(now));
        let last = Arc::new(Last(shared.clone()));
        Ok(Lifecycle {
            shared,
            _last: last,
        })
    }

    /// The app is on the screen. Whatever was open before a suspension is opened anew, and every peer
    /// is visited: old connections and clocks are not believed. Where the data directory cannot be opened
    /// now (see [`Status::trouble`]) it is tried again with growing pauses, as long as the app is visible.
    pub fn on_foreground(&self) {
        self.shared.change(|state, now| state.came_back(now));
    }

    /// The device has a network, or has lost it.
    pub fn on_network_changed(&self, available: bool) {
        self.shared
            .change(|state, now| state.network_is(now, available));
    }

    /// The wallet's own node runs, or has stopped. While it runs no peer is visited: two connections of
    /// one identity throw each other out. Say it before the node starts, and after it has stopped.
    pub fn on_host_node_changed(&self, runs: bool) {
        self.shared
            .change(|state, now| state.host_node_is(now, runs));
    }

    /// A payment is in flight, or expected: until the hold is dropped no peer is visited, and in
    /// background all stays open as long as the budget lasts.
    pub fn hold(&self) -> Hold {
        Hold::new(&self.shared)
    }

    /// The wallet as it is now. Kept in memory over suspensions, and given to the storage at once where
    /// it is open.
    pub fn report_wallet(&self, report: WalletReport) {
        let reported = &self.shared.reported;
        reported.wallet(report, || self.shared.peek());
        self.shared.change(|state, now| state.wallet_changed(now));
    }

    /// The chain has this height, in blocks. Without it nothing that is kept for peers expires.
    pub fn report_tip(&self, height: u32) {
        self.shared.reported.height(height, || self.shared.peek());
    }

    /// The outputs of a channel are swept and buried: it leaves the backup. Durable on return.
    pub fn channel_swept(&self, ids: ChannelIds) -> Result<(), Unavailable> {
        self.durably(|storage| storage.channel_resolved(ids))
    }

    /// The app was left. Pushes what is due (unless an obstacle stands), then closes everything. Returns
    /// when nothing runs any more, or when the budget (and at most a second) is over, or when the app is
    /// visible again.
    ///
    /// A budget of zero says that the system takes its time back: all calls under way end now, a
    /// [`shutdown`](Self::shutdown) too. After a shutdown there is nothing left but to wait for its end.
    pub fn on_background(&self, budget: Duration) -> BackgroundReport {
        self.begin_background(budget).wait()
    }

    /// The same in two steps: this says that the app was left, and returns at once; what it returns waits.
    /// For callers that can wait only when a thread is free.
    pub fn begin_background(&self, budget: Duration) -> Leaving {
        Leaving::begin(self, budget)
    }

    /// Visits all peers, reads back, pushes what is due; then, where the app is not visible, closes
    /// everything. For the system's schedulers (BGTaskScheduler, JobScheduler, WorkManager).
    ///
    /// That a peer without a channel has lost our backup is known after 30 s on one connection, and not before it
    /// is sent anything again (safety rule 1): that takes a longer pass, or the app on the screen.
    pub fn run_background_pass(&self, budget: Duration) -> PassReport {
        calls::run_background_pass(&self.shared, budget)
    }

    /// Asks the peers whether this device's channel state is current, and ends all connections, so that
    /// the wallet's own node may start. Until [`on_host_node_changed`](Self::on_host_node_changed) says
    /// otherwise the node is taken to run, unless the answer is [`NodeStart::DoNotStart`] or
    /// [`NodeStart::Restored`].
    ///
    /// Call [`report_wallet`](Self::report_wallet) before. Answers at once where there is no network.
    /// Three seconds are a good budget. Asking again takes the answer before back: do not start the node
    /// on an old answer while another check is under way.
    pub fn check_before_node_start(&self, budget: Duration) -> NodeStart {
        calls::check_before_node_start(&self.shared, budget)
    }

    /// Visits these peers; see [`Session::run`].
    pub fn sync_with_peers(
        &self,
        peers: &[PeerRecord],
        work: Work,
        budget: Duration,
    ) -> Result<SessionReport, Unavailable> {
        calls::sync_with_peers(&self.shared, peers, work, budget)
    }

    /// Reads back from these peers and those that their backups name; see [`Session::restore`]. It is
    /// taken with [`PeerStorage::finish_restore`].
    pub fn restore(
        &self,
        peers: &[PeerRecord],
        budget: Duration,
    ) -> Result<RestoreOutcome, Unavailable> {
        calls::restore(&self.shared, peers, budget)
    }

    /// Runs something over a session, such as [`Recovery::step`](crate::Recovery::step), while no
    /// obstacle stands. When one comes, the session is stopped, and what runs over it ends soon. In
    /// background it is given up at the end of the budget.
    pub fn with_session<R>(
        &self,
        run: impl FnOnce(&OpenStorage, &Session) -> R,
    ) -> Result<R, Unavailable> {
        calls::with_session(&self.shared, run)
    }

    /// Runs something on the storage; what it has changed is durable on return.
    ///
    /// # Errors
    /// * [`Unavailable::NotDurable`] where it ran, and the disk is full or slow: it is in force, and durable
    ///   as soon as the disk takes it.
    /// * [`Unavailable::Suspended`] or [`Unavailable::Closed`] also where it ran, but may not have become
    ///   durable before everything was closed: do it again later.
    pub fn durably<R>(&self, run: impl FnOnce(&PeerStorage) -> R) -> Result<R, Unavailable> {
        calls::durably(&self.shared, run)
    }

    /// Pushes what is due, and closes everything for good. Later calls get [`Unavailable::Closed`];
    /// calling this again is no error, and with a shorter budget ends it earlier.
    pub fn shutdown(&self, budget: Duration) -> ShutdownReport {
        self.begin_shutdown(budget).wait()
    }

    /// The same in two steps: this says that it is the end, and returns at once; what it returns waits.
    pub fn begin_shutdown(&self, budget: Duration) -> Ending {
        Ending::begin(self, budget)
    }

    /// The storage, while it is open. Keep it for one thing to do, not longer: going to background
    /// waits for it, as long as the budget allows. Where the app has just become visible this waits for
    /// the opening (some milliseconds).
    pub fn storage(&self) -> Result<OpenStorage, Unavailable> {
        self.shared.storage()
    }

    /// The same without waiting. None: nothing is open at this moment.
    pub fn storage_now(&self) -> Option<OpenStorage> {
        self.shared.peek()
    }

    /// Which opening of the storage this is: a number that rises. None: nothing is open. Whoever holds
    /// something that was made of a storage (a message relay) makes it anew when this has changed.
    pub fn opening(&self) -> Option<u64> {
        self.shared.state().opening()
    }

    /// What is called when messages wait to be sent through a message relay, on a thread of ours. Kept
    /// over suspensions; while a session runs, which has no relay beside it, it is not called. See
    /// [`PeerStorage::set_waker`].
    pub fn set_waker(&self, waker: impl Fn() + Send + Sync + 'static) {
        let waker: shared::Waker = Arc::new(waker);
        let before = write(&self.shared.waker).replace(waker);
        drop(before);
    }

    /// A clock that is not the system's was moved: what is due by it is done now.
    #[doc(hidden)]
    pub fn clock_moved(&self) {
        if let Some(storage) = self.shared.peek() {
            storage.clock_moved();
        }
        self.shared.notify();
    }

    /// How things stand; while nothing is open, as they stood last.
    pub fn status(&self) -> Status {
        calls::status(&self.shared)
    }

    /// Calls `changed` soon after the status has changed or an event was added, and once for the
    /// present: a doorbell; ask [`status`](Self::status) and
    /// [`PeerStorage::next_event`] then. Rings collapse. It is called on a thread of ours that holds no
    /// lock, one call at a time, and may call anything here, bounded calls too.
    pub fn subscribe(&self, changed: impl Fn() + Send + Sync + 'static) -> Subscription {
        self.shared.bell.subscribe(Arc::new(changed))
    }
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifecycle").finish_non_exhaustive()
    }
}

/// Opens the storage and the session again and again: each time with a new look at the clock, unless it
/// is the host's.
fn opener<K>(storage: service::Config, session: SessionConfig, keys: Arc<K>) -> Opener
where
    K: NodeSigner + EntropySource + Send + Sync + 'static,
{
    let signer = keys.clone();
    let open_storage = move || {
        let config = service::Config {
            data_dir: storage.data_dir.clone(),
            network: storage.network,
            storage: storage.storage.clone(),
            padding: storage.padding,
            monitors: storage.monitors,
            clock: storage.clock.clone(),
        };
        PeerStorage::open(config, &*signer)
    };
    let open_session =
        move |storage: PeerStorage| Session::open(storage, keys.clone(), session.clone());
    Opener {
        storage: Box::new(open_storage),
        session: Box::new(open_session),
    }
}
