//! The `channel_reestablish` messages that came: they tell which channels a peer believes in.

use std::collections::VecDeque;
use std::fmt;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::types::ChannelId;

use crate::exchange::Numbers;

/// So many are remembered of one peer, and of all peers together.
const MOST_OF_A_PEER: usize = 256;
const MOST: usize = 4096;

/// A `channel_reestablish` (type 136) that a peer sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SeenReestablish {
    /// Who sent it.
    pub peer: PublicKey,
    /// The channel, as the peer names it.
    pub channel_id: ChannelId,
    /// Its numbers.
    pub numbers: Numbers,
}

// Which channels there are is private.
impl fmt::Debug for SeenReestablish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeenReestablish")
            .field("numbers", &self.numbers)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
pub(super) struct Seen {
    all: VecDeque<SeenReestablish>,
}

impl Seen {
    /// Remembers the newest one of each channel.
    pub fn note(&mut self, seen: SeenReestablish) {
        let same = |s: &SeenReestablish| s.peer == seen.peer && s.channel_id == seen.channel_id;
        if let Some(known) = self.all.iter_mut().find(|known| same(known)) {
            *known = seen;
            return;
        }
        if self.all.iter().filter(|s| s.peer == seen.peer).count() >= MOST_OF_A_PEER {
            return;
        }
        if self.all.len() >= MOST {
            self.all.pop_front();
        }
        self.all.push_back(seen);
    }

    pub fn all(&self) -> Vec<SeenReestablish> {
        self.all.iter().copied().collect()
    }
}
