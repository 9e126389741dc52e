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
//!   [`check_before_node_start`](Lifecycle::check_before_node_start), the node,
//!   [`on_host_node_changed(true)`](Lifecycle::on_host_node_changed).
//! * To background: stop the node, `on_host_node_changed(false)`, `report_wallet`,
//!   [`on_background`](Lifecycle::on_background).
//!
//! # Threads
//!
//! All calls may be made from any thread. Facts and reports return at once; bounded calls block. While
//! suspended there is no thread.

mod config;
mod facts;
mod report;
mod reported;
mod unavailable;
mod wanted;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use lightning::sign::{EntropySource, NodeSigner};

pub use config::{AutoSync, LifecycleConfig};
pub use facts::Obstacle;
pub use report::{
    BackgroundReport, LifeState, NodeStart, PassReport, ShutdownReport, Status, WhyUnknown,
};
pub use reported::WalletReport;
pub use unavailable::Unavailable;

use crate::backup::{ChannelIds, PeerRecord};
use crate::service::{OpenError, PeerStorage};
use crate::session::{RestoreOutcome, Session, SessionReport, Work};

/// One wallet's peer storage, over the life of its app. Clones share it; with the last one everything
/// is closed, without waiting for what is due: call [`shutdown`](Self::shutdown) before.
#[derive(Clone)]
pub struct Lifecycle(Arc<()>);

impl Lifecycle {
    /// Opens the data directory, visible or not: what is wrong with it shows now. Then goes where the
    /// facts say.
    pub fn open<K>(config: LifecycleConfig, keys: Arc<K>) -> Result<Lifecycle, OpenError>
    where
        K: NodeSigner + EntropySource + Send + Sync + 'static,
    {
        let _ = (config, keys);
        todo!()
    }

    /// The app is on the screen. Whatever was open before a suspension is opened anew, and every peer
    /// is visited: old connections and clocks are not believed.
    pub fn on_foreground(&self) {
        todo!()
    }

    /// The device has a network, or has lost it.
    pub fn on_network_changed(&self, available: bool) {
        let _ = available;
        todo!()
    }

    /// The wallet's own node runs, or has stopped. While it runs no peer is visited: two connections of
    /// one identity throw each other out. Say it before the node starts, and after it has stopped.
    pub fn on_host_node_changed(&self, runs: bool) {
        let _ = runs;
        todo!()
    }

    /// A payment is in flight, or expected: until the hold is dropped no peer is visited, and in
    /// background all stays open as long as the budget lasts.
    pub fn hold(&self) -> Hold {
        todo!()
    }

    /// The wallet as it is now. Kept in memory over suspensions, and given to the storage at once where
    /// it is open.
    pub fn report_wallet(&self, report: WalletReport) {
        let _ = report;
        todo!()
    }

    /// The chain has this height, in blocks. Without it nothing that is kept for peers expires.
    pub fn report_tip(&self, height: u32) {
        let _ = height;
        todo!()
    }

    /// The outputs of a channel are swept and buried: it leaves the backup. Durable on return.
    pub fn channel_swept(&self, ids: ChannelIds) -> Result<(), Unavailable> {
        let _ = ids;
        todo!()
    }

    /// The app was left. Pushes what is due (unless an obstacle stands), then closes everything. Returns
    /// when nothing runs any more, or when the budget (and at most a second) is over, or when the app is
    /// visible again.
    pub fn on_background(&self, budget: Duration) -> BackgroundReport {
        let _ = budget;
        todo!()
    }

    /// Visits all peers, reads back, pushes what is due; then, where the app is not visible, closes
    /// everything. For the system's schedulers (BGTaskScheduler, JobScheduler, WorkManager).
    pub fn run_background_pass(&self, budget: Duration) -> PassReport {
        let _ = budget;
        todo!()
    }

    /// Asks the peers whether this device's channel state is current, and ends all connections, so that
    /// the wallet's own node may start. Until [`on_host_node_changed`](Self::on_host_node_changed) says
    /// otherwise the node is taken to run, unless the answer is [`NodeStart::DoNotStart`].
    ///
    /// Call [`report_wallet`](Self::report_wallet) before. Answers at once where there is no network.
    /// Three seconds are a good budget.
    pub fn check_before_node_start(&self, budget: Duration) -> NodeStart {
        let _ = budget;
        todo!()
    }

    /// Visits these peers; see [`Session::run`].
    pub fn sync_with_peers(
        &self,
        peers: &[PeerRecord],
        work: Work,
        budget: Duration,
    ) -> Result<SessionReport, Unavailable> {
        let _ = (peers, work, budget);
        todo!()
    }

    /// Reads back from these peers and those that their backups name; see [`Session::restore`]. It is
    /// taken with [`PeerStorage::finish_restore`].
    pub fn restore(
        &self,
        peers: &[PeerRecord],
        budget: Duration,
    ) -> Result<RestoreOutcome, Unavailable> {
        let _ = (peers, budget);
        todo!()
    }

    /// Runs something over a session, such as [`Recovery::step`](crate::Recovery::step), while no
    /// obstacle stands. When one comes, the session is stopped, and what runs over it ends soon. In
    /// background it is given up at the end of the budget.
    pub fn with_session<R>(
        &self,
        run: impl FnOnce(&PeerStorage, &Session) -> R,
    ) -> Result<R, Unavailable> {
        let _ = run;
        todo!()
    }

    /// Runs something on the storage; what it has changed is durable on return.
    ///
    /// # Errors
    /// [`Unavailable::Suspended`] or [`Unavailable::Storage`] also where it ran, but may not have become
    /// durable before everything was closed: do it again later.
    pub fn durably<R>(&self, run: impl FnOnce(&PeerStorage) -> R) -> Result<R, Unavailable> {
        let _ = run;
        todo!()
    }

    /// Pushes what is due, and closes everything for good. Later calls get [`Unavailable::Closed`];
    /// calling this again is no error.
    pub fn shutdown(&self, budget: Duration) -> ShutdownReport {
        let _ = budget;
        todo!()
    }

    /// The storage, while it is open. Keep it for one thing to do, not longer: going to background
    /// waits for it, as long as the budget allows. Where the app has just become visible this waits for
    /// the opening (some milliseconds).
    pub fn storage(&self) -> Result<OpenStorage, Unavailable> {
        todo!()
    }

    /// Which opening of the storage this is: a number that rises. None: nothing is open. Whoever holds
    /// something that was made of a storage (a message relay) makes it anew when this has changed.
    pub fn opening(&self) -> Option<u64> {
        todo!()
    }

    /// What is called when messages wait to be sent through a message relay, on a thread of ours. Kept
    /// over suspensions; while a session runs, which has no relay beside it, it is not called. See
    /// [`PeerStorage::set_waker`].
    pub fn set_waker(&self, waker: impl Fn() + Send + Sync + 'static) {
        let _ = waker;
        todo!()
    }

    /// How things stand; while nothing is open, as they stood last.
    pub fn status(&self) -> Status {
        todo!()
    }

    /// Calls `changed` soon after the status has changed or an event was added, and once for the
    /// present: a doorbell; ask [`status`](Self::status) and
    /// [`PeerStorage::next_event`] then. Rings collapse. It is called on a thread of ours that holds no
    /// lock, one call at a time, and may call anything here, bounded calls too.
    pub fn subscribe(&self, changed: impl Fn() + Send + Sync + 'static) -> Subscription {
        let _ = changed;
        todo!()
    }
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifecycle").finish_non_exhaustive()
    }
}

/// An open storage. While it is held, nothing is closed before the end of the budget; then it is closed
/// all the same.
pub struct OpenStorage {
    storage: PeerStorage,
}

impl OpenStorage {
    /// Which opening it is: see [`Lifecycle::opening`].
    pub fn opening(&self) -> u64 {
        todo!()
    }
}

impl Deref for OpenStorage {
    type Target = PeerStorage;

    fn deref(&self) -> &PeerStorage {
        &self.storage
    }
}

/// A payment is in flight, or expected. Dropping it ends that.
#[must_use = "dropping it ends the hold"]
pub struct Hold(());

/// A subscription. Dropping it ends it.
#[must_use = "dropping it ends the subscription"]
pub struct Subscription(());

impl Subscription {
    /// Ends it. A call under way may still be going on.
    pub fn cancel(&self) {}
}
