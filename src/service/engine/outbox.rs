//! Our own messages that wait for LDK to ask for them.

use std::sync::Mutex;

use bitcoin::secp256k1::PublicKey;

use crate::exchange::ConnectionId;
use crate::locks::lock;

/// A message of ours for a peer.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// `peer_storage` (type 7)
    Storage(Vec<u8>),
    /// `warning` (type 1)
    Warning(String),
}

/// A message, and the one connection that it may leave on; none: any.
pub(super) struct Envelope {
    pub peer: PublicKey,
    pub connection: Option<ConnectionId>,
    pub message: Outgoing,
}

#[derive(Default)]
pub(super) struct Outbox(Mutex<Vec<Envelope>>);

impl Outbox {
    pub fn put(&self, envelope: Envelope) {
        lock(&self.0).push(envelope);
    }

    /// Takes what is for these peers.
    pub fn take(&self, mut is_for: impl FnMut(&PublicKey) -> bool) -> Vec<Envelope> {
        let mut waiting = lock(&self.0);
        let all = std::mem::take(&mut *waiting).into_iter();
        let (taken, left) = all.partition(|envelope| is_for(&envelope.peer));
        *waiting = left;
        taken
    }

    pub fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    pub fn disconnected(&self, peer: &PublicKey) {
        lock(&self.0).retain(|envelope| envelope.peer != *peer);
    }
}
