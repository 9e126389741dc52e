//! How channels and peers are written, in JSON and for a person. What one command writes, `push` reads.

use std::collections::BTreeSet;
use std::str::FromStr;

use bitcoin::hex::{DisplayHex, FromHex};
use bitcoin::secp256k1::PublicKey;
use bitcoin::OutPoint;
use ldk_peer_storage::backup::{ChannelIds, ChannelKind, ChannelPhase, ChannelRecord, PeerRecord};
use lightning::ln::types::ChannelId;
use serde::{Deserialize, Serialize};

use crate::args::address_from;
use crate::failure::Failure;
use crate::Outcome;

/// A channel.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// The other side.
    peer: PublicKey,
    /// As `700000x1x0`. Of the three names a channel needs at least one.
    #[serde(skip_serializing_if = "Option::is_none")]
    short_channel_id: Option<String>,
    /// As `TXID:INDEX`.
    #[serde(skip_serializing_if = "Option::is_none")]
    funding_outpoint: Option<OutPoint>,
    /// In hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_id: Option<String>,
    /// The state stamp: `ChannelMonitor::get_latest_update_id()`.
    update_id: u64,
    #[serde(default)]
    phase: Phase,
    kind: Kind,
    /// In hex; needed for v1 keys alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_keys_id: Option<String>,
    /// The capacity, in sat.
    #[serde(skip_serializing_if = "Option::is_none")]
    value_sat: Option<u64>,
    /// Known from a backup alone. Written, and ignored when read.
    #[serde(default)]
    restored: bool,
}

#[derive(Clone, Copy, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    Opening,
    #[default]
    Ready,
    Closing,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    StaticRemoteKey,
    Anchors,
    Other,
}

/// A peer, and where it is.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PeerEntry {
    node_id: PublicKey,
    #[serde(default)]
    addresses: Vec<String>,
}

impl From<&ChannelRecord> for Channel {
    fn from(record: &ChannelRecord) -> Channel {
        Channel {
            peer: record.counterparty,
            short_channel_id: record.ids.short_channel_id.map(short_channel_id),
            funding_outpoint: record.ids.funding_outpoint,
            channel_id: record.ids.channel_id.map(|id| id.0.to_lower_hex_string()),
            update_id: record.update_id,
            phase: match record.phase {
                ChannelPhase::Opening => Phase::Opening,
                ChannelPhase::Ready => Phase::Ready,
                ChannelPhase::Closing => Phase::Closing,
            },
            kind: match record.kind {
                ChannelKind::StaticRemoteKey => Kind::StaticRemoteKey,
                ChannelKind::Anchors => Kind::Anchors,
                ChannelKind::Other => Kind::Other,
            },
            channel_keys_id: record.channel_keys_id.map(|id| id.to_lower_hex_string()),
            value_sat: record.value_sat,
            restored: record.restored,
        }
    }
}

impl Channel {
    /// An error says what is wrong with it.
    pub fn record(&self) -> Result<ChannelRecord, String> {
        let keys_id = self.channel_keys_id.as_deref().map(<[u8; 32]>::from_hex);
        Ok(ChannelRecord {
            counterparty: self.peer,
            ids: self.ids()?,
            update_id: self.update_id,
            phase: match self.phase {
                Phase::Opening => ChannelPhase::Opening,
                Phase::Ready => ChannelPhase::Ready,
                Phase::Closing => ChannelPhase::Closing,
            },
            restored: false,
            kind: match self.kind {
                Kind::StaticRemoteKey => ChannelKind::StaticRemoteKey,
                Kind::Anchors => ChannelKind::Anchors,
                Kind::Other => ChannelKind::Other,
            },
            channel_keys_id: keys_id
                .transpose()
                .map_err(|_| "channel_keys_id is 64 hex digits")?,
            value_sat: self.value_sat,
        })
    }

    fn ids(&self) -> Result<ChannelIds, String> {
        let short = self.short_channel_id.as_deref().map(parse_short_channel_id);
        let id = self.channel_id.as_deref().map(<[u8; 32]>::from_hex);
        let ids = ChannelIds {
            short_channel_id: match short {
                Some(None) => return Err("short_channel_id is BLOCKxINDEXxOUTPUT".to_owned()),
                Some(parsed) => parsed,
                None => None,
            },
            funding_outpoint: self.funding_outpoint,
            channel_id: id
                .transpose()
                .map_err(|_| "channel_id is 64 hex digits")?
                .map(ChannelId),
        };
        match ids == ChannelIds::default() {
            true => Err("it needs a short_channel_id, funding_outpoint or channel_id".to_owned()),
            false => Ok(ids),
        }
    }
}

impl From<&PeerRecord> for PeerEntry {
    fn from(record: &PeerRecord) -> PeerEntry {
        PeerEntry {
            node_id: record.node_id,
            addresses: record.addresses.iter().map(ToString::to_string).collect(),
        }
    }
}

impl PeerEntry {
    /// An error says what is wrong with it.
    pub fn record(&self) -> Result<PeerRecord, String> {
        let addresses = self.addresses.iter().map(|text| address_from(text));
        Ok(PeerRecord {
            node_id: self.node_id,
            addresses: addresses
                .collect::<Option<_>>()
                .ok_or("an address is HOST:PORT")?,
        })
    }
}

/// All names of a channel, in JSON.
pub fn json(ids: &ChannelIds) -> serde_json::Value {
    serde_json::json!({
        "short_channel_id": ids.short_channel_id.map(short_channel_id),
        "funding_outpoint": ids.funding_outpoint,
        "channel_id": ids.channel_id.map(|id| id.0.to_lower_hex_string()),
    })
}

/// A name for a person: the shortest that there is.
pub fn name(ids: &ChannelIds) -> String {
    let outpoint = || ids.funding_outpoint.map(|outpoint| outpoint.to_string());
    let id = || ids.channel_id.map(|id| id.0.to_lower_hex_string());
    let short = ids.short_channel_id.map(short_channel_id);
    short.or_else(outpoint).or_else(id).unwrap_or_default()
}

/// The channel that a flag names, out of these. `what`: what they are, where it is none of them.
pub fn find(flag: &str, channel: &str, among: &[ChannelIds], what: &str) -> Outcome<ChannelIds> {
    let named = parse_name(channel);
    let mut found = among.iter();
    let found = found.find(|ids| named.is_some_and(|named| named.matches(ids)));
    found.copied().ok_or_else(|| {
        let names: BTreeSet<_> = among.iter().map(name).collect();
        let names = names.into_iter().collect::<Vec<_>>();
        Failure::Usage(format!(
            "{flag} {channel}: no such channel {what}; there are: {}",
            names.join(", ")
        ))
    })
}

/// Any of the names of a channel.
pub fn parse_name(text: &str) -> Option<ChannelIds> {
    let ids = ChannelIds {
        short_channel_id: parse_short_channel_id(text),
        funding_outpoint: OutPoint::from_str(text).ok(),
        channel_id: <[u8; 32]>::from_hex(text).ok().map(ChannelId),
    };
    (ids != ChannelIds::default()).then_some(ids)
}

/// BOLT #7: block, transaction index, output index.
fn short_channel_id(id: u64) -> String {
    format!("{}x{}x{}", id >> 40, (id >> 16) & 0xff_ffff, id & 0xffff)
}

fn parse_short_channel_id(text: &str) -> Option<u64> {
    let parts: Vec<u64> = text
        .split('x')
        .map(|part| part.parse().ok())
        .collect::<Option<_>>()?;
    match parts[..] {
        [block, index, output] if block < 1 << 24 && index < 1 << 24 && output < 1 << 16 => {
            Some(block << 40 | index << 16 | output)
        }
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_short_channel_id_is_written_and_read_as_bolt_7_says() {
        for text in ["0x0x1", "700000x12x1", "16777215x16777215x65535"] {
            assert_eq!(
                short_channel_id(parse_short_channel_id(text).unwrap()),
                text
            );
        }
        for bad in [
            "",
            "1x2",
            "1x2x3x4",
            "16777216x0x0",
            "0x0x65536",
            "ax1x1",
            "-1x0x0",
        ] {
            assert_eq!(parse_short_channel_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_channel_that_is_written_is_read_again() {
        let text = r#"{"peer":"0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
            "short_channel_id":"7x1x0","update_id":3,"kind":"anchors","value_sat":1000}"#;
        let record = serde_json::from_str::<Channel>(text)
            .unwrap()
            .record()
            .unwrap();
        let written = serde_json::to_string(&Channel::from(&record)).unwrap();
        let read = serde_json::from_str::<Channel>(&written)
            .unwrap()
            .record()
            .unwrap();
        assert!(read == record);
        assert_eq!(name(&record.ids), "7x1x0");
        assert!(record.ids.matches(&parse_name("7x1x0").unwrap()));
    }
}
