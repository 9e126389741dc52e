//! What the app reports of its wallet.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use ldk_peer_storage::backup::{
    self, ChannelKind as CoreKind, ChannelPhase as CorePhase, ChannelRecord, MonitorRecord,
    PeerRecord,
};
use ldk_peer_storage::ldk::ListedChannel;
use ldk_peer_storage::lifecycle;
use lightning::ln::types::ChannelId;
use lightning::sign::SpendableOutputDescriptor;
use lightning::util::ser::Readable;
use zeroize::Zeroizing;

use crate::errors::PeerStorageError;
use crate::parse;

type Outcome<T> = Result<T, PeerStorageError>;

/// No monitor that is larger fits into a backup, nor is one read: it would have to be of millions of payments.
pub(crate) const LARGEST_MONITOR: usize = 16 << 20;

/// No output descriptor of LDK's is larger, in bytes.
const LARGEST_DESCRIPTOR: usize = 16 * 1024;

/// Everything of the wallet that belongs into a backup, as it is now.
///
/// The list of channels has to be whole: **a channel that merely drops out of it is taken for lost state, and
/// holds everything.** Report a channel from its funding until its outputs are swept and buried: with
/// `is_closed` from the moment when the node no longer lists it, and `channel_swept` at the end.
///
/// From ldk-node: while it runs, and once more after `stop()`, when its lists are final. They tell neither a
/// channel's keys nor its state stamp. Channels opened by ldk-node 0.7 or later need no keys in the backup; the
/// balance of those opened by an older one comes back only where `channel_keys_id` is given. Without state
/// stamps an old state of this device goes unnoticed as long as no channel is missing, and payments alone lead to
/// no new backup. An app that gets at the monitors (LDK's own bindings; an ldk-node that was built with a store
/// of the app's) learns all of it from `read_monitor`.
#[derive(Clone, uniffi::Record)]
pub struct WalletReport {
    /// The channels.
    pub channels: Vec<WalletChannel>,
    /// The peers of those channels, and others that the wallet wants to find again.
    pub peers: Vec<WalletPeer>,
    /// The node ids, in hex, of those of these peers who keep a backup without having a channel.
    #[uniffi(default = [])]
    pub keep_backups_at: Vec<String>,
    /// Outputs on the chain that are ours and not yet swept, each as LDK writes a
    /// `SpendableOutputDescriptor`.
    #[uniffi(default = [])]
    pub spendable_outputs: Vec<Vec<u8>>,
    /// The height at which the first pending HTLC expires, in blocks, where there is one.
    #[uniffi(default = None)]
    pub earliest_htlc_expiry: Option<u32>,
}

/// A channel of the wallet. Its fields are those of LDK's and ldk-node's `ChannelDetails`.
#[derive(Clone, uniffi::Record)]
pub struct WalletChannel {
    /// The id of the channel, in hex.
    pub channel_id: String,
    /// The node id of the other side, in hex.
    pub counterparty_node_id: String,
    /// The funding output, as "txid:index". None: not funded yet; then there is nothing to back up.
    pub funding_outpoint: Option<String>,
    /// The place of the funding output in the chain; no alias. None: not confirmed.
    #[uniffi(default = None)]
    pub short_channel_id: Option<u64>,
    /// How deep the funding output is, in blocks. None: not known; then the place in the chain is not used.
    #[uniffi(default = None)]
    pub confirmations: Option<u32>,
    /// Whether the channel is ready (`is_channel_ready`).
    pub is_ready: bool,
    /// Whether it is closed, and its outputs are not yet swept and buried.
    #[uniffi(default = false)]
    pub is_closed: bool,
    /// The capacity, in sat (`channel_value_sats`).
    pub value_sat: u64,
    /// Of which kind it is. None: not known; a recovery then looks for those that it can sweep.
    #[uniffi(default = None)]
    pub kind: Option<ChannelKind>,
    /// The state stamp: `ChannelMonitor.get_latest_update_id()` of a state that the wallet's database has.
    /// Zero where it is not known.
    #[uniffi(default = 0)]
    pub state_stamp: u64,
    /// The channel's `channel_keys_id`, 32 bytes in hex, where its keys are not among those that the seed
    /// alone gives (channels opened without `v2_remote_key_derivation`).
    #[uniffi(default = None)]
    pub channel_keys_id: Option<String>,
    /// The channel's monitor, as LDK writes it (`ChannelMonitor.write`), of the very state that `state_stamp`
    /// says. Then peers that keep large backups bring payments in flight back as well. None: not at hand.
    #[uniffi(default = None)]
    pub monitor: Option<Vec<u8>>,
    /// Whether payments are in flight. Where not all monitors fit into a backup, these go first.
    #[uniffi(default = false)]
    pub has_pending_htlcs: bool,
}

/// A peer, and where it can be reached.
#[derive(Clone, uniffi::Record)]
pub struct WalletPeer {
    /// Its node id, in hex.
    pub node_id: String,
    /// Its addresses as "host:port", the one most likely to work first: names, IPv4, IPv6 in brackets, onion
    /// names of version 3. May be empty.
    pub addresses: Vec<String>,
}

/// What a channel is known by. At least one is set.
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
pub struct ChannelIds {
    /// The place of its funding output in the chain (BOLT #7).
    #[uniffi(default = None)]
    pub short_channel_id: Option<u64>,
    /// Its funding output, as "txid:index".
    #[uniffi(default = None)]
    pub funding_outpoint: Option<String>,
    /// Its id (BOLT #2), in hex.
    #[uniffi(default = None)]
    pub channel_id: Option<String>,
}

/// Which form our output on the peer's commitment transaction takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum ChannelKind {
    /// With anchors.
    Anchors,
    /// `option_static_remotekey` without anchors.
    StaticRemoteKey,
    /// A kind that this version cannot sweep. Its peer and ids are kept all the same.
    Other,
}

/// How far a channel is on its way from funding to burial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum ChannelPhase {
    /// Funded, not yet usable.
    Opening,
    /// Usable.
    Ready,
    /// Closed or closing; its outputs are not yet swept and buried.
    Closing,
}

/// A channel that a backup names.
#[derive(Clone, uniffi::Record)]
pub struct BackedUpChannel {
    /// What it is known by.
    pub ids: ChannelIds,
    /// The node id of the other side, in hex.
    pub counterparty_node_id: String,
    /// How far it was.
    pub phase: ChannelPhase,
    /// Its capacity in sat, where known.
    pub value_sat: Option<u64>,
}

impl WalletReport {
    /// Channels without a funding output are left out.
    pub(crate) fn parsed(self) -> Outcome<lifecycle::WalletReport> {
        parse::limit("channels", self.channels.len(), parse::MOST_IN_A_LIST)?;
        let (outputs, keepers) = (self.spendable_outputs, self.keep_backups_at);
        parse::limit("spendable_outputs", outputs.len(), parse::MOST_IN_A_LIST)?;
        parse::limit("keep_backups_at", keepers.len(), parse::MOST_IN_A_LIST)?;
        let mut channels = Vec::with_capacity(self.channels.len());
        let mut monitors = Vec::new();
        for mut channel in self.channels {
            let monitor = channel.monitor()?;
            if let Some(record) = channel.record()? {
                channels.push(record);
                monitors.extend(monitor);
            }
        }
        let outputs = outputs.iter().map(|bytes| descriptor(bytes));
        let keepers = keepers
            .iter()
            .map(|id| parse::node_id("keep_backups_at", id));
        Ok(lifecycle::WalletReport {
            channels,
            peers: parse::peers("peers", self.peers)?,
            keep_backups_at: keepers.collect::<Outcome<BTreeSet<_>>>()?,
            spendable_outputs: outputs.collect::<Outcome<_>>()?,
            earliest_htlc_expiry: self.earliest_htlc_expiry,
            monitors,
        })
    }
}

fn descriptor(bytes: &[u8]) -> Outcome<SpendableOutputDescriptor> {
    parse::limit("spendable_outputs", bytes.len(), LARGEST_DESCRIPTOR)?;
    SpendableOutputDescriptor::read(&mut &*bytes).map_err(|_| {
        PeerStorageError::invalid("spendable_outputs", "is no SpendableOutputDescriptor")
    })
}

impl WalletChannel {
    fn monitor(&mut self) -> Outcome<Option<MonitorRecord>> {
        let Some(bytes) = self.monitor.take() else {
            return Ok(None);
        };
        // Wiped also where the report is refused.
        let bytes = Zeroizing::new(bytes);
        parse::limit("monitor", bytes.len(), LARGEST_MONITOR)?;
        Ok(Some(MonitorRecord {
            channel: parse::channel_id("channel_id", &self.channel_id)?,
            update_id: self.state_stamp,
            pending_htlcs: self.has_pending_htlcs,
            bytes: Arc::new(bytes),
        }))
    }

    fn record(self) -> Outcome<Option<ChannelRecord>> {
        let funding = self.funding_outpoint.as_deref();
        let funding = funding.map(|text| parse::outpoint("funding_outpoint", text));
        let keys_id = self.channel_keys_id.as_deref();
        let keys_id = keys_id.map(|text| parse::hex("channel_keys_id", text));
        let listed = ListedChannel {
            channel_id: parse::channel_id("channel_id", &self.channel_id)?,
            counterparty: parse::node_id("counterparty_node_id", &self.counterparty_node_id)?,
            funding_outpoint: funding.transpose()?,
            short_channel_id: self.short_channel_id,
            confirmations: self.confirmations,
            is_ready: self.is_ready,
            shutdown: None,
            value_sat: self.value_sat,
            htlc_expiries: None,
            funding_redeem_script: None,
        };
        let channel_keys_id = keys_id.transpose()?;
        let kind = self.kind.map_or(CoreKind::Anchors, CoreKind::from);
        Ok(listed.record(kind).map(|record| ChannelRecord {
            update_id: self.state_stamp,
            phase: match self.is_closed {
                true => CorePhase::Closing,
                false => record.phase,
            },
            channel_keys_id,
            ..record
        }))
    }
}

impl ChannelIds {
    pub(crate) fn parsed(&self, field: &str) -> Outcome<backup::ChannelIds> {
        let outpoint = self.funding_outpoint.as_deref();
        let channel_id = self.channel_id.as_deref();
        let ids = backup::ChannelIds {
            short_channel_id: self.short_channel_id,
            funding_outpoint: outpoint
                .map(|text| parse::outpoint(field, text))
                .transpose()?,
            channel_id: channel_id
                .map(|text| parse::channel_id(field, text))
                .transpose()?,
        };
        match ids == backup::ChannelIds::default() {
            true => Err(PeerStorageError::invalid(field, "names no channel")),
            false => Ok(ids),
        }
    }
}

impl From<backup::ChannelIds> for ChannelIds {
    fn from(ids: backup::ChannelIds) -> Self {
        ChannelIds {
            short_channel_id: ids.short_channel_id,
            funding_outpoint: ids.funding_outpoint.map(|outpoint| outpoint.to_string()),
            channel_id: ids.channel_id.map(|ChannelId(bytes)| parse::hex_of(&bytes)),
        }
    }
}

// Which channels there are is private.
impl fmt::Debug for ChannelIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelIds").finish_non_exhaustive()
    }
}

impl From<ChannelKind> for CoreKind {
    fn from(kind: ChannelKind) -> Self {
        match kind {
            ChannelKind::Anchors => CoreKind::Anchors,
            ChannelKind::StaticRemoteKey => CoreKind::StaticRemoteKey,
            ChannelKind::Other => CoreKind::Other,
        }
    }
}

impl From<CorePhase> for ChannelPhase {
    fn from(phase: CorePhase) -> Self {
        match phase {
            CorePhase::Opening => ChannelPhase::Opening,
            CorePhase::Ready => ChannelPhase::Ready,
            CorePhase::Closing => ChannelPhase::Closing,
        }
    }
}

impl From<ChannelRecord> for BackedUpChannel {
    fn from(record: ChannelRecord) -> Self {
        BackedUpChannel {
            ids: record.ids.into(),
            counterparty_node_id: record.counterparty.to_string(),
            phase: record.phase.into(),
            value_sat: record.value_sat,
        }
    }
}

impl From<PeerRecord> for WalletPeer {
    fn from(record: PeerRecord) -> Self {
        WalletPeer {
            node_id: record.node_id.to_string(),
            addresses: record.addresses.iter().map(ToString::to_string).collect(),
        }
    }
}
