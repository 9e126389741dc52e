//! What a stopped ldk-node tells of its channels.
//!
//! `Node::list_channels` and `Node::list_peers` still answer when the node is stopped, and what they say
//! is then final. They lack two things that a backup wants: the state stamp and the channel's type.
//! Both are in the channel monitors, which stand in the key-value store that the node was built with.

use std::sync::Arc;

use bitcoin::{ScriptBuf, Transaction};
use ldk_node::{ChannelDetails, DynStore, PeerDetails};
use ldk_peer_storage::backup::{
    ChannelIds, ChannelKind, ChannelPhase, ChannelRecord, MonitorRecord, PeerRecord,
};
use ldk_peer_storage::exchange::WalletState;
use ldk_peer_storage::ldk::Monitor;
use ldk_peer_storage::service::WalletSource;
use lightning::chain::chaininterface::{BroadcasterInterface, ConfirmationTarget, FeeEstimator};
use lightning::chain::channelmonitor::{ChannelMonitor, ANTI_REORG_DELAY};
use lightning::sign::{InMemorySigner, KeysManager};
use lightning::util::logger::{Logger, Record};
use lightning::util::persist::MonitorUpdatingPersister;

/// Of which the node writes no more than this many before it writes the whole monitor again. For
/// reading it does not matter.
const MOST_UPDATES: u64 = 100;

/// A node that does not run: its channels, its peers, its monitors.
pub struct Stopped {
    /// All channels that are not closed.
    pub channels: Vec<ChannelDetails>,
    /// The peers that the node reconnects to. Asked before the stop, the list would hold connected peers
    /// at the address that they happened to connect from.
    pub peers: Vec<PeerDetails>,
    /// All monitors that are not archived; none: the app does not get at the store.
    pub monitors: Option<Vec<ChannelMonitor<InMemorySigner>>>,
}

impl Stopped {
    /// Without what the lists lack. It is enough to bring the balances back. A channel that closes has to
    /// be told of in another way: here it would be missing, and that is an alarm.
    pub fn by_lists(channels: Vec<ChannelDetails>, peers: Vec<PeerDetails>) -> Stopped {
        Stopped {
            channels,
            peers,
            monitors: None,
        }
    }

    /// `keys` are the node's own (`Identity::keys`), `store` is what it was built with.
    pub fn new(
        channels: Vec<ChannelDetails>,
        peers: Vec<PeerDetails>,
        store: &Arc<DynStore>,
        keys: &Arc<KeysManager>,
    ) -> Stopped {
        let persister = MonitorUpdatingPersister::new(
            Arc::clone(store),
            Arc::new(Silent),
            MOST_UPDATES,
            Arc::clone(keys),
            Arc::clone(keys),
            // To read a monitor is to replay its updates, and one of them may say "publish".
            Arc::new(Silent),
            Arc::new(Silent),
        );
        let monitors = persister.read_all_channel_monitors_with_updates();
        let monitors = monitors.expect("a stopped node's monitors can be read");
        Stopped {
            channels,
            peers,
            monitors: Some(monitors.into_iter().map(|(_, monitor)| monitor).collect()),
        }
    }

    /// A channel whose monitor is known: it stays until that is archived.
    fn by_monitor(&self, monitor: &ChannelMonitor<InMemorySigner>) -> ChannelRecord {
        let id = monitor.channel_id();
        let details = self.channels.iter().find(|c| c.channel_id == id);
        ChannelRecord {
            counterparty: monitor.get_counterparty_node_id(),
            ids: ChannelIds {
                short_channel_id: details.and_then(buried_short_channel_id),
                funding_outpoint: Some(monitor.get_funding_txo().into_bitcoin_outpoint()),
                channel_id: Some(id),
            },
            update_id: monitor.get_latest_update_id(),
            phase: details.map_or(ChannelPhase::Closing, phase),
            restored: false,
            kind: kind(monitor),
            // ldk-node derives keys in the second way since 0.7: the seed alone gives them.
            channel_keys_id: None,
            value_sat: details.map(|details| details.channel_value_sats),
        }
    }
}

/// A channel as it is listed. None: it is not funded yet.
fn listed(details: &ChannelDetails) -> Option<ChannelRecord> {
    Some(ChannelRecord {
        counterparty: details.counterparty_node_id,
        ids: ChannelIds {
            short_channel_id: buried_short_channel_id(details),
            funding_outpoint: Some(details.funding_txo?),
            channel_id: Some(details.channel_id),
        },
        // Unknown: an old state of this device goes unnoticed.
        update_id: 0,
        phase: phase(details),
        restored: false,
        // Unknown. A recovery looks for both of the kinds that ldk-node has.
        kind: ChannelKind::Anchors,
        channel_keys_id: None,
        value_sat: Some(details.channel_value_sats),
    })
}

impl WalletSource for Stopped {
    fn wallet_state(&self) -> WalletState {
        let expiries = self.monitors.iter().flatten();
        let expiries = expiries.flat_map(Monitor::htlc_expiries);
        WalletState {
            channels: match &self.monitors {
                Some(monitors) => monitors.iter().map(|m| self.by_monitor(m)).collect(),
                None => self.channels.iter().filter_map(listed).collect(),
            },
            peers: self.peers.iter().map(peer_record).collect(),
            // ldk-node sweeps to its own on-chain wallet, and does not tell what waits for that.
            spendable_outputs: Vec::new(),
            earliest_htlc_expiry: expiries.min(),
        }
    }

    fn monitors(&self) -> Vec<MonitorRecord> {
        let record = |monitor: &ChannelMonitor<InMemorySigner>| MonitorRecord {
            channel: monitor.channel_id(),
            update_id: monitor.get_latest_update_id(),
            pending_htlcs: !monitor.htlc_expiries().is_empty(),
            bytes: Arc::new(monitor.encoded().into()),
        };
        self.monitors.iter().flatten().map(record).collect()
    }
}

/// Until a reorganisation can no longer change it, the funding output is the better name.
fn buried_short_channel_id(details: &ChannelDetails) -> Option<u64> {
    let buried = details.confirmations? >= ANTI_REORG_DELAY;
    details.short_channel_id.filter(|_| buried)
}

fn phase(details: &ChannelDetails) -> ChannelPhase {
    match details.is_channel_ready {
        true => ChannelPhase::Ready,
        false => ChannelPhase::Opening,
    }
}

fn peer_record(peer: &PeerDetails) -> PeerRecord {
    PeerRecord {
        node_id: peer.node_id,
        addresses: vec![peer.address.clone()],
    }
}

fn kind(monitor: &ChannelMonitor<InMemorySigner>) -> ChannelKind {
    let channel_type = monitor.channel_type_features();
    if channel_type.supports_anchors_zero_fee_htlc_tx() {
        ChannelKind::Anchors
    } else if channel_type.supports_static_remote_key() {
        ChannelKind::StaticRemoteKey
    } else {
        ChannelKind::Other
    }
}

/// Whether the key of our output on the peer's commitment is one that the seed alone gives.
pub fn has_v2_keys(monitor: &ChannelMonitor<InMemorySigner>, scripts: &[ScriptBuf]) -> bool {
    let outputs = scripts.iter().map(|script| bitcoin::TxOut {
        value: bitcoin::Amount::ZERO,
        script_pubkey: script.clone(),
    });
    let never_made = Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: Vec::new(),
        output: outputs.collect(),
    };
    monitor.get_spendable_outputs(&never_made, 0).len() == 1
}

/// Hears nothing, publishes nothing.
struct Silent;

impl Logger for Silent {
    fn log(&self, _record: Record) {}
}

impl BroadcasterInterface for Silent {
    fn broadcast_transactions(&self, _txs: &[&Transaction]) {}
}

impl FeeEstimator for Silent {
    fn get_est_sat_per_1000_weight(&self, _target: ConfirmationTarget) -> u32 {
        253
    }
}
