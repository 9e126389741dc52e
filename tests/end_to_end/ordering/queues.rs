//! Moments that a socket cannot be made to hit: the handler is called as a `PeerManager` calls it.

use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use bitcoin::Network;
use ldk_peer_storage::exchange::{Guests, StoragePolicy, WalletState};
use ldk_peer_storage::ldk::{PeerStorageHandler, QuietHandler};
use ldk_peer_storage::service::{Config, PeerStorage, WalletSource};
use lightning::ln::msgs::{
    self, BaseMessageHandler, ChannelMessageHandler, Init, MessageSendEvent, PeerStorageRetrieval,
};
use lightning::sign::KeysManager;
use lightning::types::features::InitFeatures;
use testkit::DEADLINE;

/// A returned blob that does not open: it is read, and may be replaced.
const DAMAGED: [u8; 100] = [1; 100];

struct Bench {
    storage: PeerStorage,
    handler: PeerStorageHandler<Arc<QuietHandler>>,
    bob: PublicKey,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let keys = KeysManager::new(&[4; 32], 0, 0, true);
        let config = Config {
            storage: StoragePolicy {
                guests: Guests::Anyone,
                ..StoragePolicy::default()
            },
            ..Config::new(dir.path(), Network::Regtest)
        };
        let storage = PeerStorage::open(config, &keys).unwrap();
        storage.attach(Arc::new(NoChannels));
        storage.declare_new().unwrap();
        let handler = storage.message_handler(Arc::new(QuietHandler::new(Network::Regtest)));
        let bob = peer(200);
        storage.list_peers([bob].into());
        Bench {
            storage,
            handler,
            bob,
            dir,
        }
    }

    fn connect(&self) {
        self.connect_as(self.bob);
    }

    fn connect_as(&self, peer: PublicKey) {
        let mut features = InitFeatures::empty();
        features.set_provide_storage_optional();
        let init = Init {
            features,
            networks: None,
            remote_network_address: None,
        };
        self.handler.peer_connected(peer, &init, true).unwrap();
    }

    fn disconnect(&self) {
        self.handler.peer_disconnected(self.bob);
    }

    fn give(&self, blob: &[u8]) {
        let data = blob.to_vec();
        self.handler
            .handle_peer_storage(self.bob, msgs::PeerStorage { data });
    }

    fn give_back(&self, blob: &[u8]) {
        let data = blob.to_vec();
        self.handler
            .handle_peer_storage_retrieval(self.bob, PeerStorageRetrieval { data });
    }

    /// What leaves now: the blobs returned, and how many are pushed.
    fn leaving(&self) -> (Vec<Vec<u8>>, usize) {
        let (mut returned, mut pushed) = (Vec::new(), 0);
        for event in self.handler.get_and_clear_pending_msg_events() {
            match event {
                MessageSendEvent::SendPeerStorageRetrieval { msg, .. } => returned.push(msg.data),
                MessageSendEvent::SendPeerStorage { .. } => pushed += 1,
                other => panic!("{other:?}"),
            }
        }
        (returned, pushed)
    }

    /// Whatever is queued by now and after the worker's next rest: how many pushes.
    fn pushes(&self) -> usize {
        let mut pushed = 0;
        while !self.storage.flush(Duration::from_millis(50)) {
            pushed += self.leaving().1;
        }
        pushed + self.leaving().1
    }
}

fn peer(number: u8) -> PublicKey {
    let secret = SecretKey::from_slice(&[number; 32]).unwrap();
    PublicKey::from_secret_key(&Secp256k1::new(), &secret)
}

#[test]
fn a_blob_that_comes_in_the_same_tick_does_not_replace_the_one_that_is_returned() {
    let bench = Bench::new();
    bench.connect();
    bench.give(&[1; 60_000]);
    assert_eq!(bench.leaving().0, Vec::<Vec<u8>>::new(), "there was none");
    for round in 1..5 {
        bench.disconnect();
        bench.connect();
        // Taken, and even durable, before anything of this connection has left.
        bench.give(&[round + 1; 60_000]);
        bench.storage.flush(DEADLINE);
        assert_eq!(bench.leaving().0, [vec![round; 60_000]]);
        assert_eq!(bench.leaving().0, Vec::<Vec<u8>>::new(), "once");
    }
}

#[test]
fn a_blob_that_is_not_written_yet_is_returned() {
    let bench = Bench::new();
    // The sixth and later ones wait for a token; none of these waits for the disk.
    for round in 1..20 {
        bench.connect();
        let returned = bench.leaving().0;
        assert_eq!(returned.len(), usize::from(round > 1));
        assert!(returned.iter().all(|blob| *blob == [round - 1; 1_000]));
        bench.give(&[round; 1_000]);
        bench.disconnect();
    }
}

#[test]
fn a_push_in_the_outbox_does_not_leave_on_the_next_connection() {
    let bench = Bench::new();
    let (filled, outbox_is_filled) = channel();
    let filled = Mutex::new(filled);
    bench.storage.set_waker(move || {
        let _ = filled.lock().unwrap().send(());
    });
    bench.connect();
    bench.give_back(&DAMAGED);
    outbox_is_filled.recv_timeout(DEADLINE).unwrap();
    bench.disconnect();
    bench.connect();
    assert_eq!(bench.pushes(), 0);
    bench.give_back(&DAMAGED);
    assert!(bench.pushes() > 0);
}

#[test]
fn a_push_that_becomes_durable_too_late_does_not_leave_on_the_next_connection() {
    let bench = Bench::new();
    let (busy, worker_is_busy) = channel();
    let (open, gate) = channel();
    bench.connect();
    bench.give_back(&DAMAGED);
    assert!(bench.pushes() > 0);
    // The worker reads the wallet's state before it writes, and that takes long.
    let slow = SlowWallet {
        busy: Mutex::new(busy),
        gate: Mutex::new(None),
    };
    let slow = Arc::new(slow);
    bench.storage.attach(slow.clone());
    assert_eq!(worker_is_busy.try_iter().count(), 1);
    *slow.gate.lock().unwrap() = Some(gate);
    bench.storage.push_now();
    worker_is_busy.recv_timeout(DEADLINE).unwrap();
    bench.storage.push_now();
    bench.disconnect();
    bench.connect();
    drop(open);
    assert_eq!(bench.pushes(), 0);
    bench.give_back(&DAMAGED);
    assert!(bench.pushes() > 0);
}

#[test]
fn peers_that_bring_more_than_the_worker_takes_write_by_themselves() {
    const PEERS: u8 = 60;
    let bench = Bench::new();
    // The worker wakes LDK, whose thread has a lock that the worker now waits for.
    let (busy, worker_is_busy) = channel();
    let (open, gate) = channel::<()>();
    let waker = Mutex::new((busy, gate));
    bench.storage.set_waker(move || {
        let (busy, gate) = &*waker.lock().unwrap();
        let _ = busy.send(());
        let _ = gate.recv_timeout(DEADLINE);
    });
    bench.connect();
    bench.give_back(&DAMAGED);
    worker_is_busy.recv_timeout(DEADLINE).unwrap();
    assert_eq!(bench.leaving().1, 1);

    for number in 1..=PEERS {
        let data = vec![number; 65_531];
        bench
            .handler
            .handle_peer_storage(peer(number), msgs::PeerStorage { data });
    }
    // Five blobs are more than may wait for the worker.
    let database = rusqlite::Connection::open(bench.dir.path().join("peer-storage.sqlite"));
    let count = "SELECT count(*) FROM slot_blobs";
    let durable: u8 = database
        .and_then(|database| database.query_row(count, [], |row| row.get(0)))
        .unwrap();
    assert!(durable >= PEERS - 5, "{durable} blobs are durable");
    drop(open);
    assert!(bench.storage.flush(DEADLINE));
    for number in 1..=PEERS {
        bench.connect_as(peer(number));
    }
    let mut returned = bench.leaving().0;
    returned.sort();
    let given: Vec<_> = (1..=PEERS).map(|number| vec![number; 65_531]).collect();
    assert!(returned == given, "each gets its own back");
}

/// A live wallet without channels.
struct NoChannels;

impl WalletSource for NoChannels {
    fn wallet_state(&self) -> WalletState {
        WalletState::default()
    }
}

/// Says when it is read, and then takes its time.
struct SlowWallet {
    busy: Mutex<Sender<()>>,
    gate: Mutex<Option<Receiver<()>>>,
}

impl WalletSource for SlowWallet {
    fn wallet_state(&self) -> WalletState {
        self.busy.lock().unwrap().send(()).unwrap();
        if let Some(gate) = self.gate.lock().unwrap().take() {
            let _ = gate.recv_timeout(DEADLINE);
        }
        WalletState::default()
    }
}
