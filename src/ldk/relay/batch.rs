//! Batches of `commitment_signed` (BOLT #2, `start_batch`): one message to LDK, many on the wire.

use std::collections::BTreeMap;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{CommitmentSigned, StartBatch};
use lightning::ln::types::ChannelId;

use super::super::forward::ChannelMessage;
use super::wire::{self, COMMITMENT_SIGNED, START_BATCH};
use super::{RawMessage, RelayError};

/// LDK takes no larger batch.
const LARGEST: usize = 20;

/// What LDK makes of one or more messages, and how they stood on the wire.
pub(super) struct Whole {
    pub message: ChannelMessage,
    pub raw: Vec<RawMessage>,
}

/// Batches that have begun, by peer, of one direction.
#[derive(Default)]
pub(super) struct Batches {
    peers: BTreeMap<PublicKey, Batch>,
}

struct Batch {
    channel_id: ChannelId,
    size: usize,
    signed: Vec<CommitmentSigned>,
    raw: Vec<RawMessage>,
}

impl Batches {
    /// Takes the next message. None: a batch has begun, or goes on. What is refused changes nothing.
    pub fn next(&mut self, peer: PublicKey, raw: RawMessage) -> Result<Option<Whole>, RelayError> {
        if raw.kind == START_BATCH {
            return self.begin(peer, raw).map(|()| None);
        }
        let Some(batch) = self.peers.get_mut(&peer) else {
            let message = wire::decode(&raw)?;
            let raw = vec![raw];
            return Ok(Some(Whole { message, raw }));
        };
        let breaks = RelayError::BreaksBatch { kind: raw.kind };
        if raw.kind != COMMITMENT_SIGNED {
            return Err(breaks);
        }
        let message: CommitmentSigned = wire::read(&raw)?;
        if message.channel_id != batch.channel_id {
            return Err(breaks);
        }
        batch.signed.push(message);
        batch.raw.push(raw);
        if batch.signed.len() < batch.size {
            return Ok(None);
        }
        Ok(self.peers.remove(&peer).map(|batch| Whole {
            message: ChannelMessage::CommitmentSignedBatch(batch.channel_id, batch.signed),
            raw: batch.raw,
        }))
    }

    fn begin(&mut self, peer: PublicKey, raw: RawMessage) -> Result<(), RelayError> {
        let start: StartBatch = wire::read(&raw)?;
        if self.has_begun(&peer) {
            return Err(RelayError::BreaksBatch { kind: raw.kind });
        }
        if start.message_type != Some(COMMITMENT_SIGNED) {
            // LDK ignores such a one, and takes what follows one by one.
            return Err(RelayError::NotForTheRelay { kind: raw.kind });
        }
        let size = usize::from(start.batch_size);
        if !(2..=LARGEST).contains(&size) {
            return Err(RelayError::BreaksBatch { kind: raw.kind });
        }
        let batch = Batch {
            channel_id: start.channel_id,
            size,
            signed: Vec::new(),
            raw: vec![raw],
        };
        self.peers.insert(peer, batch);
        Ok(())
    }

    /// Whether more of a batch has to come.
    pub fn has_begun(&self, peer: &PublicKey) -> bool {
        self.peers.contains_key(peer)
    }

    /// The peer has gone.
    pub fn forget(&mut self, peer: &PublicKey) {
        self.peers.remove(peer);
    }
}
