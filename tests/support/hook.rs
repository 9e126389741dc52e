//! What an app in Java or Swift puts between its `PeerManager` and its `ChannelManager`: it only knows
//! LDK's types, bytes, and a [`MessageRelay`]. Written as the documentation of `ldk::relay` says.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bitcoin::consensus::encode::serialize;
use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::PublicKey;
use bitcoin::Transaction;
use ldk_peer_storage::ldk::{MessageRelay, RawMessage, RelayError, RelayStep};
use lightning::chain::chaininterface::BroadcasterInterface;
use lightning::ln::msgs::*;
use lightning::ln::types::ChannelId;
use lightning::types::features::{InitFeatures, NodeFeatures};
use lightning::util::logger::{Level, Logger, Record};
use lightning::util::ser::{LengthReadable, Writeable};
use testkit::{DynBroadcaster, DynLogger};

/// In front of a node's own handler.
pub struct Hook<N: Deref>
where
    N::Target: ChannelMessageHandler,
{
    relay: Arc<MessageRelay>,
    node: N,
    /// Held in every method, so that steps are carried out in their order.
    sending: Mutex<Sending>,
}

/// What leaves with the next `get_and_clear_pending_msg_events`.
#[derive(Default)]
struct Sending {
    events: Vec<MessageSendEvent>,
}

impl<N: Deref> Hook<N>
where
    N::Target: ChannelMessageHandler,
{
    pub fn new(relay: Arc<MessageRelay>, node: N) -> Self {
        Hook {
            relay,
            node,
            sending: Mutex::default(),
        }
    }

    fn enter(&self) -> MutexGuard<'_, Sending> {
        // A test that looks for panics of LDK wants to see the first one.
        self.sending.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn received(&self, peer: PublicKey, messages: Vec<RawMessage>) {
        let mut sending = self.enter();
        for message in messages {
            match self.relay.message_received(peer, message) {
                // The `PeerManager` is just about to say that the peer has gone.
                Ok(()) | Err(RelayError::NotConnected) => {}
                Err(error) => panic!("{error}"),
            }
        }
        self.carry_out(&mut sending);
    }

    /// What the node wants goes to the relay.
    fn feed(&self, sending: &mut Sending, events: Vec<MessageSendEvent>) {
        for event in events {
            match on_the_wire(&event) {
                Some((peer, wants)) => wants.into_iter().for_each(|want| self.want(peer, want)),
                None => sending.events.push(event),
            }
        }
    }

    fn want(&self, peer: PublicKey, want: Want) {
        let said = match want {
            Want::Send(message) => self.relay.node_sends(peer, message),
            Want::Disconnect => {
                self.relay.node_disconnects(peer);
                Ok(())
            }
        };
        match said {
            Ok(()) | Err(RelayError::NotConnected) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn carry_out(&self, sending: &mut Sending) {
        loop {
            let steps = VecDeque::from(self.relay.take_steps());
            if steps.is_empty() {
                return;
            }
            self.carry_out_steps(sending, steps);
            // What the node was told may have made it say something.
            let events = self.node.get_and_clear_pending_msg_events();
            self.feed(sending, events);
        }
    }

    fn carry_out_steps(&self, sending: &mut Sending, mut steps: VecDeque<RelayStep>) {
        while let Some(step) = steps.pop_front() {
            let peer = *step.peer();
            match step {
                RelayStep::Send { message, .. } if message.kind == 127 => {
                    let (channel_id, commitment_signed) = read_batch(&message, &mut steps);
                    let mut updates = no_updates();
                    updates.commitment_signed = commitment_signed;
                    sending.events.push(MessageSendEvent::UpdateHTLCs {
                        node_id: peer,
                        channel_id,
                        updates,
                    });
                }
                RelayStep::Send { message, .. } => sending.events.push(event(peer, &message)),
                RelayStep::Deliver { message, .. } if message.kind == 127 => {
                    let (channel_id, batch) = read_batch(&message, &mut steps);
                    self.node
                        .handle_commitment_signed_batch(peer, channel_id, batch);
                }
                RelayStep::Deliver { message, .. } => deliver(&*self.node, peer, &message),
                RelayStep::Disconnect { .. } => {
                    let action = ErrorAction::DisconnectPeer { msg: None };
                    sending.events.push(error(peer, action));
                }
            }
        }
    }
}

/// Takes what follows a `start_batch`.
fn read_batch(
    start: &RawMessage,
    steps: &mut VecDeque<RelayStep>,
) -> (ChannelId, Vec<CommitmentSigned>) {
    let start: StartBatch = read(start);
    let batch = steps.drain(..usize::from(start.batch_size)).map(|step| {
        let (RelayStep::Send { message, .. } | RelayStep::Deliver { message, .. }) = step else {
            panic!("a batch in one piece");
        };
        assert_eq!(message.kind, 132, "a batch in one piece");
        let signed: CommitmentSigned = read(&message);
        assert_eq!(signed.channel_id, start.channel_id);
        signed
    });
    (start.channel_id, batch.collect())
}

impl<N: Deref> BaseMessageHandler for Hook<N>
where
    N::Target: ChannelMessageHandler,
{
    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        let mut sending = self.enter();
        let events = self.node.get_and_clear_pending_msg_events();
        self.feed(&mut sending, events);
        self.carry_out(&mut sending);
        std::mem::take(&mut sending.events)
    }

    fn peer_disconnected(&self, peer: PublicKey) {
        let mut sending = self.enter();
        sending.events.retain(|event| {
            let addressee = on_the_wire(event).map(|(to, _)| to);
            addressee != Some(peer)
        });
        self.relay.peer_disconnected(peer);
        self.node.peer_disconnected(peer);
    }

    fn provided_node_features(&self) -> NodeFeatures {
        let own = self.node.provided_node_features().encode();
        let features = self.relay.node_features(&own).expect("features");
        NodeFeatures::read_from_fixed_length_buffer(&mut &features[..]).expect("features")
    }

    fn provided_init_features(&self, peer: PublicKey) -> InitFeatures {
        let own = self.node.provided_init_features(peer).encode();
        let features = self.relay.init_features(&own).expect("features");
        InitFeatures::read_from_fixed_length_buffer(&mut &features[..]).expect("features")
    }

    fn peer_connected(&self, peer: PublicKey, init: &Init, inbound: bool) -> Result<(), ()> {
        let mut sending = self.enter();
        self.node.peer_connected(peer, init, inbound)?;
        let mut first = Vec::new();
        let mut rest = Vec::new();
        for event in self.node.get_and_clear_pending_msg_events() {
            match on_the_wire(&event) {
                Some((to, wants)) if to == peer => {
                    first.extend(wants.into_iter().map(|want| match want {
                        Want::Send(message) => message,
                        Want::Disconnect => panic!("it has just accepted the connection"),
                    }));
                }
                _ => rest.push(event),
            }
        }
        self.feed(&mut sending, rest);
        let features = init.features.encode();
        let connected = self.relay.peer_connected(peer, &features, inbound, first);
        if connected.is_err() {
            self.node.peer_disconnected(peer);
            return Err(());
        }
        self.carry_out(&mut sending);
        Ok(())
    }
}

/// Every message that LDK hands to a channel handler, but the batch.
macro_rules! for_each_message {
    ($then:ident) => {
        $then! {
            [by_ref 2 Stfu handle_stfu]
            [by_value 7 PeerStorage handle_peer_storage]
            [by_value 9 PeerStorageRetrieval handle_peer_storage_retrieval]
            [by_ref 17 ErrorMessage handle_error]
            [by_ref 32 OpenChannel handle_open_channel]
            [by_ref 33 AcceptChannel handle_accept_channel]
            [by_ref 34 FundingCreated handle_funding_created]
            [by_ref 35 FundingSigned handle_funding_signed]
            [by_ref 36 ChannelReady handle_channel_ready]
            [by_ref 38 Shutdown handle_shutdown]
            [by_ref 39 ClosingSigned handle_closing_signed]
            [by_ref 64 OpenChannelV2 handle_open_channel_v2]
            [by_ref 65 AcceptChannelV2 handle_accept_channel_v2]
            [by_ref 66 TxAddInput handle_tx_add_input]
            [by_ref 67 TxAddOutput handle_tx_add_output]
            [by_ref 68 TxRemoveInput handle_tx_remove_input]
            [by_ref 69 TxRemoveOutput handle_tx_remove_output]
            [by_ref 70 TxComplete handle_tx_complete]
            [by_ref 71 TxSignatures handle_tx_signatures]
            [by_ref 72 TxInitRbf handle_tx_init_rbf]
            [by_ref 73 TxAckRbf handle_tx_ack_rbf]
            [by_ref 74 TxAbort handle_tx_abort]
            [by_ref 77 SpliceLocked handle_splice_locked]
            [by_ref 80 SpliceInit handle_splice_init]
            [by_ref 81 SpliceAck handle_splice_ack]
            [by_ref 128 UpdateAddHTLC handle_update_add_htlc]
            [by_value 130 UpdateFulfillHTLC handle_update_fulfill_htlc]
            [by_ref 131 UpdateFailHTLC handle_update_fail_htlc]
            [by_ref 132 CommitmentSigned handle_commitment_signed]
            [by_ref 133 RevokeAndACK handle_revoke_and_ack]
            [by_ref 134 UpdateFee handle_update_fee]
            [by_ref 135 UpdateFailMalformedHTLC handle_update_fail_malformed_htlc]
            [by_ref 136 ChannelReestablish handle_channel_reestablish]
            [by_ref 258 ChannelUpdate handle_channel_update]
            [by_ref 259 AnnouncementSignatures handle_announcement_signatures]
        }
    };
}

pub(crate) use for_each_message;

macro_rules! impl_hook {
    ($([$how:ident $kind:literal $name:ident $method:ident])*) => {
        impl<N: Deref> ChannelMessageHandler for Hook<N>
        where
            N::Target: ChannelMessageHandler,
        {
            $(hook_method!($how $kind $name $method);)*

            fn handle_commitment_signed_batch(
                &self,
                peer: PublicKey,
                channel_id: ChannelId,
                batch: Vec<CommitmentSigned>,
            ) {
                self.received(peer, batch_messages(channel_id, &batch));
            }

            fn get_chain_hashes(&self) -> Option<Vec<ChainHash>> {
                self.node.get_chain_hashes()
            }

            fn message_received(&self) {
                self.node.message_received();
            }
        }

        /// Hands a message to a node.
        pub fn deliver<N: ChannelMessageHandler + ?Sized>(
            node: &N,
            peer: PublicKey,
            message: &RawMessage,
        ) {
            match message.kind {
                $($kind => pass!($how node.$method(peer, read::<$name>(message))),)*
                kind => panic!("nobody is to be handed a message of type {kind}"),
            }
        }
    };
}

macro_rules! hook_method {
    (by_ref $kind:literal $name:ident $method:ident) => {
        fn $method(&self, peer: PublicKey, message: &$name) {
            self.received(peer, vec![raw($kind, message)]);
        }
    };
    (by_value $kind:literal $name:ident $method:ident) => {
        fn $method(&self, peer: PublicKey, message: $name) {
            self.received(peer, vec![raw($kind, &message)]);
        }
    };
}

macro_rules! pass {
    (by_ref $node:ident.$method:ident($peer:ident, $message:expr)) => {
        $node.$method($peer, &$message)
    };
    (by_value $node:ident.$method:ident($peer:ident, $message:expr)) => {
        $node.$method($peer, $message)
    };
}

for_each_message!(impl_hook);

pub fn raw(kind: u16, message: &impl Writeable) -> RawMessage {
    RawMessage {
        kind,
        payload: message.encode(),
    }
}

pub fn read<M: LengthReadable>(message: &RawMessage) -> M {
    let read = M::read_from_fixed_length_buffer(&mut &message.payload[..]);
    read.unwrap_or_else(|e| panic!("{message:?} cannot be read: {e:?}"))
}

/// A batch, as it stands on the wire.
pub fn batch_messages(channel_id: ChannelId, batch: &[CommitmentSigned]) -> Vec<RawMessage> {
    let start = StartBatch {
        channel_id,
        batch_size: batch.len() as u16,
        message_type: Some(132),
    };
    let signed = batch.iter().map(|signed| raw(132, signed));
    std::iter::once(raw(127, &start)).chain(signed).collect()
}

/// What a node wants.
pub enum Want {
    Send(RawMessage),
    Disconnect,
}

/// None: not for the relay.
pub fn on_the_wire(event: &MessageSendEvent) -> Option<(PublicKey, Vec<Want>)> {
    use MessageSendEvent::*;
    macro_rules! table {
        ($([$event:ident $kind:literal])*) => {
            match event {
                $($event { node_id, msg } => Some((*node_id, vec![Want::Send(raw($kind, msg))])),)*
                UpdateHTLCs { node_id, channel_id, updates } => {
                    let messages = updates_messages(*channel_id, updates);
                    Some((*node_id, messages.into_iter().map(Want::Send).collect()))
                }
                HandleError { node_id, action } => Some((*node_id, on_error(action))),
                _ => None,
            }
        };
    }
    table! {
        [SendStfu 2] [SendPeerStorage 7] [SendPeerStorageRetrieval 9] [SendOpenChannel 32]
        [SendAcceptChannel 33] [SendFundingCreated 34] [SendFundingSigned 35] [SendChannelReady 36]
        [SendShutdown 38] [SendClosingSigned 39] [SendOpenChannelV2 64] [SendAcceptChannelV2 65]
        [SendTxAddInput 66] [SendTxAddOutput 67] [SendTxRemoveInput 68] [SendTxRemoveOutput 69]
        [SendTxComplete 70] [SendTxSignatures 71] [SendTxInitRbf 72] [SendTxAckRbf 73]
        [SendTxAbort 74] [SendSpliceLocked 77] [SendSpliceInit 80] [SendSpliceAck 81]
        [SendRevokeAndACK 133] [SendChannelReestablish 136] [SendChannelUpdate 258]
        [SendAnnouncementSignatures 259]
    }
}

fn updates_messages(channel_id: ChannelId, updates: &CommitmentUpdate) -> Vec<RawMessage> {
    let fulfils = updates.update_fulfill_htlcs.iter().map(|m| raw(130, m));
    let fails = updates.update_fail_htlcs.iter().map(|m| raw(131, m));
    let malformed = updates.update_fail_malformed_htlcs.iter();
    let malformed = malformed.map(|m| raw(135, m));
    let adds = updates.update_add_htlcs.iter().map(|m| raw(128, m));
    let fee = updates.update_fee.iter().map(|m| raw(134, m));
    let signed = match &updates.commitment_signed[..] {
        [one] => vec![raw(132, one)],
        [] => Vec::new(),
        batch => batch_messages(channel_id, batch),
    };
    let updates = fulfils.chain(fails).chain(malformed).chain(adds).chain(fee);
    updates.chain(signed).collect()
}

fn on_error(action: &ErrorAction) -> Vec<Want> {
    let error = |msg: &ErrorMessage| Want::Send(raw(17, msg));
    let warning = |msg: &WarningMessage| Want::Send(raw(1, msg));
    match action {
        ErrorAction::SendErrorMessage { msg } => vec![error(msg)],
        ErrorAction::SendWarningMessage { msg, .. } => vec![warning(msg)],
        ErrorAction::DisconnectPeer { msg } => {
            let last = msg.iter().map(error);
            last.chain([Want::Disconnect]).collect()
        }
        ErrorAction::DisconnectPeerWithWarning { msg } => vec![warning(msg), Want::Disconnect],
        ErrorAction::IgnoreError
        | ErrorAction::IgnoreAndLog(_)
        | ErrorAction::IgnoreDuplicateGossip => Vec::new(),
    }
}

/// The event that sends one message.
pub fn event(node_id: PublicKey, message: &RawMessage) -> MessageSendEvent {
    use MessageSendEvent::*;
    macro_rules! table {
        ($([$kind:literal $event:ident])* | $([$update:literal $list:ident])*) => {
            match message.kind {
                $($kind => $event { node_id, msg: read(message) },)*
                $($update => {
                    let mut updates = no_updates();
                    updates.$list.extend([read(message)]);
                    let channel_id = message.payload[..32].try_into().expect("32 bytes");
                    UpdateHTLCs { node_id, channel_id: ChannelId(channel_id), updates }
                })*
                134 => {
                    let msg: UpdateFee = read(message);
                    let channel_id = msg.channel_id;
                    let mut updates = no_updates();
                    updates.update_fee = Some(msg);
                    UpdateHTLCs { node_id, channel_id, updates }
                }
                1 => error(node_id, ErrorAction::SendWarningMessage {
                    msg: read(message),
                    log_level: Level::Debug,
                }),
                17 => error(node_id, ErrorAction::SendErrorMessage { msg: read(message) }),
                kind => panic!("a message of type {kind} cannot be sent"),
            }
        };
    }
    table! {
        [2 SendStfu] [7 SendPeerStorage] [9 SendPeerStorageRetrieval] [32 SendOpenChannel]
        [33 SendAcceptChannel] [34 SendFundingCreated] [35 SendFundingSigned] [36 SendChannelReady]
        [38 SendShutdown] [39 SendClosingSigned] [64 SendOpenChannelV2] [65 SendAcceptChannelV2]
        [66 SendTxAddInput] [67 SendTxAddOutput] [68 SendTxRemoveInput] [69 SendTxRemoveOutput]
        [70 SendTxComplete] [71 SendTxSignatures] [72 SendTxInitRbf] [73 SendTxAckRbf]
        [74 SendTxAbort] [77 SendSpliceLocked] [80 SendSpliceInit] [81 SendSpliceAck]
        [133 SendRevokeAndACK] [136 SendChannelReestablish] [258 SendChannelUpdate]
        [259 SendAnnouncementSignatures]
        |
        [128 update_add_htlcs] [130 update_fulfill_htlcs] [131 update_fail_htlcs]
        [132 commitment_signed] [135 update_fail_malformed_htlcs]
    }
}

fn error(node_id: PublicKey, action: ErrorAction) -> MessageSendEvent {
    MessageSendEvent::HandleError { node_id, action }
}

pub fn no_updates() -> CommitmentUpdate {
    CommitmentUpdate {
        update_add_htlcs: Vec::new(),
        update_fulfill_htlcs: Vec::new(),
        update_fail_htlcs: Vec::new(),
        update_fail_malformed_htlcs: Vec::new(),
        update_fee: None,
        commitment_signed: Vec::new(),
    }
}

/// The app's logger: it passes LDK's lines on as text.
pub struct HookedLogger {
    pub relay: Arc<MessageRelay>,
    pub inner: Arc<DynLogger>,
}

impl Logger for HookedLogger {
    fn log(&self, record: Record) {
        if record.level == Level::Debug {
            let text = record.args.to_string();
            self.relay
                .node_logged(record.module_path, record.peer_id, &text);
        }
        self.inner.log(record);
    }
}

/// The app's broadcaster: it asks first.
pub struct HookedBroadcaster {
    pub relay: Arc<MessageRelay>,
    pub inner: Arc<DynBroadcaster>,
    pub dropped: Arc<AtomicU64>,
}

impl BroadcasterInterface for HookedBroadcaster {
    fn broadcast_transactions(&self, txs: &[&Transaction]) {
        let package: Vec<_> = txs.iter().map(|tx| serialize(*tx)).collect();
        if self.relay.may_publish(&package).expect("transactions") {
            self.inner.broadcast_transactions(txs);
        } else {
            self.dropped.fetch_add(txs.len() as u64, Ordering::SeqCst);
        }
    }
}
