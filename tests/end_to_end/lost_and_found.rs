//! A phone is lost, and what its peers keep brings it back: all of it, whoever answers, and whenever.

mod bad_blobs;
mod closing;
mod keys;
mod late_peer;
mod omitted;
mod restore;

use bitcoin::hashes::{sha256, Hash};
use bitcoin::secp256k1::PublicKey;
use bitcoin::{Network, OutPoint};
use ldk_peer_storage::backup::{
    encode, ChannelIds, ChannelKind, ChannelPhase, ChannelRecord, InstallationId, Padding,
    PeerRecord, Revision, Snapshot, Tier, MAX_BLOB,
};
use lightning::sign::{KeysManager, NodeSigner, Recipient};
use testkit::{Outgoing, RawPeer};

use crate::support::backup_key;

/// The seed of a node of this name, as the test kit makes it.
fn seed(name: &str) -> [u8; 32] {
    sha256::Hash::hash(name.as_bytes()).to_byte_array()
}

fn node_id(seed: &[u8; 32]) -> PublicKey {
    let keys = KeysManager::new(seed, 0, 0, true);
    keys.get_node_id(Recipient::Node).unwrap()
}

/// A snapshot with these channels, each given by its number and peer.
fn snapshot(revision: (u32, u64), installation: u8, channels: &[(u64, PublicKey)]) -> Snapshot {
    let mut peers: Vec<_> = channels.iter().map(|(_, peer)| *peer).collect();
    peers.sort();
    peers.dedup();
    let peer = |node_id| PeerRecord {
        node_id,
        addresses: Vec::new(),
    };
    Snapshot {
        revision: Revision {
            epoch: revision.0,
            generation: revision.1,
        },
        installation: InstallationId([installation; 8]),
        peers: peers.into_iter().map(peer).collect(),
        channels: channels
            .iter()
            .map(|(n, peer)| channel(*n, *peer))
            .collect(),
        spendable_outputs: Vec::new(),
        app_data: Vec::new(),
        monitors: Vec::new(),
    }
}

fn channel(number: u64, counterparty: PublicKey) -> ChannelRecord {
    ChannelRecord {
        counterparty,
        ids: ChannelIds {
            short_channel_id: Some(number << 40),
            ..ChannelIds::default()
        },
        update_id: 7,
        phase: ChannelPhase::Ready,
        restored: false,
        kind: ChannelKind::Anchors,
        channel_keys_id: None,
        value_sat: Some(1_000 * number),
    }
}

/// The backup of a node with this seed, as its peers keep it.
fn sealed(seed: &[u8; 32], snapshot: &Snapshot) -> Vec<u8> {
    let encoded = encode(snapshot, Tier::Full, MAX_BLOB).unwrap();
    let key = backup_key(seed);
    key.seal(&encoded.plaintext, Padding::Buckets, MAX_BLOB, [9; 24])
        .unwrap()
}

/// Has the peer return this blob whenever somebody connects.
fn returns(peer: &RawPeer, blob: Vec<u8>) {
    peer.on_connect(move |to, _| vec![Outgoing::retrieval(to, blob.clone())]);
}

/// The funding outputs that a backup names, where it names them in full.
fn funding_outputs(channels: &[ChannelRecord]) -> Vec<OutPoint> {
    let mut outputs: Vec<_> = channels
        .iter()
        .filter_map(|channel| channel.ids.funding_outpoint)
        .collect();
    outputs.sort();
    outputs
}

const NETWORK: Network = Network::Regtest;
