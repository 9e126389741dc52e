//! Peer storage with a session on 127.0.0.1, between two runs of the node, and a tap on its wire.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use bitcoin::Network;
use ldk_peer_storage::backup::PeerRecord;
use ldk_peer_storage::recovery::Identity;
use ldk_peer_storage::service::{Config, PeerStorage, WalletSource};
use ldk_peer_storage::session::{Session, SessionConfig, SessionReport, Times, Work};
use lightning::util::logger::{Logger, Record};
use testkit::WireTap;

pub struct Beside {
    pub storage: PeerStorage,
    pub session: Session,
    /// All that the session says and hears.
    pub wire: Arc<WireTap>,
}

impl Beside {
    /// Opens the data directory of peer storage, which is not the node's.
    pub fn open(identity: &Identity, dir: &Path) -> Beside {
        let keys = Arc::new(identity.keys());
        let storage = PeerStorage::open(Config::new(dir, Network::Regtest), &*keys);
        let storage = storage.expect("the data directory opens");
        let wire = Arc::new(WireTap::new(Arc::new(Silent)));
        let config = SessionConfig {
            logger: Some(wire.clone()),
            times: quick(),
            ..SessionConfig::default()
        };
        let session = Session::open(storage.clone(), keys, config).expect("a session");
        Beside {
            storage,
            session,
            wire,
        }
    }

    /// Backs up what the stopped node has, at these peers.
    pub fn back_up(
        &self,
        wallet: &Arc<dyn WalletSource>,
        peers: &[PeerRecord],
        work: Work,
        budget: Duration,
    ) -> SessionReport {
        let (storage, session, wallet) = (&self.storage, &self.session, wallet.clone());
        let report = beside_ldk_node::back_up(storage, session, wallet, peers, work, budget);
        report.expect("a past")
    }

    /// Before the node is started again.
    pub fn close(self) {
        drop(self.session);
        self.storage.close(Duration::from_secs(10));
    }
}

/// Where a peer listens.
pub fn record(node_id: PublicKey, addr: SocketAddr) -> PeerRecord {
    PeerRecord {
        node_id,
        addresses: vec![addr.into()],
    }
}

/// On loopback nothing takes long.
fn quick() -> Times {
    Times {
        connect: Duration::from_secs(5),
        after_reestablish: Duration::from_millis(200),
        first_reestablish: Duration::from_secs(1),
        ..Times::default()
    }
}

/// Only the tap in front of it matters.
struct Silent;

impl Logger for Silent {
    fn log(&self, _record: Record) {}
}
