//! The decorator of the node's channel message handler.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::*;
use lightning::ln::types::ChannelId;
use lightning::types::features::{InitFeatures, NodeFeatures};
use lightning::util::logger::Level;
use lightning::util::ser::Writeable;
use sha2::{Digest, Sha256};

use super::classify::{self, about_channel, reestablish, Wish};
use super::forward::{for_each_channel_message, ChannelMessage};
use super::held::Held;
use super::kept::Kept;
use super::openings::Openings;
use super::seen::{Seen, SeenReestablish};
use crate::backup::MAX_BLOB;
use crate::exchange::{ConnectionId, Inbound, Outbound, PeerFeatures, Verdict};
use crate::locks::lock;
use crate::service::{Engine, Offered, Outgoing};

/// Speaks peer storage (BOLT #1, types 7 and 9) for a node, and keeps the messages of the node's own
/// handler and of its peers apart until both are known to agree on their channels.
///
/// Made by [`PeerStorage::message_handler`](crate::service::PeerStorage::message_handler) around the
/// `ChannelManager`, or whatever handler the node has, and given to the `PeerManager` in its place.
/// It lives as long as the `PeerManager`, and works on the `PeerManager`'s threads. After
/// [`PeerStorage::close`](crate::service::PeerStorage::close) it goes on to forward messages.
///
/// * 9 precedes `channel_reestablish` (136) on every connection.
/// * LDK's own 7 and 9 are superseded: they neither leave nor arrive. A blob that LDK had kept
///   before is taken over.
/// * What the node wants to send is held, in order, and 136 and `error` of a peer are kept from it,
///   as long as the gate says so.
///
/// It does not implement `Deref`.
pub struct PeerStorageHandler<H: Deref>
where
    H::Target: ChannelMessageHandler,
{
    inner: H,
    engine: Arc<Engine>,
    /// Held while the inner handler is drained, so that two drains cannot change the order of its
    /// messages. The inner handler never calls back, and none of its callers needs this lock.
    outbound: Mutex<OutboundState>,
    connections: Connections,
    /// Never held while the inner handler is called.
    kept: Mutex<Kept>,
    openings: Mutex<Openings>,
    seen: Mutex<Seen>,
}

/// The connections that a handler was told of. Those that it is not told the end of end with it: a node
/// that was dropped answers nothing any more, and what is for its peers must not be waited for.
struct Connections {
    engine: Arc<Engine>,
    /// A leaf: nothing is called while it is held.
    of: Mutex<BTreeMap<PublicKey, ConnectionId>>,
}

impl Connections {
    fn get(&self, peer: &PublicKey) -> Option<ConnectionId> {
        lock(&self.of).get(peer).copied()
    }

    fn begun(&self, peer: PublicKey, connection: Option<ConnectionId>) {
        if let Some(connection) = connection {
            lock(&self.of).insert(peer, connection);
        }
    }

    fn ended(&self, peer: &PublicKey) {
        let connection = lock(&self.of).remove(peer);
        self.engine.disconnected(*peer, connection);
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        let left = std::mem::take(&mut *lock(&self.of));
        for (peer, connection) in left {
            self.engine.disconnected(peer, Some(connection));
        }
    }
}

#[derive(Default)]
struct OutboundState {
    /// 9s that wait to be sent.
    retrievals: Vec<(PublicKey, Vec<u8>)>,
    /// Peers just connected for which we keep nothing: what LDK had kept for them is taken over.
    without_slot: BTreeSet<PublicKey>,
    held: Held,
    /// What has no addressee.
    free: Vec<MessageSendEvent>,
}

/// Whether a message of a peer goes on to the node's own handler.
enum Admission {
    Now,
    Later,
    Never,
}

impl<H: Deref> PeerStorageHandler<H>
where
    H::Target: ChannelMessageHandler,
{
    pub(crate) fn new(engine: Arc<Engine>, inner: H) -> Self {
        PeerStorageHandler {
            inner,
            connections: Connections {
                engine: engine.clone(),
                of: Mutex::default(),
            },
            engine,
            outbound: Mutex::default(),
            kept: Mutex::default(),
            openings: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// The last `channel_reestablish` of each peer and channel since the handler was made, whether
    /// it was forwarded or not. Bounded: 256 of a peer, 4096 in all.
    pub fn seen_reestablish(&self) -> Vec<SeenReestablish> {
        lock(&self.seen).all()
    }

    /// The connection to a peer that is meant here: there may be another, of another handler.
    fn connection(&self, peer: &PublicKey) -> Option<ConnectionId> {
        self.connections.get(peer)
    }

    fn gate_lets_out(&self, peer: PublicKey, what: Outbound) -> bool {
        self.engine.may_leave(peer, self.connection(&peer), what)
    }

    fn gate_lets_in(&self, peer: PublicKey, offered: impl Into<Offered>) -> Verdict {
        self.engine.inbound(peer, self.connection(&peer), offered)
    }

    // ---- outgoing ---------------------------------------------------------------------------

    /// Takes over what the inner handler wants to send.
    fn drain(&self, state: &mut OutboundState) {
        for event in self.inner.get_and_clear_pending_msg_events() {
            match classify::wish(&event) {
                Wish::Send(peer, what) => {
                    if matches!(what, Outbound::Reestablish(..)) {
                        // The gate must know our numbers before the peer's 136 is judged. Whether it
                        // may leave is asked again when its turn has come.
                        self.gate_lets_out(peer, what);
                    }
                    state.held.push(peer, what, event);
                }
                Wish::Retrieval(peer) => self.supersede(state, peer, event),
                Wish::Storage => {}
                Wish::Free => state.free.push(event),
            }
        }
    }

    /// The inner handler had kept a blob by itself before it was decorated.
    fn supersede(&self, state: &mut OutboundState, peer: PublicKey, event: MessageSendEvent) {
        let MessageSendEvent::SendPeerStorageRetrieval { msg, .. } = event else {
            return;
        };
        if state.without_slot.remove(&peer) && !msg.data.is_empty() {
            self.engine.take_over_slot(peer, &msg.data);
            state.retrievals.push((peer, msg.data));
        }
    }

    fn may_leave(&self, peer: PublicKey, what: Outbound, event: &MessageSendEvent) -> bool {
        let may_leave = self.gate_lets_out(peer, what);
        if may_leave {
            if let Some(id) = lock(&self.openings).becomes(event) {
                self.gate_lets_out(peer, Outbound::Channel(id));
            }
        }
        may_leave
    }

    // ---- incoming ---------------------------------------------------------------------------

    fn admit(&self, peer: PublicKey, offered: impl Into<Offered>) -> Admission {
        let offered = offered.into();
        let message = offered.message;
        if let Inbound::Reestablish(channel_id, numbers) = message {
            lock(&self.seen).note(SeenReestablish {
                peer,
                channel_id,
                numbers,
            });
        }
        match self.gate_lets_in(peer, offered) {
            Verdict::Drop => Admission::Never,
            Verdict::Keep => Admission::Later,
            Verdict::Forward if lock(&self.kept).stands_before(&peer, message) => Admission::Later,
            Verdict::Forward => Admission::Now,
        }
    }

    /// How many messages of a peer wait to be delivered.
    pub(super) fn waiting(&self, peer: &PublicKey) -> usize {
        lock(&self.kept).waiting(peer)
    }

    fn keep(&self, peer: PublicKey, message: ChannelMessage) {
        lock(&self.kept).push(peer, message);
    }

    /// Delivers what was kept and may be seen by now.
    fn deliver_kept(&self) {
        let peers = lock(&self.kept).peers();
        for peer in peers {
            let ask = |offered| self.gate_lets_in(peer, offered);
            loop {
                let next = lock(&self.kept).next(&peer, ask);
                let Some(message) = next else { break };
                message.deliver(peer, &*self.inner);
                lock(&self.kept).delivered(&peer);
            }
        }
    }

    fn opened(&self, peer: PublicKey, message: &OpenChannelV2) {
        lock(&self.openings).opened(peer, message);
    }

    fn accepted(&self, peer: PublicKey, message: &AcceptChannelV2) {
        let id = lock(&self.openings).accepted(peer, message);
        if let Some(id) = id {
            self.gate_lets_in(peer, Inbound::Opening(id));
        }
    }

    fn forget(&self, peer: &PublicKey) {
        let mut outbound = lock(&self.outbound);
        outbound.retrievals.retain(|(to, _)| to != peer);
        outbound.without_slot.remove(peer);
        outbound.held.forget(peer);
        drop(outbound);
        lock(&self.kept).forget(peer);
        lock(&self.openings).forget(peer);
    }
}

impl<H: Deref> BaseMessageHandler for PeerStorageHandler<H>
where
    H::Target: ChannelMessageHandler,
{
    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        self.deliver_kept();
        let flooding = lock(&self.kept).take_to_disconnect();
        let mut state = lock(&self.outbound);
        // The inner handler first: a 136 that it queues after this comes with the next drain, and
        // the 9 of its connection, which was queued before it, with this one or the next.
        self.drain(&mut state);
        let retrievals = std::mem::take(&mut state.retrievals);
        let ours = self.engine.take_outbox(|peer| self.connection(peer));
        let inners = state
            .held
            .release(|peer, what, event| self.may_leave(peer, what, event));
        retrievals
            .into_iter()
            .filter_map(|(peer, blob)| retrieval(peer, blob))
            .chain(
                ours.into_iter()
                    .filter_map(|(peer, message)| own_message(peer, message)),
            )
            .chain(std::mem::take(&mut state.free))
            .chain(inners)
            .chain(flooding.into_iter().map(disconnect))
            .collect()
    }

    fn peer_disconnected(&self, their_node_id: PublicKey) {
        self.forget(&their_node_id);
        self.connections.ended(&their_node_id);
        self.inner.peer_disconnected(their_node_id);
    }

    fn provided_node_features(&self) -> NodeFeatures {
        let mut features = self.inner.provided_node_features();
        features.set_provide_storage_optional();
        features
    }

    fn provided_init_features(&self, their_node_id: PublicKey) -> InitFeatures {
        let mut features = self.inner.provided_init_features(their_node_id);
        features.set_provide_storage_optional();
        features
    }

    fn peer_connected(
        &self,
        their_node_id: PublicKey,
        msg: &Init,
        inbound: bool,
    ) -> Result<(), ()> {
        self.forget(&their_node_id);
        let features = peer_features(&msg.features);
        let (connection, blob) = self.engine.connected(their_node_id, features, inbound);
        self.connections.begun(their_node_id, connection);
        let mut state = lock(&self.outbound);
        match blob {
            Some(blob) if blob.is_empty() => {}
            Some(blob) => state.retrievals.push((their_node_id, blob)),
            None => {
                state.without_slot.insert(their_node_id);
            }
        }
        drop(state);
        if let Err(()) = self.inner.peer_connected(their_node_id, msg, inbound) {
            // There will be no `peer_disconnected`.
            self.forget(&their_node_id);
            self.connections.ended(&their_node_id);
            return Err(());
        }
        // The peer's 136 may be the next thing to be handled: our own numbers must be known by then.
        let mut state = lock(&self.outbound);
        self.drain(&mut state);
        state.without_slot.remove(&their_node_id);
        Ok(())
    }
}

macro_rules! guard_channel_messages {
    ($([$kind:ident $name:ident $method:ident |$m:ident| $inbound:expr])*) => {
        impl<H: Deref> ChannelMessageHandler for PeerStorageHandler<H>
        where
            H::Target: ChannelMessageHandler,
        {
            $(guard_message!($kind $name $method |$m| $inbound);)*

            fn handle_commitment_signed_batch(
                &self,
                their_node_id: PublicKey,
                channel_id: ChannelId,
                batch: Vec<CommitmentSigned>,
            ) {
                match self.admit(their_node_id, Inbound::Channel(channel_id)) {
                    Admission::Now => {
                        self.inner
                            .handle_commitment_signed_batch(their_node_id, channel_id, batch)
                    }
                    Admission::Later => {
                        let batch = ChannelMessage::CommitmentSignedBatch(channel_id, batch);
                        self.keep(their_node_id, batch)
                    }
                    Admission::Never => {}
                }
            }

            fn handle_peer_storage(&self, their_node_id: PublicKey, msg: PeerStorage) {
                let connection = self.connection(&their_node_id);
                self.engine
                    .storage_received(their_node_id, connection, &msg.data);
            }

            fn handle_peer_storage_retrieval(
                &self,
                their_node_id: PublicKey,
                msg: PeerStorageRetrieval,
            ) {
                let connection = self.connection(&their_node_id);
                self.engine
                    .retrieval_received(their_node_id, connection, &msg.data);
            }

            fn get_chain_hashes(&self) -> Option<Vec<ChainHash>> {
                self.inner.get_chain_hashes()
            }

            fn message_received(&self) {
                self.inner.message_received();
            }
        }
    };
}

macro_rules! guard_message {
    (owned $name:ident $method:ident |$m:ident| $inbound:expr) => {
        fn $method(&self, their_node_id: PublicKey, message: $name) {
            let $m = &message;
            match self.admit(their_node_id, $inbound) {
                Admission::Now => self.inner.$method(their_node_id, message),
                Admission::Later => {
                    self.keep(their_node_id, ChannelMessage::$name(Box::new(message)))
                }
                Admission::Never => {}
            }
        }
    };
    (opens $name:ident $method:ident |$m:ident| $inbound:expr) => {
        guard_message!(with opened $name $method |$m| $inbound);
    };
    (accepts $name:ident $method:ident |$m:ident| $inbound:expr) => {
        guard_message!(with accepted $name $method |$m| $inbound);
    };
    (borrowed $name:ident $method:ident |$m:ident| $inbound:expr) => {
        guard_message!(with ignored $name $method |$m| $inbound);
    };
    (with $note:ident $name:ident $method:ident |$m:ident| $inbound:expr) => {
        fn $method(&self, their_node_id: PublicKey, message: &$name) {
            note!($note self their_node_id message);
            let $m = message;
            match self.admit(their_node_id, $inbound) {
                Admission::Now => self.inner.$method(their_node_id, message),
                Admission::Later => {
                    let message = ChannelMessage::$name(Box::new(message.clone()));
                    self.keep(their_node_id, message)
                }
                Admission::Never => {}
            }
        }
    };
}

macro_rules! note {
    (ignored $handler:ident $peer:ident $message:ident) => {};
    ($note:ident $handler:ident $peer:ident $message:ident) => {
        $handler.$note($peer, $message)
    };
}

for_each_channel_message!(guard_channel_messages);

fn peer_features(features: &InitFeatures) -> PeerFeatures {
    let digest: [u8; 32] = Sha256::digest(features.encode()).into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    PeerFeatures {
        provides_storage: features.supports_provide_storage(),
        hash: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
    }
}

/// Our 9.
fn retrieval(node_id: PublicKey, data: Vec<u8>) -> Option<MessageSendEvent> {
    fits(&data).then_some(MessageSendEvent::SendPeerStorageRetrieval {
        node_id,
        msg: PeerStorageRetrieval { data },
    })
}

fn own_message(node_id: PublicKey, message: Outgoing) -> Option<MessageSendEvent> {
    match message {
        Outgoing::Storage(data) => fits(&data).then_some(MessageSendEvent::SendPeerStorage {
            node_id,
            msg: PeerStorage { data },
        }),
        Outgoing::Warning(data) => Some(MessageSendEvent::HandleError {
            node_id,
            action: ErrorAction::SendWarningMessage {
                msg: WarningMessage {
                    channel_id: ChannelId::new_zero(),
                    data,
                },
                log_level: Level::Debug,
            },
        }),
    }
}

/// Ends the connection to a peer, at which it starts anew.
fn disconnect(node_id: PublicKey) -> MessageSendEvent {
    MessageSendEvent::HandleError {
        node_id,
        action: ErrorAction::DisconnectPeer { msg: None },
    }
}

/// LDK's `PeerManager` panics at a message that is too long for the wire.
fn fits(data: &[u8]) -> bool {
    let fits = data.len() <= MAX_BLOB;
    if !fits {
        log::error!("a blob of {} bytes cannot be sent", data.len());
    }
    fits
}

impl<H: Deref> fmt::Debug for PeerStorageHandler<H>
where
    H::Target: ChannelMessageHandler,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerStorageHandler").finish_non_exhaustive()
    }
}
