//! Messages of the node's own handler that wait until they may leave.

use std::collections::{BTreeMap, VecDeque};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::MessageSendEvent;
use lightning::ln::types::ChannelId;

use crate::exchange::Outbound;

/// Messages that wait, by peer, each queue in the order of their making.
#[derive(Debug, Default)]
pub(super) struct Held {
    peers: BTreeMap<PublicKey, VecDeque<(Outbound, MessageSendEvent)>>,
}

impl Held {
    /// Puts a message behind those that wait.
    pub fn push(&mut self, peer: PublicKey, what: Outbound, event: MessageSendEvent) {
        self.peers.entry(peer).or_default().push_back((what, event));
    }

    /// Takes out what may leave now. What may not holds back what comes after it and is about the
    /// same channel; what is about the whole connection neither overtakes nor is overtaken.
    pub fn release(
        &mut self,
        mut may_leave: impl FnMut(PublicKey, Outbound, &MessageSendEvent) -> bool,
    ) -> Vec<MessageSendEvent> {
        let mut released = Vec::new();
        self.peers.retain(|peer, queue| {
            let mut blocked: Vec<Lane> = Vec::new();
            for (what, event) in std::mem::take(queue) {
                let lane = Lane::of(what);
                let waits = blocked.iter().any(|earlier| earlier.holds_back(lane));
                if !waits && may_leave(*peer, what, &event) {
                    released.push(event);
                    continue;
                }
                if !blocked.contains(&lane) {
                    blocked.push(lane);
                }
                queue.push_back((what, event));
            }
            !queue.is_empty()
        });
        released
    }

    /// The peer has gone.
    pub fn forget(&mut self, peer: &PublicKey) {
        self.peers.remove(peer);
    }
}

/// Messages of one lane keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Channel(ChannelId),
    Connection,
    Other,
}

impl Lane {
    fn of(what: Outbound) -> Lane {
        match what {
            Outbound::Reestablish(id, _) | Outbound::Channel(id) | Outbound::Error(Some(id)) => {
                Lane::Channel(id)
            }
            Outbound::Error(None) => Lane::Connection,
            Outbound::Other => Lane::Other,
        }
    }

    fn holds_back(self, later: Lane) -> bool {
        self == later || self == Lane::Connection || later == Lane::Connection
    }
}
