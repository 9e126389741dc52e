//! What the backup is told of a live node.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use bitcoin::secp256k1::{PublicKey, Secp256k1};
use bitcoin::{BlockHash, ScriptBuf, Txid};
use ldk_peer_storage::backup::{ChannelKind, ChannelPhase, ChannelRecord, MonitorRecord};
use ldk_peer_storage::exchange::WalletState;
use ldk_peer_storage::ldk::{ChannelKeys, LdkWallet};
use ldk_peer_storage::service::WalletSource;
use lightning::chain::channelmonitor::ChannelMonitor;
use lightning::ln::chan_utils::get_countersigner_payment_script;
use lightning::ln::msgs::SocketAddress;
use lightning::ln::types::ChannelId;
use lightning::sign::{ChannelSigner, InMemorySigner, KeysManager};
use lightning::types::features::ChannelTypeFeatures;
use lightning::util::ser::ReadableArgs;
use testkit::{
    open_channel, pay, pay_hold, wait_until, Chain, ChannelType, KeyDerivation, Node, NodeConfig,
    DEADLINE,
};

const SAT: u64 = 1_000_000;

#[test]
fn static_remote_key_channels_of_a_node_that_switched_to_v2_keys() {
    switches_to_v2(ChannelType::StaticRemoteKey, ChannelKind::StaticRemoteKey);
}

#[test]
fn anchor_channels_of_a_node_that_switched_to_v2_keys() {
    switches_to_v2(ChannelType::Anchors, ChannelKind::Anchors);
}

fn switches_to_v2(channel_type: ChannelType, kind: ChannelKind) {
    let chain = Chain::new();
    let dirs = tempfile::tempdir().unwrap();
    let config = |name: &str| {
        NodeConfig::new(name, dirs.path().join(name), chain.clone()).channel_type(channel_type)
    };
    let (bob, carol) = (Node::start(config("bob")), Node::start(config("carol")));
    let alice = Node::start(config("alice").keys(KeyDerivation::V1));
    let old = open_channel(&chain, &alice, &bob, SAT);
    pay(&alice, &bob, 1_000_000);
    let id = record(&state(&alice, Probing::Usual), &old).channel_keys_id;
    assert_pays_with(&alice, id, kind);
    assert_eq!(
        record(&state(&alice, Probing::Inside), &old).channel_keys_id,
        id
    );

    alice.stop();
    let alice = Node::start(config("alice").keys(KeyDerivation::V2));
    alice.connect_to(&bob);
    let new = open_channel(&chain, &alice, &carol, 2 * SAT);
    for probing in [Probing::Usual, Probing::Inside] {
        let state = state(&alice, probing);
        assert_eq!(state.channels.len(), 2);
        assert_eq!(state.peers.len(), 2);
        assert!(state.peers.iter().all(|peer| peer.addresses.len() == 1));
        let (old, new) = (record(&state, &old), record(&state, &new));
        assert_eq!(old.channel_keys_id, id);
        assert_eq!(new.channel_keys_id, None);
        for (record, value) in [(old, SAT), (new, 2 * SAT)] {
            assert_eq!(record.kind, kind);
            assert_eq!(record.phase, ChannelPhase::Ready);
            assert_eq!(record.value_sat, Some(value));
            assert!(!record.restored);
            assert!(record.ids.short_channel_id.is_some());
        }
    }
}

#[test]
fn a_channel_from_its_payments_to_its_end() {
    let chain = Chain::new();
    let dirs = tempfile::tempdir().unwrap();
    let config = |name: &str| NodeConfig::new(name, dirs.path().join(name), chain.clone());
    let bob = Node::start(config("bob"));
    let alice = Node::start(config("alice").keys(KeyDerivation::V1));
    let channel = open_channel(&chain, &alice, &bob, SAT);
    let open = record(&state(&alice, Probing::Usual), &channel).clone();
    assert_eq!(state(&alice, Probing::Usual).earliest_htlc_expiry, None);
    let before = [monitor(&alice), monitor(&bob)];
    assert!(before.iter().all(|monitor| !monitor.pending_htlcs));

    let held = pay_hold(&alice, &bob, 50_000_000);
    let during = state(&alice, Probing::Usual);
    let expiry = during.earliest_htlc_expiry.expect("an HTLC is pending");
    assert!(expiry > chain.tip().height);
    assert!(record(&during, &channel).update_id > open.update_id);
    for (node, before) in [(&alice, &before[0]), (&bob, &before[1])] {
        let during = monitor(node);
        assert!(during.pending_htlcs && during.update_id > before.update_id);
        assert_eq!(during.channel, channel);
    }
    held.claim_and_wait(&alice, &bob);

    alice.force_close(&channel);
    bob.wait_closed(&channel);
    wait_until("the commitment transaction", DEADLINE, || {
        chain.spender(open.ids.funding_outpoint.unwrap()).is_some()
    });
    chain.mine(1);
    alice.sync();
    let state = state(&alice, Probing::Inside);
    let closed = record(&state, &channel);
    assert_eq!(closed.phase, ChannelPhase::Closing);
    assert_eq!(closed.channel_keys_id, open.channel_keys_id);
    assert_eq!(closed.value_sat, Some(SAT));
    assert_eq!(closed.ids.funding_outpoint, open.ids.funding_outpoint);
    assert_eq!(closed.ids.short_channel_id, None);
    assert_eq!(monitor(&alice).update_id, closed.update_id);
}

/// The only one, as LDK reads it back.
fn monitor(node: &Node) -> MonitorRecord {
    let parts = node.parts();
    let (manager, monitor) = (parts.channel_manager.clone(), parts.chain_monitor.clone());
    let address = |_: &PublicKey| Vec::new();
    let wallet = LdkWallet::new(manager, monitor, parts.keys.clone(), address);
    let mut monitors = wallet.monitors();
    assert_eq!(monitors.len(), 1);
    let record = monitors.remove(0);
    let keys = (&*parts.keys, &*parts.keys);
    let mut bytes = &record.bytes[..];
    let read = <(BlockHash, ChannelMonitor<InMemorySigner>)>::read(&mut bytes, keys);
    let (_, monitor) = read.expect("what LDK has written");
    assert!(bytes.is_empty());
    assert_eq!(monitor.get_latest_update_id(), record.update_id);
    assert_eq!(monitor.channel_id(), record.channel);
    record
}

/// How keys are found out.
#[derive(Clone, Copy)]
enum Probing {
    /// By the destination script that all channels have.
    Usual,
    /// By a look into the monitor, as for a wallet with a destination for each channel.
    Inside,
}

fn state(node: &Node, probing: Probing) -> WalletState {
    let parts = node.parts();
    let keys: Arc<dyn ChannelKeys> = match probing {
        Probing::Usual => parts.keys.clone(),
        Probing::Inside => Arc::new(NoDestination(parts.keys.clone())),
    };
    let (manager, monitor) = (parts.channel_manager.clone(), parts.chain_monitor.clone());
    let address = |_: &PublicKey| {
        vec![SocketAddress::TcpIpV4 {
            addr: [127, 0, 0, 1],
            port: 9735,
        }]
    };
    let wallet = LdkWallet::new(manager, monitor, keys, address);
    let state = wallet.wallet_state();
    assert_eq!(wallet.channels_without_keys(), vec![]);
    // With the channel's keys, a secret can be told from any other.
    let can_tell = matches!(probing, Probing::Usual).then_some(false);
    for id in state.channels.iter().flat_map(|c| c.ids.channel_id) {
        assert_eq!(wallet.holds_secret(&id, 1, &[7; 32]), can_tell);
    }
    let ids = |state: &WalletState| -> Vec<_> {
        state
            .channels
            .iter()
            .map(|c| (c.ids.channel_id, c.channel_keys_id))
            .collect()
    };
    assert_eq!(
        ids(&wallet.wallet_state()),
        ids(&state),
        "the same from memory"
    );
    state
}

struct NoDestination(Arc<KeysManager>);

impl ChannelKeys for NoDestination {
    fn v2_scripts(&self) -> Vec<ScriptBuf> {
        self.0.v2_scripts()
    }
    fn destination_script(&self) -> Option<ScriptBuf> {
        None
    }
    fn funding_key(&self, channel_keys_id: [u8; 32], splice_parent: Option<Txid>) -> PublicKey {
        self.0.funding_key(channel_keys_id, splice_parent)
    }
}

fn record<'a>(state: &'a WalletState, channel: &ChannelId) -> &'a ChannelRecord {
    let mut channels = state.channels.iter();
    let found = channels.find(|record| record.ids.channel_id.as_ref() == Some(channel));
    found.expect("the channel is reported")
}

/// A wallet with the seed alone and this id finds the output that the peer's commitment pays to it.
fn assert_pays_with(node: &Node, id: Option<[u8; 32]>, kind: ChannelKind) {
    let keys = KeysManager::new(&node.config().seed, 0, 0, false);
    let secp = Secp256k1::new();
    let pubkeys = keys
        .derive_channel_keys(&id.expect("v1 keys"))
        .pubkeys(&secp);
    let mut features = ChannelTypeFeatures::only_static_remote_key();
    if kind == ChannelKind::Anchors {
        features.set_anchors_zero_fee_htlc_tx_required();
    }
    let script = get_countersigner_payment_script(&features, &pubkeys.payment_point);
    let tx = bitcoin::Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![],
        output: vec![bitcoin::TxOut {
            value: bitcoin::Amount::ZERO,
            script_pubkey: script,
        }],
    };
    let monitors = &node.parts().chain_monitor;
    let channel = monitors.list_monitors()[0];
    let monitor = monitors.get_monitor(channel).unwrap();
    assert_eq!(monitor.get_spendable_outputs(&tx, 0).len(), 1);
}
