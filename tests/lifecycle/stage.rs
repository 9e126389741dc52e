//! A phone, and a storer that keeps its one backup.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use bitcoin::Network;
use ldk_peer_storage::backup::{Contents, PeerRecord};
use ldk_peer_storage::ldk::QuietHandler;
use ldk_peer_storage::lifecycle::{Lifecycle, LifecycleConfig, WalletReport};
use ldk_peer_storage::service::{Config, OpenError, PeerStorage};
use lightning::ln::msgs::{self, BaseMessageHandler, ChannelMessageHandler, Init};
use lightning::sign::{KeysManager, NodeSigner, Recipient};
use tempfile::TempDir;
use testkit::{wait_until, Outgoing, RawPeer, DEADLINE};

use crate::support::backup_key;

pub const SEED: [u8; 32] = [11; 32];
/// Long enough for everything.
pub const LONG: Duration = Duration::from_secs(20);
pub const SHORT: Duration = Duration::from_millis(400);

/// A peer that keeps the last backup that it was sent, and returns it.
pub struct Keeper {
    pub raw: RawPeer,
    pub kept: Arc<Mutex<Vec<u8>>>,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Keeper {
    pub fn new() -> Keeper {
        let raw = RawPeer::new("keeper");
        // What it returns at first does not open; then it has been read back all the same.
        let kept = Arc::new(Mutex::new(vec![1; 300]));
        let (connections, open) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let give = kept.clone();
        let (count, begin, end) = (connections.clone(), open.clone(), open.clone());
        raw.on_connect(move |to, _| {
            count.fetch_add(1, Ordering::SeqCst);
            begin.fetch_add(1, Ordering::SeqCst);
            vec![Outgoing::retrieval(to, give.lock().unwrap().clone())]
        });
        raw.on_disconnect(move |_| {
            end.fetch_sub(1, Ordering::SeqCst);
        });
        let keep = kept.clone();
        raw.on_message(move |message| {
            if message.type_id == 7 {
                *keep.lock().unwrap() = message.blob();
            }
            Vec::new()
        });
        Keeper {
            raw,
            kept,
            connections,
            open,
        }
    }

    pub fn id(&self) -> PublicKey {
        self.raw.id()
    }

    pub fn record(&self) -> PeerRecord {
        record(self.raw.id(), self.raw.addr())
    }

    /// How often it was connected to.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn is_connected(&self) -> bool {
        self.open.load(Ordering::SeqCst) > 0
    }

    /// Nobody has ever said anything to it.
    pub fn wire_is_silent(&self) -> bool {
        self.raw.wire().all().is_empty()
    }

    /// What it keeps, if it is a backup of ours.
    pub fn backup(&self) -> Option<Contents> {
        let kept = self.kept.lock().unwrap().clone();
        backup_key(&SEED).open_snapshot(&kept).ok()
    }

    pub fn app_data(&self) -> Option<Vec<u8>> {
        self.backup().map(|backup| backup.snapshot.app_data)
    }

    #[track_caller]
    pub fn wait_for(&self, data: &[u8]) {
        wait_until("the backup to arrive", DEADLINE, || {
            self.app_data().as_deref() == Some(data)
        });
    }
}

pub fn record(node_id: PublicKey, addr: SocketAddr) -> PeerRecord {
    PeerRecord {
        node_id,
        addresses: vec![addr.into()],
    }
}

/// A wallet without channels that keeps its backup at these peers.
pub fn without_channels(peers: &[PeerRecord]) -> WalletReport {
    WalletReport {
        peers: peers.to_vec(),
        keep_backups_at: peers.iter().map(|peer| peer.node_id).collect(),
        ..WalletReport::default()
    }
}

pub fn keys() -> Arc<KeysManager> {
    Arc::new(KeysManager::new(&SEED, 0, 0, true))
}

pub fn config(dir: &Path) -> LifecycleConfig {
    let mut config = LifecycleConfig::new(Config::new(dir, Network::Regtest));
    config.visible = true;
    config.linger = Duration::from_millis(50);
    config.sync.after_change = Duration::from_millis(20);
    config.sync.first_pause = Duration::from_millis(200);
    config.session.times.connect = Duration::from_secs(2);
    config
}

/// A phone with one keeper, whose wallet is new.
pub struct Phone {
    pub keeper: Keeper,
    pub life: Lifecycle,
    dir: TempDir,
}

impl Phone {
    pub fn with(change: impl FnOnce(&mut LifecycleConfig)) -> Phone {
        testkit::logs::watch();
        let keeper = Keeper::new();
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(&dir.path().join("data"));
        change(&mut config);
        let life = Lifecycle::open(config, keys()).unwrap();
        Phone { keeper, life, dir }
    }

    /// The wallet is new, and told of; its first backup has arrived.
    pub fn settled() -> Phone {
        Phone::settled_with(|_| ())
    }

    pub fn settled_with(change: impl FnOnce(&mut LifecycleConfig)) -> Phone {
        let phone = Phone::with(change);
        phone.begin();
        phone.wait_idle();
        phone
    }

    pub fn begin(&self) {
        let past = self.life.durably(|storage| storage.declare_new()).unwrap();
        past.unwrap();
        self.life
            .report_wallet(without_channels(&[self.keeper.record()]));
        self.write(b"first");
        self.life.on_foreground();
        self.keeper.wait_for(b"first");
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Changes the wallet, durably.
    pub fn write(&self, data: &[u8]) {
        let data = data.to_vec();
        self.life.durably(|s| s.set_app_data(data)).unwrap();
        self.tell();
    }

    pub fn tell(&self) {
        self.life
            .report_wallet(without_channels(&[self.keeper.record()]));
    }

    /// Waits until nobody is visited, and nothing more is due.
    pub fn wait_idle(&self) {
        let mut since = (self.keeper.connections(), Instant::now());
        wait_until("no visits", DEADLINE, || {
            let now = self.keeper.connections();
            if now != since.0 || self.keeper.is_connected() {
                since = (now, Instant::now());
            }
            since.1.elapsed() > Duration::from_millis(150)
        });
    }

    /// The lifecycle, and what has to outlive it.
    pub fn take_apart(self) -> (Lifecycle, (Keeper, TempDir)) {
        (self.life, (self.keeper, self.dir))
    }

    #[track_caller]
    pub fn assert_free(&self) {
        assert_free(&self.data_dir());
    }
}

/// The node id of a seed.
pub fn keys_of(seed: &[u8; 32]) -> PublicKey {
    let keys = KeysManager::new(seed, 0, 0, true);
    keys.get_node_id(Recipient::Node).unwrap()
}

/// A peer without a channel wants its backup kept: a warning for it has to leave. It stays connected as long
/// as what is returned lives.
pub fn provoke_a_warning(storage: &PeerStorage) -> impl Sized {
    static LAST: AtomicUsize = AtomicUsize::new(100);
    let byte = LAST.fetch_add(1, Ordering::SeqCst) as u8;
    let peer = keys_of(&[byte; 32]);
    let handler = storage.message_handler(Arc::new(QuietHandler::new(Network::Regtest)));
    let init = Init {
        features: handler.provided_init_features(peer),
        networks: None,
        remote_network_address: None,
    };
    handler.peer_connected(peer, &init, true).unwrap();
    let data = vec![1; 300];
    handler.handle_peer_storage(peer, msgs::PeerStorage { data });
    handler
}

/// Nothing of the directory is open: somebody else may have it.
#[track_caller]
pub fn assert_free(dir: &Path) {
    assert_free_with(dir, &keys());
}

#[track_caller]
pub fn assert_free_with(dir: &Path, keys: &KeysManager) {
    let config = Config::new(dir, Network::Regtest);
    let storage = PeerStorage::open(config, keys).expect("nobody else has it");
    storage.close(DEADLINE);
}

pub fn open_directly(dir: &Path) -> Result<PeerStorage, OpenError> {
    PeerStorage::open(Config::new(dir, Network::Regtest), &*keys())
}

/// Runs it; it takes no longer than its budget and a second.
#[track_caller]
pub fn within<R>(budget: Duration, run: impl FnOnce() -> R) -> R {
    let began = Instant::now();
    let result = run();
    let took = began.elapsed();
    assert!(took <= budget + Duration::from_secs(1), "it took {took:?}");
    result
}
