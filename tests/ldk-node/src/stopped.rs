//! What a stopped ldk-node tells of its channels.
//!
//! `Node::list_channels` and `Node::list_peers` still answer when the node is stopped, and what they say
//! is then final: before, connected peers are listed at the address that they happened to connect from.
//! The lists lack what only the channel monitors tell: the state stamp, the channel's type, and where its
//! keys come from. The monitors stand in the key-value store that the node was built with.

use std::io;
use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use bitcoin::Transaction;
use ldk_node::{ChannelDetails, DynStore, Node, PeerDetails};
use ldk_peer_storage::backup::{ChannelKind, PeerRecord};
use ldk_peer_storage::exchange::WalletState;
use ldk_peer_storage::ldk::{LdkWallet, ListedChannel};
use ldk_peer_storage::service::WalletSource;
use lightning::chain::chaininterface::{BroadcasterInterface, ConfirmationTarget, FeeEstimator};
use lightning::sign::KeysManager;
use lightning::util::logger::{Logger, Record};
use lightning::util::persist::MonitorUpdatingPersister;

/// A monitor is written anew after so many updates. For reading it does not matter.
const MOST_UPDATES: u64 = 100;

/// The wallet of a node that does not run. `keys` are the node's own (`Identity::keys`), `store` is what it
/// was built with.
///
/// # Errors
/// The store cannot be read.
pub fn wallet(
    node: &Node,
    store: &Arc<DynStore>,
    keys: &Arc<KeysManager>,
) -> io::Result<LdkWallet> {
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
    let monitors = persister.read_all_channel_monitors_with_updates()?;
    let channels = node.list_channels().iter().map(listed).collect();
    let peers = node.list_peers();
    let addresses = move |peer: &PublicKey| {
        let of_peer = peers.iter().filter(|listed| listed.node_id == *peer);
        of_peer.map(|listed| listed.address.clone()).collect()
    };
    // ldk-node sweeps to its own on-chain wallet, and does not tell what waits for that.
    Ok(LdkWallet::stopped(
        monitors,
        channels,
        keys.clone(),
        addresses,
    ))
}

/// The same for an app that does not get at the store: enough to bring the balances back if ldk-node 0.7 or
/// later has opened all channels. A channel that closes has to be told of in another way: here it would be
/// missing, and that is an alarm.
pub struct Lists {
    channels: Vec<ChannelDetails>,
    peers: Vec<PeerDetails>,
}

impl Lists {
    /// Of a node that does not run.
    pub fn of(node: &Node) -> Lists {
        Lists {
            channels: node.list_channels(),
            peers: node.list_peers(),
        }
    }
}

impl WalletSource for Lists {
    fn wallet_state(&self) -> WalletState {
        // The kind is unknown. A recovery looks for both of those that ldk-node has.
        let record = |details: &ChannelDetails| listed(details).record(ChannelKind::Anchors);
        let peer = |peer: &PeerDetails| PeerRecord {
            node_id: peer.node_id,
            addresses: vec![peer.address.clone()],
        };
        WalletState {
            channels: self.channels.iter().filter_map(record).collect(),
            peers: self.peers.iter().map(peer).collect(),
            ..WalletState::default()
        }
    }
}

/// ldk-node does not tell of a close in agreement that has begun, nor of payments in flight.
fn listed(details: &ChannelDetails) -> ListedChannel {
    ListedChannel {
        channel_id: details.channel_id,
        counterparty: details.counterparty_node_id,
        funding_outpoint: details.funding_txo,
        short_channel_id: details.short_channel_id,
        confirmations: details.confirmations,
        is_ready: details.is_channel_ready,
        shutdown: None,
        value_sat: details.channel_value_sats,
        htlc_expiries: None,
        funding_redeem_script: None,
    }
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
