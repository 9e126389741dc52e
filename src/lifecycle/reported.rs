//! What the host has told of its wallet: kept in memory, also while nothing is open.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bitcoin::secp256k1::PublicKey;
use lightning::sign::SpendableOutputDescriptor;

use super::shared::OpenStorage;
use crate::backup::{ChannelPhase, ChannelRecord, MonitorRecord, PeerRecord};
use crate::exchange::WalletState;
use crate::locks::lock;
use crate::service::{PeerStorage, WalletSource};

/// The wallet as the host sees it now. Every report is complete: **a ready channel that is missing is
/// taken for lost state, which is an alarm that holds everything**. Report it as closing until its
/// outputs are swept, then call [`channel_swept`](super::Lifecycle::channel_swept).
///
/// All of it has to be durable in the wallet's own database already.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct WalletReport {
    /// All channels from funding until their outputs are swept and buried.
    pub channels: Vec<ChannelRecord>,
    /// The peers of those channels, and others that the wallet wants to find again.
    pub peers: Vec<PeerRecord>,
    /// Of these, who keeps a backup without having a channel.
    pub keep_backups_at: BTreeSet<PublicKey>,
    /// Outputs on the chain that are ours and not yet swept.
    pub spendable_outputs: Vec<SpendableOutputDescriptor>,
    /// The height at which the first pending HTLC expires, in blocks.
    pub earliest_htlc_expiry: Option<u32>,
    /// The monitors of the channels, where the host can read them (see `docs/ldk-node.md`). None need
    /// be given.
    pub monitors: Vec<MonitorRecord>,
}

// Whom a wallet has channels with is private.
impl std::fmt::Debug for WalletReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WalletReport")
            .field("channels", &self.channels)
            .field("peers", &self.peers.len())
            .field("spendable_outputs", &self.spendable_outputs.len())
            .field("earliest_htlc_expiry", &self.earliest_htlc_expiry)
            .field("monitors", &self.monitors.len())
            .finish_non_exhaustive()
    }
}

/// What was reported last.
#[derive(Default)]
pub(super) struct Reported {
    wallet: Mutex<Option<Arc<WalletReport>>>,
    height: Mutex<Option<u32>>,
    /// Held while a report is kept and applied, so that they are applied in their order.
    applying: Mutex<()>,
}

impl Reported {
    pub fn is_known(&self) -> bool {
        lock(&self.wallet).is_some()
    }

    /// A ready channel has no state stamp: how old its state is cannot be compared.
    pub fn lacks_state_stamps(&self) -> bool {
        let wallet = lock(&self.wallet).clone();
        let mut channels = wallet.iter().flat_map(|wallet| &wallet.channels);
        channels.any(|c| c.phase == ChannelPhase::Ready && c.update_id == 0)
    }

    pub fn peers(&self) -> Vec<PeerRecord> {
        let wallet = lock(&self.wallet).clone();
        wallet.map(|w| w.peers.clone()).unwrap_or_default()
    }

    /// Keeps a report, and gives it to the storage if one is open.
    pub fn wallet(
        self: &Arc<Self>,
        report: WalletReport,
        open: impl FnOnce() -> Option<OpenStorage>,
    ) {
        let _in_order = lock(&self.applying);
        let is_first = lock(&self.wallet).replace(Arc::new(report)).is_none();
        match open() {
            Some(storage) if is_first => self.give_wallet(&storage),
            Some(storage) => self.renew_wallet(&storage),
            None => {}
        }
    }

    pub fn height(&self, height: u32, open: impl FnOnce() -> Option<OpenStorage>) {
        let _in_order = lock(&self.applying);
        *lock(&self.height) = Some(height);
        if let Some(storage) = open() {
            storage.height_changed(height);
        }
    }

    /// Gives everything to a storage that was just opened, and has `publish` open it to others before
    /// any further report is taken. Before the first report nothing is attached: a list that is not there yet is not
    /// an empty list.
    pub fn give_all<R>(self: &Arc<Self>, storage: &PeerStorage, publish: impl FnOnce() -> R) -> R {
        let _in_order = lock(&self.applying);
        let height = *lock(&self.height);
        if let Some(height) = height {
            storage.height_changed(height);
        }
        if self.is_known() {
            self.give_wallet(storage);
        }
        publish()
    }

    fn give_wallet(self: &Arc<Self>, storage: &PeerStorage) {
        self.list_peers(storage);
        storage.attach(Arc::new(Source(self.clone())));
        self.note_written(storage);
    }

    fn renew_wallet(&self, storage: &PeerStorage) {
        self.list_peers(storage);
        self.note_written(storage);
        storage.wallet_changed();
    }

    fn list_peers(&self, storage: &PeerStorage) {
        let wallet = lock(&self.wallet).clone();
        storage.list_peers(
            wallet
                .map(|w| w.keep_backups_at.clone())
                .unwrap_or_default(),
        );
    }

    /// What is reported is durable in the wallet's database.
    fn note_written(&self, storage: &PeerStorage) {
        let wallet = lock(&self.wallet).clone();
        for channel in wallet.iter().flat_map(|w| &w.channels) {
            if let Some(id) = channel.ids.channel_id {
                storage.monitor_written(id, channel.update_id);
            }
        }
    }
}

/// The wallet's live state is what was reported last.
struct Source(Arc<Reported>);

impl WalletSource for Source {
    fn wallet_state(&self) -> WalletState {
        let wallet = lock(&self.0.wallet).clone();
        let Some(wallet) = wallet else {
            return WalletState::default();
        };
        WalletState {
            channels: wallet.channels.clone(),
            peers: wallet.peers.clone(),
            spendable_outputs: wallet.spendable_outputs.clone(),
            earliest_htlc_expiry: wallet.earliest_htlc_expiry,
        }
    }

    fn monitors(&self) -> Vec<MonitorRecord> {
        let wallet = lock(&self.0.wallet).clone();
        wallet.map(|w| w.monitors.clone()).unwrap_or_default()
    }
}
