//! What is known of one connection, and when it allows a push (safety rule 1).

use std::collections::BTreeSet;
use std::time::Duration;

use lightning::ln::types::ChannelId;

use super::gate::Gate;
use super::time::Time;
use crate::backup::{Revision, Tier};

/// How long a peer without a channel has for its 9.
const GRACE: Duration = Duration::from_secs(30);
/// A push counts as delivered when its connection stood for so long after it: both sides ping.
const DELIVERED_AFTER: Duration = Duration::from_secs(60);
/// A connection reports no more unknown channels than this.
const MOST_UNKNOWN_CHANNELS: usize = 8;

/// What a peer offers, from its `init`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerFeatures {
    /// `option_provide_storage` (42/43).
    pub provides_storage: bool,
    /// A hash of all its feature bits: when it changes, what was learned of its capacity may be
    /// outdated.
    pub hash: u64,
}

/// Names one connection of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

#[derive(Debug)]
pub(super) struct Connection {
    pub id: ConnectionId,
    pub features: PeerFeatures,
    pub gate: Gate,
    /// What the peer returned, or that it had nothing to return, is known.
    pub read_back: Option<ReadBack>,
    /// The snapshot that the peer returned on this connection, and how much of it.
    pub returned: Option<(Revision, Tier)>,
    /// That was the last one sent to it, so it still keeps what it is sent.
    pub returned_latest: bool,
    /// What it returned was made by a newer version of this project: it is not overwritten.
    pub returned_newer_format: bool,
    /// Channels that the peer spoke of and that this device does not know.
    unknown_channels: BTreeSet<ChannelId>,
    /// Whether anything was pushed on this connection.
    pub pushed: bool,
    /// When something was last pushed on this connection.
    pub pushed_at: Option<Time>,
    /// The newest that was pushed on this connection and never before: that it comes back on it proves
    /// nothing.
    pub first_pushed: Option<Revision>,
    /// A blob of more than 1024 bytes was pushed on this connection.
    pub pushed_large: bool,
    /// A channel with this peer was known when it connected, so its 9 or 136 must come.
    channel_known: bool,
    connected_at: Time,
}

/// How the push gate opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadBack {
    /// Its 9 came.
    Returned,
    /// Its 136 came without a 9 before it: it has nothing.
    Nothing,
    /// A peer without a channel sent neither for 30 s.
    GraceOver,
}

impl Connection {
    pub fn new(id: ConnectionId, now: Time, features: PeerFeatures, channel_known: bool) -> Self {
        Connection {
            id,
            features,
            gate: Gate::new(now),
            read_back: None,
            returned: None,
            returned_latest: false,
            returned_newer_format: false,
            unknown_channels: BTreeSet::new(),
            pushed: false,
            pushed_at: None,
            first_pushed: None,
            pushed_large: false,
            channel_known,
            connected_at: now,
        }
    }

    /// Opens the push gate of a peer without a channel after its grace.
    pub fn grace_over(&mut self, now: Time) -> bool {
        let over = self.waits_for_grace() && now >= self.grace_ends_at();
        if over {
            self.read_back = Some(ReadBack::GraceOver);
        }
        over
    }

    /// Remembers a channel that this device does not know. Whether the app should hear of it: once
    /// each, and a peer has no endless supply.
    pub fn note_unknown(&mut self, id: ChannelId) -> bool {
        self.unknown_channels.len() < MOST_UNKNOWN_CHANNELS && self.unknown_channels.insert(id)
    }

    /// Whether the peer has spoken of a channel of this name that this device does not know.
    pub fn has_named(&self, id: &ChannelId) -> bool {
        self.unknown_channels.contains(id)
    }

    /// A channel with the peer has come to light, from another peer's backup or from a wallet that
    /// was reported late: no timeout any more, and one that has passed does not count.
    pub fn channel_came_to_light(&mut self) {
        self.channel_known = true;
        if self.read_back == Some(ReadBack::GraceOver) {
            self.read_back = None;
        }
    }

    /// Whether the connection ends so soon after a push that it may never have arrived.
    pub fn may_have_lost_a_push(&self, now: Time) -> bool {
        self.pushed_at
            .is_some_and(|at| now.since(at) < DELIVERED_AFTER)
    }

    /// Whether the connection was made after this time.
    pub fn is_later_than(&self, at: Time) -> bool {
        at < self.connected_at
    }

    /// When to look at this connection again.
    pub fn wake_at(&self, now: Time) -> Option<Time> {
        let grace = self.waits_for_grace().then(|| self.grace_ends_at());
        self.gate
            .wake_at()
            .into_iter()
            .chain(grace)
            .filter(|at| *at > now)
            .min()
    }

    fn waits_for_grace(&self) -> bool {
        self.read_back.is_none() && !self.channel_known
    }

    fn grace_ends_at(&self) -> Time {
        self.connected_at.after(GRACE)
    }
}
