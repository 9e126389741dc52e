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

/// A message, and the one connection that it may leave on.
pub(super) struct Envelope {
    pub peer: PublicKey,
    pub connection: ConnectionId,
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

    /// What was for this connection is not sent any more. The peer may have another by now, of another
    /// handler or a later one of the same: what waits for that stays.
    pub fn ended(&self, connection: ConnectionId) {
        lock(&self.0).retain(|envelope| envelope.connection != connection);
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{Secp256k1, SecretKey};

    use super::*;

    #[test]
    fn the_end_of_a_connection_costs_the_next_one_nothing() {
        let secret = SecretKey::from_slice(&[1; 32]).unwrap();
        let peer = PublicKey::from_secret_key(&Secp256k1::new(), &secret);
        let outbox = Outbox::default();
        for connection in [1, 2] {
            outbox.put(Envelope {
                peer,
                connection: ConnectionId(connection),
                message: Outgoing::Storage(vec![7; 100]),
            });
        }
        // Told late: the peer has connected anew, and its backup waits.
        outbox.ended(ConnectionId(1));
        let left = outbox.take(|_| true);
        let left: Vec<_> = left.iter().map(|envelope| envelope.connection.0).collect();
        assert_eq!(left, [2]);
    }
}
