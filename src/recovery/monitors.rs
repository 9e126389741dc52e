//! What restored channel monitors bring: pending payments, and the penalty for a revoked state.
//!
//! LDK's `ChainMonitor` does the work, without a `ChannelManager`. It is made anew at each start from the
//! bytes of the backup and fed from the chain, so nothing of it needs to be kept.
//!
//! A restored monitor may be stale, and LDK publishes a monitor's own commitment by itself when an HTLC
//! runs out. Two guards stand against that, each sufficient (safety rule 9): the keys cannot sign it
//! (`signer`), and whatever LDK wants to publish goes through [`Monitors::may_be_published`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bitcoin::block::Header;
use bitcoin::{BlockHash, OutPoint, Script, Transaction, TxIn, Txid};
use lightning::chain::chaininterface::{BroadcasterInterface, ConfirmationTarget, FeeEstimator};
use lightning::chain::chainmonitor::{ChainMonitor, Persist};
use lightning::chain::channelmonitor::{Balance, ChannelMonitor, ChannelMonitorUpdate};
use lightning::chain::{ChannelMonitorUpdateStatus, Confirm, Filter, WatchedOutput};
use lightning::events::{Event, EventsProvider};
use lightning::ln::types::ChannelId;
use lightning::sign::{KeysManager, NodeSigner, SpendableOutputDescriptor};
use lightning::util::logger::{Logger, Record};
use lightning::util::persist::MonitorName;
use lightning::util::ser::ReadableArgs;

use super::chain::{ChainError, ChainSource, FoundTransaction, Tip};
use super::identity::Identity;
use super::journal::Terms;
use super::signer::{RecoveryKeys, RecoverySigner};
use super::sweep;
use crate::exchange::RestoredMonitor;
use crate::locks::lock;

/// After an HTLC has run out, its claim should be through within so many blocks, two weeks. Then a channel
/// is no longer kept open for it.
const HTLC_PATIENCE: u32 = 2016;

type Guarded = ChainMonitor<
    RecoverySigner,
    Arc<Watched>,
    Arc<Wishes>,
    Arc<Rate>,
    Arc<NoLog>,
    Arc<Nowhere>,
    Arc<KeysManager>,
>;

/// The restored monitors.
pub(super) struct Monitors {
    chain_monitor: Guarded,
    watched: Arc<Watched>,
    wishes: Arc<Wishes>,
    rate: Arc<Rate>,
    keys: Arc<KeysManager>,
    signer: RecoveryKeys,
    /// Funding outputs: nothing that spends one is ever published.
    funding: BTreeSet<OutPoint>,
    /// The states that were loaded, and those that could not be.
    loaded: BTreeMap<ChannelId, u64>,
    /// The last block that they were shown.
    tip: Mutex<Option<Tip>>,
    outdated: AtomicBool,
    /// What was published last, by its first input: what LDK makes of it later may be too dear.
    published: Mutex<BTreeMap<OutPoint, Transaction>>,
    /// What has become spendable.
    spendable: Mutex<Vec<(Option<ChannelId>, SpendableOutputDescriptor)>>,
}

impl Monitors {
    pub fn new(identity: &Identity) -> Self {
        let (watched, wishes, rate) = <(Arc<Watched>, Arc<Wishes>, Arc<Rate>)>::default();
        let keys = Arc::new(identity.keys());
        let chain_monitor = ChainMonitor::new(
            Some(watched.clone()),
            wishes.clone(),
            Arc::new(NoLog),
            rate.clone(),
            Arc::new(Nowhere),
            keys.clone(),
            keys.get_peer_storage_key(),
        );
        Monitors {
            chain_monitor,
            watched,
            wishes,
            rate,
            keys,
            signer: RecoveryKeys(identity.keys()),
            funding: BTreeSet::new(),
            loaded: BTreeMap::new(),
            tip: Mutex::default(),
            outdated: AtomicBool::new(false),
            published: Mutex::default(),
            spendable: Mutex::default(),
        }
    }

    /// Whether these are others than those that are loaded, or the chain that they were shown is no
    /// longer the chain. Then all have to be loaded anew: LDK takes each once, and what it was shown is
    /// safely taken back only as a whole.
    pub fn are_outdated(&self, restored: &[RestoredMonitor]) -> bool {
        let wanted: BTreeMap<_, _> = restored.iter().filter_map(id_and_state).collect();
        wanted != self.loaded || self.outdated.load(Ordering::SeqCst)
    }

    /// Loads monitors as the backup has them. What does not read is left out: its channel is swept
    /// without.
    pub fn load(&mut self, restored: &[RestoredMonitor]) {
        for monitor in restored {
            self.loaded.extend(id_and_state(monitor));
            if self.load_one(&monitor.bytes).is_none() {
                log::warn!("recovery: a monitor of the backup does not read");
            }
        }
    }

    fn load_one(&mut self, bytes: &[u8]) -> Option<()> {
        let mut reader = bytes;
        let args = (&*self.keys, &self.signer);
        let read = <(BlockHash, ChannelMonitor<RecoverySigner>)>::read(&mut reader, args);
        let (_, monitor) = read.ok()?;
        let funding = monitor.get_funding_txo().into_bitcoin_outpoint();
        self.funding.insert(funding);
        let channel = monitor.channel_id();
        self.chain_monitor
            .load_existing_monitor(channel, monitor)
            .ok()
            .map(|_| ())
    }

    pub fn is_empty(&self) -> bool {
        self.chain_monitor.list_monitors().is_empty()
    }

    /// What a channel claims by the state of its monitor, in sat. An estimate, and only as long as the
    /// channel is open.
    pub fn estimate_sat(&self, channel: &ChannelId) -> Option<u64> {
        let monitor = self.chain_monitor.get_monitor(*channel).ok()?;
        let balances = monitor.get_claimable_balances();
        Some(
            balances
                .iter()
                .map(Balance::claimable_amount_satoshis)
                .sum(),
        )
    }

    /// Whether a closed channel may still bring something by an HTLC or a penalty.
    pub fn waits_for(&self, channel: &ChannelId, tip: &Tip) -> bool {
        let Ok(monitor) = self.chain_monitor.get_monitor(*channel) else {
            return false;
        };
        let last_height = |balance: &Balance| match balance {
            Balance::ContentiousClaimable { timeout_height, .. } => Some(*timeout_height),
            Balance::MaybeTimeoutClaimableHTLC {
                claimable_height, ..
            } => Some(*claimable_height),
            Balance::ClaimableAwaitingConfirmations {
                confirmation_height,
                ..
            } => Some(*confirmation_height),
            Balance::CounterpartyRevokedOutputClaimable { .. } => Some(tip.height),
            // It has not been shown the close yet.
            Balance::ClaimableOnChannelClose { .. } => Some(tip.height),
            _ => None,
        };
        let balances = monitor.get_claimable_balances();
        let mut heights = balances.iter().filter_map(last_height);
        heights.any(|height| tip.height < height.saturating_add(HTLC_PATIENCE))
    }

    /// A funding output that a channel is known to have or to have had.
    pub fn guard(&mut self, funding: OutPoint) {
        self.funding.insert(funding);
    }

    /// What has become spendable so far, and of which channel.
    pub fn spendable(&self) -> Vec<(Option<ChannelId>, SpendableOutputDescriptor)> {
        lock(&self.spendable).clone()
    }

    /// Shows the monitors what the chain has come to, and publishes what they want, as far as it may be.
    pub fn follow(
        &self,
        chain: &dyn ChainSource,
        tip: &Tip,
        terms: &Terms,
    ) -> Result<(), ChainError> {
        *lock(&self.rate.0) = terms.fee_rate;
        let has_left = self.what_has_left(chain)?;
        if lock(&self.tip).is_none() {
            // Of the blocks that the lost device had seen.
            for txid in has_left.transactions {
                self.chain_monitor.transaction_unconfirmed(&txid);
            }
        } else if has_left.tip || !has_left.transactions.is_empty() {
            self.outdated.store(true, Ordering::SeqCst);
            return Ok(());
        }
        let header = chain.header_at(tip.height)?;
        let Some(header) = header.filter(|header| header.block_hash() == tip.hash) else {
            return Ok(());
        };
        self.show_what_is_confirmed(chain)?;
        self.chain_monitor.best_block_updated(&header, tip.height);
        *lock(&self.tip) = Some(*tip);
        self.chain_monitor.process_pending_events(&|event| {
            match event {
                Event::SpendableOutputs {
                    outputs,
                    channel_id,
                } => {
                    let mut spendable = lock(&self.spendable);
                    for output in outputs {
                        let output = (channel_id, output);
                        if !spendable.contains(&output) {
                            spendable.push(output);
                        }
                    }
                }
                // Safety rule 9: a close of our own is never helped on its way. HTLCs of a commitment of
                // ours that somebody else has published would need coins of a wallet.
                Event::BumpTransaction(_) => {}
                _ => {}
            }
            Ok(())
        });
        self.chain_monitor.rebroadcast_pending_claims();
        for tx in std::mem::take(&mut *lock(&self.wishes.0)) {
            self.publish(chain, tx, terms)?;
        }
        Ok(())
    }

    fn publish(
        &self,
        chain: &dyn ChainSource,
        tx: Transaction,
        terms: &Terms,
    ) -> Result<(), ChainError> {
        let Some(input_sat) = self.may_be_published(chain, &tx)? else {
            log::debug!("recovery: a transaction of a monitor is not published");
            return Ok(());
        };
        let Some(first) = tx.input.first().map(|input| input.previous_output) else {
            return Ok(());
        };
        let wanted = match sweep::is_within(&tx, input_sat, terms.highest_fee_rate) {
            true => Some(tx),
            // LDK raises by its own rule, as far as half of what is claimed. What the person allows is the
            // end of it: what was within goes out again, should it have left the mempool.
            false => lock(&self.published).get(&first).cloned(),
        };
        let Some(wanted) = wanted else {
            return Ok(());
        };
        match chain.broadcast(&wanted) {
            Ok(()) => {
                lock(&self.published).insert(first, wanted);
                Ok(())
            }
            // LDK makes claims anew each block, and others spend outputs too.
            Err(ChainError::Rejected { reason }) => {
                log::debug!("recovery: a claim was refused: {reason}");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The second guard of safety rule 9: nothing that spends a funding output, and nothing whose
    /// parents are not in the chain. What its inputs are worth, in sat; none: it must not be published.
    fn may_be_published(
        &self,
        chain: &dyn ChainSource,
        tx: &Transaction,
    ) -> Result<Option<u64>, ChainError> {
        let mut sat = 0u64;
        for input in &tx.input {
            let parent = input.previous_output;
            // Also one that a splice has made and nobody here has heard of.
            if self.funding.contains(&parent) || spends_two_of_two(input) {
                return Ok(None);
            }
            let found = chain.transaction(&parent.txid)?;
            let Some(found) = found.filter(|found| found.place.is_some()) else {
                return Ok(None);
            };
            let Some(output) = found.tx.output.get(parent.vout as usize) else {
                return Ok(None);
            };
            sat = sat.saturating_add(output.value.to_sat());
        }
        Ok(Some(sat))
    }

    /// What of all that they have seen is no longer in the chain.
    fn what_has_left(&self, chain: &dyn ChainSource) -> Result<HasLeft, ChainError> {
        let mut has_left = HasLeft::default();
        let shown = *lock(&self.tip);
        if let Some(shown) = shown {
            let header = chain.header_at(shown.height)?;
            has_left.tip = header.is_none_or(|header| header.block_hash() != shown.hash);
        }
        for (txid, height, block) in self.chain_monitor.get_relevant_txids() {
            let place = chain.transaction(&txid)?.and_then(|found| found.place);
            let stands = place.is_some_and(|place| {
                place.height == height && block.is_none_or(|block| block == place.block)
            });
            if !stands {
                has_left.transactions.push(txid);
            }
        }
        Ok(has_left)
    }

    /// What is shown leads to further outputs to watch, until nothing is new.
    fn show_what_is_confirmed(&self, chain: &dyn ChainSource) -> Result<(), ChainError> {
        loop {
            let mut found: BTreeMap<(u32, u32), FoundTransaction> = BTreeMap::new();
            let outputs = lock(&self.watched.outputs).clone();
            let transactions = lock(&self.watched.transactions).clone();
            for spend in outputs.iter().map(|output| chain.spend_of(output)) {
                add(&mut found, spend?);
            }
            for tx in transactions.iter().map(|txid| chain.transaction(txid)) {
                add(&mut found, tx?);
            }
            found.retain(|_, found| !lock(&self.watched.shown).contains(&found.tx.compute_txid()));
            if found.is_empty() {
                return Ok(());
            }
            for ((height, index), FoundTransaction { tx, place }) in found {
                let header = chain.header_at(height)?;
                let block = header.map(|header| header.block_hash());
                let (Some(header), true) = (header, block == place.map(|place| place.block)) else {
                    // A block has been replaced meanwhile; the next round sees the new one.
                    return Ok(());
                };
                if self.knows_it_elsewhere(&tx.compute_txid(), &header) {
                    // So has the one that they know it in. LDK takes it for a bug, and panics.
                    self.outdated.store(true, Ordering::SeqCst);
                    return Ok(());
                }
                lock(&self.watched.shown).insert(tx.compute_txid());
                let transactions = [(index as usize, &tx)];
                self.chain_monitor
                    .transactions_confirmed(&header, &transactions, height);
            }
        }
    }

    /// Whether they believe a transaction to be in another block.
    fn knows_it_elsewhere(&self, txid: &Txid, header: &Header) -> bool {
        let known = self.chain_monitor.get_relevant_txids().into_iter();
        let mut blocks = known
            .filter(|(known, _, _)| known == txid)
            .map(|(_, _, b)| b);
        blocks.any(|block| block.is_some_and(|block| block != header.block_hash()))
    }
}

fn id_and_state(monitor: &RestoredMonitor) -> Option<(ChannelId, u64)> {
    let id = monitor.channel.derived_channel_id()?;
    Some((id, monitor.update_id))
}

/// Funding outputs are two-of-two (BOLT #3): `2 <key> <key> 2 OP_CHECKMULTISIG`.
fn spends_two_of_two(input: &TxIn) -> bool {
    let script = input.witness.last().unwrap_or_default();
    matches!(script, [0x52, .., 0x52, 0xae]) && script.len() == 71
}

fn add(found: &mut BTreeMap<(u32, u32), FoundTransaction>, transaction: Option<FoundTransaction>) {
    if let Some(transaction) = transaction {
        if let Some(place) = transaction.place {
            found.insert((place.height, place.index), transaction);
        }
    }
}

/// What has left the chain.
#[derive(Default)]
struct HasLeft {
    tip: bool,
    transactions: Vec<Txid>,
}

/// What the monitors want to know of.
#[derive(Default)]
struct Watched {
    outputs: Mutex<BTreeSet<OutPoint>>,
    transactions: Mutex<BTreeSet<Txid>>,
    /// What they have been shown.
    shown: Mutex<BTreeSet<Txid>>,
}

impl Filter for Watched {
    fn register_tx(&self, txid: &Txid, _script: &Script) {
        lock(&self.transactions).insert(*txid);
    }

    fn register_output(&self, output: WatchedOutput) {
        lock(&self.outputs).insert(output.outpoint.into_bitcoin_outpoint());
    }
}

/// What the monitors want to publish. LDK calls with its locks held, so it is only noted.
#[derive(Default)]
struct Wishes(Mutex<Vec<Transaction>>);

impl BroadcasterInterface for Wishes {
    fn broadcast_transactions(&self, txs: &[&Transaction]) {
        lock(&self.0).extend(txs.iter().map(|tx| (*tx).clone()));
    }
}

/// What claims pay at first, in sat per 1000 weight units: as the person said. LDK raises it by its own
/// rule; see `publish` for where that ends.
#[derive(Default)]
struct Rate(Mutex<u64>);

impl FeeEstimator for Rate {
    fn get_est_sat_per_1000_weight(&self, _target: ConfirmationTarget) -> u32 {
        // LDK's own floor (BOLT #3).
        u32::try_from(*lock(&self.0)).unwrap_or(u32::MAX).max(253)
    }
}

/// Monitors are made from the backup at each start.
struct Nowhere;

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

/// LDK's log names channels and transactions: it goes nowhere (safety rule 13).
struct NoLog;

impl Logger for NoLog {
    fn log(&self, _: Record) {}
}
