//! Sealing and opening the largest blob, against the bare cipher on as many bytes in place.
//!
//! Fails where either takes more than 1.2 times as long.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use bitcoin::Network;
use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use criterion::{Criterion, Throughput};
use ldk_peer_storage::backup::{BackupKey, Padding, MAX_BLOB, OVERHEAD};

const LIMIT: f64 = 1.2;
const NONCE: [u8; 24] = [3; 24];

fn main() {
    let jobs = Jobs::new();
    let mut criterion = Criterion::default().configure_from_args();
    jobs.report(&mut criterion);
    criterion.final_summary();
    // `cargo test --benches` runs this too, without optimisation and with no time to measure.
    if std::env::args().any(|argument| argument == "--bench") {
        jobs.check();
    }
}

struct Jobs {
    key: BackupKey,
    cipher: XChaCha20Poly1305,
    plaintext: Vec<u8>,
    blob: Vec<u8>,
}

impl Jobs {
    fn new() -> Self {
        let secret = SecretKey::from_slice(&[1; 32]).unwrap();
        let node_id = PublicKey::from_secret_key(&Secp256k1::new(), &secret);
        let key = BackupKey::derive(&[2; 32], Network::Regtest, &node_id);
        let plaintext = vec![7; MAX_BLOB - OVERHEAD];
        let blob = seal(&key, &plaintext);
        Self {
            key,
            cipher: XChaCha20Poly1305::new(&[4; 32].into()),
            plaintext,
            blob,
        }
    }

    fn seal(&self) {
        black_box(seal(&self.key, black_box(&self.plaintext)));
    }

    fn open(&self) {
        black_box(self.key.open(black_box(&self.blob)).unwrap());
    }

    fn bare(&self, buffer: &mut [u8]) {
        let tag = self
            .cipher
            .encrypt_in_place_detached(&NONCE.into(), &[], buffer);
        black_box(tag.unwrap());
    }

    fn report(&self, criterion: &mut Criterion) {
        let mut buffer = vec![0; MAX_BLOB];
        let mut group = criterion.benchmark_group("65531 bytes");
        group.throughput(Throughput::Bytes(MAX_BLOB as u64));
        group.bench_function("bare", |b| b.iter(|| self.bare(&mut buffer)));
        group.bench_function("seal", |b| b.iter(|| self.seal()));
        group.bench_function("open and wipe", |b| b.iter(|| self.open()));
        group.finish();
    }

    fn check(&self) {
        let mut buffer = vec![0; MAX_BLOB];
        // The shortest of many interleaved runs: whatever else the machine does only adds.
        let mut shortest = [Duration::MAX; 4];
        for _ in 0..4000 {
            let start = Instant::now();
            let plaintext = self.key.open(black_box(&self.blob)).unwrap();
            let open = start.elapsed();
            // The plaintext is wiped when its owner is done with it.
            drop(plaintext);
            let open_and_wipe = start.elapsed();
            let runs = [
                time(|| self.bare(&mut buffer)),
                time(|| self.seal()),
                open,
                open_and_wipe,
            ];
            for (shortest, run) in shortest.iter_mut().zip(runs) {
                *shortest = run.min(*shortest);
            }
        }
        let [bare, seal, open, open_and_wipe] = shortest.map(|run| run.as_secs_f64());
        println!("seal/bare = {:.2} (limit {LIMIT})", seal / bare);
        println!("open/bare = {:.2} (limit {LIMIT})", open / bare);
        println!("open and wipe/bare = {:.2}", open_and_wipe / bare);
        assert!(seal / bare <= LIMIT && open / bare <= LIMIT);
    }
}

fn seal(key: &BackupKey, plaintext: &[u8]) -> Vec<u8> {
    key.seal(plaintext, Padding::Full, MAX_BLOB, NONCE).unwrap()
}

fn time(job: impl FnOnce()) -> Duration {
    let start = Instant::now();
    job();
    start.elapsed()
}
