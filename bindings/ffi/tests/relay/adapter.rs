//! What the generated code does: LDK's types to hex and bytes, and back.

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use peer_storage_ffi::relay::{MessageRelay as Relay, RelayStep as Step};
pub use peer_storage_ffi::relay::{RawMessage, RelayError};

pub struct MessageRelay(pub Arc<Relay>);

/// With the peer's id as the hooks know it.
pub enum RelayStep {
    Send {
        peer: PublicKey,
        message: RawMessage,
    },
    Deliver {
        peer: PublicKey,
        message: RawMessage,
    },
    Disconnect {
        peer: PublicKey,
    },
}

impl RelayStep {
    pub fn peer(&self) -> &PublicKey {
        match self {
            RelayStep::Send { peer, .. }
            | RelayStep::Deliver { peer, .. }
            | RelayStep::Disconnect { peer } => peer,
        }
    }
}

impl MessageRelay {
    pub fn peer_connected(
        &self,
        peer: PublicKey,
        features: &[u8],
        inbound: bool,
        node_says: Vec<RawMessage>,
    ) -> Result<(), RelayError> {
        let features = features.to_vec();
        self.0
            .peer_connected(peer.to_string(), features, inbound, node_says)
    }

    pub fn peer_disconnected(&self, peer: PublicKey) {
        self.0.peer_disconnected(peer.to_string()).unwrap();
    }

    pub fn message_received(&self, peer: PublicKey, message: RawMessage) -> Result<(), RelayError> {
        self.0.message_received(peer.to_string(), message)
    }

    pub fn node_sends(&self, peer: PublicKey, message: RawMessage) -> Result<(), RelayError> {
        self.0.node_sends(peer.to_string(), message)
    }

    pub fn node_disconnects(&self, peer: PublicKey) {
        self.0.node_disconnects(peer.to_string()).unwrap();
    }

    pub fn take_steps(&self) -> Vec<RelayStep> {
        let steps = self.0.take_steps().unwrap().into_iter();
        let id = |peer: String| peer.parse().unwrap();
        steps
            .map(|step| match step {
                Step::Send { peer, message } => RelayStep::Send {
                    peer: id(peer),
                    message,
                },
                Step::Deliver { peer, message } => RelayStep::Deliver {
                    peer: id(peer),
                    message,
                },
                Step::Disconnect { peer } => RelayStep::Disconnect { peer: id(peer) },
            })
            .collect()
    }

    pub fn init_features(&self, own: &[u8]) -> Result<Vec<u8>, RelayError> {
        self.0.init_features(own.to_vec())
    }

    pub fn node_features(&self, own: &[u8]) -> Result<Vec<u8>, RelayError> {
        self.0.node_features(own.to_vec())
    }

    pub fn node_logged(&self, module_path: &str, peer: Option<PublicKey>, text: &str) {
        let peer = peer.map(|peer| peer.to_string());
        self.0
            .node_logged(module_path.to_owned(), peer, text.to_owned())
            .unwrap();
    }

    pub fn may_publish(&self, transactions: &[Vec<u8>]) -> Result<bool, RelayError> {
        self.0.may_publish(transactions.to_vec())
    }
}
