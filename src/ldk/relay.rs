//! For a node that is not in Rust but whose messages can be hooked: bytes in, steps out.
//!
//! LDK's bindings for Java and Swift let an app put an object of its own between `PeerManager` and
//! `ChannelManager`. That object, the *hook*, tells a [`MessageRelay`] every message of either side, and
//! carries out the steps that come back.
//!
//! ```text
//!               the app (Java, Swift)                   │           this crate
//!                                                       │
//! PeerManager ──▶ hook ── message_received ─────────────┼──▶ PeerStorageHandler ──▶ FarNode
//!      ▲           │ ▲                                  │      7, 9, the gates     (instead of the node)
//!      │   Deliver │ │ ── node_sends ───────────────────┼────────────────────────▶   │
//!      │           ▼ │                                  │                            │
//!      │     ChannelManager                             │                            ▼
//!      └── Send, Disconnect ◀──────── take_steps ◀──────┼──────────────── steps, in their order
//! ```
//!
//! It is the same [`PeerStorageHandler`] that a Rust node has, round a stand-in for the node
//! (docs/adr/0019), so the same rules hold: 9 precedes 136, what the node wants to send is held until the
//! gate opens, and under an alarm nothing of a channel passes. Messages are handed on byte by byte as they
//! came, also what this version of LDK does not know in them.
//!
//! # The hook, method by method
//!
//! It implements `ChannelMessageHandler` (with its base, `BaseMessageHandler`), holds the
//! `ChannelManager`, and is given to the `PeerManager` in its place. One lock of its own is held in every
//! method, from the first line to the last, so that steps are carried out in their order:
//!
//! * `peer_connected(peer, init, inbound)`: first the `ChannelManager`'s. If that refuses, refuse. Then
//!   take all that it wants to send (`get_and_clear_pending_msg_events`), and give what is for this peer to
//!   [`peer_connected`](MessageRelay::peer_connected), the rest to [`node_sends`](MessageRelay::node_sends).
//!   If the relay refuses, tell the `ChannelManager` `peer_disconnected`, and refuse. The features are
//!   `init.features.write()`.
//! * `peer_disconnected(peer)`: [`peer_disconnected`](MessageRelay::peer_disconnected), then the
//!   `ChannelManager`'s.
//! * `handle_<any>(peer, message)`: [`message_received`](MessageRelay::message_received) with the
//!   message's type and `message.write()`, then the steps. `handle_peer_storage` and
//!   `handle_peer_storage_retrieval` as well. `handle_commitment_signed_batch`: a `start_batch` (127) with
//!   the channel, the number and the type 132, then each `commitment_signed`.
//! * `get_and_clear_pending_msg_events`: take what the `ChannelManager` wants to send, give each to
//!   [`node_sends`](MessageRelay::node_sends) as below, then take the steps, and return what they send.
//! * `provided_init_features(peer)`, `provided_node_features`: the `ChannelManager`'s, through
//!   [`init_features`](MessageRelay::init_features) and [`node_features`](MessageRelay::node_features).
//! * `get_chain_hashes`, `message_received`: the `ChannelManager`'s.
//!
//! What the `ChannelManager` wants to send:
//!
//! * `Send<Any>`: its type, and `msg.write()`. `UpdateHTLCs`: its parts one by one, in the order fulfil,
//!   fail, fail malformed, add, fee, and then `commitment_signed`; more than one of these as a batch, after
//!   a `start_batch`.
//! * `HandleError`: an `error` (17) or `warning` (1) as a message; to disconnect is
//!   [`node_disconnects`](MessageRelay::node_disconnects), after the message if there is one. To ignore or
//!   to log is nothing.
//! * `Broadcast<Any>` and `SendChannelAnnouncement`, and whatever else is refused with
//!   [`NotForTheRelay`](RelayError::NotForTheRelay): returned to the `PeerManager` as it is. It is about no
//!   state of a channel.
//!
//! The steps, in their order:
//!
//! * `Deliver`: read the message, and call the `ChannelManager`'s `handle_<any>`. After a `start_batch`
//!   collect as many as it says, which are the next steps, for `handle_commitment_signed_batch`.
//! * `Send`: the event of that message goes to the end of what the next
//!   `get_and_clear_pending_msg_events` returns. 1 and 17 are `HandleError`, with `SendWarningMessage` and
//!   `SendErrorMessage`. A member of `UpdateHTLCs` is one with that member alone; a batch is one with all
//!   its `commitment_signed`.
//! * `Disconnect`: `HandleError` with `DisconnectPeer`.
//!
//! Have [`PeerStorage::set_waker`] call `PeerManager::process_events`, and hold the hook's lock neither
//! there nor when you call [`PeerStorage::resolve_alarm`].
//!
//! Two other objects of the app see more than messages, and each calls the relay without any lock:
//! * its `Logger`: every line to [`node_logged`](MessageRelay::node_logged), for LDK tells of the warnings
//!   of peers in its log alone;
//! * its `BroadcasterInterface`: every package to [`may_publish`](MessageRelay::may_publish) first. That is
//!   part of safety rule 6: without it LDK can publish a revoked commitment while an alarm stands.
//!
//! And the app's `Persist` tells [`PeerStorage::monitor_written`] what is durable.
//!
//! # More than one relay
//!
//! There must be one relay alone for each opened [`PeerStorage`]. After its
//! [`close`](PeerStorage::close) it goes on to forward messages, without peer storage, and its gates
//! still hold. With the next opening make a new relay, and disconnect all peers: what has passed before is
//! unknown to it.

mod batch;
mod far;
mod originals;
mod wire;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use bitcoin::consensus::encode::deserialize;
use bitcoin::secp256k1::PublicKey;
use bitcoin::Transaction;
use lightning::ln::msgs::{
    self, BaseMessageHandler, ChannelMessageHandler, Init, MessageSendEvent, PeerStorageRetrieval,
    WarningMessage,
};
use lightning::types::features::{InitFeatures, NodeFeatures};
use lightning::util::ser::{Readable, Writeable};

use self::batch::{Batches, Whole};
use self::far::FarNode;
use super::broadcaster::spends_what_is_held;
use super::handler::PeerStorageHandler;
use super::logger::warning_in_line;
use crate::locks::lock;
use crate::service::{Engine, PeerStorage};

/// A Lightning message as it stands on the wire (BOLT #1).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RawMessage {
    /// Its type.
    pub kind: u16,
    /// All that follows the type; at most 65533 bytes. What LDK's `write` gives of a message.
    pub payload: Vec<u8>,
}

/// What the host is to do next.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum RelayStep {
    /// Send a message to a peer.
    Send {
        /// Whom to.
        peer: PublicKey,
        /// Ours, or the node's own as it came.
        message: RawMessage,
    },
    /// Hand a message of a peer to the node.
    Deliver {
        /// Whom it is from.
        peer: PublicKey,
        /// As it came; of an `error` that had to wait at most 1024 bytes of its text.
        message: RawMessage,
    },
    /// End the connection to a peer, after what was sent before.
    Disconnect {
        /// Which.
        peer: PublicKey,
    },
}

impl RelayStep {
    /// The peer that it is about.
    pub fn peer(&self) -> &PublicKey {
        match self {
            RelayStep::Send { peer, .. }
            | RelayStep::Deliver { peer, .. }
            | RelayStep::Disconnect { peer } => peer,
        }
    }
}

/// Why the relay did not take something. Nothing has changed, and nothing that it took before is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// The peer is not connected, as far as the relay was told. A message for a connection that has ended
    /// is void.
    #[error("this peer is not connected")]
    NotConnected,
    /// Messages of this type are no business of the relay: gossip, onion and custom messages, `init`, ping
    /// and pong. Do with it what you would do without a relay, for it holds nothing of a channel that this
    /// version of LDK knows.
    #[error("messages of type {kind} do not go through the relay")]
    NotForTheRelay {
        /// The message's type.
        kind: u16,
    },
    /// The message cannot be read. It must not go round the relay: disconnect the peer.
    #[error("a message of type {kind} cannot be read")]
    Unreadable {
        /// The message's type.
        kind: u16,
    },
    /// It does not belong into the batch that has begun (BOLT #2, `start_batch`), or begins one that LDK
    /// would not take. It must not go round the relay: disconnect the peer.
    #[error("a message of type {kind} breaks a batch")]
    BreaksBatch {
        /// The message's type.
        kind: u16,
    },
    /// Features must be as LDK's `write` gives them: two bytes of length, then the bits (BOLT #1).
    #[error("the features cannot be read")]
    Features,
    /// What is to be published is no transaction.
    #[error("a transaction cannot be read")]
    Transaction,
}

/// Peer storage round a node whose messages are hooked. See the [module](self) for how to do that.
///
/// Made by [`PeerStorage::message_relay`]; one alone. Threads: all methods may be called from any thread,
/// and do not wait for the disk. The `WalletSource` that was attached may be asked in
/// [`message_received`](Self::message_received), [`node_sends`](Self::node_sends) and
/// [`take_steps`](Self::take_steps). The app must carry out steps in their order, so it takes them and
/// carries them out under one lock.
pub struct MessageRelay {
    engine: Arc<Engine>,
    handler: PeerStorageHandler<Arc<FarNode>>,
    far: Arc<FarNode>,
    /// Held in every call that passes messages: what came in must be paired with what comes out.
    turn: Mutex<Turn>,
}

#[derive(Default)]
struct Turn {
    connected: BTreeSet<PublicKey>,
    of_node: Batches,
    of_peers: Batches,
}

impl PeerStorage {
    /// Makes the relay for a node that is not in Rust.
    pub fn message_relay(&self) -> MessageRelay {
        MessageRelay::new(self)
    }
}

impl MessageRelay {
    /// The same as [`PeerStorage::message_relay`].
    pub fn new(storage: &PeerStorage) -> Self {
        let far = Arc::<FarNode>::default();
        MessageRelay {
            engine: storage.engine().clone(),
            handler: storage.message_handler(far.clone()),
            far,
            turn: Mutex::default(),
        }
    }

    // ---- connections ------------------------------------------------------------------------

    /// A peer has connected, and the node has accepted it.
    ///
    /// * `their_init_features`: of the peer's `init`, as LDK's `InitFeatures::write` gives them.
    /// * `inbound`: whether the peer dialled.
    /// * `node_says`: all that the node wants to send to it by now. In it are the node's
    ///   `channel_reestablish`es (136), which must be known before the first message of the peer is looked
    ///   at, and a `peer_storage_retrieval` (9) if it had kept a blob before there was a relay.
    ///
    /// A connection with that peer that has not ended ends by this.
    pub fn peer_connected(
        &self,
        peer: PublicKey,
        their_init_features: &[u8],
        inbound: bool,
        node_says: Vec<RawMessage>,
    ) -> Result<(), RelayError> {
        let init = Init {
            features: read_features(their_init_features)?,
            networks: None,
            remote_network_address: None,
        };
        let mut batches = Batches::default();
        let mut wishes = Vec::new();
        for raw in node_says {
            wishes.extend(wish(&mut batches, peer, raw)?);
        }
        if batches.has_begun(&peer) {
            let kind = wire::START_BATCH;
            return Err(RelayError::BreaksBatch { kind });
        }
        let mut turn = lock(&self.turn);
        self.end_connection(&mut turn, &peer);
        wishes.into_iter().for_each(|wish| self.note(peer, wish));
        turn.connected.insert(peer);
        // The decorator takes the wishes in it. The stand-in refuses nobody.
        let _ = self.handler.peer_connected(peer, &init, inbound);
        Ok(())
    }

    /// A peer has gone. What waited for it or from it is void, also steps that were not taken.
    pub fn peer_disconnected(&self, peer: PublicKey) {
        self.end_connection(&mut lock(&self.turn), &peer);
    }

    fn end_connection(&self, turn: &mut Turn, peer: &PublicKey) {
        turn.of_node.forget(peer);
        turn.of_peers.forget(peer);
        if turn.connected.remove(peer) {
            self.handler.peer_disconnected(*peer);
        }
        self.far.forget(peer);
    }

    // ---- messages ---------------------------------------------------------------------------

    /// A message of a peer, for the node.
    ///
    /// A `warning` (1) is noted and delivered; whoever hooks LDK's handlers never sees one, see
    /// [`node_logged`](Self::node_logged). 7 and 9 are never delivered.
    pub fn message_received(&self, peer: PublicKey, message: RawMessage) -> Result<(), RelayError> {
        let mut turn = lock(&self.turn);
        if !turn.connected.contains(&peer) {
            return Err(RelayError::NotConnected);
        }
        let kind = message.kind;
        let own = matches!(
            kind,
            wire::WARNING | wire::PEER_STORAGE | wire::PEER_STORAGE_RETRIEVAL
        );
        if !own {
            if let Some(whole) = turn.of_peers.next(peer, message)? {
                self.offer(peer, whole);
            }
            return Ok(());
        }
        if turn.of_peers.has_begun(&peer) {
            return Err(RelayError::BreaksBatch { kind });
        }
        match kind {
            wire::PEER_STORAGE => {
                let blob = wire::read::<msgs::PeerStorage>(&message)?;
                self.handler.handle_peer_storage(peer, blob);
            }
            wire::PEER_STORAGE_RETRIEVAL => {
                let blob = wire::read::<PeerStorageRetrieval>(&message)?;
                self.handler.handle_peer_storage_retrieval(peer, blob);
            }
            _ => {
                let warning = wire::read::<WarningMessage>(&message)?;
                self.engine.warning_received(peer, &warning.data);
                self.far.hand_on(peer, message);
            }
        }
        Ok(())
    }

    /// Lets the decorator look at a message of a peer.
    fn offer(&self, peer: PublicKey, whole: Whole) {
        let waited = self.handler.waiting(&peer);
        self.far.offered(whole.raw);
        whole.message.clone().deliver(peer, &self.handler);
        let kept = self.handler.waiting(&peer) > waited;
        self.far.looked_at(peer, &whole.message, kept);
    }

    /// A message of the node, for a peer. Without any other of the node's in between if it belongs to a
    /// batch.
    ///
    /// The node's own 7 and 9 are superseded: they never leave.
    pub fn node_sends(&self, peer: PublicKey, message: RawMessage) -> Result<(), RelayError> {
        let mut turn = lock(&self.turn);
        if !turn.connected.contains(&peer) {
            return Err(RelayError::NotConnected);
        }
        if let Some(wish) = wish(&mut turn.of_node, peer, message)? {
            self.note(peer, wish);
        }
        Ok(())
    }

    fn note(&self, peer: PublicKey, wish: Wish) {
        match wish {
            Wish::Message(whole) => self.far.wants_to_send(peer, whole),
            Wish::Event(event) => self.far.wants(peer, *event),
        }
    }

    /// The node wants the connection to a peer to end, after what it has sent. There is nothing to do for
    /// a peer that is not connected.
    pub fn node_disconnects(&self, peer: PublicKey) {
        let turn = lock(&self.turn);
        if turn.connected.contains(&peer) {
            self.far.wants(peer, wire::disconnect(peer));
        }
    }

    /// What the host is to do by now, in this order; mostly nothing. Each step is given once.
    ///
    /// Take them after each of the calls above, and whenever the waker calls.
    pub fn take_steps(&self) -> Vec<RelayStep> {
        let _turn = lock(&self.turn);
        let leaving = self.handler.get_and_clear_pending_msg_events();
        self.far.leave(leaving);
        self.far.take_steps()
    }

    // ---- features ---------------------------------------------------------------------------

    /// The features for our `init`: the node's own, and `option_provide_storage`. Both as LDK's
    /// `InitFeatures::write` gives them.
    pub fn init_features(&self, nodes_own: &[u8]) -> Result<Vec<u8>, RelayError> {
        let mut features: InitFeatures = read_features(nodes_own)?;
        features.set_provide_storage_optional();
        Ok(features.encode())
    }

    /// The same for our `node_announcement`, as LDK's `NodeFeatures::write` gives them.
    pub fn node_features(&self, nodes_own: &[u8]) -> Result<Vec<u8>, RelayError> {
        let mut features: NodeFeatures = read_features(nodes_own)?;
        features.set_provide_storage_optional();
        Ok(features.encode())
    }

    // ---- beside the messages ----------------------------------------------------------------

    /// A line of LDK's log, as its `Record` has it: the module path, the peer, and the text. From it the
    /// warnings of peers are read, as [`WarningLogger`](super::WarningLogger) does; everything else is
    /// ignored. Safe to call with LDK's locks held.
    pub fn node_logged(&self, module_path: &str, peer: Option<PublicKey>, text: &str) {
        if let (Some(peer), Some(text)) = (peer, warning_in_line(module_path, text)) {
            self.engine.warning_received(peer, text);
        }
    }

    /// Whether the node may publish this package of transactions now, as they stand on the wire (safety
    /// rule 6); the same as [`GuardedBroadcaster`](super::GuardedBroadcaster) judges. If not, do nothing:
    /// what it holds of a force close LDK offers again by itself. Safe to call with LDK's locks held.
    pub fn may_publish(&self, transactions: &[Vec<u8>]) -> Result<bool, RelayError> {
        may_publish(&self.engine, transactions)
    }
}

impl PeerStorage {
    /// As [`MessageRelay::may_publish`], for a relay of an earlier opening: it knows nothing of the alarms that were
    /// raised since.
    pub fn may_publish(&self, transactions: &[Vec<u8>]) -> Result<bool, RelayError> {
        may_publish(self.engine(), transactions)
    }
}

fn may_publish(engine: &Engine, transactions: &[Vec<u8>]) -> Result<bool, RelayError> {
    let mut package = Vec::new();
    for bytes in transactions {
        let tx: Transaction = deserialize(bytes).map_err(|_| RelayError::Transaction)?;
        package.push(tx);
    }
    Ok(!spends_what_is_held(engine, package.iter()))
}

/// What the node wants, before the decorator has heard of it.
enum Wish {
    Message(Whole),
    Event(Box<MessageSendEvent>),
}

/// Reads a message of the node. None: a batch has begun, or goes on.
fn wish(
    batches: &mut Batches,
    peer: PublicKey,
    message: RawMessage,
) -> Result<Option<Wish>, RelayError> {
    let kind = message.kind;
    let event = match kind {
        wire::WARNING => wire::warning(peer, wire::read(&message)?),
        wire::PEER_STORAGE => MessageSendEvent::SendPeerStorage {
            node_id: peer,
            msg: wire::read(&message)?,
        },
        wire::PEER_STORAGE_RETRIEVAL => MessageSendEvent::SendPeerStorageRetrieval {
            node_id: peer,
            msg: wire::read(&message)?,
        },
        _ => return Ok(batches.next(peer, message)?.map(Wish::Message)),
    };
    if batches.has_begun(&peer) {
        return Err(RelayError::BreaksBatch { kind });
    }
    Ok(Some(Wish::Event(Box::new(event))))
}

/// All of the bytes, or it is not what LDK writes.
fn read_features<F: Readable>(mut bytes: &[u8]) -> Result<F, RelayError> {
    let features = F::read(&mut bytes).map_err(|_| RelayError::Features)?;
    if !bytes.is_empty() {
        return Err(RelayError::Features);
    }
    Ok(features)
}

/// Of a message only its type and length: it may be a blob, or name a channel (safety rule 13).
impl fmt::Debug for RawMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "type {} ({} bytes)", self.kind, self.payload.len())
    }
}

impl fmt::Debug for RelayStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RelayStep::Send { message, .. } => write!(f, "Send({message:?})"),
            RelayStep::Deliver { message, .. } => write!(f, "Deliver({message:?})"),
            RelayStep::Disconnect { .. } => f.write_str("Disconnect"),
        }
    }
}

impl fmt::Debug for MessageRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageRelay").finish_non_exhaustive()
    }
}
