//! A node with nothing but its seed: it connects, reads back, and says nothing about channels.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use bitcoin::Network;
use ldk_peer_storage::exchange::{Health, Past};
use ldk_peer_storage::ldk::{PeerStorageHandler, QuietHandler};
use ldk_peer_storage::service::{Config, PeerStorage};
use lightning::ln::peer_handler::{IgnoringMessageHandler, MessageHandler, PeerManager};
use lightning::sign::{EntropySource, KeysManager, NodeSigner, Recipient};
use lightning_net_tokio::SocketDescriptor;
use testkit::{wait_until, DynLogger, WireTap, DEADLINE};
use tokio::runtime::Runtime;

type Handler = PeerStorageHandler<Arc<QuietHandler>>;
type Peers = PeerManager<
    SocketDescriptor,
    Arc<Handler>,
    Arc<IgnoringMessageHandler>,
    Arc<IgnoringMessageHandler>,
    Arc<WireTap>,
    Arc<IgnoringMessageHandler>,
    Arc<KeysManager>,
    Arc<IgnoringMessageHandler>,
>;

pub struct QuietNode {
    pub storage: PeerStorage,
    pub handler: Arc<Handler>,
    pub wire: Arc<WireTap>,
    peers: Arc<Peers>,
    node_id: PublicKey,
    runtime: Runtime,
}

impl QuietNode {
    /// Opens a data directory for peer storage that need not know its past.
    pub fn start(seed: [u8; 32], dir: &Path) -> QuietNode {
        QuietNode::open(seed, Config::new(dir, Network::Regtest))
    }

    /// Opens it as the configuration says.
    pub fn open(seed: [u8; 32], config: Config) -> QuietNode {
        let keys = Arc::new(KeysManager::new(&seed, 0, 0, true));
        let storage = PeerStorage::open(config, &*keys);
        let storage = storage.expect("the data directory opens");
        let wire = Arc::new(WireTap::new(Arc::new(Silent) as Arc<DynLogger>));
        let handler =
            Arc::new(storage.message_handler(Arc::new(QuietHandler::new(Network::Regtest))));
        let ignore = Arc::new(IgnoringMessageHandler {});
        let peers = Arc::new(PeerManager::new(
            MessageHandler {
                chan_handler: handler.clone(),
                route_handler: Arc::clone(&ignore),
                onion_message_handler: Arc::clone(&ignore),
                custom_message_handler: Arc::clone(&ignore),
                send_only_message_handler: ignore,
            },
            1,
            &keys.get_secure_random_bytes(),
            wire.clone(),
            keys.clone(),
        ));
        let weak = Arc::downgrade(&peers);
        storage.set_waker(move || {
            if let Some(peers) = weak.upgrade() {
                peers.process_events();
            }
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let node_id = keys.get_node_id(Recipient::Node).expect("a node id");
        QuietNode {
            storage,
            handler,
            wire,
            peers,
            node_id,
            runtime,
        }
    }

    pub fn id(&self) -> PublicKey {
        self.node_id
    }

    /// Connects; false if nobody answers.
    pub fn connect(&self, peer: PublicKey, addr: SocketAddr) -> bool {
        let peers = self.peers.clone();
        let connected = self.runtime.block_on(async move {
            let timeout = Duration::from_secs(5);
            let dial = lightning_net_tokio::connect_outbound(peers, peer, addr);
            match tokio::time::timeout(timeout, dial).await {
                Ok(Some(connection)) => {
                    tokio::spawn(connection);
                    true
                }
                _ => false,
            }
        });
        if connected {
            wait_until("the handshake", DEADLINE, || self.is_connected(&peer));
        }
        connected
    }

    pub fn is_connected(&self, peer: &PublicKey) -> bool {
        self.peers.peer_by_node_id(peer).is_some()
    }

    pub fn disconnect(&self, peer: PublicKey) {
        self.peers.disconnect_by_node_id(peer);
    }

    /// Waits until the peer has returned a blob or, having none, has spoken of its channels.
    pub fn wait_read_back(&self, peer: PublicKey) {
        wait_until("the peer to return a backup", DEADLINE, || {
            let received = self.wire.received_from(&peer);
            let came = |wanted: &str| received.iter().any(|name| name == wanted);
            // The wire is a moment ahead of the handler.
            came("ChannelReestablish") || (came("PeerStorageRetrieval") && self.has_heard(&peer))
        });
        self.storage.flush(DEADLINE);
    }

    fn has_heard(&self, peer: &PublicKey) -> bool {
        let status = self.storage.status().backup;
        let report = self.storage.restore_report();
        let health = status.peers.iter().find(|p| p.node_id == *peer);
        let unheard = [Health::NothingSent, Health::Sent];
        report.answers.iter().any(|answer| answer.peer == *peer)
            || health.is_some_and(|p| !unheard.contains(&p.health))
            || status.past == Past::Known
    }

    pub fn stop(self) {
        self.peers.disconnect_all_peers();
        self.storage.close(Duration::from_secs(5));
        self.runtime.shutdown_timeout(Duration::from_secs(5));
    }
}

/// Only the wire tap in front of it matters.
struct Silent;

impl lightning::util::logger::Logger for Silent {
    fn log(&self, _record: lightning::util::logger::Record) {}
}
