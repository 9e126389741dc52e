//! The essential record: peers, an address each, and their channels, packed to fit into 1024 bytes.
//!
//! ```text
//! record  = packing 1 ‖ group*
//! group   = head 1 ‖ x coordinate of the node id 32 ‖ [channel count BigSize] ‖ [address] ‖ channel*
//! head    = bit 0: the node id starts with 3 instead of 2
//!           bits 1-3: 0 no address, 1 IPv4, 2 IPv6, 3 Tor v2, 4 Tor v3, 5 hostname (as in BOLT #7),
//!                     7 no listed peer, only the counterparty of its channels
//!           bits 4-7: channel count, 15: it follows
//! address = as in BOLT #7, without its type
//! channel = flags 1 ‖ state stamp BigSize ‖ [id] ‖ [channel_keys_id 32]
//! flags   = bits 0-1: 0 opening, 1 ready, 2 closing
//!           bit 2: restored
//!           bits 3-4: 0 static_remotekey, 1 anchors, 2 other
//!           bits 5-6: id: 0 none, 1 short channel id 8, 2 funding txid 32 and index 2, 3 channel id 32
//!           bit 7: the channel_keys_id follows
//! ```
//!
//! Values that are not listed are left to later versions.

use std::collections::HashMap;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{OutPoint, Txid};
use lightning::ln::msgs::{DecodeError, SocketAddress};
use lightning::ln::types::ChannelId;
use lightning::util::ser::{BigSize, Readable, Writeable};

use super::snapshot::{ChannelIds, ChannelKind, ChannelPhase, ChannelRecord, PeerRecord, Snapshot};

/// Raised when groups or channels are packed in another way.
const PACKING: u8 = 1;

/// The bytes of the record before its first group.
pub(super) const EMPTY_SIZE: usize = 1;

const UNLISTED: u8 = 7;
const COUNT_FOLLOWS: usize = 15;

const RESTORED: u8 = 1 << 2;
const HAS_KEYS_ID: u8 = 1 << 7;

/// A node and its channels, as they stand together in the record.
pub(super) struct Group<'a> {
    pub(super) node_id: PublicKey,
    /// `None` for a counterparty that is not in the snapshot's list of peers.
    pub(super) peer: Option<&'a PeerRecord>,
    /// Places in the snapshot's list of channels.
    pub(super) channels: Vec<usize>,
}

/// All peers in their order, then the counterparties that are not among them.
pub(super) fn groups(snapshot: &Snapshot) -> Vec<Group<'_>> {
    let mut groups: Vec<Group> = Vec::new();
    let mut by_node = HashMap::new();
    for peer in &snapshot.peers {
        by_node.entry(peer.node_id).or_insert(groups.len());
        groups.push(Group {
            node_id: peer.node_id,
            peer: Some(peer),
            channels: Vec::new(),
        });
    }
    for (place, channel) in snapshot.channels.iter().enumerate() {
        let node_id = channel.counterparty;
        let group = *by_node.entry(node_id).or_insert(groups.len());
        if group == groups.len() {
            groups.push(Group {
                node_id,
                peer: None,
                channels: Vec::new(),
            });
        }
        groups[group].channels.push(place);
    }
    groups
}

impl Group<'_> {
    /// The size of the group with that many channels but without their own bytes.
    pub(super) fn head_size(&self, channels: usize) -> usize {
        let address = self.address().map_or(0, |a| a.serialized_length() - 1);
        let count = if channels < COUNT_FOLLOWS {
            0
        } else {
            BigSize(channels as u64).serialized_length()
        };
        33 + count + address
    }

    fn address(&self) -> Option<&SocketAddress> {
        self.peer?.addresses.first()
    }

    fn write(&self, channels: &[ChannelRecord], out: &mut Vec<u8>) {
        let node_id = self.node_id.serialize();
        let kind = match (self.peer, self.address()) {
            (None, _) => UNLISTED,
            (Some(_), None) => 0,
            (Some(_), Some(address)) => address_type(address),
        };
        let count = self.channels.len();
        let short_count = count.min(COUNT_FOLLOWS) as u8;
        out.push((node_id[0] & 1) | (kind << 1) | (short_count << 4));
        out.extend_from_slice(&node_id[1..]);
        if count >= COUNT_FOLLOWS {
            out.extend(BigSize(count as u64).encode());
        }
        if let Some(address) = self.address() {
            out.extend_from_slice(&address.encode()[1..]);
        }
        for place in &self.channels {
            write_channel(&channels[*place], out);
        }
    }
}

/// The record that holds these groups.
pub(super) fn write(groups: &[Group], channels: &[ChannelRecord]) -> Vec<u8> {
    let mut out = vec![PACKING];
    for group in groups {
        group.write(channels, &mut out);
    }
    out
}

/// The bytes that a channel takes in its group.
pub(super) fn channel_size(channel: &ChannelRecord) -> usize {
    let id = match ShortId::of(&channel.ids) {
        ShortId::None => 0,
        ShortId::ShortChannelId(_) => 8,
        ShortId::Funding(..) => 34,
        ShortId::ChannelId(_) => 32,
    };
    let keys_id = if channel.channel_keys_id.is_some() {
        32
    } else {
        0
    };
    1 + BigSize(channel.update_id).serialized_length() + id + keys_id
}

/// The one id that stands in this record.
enum ShortId {
    None,
    ShortChannelId(u64),
    Funding(Txid, u16),
    ChannelId(ChannelId),
}

impl ShortId {
    fn of(ids: &ChannelIds) -> Self {
        let funding = ids.funding_outpoint.and_then(|funding| {
            let index = u16::try_from(funding.vout).ok()?;
            Some(ShortId::Funding(funding.txid, index))
        });
        ids.short_channel_id
            .map(ShortId::ShortChannelId)
            .or(funding)
            .or(ids.channel_id.map(ShortId::ChannelId))
            .unwrap_or(ShortId::None)
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            ShortId::None => {}
            ShortId::ShortChannelId(id) => out.extend(id.encode()),
            ShortId::Funding(txid, index) => {
                out.extend(txid.encode());
                out.extend(index.encode());
            }
            ShortId::ChannelId(id) => out.extend(id.encode()),
        }
    }

    fn read(form: u8, bytes: &mut &[u8]) -> Result<ChannelIds, DecodeError> {
        let mut ids = ChannelIds::default();
        match form {
            0 => {}
            1 => ids.short_channel_id = Some(Readable::read(bytes)?),
            2 => {
                let txid = Readable::read(bytes)?;
                let index: u16 = Readable::read(bytes)?;
                ids.funding_outpoint = Some(OutPoint::new(txid, index.into()));
            }
            _ => ids.channel_id = Some(Readable::read(bytes)?),
        }
        Ok(ids)
    }
}

/// Whether the record carries the funding output of a channel with these ids.
pub(super) fn carries_funding(ids: &ChannelIds) -> bool {
    matches!(ShortId::of(ids), ShortId::Funding(..))
}

/// Whether the record carries the channel id of a channel with these ids.
pub(super) fn carries_channel_id(ids: &ChannelIds) -> bool {
    matches!(ShortId::of(ids), ShortId::ChannelId(_))
}

fn write_channel(channel: &ChannelRecord, out: &mut Vec<u8>) {
    let phase = match channel.phase {
        ChannelPhase::Opening => 0,
        ChannelPhase::Ready => 1,
        ChannelPhase::Closing => 2,
    };
    let restored = if channel.restored { RESTORED } else { 0 };
    let kind = match channel.kind {
        ChannelKind::StaticRemoteKey => 0,
        ChannelKind::Anchors => 1,
        ChannelKind::Other => 2,
    };
    let id = ShortId::of(&channel.ids);
    let form = match id {
        ShortId::None => 0,
        ShortId::ShortChannelId(_) => 1,
        ShortId::Funding(..) => 2,
        ShortId::ChannelId(_) => 3,
    };
    let keys_id = channel.channel_keys_id.map_or(0, |_| HAS_KEYS_ID);
    out.push(phase | restored | (kind << 3) | (form << 5) | keys_id);
    out.extend(BigSize(channel.update_id).encode());
    id.write(out);
    out.extend(channel.channel_keys_id.iter().flatten());
}

/// Reads the record: the listed peers and the channels, each in the order of the record.
pub(super) fn read(mut bytes: &[u8]) -> Result<(Vec<PeerRecord>, Vec<ChannelRecord>), DecodeError> {
    let packing: u8 = Readable::read(&mut bytes)?;
    if packing != PACKING {
        return Err(DecodeError::UnknownRequiredFeature);
    }
    let mut peers = Vec::new();
    let mut channels = Vec::new();
    while !bytes.is_empty() {
        let head: u8 = Readable::read(&mut bytes)?;
        let node_id = read_node_id(head & 1, &mut bytes)?;
        let mut count = u64::from(head >> 4);
        if count == COUNT_FOLLOWS as u64 {
            count = BigSize::read(&mut bytes)?.0;
        }
        let kind = (head >> 1) & 7;
        if kind != UNLISTED {
            let addresses = read_address(kind, &mut bytes)?.into_iter().collect();
            peers.push(PeerRecord { node_id, addresses });
        }
        // A count that lies ends at the end of the bytes: nothing is allocated for it.
        for _ in 0..count {
            channels.push(read_channel(node_id, &mut bytes)?);
        }
    }
    Ok((peers, channels))
}

fn read_node_id(parity: u8, bytes: &mut &[u8]) -> Result<PublicKey, DecodeError> {
    let x: [u8; 32] = Readable::read(bytes)?;
    let mut node_id = [0; 33];
    node_id[0] = 2 | parity;
    node_id[1..].copy_from_slice(&x);
    PublicKey::from_slice(&node_id).map_err(|_| DecodeError::InvalidValue)
}

fn address_type(address: &SocketAddress) -> u8 {
    match address {
        SocketAddress::TcpIpV4 { .. } => 1,
        SocketAddress::TcpIpV6 { .. } => 2,
        SocketAddress::OnionV2(_) => 3,
        SocketAddress::OnionV3 { .. } => 4,
        SocketAddress::Hostname { .. } => 5,
    }
}

fn read_address(kind: u8, bytes: &mut &[u8]) -> Result<Option<SocketAddress>, DecodeError> {
    Ok(Some(match kind {
        0 => return Ok(None),
        1 => SocketAddress::TcpIpV4 {
            addr: Readable::read(bytes)?,
            port: Readable::read(bytes)?,
        },
        2 => SocketAddress::TcpIpV6 {
            addr: Readable::read(bytes)?,
            port: Readable::read(bytes)?,
        },
        3 => SocketAddress::OnionV2(Readable::read(bytes)?),
        4 => SocketAddress::OnionV3 {
            ed25519_pubkey: Readable::read(bytes)?,
            checksum: Readable::read(bytes)?,
            version: Readable::read(bytes)?,
            port: Readable::read(bytes)?,
        },
        5 => SocketAddress::Hostname {
            hostname: Readable::read(bytes)?,
            port: Readable::read(bytes)?,
        },
        _ => return Err(DecodeError::UnknownRequiredFeature),
    }))
}

fn read_channel(counterparty: PublicKey, bytes: &mut &[u8]) -> Result<ChannelRecord, DecodeError> {
    let flags: u8 = Readable::read(bytes)?;
    let phase = match flags & 3 {
        0 => ChannelPhase::Opening,
        1 => ChannelPhase::Ready,
        2 => ChannelPhase::Closing,
        _ => return Err(DecodeError::UnknownRequiredFeature),
    };
    let kind = match (flags >> 3) & 3 {
        0 => ChannelKind::StaticRemoteKey,
        1 => ChannelKind::Anchors,
        2 => ChannelKind::Other,
        _ => return Err(DecodeError::UnknownRequiredFeature),
    };
    let update_id = BigSize::read(bytes)?.0;
    let ids = ShortId::read((flags >> 5) & 3, bytes)?;
    let channel_keys_id = if flags & HAS_KEYS_ID != 0 {
        Some(Readable::read(bytes)?)
    } else {
        None
    };
    Ok(ChannelRecord {
        counterparty,
        ids,
        update_id,
        phase,
        restored: flags & RESTORED != 0,
        kind,
        channel_keys_id,
        value_sat: None,
    })
}
