//! The core, as an app in Rust would call it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::Network;
use ldk_peer_storage::backup::{Padding, PeerRecord};
use ldk_peer_storage::lifecycle::{Lifecycle, LifecycleConfig, WalletReport};
use ldk_peer_storage::service::Config;
use lightning::sign::KeysManager;

use crate::keepers::Keepers;
use crate::Side;

/// Long enough for everything.
const BUDGET: Duration = Duration::from_secs(20);

pub struct CoreSide {
    life: Lifecycle,
    keys: Arc<KeysManager>,
    /// Of another storage, which is opened again and again.
    other: PathBuf,
}

impl CoreSide {
    pub fn new(dir: &Path, seed: u8, keepers: &Keepers) -> CoreSide {
        let keys = Arc::new(KeysManager::new(&[seed; 32], 0, 0, true));
        let life = Lifecycle::open(config(dir), keys.clone()).unwrap();
        let peers: Vec<_> = keepers
            .peers()
            .map(|(node_id, addr)| PeerRecord {
                node_id,
                addresses: vec![addr.into()],
            })
            .collect();
        // Before peers are known: nobody is visited.
        life.on_foreground();
        life.durably(|storage| storage.declare_new())
            .unwrap()
            .unwrap();
        life.report_wallet(WalletReport {
            keep_backups_at: peers.iter().map(|peer| peer.node_id).collect(),
            peers,
            ..WalletReport::default()
        });
        let mut side = CoreSide {
            life,
            keys,
            other: dir.with_extension("opened"),
        };
        side.open();
        side
    }
}

fn config(dir: &Path) -> LifecycleConfig {
    let mut config = Config::new(dir, Network::Regtest);
    config.padding = Padding::Full;
    LifecycleConfig {
        linger: Duration::ZERO,
        ..LifecycleConfig::new(config)
    }
}

impl Side for CoreSide {
    fn name(&self) -> &'static str {
        "the core"
    }

    fn open(&mut self) -> Duration {
        let start = Instant::now();
        let life = Lifecycle::open(config(&self.other), self.keys.clone()).unwrap();
        let time = start.elapsed();
        life.shutdown(BUDGET);
        time
    }

    fn resume(&mut self) {
        self.life.on_foreground();
    }

    fn change(&mut self, data: Vec<u8>) {
        self.life
            .durably(|storage| storage.set_app_data(data))
            .unwrap();
    }

    fn push(&mut self) -> Duration {
        let start = Instant::now();
        let report = self.life.on_background(BUDGET);
        assert!(report.drained && report.suspended, "{report:?}");
        start.elapsed()
    }

    fn calls(&mut self) -> Option<[Duration; 3]> {
        None
    }
}
