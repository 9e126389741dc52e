//! A snapshot: what is backed up, in the clear.

use std::fmt;
use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::SocketAddress;
use lightning::ln::types::ChannelId;
use lightning::sign::SpendableOutputDescriptor;
use zeroize::Zeroizing;

/// What a wallet that lost everything else needs to find its peers and sweep its channels.
///
/// One snapshot has one [`Revision`]. A small storer is sent a smaller [`Tier`](super::Tier) of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The place of this snapshot in the order of all backups of this node.
    pub revision: Revision,
    /// Which data directory made it.
    pub installation: InstallationId,
    /// The peers to ask for backups and to close channels with; the first address of each goes into
    /// the essential tier.
    pub peers: Vec<PeerRecord>,
    /// All channels whose outputs are not yet swept and buried.
    pub channels: Vec<ChannelRecord>,
    /// Outputs on the chain that are ours and not yet swept (full tier alone).
    pub spendable_outputs: Vec<SpendableOutputDescriptor>,
    /// Whatever the wallet app wants to find again (full tier alone).
    pub app_data: Vec<u8>,
    /// Monitors of those channels, at most one each: the newest known (full tier alone).
    pub monitors: Vec<MonitorRecord>,
}

/// The order of backups: first by epoch, then by generation. Wall-clock time decides nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// Raised by every restore and adoption, to one above the highest seen.
    pub epoch: u32,
    /// Raised by every new snapshot.
    pub generation: u64,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.generation)
    }
}

/// A random name of one data directory, so that a backup made by another one is recognised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstallationId(pub [u8; 8]);

/// A peer, and where it can be reached.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerRecord {
    /// The peer's node id.
    pub node_id: PublicKey,
    /// Its addresses, the one most likely to work first. May be empty.
    pub addresses: Vec<SocketAddress>,
}

/// A channel, as far as is needed to have its peer close it and to sweep our output.
#[derive(Clone, PartialEq, Eq)]
pub struct ChannelRecord {
    /// The other side of the channel.
    pub counterparty: PublicKey,
    /// What the channel is known by.
    pub ids: ChannelIds,
    /// The state stamp: `ChannelMonitor::get_latest_update_id()` at the time of the snapshot.
    pub update_id: u64,
    /// How far the channel is on its way from funding to burial.
    pub phase: ChannelPhase,
    /// Known from a returned backup alone: this device has no live state of it.
    pub restored: bool,
    /// Which form the `to_remote` output takes.
    pub kind: ChannelKind,
    /// Needed to derive our `to_remote` key where it is not one of LDK's 1000 v2 keys.
    pub channel_keys_id: Option<[u8; 32]>,
    /// The channel's capacity in sat (full tier alone).
    pub value_sat: Option<u64>,
}

/// The monitor of a channel, as LDK serialises it. Beside our own output it gives back HTLCs in flight,
/// and takes what a peer's revoked commitment pays.
///
/// It may be older than the channel's state stamp in the same snapshot: monitors are read anew only
/// when channels have been quiet for a moment. Never may it be newer.
#[derive(Clone, PartialEq, Eq)]
pub struct MonitorRecord {
    /// `ChannelMonitor::channel_id()`.
    pub channel: ChannelId,
    /// `ChannelMonitor::get_latest_update_id()` at the time.
    pub update_id: u64,
    /// HTLCs were pending: where not all monitors fit, these go first.
    pub pending_htlcs: bool,
    /// What `Writeable::encode` made of the `ChannelMonitor`. LDK reads it with
    /// `<(BlockHash, ChannelMonitor<Signer>)>::read` (`ReadableArgs`); nothing in `backup` and
    /// `exchange` looks into it. Wiped from memory with the last copy.
    pub bytes: Arc<Zeroizing<Vec<u8>>>,
}

impl MonitorRecord {
    /// What its channel is known by.
    pub fn ids(&self) -> ChannelIds {
        ChannelIds {
            channel_id: Some(self.channel),
            ..ChannelIds::default()
        }
    }
}

/// What a channel is known by. At least one is set; a small blob carries just one.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ChannelIds {
    /// The short channel id of the confirmed funding output (BOLT #7).
    pub short_channel_id: Option<u64>,
    /// The funding output.
    pub funding_outpoint: Option<bitcoin::OutPoint>,
    /// The channel id (BOLT #2).
    pub channel_id: Option<ChannelId>,
}

impl ChannelIds {
    /// Whether both name the same channel by at least one common id.
    pub fn matches(&self, other: &ChannelIds) -> bool {
        fn same<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
            a.is_some() && a == b
        }
        same(self.short_channel_id, other.short_channel_id)
            || same(self.funding_outpoint, other.funding_outpoint)
            || same(self.derived_channel_id(), other.derived_channel_id())
    }

    /// Takes from `other` the ids that are not known here. Only for ids that match.
    pub fn complete_from(&mut self, other: &ChannelIds) {
        // A splice moves the funding output: its old place in the chain is not that of the new one.
        let moved = self.funding_outpoint.is_some()
            && other.funding_outpoint.is_some()
            && self.funding_outpoint != other.funding_outpoint;
        if !moved {
            self.short_channel_id = self.short_channel_id.or(other.short_channel_id);
        }
        self.funding_outpoint = self.funding_outpoint.or(other.funding_outpoint);
        self.channel_id = self.channel_id.or(other.channel_id);
    }

    /// The channel id, or the one that BOLT #2 derives from the funding output of a v1 channel.
    pub(crate) fn derived_channel_id(&self) -> Option<ChannelId> {
        self.channel_id.or_else(|| self.v1_channel_id())
    }

    fn v1_channel_id(&self) -> Option<ChannelId> {
        let funding = self.funding_outpoint?;
        let index = u16::try_from(funding.vout).ok()?;
        let outpoint = lightning::chain::transaction::OutPoint {
            txid: funding.txid,
            index,
        };
        Some(ChannelId::v1_from_funding_outpoint(outpoint))
    }
}

/// How far a channel is on its way from funding to burial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelPhase {
    /// Funded, not yet usable.
    Opening,
    /// Usable: `channel_ready` went both ways.
    Ready,
    /// Closed or closing; its outputs are not yet swept and buried.
    Closing,
}

/// Which form our output on the peer's commitment transaction takes (BOLT #3, `to_remote`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelKind {
    /// `option_static_remotekey` without anchors: P2WPKH.
    StaticRemoteKey,
    /// `option_anchors`: P2WSH with a delay of one block.
    Anchors,
    /// A type that this version cannot sweep; its peer and ids are still kept.
    Other,
}

// Address books and channel lists are private: Debug output tells sizes alone.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("revision", &self.revision)
            .field("peers", &self.peers.len())
            .field("channels", &self.channels.len())
            .field("spendable_outputs", &self.spendable_outputs.len())
            .field("app_data_bytes", &self.app_data.len())
            .field("monitors", &self.monitors.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PeerRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerRecord")
            .field("addresses", &self.addresses.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ChannelIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelIds")
            .field("short_channel_id", &self.short_channel_id.is_some())
            .field("funding_outpoint", &self.funding_outpoint.is_some())
            .field("channel_id", &self.channel_id.is_some())
            .finish()
    }
}

impl fmt::Debug for ChannelRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelRecord")
            .field("update_id", &self.update_id)
            .field("phase", &self.phase)
            .field("restored", &self.restored)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MonitorRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MonitorRecord")
            .field("update_id", &self.update_id)
            .field("pending_htlcs", &self.pending_htlcs)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// How much of a snapshot a blob carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Peers, one address each, channels, and what is needed to sweep.
    Essential,
    /// All that fits: also all addresses, values, pending spendable outputs, app data, monitors.
    Full,
}

/// Identifies what a snapshot says, whatever part of it a blob carries: the first 16 bytes of the
/// SHA-256 of its complete encoding. Every blob carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContentHash(pub [u8; 16]);
