//! [`PeerStorage`]: the one object that ties backup, exchange and store together.

mod clock;
mod engine;
mod jobs;
mod stamps;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use bitcoin::Network;
use lightning::ln::types::ChannelId;
use lightning::sign::{NodeSigner, Recipient};
use zeroize::{Zeroize, Zeroizing};

pub use clock::{Clock, SystemClock};
pub(crate) use engine::{Engine, Offered, Outgoing};

use crate::backup::{BackupKey, ChannelIds, ChannelRecord, MonitorRecord, Padding};
use crate::exchange::{
    Alarm, AlarmId, Event, Exchange, Known, Past, PastError, Resolution, ResolveError,
    RestoreReport, RestoredMonitor, StoragePolicy, WalletState,
};
use crate::locks::lock;
use crate::store::{EventId, Owner, Store, StoreError};

/// Where the live state of the wallet comes from.
pub trait WalletSource: Send + Sync {
    /// Everything of the running node that belongs into a backup, as it is now: every channel, for a
    /// ready one that is missing is taken for lost state. Called from threads of this project, from
    /// LDK's message handling and from [`PeerStorage::attach`]; it may take LDK's locks.
    fn wallet_state(&self) -> WalletState;

    /// The monitors of all channels, as they are now, for backups at peers that keep large blobs. None
    /// need not be given; one that is given must be of the state that it says. Called at most once a
    /// minute, when the app goes to background, and before each [`Session::run`](crate::Session::run),
    /// from a thread of this project; it may take LDK's locks.
    fn monitors(&self) -> Vec<MonitorRecord> {
        Vec::new()
    }

    /// Whether `secret` is the one that revoked our commitment before `next_revocation_number`, a field
    /// of the peer's `channel_reestablish`. None: it cannot be told. Then the peer's word that our state
    /// is old holds everything until the person decides.
    ///
    /// Called inside of LDK's message handling: it must take none of LDK's locks.
    fn holds_secret(
        &self,
        channel: &ChannelId,
        next_revocation_number: u64,
        secret: &[u8; 32],
    ) -> Option<bool> {
        let _ = (channel, next_revocation_number, secret);
        None
    }
}

/// How to open a [`PeerStorage`].
pub struct Config {
    /// A directory of its own, outside of what the OS backs up. Created if missing.
    pub data_dir: PathBuf,
    /// The Bitcoin network of the node.
    pub network: Network,
    /// Whom blobs are kept for.
    pub storage: StoragePolicy,
    /// How blobs are padded.
    pub padding: Padding,
    /// Whether backups carry the monitors of channels, where a peer keeps large blobs. Without them a
    /// restore can sweep our own output of a channel that its peer closes, but cannot recover HTLCs in
    /// flight or punish a revoked commitment.
    ///
    /// Off, backups are smaller, and whoever has the seed learns less from them: a monitor tells the
    /// payments of its channel. Monitors that a restore has brought back stay in either case.
    ///
    /// It takes a wrapped persister ([`PeerStorage::persister`], [`PeerStorage::monitor_written`]):
    /// a state that is not known to be written is not backed up.
    pub monitors: bool,
    /// The clock; none: the system's.
    pub clock: Option<Arc<dyn Clock>>,
}

impl Config {
    /// The defaults: blobs are kept for peers with a channel, and padded to buckets; backups carry
    /// monitors.
    pub fn new(data_dir: impl Into<PathBuf>, network: Network) -> Self {
        Config {
            data_dir: data_dir.into(),
            network,
            storage: StoragePolicy::default(),
            padding: Padding::default(),
            monitors: true,
            clock: None,
        }
    }
}

/// Peer storage of one node, as owner and as storer. Clones share it; keep one as long as the node
/// runs: with the last one the worker thread ends, and nothing is pushed or kept any more.
///
/// Open it before the node, wrap the node's parts with it (see [`crate::ldk`]), and
/// [`attach`](Self::attach) the loaded node. At the end stop the node's `PeerManager`, then
/// [`close`](Self::close): only that lets go of the data directory.
///
/// Threads: all methods may be called from any thread. [`open`](Self::open),
/// [`attach`](Self::attach), [`event_handled`](Self::event_handled), [`flush`](Self::flush),
/// [`on_background`](Self::on_background) and [`close`](Self::close) wait, for the disk, for LDK or
/// for the worker: not on a UI thread, and not with a lock held that the waker needs. What the others
/// change is durable a moment later; [`flush`](Self::flush) waits for it.
#[derive(Clone)]
pub struct PeerStorage {
    engine: Arc<Engine>,
    worker: Arc<Worker>,
    owner: Owner,
}

impl PeerStorage {
    /// Opens the data directory.
    ///
    /// `keys` gives the node's id and its peer storage key
    /// ([`NodeSigner::get_peer_storage_key`], derived from the seed). The key is never written; the
    /// node id is, so that the directory of another node is noticed.
    pub fn open(config: Config, keys: &impl NodeSigner) -> Result<PeerStorage, OpenError> {
        let node_id = keys
            .get_node_id(Recipient::Node)
            .map_err(|()| OpenError::NoNodeId)?;
        let mut secret = keys.get_peer_storage_key();
        let key = BackupKey::derive(&secret.inner, config.network, &node_id);
        secret.inner.zeroize();
        let owner = Owner {
            node_id,
            network: config.network,
        };
        let (store, saved) = Store::open(&config.data_dir, key.clone(), owner)?;

        let clock = config.clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let mut exchange = Exchange::new(clock.now(), saved, config.storage);
        exchange.carry_monitors(config.monitors);
        for foreign in store.foreign_blobs()? {
            // Read before the process ended, and perhaps not yet part of a snapshot of ours.
            match key.open_snapshot(&foreign.blob) {
                Ok(contents) => exchange.returned_before(foreign.peer, contents),
                Err(error) => log::warn!("a stored backup does not open: {error}"),
            }
        }
        let engine = Arc::new(Engine::new(exchange, store, key, config.padding, clock));
        let worker = Worker::start(engine.clone()).map_err(OpenError::Thread)?;
        Ok(PeerStorage {
            engine,
            worker: Arc::new(worker),
            owner,
        })
    }

    /// The node whose storage this is.
    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    // ---- the node ---------------------------------------------------------------------------

    /// The node is loaded: its live state is compared with our records at once. Held until
    /// [`close`](Self::close).
    ///
    /// Call it after every monitor was given to the `ChainMonitor` and before the first peer connects:
    /// a ready channel that is missing now is taken for lost state, which is an alarm. Until this call
    /// wrapped broadcasters spend no funding output.
    pub fn attach(&self, source: Arc<dyn WalletSource>) {
        self.engine.attach(source);
    }

    /// What to call when messages wait to be sent, usually `PeerManager::process_events`. Called on
    /// a thread of this project, and from [`resolve_alarm`](Self::resolve_alarm). Give it a [`Weak`](std::sync::Weak) of the peer manager, or the two
    /// keep each other alive until [`close`](Self::close).
    pub fn set_waker(&self, waker: impl Fn() + Send + Sync + 'static) {
        self.engine.set_waker(Arc::new(waker));
    }

    /// Has the waker called soon, for what came to wait while another one was set.
    pub(crate) fn wake_soon(&self) {
        self.engine.wake_soon();
    }

    /// What to call when the status may have changed or an event was added. On a thread of this project
    /// that holds no lock; it has to return at once.
    pub(crate) fn set_bell(&self, bell: impl Fn() + Send + Sync + 'static) {
        self.engine.set_bell(Arc::new(bell));
    }

    /// The wallet's state has changed: call it on `ChannelPending`, `ChannelReady`, `ChannelClosed`
    /// and `SpendableOutputs`, after a sweep, and when an address of a peer has changed. Cheap; calls
    /// are coalesced.
    pub fn wallet_changed(&self) {
        self.engine.wallet_is_dirty();
    }

    /// The same, and compared with our records before it returns.
    pub(crate) fn compare_wallet(&self) {
        self.engine.refresh();
    }

    /// The wallet's database has this state of a channel. Wrapping the node's persister does this by
    /// itself, also for what a persister hands to `get_and_clear_completed_updates`. Whoever calls
    /// `ChainMonitor::channel_monitor_updated` has to report it here as well: until then, backups carry
    /// the state stamp before.
    pub fn monitor_written(&self, channel: ChannelId, update_id: u64) {
        self.engine.monitor_written(channel, update_id);
    }

    /// The chain has this height, in blocks. Without it nothing that is kept for peers expires.
    pub fn height_changed(&self, height: u32) {
        self.engine
            .input(|exchange, _| exchange.height_changed(height));
    }

    /// The outputs of a channel are swept and buried: it leaves the backup. Wrapping the node's
    /// persister does this by itself.
    pub fn channel_resolved(&self, ids: ChannelIds) {
        self.engine
            .input(|exchange, now| exchange.channel_resolved(now, ids));
    }

    // ---- the past ---------------------------------------------------------------------------

    /// Whether this data directory knows its past. Ask at every start: a process may die between
    /// the making of a wallet and [`declare_new`](Self::declare_new).
    pub fn past(&self) -> Past {
        self.engine.look(|exchange| exchange.past())
    }

    /// The wallet is brand new: no backup of it exists anywhere. Until this, [`adopt`](Self::adopt)
    /// or [`finish_restore`](Self::finish_restore) nothing is pushed to anyone.
    pub fn declare_new(&self) -> Result<(), PastError> {
        self.engine.input(|exchange, now| exchange.declare_new(now))
    }

    /// The wallet is alive on this device, with channels, and only the data directory is new. After
    /// [`attach`](Self::attach). One that was made here and has no channel yet is
    /// [declared new](Self::declare_new). It reads the wallet: not with LDK's locks held.
    pub fn adopt(&self) -> Result<(), PastError> {
        // The last report may not have been looked at yet.
        self.engine.refresh();
        self.engine.input(|exchange, now| exchange.adopt(now))
    }

    /// What a restore would bring back so far. Every further peer that answers only improves it.
    pub fn restore_report(&self) -> RestoreReport {
        self.engine.look(|exchange| exchange.restore_report())
    }

    /// Takes what was read back. What comes to light later is merged.
    pub fn finish_restore(&self) -> Result<RestoreReport, PastError> {
        self.engine
            .input(|exchange, now| exchange.finish_restore(now))
    }

    /// The newest monitors that are known from backups, of channels that are not resolved and that this
    /// device has no state of, or only an older one: for the recovery of their funds, which must never
    /// publish a commitment of ours (safety rule 9). They survive restarts and stay in our own backups
    /// until [`channel_resolved`](Self::channel_resolved). Before [`attach`](Self::attach) nobody can
    /// tell which channels the device has: then it is all that are known.
    pub fn restored_monitors(&self) -> Vec<RestoredMonitor> {
        self.engine.look(|exchange| exchange.restored_monitors())
    }

    /// Channels that only backups know, that may still be open, and that a restore has brought here.
    pub(crate) fn restored_channels(&self) -> Vec<ChannelRecord> {
        self.engine.look(|exchange| exchange.restored_channels())
    }

    /// What the backup names at present: channels, peers, and outputs not yet swept.
    pub fn known(&self) -> Known {
        self.engine.look(|exchange| exchange.known())
    }

    // ---- the app ----------------------------------------------------------------------------

    /// Data of the app's own to find again after a loss (full tier alone). Before the past is known there is no
    /// backup that it could be in: set it again then.
    pub fn set_app_data(&self, data: Vec<u8>) {
        self.engine
            .input(|exchange, now| exchange.app_data_changed(now, data));
    }

    /// Peers to keep backups at, with or without a channel. Not kept over a restart: say it at every
    /// start.
    pub fn list_peers(&self, peers: BTreeSet<PublicKey>) {
        self.engine
            .input(|exchange, now| exchange.list_peers(now, peers));
    }

    /// Sends the newest backup again to every connected peer that can be sent to.
    pub fn push_now(&self) {
        self.engine.wallet_is_dirty();
        self.engine.input(|exchange, now| exchange.push_now(now));
    }

    /// The health of the backup.
    pub fn status(&self) -> Status {
        Status {
            backup: self.engine.look(|exchange| exchange.status()),
            storage_failure: self.engine.failure(),
        }
    }

    /// The oldest event that was not acknowledged. The same one is given until it is.
    pub fn next_event(&self) -> Result<Option<(EventId, Event)>, StoreError> {
        self.engine.store.next_event()
    }

    /// The app has dealt with an event: it never comes again.
    pub fn event_handled(&self, id: EventId) -> Result<(), StoreError> {
        self.engine.store.acknowledge(id)
    }

    /// The alarms that stand.
    pub fn alarms(&self) -> Vec<Alarm> {
        self.engine.look(|exchange| exchange.alarms().to_vec())
    }

    /// Whether channels are held by an alarm: no channel message leaves to peers whose gate is
    /// shut, and guarded broadcasters drop every spend of a funding output.
    pub fn is_holding(&self) -> bool {
        self.engine.holding()
    }

    /// Carries out what the person decided about an alarm. It reads the wallet: not with LDK's locks held.
    pub fn resolve_alarm(&self, id: AlarmId, resolution: Resolution) -> Result<(), ResolveError> {
        // Judged by the wallet as it is, and the last report may not have been looked at yet.
        self.engine.refresh();
        self.engine
            .input(|exchange, now| exchange.resolve_alarm(now, id, resolution))?;
        self.engine.wake();
        Ok(())
    }

    /// Whom blobs are kept for, until the next start.
    pub fn set_storage_policy(&self, policy: StoragePolicy) {
        self.engine
            .input(|exchange, _| exchange.storage_policy_changed(policy));
    }

    // ---- a recovery of funds ------------------------------------------------------------------

    /// Seals a step of a recovery, and returns when it is durable.
    pub(crate) fn add_recovery_step(&self, step: &[u8]) -> Result<(), StoreError> {
        self.engine.add_recovery_step(step)
    }

    /// All steps of recoveries, in their order.
    pub(crate) fn recovery_steps(&self) -> Result<Vec<Zeroizing<Vec<u8>>>, StoreError> {
        self.engine.recovery_steps()
    }

    // ---- the end ----------------------------------------------------------------------------

    /// The app goes to background: takes the live state once more, pushes what has changed, and
    /// waits until all is durable and handed to the connections, or the budget ends.
    pub fn on_background(&self, budget: Duration) -> FlushReport {
        let started = std::time::Instant::now();
        self.take_what_changed(budget);
        let complete = self.engine.flush(budget.saturating_sub(started.elapsed()));
        FlushReport {
            complete,
            status: self.status(),
        }
    }

    /// Takes the live state once more, and lets what has changed be due at once.
    pub(crate) fn take_what_changed(&self, budget: Duration) {
        self.engine.wallet_is_dirty();
        self.engine.settle(budget);
        self.engine.input(|exchange, now| exchange.background(now));
    }

    /// The same before a session with these peers. It looks for itself, for monitors are read only where
    /// somebody takes them, and so far nobody is connected.
    pub(crate) fn take_what_changed_for(&self, peers: &[PublicKey], budget: Duration) {
        self.engine.wallet_is_dirty();
        self.engine.settle(budget / 2);
        self.engine
            .input(|exchange, now| exchange.session_begins(now, peers));
        self.engine.settle(budget / 2);
    }

    /// Waits until everything that is due is durable and handed to the connections, or the budget
    /// ends. Whether all was done.
    pub fn flush(&self, budget: Duration) -> bool {
        self.engine.flush(budget)
    }

    /// Writes what waits, ends all threads and lets go of the data directory. The wrapped parts of
    /// the node keep working, without peer storage.
    pub fn close(&self, budget: Duration) -> FlushReport {
        let report = self.on_background(budget);
        self.worker.end();
        let complete = report.complete && self.engine.flush(Duration::ZERO);
        self.engine.store.close();
        FlushReport {
            complete,
            status: self.status(),
        }
    }

    /// A clock that is not the system's was moved: what is due by it is done now.
    #[doc(hidden)]
    pub fn clock_moved(&self) {
        self.engine.clock_moved();
    }
}

impl fmt::Debug for PeerStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerStorage").finish_non_exhaustive()
    }
}

/// The health of the backup, and of the data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The backup.
    pub backup: crate::exchange::Status,
    /// Why nothing can be written at present. It is tried again every second; until then nothing
    /// new is sent.
    pub storage_failure: Option<StoreError>,
}

/// What was done before going to background, or at the end.
#[derive(Clone, Debug)]
pub struct FlushReport {
    /// All was durable and handed to the connections within the budget.
    pub complete: bool,
    /// How things stood then.
    pub status: Status,
}

/// Why a [`PeerStorage`] was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The signer has no node id.
    #[error("the signer does not tell its node id")]
    NoNodeId,
    /// No thread could be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// The worker thread; it ends with the last clone of the [`PeerStorage`].
struct Worker {
    engine: Arc<Engine>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    fn start(engine: Arc<Engine>) -> std::io::Result<Worker> {
        let at_work = engine.clone();
        let thread = std::thread::Builder::new().name("peer-storage".into());
        let thread = Mutex::new(Some(thread.spawn(move || at_work.work())?));
        Ok(Worker { engine, thread })
    }

    fn end(&self) {
        self.engine.stop();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            // The last clone may be dropped by the waker, on the worker's own thread.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}
