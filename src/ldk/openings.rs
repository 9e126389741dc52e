//! Which final id a channel will have that is being opened.
//!
//! An opening starts with a temporary id. The gate lets no message of an unknown channel pass, so it
//! must hear of the final id (BOLT #2) before the first message that carries it.

use std::collections::BTreeMap;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_keys::RevocationBasepoint;
use lightning::ln::msgs::{AcceptChannelV2, MessageSendEvent, OpenChannelV2};
use lightning::ln::types::ChannelId;

/// So many openings are followed with a peer at a time: one that floods harms itself alone.
const MOST_OPENINGS: usize = 64;

/// Dual-funded channels that are being opened: the revocation basepoint of the opener, of which the
/// final id is made.
#[derive(Debug, Default)]
pub(super) struct Openings {
    openers: BTreeMap<PublicKey, BTreeMap<ChannelId, PublicKey>>,
}

impl Openings {
    /// `open_channel2` went either way.
    pub fn opened(&mut self, peer: PublicKey, message: &OpenChannelV2) {
        let fields = &message.common_fields;
        self.note(
            peer,
            fields.temporary_channel_id,
            fields.revocation_basepoint,
        );
    }

    fn note(&mut self, peer: PublicKey, temporary: ChannelId, basepoint: PublicKey) {
        let of_peer = self.openers.entry(peer).or_default();
        if of_peer.len() < MOST_OPENINGS {
            of_peer.insert(temporary, basepoint);
        }
    }

    /// `accept_channel2` went the other way: the final id, if the opening is known.
    pub fn accepted(&mut self, peer: PublicKey, message: &AcceptChannelV2) -> Option<ChannelId> {
        let fields = &message.common_fields;
        let of_peer = self.openers.get_mut(&peer)?;
        let opener = of_peer.remove(&fields.temporary_channel_id)?;
        let opener = RevocationBasepoint::from(opener);
        let acceptor = RevocationBasepoint::from(fields.revocation_basepoint);
        Some(ChannelId::v2_from_revocation_basepoints(&opener, &acceptor))
    }

    /// The final id that a message of ours is the last one not to carry.
    pub fn becomes(&mut self, event: &MessageSendEvent) -> Option<ChannelId> {
        match event {
            MessageSendEvent::SendFundingCreated { msg, .. } => {
                Some(ChannelId::v1_from_funding_txid(
                    msg.funding_txid.as_ref(),
                    msg.funding_output_index,
                ))
            }
            MessageSendEvent::SendOpenChannelV2 { node_id, msg } => {
                self.opened(*node_id, msg);
                None
            }
            MessageSendEvent::SendAcceptChannelV2 { node_id, msg } => self.accepted(*node_id, msg),
            _ => None,
        }
    }

    /// The peer has gone: its openings start anew.
    pub fn forget(&mut self, peer: &PublicKey) {
        self.openers.remove(peer);
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{Secp256k1, SecretKey};

    use super::*;

    fn key(byte: u8) -> PublicKey {
        let secret = SecretKey::from_slice(&[byte; 32]).unwrap();
        PublicKey::from_secret_key(&Secp256k1::new(), &secret)
    }

    #[test]
    fn a_peer_that_floods_leaves_room_for_others() {
        let mut openings = Openings::default();
        for n in 0..=255 {
            openings.note(key(1), ChannelId([n; 32]), key(9));
        }
        openings.note(key(2), ChannelId([1; 32]), key(9));
        assert_eq!(openings.openers[&key(1)].len(), MOST_OPENINGS);
        assert_eq!(openings.openers[&key(2)].len(), 1);
        openings.forget(&key(1));
        assert_eq!(openings.openers.len(), 1);
    }
}
