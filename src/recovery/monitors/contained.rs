//! One restored monitor inside LDK, which may panic there without harm to anything else.
//!
//! LDK asserts that what it is shown can be so, and holds its locks while it does. A panic leaves that one
//! monitor unusable: it is thrown away, and made anew from the backup. What the panic says goes to the
//! app's panic hook, as LDK's panics do, and no further. An app that is built to abort at a panic has
//! nothing of this.

use std::collections::BTreeSet;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex};

use bitcoin::{BlockHash, OutPoint, Script, Transaction, Txid};
use lightning::chain::chaininterface::{BroadcasterInterface, ConfirmationTarget, FeeEstimator};
use lightning::chain::chainmonitor::{ChainMonitor, Persist};
use lightning::chain::channelmonitor::{Balance, ChannelMonitor, ChannelMonitorUpdate};
use lightning::chain::{ChannelMonitorUpdateStatus, Filter, WatchedOutput};
use lightning::ln::types::ChannelId;
use lightning::sign::{KeysManager, NodeSigner};
use lightning::util::persist::MonitorName;
use lightning::util::ser::ReadableArgs;

use crate::ldk::NoLog;
use crate::locks::lock;
use crate::recovery::signer::{RecoveryKeys, RecoverySigner};

/// LDK's object, with a single monitor in it.
pub(super) type Guarded = ChainMonitor<
    RecoverySigner,
    Arc<Watched>,
    Arc<Wishes>,
    Arc<Rate>,
    Arc<NoLog>,
    Arc<Nowhere>,
    Arc<KeysManager>,
>;

/// One monitor.
pub(super) struct Contained {
    /// None: LDK has panicked in it.
    chain_monitor: Option<Guarded>,
    channel: ChannelId,
    funding: OutPoint,
    watched: Arc<Watched>,
    wishes: Arc<Wishes>,
    rate: Arc<Rate>,
}

impl Contained {
    /// None: it does not read.
    pub fn load(bytes: &[u8], keys: &Arc<KeysManager>, signer: &RecoveryKeys) -> Option<Contained> {
        contain(|| Contained::try_load(bytes, keys, signer)).flatten()
    }

    fn try_load(bytes: &[u8], keys: &Arc<KeysManager>, signer: &RecoveryKeys) -> Option<Contained> {
        let mut reader = bytes;
        let args = (&**keys, signer);
        let read = <(BlockHash, ChannelMonitor<RecoverySigner>)>::read(&mut reader, args);
        let (_, monitor) = read.ok()?;
        let (channel, funding) = (monitor.channel_id(), monitor.get_funding_txo());
        let (watched, wishes, rate) = <(Arc<Watched>, Arc<Wishes>, Arc<Rate>)>::default();
        let chain_monitor = ChainMonitor::new(
            Some(watched.clone()),
            wishes.clone(),
            Arc::new(NoLog),
            rate.clone(),
            Arc::new(Nowhere),
            keys.clone(),
            keys.get_peer_storage_key(),
        );
        chain_monitor.load_existing_monitor(channel, monitor).ok()?;
        Some(Contained {
            chain_monitor: Some(chain_monitor),
            channel,
            funding: funding.into_bitcoin_outpoint(),
            watched,
            wishes,
            rate,
        })
    }

    pub fn channel_id(&self) -> ChannelId {
        self.channel
    }

    pub fn funding(&self) -> OutPoint {
        self.funding
    }

    pub fn is_broken(&self) -> bool {
        self.chain_monitor.is_none()
    }

    /// Calls LDK. None: it has panicked, now or before.
    pub fn call<T>(&mut self, f: impl FnOnce(&Guarded) -> T) -> Option<T> {
        let answer = self.ask(f);
        if answer.is_none() {
            let broken = self.chain_monitor.take();
            contain(|| drop(broken));
        }
        answer
    }

    fn ask<T>(&self, f: impl FnOnce(&Guarded) -> T) -> Option<T> {
        let chain_monitor = self.chain_monitor.as_ref()?;
        contain(|| f(chain_monitor))
    }

    /// What it claims. None: LDK has panicked.
    pub fn balances(&self) -> Option<Vec<Balance>> {
        let balances = |chain_monitor: &Guarded| {
            let monitor = chain_monitor.get_monitor(self.channel).ok()?;
            Some(monitor.get_claimable_balances())
        };
        self.ask(balances).flatten()
    }

    /// The outputs and transactions that it wants to know of.
    pub fn watches(&self) -> (BTreeSet<OutPoint>, BTreeSet<Txid>) {
        let watched = &self.watched;
        let outputs = lock(&watched.outputs).clone();
        (outputs, lock(&watched.transactions).clone())
    }

    /// What it wants to publish, and has not been taken yet.
    pub fn take_wishes(&self) -> Vec<Transaction> {
        std::mem::take(&mut *lock(&self.wishes.0))
    }

    /// What claims pay at first, in sat per 1000 weight units.
    pub fn set_rate(&self, rate: u64) {
        *lock(&self.rate.0) = rate;
    }
}

/// None: it has panicked. Nothing that it has touched is used any more, but for what is behind locks of
/// our own, and these are never held across a panic.
fn contain<T>(f: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(f)).ok()
}

/// What a monitor wants to know of.
#[derive(Default)]
pub(super) struct Watched {
    outputs: Mutex<BTreeSet<OutPoint>>,
    transactions: Mutex<BTreeSet<Txid>>,
}

impl Filter for Watched {
    fn register_tx(&self, txid: &Txid, _script: &Script) {
        lock(&self.transactions).insert(*txid);
    }

    fn register_output(&self, output: WatchedOutput) {
        lock(&self.outputs).insert(output.outpoint.into_bitcoin_outpoint());
    }
}

/// What a monitor wants to publish. LDK calls with its locks held, so it is only noted.
#[derive(Default)]
pub(super) struct Wishes(Mutex<Vec<Transaction>>);

impl BroadcasterInterface for Wishes {
    fn broadcast_transactions(&self, txs: &[&Transaction]) {
        lock(&self.0).extend(txs.iter().map(|tx| (*tx).clone()));
    }
}

/// What claims pay at first, as the person said. LDK raises it by its own rule; see `publish` for where
/// that ends.
#[derive(Default)]
pub(super) struct Rate(Mutex<u64>);

impl FeeEstimator for Rate {
    fn get_est_sat_per_1000_weight(&self, _target: ConfirmationTarget) -> u32 {
        // LDK's own floor (BOLT #3).
        u32::try_from(*lock(&self.0)).unwrap_or(u32::MAX).max(253)
    }
}

/// Monitors are made from the backup at each start.
pub(super) struct Nowhere;

impl Persist<RecoverySigner> for Nowhere {
    fn persist_new_channel(
        &self,
        _: MonitorName,
        _: &ChannelMonitor<RecoverySigner>,
    ) -> ChannelMonitorUpdateStatus {
        ChannelMonitorUpdateStatus::Completed
    }

    fn update_persisted_channel(
        &self,
        _: MonitorName,
        _: Option<&ChannelMonitorUpdate>,
        _: &ChannelMonitor<RecoverySigner>,
    ) -> ChannelMonitorUpdateStatus {
        ChannelMonitorUpdateStatus::Completed
    }

    fn archive_persisted_channel(&self, _: MonitorName) {}
}
