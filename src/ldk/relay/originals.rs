//! How messages stood on the wire that wait in the decorator.
//!
//! The decorator has what LDK has read: unknown TLV records are not in it. So each message that it may
//! hold is noted here under what LDK writes again, and found by that when it comes out. Two that are the
//! same to LDK are of the same channel, so they come out in the order of their coming. What the decorator
//! drops later on stays here until the connection ends; so much is bounded.

use std::collections::{BTreeMap, VecDeque};

use bitcoin::secp256k1::PublicKey;

use super::RawMessage;

/// Messages by peer, in order.
pub(super) struct Originals {
    peers: BTreeMap<PublicKey, OfPeer>,
    /// So many bytes are kept for a peer. Of what comes then LDK's own writing is handed on.
    most_bytes: usize,
}

#[derive(Default)]
struct OfPeer {
    waiting: VecDeque<Original>,
    bytes: usize,
}

struct Original {
    as_ldk_writes: Vec<RawMessage>,
    as_it_came: Vec<RawMessage>,
}

impl Originals {
    pub fn at_most(most_bytes: usize) -> Self {
        Originals {
            peers: BTreeMap::new(),
            most_bytes,
        }
    }

    pub fn note(
        &mut self,
        peer: PublicKey,
        as_ldk_writes: Vec<RawMessage>,
        as_it_came: Vec<RawMessage>,
    ) {
        let of_peer = self.peers.entry(peer).or_default();
        let bytes = of_peer.bytes.saturating_add(size(&as_it_came));
        if bytes <= self.most_bytes {
            of_peer.bytes = bytes;
            of_peer.waiting.push_back(Original {
                as_ldk_writes,
                as_it_came,
            });
        }
    }

    /// The message as it came, of which LDK writes this.
    pub fn take(&mut self, peer: &PublicKey, as_ldk_writes: Vec<RawMessage>) -> Vec<RawMessage> {
        let Some(of_peer) = self.peers.get_mut(peer) else {
            return as_ldk_writes;
        };
        let place = of_peer
            .waiting
            .iter()
            .position(|original| original.as_ldk_writes == as_ldk_writes);
        let Some(original) = place.and_then(|place| of_peer.waiting.remove(place)) else {
            return as_ldk_writes;
        };
        of_peer.bytes = of_peer.bytes.saturating_sub(size(&original.as_it_came));
        if of_peer.waiting.is_empty() {
            self.peers.remove(peer);
        }
        original.as_it_came
    }

    /// The peer has gone.
    pub fn forget(&mut self, peer: &PublicKey) {
        self.peers.remove(peer);
    }
}

fn size(messages: &[RawMessage]) -> usize {
    messages.iter().map(|message| message.payload.len()).sum()
}
