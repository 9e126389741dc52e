//! [`PeerStorage`]: one wallet's peer storage, over the life of its app.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ldk_peer_storage::exchange::AlarmId;
use ldk_peer_storage::lifecycle::{self, Lifecycle, OpenStorage};
use ldk_peer_storage::recovery::Identity;
use ldk_peer_storage::service::PeerStorage as CoreStorage;
use ldk_peer_storage::session::Work;
use ldk_peer_storage::store::{self, EventId};

use crate::alarms::{AlarmResolution, StorageAlarm};
use crate::callbacks::lock;
use crate::config::BitcoinNetwork;
use crate::errors::{Obstacle, PeerStorageError};
use crate::events::EventRecord;
use crate::parse::{self, millis};
use crate::relay::{MessageRelay, RelayListener};
use crate::reports::{
    BackgroundReport, Hindrance, NodeStart, PassReport, ShutdownReport, WhyUnknown,
};
use crate::runtime::{contained, quietly, run, run_within, Lane};
use crate::status::StorageStatus;
use crate::subscriptions::{StorageListener, StorageSubscription};
use crate::visits::{RestoreReport, RestoreResult, SyncReport};
use crate::wallet::{ChannelIds, WalletPeer, WalletReport};

type Outcome<T> = Result<T, PeerStorageError>;

/// The largest backup has no room for more of the app's data, in bytes.
const MOST_APP_DATA: usize = 65_531;

/// One wallet's peer storage, over the life of its app.
///
/// The app says what is the case (`on_foreground`, `on_network_changed`, `on_host_node_changed`, `hold`,
/// `report_wallet`), in any order and as often as it likes; what follows from it the SDK knows. It visits the
/// wallet's peers while the app is visible, has a network, its own node does not run and nothing is held.
///
/// Threads: every method may be called from any thread, also from a callback. Facts and reports return at once;
/// what waits is asynchronous. An asynchronous call whose caller no longer waits goes on to its end.
///
/// Lifetime: a `StorageOpening` gives it; `shutdown` ends it; after that every call throws `Closed`, but for
/// `on_background`. An object that is dropped without is closed soon after, by a thread of the SDK and without
/// waiting for what is due: until then its data directory is in use. A recovery and a relay keep it open as well; a
/// hold and a subscription do not.
#[derive(uniffi::Object)]
pub struct PeerStorage {
    pub(crate) inner: Arc<Inner>,
}

/// What all objects that come from one storage share.
pub(crate) struct Inner {
    pub lifecycle: Lifecycle,
    pub identity: Identity,
    pub network: BitcoinNetwork,
    is_shut_down: AtomicBool,
}

impl Inner {
    pub fn require_open(&self) -> Outcome<()> {
        match self.is_shut_down.load(Ordering::SeqCst) {
            true => Err(PeerStorageError::Closed),
            false => Ok(()),
        }
    }

    pub fn storage(&self) -> Outcome<OpenStorage> {
        self.require_open()?;
        Ok(self.lifecycle.storage()?)
    }

    /// The same without waiting for an opening that is under way.
    pub fn storage_now(&self) -> Outcome<OpenStorage> {
        self.require_open()?;
        let storage = self.lifecycle.storage_now();
        storage.ok_or(PeerStorageError::Suspended)
    }

    /// What `work` has changed is durable on return.
    fn durably<T, E: Into<PeerStorageError>>(
        &self,
        work: impl FnOnce(&CoreStorage) -> Result<T, E>,
    ) -> Outcome<T> {
        self.require_open()?;
        self.lifecycle.durably(work)?.map_err(Into::into)
    }
}

impl PeerStorage {
    pub(crate) fn over(
        lifecycle: Lifecycle,
        identity: Identity,
        network: BitcoinNetwork,
    ) -> Arc<Self> {
        Arc::new(PeerStorage {
            inner: Arc::new(Inner {
                lifecycle,
                identity,
                network,
                is_shut_down: AtomicBool::new(false),
            }),
        })
    }

    /// Does something on a thread of the lane.
    async fn on<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce(&Arc<Inner>) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let inner = Arc::clone(&self.inner);
        run(lane, move || work(&inner)).await
    }

    /// The same for a call with a budget.
    async fn within<T: Send + 'static>(
        &self,
        lane: Lane,
        budget_ms: u64,
        work: impl FnOnce(&Inner, Duration) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let inner = Arc::clone(&self.inner);
        run_within(lane, millis(budget_ms), move |left| {
            inner.require_open()?;
            work(&inner, left)
        })
        .await
    }
}

#[uniffi::export]
impl PeerStorage {
    // ---- facts: they return at once --------------------------------------------------------

    /// The app is on the screen. Whatever was open before is opened anew, and every peer is visited.
    pub fn on_foreground(&self) {
        quietly(|| self.inner.lifecycle.on_foreground());
    }

    /// The device has a network, or has lost it.
    pub fn on_network_changed(&self, available: bool) {
        quietly(|| self.inner.lifecycle.on_network_changed(available));
    }

    /// The wallet's own node runs, or has stopped. While it runs no peer is visited: two connections of one
    /// identity throw each other out. Say it before the node starts, and after it has stopped.
    pub fn on_host_node_changed(&self, running: bool) {
        quietly(|| self.inner.lifecycle.on_host_node_changed(running));
    }

    /// A payment is in flight, or expected: until the hold is released no peer is visited, and in background
    /// all stays open as long as the budget lasts.
    pub fn hold(&self) -> Outcome<Arc<Hold>> {
        contained(|| {
            self.inner.require_open()?;
            let hold = self.inner.lifecycle.hold();
            Ok(Arc::new(Hold(Mutex::new(Some(hold)))))
        })
    }

    /// The wallet as it is now: at the start, after each change of its channels, and after its node has
    /// stopped. Kept in memory while nothing is open.
    ///
    /// Throws `InvalidInput`; then the report before stays.
    pub fn report_wallet(&self, report: WalletReport) -> Outcome<()> {
        contained(|| {
            self.inner.require_open()?;
            self.inner.lifecycle.report_wallet(report.parsed()?);
            Ok(())
        })
    }

    /// The chain has this height, in blocks. Without it nothing that is kept for peers expires.
    pub fn report_tip(&self, height: u32) {
        quietly(|| self.inner.lifecycle.report_tip(height));
    }

    // ---- calls with a budget ---------------------------------------------------------------

    /// The app was left. Pushes what is due, unless something stands in the way, then closes everything.
    /// Returns when nothing runs any more, when the budget (in milliseconds, and at most a second) is over, or
    /// when the app is visible again. That the app was left is said at once, whatever else is under way; only the
    /// answer may take its time.
    ///
    /// A budget of 0 says that the system takes its time back: every call under way ends, a `shutdown` too. After
    /// a `shutdown` this is no error: it waits for the end of it.
    ///
    /// A payment that is held keeps all open as long as the budget lasts. On iOS call it within
    /// `beginBackgroundTask`; 20000 is a good budget there.
    pub async fn on_background(&self, budget_ms: u64) -> Outcome<BackgroundReport> {
        let budget = millis(budget_ms);
        let leaving = contained(|| Ok(self.inner.lifecycle.begin_background(budget)))?;
        run_within(Lane::Leaving, budget, |_| Ok(leaving.wait().into())).await
    }

    /// Visits all peers, reads back, pushes what is due; then, where the app is not visible, closes everything.
    /// For BGTaskScheduler, JobScheduler and WorkManager. The budget is in milliseconds.
    pub async fn run_background_pass(&self, budget_ms: u64) -> Outcome<PassReport> {
        let work = |inner: &Inner, left| Ok(inner.lifecycle.run_background_pass(left).into());
        self.within(Lane::Bounded, budget_ms, work).await
    }

    /// Asks the peers whether the channel state of this device is current, and ends all connections, so that
    /// the wallet's own node may start. Until `on_host_node_changed` says otherwise the node is taken to run,
    /// unless the answer is `DoNotStart`. Call `report_wallet` before.
    ///
    /// Answers at once where there is no network. 3000 is a good budget, in milliseconds.
    pub async fn check_before_node_start(&self, budget_ms: u64) -> Outcome<NodeStart> {
        let work = |inner: &Inner, left| Ok(inner.lifecycle.check_before_node_start(left).into());
        let answer = self.within(Lane::Bounded, budget_ms, work).await;
        match answer {
            Err(PeerStorageError::NotNow {
                obstacle: Obstacle::Busy,
            }) => Ok(too_busy_to_ask(&self.inner)),
            answer => answer,
        }
    }

    /// Visits these peers now: connects, reads back, pushes what is due, hangs up. Where `verify` is set it
    /// connects a second time where the newest backup was only sent, to see whether it comes back. The budget
    /// is in milliseconds.
    ///
    /// Throws `NotNow`, `Suspended`, `InvalidInput`.
    pub async fn sync_with_peers(
        &self,
        peers: Vec<WalletPeer>,
        verify: bool,
        budget_ms: u64,
    ) -> Outcome<SyncReport> {
        let peers = parse::peers("peers", peers)?;
        self.within(Lane::Long, budget_ms, move |inner, left| {
            let report = inner
                .lifecycle
                .sync_with_peers(&peers, Work { verify }, left)?;
            Ok(report.into())
        })
        .await
    }

    /// Everything was lost: reads back from these peers, and from those that their backups name, until no new
    /// one answers or the budget (in milliseconds) is over. Nothing is pushed, and nothing is decided: that is
    /// `finish_restore`. Calling it again asks those that were not heard, and only improves the result.
    ///
    /// Throws `NotAllowed` (`PastIsKnown`), `NotNow`, `Suspended`, `InvalidInput`.
    pub async fn restore(&self, peers: Vec<WalletPeer>, budget_ms: u64) -> Outcome<RestoreResult> {
        let peers = parse::peers("peers", peers)?;
        self.within(Lane::Long, budget_ms, move |inner, left| {
            Ok(inner.lifecycle.restore(&peers, left)?.into())
        })
        .await
    }

    /// Pushes what is due, and closes everything for good. Later calls throw `Closed`, as soon as this was
    /// called; calling this again is no error, and with a shorter budget ends it earlier. The budget is in
    /// milliseconds.
    pub async fn shutdown(&self, budget_ms: u64) -> Outcome<ShutdownReport> {
        let budget = millis(budget_ms);
        let ending = contained(|| {
            self.inner.is_shut_down.store(true, Ordering::SeqCst);
            Ok(self.inner.lifecycle.begin_shutdown(budget))
        })?;
        run_within(Lane::Leaving, budget, |_| Ok(ending.wait().into())).await
    }

    // ---- the past --------------------------------------------------------------------------

    /// The wallet is brand new: no backup of it exists anywhere. Until this, `adopt` or `finish_restore`
    /// nothing is pushed to anyone. Durable on return.
    ///
    /// Throws `NotAllowed` (`PastIsKnown`, `NotNew`), `Suspended`.
    pub async fn declare_new(&self) -> Outcome<()> {
        let work = |inner: &Arc<Inner>| inner.durably(|storage| storage.declare_new());
        self.on(Lane::Disk, work).await
    }

    /// The wallet is alive on this device, with channels, and only the data directory is new. After
    /// `report_wallet`. Durable on return. One that was made here and has no channel yet is declared new.
    ///
    /// Throws `NotAllowed` (`PastIsKnown`, `NoWallet`, `NothingToAdopt`), `Suspended`.
    pub async fn adopt(&self) -> Outcome<()> {
        let work = |inner: &Arc<Inner>| inner.durably(|storage| storage.adopt());
        self.on(Lane::Disk, work).await
    }

    /// What a restore would bring back so far, also after a restart of the app.
    pub async fn restore_report(&self) -> Outcome<RestoreReport> {
        let work = |inner: &Arc<Inner>| Ok(inner.storage()?.restore_report().into());
        self.on(Lane::Disk, work).await
    }

    /// Takes what was read back, when the person has seen it. What comes to light later is merged. Durable on
    /// return.
    ///
    /// Throws `NotAllowed` (`PastIsKnown`, `NothingRead`), `Suspended`.
    pub async fn finish_restore(&self) -> Outcome<RestoreReport> {
        let work = |inner: &Arc<Inner>| inner.durably(|storage| storage.finish_restore());
        Ok(self.on(Lane::Disk, work).await?.into())
    }

    // ---- the wallet ------------------------------------------------------------------------

    /// The outputs of a channel are swept and buried: it leaves the backup. Durable on return.
    pub async fn channel_swept(&self, channel: ChannelIds) -> Outcome<()> {
        let ids = channel.parsed("channel")?;
        self.on(Lane::Disk, move |inner| {
            inner.require_open()?;
            Ok(inner.lifecycle.channel_swept(ids)?)
        })
        .await
    }

    /// Data of the app's own to find again after a loss: `RestoreReport.app_data`. Peers that keep large
    /// backups keep it. Keep it small: it takes the room of channels' monitors. Durable on return, once the past is
    /// known; before, there is no backup that it could be in, and it is lost with the process: set it again after
    /// `declare_new`, `adopt` or `finish_restore`.
    pub async fn set_app_data(&self, data: Vec<u8>) -> Outcome<()> {
        parse::limit("data", data.len(), MOST_APP_DATA)?;
        self.on(Lane::Disk, move |inner| {
            inner.durably(|storage| {
                storage.set_app_data(data);
                Ok::<_, PeerStorageError>(())
            })
        })
        .await
    }

    // ---- what the app is told --------------------------------------------------------------

    /// How things stand; while nothing is open, as they stood last. From memory.
    pub fn status(&self) -> Outcome<StorageStatus> {
        contained(|| Ok(self.inner.lifecycle.status().into()))
    }

    /// The alarms that stand. From memory.
    pub fn alarms(&self) -> Outcome<Vec<StorageAlarm>> {
        Ok(self.status()?.alarms)
    }

    /// Carries out what the person decided about an alarm. Durable on return.
    ///
    /// Throws `NotAllowed` (`NoSuchAlarm`, `ProvedStale`), `Suspended`.
    pub async fn resolve_alarm(&self, id: u64, resolution: AlarmResolution) -> Outcome<()> {
        self.on(Lane::Disk, move |inner| {
            inner.durably(|storage| storage.resolve_alarm(AlarmId(id), resolution.into()))
        })
        .await
    }

    /// The oldest event that was not acknowledged; none: there is none. The same one is given until
    /// `event_handled`.
    ///
    /// Throws `Suspended`.
    pub async fn next_event(&self) -> Outcome<Option<EventRecord>> {
        self.on(Lane::Disk, |inner| {
            let next = inner.storage()?.next_event()?;
            Ok(next.map(|(id, event)| EventRecord {
                id: id.0,
                event: event.into(),
            }))
        })
        .await
    }

    /// The app has dealt with an event: it never comes again. Durable on return. No error where it was
    /// acknowledged before.
    pub async fn event_handled(&self, id: u64) -> Outcome<()> {
        self.on(Lane::Disk, move |inner| {
            Ok(inner.storage()?.event_handled(EventId(id))?)
        })
        .await
    }

    /// Tells a listener how things stand, now and after each change. Keep the subscription: when it is
    /// dropped, it ends.
    pub fn subscribe(
        &self,
        listener: Arc<dyn StorageListener>,
    ) -> Outcome<Arc<StorageSubscription>> {
        contained(|| {
            self.inner.require_open()?;
            Ok(StorageSubscription::new(&self.inner, listener))
        })
    }

    // ---- more ------------------------------------------------------------------------------

    /// Returns when the data directory is open. Where the app has just become visible that takes some
    /// milliseconds.
    ///
    /// Throws `Suspended`, and what an opening throws.
    pub async fn wait_until_open(&self) -> Outcome<()> {
        self.on(Lane::Disk, |inner| inner.storage().map(drop)).await
    }

    /// For a wallet whose node is not in Rust but whose messages can be hooked: see `MessageRelay`. A new one
    /// for each opening; the listener is called when steps wait.
    ///
    /// Throws `Suspended`, also while the directory is being opened: see `wait_until_open`.
    pub fn message_relay(&self, listener: Arc<dyn RelayListener>) -> Outcome<Arc<MessageRelay>> {
        contained(|| MessageRelay::new(&self.inner, listener))
    }
}

/// An alarm that is known needs no asking.
fn too_busy_to_ask(inner: &Inner) -> NodeStart {
    let mut alarms = inner.lifecycle.status().storage.backup.alarms;
    alarms.retain(|alarm| alarm.kind.holds());
    if alarms.is_empty() {
        let hindrance = Hindrance::Busy;
        let why = WhyUnknown::Hindered { hindrance };
        return NodeStart::Unknown { why };
    }
    lifecycle::NodeStart::DoNotStart { alarms }.into()
}

/// A payment is in flight, or expected. Release it when it is over; dropping it does the same.
#[derive(uniffi::Object)]
pub struct Hold(Mutex<Option<lifecycle::Hold>>);

#[uniffi::export]
impl Hold {
    /// The payment is over. Calling it again does nothing.
    pub fn release(&self) {
        quietly(|| drop(lock(&self.0).take()));
    }
}

/// Renames the database in a data directory that cannot be used (`Corrupt`, `NewerVersion`), so that `open`
/// begins anew there. Nothing is deleted. The new one does not know its past, and pushes nothing to anyone until
/// the app says what it is. Only for an explicit decision of the person: what was kept for peers is no longer
/// returned to them, and alarms and events are forgotten.
///
/// Returns the new path. Throws `InUse`, `Storage`.
#[uniffi::export]
pub async fn move_aside(data_dir: String) -> Outcome<String> {
    run(Lane::Disk, move || {
        let path: PathBuf = store::move_aside(data_dir.as_ref())?;
        Ok(path.to_string_lossy().into_owned())
    })
    .await
}

/// The version of this SDK.
#[uniffi::export]
pub fn sdk_version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}
