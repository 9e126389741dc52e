//! What a wallet can show about its backup.

use bitcoin::secp256k1::PublicKey;

use super::alarm::Alarm;
use super::record::{Capacity, Past, Sent};
use crate::backup::Revision;

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
    pub holding: bool,
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
