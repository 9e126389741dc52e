//! Looking at what peer storage has told, and at what a storer really keeps.

use std::path::Path;

use bitcoin::secp256k1::PublicKey;
use bitcoin::Network;
use ldk_peer_storage::backup::{BackupKey, Contents};
use ldk_peer_storage::exchange::{Event, PeerStatus, Record};
use ldk_peer_storage::service::PeerStorage;
use ldk_peer_storage::store::{Owner, Store};
use lightning::sign::{KeysManager, NodeSigner, Recipient};

/// All events that wait; they do not come again.
pub fn take_events(storage: &PeerStorage) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some((id, event)) = storage.next_event().expect("a readable directory") {
        storage.event_handled(id).expect("a writable directory");
        events.push(event);
    }
    events
}

/// What the status says of a peer.
pub fn of_peer(storage: &PeerStorage, peer: &PublicKey) -> Option<PeerStatus> {
    let status = storage.status().backup;
    status.peers.into_iter().find(|p| p.node_id == *peer)
}

/// What the backups of the node with this seed are sealed with.
pub fn backup_key(seed: &[u8; 32]) -> BackupKey {
    let keys = KeysManager::new(seed, 0, 0, true);
    let node_id = keys.get_node_id(Recipient::Node).expect("a node id");
    let secret = keys.get_peer_storage_key();
    BackupKey::derive(&secret.inner, Network::Regtest, &node_id)
}

/// The slot of one owner in the directory of a storer that does not run.
pub struct KeptSlot {
    store: Store,
    owner: PublicKey,
}

/// Opens it: whose directory it is, and for whom the slot is kept.
pub fn kept_for(owner: PublicKey, storer_seed: &[u8; 32], dir: &Path) -> KeptSlot {
    let keys = KeysManager::new(storer_seed, 0, 0, true);
    let storer = Owner {
        node_id: keys.get_node_id(Recipient::Node).expect("a node id"),
        network: Network::Regtest,
    };
    let (store, _) = Store::open(dir, backup_key(storer_seed), storer).expect("it opens");
    KeptSlot { store, owner }
}

impl KeptSlot {
    /// The blob, empty if there is none.
    pub fn blob(&self) -> Vec<u8> {
        let blob = self.store.slot(&self.owner).expect("it can be read");
        blob.map(|blob| blob.to_vec()).unwrap_or_default()
    }

    /// The backup in the blob.
    pub fn contents(&self, owner_seed: &[u8; 32]) -> Contents {
        let opened = backup_key(owner_seed).open_snapshot(&self.blob());
        opened.expect("a backup of its owner")
    }

    /// Puts another blob there, as a crash or an old copy would.
    pub fn replace(&self, blob: &[u8]) {
        let record = Record::Slot {
            peer: self.owner,
            blob: blob.into(),
        };
        self.store.apply(vec![record]).expect("it can be written");
    }
}
