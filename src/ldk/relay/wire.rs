//! Messages as they stand on the wire, and as LDK has them.

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::*;
use lightning::ln::types::ChannelId;
use lightning::util::logger::Level;
use lightning::util::ser::{LengthReadable, Writeable};

use super::super::forward::ChannelMessage;
use super::{RawMessage, RelayError};

pub(super) const WARNING: u16 = 1;
pub(super) const PEER_STORAGE: u16 = 7;
pub(super) const PEER_STORAGE_RETRIEVAL: u16 = 9;
pub(super) const START_BATCH: u16 = 127;
pub(super) const COMMITMENT_SIGNED: u16 = 132;

/// So much fits on the wire behind the type (BOLT #8). LDK's `PeerManager` panics at more.
const MOST_BYTES: usize = 65_533;

/// Every message of [`for_each_channel_message`](super::super::for_each_channel_message) with its type
/// (BOLT #1, #2, #7).
macro_rules! for_each_kind {
    ($then:ident) => {
        $then! {
            (2 Stfu)
            (17 ErrorMessage)
            (32 OpenChannel)
            (33 AcceptChannel)
            (34 FundingCreated)
            (35 FundingSigned)
            (36 ChannelReady)
            (38 Shutdown)
            (39 ClosingSigned)
            (64 OpenChannelV2)
            (65 AcceptChannelV2)
            (66 TxAddInput)
            (67 TxAddOutput)
            (68 TxRemoveInput)
            (69 TxRemoveOutput)
            (70 TxComplete)
            (71 TxSignatures)
            (72 TxInitRbf)
            (73 TxAckRbf)
            (74 TxAbort)
            (77 SpliceLocked)
            (80 SpliceInit)
            (81 SpliceAck)
            (128 UpdateAddHTLC)
            (130 UpdateFulfillHTLC)
            (131 UpdateFailHTLC)
            (132 CommitmentSigned)
            (133 RevokeAndACK)
            (134 UpdateFee)
            (135 UpdateFailMalformedHTLC)
            (136 ChannelReestablish)
            (258 ChannelUpdate)
            (259 AnnouncementSignatures)
        }
    };
}

/// A message that has one type.
pub(super) trait Kind: Writeable {
    const KIND: u16;
}

macro_rules! define_wire {
    ($(($kind:literal $name:ident))*) => {
        $(impl Kind for $name {
            const KIND: u16 = $kind;
        })*

        /// Reads a message of a channel. Not a batch: that is more than one.
        pub(super) fn decode(raw: &RawMessage) -> Result<ChannelMessage, RelayError> {
            match raw.kind {
                $($kind => read(raw).map(|message| ChannelMessage::$name(Box::new(message))),)*
                kind => Err(RelayError::NotForTheRelay { kind }),
            }
        }

        /// As LDK would send it: what LDK does not know of a message that it has read is not there.
        pub(super) fn encode(message: &ChannelMessage) -> Vec<RawMessage> {
            match message {
                $(ChannelMessage::$name(message) => vec![write(&**message)],)*
                ChannelMessage::CommitmentSignedBatch(id, batch) => write_batch(*id, batch),
            }
        }
    };
}

for_each_kind!(define_wire);

impl Kind for WarningMessage {
    const KIND: u16 = WARNING;
}

impl Kind for PeerStorage {
    const KIND: u16 = PEER_STORAGE;
}

impl Kind for PeerStorageRetrieval {
    const KIND: u16 = PEER_STORAGE_RETRIEVAL;
}

impl Kind for StartBatch {
    const KIND: u16 = START_BATCH;
}

pub(super) fn read<M: LengthReadable>(raw: &RawMessage) -> Result<M, RelayError> {
    let unreadable = RelayError::Unreadable { kind: raw.kind };
    if raw.payload.len() > MOST_BYTES {
        return Err(unreadable);
    }
    M::read_from_fixed_length_buffer(&mut raw.payload.as_slice()).map_err(|_| unreadable)
}

pub(super) fn write<M: Kind>(message: &M) -> RawMessage {
    RawMessage {
        kind: M::KIND,
        payload: message.encode(),
    }
}

/// A batch of one is none (BOLT #2).
pub(super) fn write_batch(channel_id: ChannelId, batch: &[CommitmentSigned]) -> Vec<RawMessage> {
    let start = (batch.len() > 1).then(|| {
        write(&StartBatch {
            channel_id,
            batch_size: u16::try_from(batch.len()).unwrap_or(u16::MAX),
            message_type: Some(COMMITMENT_SIGNED),
        })
    });
    start.into_iter().chain(batch.iter().map(write)).collect()
}

// ---- what a node wants to send ------------------------------------------------------------------

/// What LDK's own handler would have asked for, had it wanted to send this.
pub(super) fn wish(node_id: PublicKey, message: ChannelMessage) -> MessageSendEvent {
    use ChannelMessage as M;
    use MessageSendEvent::*;
    macro_rules! send {
        ($event:ident $msg:ident) => {
            $event {
                node_id,
                msg: *$msg,
            }
        };
    }
    macro_rules! update {
        ($msg:ident.$list:ident) => {
            update(node_id, $msg.channel_id, |updates| {
                updates.$list.push(*$msg)
            })
        };
    }
    match message {
        M::Stfu(msg) => send!(SendStfu msg),
        M::ErrorMessage(msg) => error(node_id, ErrorAction::SendErrorMessage { msg: *msg }),
        M::OpenChannel(msg) => send!(SendOpenChannel msg),
        M::AcceptChannel(msg) => send!(SendAcceptChannel msg),
        M::FundingCreated(msg) => send!(SendFundingCreated msg),
        M::FundingSigned(msg) => send!(SendFundingSigned msg),
        M::ChannelReady(msg) => send!(SendChannelReady msg),
        M::Shutdown(msg) => send!(SendShutdown msg),
        M::ClosingSigned(msg) => send!(SendClosingSigned msg),
        M::OpenChannelV2(msg) => send!(SendOpenChannelV2 msg),
        M::AcceptChannelV2(msg) => send!(SendAcceptChannelV2 msg),
        M::TxAddInput(msg) => send!(SendTxAddInput msg),
        M::TxAddOutput(msg) => send!(SendTxAddOutput msg),
        M::TxRemoveInput(msg) => send!(SendTxRemoveInput msg),
        M::TxRemoveOutput(msg) => send!(SendTxRemoveOutput msg),
        M::TxComplete(msg) => send!(SendTxComplete msg),
        M::TxSignatures(msg) => send!(SendTxSignatures msg),
        M::TxInitRbf(msg) => send!(SendTxInitRbf msg),
        M::TxAckRbf(msg) => send!(SendTxAckRbf msg),
        M::TxAbort(msg) => send!(SendTxAbort msg),
        M::SpliceLocked(msg) => send!(SendSpliceLocked msg),
        M::SpliceInit(msg) => send!(SendSpliceInit msg),
        M::SpliceAck(msg) => send!(SendSpliceAck msg),
        M::UpdateAddHTLC(msg) => update!(msg.update_add_htlcs),
        M::UpdateFulfillHTLC(msg) => update!(msg.update_fulfill_htlcs),
        M::UpdateFailHTLC(msg) => update!(msg.update_fail_htlcs),
        M::UpdateFailMalformedHTLC(msg) => update!(msg.update_fail_malformed_htlcs),
        M::CommitmentSigned(msg) => update!(msg.commitment_signed),
        M::CommitmentSignedBatch(id, batch) => {
            update(node_id, id, |updates| updates.commitment_signed = batch)
        }
        M::UpdateFee(msg) => update(node_id, msg.channel_id, |updates| {
            updates.update_fee = Some(*msg);
        }),
        M::RevokeAndACK(msg) => send!(SendRevokeAndACK msg),
        M::ChannelReestablish(msg) => send!(SendChannelReestablish msg),
        M::ChannelUpdate(msg) => send!(SendChannelUpdate msg),
        M::AnnouncementSignatures(msg) => send!(SendAnnouncementSignatures msg),
    }
}

fn update(
    node_id: PublicKey,
    channel_id: ChannelId,
    fill: impl FnOnce(&mut CommitmentUpdate),
) -> MessageSendEvent {
    let mut updates = CommitmentUpdate {
        update_add_htlcs: Vec::new(),
        update_fulfill_htlcs: Vec::new(),
        update_fail_htlcs: Vec::new(),
        update_fail_malformed_htlcs: Vec::new(),
        update_fee: None,
        commitment_signed: Vec::new(),
    };
    fill(&mut updates);
    MessageSendEvent::UpdateHTLCs {
        node_id,
        channel_id,
        updates,
    }
}

pub(super) fn warning(node_id: PublicKey, msg: WarningMessage) -> MessageSendEvent {
    let log_level = Level::Debug;
    error(node_id, ErrorAction::SendWarningMessage { msg, log_level })
}

pub(super) fn disconnect(node_id: PublicKey) -> MessageSendEvent {
    error(node_id, ErrorAction::DisconnectPeer { msg: None })
}

fn error(node_id: PublicKey, action: ErrorAction) -> MessageSendEvent {
    MessageSendEvent::HandleError { node_id, action }
}

/// What an event does on the wire.
pub(super) enum OnTheWire {
    /// These messages, in this order.
    Messages(PublicKey, Vec<RawMessage>),
    /// The connection ends.
    Disconnect(PublicKey),
    /// Nothing that was ever made here.
    Nothing,
}

/// The reverse of [`wish`], [`warning`] and [`disconnect`], and the same for what the decorator says.
pub(super) fn on_the_wire(event: &MessageSendEvent) -> OnTheWire {
    use MessageSendEvent::*;
    macro_rules! send {
        ($($event:ident)*) => {
            match event {
                $($event { node_id, msg } => OnTheWire::Messages(*node_id, vec![write(msg)]),)*
                UpdateHTLCs { node_id, channel_id, updates } => {
                    OnTheWire::Messages(*node_id, write_updates(*channel_id, updates))
                }
                HandleError { node_id, action } => on_error(*node_id, action),
                _ => OnTheWire::Nothing,
            }
        };
    }
    send! {
        SendPeerStorage SendPeerStorageRetrieval
        SendStfu SendOpenChannel SendAcceptChannel SendFundingCreated SendFundingSigned
        SendChannelReady SendShutdown SendClosingSigned SendOpenChannelV2 SendAcceptChannelV2
        SendTxAddInput SendTxAddOutput SendTxRemoveInput SendTxRemoveOutput SendTxComplete
        SendTxSignatures SendTxInitRbf SendTxAckRbf SendTxAbort
        SendSpliceLocked SendSpliceInit SendSpliceAck
        SendRevokeAndACK SendChannelReestablish SendChannelUpdate SendAnnouncementSignatures
    }
}

/// In the order of LDK's `PeerManager`.
fn write_updates(channel_id: ChannelId, updates: &CommitmentUpdate) -> Vec<RawMessage> {
    let fulfils = updates.update_fulfill_htlcs.iter().map(write);
    let fails = updates.update_fail_htlcs.iter().map(write);
    let malformed = updates.update_fail_malformed_htlcs.iter().map(write);
    let adds = updates.update_add_htlcs.iter().map(write);
    let fee = updates.update_fee.iter().map(write);
    let signed = write_batch(channel_id, &updates.commitment_signed);
    let updates = fulfils.chain(fails).chain(malformed).chain(adds).chain(fee);
    updates.chain(signed).collect()
}

fn on_error(node_id: PublicKey, action: &ErrorAction) -> OnTheWire {
    match action {
        ErrorAction::SendErrorMessage { msg } => OnTheWire::Messages(node_id, vec![write(msg)]),
        ErrorAction::SendWarningMessage { msg, .. } => {
            OnTheWire::Messages(node_id, vec![write(msg)])
        }
        ErrorAction::DisconnectPeer { msg: None } => OnTheWire::Disconnect(node_id),
        // Never made here.
        ErrorAction::DisconnectPeer { msg: Some(_) }
        | ErrorAction::DisconnectPeerWithWarning { .. }
        | ErrorAction::IgnoreError
        | ErrorAction::IgnoreAndLog(_)
        | ErrorAction::IgnoreDuplicateGossip => OnTheWire::Nothing,
    }
}
