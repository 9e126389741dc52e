//! An app with a real LDK node behind its hooks, and the bindings beside it.

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::types::ChannelId;
use lightning::util::ser::Writeable;
use peer_storage_ffi::callbacks::CallbackError;
use peer_storage_ffi::config::OpenConfig;
use peer_storage_ffi::relay::RelayListener;
use peer_storage_ffi::secret::WalletSecret;
use peer_storage_ffi::status::Past;
use peer_storage_ffi::wallet::{WalletChannel, WalletPeer, WalletReport};
use peer_storage_ffi::PeerStorage;
use testkit::{
    wait_until, DynBroadcaster, DynHandler, DynLogger, Extension, Node, NodeConfig, NodeParts,
    TestChainMonitor, TestPeerManager, DEADLINE,
};

use crate::adapter::MessageRelay;
use crate::hook::{Hook, HookedBroadcaster, HookedLogger};
use crate::support::{config, open_with, report, wait, ENOUGH};

pub struct Wallet {
    pub node: Node,
    pub secret: Arc<WalletSecret>,
    pub storage: Arc<PeerStorage>,
    pub relay: Arc<MessageRelay>,
    monitors: Arc<Mutex<Option<Arc<TestChainMonitor>>>>,
    peers: Mutex<Vec<WalletPeer>>,
}

type ToProcess = Arc<Mutex<Option<std::sync::Weak<TestPeerManager>>>>;

struct Rings(ToProcess);

impl RelayListener for Rings {
    fn on_steps_waiting(&self) -> Result<(), CallbackError> {
        let peers = self.0.lock().unwrap().clone();
        if let Some(peers) = peers.and_then(|peers| peers.upgrade()) {
            peers.process_events();
        }
        Ok(())
    }
}

impl Wallet {
    pub fn start(node: NodeConfig, storage_dir: &Path) -> Wallet {
        let secret = WalletSecret::from_ldk_seed(node.seed.to_vec()).unwrap();
        let config = OpenConfig {
            // A running node of this kind has its own connections: no session beside it.
            host_node_runs: true,
            network_available: true,
            ..config(storage_dir)
        };
        let storage = open_with(config, secret.clone()).unwrap();
        if storage.status().unwrap().past == Past::Unknown {
            wait(storage.declare_new()).unwrap();
            storage.report_wallet(report(Vec::new())).unwrap();
        }
        let to_process = ToProcess::default();
        let listener = Arc::new(Rings(to_process.clone()));
        let relay = storage.message_relay(listener).unwrap();
        let relay = Arc::new(MessageRelay(relay));
        let monitors = Arc::default();
        let extension = Hooks {
            relay: relay.clone(),
            to_process,
            monitors: Arc::clone(&monitors),
        };
        let node = Node::start(node.extension(Arc::new(extension)));
        assert_eq!(node.id().to_string(), secret.node_id());
        Wallet {
            node,
            secret,
            storage,
            relay,
            monitors,
            peers: Mutex::default(),
        }
    }

    /// After a stop: the peer is still known.
    pub fn start_again(node: NodeConfig, storage_dir: &Path, peer: &Wallet) -> Wallet {
        let wallet = Wallet::start(node, storage_dir);
        wallet.know(peer);
        wallet.report();
        wallet
    }

    pub fn connect_to(&self, peer: &Wallet) {
        self.node.connect_to(&peer.node);
        self.know(peer);
    }

    fn know(&self, peer: &Wallet) {
        self.know_node(&peer.node);
    }

    pub fn know_node(&self, peer: &Node) {
        self.peers.lock().unwrap().push(WalletPeer {
            node_id: peer.id().to_string(),
            addresses: vec![peer.addr().to_string()],
        });
    }

    pub fn peers(&self) -> Vec<WalletPeer> {
        self.peers.lock().unwrap().clone()
    }

    /// The phone is gone, with all that it had.
    pub fn lose(self) {
        self.node.kill();
        wait(self.storage.shutdown(0)).unwrap();
    }

    pub fn reconnect(&self, peer: &Wallet) {
        self.node.disconnect_from(&peer.node);
        self.node.connect_to(&peer.node);
        wait_until("the channels to be usable again", DEADLINE, || {
            let usable = |node: &Node, other: &Node| {
                node.channels_with(&other.id()).iter().all(|c| c.is_usable)
            };
            usable(&self.node, &peer.node) && usable(&peer.node, &self.node)
        });
        self.report();
        peer.report();
    }

    fn monitors(&self) -> Arc<TestChainMonitor> {
        self.monitors.lock().unwrap().clone().unwrap()
    }

    /// As LDK writes it.
    pub fn monitor(&self, channel: ChannelId) -> Vec<u8> {
        self.monitors().get_monitor(channel).unwrap().encode()
    }

    pub fn stamp(&self, channel: ChannelId) -> u64 {
        let monitors = self.monitors();
        let monitor = monitors.get_monitor(channel).unwrap();
        monitor.get_latest_update_id()
    }

    /// All channels, as LDK lists them.
    pub fn report(&self) {
        self.report_channels(|_| None);
    }

    /// The same with a channel's monitor.
    pub fn report_with_monitor(&self, channel: ChannelId) {
        let bytes = self.monitor(channel);
        self.report_channels(|id| (*id == channel).then(|| bytes.clone()));
    }

    fn report_channels(&self, monitor: impl Fn(&ChannelId) -> Option<Vec<u8>>) {
        let monitors = self.monitors();
        let channels = self.node.channels();
        let channels = channels.iter().map(|details| WalletChannel {
            monitor: monitor(&details.channel_id),
            ..listed(details, &monitors)
        });
        let report = WalletReport {
            channels: channels.collect(),
            peers: self.peers.lock().unwrap().clone(),
            ..report(Vec::new())
        };
        self.storage.report_wallet(report).unwrap();
    }

    pub fn stop(self) {
        self.node.stop();
        wait(self.storage.shutdown(ENOUGH)).unwrap();
    }
}

fn listed(details: &ChannelDetails, monitors: &TestChainMonitor) -> WalletChannel {
    let monitor = monitors.get_monitor(details.channel_id);
    let outpoint = details.funding_txo.map(|txo| txo.into_bitcoin_outpoint());
    WalletChannel {
        channel_id: details.channel_id.to_string(),
        counterparty_node_id: details.counterparty.node_id.to_string(),
        funding_outpoint: outpoint.map(|outpoint| outpoint.to_string()),
        short_channel_id: details.short_channel_id,
        confirmations: details.confirmations,
        is_ready: details.is_channel_ready,
        is_closed: false,
        value_sat: details.channel_value_satoshis,
        kind: None,
        state_stamp: monitor.map_or(0, |monitor| monitor.get_latest_update_id()),
        channel_keys_id: None,
        monitor: None,
        has_pending_htlcs: false,
    }
}

struct Hooks {
    relay: Arc<MessageRelay>,
    to_process: ToProcess,
    monitors: Arc<Mutex<Option<Arc<TestChainMonitor>>>>,
}

impl Extension for Hooks {
    fn logger(&self, inner: Arc<DynLogger>) -> Arc<DynLogger> {
        let relay = self.relay.clone();
        Arc::new(HookedLogger { relay, inner })
    }

    fn broadcaster(&self, inner: Arc<DynBroadcaster>) -> Arc<DynBroadcaster> {
        Arc::new(HookedBroadcaster {
            relay: self.relay.clone(),
            inner,
            dropped: Arc::<AtomicU64>::default(),
        })
    }

    fn message_handler(&self, parts: &NodeParts) -> Arc<DynHandler> {
        *self.monitors.lock().unwrap() = Some(parts.chain_monitor.clone());
        Arc::new(Hook::new(self.relay.clone(), parts.channel_manager.clone()))
    }

    fn started(&self, _parts: &NodeParts, peer_manager: Arc<TestPeerManager>) {
        *self.to_process.lock().unwrap() = Some(Arc::downgrade(&peer_manager));
    }
}
