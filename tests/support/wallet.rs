//! A full LDK node with peer storage, wired as the documentation of `ldk` says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{Network, Transaction};
use ldk_peer_storage::ldk::{LdkWallet, MessageRelay};
use ldk_peer_storage::service::{Clock, Config, PeerStorage};
use lightning::events::Event;
use lightning::ln::msgs::SocketAddress;
use lightning::sign::{KeysManager, SpendableOutputDescriptor};
use testkit::{
    wait_until, DynBroadcaster, DynHandler, DynLogger, DynPersist, Extension, KeyDerivation, Node,
    NodeConfig, NodeParts, TestPeerManager, DEADLINE,
};

use super::hook::{Hook, HookedBroadcaster, HookedLogger};

/// How peer storage gets into a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Built {
    /// Its decorators, as a node in Rust has them.
    Decorated,
    /// A relay, and an app's hooks round the node.
    Relayed,
}

impl Built {
    /// The tests of the relay run the stories of others a second time.
    const HERE: Built = match env!("CARGO_CRATE_NAME").as_bytes() {
        b"relay" => Built::Relayed,
        _ => Built::Decorated,
    };
}

/// How a data directory comes to know its past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Declares a new wallet if the directory is fresh.
    New,
    /// Adopts a living wallet if the directory is fresh, as soon as the node is loaded.
    Adopt,
    /// Leaves it as it is.
    AsIs,
}

#[derive(Clone)]
pub struct WalletConfig {
    pub node: NodeConfig,
    pub built: Built,
    pub begin: Begin,
    pub clock: Option<Arc<dyn Clock>>,
    /// Where peer storage keeps its data.
    pub storage_dir: PathBuf,
    /// Whether the logger is wrapped, so that warnings of peers are heard.
    pub hears_warnings: bool,
    /// Whether backups carry monitors.
    pub monitors: bool,
    /// What is put between the hook of peer storage and the node's own persister.
    pub disk: Option<Arc<WrapPersister>>,
}

/// Puts something in front of a persister.
pub type WrapPersister = dyn Fn(Arc<DynPersist>) -> Arc<DynPersist> + Send + Sync;

impl WalletConfig {
    pub fn new(node: NodeConfig) -> Self {
        let storage_dir = storage_dir(&node.dir);
        WalletConfig {
            node,
            built: Built::HERE,
            begin: Begin::New,
            clock: None,
            storage_dir,
            hears_warnings: true,
            monitors: true,
            disk: None,
        }
    }

    pub fn begin(mut self, begin: Begin) -> Self {
        self.begin = begin;
        self
    }

    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }
}

/// The directory beside the node's own.
fn storage_dir(node_dir: &Path) -> PathBuf {
    let mut name = node_dir.file_name().unwrap_or_default().to_owned();
    name.push("-peer-storage");
    node_dir.with_file_name(name)
}

/// A running node with peer storage.
pub struct Wallet {
    pub node: Node,
    pub storage: PeerStorage,
    config: WalletConfig,
    addresses: Addresses,
    unswept: Unswept,
    dropped: Dropped,
}

/// Tells how many transactions an alarm has kept from the chain.
type Dropped = Arc<Mutex<Option<Box<dyn Fn() -> u64 + Send + Sync>>>>;

/// Where the wallet has met its peers.
type Addresses = Arc<Mutex<BTreeMap<PublicKey, SocketAddress>>>;

/// What a wallet's sweeper tracks.
type Unswept = Arc<Mutex<Vec<SpendableOutputDescriptor>>>;

impl Wallet {
    pub fn start(config: WalletConfig) -> Wallet {
        testkit::logs::watch();
        let keys = keys(&config.node);
        let storage = PeerStorage::open(
            Config {
                clock: config.clock.clone(),
                monitors: config.monitors,
                ..Config::new(&config.storage_dir, Network::Regtest)
            },
            &keys,
        )
        .expect("the data directory opens");
        if config.begin == Begin::New {
            let _ = storage.declare_new();
        }
        let addresses = Addresses::default();
        let unswept = Unswept::default();
        let dropped = Dropped::default();
        let relay = match config.built {
            Built::Decorated => None,
            Built::Relayed => Some(Arc::new(storage.message_relay())),
        };
        let extension = WithPeerStorage {
            storage: storage.clone(),
            addresses: addresses.clone(),
            unswept: unswept.clone(),
            dropped: dropped.clone(),
            relay,
            disk: config.disk.clone(),
            adopt: config.begin == Begin::Adopt,
            hears_warnings: config.hears_warnings,
        };
        let node = Node::start(config.node.clone().extension(Arc::new(extension)));
        unswept.lock().unwrap().extend(node.spendable_outputs());
        storage.wallet_changed();
        Wallet {
            node,
            storage,
            config,
            addresses,
            unswept,
            dropped,
        }
    }

    /// How many transactions an alarm has kept from the chain since the start.
    pub fn dropped_transactions(&self) -> u64 {
        let dropped = self.dropped.lock().unwrap();
        dropped.as_ref().map_or(0, |dropped| dropped())
    }

    pub fn config(&self) -> &WalletConfig {
        &self.config
    }

    /// Tells where a peer listens, so that it can be backed up.
    pub fn learn_address(&self, peer: &Node) {
        self.learn(peer.id(), peer.addr());
    }

    pub fn learn(&self, peer: PublicKey, addr: std::net::SocketAddr) {
        self.addresses.lock().unwrap().insert(peer, addr.into());
        self.storage.wallet_changed();
    }

    /// Connects, and remembers the address.
    pub fn connect_to(&self, peer: &Node) {
        self.learn_address(peer);
        self.node.connect_to(peer);
    }

    /// Ends the connection and makes a new one: the peer returns what it keeps. Returns when their
    /// channels can be used again.
    pub fn reconnect(&self, peer: &Node) {
        self.node.disconnect_from(peer);
        self.connect_to(peer);
        wait_until("the channels to be usable again", DEADLINE, || {
            let (a, b) = (self.node.id(), peer.id());
            let usable = |node: &Node, other| node.channels_with(other).iter().all(|c| c.is_usable);
            usable(&self.node, &b) && usable(peer, &a)
        });
    }

    /// Sweeps what closed channels have left, as far as it can be spent.
    pub fn sweep(&self) -> Transaction {
        let tx = self.node.sweep().expect("there is something to sweep");
        self.unswept.lock().unwrap().clear();
        self.storage.wallet_changed();
        tx
    }

    /// Stops in good order.
    pub fn stop(self) -> WalletConfig {
        self.storage.on_background(Duration::from_secs(10));
        self.node.stop();
        self.storage.close(Duration::from_secs(10));
        self.config
    }

    /// As if the operating system had killed the process: nothing more is written or sent.
    pub fn kill(self) -> WalletConfig {
        self.node.kill();
        self.storage.close(Duration::ZERO);
        self.config
    }

    pub fn restart(self) -> Wallet {
        Wallet::start(self.stop())
    }

    /// Moves the test's clock and has done what is then due.
    pub fn clock_moved(&self) {
        self.storage.clock_moved();
    }
}

pub fn keys(config: &NodeConfig) -> KeysManager {
    KeysManager::new(&config.seed, 0, 0, config.keys == KeyDerivation::V2)
}

/// What an integrator writes.
struct WithPeerStorage {
    storage: PeerStorage,
    addresses: Addresses,
    unswept: Unswept,
    dropped: Dropped,
    relay: Option<Arc<MessageRelay>>,
    disk: Option<Arc<WrapPersister>>,
    adopt: bool,
    hears_warnings: bool,
}

impl Extension for WithPeerStorage {
    fn logger(&self, inner: Arc<DynLogger>) -> Arc<DynLogger> {
        if !self.hears_warnings {
            return inner;
        }
        match &self.relay {
            None => Arc::new(self.storage.logger(inner)),
            Some(relay) => Arc::new(HookedLogger {
                relay: relay.clone(),
                inner,
            }),
        }
    }

    fn broadcaster(&self, inner: Arc<DynBroadcaster>) -> Arc<DynBroadcaster> {
        let Some(relay) = self.relay.clone() else {
            let guarded = Arc::new(self.storage.broadcaster(inner));
            let count = guarded.clone();
            *self.dropped.lock().unwrap() = Some(Box::new(move || count.dropped()));
            return guarded;
        };
        let dropped = Arc::<AtomicU64>::default();
        let count = dropped.clone();
        *self.dropped.lock().unwrap() = Some(Box::new(move || count.load(Ordering::SeqCst)));
        Arc::new(HookedBroadcaster {
            relay,
            inner,
            dropped,
        })
    }

    fn persister(&self, inner: Arc<DynPersist>) -> Arc<DynPersist> {
        let inner = match &self.disk {
            Some(wrap) => wrap(inner),
            None => inner,
        };
        Arc::new(self.storage.persister(inner))
    }

    fn message_handler(&self, parts: &NodeParts) -> Arc<DynHandler> {
        let addresses = self.addresses.clone();
        let wallet = LdkWallet::new(
            parts.channel_manager.clone(),
            parts.chain_monitor.clone(),
            parts.keys.clone(),
            move |peer: &PublicKey| {
                addresses
                    .lock()
                    .unwrap()
                    .get(peer)
                    .cloned()
                    .into_iter()
                    .collect::<Vec<_>>()
            },
        );
        let unswept = self.unswept.clone();
        let wallet = wallet.spendable_outputs(move || unswept.lock().unwrap().clone());
        self.storage.attach(Arc::new(wallet));
        if self.adopt {
            let _ = self.storage.adopt();
        }
        let node = parts.channel_manager.clone();
        match &self.relay {
            None => Arc::new(self.storage.message_handler(node)),
            Some(relay) => Arc::new(Hook::new(relay.clone(), node)),
        }
    }

    fn started(&self, _parts: &NodeParts, peer_manager: Arc<TestPeerManager>) {
        let peer_manager = Arc::downgrade(&peer_manager);
        self.storage.set_waker(move || {
            if let Some(peer_manager) = peer_manager.upgrade() {
                peer_manager.process_events();
            }
        });
    }

    fn event(&self, event: &Event) {
        if let Event::SpendableOutputs { outputs, .. } = event {
            let mut unswept = self.unswept.lock().unwrap();
            for output in outputs {
                if !unswept.contains(output) {
                    unswept.push(output.clone());
                }
            }
            drop(unswept);
            self.storage.wallet_changed();
        }
        if matches!(
            event,
            Event::ChannelPending { .. } | Event::ChannelReady { .. } | Event::ChannelClosed { .. }
        ) {
            self.storage.wallet_changed();
        }
    }

    fn block(&self, height: u32) {
        self.storage.height_changed(height);
    }
}
