//! [`StorageOpening`]: the way to a [`PeerStorage`], in steps of which any may be given up.

use std::sync::Arc;

use ldk_peer_storage::lifecycle::{Lifecycle, LifecycleConfig};
use ldk_peer_storage::service;
use ldk_peer_storage::session::SessionConfig;
use tokio::sync::Mutex;

use crate::config::OpenConfig;
use crate::errors::PeerStorageError;
use crate::parse::{self, millis};
use crate::runtime::{contained, run_alone, Lane};
use crate::secret::WalletSecret;
use crate::PeerStorage;

type Outcome<T> = Result<T, PeerStorageError>;

/// No path is longer, in bytes.
const LONGEST_PATH: usize = 4096;

/// Opens a data directory: `open`, then `take`. The Kotlin and the Swift library do both in one,
/// `PeerStorage.open`.
///
/// Two steps, since the first takes a while: a caller that no longer waits for it drops this object, and with it
/// what it has opened is closed. (An object that a call gives back after its caller has gone would belong to
/// nobody, and its directory would be in use until the process ends.)
#[derive(uniffi::Object)]
pub struct StorageOpening {
    config: OpenConfig,
    secret: Arc<WalletSecret>,
    opened: Arc<Mutex<Opened>>,
}

/// What has come of it so far.
#[derive(Default)]
enum Opened {
    #[default]
    Nothing,
    Storage(Arc<PeerStorage>),
    Taken,
}

#[uniffi::export]
impl StorageOpening {
    /// Nothing is opened by this.
    #[uniffi::constructor]
    pub fn new(config: OpenConfig, secret: Arc<WalletSecret>) -> Arc<Self> {
        Arc::new(StorageOpening {
            config,
            secret,
            opened: Arc::default(),
        })
    }

    /// Opens the data directory, also where the app is not visible: what is wrong with it shows now. After an
    /// error it may be called again; after it has opened it does nothing.
    ///
    /// Throws `InUse`, `Locked`, `WrongWallet`, `NewerVersion`, `Corrupt`, `Storage`, `InvalidInput`.
    pub async fn open(&self) -> Outcome<()> {
        let (config, secret) = (self.config.clone(), Arc::clone(&self.secret));
        run_alone(Lane::Disk, Arc::clone(&self.opened), move |opened| {
            if let Opened::Nothing = opened {
                *opened = Opened::Storage(open_now(&config, &secret)?);
            }
            Ok(())
        })
        .await
    }

    /// The storage that was opened. It is given once.
    ///
    /// Throws `Closed` where it was given before, `Suspended` where `open` has not ended.
    pub fn take(&self) -> Outcome<Arc<PeerStorage>> {
        contained(|| {
            let opened = self.opened.try_lock();
            let mut opened = opened.map_err(|_| PeerStorageError::Suspended)?;
            match std::mem::replace(&mut *opened, Opened::Taken) {
                Opened::Storage(storage) => Ok(storage),
                Opened::Taken => Err(PeerStorageError::Closed),
                Opened::Nothing => {
                    *opened = Opened::Nothing;
                    Err(PeerStorageError::Suspended)
                }
            }
        })
    }
}

fn open_now(config: &OpenConfig, secret: &WalletSecret) -> Outcome<Arc<PeerStorage>> {
    let dir = &config.data_dir;
    parse::limit("data_dir", dir.len(), LONGEST_PATH)?;
    if dir.is_empty() || dir.contains('\0') {
        return Err(PeerStorageError::invalid("data_dir", "is no path"));
    }
    let identity = secret.identity().clone();
    if let Some(expected) = &config.expected_node_id {
        if parse::node_id("expected_node_id", expected)? != identity.node_id() {
            return Err(PeerStorageError::WrongWallet);
        }
    }
    let storage = service::Config {
        storage: config.storage.policy()?,
        padding: config.storage.padding(),
        monitors: config.storage.monitors,
        ..service::Config::new(dir, config.network.into())
    };
    let keys = Arc::new(identity.keys());
    let lifecycle = Lifecycle::open(
        LifecycleConfig {
            session: SessionConfig {
                tor_proxy: config.tor_proxy()?,
                ..SessionConfig::default()
            },
            network: config.network_available,
            linger: millis(config.linger_ms),
            ..LifecycleConfig::new(storage)
        },
        keys,
    )?;
    // Before it is visible: or peers might be visited beside the node.
    if config.host_node_runs {
        lifecycle.on_host_node_changed(true);
    }
    if config.in_foreground {
        lifecycle.on_foreground();
    }
    Ok(PeerStorage::over(lifecycle, identity, config.network))
}
