//! For a wallet whose node is not in Rust, but whose messages can be hooked.

use std::fmt;
use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use ldk_peer_storage::ldk::relay;

use crate::callbacks::{note, Bell, CallbackError};
use crate::errors::PeerStorageError;
use crate::parse;
use crate::peer_storage::Inner;
use crate::runtime::contained;

/// A package has no more transactions.
const MOST_TRANSACTIONS: usize = 1000;
/// Nor is one larger than a block, in bytes.
const LARGEST_TRANSACTION: usize = 4_000_000;

/// Peer storage round a node whose messages are hooked, as with LDK's Java and Swift bindings: the app puts an
/// object of its own between `PeerManager` and `ChannelManager`, tells this every message of either side, and
/// carries out the steps that come back, in their order and under one lock of its own. Then the same rules hold
/// as inside a Rust node: the backup comes before the channels, and under an alarm nothing of a channel passes.
///
/// * `peer_connected`: when the `ChannelManager` has accepted the peer, with all that it then wants to send to
///   it. If this refuses, tell the `ChannelManager` that the peer is gone, and refuse.
/// * `message_received`, `node_sends`, `node_disconnects`: every message of a peer for the `ChannelManager`, and
///   every message of the `ChannelManager` for a peer.
/// * `take_steps`: after each of these, and when the listener is called.
/// * `init_features`, `node_features`: what the node says of itself.
/// * `node_logged`: every line of LDK's log, since LDK tells of peers' warnings there alone.
/// * `may_publish`: before the node's broadcaster publishes anything.
///
/// A relay belongs to one opening of the storage. When `is_current` has become false (after a suspension), it
/// goes on to forward, without peer storage: take a new one, and disconnect all peers.
///
/// Threads: any; but for `peer_connected`, which reads what is kept for the peer, no call waits for the disk.
/// `node_logged` and `may_publish` may be called with LDK's locks held.
#[derive(uniffi::Object)]
pub struct MessageRelay {
    relay: relay::MessageRelay,
    opening: u64,
    inner: Arc<Inner>,
    bell: Arc<Bell>,
}

impl Drop for MessageRelay {
    fn drop(&mut self) {
        self.bell.silence();
    }
}

/// Is told that steps wait in a relay.
///
/// Called by the thread of the SDK that calls all listeners, with nothing locked. It may call the SDK. It has
/// to call `take_steps`, or have the node's `PeerManager` process its events, which does. It must not hold the
/// relay itself, or the two keep each other alive.
#[uniffi::export(foreign)]
pub trait RelayListener: Send + Sync {
    /// Steps wait.
    fn on_steps_waiting(&self) -> Result<(), CallbackError>;
}

/// A Lightning message as it stands on the wire (BOLT #1).
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
pub struct RawMessage {
    /// Its type.
    pub kind: u16,
    /// All that follows the type; at most 65533 bytes. What LDK's `write` gives of a message.
    pub payload: Vec<u8>,
}

/// What the app is to do next.
#[derive(Clone, PartialEq, Eq, uniffi::Enum)]
pub enum RelayStep {
    /// Send a message to a peer.
    Send {
        /// The peer's node id, in hex.
        peer: String,
        /// The message.
        message: RawMessage,
    },
    /// Hand a message of a peer to the node.
    Deliver {
        /// The peer's node id, in hex.
        peer: String,
        /// The message.
        message: RawMessage,
    },
    /// End the connection to a peer, after what was sent before.
    Disconnect {
        /// The peer's node id, in hex.
        peer: String,
    },
}

/// Why the relay did not take something. Nothing has changed, and nothing that it took before is lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum RelayError {
    /// The peer is not connected, as far as the relay was told. A message for a connection that has ended is
    /// void.
    #[error("this peer is not connected")]
    NotConnected,
    /// Messages of this type are no business of the relay. Do with it what you would do without a relay.
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
    /// It does not belong into the batch that has begun. It must not go round the relay: disconnect the peer.
    #[error("a message of type {kind} breaks a batch")]
    BreaksBatch {
        /// The message's type.
        kind: u16,
    },
    /// Something that was given is not what it should be: a node id, features, a transaction.
    #[error("{field}: {reason}")]
    InvalidInput {
        /// Which argument.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A bug in the SDK. Disconnect the peer, and report it.
    #[error("internal error: {reason}")]
    Internal {
        /// For logs.
        reason: String,
    },
}

type Outcome<T> = Result<T, RelayError>;

impl MessageRelay {
    pub(crate) fn new(
        inner: &Arc<Inner>,
        listener: Arc<dyn RelayListener>,
    ) -> Result<Arc<Self>, PeerStorageError> {
        let storage = inner.storage_now()?;
        let bell = Bell::new(move || note(listener.on_steps_waiting()));
        // The storage must not keep what the app's listener holds, which may be this relay.
        let ringing = Arc::downgrade(&bell);
        inner.lifecycle.set_waker(move || {
            if let Some(bell) = ringing.upgrade() {
                bell.ring();
            }
        });
        Ok(Arc::new(MessageRelay {
            relay: storage.message_relay(),
            opening: storage.opening(),
            inner: Arc::clone(inner),
            bell,
        }))
    }
}

fn guarded<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    contained(|| Ok(work())).unwrap_or_else(|error| Err(error.into()))
}

fn peer_of(text: &str) -> Outcome<PublicKey> {
    Ok(parse::node_id("peer", text)?)
}

#[uniffi::export]
impl MessageRelay {
    /// Whether the storage that this was made of is still open. Where not, take a new relay and disconnect all
    /// peers.
    pub fn is_current(&self) -> Result<bool, RelayError> {
        guarded(|| Ok(self.is_of_now()))
    }

    /// A peer has connected, and the node has accepted it. A connection with that peer that has not ended ends
    /// by this.
    ///
    /// `their_init_features`: of the peer's `init`, as LDK's `InitFeatures.write` gives them. `inbound`: whether
    /// the peer dialled. `node_says`: all that the node wants to send to it by now.
    pub fn peer_connected(
        &self,
        peer: String,
        their_init_features: Vec<u8>,
        inbound: bool,
        node_says: Vec<RawMessage>,
    ) -> Result<(), RelayError> {
        guarded(|| {
            let says = node_says.into_iter().map(Into::into).collect();
            let features = &their_init_features;
            Ok(self
                .relay
                .peer_connected(peer_of(&peer)?, features, inbound, says)?)
        })
    }

    /// A peer has gone. What waited for it or from it is void, also steps that were not taken.
    pub fn peer_disconnected(&self, peer: String) -> Result<(), RelayError> {
        guarded(|| {
            self.relay.peer_disconnected(peer_of(&peer)?);
            Ok(())
        })
    }

    /// A message of a peer, for the node.
    pub fn message_received(&self, peer: String, message: RawMessage) -> Result<(), RelayError> {
        guarded(|| {
            Ok(self
                .relay
                .message_received(peer_of(&peer)?, message.into())?)
        })
    }

    /// A message of the node, for a peer. Without any other of the node's in between if it belongs to a batch.
    pub fn node_sends(&self, peer: String, message: RawMessage) -> Result<(), RelayError> {
        guarded(|| Ok(self.relay.node_sends(peer_of(&peer)?, message.into())?))
    }

    /// The node wants the connection to a peer to end, after what it has sent.
    pub fn node_disconnects(&self, peer: String) -> Result<(), RelayError> {
        guarded(|| {
            self.relay.node_disconnects(peer_of(&peer)?);
            Ok(())
        })
    }

    /// What the app is to do by now, in this order; mostly nothing. Each step is given once.
    pub fn take_steps(&self) -> Result<Vec<RelayStep>, RelayError> {
        guarded(|| {
            let steps = self.relay.take_steps();
            Ok(steps.into_iter().map(RelayStep::from).collect())
        })
    }

    /// The features for the node's `init`: its own, as LDK's `InitFeatures.write` gives them, and
    /// `option_provide_storage`.
    pub fn init_features(&self, nodes_own: Vec<u8>) -> Result<Vec<u8>, RelayError> {
        guarded(|| Ok(self.relay.init_features(&nodes_own)?))
    }

    /// The same for the node's `node_announcement`, as LDK's `NodeFeatures.write` gives them.
    pub fn node_features(&self, nodes_own: Vec<u8>) -> Result<Vec<u8>, RelayError> {
        guarded(|| Ok(self.relay.node_features(&nodes_own)?))
    }

    /// A line of LDK's log, as its `Record` has it: the module path, the peer's node id in hex, and the text.
    /// Nothing is kept of it but the warnings of peers.
    pub fn node_logged(
        &self,
        module_path: String,
        peer: Option<String>,
        text: String,
    ) -> Result<(), RelayError> {
        guarded(|| {
            let peer = peer.as_deref().map(peer_of).transpose()?;
            self.relay.node_logged(&module_path, peer, &text);
            Ok(())
        })
    }

    /// Whether the node may publish this package of transactions now, each as it stands on the wire. If not, do
    /// nothing: LDK offers them again by itself. It may be asked of an old relay as well.
    pub fn may_publish(&self, transactions: Vec<Vec<u8>>) -> Result<bool, RelayError> {
        guarded(|| {
            parse::limit("transactions", transactions.len(), MOST_TRANSACTIONS)?;
            for bytes in &transactions {
                parse::limit("transactions", bytes.len(), LARGEST_TRANSACTION)?;
            }
            let by_own = self.relay.may_publish(&transactions)?;
            Ok(by_own && (self.is_of_now() || self.inner.may_publish_now(&transactions)?))
        })
    }
}

impl MessageRelay {
    fn is_of_now(&self) -> bool {
        self.inner.lifecycle.opening() == Some(self.opening)
    }
}

impl Inner {
    /// What the storage of now says, which may know of alarms that none before it did (safety rule 6). While none is
    /// open: what was known last.
    fn may_publish_now(&self, transactions: &[Vec<u8>]) -> Outcome<bool> {
        match self.lifecycle.storage_now() {
            Some(storage) => Ok(storage.may_publish(transactions)?),
            None => {
                let alarms = self.lifecycle.status().storage.backup.alarms;
                Ok(!alarms.iter().any(|alarm| alarm.kind.holds()))
            }
        }
    }
}

impl From<relay::RelayError> for RelayError {
    fn from(error: relay::RelayError) -> Self {
        let invalid = |field: &str| RelayError::InvalidInput {
            field: field.to_owned(),
            reason: error.to_string(),
        };
        match error {
            relay::RelayError::NotConnected => RelayError::NotConnected,
            relay::RelayError::NotForTheRelay { kind } => RelayError::NotForTheRelay { kind },
            relay::RelayError::Unreadable { kind } => RelayError::Unreadable { kind },
            relay::RelayError::BreaksBatch { kind } => RelayError::BreaksBatch { kind },
            relay::RelayError::Features => invalid("features"),
            relay::RelayError::Transaction => invalid("transactions"),
        }
    }
}

impl From<PeerStorageError> for RelayError {
    fn from(error: PeerStorageError) -> Self {
        match error {
            PeerStorageError::InvalidInput { field, reason } => {
                RelayError::InvalidInput { field, reason }
            }
            other => RelayError::Internal {
                reason: other.to_string(),
            },
        }
    }
}

impl From<RawMessage> for relay::RawMessage {
    fn from(message: RawMessage) -> Self {
        relay::RawMessage {
            kind: message.kind,
            payload: message.payload,
        }
    }
}

impl From<relay::RawMessage> for RawMessage {
    fn from(message: relay::RawMessage) -> Self {
        RawMessage {
            kind: message.kind,
            payload: message.payload,
        }
    }
}

impl From<relay::RelayStep> for RelayStep {
    fn from(step: relay::RelayStep) -> Self {
        match step {
            relay::RelayStep::Send { peer, message } => RelayStep::Send {
                peer: peer.to_string(),
                message: message.into(),
            },
            relay::RelayStep::Deliver { peer, message } => RelayStep::Deliver {
                peer: peer.to_string(),
                message: message.into(),
            },
            relay::RelayStep::Disconnect { peer } => RelayStep::Disconnect {
                peer: peer.to_string(),
            },
        }
    }
}

/// Of a message only its type and length: it may be a backup, or name a channel.
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
