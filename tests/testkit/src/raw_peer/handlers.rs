//! The handlers of a raw peer: they write everything down.

use std::sync::Arc;

use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::PublicKey;
use lightning::io;
use lightning::ln::msgs::{
    self, BaseMessageHandler, ChannelMessageHandler, DecodeError, Init, LightningError,
    MessageSendEvent, OnionMessageHandler, RoutingMessageHandler,
};
use lightning::ln::peer_handler::CustomMessageHandler;
use lightning::ln::types::ChannelId;
use lightning::ln::wire::{CustomMessageReader, Type};
use lightning::routing::gossip::NodeId;
use lightning::types::features::{InitFeatures, NodeFeatures};
use lightning::util::ser::{LengthLimitedRead, Writeable, Writer};

use super::{Desk, RawMessage, Received};
use crate::lock::lock;
use crate::wire::short;

/// Handles channel messages, and is the one that notes connections.
pub(super) struct ChannelHandler {
    desk: Arc<Desk>,
    features: InitFeatures,
}

/// Handles everything else.
pub(super) struct OtherHandler {
    desk: Arc<Desk>,
}

impl ChannelHandler {
    pub fn new(desk: &Arc<Desk>, features: InitFeatures) -> ChannelHandler {
        ChannelHandler {
            desk: Arc::clone(desk),
            features,
        }
    }
}

impl OtherHandler {
    pub fn new(desk: &Arc<Desk>) -> OtherHandler {
        OtherHandler {
            desk: Arc::clone(desk),
        }
    }
}

impl Desk {
    fn note_message<M: Type>(&self, from: PublicKey, message: &M) {
        let path = std::any::type_name::<M>();
        self.note(Received {
            from,
            type_id: message.type_id(),
            name: short(path.rsplit("::").next().unwrap_or(path)),
            body: message.encode(),
        });
    }
}

impl BaseMessageHandler for ChannelHandler {
    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        std::mem::take(&mut *lock(&self.desk.events))
    }

    fn peer_disconnected(&self, peer: PublicKey) {
        self.desk.disconnected(peer);
    }

    fn provided_node_features(&self) -> NodeFeatures {
        NodeFeatures::empty()
    }

    fn provided_init_features(&self, _peer: PublicKey) -> InitFeatures {
        self.features.clone()
    }

    fn peer_connected(&self, peer: PublicKey, init: &Init, _inbound: bool) -> Result<(), ()> {
        self.desk.connected(peer, init);
        Ok(())
    }
}

/// Methods that note their message: those that LDK calls with a reference, and those with a value.
macro_rules! note {
    (by reference: $($method:ident($message:ident)),* $(,)?) => {
        $(fn $method(&self, from: PublicKey, message: &msgs::$message) {
            self.desk.note_message(from, message);
        })*
    };
    (by value: $($method:ident($message:ident)),* $(,)?) => {
        $(fn $method(&self, from: PublicKey, message: msgs::$message) {
            self.desk.note_message(from, &message);
        })*
    };
}

impl ChannelMessageHandler for ChannelHandler {
    note!(by reference:
        handle_open_channel(OpenChannel),
        handle_open_channel_v2(OpenChannelV2),
        handle_accept_channel(AcceptChannel),
        handle_accept_channel_v2(AcceptChannelV2),
        handle_funding_created(FundingCreated),
        handle_funding_signed(FundingSigned),
        handle_channel_ready(ChannelReady),
        handle_shutdown(Shutdown),
        handle_closing_signed(ClosingSigned),
        handle_stfu(Stfu),
        handle_splice_init(SpliceInit),
        handle_splice_ack(SpliceAck),
        handle_splice_locked(SpliceLocked),
        handle_tx_add_input(TxAddInput),
        handle_tx_add_output(TxAddOutput),
        handle_tx_remove_input(TxRemoveInput),
        handle_tx_remove_output(TxRemoveOutput),
        handle_tx_complete(TxComplete),
        handle_tx_signatures(TxSignatures),
        handle_tx_init_rbf(TxInitRbf),
        handle_tx_ack_rbf(TxAckRbf),
        handle_tx_abort(TxAbort),
        handle_update_add_htlc(UpdateAddHTLC),
        handle_update_fail_htlc(UpdateFailHTLC),
        handle_update_fail_malformed_htlc(UpdateFailMalformedHTLC),
        handle_commitment_signed(CommitmentSigned),
        handle_revoke_and_ack(RevokeAndACK),
        handle_update_fee(UpdateFee),
        handle_announcement_signatures(AnnouncementSignatures),
        handle_channel_reestablish(ChannelReestablish),
        handle_channel_update(ChannelUpdate),
        handle_error(ErrorMessage),
    );
    note!(by value:
        handle_peer_storage(PeerStorage),
        handle_peer_storage_retrieval(PeerStorageRetrieval),
        handle_update_fulfill_htlc(UpdateFulfillHTLC),
    );

    fn handle_commitment_signed_batch(
        &self,
        from: PublicKey,
        _channel_id: ChannelId,
        batch: Vec<msgs::CommitmentSigned>,
    ) {
        for message in batch {
            self.desk.note_message(from, &message);
        }
    }

    fn get_chain_hashes(&self) -> Option<Vec<ChainHash>> {
        Some(vec![ChainHash::REGTEST])
    }

    fn message_received(&self) {}
}

impl BaseMessageHandler for OtherHandler {
    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        Vec::new()
    }

    fn peer_disconnected(&self, _peer: PublicKey) {}

    fn provided_node_features(&self) -> NodeFeatures {
        NodeFeatures::empty()
    }

    fn provided_init_features(&self, _peer: PublicKey) -> InitFeatures {
        InitFeatures::empty()
    }

    fn peer_connected(&self, _peer: PublicKey, _init: &Init, _inbound: bool) -> Result<(), ()> {
        Ok(())
    }
}

impl RoutingMessageHandler for OtherHandler {
    fn handle_node_announcement(
        &self,
        from: Option<PublicKey>,
        message: &msgs::NodeAnnouncement,
    ) -> Result<bool, LightningError> {
        self.gossip(from, message)
    }

    fn handle_channel_announcement(
        &self,
        from: Option<PublicKey>,
        message: &msgs::ChannelAnnouncement,
    ) -> Result<bool, LightningError> {
        self.gossip(from, message)
    }

    fn handle_channel_update(
        &self,
        _from: Option<PublicKey>,
        _message: &msgs::ChannelUpdate,
    ) -> Result<bool, LightningError> {
        // The channel handler has seen it.
        Ok(false)
    }

    fn get_next_channel_announcement(
        &self,
        _from: u64,
    ) -> Option<(
        msgs::ChannelAnnouncement,
        Option<msgs::ChannelUpdate>,
        Option<msgs::ChannelUpdate>,
    )> {
        None
    }

    fn get_next_node_announcement(&self, _from: Option<&NodeId>) -> Option<msgs::NodeAnnouncement> {
        None
    }

    fn handle_reply_channel_range(
        &self,
        from: PublicKey,
        message: msgs::ReplyChannelRange,
    ) -> Result<(), LightningError> {
        self.desk.note_message(from, &message);
        Ok(())
    }

    fn handle_reply_short_channel_ids_end(
        &self,
        from: PublicKey,
        message: msgs::ReplyShortChannelIdsEnd,
    ) -> Result<(), LightningError> {
        self.desk.note_message(from, &message);
        Ok(())
    }

    fn handle_query_channel_range(
        &self,
        from: PublicKey,
        message: msgs::QueryChannelRange,
    ) -> Result<(), LightningError> {
        self.desk.note_message(from, &message);
        Ok(())
    }

    fn handle_query_short_channel_ids(
        &self,
        from: PublicKey,
        message: msgs::QueryShortChannelIds,
    ) -> Result<(), LightningError> {
        self.desk.note_message(from, &message);
        Ok(())
    }

    fn processing_queue_high(&self) -> bool {
        false
    }
}

impl OtherHandler {
    fn gossip(&self, from: Option<PublicKey>, message: &impl Type) -> Result<bool, LightningError> {
        if let Some(from) = from {
            self.desk.note_message(from, message);
        }
        Ok(false)
    }
}

impl OnionMessageHandler for OtherHandler {
    fn handle_onion_message(&self, from: PublicKey, message: &msgs::OnionMessage) {
        self.desk.note_message(from, message);
    }

    fn next_onion_message_for_peer(&self, _peer: PublicKey) -> Option<msgs::OnionMessage> {
        None
    }

    fn timer_tick_occurred(&self) {}
}

/// All types that LDK does not know.
impl CustomMessageReader for OtherHandler {
    type CustomMessage = RawMessage;

    fn read<R: LengthLimitedRead>(
        &self,
        type_id: u16,
        buffer: &mut R,
    ) -> Result<Option<RawMessage>, DecodeError> {
        let mut body = vec![0; buffer.remaining_bytes() as usize];
        buffer
            .read_exact(&mut body)
            .map_err(|_| DecodeError::ShortRead)?;
        Ok(Some(RawMessage { type_id, body }))
    }
}

impl CustomMessageHandler for OtherHandler {
    fn handle_custom_message(
        &self,
        message: RawMessage,
        from: PublicKey,
    ) -> Result<(), LightningError> {
        let RawMessage { type_id, body } = message;
        let name = format!("Unknown({type_id})");
        self.desk.note(Received {
            from,
            type_id,
            name,
            body,
        });
        Ok(())
    }

    fn get_and_clear_pending_msg(&self) -> Vec<(PublicKey, RawMessage)> {
        std::mem::take(&mut *lock(&self.desk.raw))
    }

    fn peer_disconnected(&self, _peer: PublicKey) {}

    fn peer_connected(&self, _peer: PublicKey, _init: &Init, _inbound: bool) -> Result<(), ()> {
        Ok(())
    }

    fn provided_node_features(&self) -> NodeFeatures {
        NodeFeatures::empty()
    }

    fn provided_init_features(&self, _peer: PublicKey) -> InitFeatures {
        InitFeatures::empty()
    }
}

impl Type for RawMessage {
    fn type_id(&self) -> u16 {
        self.type_id
    }
}

impl Writeable for RawMessage {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        writer.write_all(&self.body)
    }
}
