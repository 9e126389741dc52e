//! All messages that LDK hands to a channel handler, in one table.

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::*;
use lightning::ln::types::ChannelId;

use super::classify::{about_channel, reestablish};
use crate::exchange::Inbound;
use crate::service::Offered;

/// Calls a macro with every message of [`ChannelMessageHandler`] but 7, 9 and the batch of
/// `commitment_signed`: how it is passed, its type, its method, and what it is to the gate.
macro_rules! for_each_channel_message {
    ($then:ident) => {
        $then! {
            [borrowed OpenChannel handle_open_channel |m| Inbound::Opening(m.common_fields.temporary_channel_id)]
            [opens OpenChannelV2 handle_open_channel_v2 |m| Inbound::Opening(m.common_fields.temporary_channel_id)]
            [borrowed AcceptChannel handle_accept_channel |m| Inbound::Channel(m.common_fields.temporary_channel_id)]
            [accepts AcceptChannelV2 handle_accept_channel_v2 |m| Inbound::Channel(m.common_fields.temporary_channel_id)]
            [borrowed FundingCreated handle_funding_created |m| Inbound::Channel(m.temporary_channel_id)]
            [borrowed FundingSigned handle_funding_signed |m| Inbound::Channel(m.channel_id)]
            [borrowed ChannelReady handle_channel_ready |m| Inbound::Channel(m.channel_id)]
            [borrowed Shutdown handle_shutdown |m| Inbound::Channel(m.channel_id)]
            [borrowed ClosingSigned handle_closing_signed |m| Inbound::Channel(m.channel_id)]
            [borrowed Stfu handle_stfu |m| Inbound::Channel(m.channel_id)]
            [borrowed SpliceInit handle_splice_init |m| Inbound::Channel(m.channel_id)]
            [borrowed SpliceAck handle_splice_ack |m| Inbound::Channel(m.channel_id)]
            [borrowed SpliceLocked handle_splice_locked |m| Inbound::Channel(m.channel_id)]
            [borrowed TxAddInput handle_tx_add_input |m| Inbound::Channel(m.channel_id)]
            [borrowed TxAddOutput handle_tx_add_output |m| Inbound::Channel(m.channel_id)]
            [borrowed TxRemoveInput handle_tx_remove_input |m| Inbound::Channel(m.channel_id)]
            [borrowed TxRemoveOutput handle_tx_remove_output |m| Inbound::Channel(m.channel_id)]
            [borrowed TxComplete handle_tx_complete |m| Inbound::Channel(m.channel_id)]
            [borrowed TxSignatures handle_tx_signatures |m| Inbound::Channel(m.channel_id)]
            [borrowed TxInitRbf handle_tx_init_rbf |m| Inbound::Channel(m.channel_id)]
            [borrowed TxAckRbf handle_tx_ack_rbf |m| Inbound::Channel(m.channel_id)]
            [borrowed TxAbort handle_tx_abort |m| Inbound::Channel(m.channel_id)]
            [borrowed UpdateAddHTLC handle_update_add_htlc |m| Inbound::Channel(m.channel_id)]
            [owned UpdateFulfillHTLC handle_update_fulfill_htlc |m| Inbound::Channel(m.channel_id)]
            [borrowed UpdateFailHTLC handle_update_fail_htlc |m| Inbound::Channel(m.channel_id)]
            [borrowed UpdateFailMalformedHTLC handle_update_fail_malformed_htlc |m| Inbound::Channel(m.channel_id)]
            [borrowed CommitmentSigned handle_commitment_signed |m| Inbound::Channel(m.channel_id)]
            [borrowed RevokeAndACK handle_revoke_and_ack |m| Inbound::Channel(m.channel_id)]
            [borrowed UpdateFee handle_update_fee |m| Inbound::Channel(m.channel_id)]
            [borrowed AnnouncementSignatures handle_announcement_signatures |m| Inbound::Channel(m.channel_id)]
            [borrowed ChannelReestablish handle_channel_reestablish |m| reestablish(m)]
            [borrowed ChannelUpdate handle_channel_update |_m| Inbound::Other]
            [borrowed ErrorMessage handle_error |m| Inbound::Error(about_channel(&m.channel_id))]
        }
    };
}
pub(crate) use for_each_channel_message;

macro_rules! define_channel_message {
    ($([$kind:ident $name:ident $method:ident |$m:ident| $inbound:expr])*) => {
        /// A message of a peer that waits for its turn.
        #[derive(Clone, Debug)]
        pub(super) enum ChannelMessage {
            $($name(Box<$name>),)*
            CommitmentSignedBatch(ChannelId, Vec<CommitmentSigned>),
        }

        impl ChannelMessage {
            /// What it is to the gate.
            pub fn inbound(&self) -> Inbound {
                self.offered().message
            }

            /// The same, with what proves it.
            pub fn offered(&self) -> Offered {
                match self {
                    $(ChannelMessage::$name($m) => $inbound.into(),)*
                    ChannelMessage::CommitmentSignedBatch(id, _) => Inbound::Channel(*id).into(),
                }
            }

            /// Hands it to a handler.
            pub fn deliver(self, from: PublicKey, to: &(impl ChannelMessageHandler + ?Sized)) {
                match self {
                    $(ChannelMessage::$name(message) => pass!($kind to.$method, from, message),)*
                    ChannelMessage::CommitmentSignedBatch(id, batch) => {
                        to.handle_commitment_signed_batch(from, id, batch)
                    }
                }
            }
        }
    };
}

macro_rules! pass {
    (owned $to:ident.$method:ident, $from:expr, $message:expr) => {
        $to.$method($from, *$message)
    };
    ($kind:ident $to:ident.$method:ident, $from:expr, $message:expr) => {
        $to.$method($from, &$message)
    };
}

for_each_channel_message!(define_channel_message);
