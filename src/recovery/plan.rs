//! What could be recovered, told before anything is closed.

use std::fmt;

use bitcoin::secp256k1::PublicKey;

use super::chain::ChainError;
use super::journal::Target;
use crate::backup::{ChannelIds, ChannelKind, ChannelRecord, PeerRecord, Revision};

/// What a recovery would do, to be shown to the person. Nothing is closed yet.
///
/// All amounts are estimates: an old backup knows nothing of payments made since, and what the peer
/// publishes decides.
#[derive(Clone)]
pub struct Plan {
    /// The node whose channels these are.
    pub wallet: PublicKey,
    /// The newest backup that it rests on; none: there was none, and the channels are those that peers
    /// named; or the restore had ended already.
    pub newest: Option<Revision>,
    /// The channels.
    pub channels: Vec<PlannedChannel>,
    /// Peers that name more channels that no backup knows than are listed here.
    pub left_out: Vec<LeftOut>,
    /// Peers named in the backups that have not been heard. One of them may hold a newer backup: it is
    /// better to wait for them.
    pub unheard: Vec<PeerRecord>,
    /// Outputs that are in the chain already and wait to be swept, in sat. Without those of which the
    /// chain did not tell: see [`trouble`](Self::trouble).
    pub waiting_sat: u64,
    /// What the chain did not tell, if anything: the first of it. Channels are then
    /// [`Unseen`](ChannelState::Unseen), or `waiting_sat` is too low. Plan again later.
    pub trouble: Option<ChainError>,
}

/// A channel in a [`Plan`].
#[derive(Clone)]
pub struct PlannedChannel {
    /// What it is known by.
    pub ids: ChannelIds,
    /// The other side.
    pub peer: PublicKey,
    /// Who knows of it.
    pub known_by: KnownBy,
    /// Where it stands in the chain.
    pub state: ChannelState,
    /// What can come back.
    pub claim: Claim,
    /// The backup knows it by its short channel id alone, and only the chain tells which of the channels
    /// that the peer names it is. So that a chain source that is wrong cannot have another channel
    /// closed than the person chose, it can be agreed to only together with all channels of this peer
    /// of which this is so, and all that this peer alone knows of.
    pub by_place_alone: bool,
    /// Its capacity in sat, where known: nothing above it can come back.
    pub value_sat: Option<u64>,
    pub(super) target: Target,
}

/// A peer that names more channels than a plan takes: a fault, or malice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LeftOut {
    /// The peer.
    pub peer: PublicKey,
    /// So many are left out.
    pub channels: usize,
}

/// Who knows of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownBy {
    /// The backup names it.
    Backup,
    /// The peer alone speaks of it: the backup is older than the channel, or there is none.
    Peer,
}

/// Where a channel stands in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelState {
    /// Its funding output is unspent: the peer has to be asked to close it.
    Open,
    /// Its funding output is spent already.
    Closed,
    /// Its funding output was not found in the chain: unconfirmed, or known by an id alone that does
    /// not lead there. The peer can still be asked.
    NotFound,
    /// The chain source did not answer, or not with sense. The channel can be agreed to all the same.
    Unseen,
}

/// What of a channel can come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Our balance on the commitment that the peer publishes, without pending payments.
    Balance,
    /// Also pending payments, and the penalty if the peer publishes a revoked state: the backup holds
    /// the channel's monitor. `estimate_sat`: what it claims by the state of the backup.
    BalanceAndPayments {
        /// In sat.
        estimate_sat: u64,
        /// A newer state is known to exist than the one that the estimate is of.
        may_be_stale: bool,
    },
    /// Nothing, for this version: a kind of channel that it cannot sweep.
    Unsupported,
    /// Perhaps nothing: the channel's keys are in no backup. They can be found if the node derived them
    /// in LDK's second way (`v2_remote_key_derivation`: channels opened by ldk-node 0.7 or later).
    KeysUnknown,
}

impl Plan {
    /// The channels that a consent may name.
    pub fn recoverable(&self) -> impl Iterator<Item = &PlannedChannel> {
        self.channels
            .iter()
            .filter(|c| c.claim != Claim::Unsupported)
    }

    /// What a consent means by these ids. The backup knows whose a channel is. Where it does not, several
    /// peers may say that it is theirs, and the one whose it is must not be hidden by another.
    pub(super) fn named<'a>(
        &'a self,
        ids: &'a ChannelIds,
    ) -> impl Iterator<Item = &'a PlannedChannel> {
        let named = move || self.recoverable().filter(|c| c.ids.matches(ids));
        let backed_up = named().find(|c| c.known_by == KnownBy::Backup);
        let by_peers = named().filter(move |_| backed_up.is_none());
        backed_up.into_iter().chain(by_peers)
    }
}

impl PlannedChannel {
    pub(super) fn new(
        record: &ChannelRecord,
        peers: &[PeerRecord],
        state: ChannelState,
        known_by: KnownBy,
    ) -> Self {
        // As the backup, or the peer, has them: what the chain says of them is no name to go by.
        let ids = record.ids;
        let addresses = peers
            .iter()
            .find(|peer| peer.node_id == record.counterparty)
            .map(|peer| peer.addresses.clone())
            .unwrap_or_default();
        let claim = match (record.kind, known_by) {
            (ChannelKind::Other, KnownBy::Backup) => Claim::Unsupported,
            (_, KnownBy::Peer) => Claim::KeysUnknown,
            _ => Claim::Balance,
        };
        PlannedChannel {
            ids,
            peer: record.counterparty,
            known_by,
            state,
            claim,
            by_place_alone: ids.derived_channel_id().is_none(),
            value_sat: record.value_sat,
            target: Target {
                ids,
                peer: record.counterparty,
                addresses,
                channel_keys_id: record.channel_keys_id,
            },
        }
    }
}

// Whose wallet it is, and who its peers are, is private: Debug tells how many.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("newest", &self.newest)
            .field("channels", &self.channels)
            .field("left_out", &self.left_out)
            .field("unheard", &self.unheard.len())
            .field("waiting_sat", &self.waiting_sat)
            .field("trouble", &self.trouble)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeftOut")
            .field("channels", &self.channels)
            .finish_non_exhaustive()
    }
}

// A channel list is private: its length is all that a log may know.
impl fmt::Debug for PlannedChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlannedChannel")
            .field("known_by", &self.known_by)
            .field("state", &self.state)
            .field("claim", &self.claim)
            .finish_non_exhaustive()
    }
}
