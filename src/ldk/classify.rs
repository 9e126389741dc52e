//! What a message of LDK is to the gate.

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{ChannelReestablish, ErrorAction, MessageSendEvent};
use lightning::ln::types::ChannelId;

use crate::exchange::{Inbound, Numbers, Outbound};
use crate::service::Offered;

/// What the node's own handler wants to happen.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// A message to a peer.
    Send(PublicKey, Outbound),
    /// LDK's own `peer_storage_retrieval` (type 9), which ours supersedes.
    Retrieval(PublicKey),
    /// LDK's own `peer_storage` (type 7), which ours supersedes.
    Storage,
    /// Gossip to everyone, or nothing on the wire at all.
    Free,
}

/// What an event of the node's own handler means. There is no catch-all: a new event of LDK must be
/// thought about here.
pub(super) fn wish(event: &MessageSendEvent) -> Wish {
    use MessageSendEvent::*;
    let channel = |peer: &PublicKey, id: &ChannelId| Wish::Send(*peer, Outbound::Channel(*id));
    let other = |peer: &PublicKey| Wish::Send(*peer, Outbound::Other);
    match event {
        SendAcceptChannel { node_id, msg } => {
            channel(node_id, &msg.common_fields.temporary_channel_id)
        }
        SendAcceptChannelV2 { node_id, msg } => {
            channel(node_id, &msg.common_fields.temporary_channel_id)
        }
        SendOpenChannel { node_id, msg } => {
            channel(node_id, &msg.common_fields.temporary_channel_id)
        }
        SendOpenChannelV2 { node_id, msg } => {
            channel(node_id, &msg.common_fields.temporary_channel_id)
        }
        SendFundingCreated { node_id, msg } => channel(node_id, &msg.temporary_channel_id),
        SendFundingSigned { node_id, msg } => channel(node_id, &msg.channel_id),
        SendStfu { node_id, msg } => channel(node_id, &msg.channel_id),
        SendSpliceInit { node_id, msg } => channel(node_id, &msg.channel_id),
        SendSpliceAck { node_id, msg } => channel(node_id, &msg.channel_id),
        SendSpliceLocked { node_id, msg } => channel(node_id, &msg.channel_id),
        SendTxAddInput { node_id, msg } => channel(node_id, &msg.channel_id),
        SendTxAddOutput { node_id, msg } => channel(node_id, &msg.channel_id),
        SendTxRemoveInput { node_id, msg } => channel(node_id, &msg.channel_id),
        SendTxRemoveOutput { node_id, msg } => channel(node_id, &msg.channel_id),
        SendTxComplete { node_id, msg } => channel(node_id, &msg.channel_id),
        SendTxSignatures { node_id, msg } => channel(node_id, &msg.channel_id),
        SendTxInitRbf { node_id, msg } => channel(node_id, &msg.channel_id),
        SendTxAckRbf { node_id, msg } => channel(node_id, &msg.channel_id),
        SendTxAbort { node_id, msg } => channel(node_id, &msg.channel_id),
        SendChannelReady { node_id, msg } => channel(node_id, &msg.channel_id),
        SendAnnouncementSignatures { node_id, msg } => channel(node_id, &msg.channel_id),
        UpdateHTLCs {
            node_id,
            channel_id,
            updates: _,
        } => channel(node_id, channel_id),
        SendRevokeAndACK { node_id, msg } => channel(node_id, &msg.channel_id),
        SendClosingSigned { node_id, msg } => channel(node_id, &msg.channel_id),
        SendClosingComplete { node_id, msg } => channel(node_id, &msg.channel_id),
        SendClosingSig { node_id, msg } => channel(node_id, &msg.channel_id),
        SendShutdown { node_id, msg } => channel(node_id, &msg.channel_id),
        SendChannelReestablish { node_id, msg } => Wish::Send(
            *node_id,
            Outbound::Reestablish(msg.channel_id, numbers(msg)),
        ),
        SendChannelAnnouncement { node_id, .. }
        | SendChannelUpdate { node_id, .. }
        | SendChannelRangeQuery { node_id, .. }
        | SendShortIdsQuery { node_id, .. }
        | SendReplyChannelRange { node_id, .. }
        | SendGossipTimestampFilter { node_id, .. } => other(node_id),
        BroadcastChannelAnnouncement { .. }
        | BroadcastChannelUpdate { .. }
        | BroadcastNodeAnnouncement { .. } => Wish::Free,
        HandleError { node_id, action } => match about(action) {
            Some(channel) => Wish::Send(*node_id, Outbound::Error(channel)),
            None => Wish::Free,
        },
        SendPeerStorage { .. } => Wish::Storage,
        SendPeerStorageRetrieval { node_id, .. } => Wish::Retrieval(*node_id),
    }
}

/// What an action is about: a channel, or the whole connection. None: nothing leaves.
fn about(action: &ErrorAction) -> Option<Option<ChannelId>> {
    match action {
        ErrorAction::DisconnectPeer { msg: Some(msg) } | ErrorAction::SendErrorMessage { msg } => {
            Some(about_channel(&msg.channel_id))
        }
        ErrorAction::DisconnectPeer { msg: None } => Some(None),
        ErrorAction::DisconnectPeerWithWarning { msg }
        | ErrorAction::SendWarningMessage { msg, .. } => Some(about_channel(&msg.channel_id)),
        ErrorAction::IgnoreError
        | ErrorAction::IgnoreAndLog(_)
        | ErrorAction::IgnoreDuplicateGossip => None,
    }
}

/// BOLT #1: an all-zero channel id speaks of the whole connection.
pub(super) fn about_channel(id: &ChannelId) -> Option<ChannelId> {
    (!id.is_zero()).then_some(*id)
}

/// The numbers of a `channel_reestablish`.
pub(super) fn numbers(msg: &ChannelReestablish) -> Numbers {
    Numbers {
        next_local: msg.next_local_commitment_number,
        next_remote: msg.next_remote_commitment_number,
    }
}

/// A `channel_reestablish` of a peer.
pub(super) fn reestablish(msg: &ChannelReestablish) -> Offered {
    Offered {
        message: Inbound::Reestablish(msg.channel_id, numbers(msg)),
        secret: Some(msg.your_last_per_commitment_secret),
    }
}
