//! Messages of peers that wait until the node's own handler may see them.

use std::collections::{BTreeMap, VecDeque};

use bitcoin::secp256k1::PublicKey;

use super::forward::ChannelMessage;
use crate::exchange::{Inbound, Verdict};
use crate::service::Offered;

/// So many messages are kept for a peer. An honest one sends but a few before it has heard our 136.
/// Of one that sends more nothing is delivered any more, and its connection ends: LDK must not see a
/// hole in what it was sent, and the next connection starts anew.
const MOST_KEPT: usize = 256;
/// Of the text of a kept `error` so many bytes stay.
const LONGEST_TEXT: usize = 1024;

/// Messages that wait, by peer, each queue in the order of arrival.
#[derive(Debug, Default)]
pub(super) struct Kept {
    peers: BTreeMap<PublicKey, Queue>,
    /// Peers that have just sent too much.
    to_disconnect: Vec<PublicKey>,
}

#[derive(Debug, Default)]
struct Queue {
    /// What is on its way to the handler at this moment, outside of the lock.
    leaving: Option<Inbound>,
    waiting: VecDeque<ChannelMessage>,
    /// Nothing of this connection is delivered any more.
    overflown: bool,
}

impl Kept {
    /// Whether this message must not be delivered yet because an earlier one of its channel waits, or
    /// never because the peer has sent too much.
    pub fn stands_before(&self, peer: &PublicKey, message: Inbound) -> bool {
        self.peers.get(peer).is_some_and(|queue| {
            let waiting = queue.waiting.iter().map(ChannelMessage::inbound);
            let mut earlier = queue.leaving.into_iter().chain(waiting);
            queue.overflown || earlier.any(|earlier| same_lane(earlier, message))
        })
    }

    /// Keeps a message behind those that wait.
    pub fn push(&mut self, peer: PublicKey, mut message: ChannelMessage) {
        if let ChannelMessage::ErrorMessage(error) = &mut message {
            shorten(&mut error.data);
        }
        let queue = self.peers.entry(peer).or_default();
        if queue.overflown {
            return;
        }
        if queue.waiting.len() < MOST_KEPT {
            queue.waiting.push_back(message);
            return;
        }
        log::warn!("a peer sent too much before it could be heard: disconnecting");
        queue.overflown = true;
        queue.waiting = VecDeque::new();
        self.to_disconnect.push(peer);
    }

    /// The peers that are to be disconnected because they have sent too much; each once.
    pub fn take_to_disconnect(&mut self) -> Vec<PublicKey> {
        std::mem::take(&mut self.to_disconnect)
    }

    /// The peers for which something waits.
    pub fn peers(&self) -> Vec<PublicKey> {
        self.peers.keys().copied().collect()
    }

    /// How many messages of a peer wait.
    pub fn waiting(&self, peer: &PublicKey) -> usize {
        self.peers.get(peer).map_or(0, |queue| queue.waiting.len())
    }

    /// The first message of a peer that may be delivered now. It counts as waiting until
    /// [`delivered`](Self::delivered), so that nothing overtakes it.
    pub fn next(
        &mut self,
        peer: &PublicKey,
        mut ask: impl FnMut(Offered) -> Verdict,
    ) -> Option<ChannelMessage> {
        let queue = self.peers.get_mut(peer)?;
        if queue.leaving.is_some() || queue.overflown {
            return None;
        }
        let mut blocked: Vec<Inbound> = Vec::new();
        let mut at = 0;
        while let Some(offered) = queue.waiting.get(at).map(ChannelMessage::offered) {
            let message = offered.message;
            if blocked.iter().any(|earlier| same_lane(*earlier, message)) {
                blocked.push(message);
                at += 1;
                continue;
            }
            match ask(offered) {
                Verdict::Forward => {
                    queue.leaving = Some(message);
                    return queue.waiting.remove(at);
                }
                Verdict::Keep => {
                    blocked.push(message);
                    at += 1;
                }
                Verdict::Drop => {
                    queue.waiting.remove(at);
                }
            }
        }
        if queue.waiting.is_empty() {
            self.peers.remove(peer);
        }
        None
    }

    /// The message that [`next`](Self::next) gave has arrived.
    pub fn delivered(&mut self, peer: &PublicKey) {
        if let Some(queue) = self.peers.get_mut(peer) {
            queue.leaving = None;
        }
    }

    /// The peer has gone.
    pub fn forget(&mut self, peer: &PublicKey) {
        self.peers.remove(peer);
        self.to_disconnect.retain(|other| other != peer);
    }
}

/// Whether the order of the two matters: they speak of the same channel, or one of all channels.
fn same_lane(a: Inbound, b: Inbound) -> bool {
    match (lane(a), lane(b)) {
        (Lane::All, _) | (_, Lane::All) => true,
        (a, b) => a == b,
    }
}

#[derive(PartialEq, Eq)]
enum Lane {
    Channel(lightning::ln::types::ChannelId),
    All,
    None,
}

fn lane(message: Inbound) -> Lane {
    match message {
        Inbound::Reestablish(id, _)
        | Inbound::Opening(id)
        | Inbound::Channel(id)
        | Inbound::Error(Some(id)) => Lane::Channel(id),
        Inbound::Error(None) => Lane::All,
        Inbound::Other => Lane::None,
    }
}

fn shorten(text: &mut String) {
    let cut = (0..=LONGEST_TEXT.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at));
    text.truncate(cut.unwrap_or(0));
}
