//! Looking at what peer storage has told, and at what a storer really keeps.

use std::path::Path;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{BlockHash, Network};
use ldk_peer_storage::backup::{BackupKey, Contents};
use ldk_peer_storage::exchange::{Event, PeerStatus, Record};
use ldk_peer_storage::service::PeerStorage;
use ldk_peer_storage::store::{Owner, Store};
use lightning::chain::channelmonitor::ChannelMonitor;
use lightning::ln::types::ChannelId;
use lightning::sign::{InMemorySigner, KeysManager, NodeSigner, Recipient};
use lightning::util::ser::ReadableArgs;
use testkit::{wait_until, Direction, Node, WireTap, DEADLINE};

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

/// Waits until every backup that left a node on the present connection has reached that peer: a
/// disconnection would lose what is still on its way. Flush the node's peer storage before.
pub fn wait_pushes_arrived(from: &PublicKey, wire: &WireTap, to: &Node) {
    let pushes = |wire: &WireTap, peer: &PublicKey, direction| {
        let messages = wire.with(peer).into_iter().rev();
        let connection = messages
            .filter(|m| m.direction == direction)
            .take_while(|m| m.name != "Init");
        connection.filter(|m| m.name == "PeerStorage").count()
    };
    wait_until("what was sent to arrive", DEADLINE, || {
        let sent = pushes(wire, &to.id(), Direction::Sent);
        sent == pushes(to.wire(), from, Direction::Received)
    });
}

/// What LDK reads out of the bytes of a monitor: its channel, and its state.
pub fn read_monitor(seed: &[u8; 32], bytes: &[u8]) -> (ChannelId, u64) {
    let keys = KeysManager::new(seed, 0, 0, true);
    let mut reader = bytes;
    let read = <(BlockHash, ChannelMonitor<InMemorySigner>)>::read(&mut reader, (&keys, &keys));
    let (_, monitor) = read.expect("a monitor");
    assert!(reader.is_empty());
    (monitor.channel_id(), monitor.get_latest_update_id())
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

/// All that leaves a quiet node (safety rule 10).
pub const QUIET: [&str; 5] = [
    "Init",
    "PeerStorage",
    "PeerStorageRetrieval",
    "Ping",
    "Pong",
];

/// Of all that was sent nothing is about channels.
#[track_caller]
pub fn assert_quiet(sent: &[String]) {
    let other = sent.iter().find(|name| !QUIET.contains(&name.as_str()));
    assert_eq!(other, None, "left the node, among: {sent:?}");
}
