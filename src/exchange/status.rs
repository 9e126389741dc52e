//! What a wallet can show about its backup.

use std::collections::BTreeSet;

use bitcoin::secp256k1::PublicKey;

use super::alarm::Alarm;
use super::current::Current;
use super::record::{Capacity, Past, Sent, StorerState};
use super::Exchange;
use crate::backup::{ChannelIds, ChannelRecord, Revision, Tier};

/// The health of the backup. The protocol has no acknowledgement: "sent" is not "saved", and
/// "verified" means that a peer has returned it, perhaps from its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether this data directory knows its past; while it does not, nothing is pushed.
    pub past: Past,
    /// Our newest snapshot.
    pub newest: Option<Revision>,
    /// The wallet has changed since, and a new snapshot is due.
    pub snapshot_due: bool,
    /// Channels in the newest snapshot.
    pub channels: usize,
    /// Of these, known from returned backups alone.
    pub restored_channels: usize,
    /// How many peers have returned the newest snapshot, or the essential part of it, or one that
    /// differs from it in the states of channels alone.
    pub verified_by: usize,
    /// How many peers have returned the full tier of the newest snapshot itself.
    pub verified_whole_by: usize,
    /// How many peers were sent the newest snapshot, or one that differs from it in the states of
    /// channels alone.
    pub sent_to: usize,
    /// Channels that no peer is known to hold: lost if the phone is lost now.
    pub unprotected_channels: usize,
    /// Channels without a monitor in the largest blob of the newest snapshot: of these, a restore can
    /// sweep our own output, but no HTLCs in flight and no penalty.
    pub channels_without_monitor: usize,
    /// Whether channels are held by an alarm.
    pub held: bool,
    /// The alarms that stand.
    pub alarms: Vec<Alarm>,
    /// Each peer that has to do with our backup.
    pub peers: Vec<PeerStatus>,
}

/// The health of the backup at one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The peer.
    pub node_id: PublicKey,
    /// Whether it is connected.
    pub connected: bool,
    /// Whether it offers `option_provide_storage`; none: not seen since the start.
    pub provides_storage: Option<bool>,
    /// The last backup sent to it.
    pub sent: Option<Sent>,
    /// The last backup that it returned.
    pub verified: Option<Sent>,
    /// How large a blob it keeps.
    pub capacity: Capacity,
    /// In a word.
    pub health: Health,
}

/// The health of the backup at one peer, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing was sent to it yet.
    NothingSent,
    /// Sent, not yet returned.
    Sent,
    /// It returned the newest that it was sent.
    Verified,
    /// It returned an older one; it may still be writing. It was sent the newest again.
    Lagging,
    /// It returned one older than what it was sent ten minutes ago or more.
    Overdue,
    /// It returned one older than it had returned before.
    RolledBack,
    /// It returned nothing.
    Missing,
    /// What it returned does not open.
    Unreadable,
    /// What it returned has the revision of one of ours and other content.
    Conflict,
    /// It said that it does not store for us, or it does not offer to.
    Refused,
}

impl Health {
    pub(super) fn is_a_complaint(&self) -> bool {
        use Health::*;
        match self {
            Lagging | Overdue | RolledBack | Missing | Unreadable | Conflict => true,
            NothingSent | Sent | Verified | Refused => false,
        }
    }
}

impl Exchange {
    /// What a wallet can show.
    pub fn status(&self) -> Status {
        let newest = self.snapshot().map(|s| s.revision);
        let structure = self.snapshot.as_ref().map(|current| current.structure);
        let has = |sent: Option<Sent>| sent.is_some_and(|sent| Some(sent.revision) >= structure);
        let verified = |s: &&StorerState| structure.is_some() && has(s.verified);
        let whole = |s: &&StorerState| {
            let is_whole = |v: Sent| v.tier == Tier::Full && Some(v.revision) == newest;
            s.verified.is_some_and(is_whole)
        };
        let with_newest = || self.keepers().filter(verified);
        let peers: BTreeSet<_> = self
            .storers
            .keys()
            .chain(self.connections.keys())
            .copied()
            .collect();
        Status {
            past: self.past,
            newest,
            snapshot_due: self.due.structure || self.due.stamps.is_some(),
            channels: self.book.channels.len(),
            restored_channels: self.book.channels.iter().filter(|c| c.restored).count(),
            verified_by: with_newest().count(),
            verified_whole_by: with_newest().filter(whole).count(),
            sent_to: self
                .storers
                .values()
                .filter(|s| structure.is_some() && has(s.sent))
                .count(),
            unprotected_channels: self.unprotected_channels(),
            channels_without_monitor: self.channels_without_monitor(),
            held: self.holding(),
            alarms: self.alarms().to_vec(),
            peers: peers
                .into_iter()
                .map(|peer| self.peer_status(peer))
                .collect(),
        }
    }

    /// Peers that are believed to have still what they have returned.
    fn keepers(&self) -> impl Iterator<Item = &StorerState> {
        self.storers.values().filter(|storer| storer.is_trusted())
    }

    fn unprotected_channels(&self) -> usize {
        let Some(current) = &self.snapshot else {
            return self.book.channels.len();
        };
        let held_by = |ids: &ChannelIds, introduced: Revision, storer: &StorerState| {
            storer.verified.is_some_and(|verified| {
                let omitted = || {
                    current
                        .omitted_small
                        .iter()
                        .any(|omitted| omitted.matches(ids))
                };
                verified.revision >= introduced && (verified.tier == Tier::Full || !omitted())
            })
        };
        let unprotected = |channel: &&ChannelRecord| {
            let known = current
                .introduced
                .iter()
                .find(|(ids, _)| ids.matches(&channel.ids));
            known.is_none_or(|(ids, introduced)| {
                !self
                    .keepers()
                    .any(|storer| held_by(ids, *introduced, storer))
            })
        };
        self.book.channels.iter().filter(unprotected).count()
    }

    fn channels_without_monitor(&self) -> usize {
        let omitted: BTreeSet<_> = self
            .snapshot
            .iter()
            .flat_map(Current::omitted_monitors)
            .collect();
        let lacks = |channel: &&ChannelRecord| {
            let monitors = self.snapshot.iter().flat_map(|c| &c.snapshot.monitors);
            let mut monitors = monitors.filter(|m| !omitted.contains(&m.channel));
            !monitors.any(|monitor| monitor.ids().matches(&channel.ids))
        };
        self.book.channels.iter().filter(lacks).count()
    }

    fn peer_status(&self, node_id: PublicKey) -> PeerStatus {
        let storer = self.storers.get(&node_id).cloned().unwrap_or_default();
        let connection = self.connections.get(&node_id);
        let provides_storage = connection.map(|c| c.features.provides_storage);
        let health = match self.health.get(&node_id) {
            _ if storer.refused_at.is_some() || provides_storage == Some(false) => Health::Refused,
            Some(health) => *health,
            None if storer.sent.is_none() => Health::NothingSent,
            // What it was is not known over a restart.
            None if storer.contradicted => Health::Sent,
            None if storer.verified.map(|v| v.revision) == storer.sent.map(|s| s.revision) => {
                Health::Verified
            }
            None => Health::Sent,
        };
        PeerStatus {
            node_id,
            connected: connection.is_some(),
            provides_storage,
            sent: storer.sent,
            verified: storer.verified,
            capacity: storer.capacity,
            health,
        }
    }
}
