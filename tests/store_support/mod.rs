//! What the tests of the store share.

#![allow(dead_code, clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use bitcoin::Network;
use ldk_peer_storage::backup::{
    BackupKey, ChannelIds, ChannelKind, ChannelPhase, ChannelRecord, InstallationId, MonitorRecord,
    PeerRecord, Revision, Snapshot,
};
use ldk_peer_storage::exchange::{Record, SavedState};
use ldk_peer_storage::store::{Owner, Store, StoreError};
use lightning::ln::msgs::SocketAddress;
use lightning::ln::types::ChannelId;

pub const DATABASE: &str = "peer-storage.sqlite";

/// Stands in every snapshot of these tests, and must not be found in a file.
pub const SECRET_HOST: &str = "secret-host.example.org";

pub fn node(number: u64) -> PublicKey {
    let mut secret = [1; 32];
    secret[24..].copy_from_slice(&number.to_be_bytes());
    PublicKey::from_secret_key(&Secp256k1::new(), &SecretKey::from_slice(&secret).unwrap())
}

pub fn owner() -> Owner {
    Owner {
        node_id: node(0),
        network: Network::Regtest,
    }
}

pub fn key() -> BackupKey {
    BackupKey::derive(&[42; 32], Network::Regtest, &node(0))
}

pub fn try_open(dir: &Path) -> Result<(Store, SavedState), StoreError> {
    testkit::logs::watch();
    Store::open(dir, key(), owner())
}

pub fn open(dir: &Path) -> (Store, SavedState) {
    try_open(dir).unwrap()
}

pub fn revision(epoch: u32, generation: u64) -> Revision {
    Revision { epoch, generation }
}

pub fn channel(number: u8) -> ChannelIds {
    ChannelIds {
        short_channel_id: Some(u64::from(number) << 40),
        funding_outpoint: None,
        channel_id: Some(ChannelId([number; 32])),
    }
}

/// A snapshot with one channel; `channel_number` makes the content.
pub fn snapshot(revision: Revision, channel_number: u8) -> Arc<Snapshot> {
    Arc::new(Snapshot {
        revision,
        installation: InstallationId([7; 8]),
        peers: vec![PeerRecord {
            node_id: node(1),
            addresses: vec![SocketAddress::Hostname {
                hostname: SECRET_HOST.to_owned().try_into().unwrap(),
                port: 9735,
            }],
        }],
        channels: vec![ChannelRecord {
            counterparty: node(1),
            ids: channel(channel_number),
            update_id: 5,
            phase: ChannelPhase::Ready,
            restored: false,
            kind: ChannelKind::Anchors,
            channel_keys_id: Some([3; 32]),
            value_sat: Some(100_000),
        }],
        spendable_outputs: Vec::new(),
        app_data: SECRET_HOST.as_bytes().to_vec(),
        monitors: vec![MonitorRecord {
            channel: ChannelId([channel_number; 32]),
            update_id: 5,
            pending_htlcs: false,
            bytes: Arc::new(SECRET_HOST.as_bytes().to_vec().into()),
        }],
    })
}

/// A blob that names its number in all of its bytes.
pub fn blob(number: u64, len: usize) -> Arc<[u8]> {
    number.to_le_bytes().into_iter().cycle().take(len).collect()
}

pub fn slot(peer: u64, number: u64, len: usize) -> Record {
    Record::Slot {
        peer: node(peer),
        blob: blob(number, len),
    }
}

pub fn foreign(peer: u64, installation: u8, revision: Revision, bytes: &[u8]) -> Record {
    Record::Foreign {
        peer: node(peer),
        installation: InstallationId([installation; 8]),
        revision,
        blob: bytes.into(),
    }
}

/// A connection of the test's own, beside or instead of the store's.
pub fn raw(dir: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(dir.join(DATABASE)).unwrap()
}

pub fn integrity_check(dir: &Path) -> String {
    raw(dir)
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap()
}

/// The database and its log, for comparison.
pub fn file_bytes(dir: &Path) -> (Vec<u8>, Vec<u8>) {
    let read = |name: String| std::fs::read(dir.join(name)).unwrap_or_default();
    (read(DATABASE.to_owned()), read(format!("{DATABASE}-wal")))
}
