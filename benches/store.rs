//! Durable blobs a second: a stream of 64 KiB blobs from 1,000 peers through `Store::submit`, against
//! bare SQLite with the same batches and settings in the same run. The store may cost a fifth.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::path::Path;
use std::sync::mpsc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use bitcoin::Network;
use criterion::{Criterion, Throughput};
use ldk_peer_storage::backup::BackupKey;
use ldk_peer_storage::exchange::Record;
use ldk_peer_storage::store::{Owner, Store};
use rusqlite::{params, Connection};

const PEERS: usize = 1000;
const BLOB: usize = 65531;
/// As many submissions as the store's writer takes into one transaction.
const BATCH: usize = 64;
const LIMIT: f64 = 0.8;
/// Batches of each side, taken in turns, so that a slow spell of the disk meets both.
const ROUNDS: usize = 40;

fn main() {
    let home = tempfile::tempdir().unwrap();
    let mut store = StoreSide::new(&home.path().join("store"));
    let mut bare = BareSide::new(&home.path().join("bare"));

    // Every slot is filled first: a stream in the steady state replaces blobs.
    let stream = Stream::new();
    for batch in 0..PEERS.div_ceil(BATCH) {
        store.write(stream.batch(batch));
        bare.write(stream.batch(batch));
    }

    let (mut store_times, mut bare_times) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let batch = stream.batch(round);
        if round % 2 == 0 {
            store_times.push(store.write(batch.clone()));
            bare_times.push(bare.write(batch));
        } else {
            bare_times.push(bare.write(batch.clone()));
            store_times.push(store.write(batch));
        }
    }
    let (store_time, bare_time) = (total(store_times), total(bare_times));
    let rate = |time: f64| (ROUNDS * BATCH) as f64 / time;
    let ratio = bare_time / store_time;
    println!(
        "store {:.0} blobs/s, bare {:.0} blobs/s",
        rate(store_time),
        rate(bare_time)
    );
    println!("store/bare = {ratio:.2} (limit {LIMIT})");

    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(5))
        .configure_from_args();
    let mut group = criterion.benchmark_group("durable");
    group.throughput(Throughput::Bytes((BATCH * BLOB) as u64));
    let mut next = 0..;
    group.bench_function("batch of 64 blobs", |bencher| {
        bencher.iter_custom(|times| {
            (0..times)
                .map(|_| store.write(stream.batch(next.next().unwrap())))
                .sum()
        });
    });
    group.finish();
    criterion.final_summary();

    if ratio < LIMIT {
        eprintln!("the store is too slow");
        std::process::exit(1);
    }
}

/// The time of a run without its slowest and fastest tenths: neither side is judged by a hiccup.
fn total(mut times: Vec<Duration>) -> f64 {
    times.sort();
    let cut = times.len() / 10;
    let kept = &times[cut..times.len() - cut];
    kept.iter().sum::<Duration>().as_secs_f64() * times.len() as f64 / kept.len() as f64
}

type Batch = Vec<(PublicKey, Arc<[u8]>)>;

struct Stream {
    peers: Vec<PublicKey>,
    blobs: Vec<Arc<[u8]>>,
}

impl Stream {
    fn new() -> Stream {
        let secp = Secp256k1::new();
        let peer = |number: usize| {
            let mut secret = [1; 32];
            secret[..8].copy_from_slice(&number.to_be_bytes());
            PublicKey::from_secret_key(&secp, &SecretKey::from_slice(&secret).unwrap())
        };
        Stream {
            peers: (0..PEERS).map(peer).collect(),
            blobs: (0..16u8).map(|number| vec![number; BLOB].into()).collect(),
        }
    }

    fn batch(&self, number: usize) -> Batch {
        let one = |n: usize| (self.peers[n % PEERS], self.blobs[(n / 7) % 16].clone());
        (number * BATCH..(number + 1) * BATCH).map(one).collect()
    }
}

struct StoreSide(Store);

impl StoreSide {
    fn new(dir: &Path) -> StoreSide {
        let secret = SecretKey::from_slice(&[9; 32]).unwrap();
        let node_id = PublicKey::from_secret_key(&Secp256k1::new(), &secret);
        let key = BackupKey::derive(&[1; 32], Network::Regtest, &node_id);
        let owner = Owner {
            node_id,
            network: Network::Regtest,
        };
        StoreSide(Store::open(dir, key, owner).unwrap().0)
    }

    fn write(&mut self, batch: Batch) -> Duration {
        let (gate, started) = self.hold_writer();
        started.recv().unwrap();
        let start = Instant::now();
        let (sender, durable) = mpsc::channel();
        for (peer, blob) in batch {
            let sender = sender.clone();
            let done = move |result: Result<(), _>| sender.send(result).unwrap();
            self.0.submit(vec![Record::Slot { peer, blob }], done);
        }
        drop((sender, gate));
        durable.iter().for_each(|result| result.unwrap());
        start.elapsed()
    }

    /// Keeps the writer busy until the sender is dropped, so that the batch is taken as one.
    fn hold_writer(&self) -> (mpsc::Sender<()>, mpsc::Receiver<()>) {
        let (gate, open) = mpsc::channel::<()>();
        let (running, started) = mpsc::channel();
        self.0.submit(Vec::new(), move |_| {
            running.send(()).unwrap();
            let _ = open.recv();
        });
        (gate, started)
    }
}

struct BareSide(Connection);

impl BareSide {
    fn new(dir: &Path) -> BareSide {
        std::fs::create_dir_all(dir).unwrap();
        let connection = Connection::open(dir.join("bare.sqlite")).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 CREATE TABLE slots (id INTEGER PRIMARY KEY, peer BLOB UNIQUE, bytes BLOB);",
            )
            .unwrap();
        BareSide(connection)
    }

    fn write(&mut self, batch: Batch) -> Duration {
        let start = Instant::now();
        let transaction = self.0.transaction().unwrap();
        for (peer, blob) in batch {
            transaction
                .prepare_cached(
                    "INSERT INTO slots (peer, bytes) VALUES (?, ?)
                     ON CONFLICT (peer) DO UPDATE SET bytes = excluded.bytes",
                )
                .unwrap()
                .execute(params![peer.serialize(), &*blob])
                .unwrap();
        }
        transaction.commit().unwrap();
        start.elapsed()
    }
}
