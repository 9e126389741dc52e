//! The bindings, called from Rust: what they add before any other language does.

use std::future::Future;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use peer_storage_ffi::config::{BitcoinNetwork, OpenConfig, StorageSettings};
use peer_storage_ffi::opening::StorageOpening;
use peer_storage_ffi::peer_storage::sdk_version;
use peer_storage_ffi::secret::WalletSecret;
use peer_storage_ffi::wallet::{WalletPeer, WalletReport};
use peer_storage_ffi::PeerStorage;
use tokio::runtime::{Builder, Runtime};

use crate::keepers::Keepers;
use crate::{median, Side};

/// Long enough for everything, in milliseconds.
const BUDGET: u64 = 20_000;

pub struct RustSide {
    runtime: Runtime,
    storage: Arc<PeerStorage>,
    secret: Arc<WalletSecret>,
    other: PathBuf,
}

impl RustSide {
    pub fn new(dir: &Path, seed: u8, keepers: &Keepers) -> RustSide {
        // Its own thread waits: what the bindings do, they do on theirs.
        let runtime = Builder::new_multi_thread().worker_threads(1).build();
        let runtime = runtime.unwrap();
        let secret = WalletSecret::from_ldk_seed(vec![seed; 32]).unwrap();
        let storage = runtime.block_on(opened(config(dir), &secret));
        // Before peers are known: nobody is visited.
        storage.on_foreground();
        runtime.block_on(storage.declare_new()).unwrap();
        let peers: Vec<_> = keepers
            .peers()
            .map(|(node_id, addr)| WalletPeer {
                node_id: node_id.to_string(),
                addresses: vec![addr.to_string()],
            })
            .collect();
        let report = WalletReport {
            channels: Vec::new(),
            keep_backups_at: peers.iter().map(|peer| peer.node_id.clone()).collect(),
            peers,
            spendable_outputs: Vec::new(),
            earliest_htlc_expiry: None,
        };
        storage.report_wallet(report).unwrap();
        let mut side = RustSide {
            runtime,
            storage,
            secret,
            other: dir.with_extension("opened"),
        };
        side.open();
        side
    }

    fn opened(&self, in_foreground: bool) -> Arc<PeerStorage> {
        let config = OpenConfig {
            in_foreground,
            network_available: false,
            ..config(&self.other)
        };
        self.wait(opened(config, &self.secret))
    }

    fn wait<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(call)
    }
}

async fn opened(config: OpenConfig, secret: &Arc<WalletSecret>) -> Arc<PeerStorage> {
    let opening = StorageOpening::new(config, secret.clone());
    opening.open().await.unwrap();
    opening.take().unwrap()
}

fn config(dir: &Path) -> OpenConfig {
    OpenConfig {
        data_dir: dir.to_str().unwrap().to_owned(),
        network: BitcoinNetwork::Regtest,
        expected_node_id: None,
        in_foreground: false,
        network_available: true,
        host_node_runs: false,
        storage: StorageSettings {
            guests: None,
            guest_bytes: 65_531,
            guest_count: 100,
            guest_total_bytes: 6_553_100,
            pad_fully: true,
            monitors: true,
        },
        tor_proxy: None,
        linger_ms: 0,
    }
}

impl Side for RustSide {
    fn name(&self) -> &'static str {
        "bindings, from Rust"
    }

    fn open(&mut self) -> Duration {
        let start = Instant::now();
        let storage = self.opened(false);
        let time = start.elapsed();
        self.wait(storage.shutdown(BUDGET)).unwrap();
        time
    }

    fn resume(&mut self) {
        self.storage.on_foreground();
    }

    fn change(&mut self, data: Vec<u8>) {
        self.wait(self.storage.set_app_data(data)).unwrap();
    }

    fn push(&mut self) -> Duration {
        let start = Instant::now();
        let report = self.wait(self.storage.on_background(BUDGET)).unwrap();
        assert!(report.drained && report.suspended, "{report:?}");
        start.elapsed()
    }

    fn calls(&mut self) -> Option<[Duration; 3]> {
        let storage = self.opened(true);
        let times = [
            each(1_000, || drop(black_box(sdk_version()))),
            each(100, || drop(storage.status().unwrap())),
            each(20, || drop(self.wait(storage.next_event()).unwrap())),
        ];
        self.wait(storage.shutdown(BUDGET)).unwrap();
        Some(times)
    }
}

/// What a call takes, as the middle one of many short series: work of others hits only some of them.
fn each(calls: u32, mut call: impl FnMut()) -> Duration {
    const SERIES: u32 = 101;
    (0..SERIES * calls).for_each(|_| call());
    let times: Vec<_> = (0..SERIES)
        .map(|_| {
            let start = Instant::now();
            (0..calls).for_each(|_| call());
            start.elapsed() / calls
        })
        .collect();
    median(&times)
}
