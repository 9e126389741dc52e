//! The reestablish gate: what passes between a peer and the node's own channel handler until both
//! are known to agree on the state of their channels (safety rules 6 and 10).
//!
//! ```text
//! peer_connected                  peer's 136 checked, or 2 s (4 s where we dialled) for our own 136
//!   | our messages: held in order      | released
//!   | 136 of the peer: checked ------->| forwarded
//!   | error of the peer: kept -------->| forwarded
//!   | anything else before a 136: kept | forwarded
//!   | a channel unknown here: nothing is ever forwarded
//!   | stale, or numbers that are not true: all of it stays here
//! ```
//!
//! LDK by itself queues its 136 at once, panics at a 136 that proves its state stale, and publishes a
//! revoked commitment at an `error`. None of that may happen before the check.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lightning::ln::types::ChannelId;

use super::time::Time;

/// How long our own 136 waits for the peer's. Two nodes that both wait must not wait forever.
pub const OWN_REESTABLISH_WAIT: Duration = Duration::from_secs(2);
/// How much longer it waits where we have dialled. Were both waits the same, two nodes of this project
/// would send their 136 at the same moment, and the numbers alone would warn neither in time. Phones
/// dial, and it is their database that is put back.
const DIALLED_WAIT: Duration = Duration::from_secs(2);
/// So many channels may come to be on one connection: a peer must not fill the memory with openings.
const MOST_FRESH: usize = 1024;

/// The numbers of a `channel_reestablish` (BOLT #2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// `next_commitment_number`
    pub next_local: u64,
    /// `next_revocation_number`
    pub next_remote: u64,
}

impl Numbers {
    /// Whether `theirs` prove that the state behind `self` is stale: they hold a revocation of a
    /// state beyond ours (LDK panics on exactly this), or are more than one commitment ahead.
    pub fn stale_against(&self, theirs: &Numbers) -> bool {
        self.revoked_later(theirs.next_remote)
            || theirs.next_local > self.next_remote.saturating_add(2)
    }

    /// Whether a peer that has this `next_revocation_number` holds a revocation of a state beyond ours.
    pub fn revoked_later(&self, next_remote: u64) -> bool {
        next_remote > self.next_local.saturating_sub(1)
    }
}

/// Whether a 136 carries the secret that its `next_revocation_number` speaks of. Only our own signer
/// can make that secret, and it gives it away once the state is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It does.
    Valid,
    /// It carries something else: its numbers are not true.
    Invalid,
    /// The host cannot tell, or had no reason to look.
    Unchecked,
}

/// What the node's own handler wants to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outbound {
    /// Its 136 for this channel.
    Reestablish(ChannelId, Numbers),
    /// Anything else about this channel.
    Channel(ChannelId),
    /// An `error` or `warning`, or a request to disconnect: about this channel, or the whole connection.
    Error(Option<ChannelId>),
    /// A message that is about no channel.
    Other,
}

/// What a peer sent for the node's own handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// Its 136 for this channel.
    Reestablish(ChannelId, Numbers),
    /// The first message about a channel that does not exist yet (`open_channel`).
    Opening(ChannelId),
    /// Anything else about this channel.
    Channel(ChannelId),
    /// An `error`; none: about all channels.
    Error(Option<ChannelId>),
    /// A message that is about no channel.
    Other,
}

/// What to do with a message from a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Hand it to the node's own handler.
    Forward,
    /// Keep it, in order, and ask again when the gate has changed.
    Keep,
    /// The node's own handler never sees it.
    Drop,
}

/// What a peer's 136 showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Both sides agree well enough for LDK to go on.
    Passed,
    /// Our state is older than the peer's. `proved`: the revocation that it has proved to hold; none:
    /// it is the peer's word.
    Stale { proved: Option<u64> },
    /// The peer says so and its proof is wrong. `news`: for the first time on this connection.
    Lie { news: bool },
    /// The node's own handler does not know this channel.
    UnknownChannel,
}

/// The gate of one connection.
#[derive(Debug)]
pub(super) struct Gate {
    own_reestablish_at: Time,
    channels: BTreeMap<ChannelId, ChannelGate>,
    /// Channels that came to be on this connection, or that our own handler speaks of: no 136 is due.
    fresh: BTreeSet<ChannelId>,
}

#[derive(Debug)]
struct ChannelGate {
    /// As they were when the connection was made.
    ours: Numbers,
    checked: bool,
    /// The peer's numbers look as if we were stale: ours wait until it says otherwise, also while its
    /// proof is being checked.
    suspect: bool,
    /// Its numbers were not true.
    lied: bool,
}

impl Gate {
    pub fn new(connected_at: Time) -> Self {
        Gate {
            own_reestablish_at: connected_at.after(OWN_REESTABLISH_WAIT),
            channels: BTreeMap::new(),
            fresh: BTreeSet::new(),
        }
    }

    /// It was we who made the connection.
    pub fn dialled(&mut self) {
        self.own_reestablish_at = self.own_reestablish_at.after(DIALLED_WAIT);
    }

    /// Compares the peer's 136 with our own held one.
    pub fn check(&mut self, id: ChannelId, theirs: Numbers, proof: Proof) -> Check {
        let Some(channel) = self.channels.get_mut(&id) else {
            return Check::UnknownChannel;
        };
        if !channel.looks_stale(&theirs) {
            channel.checked = true;
            return Check::Passed;
        }
        channel.suspect = true;
        match proof {
            Proof::Invalid => Check::Lie {
                news: !std::mem::replace(&mut channel.lied, true),
            },
            Proof::Valid if channel.ours.revoked_later(theirs.next_remote) => Check::Stale {
                proved: Some(theirs.next_remote),
            },
            Proof::Valid | Proof::Unchecked => Check::Stale { proved: None },
        }
    }

    /// Whether the peer's numbers say that our state is stale, be it true or not. If so, our own 136
    /// waits from now on.
    pub fn suspects(&mut self, id: &ChannelId, theirs: &Numbers) -> bool {
        let Some(channel) = self.channels.get_mut(id) else {
            return false;
        };
        let stale = channel.looks_stale(theirs);
        channel.suspect |= stale;
        stale
    }

    /// Our own numbers of a channel, when this connection was made.
    pub fn ours(&self, id: &ChannelId) -> Option<Numbers> {
        self.channels.get(id).map(|channel| channel.ours)
    }

    /// Whether a message of our own handler may leave now. `holding`: an alarm stands.
    pub fn may_leave(&mut self, now: Time, holding: bool, message: Outbound) -> bool {
        if let Outbound::Reestablish(id, ours) = message {
            self.channels.entry(id).or_insert(ChannelGate {
                ours,
                checked: false,
                suspect: false,
                lied: false,
            });
        }
        let waited = now >= self.own_reestablish_at;
        match message {
            Outbound::Reestablish(id, _) => {
                self.is_checked(&id) || (waited && !holding && !self.is_suspect(&id))
            }
            Outbound::Channel(id) | Outbound::Error(Some(id))
                if self.channels.contains_key(&id) =>
            {
                self.is_checked(&id)
            }
            Outbound::Channel(id) => {
                self.fresh.insert(id);
                !holding && self.is_passable(waited)
            }
            Outbound::Error(_) | Outbound::Other => !holding && self.is_passable(waited),
        }
    }

    /// What to do with a message of the peer that is not its 136. `expects_136`: there is an open
    /// channel with it, so our own handler is about to speak of it.
    pub fn inbound(&mut self, holding: bool, expects_136: bool, message: Inbound) -> Verdict {
        let silent = self.channels.is_empty() && self.fresh.is_empty();
        match message {
            Inbound::Error(_) if holding => Verdict::Drop,
            Inbound::Error(_) if silent && expects_136 => Verdict::Keep,
            Inbound::Error(Some(id)) if self.channels.contains_key(&id) => {
                self.keep_unless(self.is_checked(&id))
            }
            Inbound::Error(_) => self.keep_unless(self.channels.values().all(|c| c.checked)),
            Inbound::Opening(_) if holding || self.fresh.len() >= MOST_FRESH => Verdict::Drop,
            Inbound::Opening(id) => {
                self.fresh.insert(id);
                Verdict::Forward
            }
            // Before the 136, LDK answers it by closing the channel, with a state that may be stale.
            Inbound::Reestablish(id, _) | Inbound::Channel(id)
                if self.channels.contains_key(&id) =>
            {
                self.keep_unless(self.is_checked(&id))
            }
            Inbound::Reestablish(id, _) | Inbound::Channel(id) => {
                if self.fresh.contains(&id) && !holding {
                    Verdict::Forward
                } else {
                    Verdict::Drop
                }
            }
            Inbound::Other => Verdict::Forward,
        }
    }

    /// When our own 136 leaves without the peer's; none once there is nothing to wait for.
    pub fn wake_at(&self) -> Option<Time> {
        let waiting = self.channels.values().any(|channel| !channel.checked);
        waiting.then_some(self.own_reestablish_at)
    }

    fn is_checked(&self, id: &ChannelId) -> bool {
        self.channels.get(id).is_some_and(|channel| channel.checked)
    }

    fn is_suspect(&self, id: &ChannelId) -> bool {
        self.channels.get(id).is_some_and(|channel| channel.suspect)
    }

    /// Whether messages that belong to no checked channel may leave.
    fn is_passable(&self, waited: bool) -> bool {
        waited || self.channels.is_empty() || self.channels.values().any(|channel| channel.checked)
    }

    fn keep_unless(&self, open: bool) -> Verdict {
        if open {
            Verdict::Forward
        } else {
            Verdict::Keep
        }
    }
}

impl ChannelGate {
    /// After a 136 that has passed, honest progress makes a second one look stale; what LDK does with
    /// a second one concerns that channel alone.
    fn looks_stale(&self, theirs: &Numbers) -> bool {
        !self.checked && self.ours.stale_against(theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openings_of_a_peer_do_not_fill_the_memory() {
        let mut gate = Gate::new(Time::default());
        let mut opening = |n: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_be_bytes());
            gate.inbound(false, false, Inbound::Opening(ChannelId(id)))
        };
        assert!((0..MOST_FRESH).all(|n| opening(n) == Verdict::Forward));
        assert_eq!(opening(MOST_FRESH), Verdict::Drop);
    }
}
