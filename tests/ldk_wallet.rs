//! What the backup is told of a node, running or stopped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
#[path = "recovery/stage.rs"]
mod stage;
#[path = "support/mod.rs"]
mod support;

use std::sync::Arc;

use bitcoin::secp256k1::{PublicKey, Secp256k1};
use bitcoin::{BlockHash, ScriptBuf, Txid};
use ldk_peer_storage::backup::{ChannelKind, ChannelPhase, ChannelRecord, MonitorRecord};
use ldk_peer_storage::exchange::WalletState;
use ldk_peer_storage::ldk::{ChannelKeys, LdkWallet, ListedChannel};
use ldk_peer_storage::recovery::{Claim, Identity};
use ldk_peer_storage::service::WalletSource;
use ldk_peer_storage::session::Work;
use lightning::chain::channelmonitor::ChannelMonitor;
use lightning::ln::chan_utils::get_countersigner_payment_script;
use lightning::ln::msgs::SocketAddress;
use lightning::ln::types::ChannelId;
use lightning::sign::{ChannelSigner, InMemorySigner, KeysManager};
use lightning::types::features::ChannelTypeFeatures;
use lightning::util::ser::ReadableArgs;
use testkit::{
    open_channel, pay, pay_hold, wait_until, wipe, Chain, ChannelType, KeyDerivation, Node,
    NodeConfig, DEADLINE,
};

use stage::{open_quietly, Lost, Stage, BUDGET};

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

#[test]
fn a_stopped_wallet_with_static_remote_key_channels_comes_back_with_v1_and_v2_keys() {
    comes_back_from_what_is_stored(ChannelType::StaticRemoteKey, ChannelKind::StaticRemoteKey);
}

#[test]
fn a_stopped_wallet_with_anchor_channels_comes_back_with_v1_and_v2_keys() {
    comes_back_from_what_is_stored(ChannelType::Anchors, ChannelKind::Anchors);
}

/// The app gets at the stored monitors, and at a list that tells of channels what ldk-node's does.
fn comes_back_from_what_is_stored(channel_type: ChannelType, kind: ChannelKind) {
    let stage = Stage::new(channel_type, KeyDerivation::V2);
    let (bob, carol) = (stage.stock("bob"), stage.stock("carol"));
    let alice = Node::start(stage.config("alice").keys(KeyDerivation::V1));
    alice.connect_to(&bob);
    let old = open_channel(&stage.chain, &bob, &alice, SAT);
    alice.stop();
    let alice = Node::start(stage.config("alice"));
    alice.connect_to(&bob);
    alice.connect_to(&carol);
    let new = open_channel(&stage.chain, &carol, &alice, 2 * SAT);
    let live = state(&alice, Probing::Usual);
    let stopped = Stopped::of(alice);
    let identity = Identity::from_seed(stopped.config.seed).unwrap();

    let wallet = stopped.wallet(Arc::new(identity.keys()));
    let told = wallet.wallet_state();
    assert_eq!(wallet.channels_without_keys(), []);
    assert_eq!(told.channels.len(), 2);
    for id in [old, new] {
        let (live, told) = (record(&live, &id), record(&told, &id));
        assert!(told == live, "what it told of the channel while it ran");
        assert_eq!((told.kind, told.phase), (kind, ChannelPhase::Ready));
        assert_eq!(told.channel_keys_id.is_some(), id == old);
    }

    let dir = stage.home.path().join("peer-storage");
    let (storage, session) = open_quietly(&identity, dir.clone());
    storage.attach(Arc::new(wallet));
    storage.adopt().unwrap();
    let peers = [stage::record(&bob), stage::record(&carol)];
    let report = session.run(&peers, Work { verify: true }, BUDGET);
    for peer in &report.peers {
        assert!(peer.outcome.as_ref().unwrap().verified);
    }
    drop(session);
    storage.close(DEADLINE);
    wipe(&stopped.config.dir);
    wipe(&dir);

    let mut rescuer = stage.rescuer(&Lost {
        seed: stopped.config.seed,
        dir,
        funding: Vec::new(),
    });
    let plan = rescuer.agree(&[&bob]);
    assert_eq!(plan.channels.len(), 2);
    let claims = plan.channels.iter().map(|channel| channel.claim);
    assert!(claims.into_iter().all(|claim| claim == Claim::Balance));
    let progress = rescuer.finish();
    // Half of each channel.
    assert_eq!(progress.found_sat, SAT / 2 + SAT);
    let arrived = rescuer.arrived().to_sat();
    assert_eq!(arrived + progress.fees_sat, progress.found_sat);
    rescuer.stop();
}

#[test]
fn channels_whose_keys_are_not_found_are_named_as_a_kind_that_cannot_be_swept() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let (bob, carol) = (stage.stock("bob"), stage.stock("carol"));
    let alice = Node::start(stage.config("alice").keys(KeyDerivation::V1));
    let old = open_channel(&stage.chain, &alice, &bob, SAT);
    alice.stop();
    let alice = Node::start(stage.config("alice"));
    alice.connect_to(&bob);
    let new = open_channel(&stage.chain, &alice, &carol, SAT);
    let stopped = Stopped::of(alice);
    let others = Arc::new(KeysManager::new(&[9; 32], 0, 0, true));
    let wallet = stopped.wallet(others);
    let told = wallet.wallet_state();
    for id in [old, new] {
        assert!(wallet.channels_without_keys().contains(&id));
        let told = record(&told, &id);
        assert_eq!(told.kind, ChannelKind::Other);
        assert_eq!(told.channel_keys_id, None);
        assert_eq!(told.phase, ChannelPhase::Ready);
        assert!(told.ids.funding_outpoint.is_some());
    }
}

#[test]
fn a_stopped_wallet_tells_of_payments_in_flight_and_of_closed_channels() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let (bob, carol) = (stage.stock("bob"), stage.stock("carol"));
    let alice = Node::start(stage.config("alice"));
    let paying = open_channel(&stage.chain, &alice, &bob, SAT);
    let closed = open_channel(&stage.chain, &alice, &carol, SAT);
    alice.force_close(&closed);
    carol.wait_closed(&closed);
    let _held = pay_hold(&alice, &bob, 50_000_000);
    let live = state(&alice, Probing::Usual);
    let stopped = Stopped::of(alice);
    let wallet = stopped.wallet(Arc::new(KeysManager::new(&stopped.config.seed, 0, 0, true)));
    let told = wallet.wallet_state();
    assert!(live.earliest_htlc_expiry.is_some());
    assert_eq!(told.earliest_htlc_expiry, live.earliest_htlc_expiry);
    assert_eq!(record(&told, &paying).phase, ChannelPhase::Ready);
    assert_eq!(record(&told, &closed).phase, ChannelPhase::Closing);
    let monitors = wallet.monitors();
    let pending = |id| {
        let monitor = monitors.iter().find(|monitor| monitor.channel == id);
        monitor.unwrap().pending_htlcs
    };
    assert_eq!((pending(paying), pending(closed)), (true, false));
}

/// What is left of a node: its stored monitors, and what it listed.
struct Stopped {
    config: NodeConfig,
    channels: Vec<ListedChannel>,
    peers: Vec<(PublicKey, SocketAddress)>,
}

impl Stopped {
    fn of(node: Node) -> Stopped {
        let told = node.channels();
        let told = told.iter().map(|details| ListedChannel {
            shutdown: None,
            htlc_expiries: None,
            funding_redeem_script: None,
            ..details.into()
        });
        let channels = told.collect();
        let peers = node.peer_manager().list_peers().into_iter();
        let peers =
            peers.filter_map(|peer| Some((peer.counterparty_node_id, peer.socket_address?)));
        let peers = peers.collect();
        let config = node.config().clone();
        node.stop();
        Stopped {
            config,
            channels,
            peers,
        }
    }

    fn wallet(&self, keys: Arc<KeysManager>) -> LdkWallet {
        let peers = self.peers.clone();
        let addresses = move |peer: &PublicKey| {
            let of_peer = peers.iter().filter(|(id, _)| id == peer);
            of_peer.map(|(_, address)| address.clone()).collect()
        };
        let monitors = stored_monitors(&self.config, &keys);
        LdkWallet::stopped(monitors, self.channels.clone(), keys, addresses)
    }
}

fn stored_monitors(
    config: &NodeConfig,
    keys: &KeysManager,
) -> Vec<(BlockHash, ChannelMonitor<InMemorySigner>)> {
    let files = std::fs::read_dir(config.dir.join("monitors")).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    // Others are not finished.
    paths.retain(|path| path.extension().is_none());
    let read = |path| {
        let bytes = std::fs::read(path).unwrap();
        ReadableArgs::read(&mut &bytes[..], (keys, keys)).unwrap()
    };
    paths.iter().map(read).collect()
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
