//! A session with a tap on its wire, and what it has to keep to.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use bitcoin::Network;
use ldk_peer_storage::backup::PeerRecord;
use ldk_peer_storage::service::{Config, PeerStorage};
use ldk_peer_storage::session::{
    NotReached, PeerReport, Session, SessionConfig, SessionReport, Times, Visit,
};
use lightning::sign::KeysManager;
use lightning::util::logger::{Logger, Record};
use testkit::{Direction, Node, RawPeer, WireTap};

pub struct Quiet {
    pub storage: PeerStorage,
    pub session: Session,
    pub wire: Arc<WireTap>,
}

impl Quiet {
    pub fn open(seed: [u8; 32], dir: &Path) -> Quiet {
        Quiet::with_times(seed, dir, Times::default())
    }

    pub fn with_times(seed: [u8; 32], dir: &Path, times: Times) -> Quiet {
        let config = SessionConfig {
            times,
            ..SessionConfig::default()
        };
        Quiet::with_config(seed, dir, config)
    }

    pub fn with_config(seed: [u8; 32], dir: &Path, config: SessionConfig) -> Quiet {
        testkit::logs::watch();
        let keys = Arc::new(KeysManager::new(&seed, 0, 0, true));
        let storage = PeerStorage::open(Config::new(dir, Network::Regtest), &*keys).unwrap();
        let wire = Arc::new(WireTap::new(Arc::new(Silent)));
        let config = SessionConfig {
            logger: Some(wire.clone()),
            ..config
        };
        Quiet {
            session: Session::open(storage.clone(), keys, config).unwrap(),
            storage,
            wire,
        }
    }

    pub fn close(self) {
        drop(self.session);
        self.storage.close(Duration::from_secs(10));
    }
}

struct Silent;

impl Logger for Silent {
    fn log(&self, _record: Record) {}
}

pub fn record(peer: PublicKey, addr: SocketAddr) -> PeerRecord {
    PeerRecord {
        node_id: peer,
        addresses: vec![addr.into()],
    }
}

pub fn of_node(node: &Node) -> PeerRecord {
    record(node.id(), node.addr())
}

pub fn of_raw(peer: &RawPeer) -> PeerRecord {
    record(peer.id(), peer.addr())
}

/// What came of one peer.
#[track_caller]
pub fn outcome(reports: &[PeerReport], peer: &PublicKey) -> Result<Visit, NotReached> {
    let mut found = reports.iter().filter(|report| report.peer == *peer);
    let report = found.next().expect("a report");
    assert_eq!(found.next(), None, "one report for each peer");
    report.outcome.clone()
}

/// All peers were visited, and have read what was sent.
#[track_caller]
pub fn assert_all_delivered(report: &SessionReport) {
    let delivered = |peer: &PeerReport| peer.outcome.as_ref().is_ok_and(|visit| visit.delivered);
    assert!(report.peers.iter().all(delivered), "{report:?}");
}

/// On each connection of a session, seen by itself: the peer's 9, or its 136, came before a 7 went
/// out (safety rule 1).
#[track_caller]
pub fn assert_read_before_written(wire: &WireTap, peer: &PublicKey) {
    let mut read_back = false;
    for message in wire.with(peer) {
        match (message.direction, message.name.as_str()) {
            (Direction::Sent, "Init") => read_back = false,
            (Direction::Received, "PeerStorageRetrieval" | "ChannelReestablish") => {
                read_back = true
            }
            (Direction::Sent, "PeerStorage") => assert!(read_back, "{:?}", wire.with(peer)),
            _ => {}
        }
    }
}
