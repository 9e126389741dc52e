//! Node ids and channel ids, by number.

use std::collections::HashMap;
use std::sync::OnceLock;

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use bitcoin::{OutPoint, Txid};
use ldk_peer_storage::backup::ChannelIds;
use lightning::ln::types::ChannelId;

/// More nodes than any run has.
pub const MOST_NODES: usize = 50;
/// Channels of a run are kept as bits of a `u128`.
pub const MOST_CHANNELS: usize = 128;

struct Table {
    nodes: Vec<PublicKey>,
    places: HashMap<PublicKey, usize>,
    channels: Vec<ChannelIds>,
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let secp = Secp256k1::new();
        let key = |n: usize| SecretKey::from_slice(&[n as u8 + 1; 32]).unwrap();
        let nodes: Vec<_> = (0..MOST_NODES).map(|n| key(n).public_key(&secp)).collect();
        Table {
            places: nodes.iter().enumerate().map(|(n, id)| (*id, n)).collect(),
            nodes,
            channels: (0..MOST_CHANNELS).map(make_channel_ids).collect(),
        }
    })
}

fn make_channel_ids(channel: usize) -> ChannelIds {
    let txid = Txid::from_byte_array([channel as u8 + 1; 32]);
    let outpoint = lightning::chain::transaction::OutPoint { txid, index: 0 };
    ChannelIds {
        short_channel_id: Some((channel as u64 + 1) << 40),
        funding_outpoint: Some(OutPoint::new(txid, 0)),
        channel_id: Some(ChannelId::v1_from_funding_outpoint(outpoint)),
    }
}

pub fn node_id(node: usize) -> PublicKey {
    table().nodes[node]
}

pub fn node_of(id: &PublicKey) -> usize {
    table().places[id]
}

/// The ids of a channel; a channel that is not confirmed has no short channel id.
pub fn channel_ids(channel: usize, confirmed: bool) -> ChannelIds {
    let mut ids = table().channels[channel];
    if !confirmed {
        ids.short_channel_id = None;
    }
    ids
}

pub fn channel_id(channel: usize) -> ChannelId {
    table().channels[channel].channel_id.unwrap()
}

/// Which channel goes by these ids.
pub fn channel_of(ids: &ChannelIds) -> usize {
    if let Some(short) = ids.short_channel_id {
        return (short >> 40) as usize - 1;
    }
    let known = |other: &ChannelIds| ids.matches(other);
    table().channels.iter().position(known).unwrap()
}

/// An output of a channel's closing transaction that is ours.
pub fn output_of(channel: usize) -> OutPoint {
    OutPoint::new(Txid::from_byte_array([channel as u8 + 1; 32]), 7)
}
