//! A restore from ten peers over loopback that keep 64 KiB each, against the bare exchange of the same
//! bytes in the same run: TCP, the handshake of BOLT #8, `init` and the blob, from the same ten peers at
//! once. What the restore does beyond that (opening, comparing, storing) may cost twice as much again.
//! Twenty more peers that take a connection and say nothing may cost one connect timeout, all together.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use bitcoin::Network;
use criterion::Criterion;
use ldk_peer_storage::backup::{
    encode, BackupKey, InstallationId, Padding, PeerRecord, Revision, Snapshot, Tier, MAX_BLOB,
};
use ldk_peer_storage::ldk::QuietHandler;
use ldk_peer_storage::service::{Config, PeerStorage};
use ldk_peer_storage::session::{Session, SessionConfig, Times};
use lightning::ln::peer_handler::{IgnoringMessageHandler, MessageHandler, PeerManager};
use lightning::sign::{EntropySource, KeysManager, NodeSigner, Recipient};
use lightning::util::logger::{Logger, Record};
use lightning_net_tokio::SocketDescriptor;
use testkit::{wait_until, Direction, Outgoing, RawPeer, WireTap, DEADLINE};

const PEERS: usize = 10;
const SEED: [u8; 32] = [6; 32];
const LIMIT: f64 = 3.0;
const ROUNDS: usize = 40;
const SILENT_PEERS: usize = 20;
const CONNECT: Duration = Duration::from_secs(1);
/// Of the time of a restore plus one connect timeout.
const SILENCE_LIMIT: f64 = 1.1;

fn main() {
    let home = tempfile::tempdir().unwrap();
    let peers: Vec<_> = (0..PEERS).map(|n| RawPeer::new(&format!("{n}"))).collect();
    let restoring = Restoring::new(home.path(), &peers);
    let bare = Bare::new(&peers);

    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    let mut group = criterion.benchmark_group("64 KiB from each of ten peers");
    group.bench_function("bare", |b| b.iter(|| bare.read_back()));
    group.bench_function("restore", |b| b.iter(|| restoring.read_back()));
    group.finish();
    criterion.final_summary();
    // `cargo test --benches` runs this too, without optimisation and with no time to measure.
    if std::env::args().any(|argument| argument == "--bench") {
        check(&restoring, &bare);
    }
}

fn check(restoring: &Restoring, bare: &Bare) {
    // The shortest of many interleaved runs: whatever else the machine does only adds.
    let mut shortest = [Duration::MAX; 2];
    for _ in 0..ROUNDS {
        let runs = [time(|| restoring.read_back()), time(|| bare.read_back())];
        for (shortest, run) in shortest.iter_mut().zip(runs) {
            *shortest = run.min(*shortest);
        }
    }
    let [restore, bare] = shortest.map(|run| run.as_secs_f64());
    println!("restore {:.1} ms, bare {:.1} ms", restore * 1e3, bare * 1e3);
    println!("restore/bare = {:.2} (limit {LIMIT})", restore / bare);
    assert!(restore / bare <= LIMIT);

    let silent: Vec<_> = (0..SILENT_PEERS).map(|_| Silent::new()).collect();
    let together = time(|| restoring.read_back_beside(&silent)).as_secs_f64();
    let allowed = restore + CONNECT.as_secs_f64();
    println!("with {SILENT_PEERS} silent peers {:.1} ms", together * 1e3);
    let ratio = together / allowed;
    println!("with silent peers/(restore + connect timeout) = {ratio:.2} (limit {SILENCE_LIMIT})");
    assert!(ratio <= SILENCE_LIMIT);
}

fn time(job: impl FnOnce()) -> Duration {
    let start = Instant::now();
    job();
    start.elapsed()
}

struct Restoring<'a> {
    session: Session,
    node_id: PublicKey,
    records: Vec<PeerRecord>,
    peers: &'a [RawPeer],
}

impl<'a> Restoring<'a> {
    /// Has the peers return a backup of the largest size to whoever connects.
    fn new(home: &Path, peers: &'a [RawPeer]) -> Self {
        let keys = Arc::new(KeysManager::new(&SEED, 0, 0, true));
        let node_id = keys.get_node_id(Recipient::Node).unwrap();
        let storage = PeerStorage::open(Config::new(home, Network::Regtest), &*keys).unwrap();
        let record = |peer: &RawPeer| PeerRecord {
            node_id: peer.id(),
            addresses: vec![peer.addr().into()],
        };
        let records: Vec<_> = peers.iter().map(record).collect();
        let blob = backup(&keys, &node_id, &records);
        for peer in peers {
            let blob = blob.clone();
            peer.on_connect(move |to, _| vec![Outgoing::retrieval(to, blob.clone())]);
        }
        let config = SessionConfig {
            times: Times {
                connect: CONNECT,
                settle: Duration::ZERO,
                ..Times::default()
            },
            ..SessionConfig::default()
        };
        Restoring {
            session: Session::open(storage, keys, config).unwrap(),
            node_id,
            records,
            peers,
        }
    }

    fn read_back(&self) {
        let outcome = self.session.restore(&self.records, DEADLINE).unwrap();
        assert_eq!(outcome.report.answers.len(), PEERS);
        assert!(outcome.peers.iter().all(|peer| peer.outcome.is_ok()));
        wait_for_the_end(self.peers, &self.node_id);
    }

    fn read_back_beside(&self, silent: &[Silent]) {
        let mut records: Vec<_> = silent.iter().map(|peer| peer.record.clone()).collect();
        records.extend_from_slice(&self.records);
        let outcome = self.session.restore(&records, DEADLINE).unwrap();
        let heard = outcome.peers.iter().filter(|peer| peer.outcome.is_ok());
        assert_eq!(heard.count(), PEERS);
    }
}

/// The system takes connections for it, and nobody ever reads from them.
struct Silent {
    record: PeerRecord,
    _listener: TcpListener,
}

impl Silent {
    fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let [high, low] = addr.port().to_be_bytes();
        let mut seed = [8; 32];
        seed[..2].copy_from_slice(&[high, low]);
        let keys = KeysManager::new(&seed, 0, 0, true);
        Silent {
            record: PeerRecord {
                node_id: keys.get_node_id(Recipient::Node).unwrap(),
                addresses: vec![addr.into()],
            },
            _listener: listener,
        }
    }
}

type Ignore = Arc<IgnoringMessageHandler>;
type Peers = PeerManager<
    SocketDescriptor,
    Arc<QuietHandler>,
    Ignore,
    Ignore,
    Arc<WireTap>,
    Ignore,
    Arc<KeysManager>,
    Ignore,
>;

/// LDK with lightning-net-tokio, and handlers that do nothing with what comes.
struct Bare<'a> {
    manager: Arc<Peers>,
    wire: Arc<WireTap>,
    runtime: tokio::runtime::Runtime,
    node_id: PublicKey,
    peers: &'a [RawPeer],
}

impl<'a> Bare<'a> {
    fn new(peers: &'a [RawPeer]) -> Self {
        let keys = Arc::new(KeysManager::new(&[7; 32], 0, 0, true));
        let wire = Arc::new(WireTap::new(Arc::new(NoLog)));
        let ignore = Arc::new(IgnoringMessageHandler {});
        let handlers = MessageHandler {
            chan_handler: Arc::new(QuietHandler::new(Network::Regtest)),
            route_handler: Arc::clone(&ignore),
            onion_message_handler: Arc::clone(&ignore),
            custom_message_handler: Arc::clone(&ignore),
            send_only_message_handler: ignore,
        };
        let random = keys.get_secure_random_bytes();
        let node_id = keys.get_node_id(Recipient::Node).unwrap();
        // One thread, as the session has.
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        Bare {
            manager: Arc::new(PeerManager::new(handlers, 0, &random, wire.clone(), keys)),
            wire,
            runtime: runtime.worker_threads(1).enable_all().build().unwrap(),
            node_id,
            peers,
        }
    }

    fn read_back(&self) {
        let mark = self.wire.mark();
        for peer in self.peers {
            let (manager, id, addr) = (self.manager.clone(), peer.id(), peer.addr());
            self.runtime.spawn(async move {
                let connection = lightning_net_tokio::connect_outbound(manager, id, addr).await;
                connection.expect("a connection").await;
            });
        }
        let name = "PeerStorageRetrieval";
        for peer in self.peers {
            let direction = Direction::Received;
            self.wire
                .wait_for(mark, &peer.id(), direction, name, DEADLINE);
        }
        self.manager.disconnect_all_peers();
        wait_for_the_end(self.peers, &self.node_id);
    }
}

struct NoLog;

impl Logger for NoLog {
    fn log(&self, _record: Record) {}
}

fn wait_for_the_end(peers: &[RawPeer], node: &PublicKey) {
    wait_until("the peers to be left", DEADLINE, || {
        peers.iter().all(|peer| !peer.is_connected(node))
    });
}

fn backup(keys: &KeysManager, owner: &PublicKey, peers: &[PeerRecord]) -> Vec<u8> {
    let snapshot = Snapshot {
        revision: Revision {
            epoch: 1,
            generation: 1,
        },
        installation: InstallationId([1; 8]),
        peers: peers.to_vec(),
        channels: Vec::new(),
        spendable_outputs: Vec::new(),
        app_data: vec![7; 60_000],
        monitors: Vec::new(),
    };
    let secret = keys.get_peer_storage_key().inner;
    let key = BackupKey::derive(&secret, Network::Regtest, owner);
    let encoded = encode(&snapshot, Tier::Full, MAX_BLOB).unwrap();
    key.seal(&encoded.plaintext, Padding::Full, MAX_BLOB, [7; 24])
        .unwrap()
}
