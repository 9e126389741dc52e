//! What could be recovered, told before anything is closed.

use ldk_peer_storage::recovery::{self as core, Plan, PlannedChannel as CoreChannel};

use crate::parse::count;
use crate::status::Revision;
use crate::wallet::{ChannelIds, WalletPeer};

/// What a recovery would do, to be shown to the person. Nothing is closed yet. All amounts are estimates.
#[derive(Clone, uniffi::Record)]
pub struct RecoveryPlan {
    /// For `agree`.
    pub id: u64,
    /// The newest backup that it rests on; none: there was none, and the channels are those that peers named; or
    /// the restore had ended already.
    pub newest: Option<Revision>,
    /// The channels.
    pub channels: Vec<PlannedChannel>,
    /// Peers that name more channels that no backup knows than are listed here.
    pub left_out: Vec<LeftOutChannels>,
    /// Peers named in the backups that have not been heard. One of them may hold a newer backup: it is better
    /// to wait for them.
    pub unheard: Vec<WalletPeer>,
    /// Outputs that are in the chain already and wait to be swept, in sat.
    pub waiting_sat: u64,
    /// What the chain did not tell, if anything, for logs. Channels are then `Unseen`, or `waiting_sat` is too
    /// low: plan again later.
    pub trouble: Option<String>,
}

/// A channel in a plan.
#[derive(Clone, uniffi::Record)]
pub struct PlannedChannel {
    /// What it is known by: for the consent.
    pub ids: ChannelIds,
    /// The node id of the other side, in hex.
    pub peer: String,
    /// Who knows of it.
    pub known_by: KnownBy,
    /// Where it stands in the chain.
    pub state: ChannelState,
    /// What can come back.
    pub claim: ChannelClaim,
    /// It can be agreed to only together with all channels of this peer of which this is so, and all that this
    /// peer alone knows of.
    pub only_together: bool,
    /// Its capacity in sat, where known: nothing above it can come back.
    pub value_sat: Option<u64>,
}

/// A peer that names more channels than a plan takes: a fault, or malice.
#[derive(Clone, uniffi::Record)]
pub struct LeftOutChannels {
    /// The peer's node id, in hex.
    pub peer: String,
    /// So many are left out.
    pub channels: u32,
}

/// Who knows of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum KnownBy {
    /// The backup names it.
    Backup,
    /// The peer alone speaks of it: the backup is older than the channel, or there is none.
    Peer,
}

/// Where a channel stands in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum ChannelState {
    /// Its funding output is unspent: the peer has to be asked to close it.
    Open,
    /// Its funding output is spent already.
    Closed,
    /// Its funding output was not found in the chain. The peer can still be asked.
    NotFound,
    /// The chain source did not answer, or not with sense. The channel can be agreed to all the same.
    Unseen,
}

/// What of a channel can come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum ChannelClaim {
    /// Our balance on the commitment that the peer publishes, without pending payments.
    Balance,
    /// Also pending payments, and the penalty if the peer publishes a revoked state.
    BalanceAndPayments {
        /// What the backup's state claims, in sat.
        estimate_sat: u64,
        /// A newer state is known to exist than the one that the estimate is of.
        may_be_stale: bool,
    },
    /// Nothing: a kind of channel that this version cannot sweep.
    Unsupported,
    /// Perhaps nothing: the channel's keys are in no backup. They can be found if the channel was opened with
    /// `v2_remote_key_derivation`, as by ldk-node 0.7 or later.
    KeysUnknown,
}

crate::private::says_nothing!(LeftOutChannels);

impl RecoveryPlan {
    pub(crate) fn new(id: u64, plan: &Plan) -> Self {
        let left_out = |left: &core::LeftOut| LeftOutChannels {
            peer: left.peer.to_string(),
            channels: count(left.channels),
        };
        RecoveryPlan {
            id,
            newest: plan.newest.map(Revision::from),
            channels: plan.channels.iter().map(PlannedChannel::from).collect(),
            left_out: plan.left_out.iter().map(left_out).collect(),
            unheard: plan.unheard.iter().cloned().map(WalletPeer::from).collect(),
            waiting_sat: plan.waiting_sat,
            trouble: plan.trouble.as_ref().map(ToString::to_string),
        }
    }
}

impl From<&CoreChannel> for PlannedChannel {
    fn from(channel: &CoreChannel) -> Self {
        PlannedChannel {
            ids: channel.ids.into(),
            peer: channel.peer.to_string(),
            known_by: match channel.known_by {
                core::KnownBy::Backup => KnownBy::Backup,
                core::KnownBy::Peer => KnownBy::Peer,
            },
            state: match channel.state {
                core::ChannelState::Open => ChannelState::Open,
                core::ChannelState::Closed => ChannelState::Closed,
                core::ChannelState::NotFound => ChannelState::NotFound,
                core::ChannelState::Unseen => ChannelState::Unseen,
            },
            claim: match channel.claim {
                core::Claim::Balance => ChannelClaim::Balance,
                core::Claim::BalanceAndPayments {
                    estimate_sat,
                    may_be_stale,
                } => ChannelClaim::BalanceAndPayments {
                    estimate_sat,
                    may_be_stale,
                },
                core::Claim::Unsupported => ChannelClaim::Unsupported,
                core::Claim::KeysUnknown => ChannelClaim::KeysUnknown,
            },
            only_together: channel.by_place_alone,
            value_sat: channel.value_sat,
        }
    }
}
