//! The host's node, as the decorator sees it: it says what was fed in, and what it is told goes onto the
//! list of steps.

use std::sync::Mutex;

use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::*;
use lightning::ln::types::ChannelId;
use lightning::types::features::{InitFeatures, NodeFeatures};

use super::super::for_each_channel_message;
use super::super::forward::ChannelMessage;
use super::batch::Whole;
use super::originals::Originals;
use super::wire::{self, OnTheWire};
use super::{RawMessage, RelayStep};
use crate::locks::lock;

/// Of the messages of a peer that wait so many bytes are kept as they came. An honest peer sends far less
/// before it can be heard.
const MOST_WAITING_BYTES: usize = 1 << 18;

/// Stands in for the node.
#[derive(Default)]
pub(super) struct FarNode {
    tray: Mutex<Tray>,
}

struct Tray {
    /// What the node wants to send, and the decorator has not taken yet.
    wishes: Vec<(PublicKey, MessageSendEvent)>,
    /// What the node wanted to send, as it came.
    of_node: Originals,
    /// What peers sent and the decorator keeps, as it came.
    of_peers: Originals,
    /// What a peer has just sent, while the decorator looks at it.
    offered: Option<Vec<RawMessage>>,
    steps: Vec<RelayStep>,
}

impl Default for Tray {
    fn default() -> Self {
        Tray {
            wishes: Vec::new(),
            // The node's own: it is not for us to lose them.
            of_node: Originals::at_most(usize::MAX),
            of_peers: Originals::at_most(MOST_WAITING_BYTES),
            offered: None,
            steps: Vec::new(),
        }
    }
}

impl FarNode {
    /// The node wants to send a message of a channel.
    pub fn wants_to_send(&self, peer: PublicKey, whole: Whole) {
        let mut tray = lock(&self.tray);
        tray.of_node
            .note(peer, wire::encode(&whole.message), whole.raw);
        tray.wishes.push((peer, wire::wish(peer, whole.message)));
    }

    /// The node wants something else of a peer's connection.
    pub fn wants(&self, peer: PublicKey, event: MessageSendEvent) {
        lock(&self.tray).wishes.push((peer, event));
    }

    /// From now on a peer's message is looked at; it came like this.
    pub fn offered(&self, raw: Vec<RawMessage>) {
        lock(&self.tray).offered = Some(raw);
    }

    /// It was looked at, and has not reached the node. `kept`: it may do so later.
    pub fn looked_at(&self, peer: PublicKey, message: &ChannelMessage, kept: bool) {
        let mut tray = lock(&self.tray);
        let Some(raw) = tray.offered.take() else {
            return;
        };
        // The text of an `error` that waits is cut.
        if kept && !matches!(message, ChannelMessage::ErrorMessage(_)) {
            tray.of_peers.note(peer, wire::encode(message), raw);
        }
    }

    /// What the decorator lets go to peers.
    pub fn leave(&self, events: Vec<MessageSendEvent>) {
        let mut tray = lock(&self.tray);
        for event in events {
            match wire::on_the_wire(&event) {
                OnTheWire::Messages(peer, messages) => {
                    let messages = tray.of_node.take(&peer, messages);
                    let send = |message| RelayStep::Send { peer, message };
                    tray.steps.extend(messages.into_iter().map(send));
                }
                OnTheWire::Disconnect(peer) => tray.steps.push(RelayStep::Disconnect { peer }),
                OnTheWire::Nothing => log::error!("an event of no kind that is ever made"),
            }
        }
    }

    /// A message of a peer that is not the decorator's business.
    pub fn hand_on(&self, peer: PublicKey, message: RawMessage) {
        lock(&self.tray)
            .steps
            .push(RelayStep::Deliver { peer, message });
    }

    pub fn take_steps(&self) -> Vec<RelayStep> {
        std::mem::take(&mut lock(&self.tray).steps)
    }

    /// The peer has gone, and what was meant for its connection is void.
    pub fn forget(&self, peer: &PublicKey) {
        let mut tray = lock(&self.tray);
        // Nobody holds back what is meant for a connection that has ended.
        tray.wishes.retain(|(to, _)| to != peer);
        tray.of_node.forget(peer);
        tray.of_peers.forget(peer);
        tray.steps.retain(|step| step.peer() != peer);
    }

    /// The decorator lets the node see a message.
    fn hear(&self, peer: PublicKey, as_ldk_writes: impl FnOnce() -> Vec<RawMessage>) {
        let mut tray = lock(&self.tray);
        let messages = match tray.offered.take() {
            Some(raw) => raw,
            None => tray.of_peers.take(&peer, as_ldk_writes()),
        };
        let deliver = |message| RelayStep::Deliver { peer, message };
        tray.steps.extend(messages.into_iter().map(deliver));
    }
}

impl BaseMessageHandler for FarNode {
    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        let wishes = std::mem::take(&mut lock(&self.tray).wishes);
        wishes.into_iter().map(|(_, event)| event).collect()
    }

    fn peer_disconnected(&self, _their_node_id: PublicKey) {}

    fn provided_node_features(&self) -> NodeFeatures {
        NodeFeatures::empty()
    }

    fn provided_init_features(&self, _their_node_id: PublicKey) -> InitFeatures {
        InitFeatures::empty()
    }

    fn peer_connected(
        &self,
        _their_node_id: PublicKey,
        _msg: &Init,
        _inbound: bool,
    ) -> Result<(), ()> {
        Ok(())
    }
}

macro_rules! hear_channel_messages {
    ($([$kind:ident $name:ident $method:ident |$m:ident| $inbound:expr])*) => {
        impl ChannelMessageHandler for FarNode {
            $(hear_message!($kind $name $method);)*

            fn handle_commitment_signed_batch(
                &self,
                their_node_id: PublicKey,
                channel_id: ChannelId,
                batch: Vec<CommitmentSigned>,
            ) {
                self.hear(their_node_id, || wire::write_batch(channel_id, &batch));
            }

            fn handle_peer_storage(&self, _their_node_id: PublicKey, _msg: PeerStorage) {}

            fn handle_peer_storage_retrieval(
                &self,
                _their_node_id: PublicKey,
                _msg: PeerStorageRetrieval,
            ) {
            }

            fn get_chain_hashes(&self) -> Option<Vec<ChainHash>> {
                None
            }

            fn message_received(&self) {}
        }
    };
}

macro_rules! hear_message {
    (owned $name:ident $method:ident) => {
        fn $method(&self, their_node_id: PublicKey, msg: $name) {
            self.hear(their_node_id, || vec![wire::write(&msg)]);
        }
    };
    ($kind:ident $name:ident $method:ident) => {
        fn $method(&self, their_node_id: PublicKey, msg: &$name) {
            self.hear(their_node_id, || vec![wire::write(msg)]);
        }
    };
}

for_each_channel_message!(hear_channel_messages);
