//! What must survive a restart: the records that the exchange asks its host to make durable, and the
//! state that the host hands back when it starts again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;

use super::alarm::{Alarm, AlarmId};
use super::event::Event;
use super::time::Time;
use crate::backup::{ChannelIds, ContentHash, InstallationId, Revision, Snapshot, Tier};

/// One thing to make durable. Records are applied in the order in which they are given.
#[derive(Clone)]
pub enum Record {
    /// Whether this data directory knows its past.
    Past(Past),
    /// What came before this epoch was lost here, and is known to be.
    LostBefore(u32),
    /// What the backups name was restored here, onto a device that has no state of it.
    Restored,
    /// The highest revision ever seen, here or in a returned blob.
    HighestSeen(Revision),
    /// Our newest snapshot. Older ones may be dropped, the newest never.
    Snapshot(Arc<Snapshot>),
    /// What is known of a peer as a keeper of our backup.
    Storer(PublicKey, StorerState),
    /// A returned blob that this installation did not send. The newest of each peer and
    /// installation is kept.
    Foreign {
        /// Who returned it.
        peer: PublicKey,
        /// Which data directory made it.
        installation: InstallationId,
        /// Its place in the order of backups.
        revision: Revision,
        /// As it came, sealed.
        blob: Arc<[u8]>,
    },
    /// The outputs of this channel are swept and buried: no backup brings it back.
    Resolved(ChannelIds),
    /// An alarm was raised, or changed.
    Alarm(Alarm),
    /// An alarm is over.
    AlarmOver(AlarmId),
    /// Tell the app, until it acknowledges.
    Event(Event),
    /// Keep this blob for this peer in place of the one before. It may be empty: then the peer has
    /// taken its backup back.
    Slot {
        /// Whose backup it is.
        peer: PublicKey,
        /// As it came, sealed by the peer.
        blob: Arc<[u8]>,
    },
    /// Since which height the peer has had no channel with us; none: it has one.
    SlotUnfunded {
        /// Whose slot.
        peer: PublicKey,
        /// In blocks.
        since_height: Option<u32>,
    },
    /// The slot of this peer is given up: it has outlived its retention, or a peer without a channel
    /// has emptied it.
    SlotExpired(PublicKey),
}

// Blobs are private: Debug output tells their sizes alone.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Record::Past(past) => f.debug_tuple("Past").field(past).finish(),
            Record::LostBefore(epoch) => f.debug_tuple("LostBefore").field(epoch).finish(),
            Record::Restored => f.write_str("Restored"),
            Record::HighestSeen(revision) => f.debug_tuple("HighestSeen").field(revision).finish(),
            Record::Snapshot(snapshot) => f.debug_tuple("Snapshot").field(snapshot).finish(),
            Record::Storer(peer, state) => {
                f.debug_tuple("Storer").field(peer).field(state).finish()
            }
            Record::Foreign {
                peer,
                installation,
                revision,
                blob,
            } => f
                .debug_struct("Foreign")
                .field("peer", peer)
                .field("installation", installation)
                .field("revision", revision)
                .field("bytes", &blob.len())
                .finish(),
            Record::Resolved(ids) => f.debug_tuple("Resolved").field(ids).finish(),
            Record::Alarm(alarm) => f.debug_tuple("Alarm").field(alarm).finish(),
            Record::AlarmOver(id) => f.debug_tuple("AlarmOver").field(id).finish(),
            Record::Event(event) => f.debug_tuple("Event").field(event).finish(),
            Record::Slot { peer, blob } => f
                .debug_struct("Slot")
                .field("peer", peer)
                .field("bytes", &blob.len())
                .finish(),
            Record::SlotUnfunded { peer, since_height } => f
                .debug_struct("SlotUnfunded")
                .field("peer", peer)
                .field("since_height", since_height)
                .finish(),
            Record::SlotExpired(peer) => f.debug_tuple("SlotExpired").field(peer).finish(),
        }
    }
}

/// What was durable when the host stopped.
#[derive(Clone, Debug, Default)]
pub struct SavedState {
    /// Which data directory this is.
    pub installation: InstallationId,
    /// Whether it knows its past.
    pub past: Past,
    /// What came before this epoch was lost here, and is known to be.
    pub lost_before_epoch: u32,
    /// A restore has ended here.
    pub was_restored: bool,
    /// The highest revision ever seen.
    pub highest_seen: Revision,
    /// Our newest snapshot.
    pub snapshot: Option<Arc<Snapshot>>,
    /// What is known of the peers as keepers of our backup.
    pub storers: BTreeMap<PublicKey, StorerState>,
    /// Channels whose outputs are swept and buried.
    pub resolved: Vec<ChannelIds>,
    /// Alarms that are not over.
    pub alarms: Vec<Alarm>,
    /// No alarm of this directory has had a higher id.
    pub last_alarm: AlarmId,
    /// What we keep for peers, without the blobs.
    pub slots: BTreeMap<PublicKey, SlotState>,
}

/// Whether a data directory knows what was backed up before it (safety rule 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Past {
    /// A new install or a wiped phone: nothing is pushed to anyone.
    #[default]
    Unknown,
    /// Declared new, adopted, or restored.
    Known,
}

/// What is known of one peer as a keeper of our backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorerState {
    /// The last backup sent to it.
    pub sent: Option<Sent>,
    /// The newest revision that was sent long enough ago to be expected back.
    pub settled: Option<Revision>,
    /// The newest backup of ours that it has returned.
    pub verified: Option<Sent>,
    /// How many times in a row it returned something older than it had returned before.
    pub stale_returns: u32,
    /// How many times in a row it returned nothing although it had been sent something in time.
    pub missing_returns: u32,
    /// It has returned something else, or nothing, since it last returned a backup of ours: what it had then
    /// it may have no longer.
    pub contradicted: bool,
    /// How large a blob it keeps.
    pub capacity: Capacity,
    /// The feature bits that the capacity was learned under, as a hash.
    pub features: u64,
    /// It said that it does not store for us, at this time.
    pub refused_at: Option<Time>,
}

impl StorerState {
    /// A stored time from the future (the clock was set back) is now.
    pub(super) fn forget_the_future(&mut self, now: Time) {
        let sent = self
            .sent
            .iter_mut()
            .chain(&mut self.verified)
            .map(|sent| &mut sent.at);
        let capacity = match &mut self.capacity {
            Capacity::Probing {
                large_sent_at: at, ..
            }
            | Capacity::Small { learned_at: at } => Some(at),
            _ => None,
        };
        for at in sent.chain(capacity).chain(&mut self.refused_at) {
            *at = (*at).min(now);
        }
    }
}

/// A backup that went to a peer, or came back from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Which snapshot.
    pub revision: Revision,
    /// How much of it.
    pub tier: Tier,
    /// What it says, so that other content under the same revision is noticed.
    pub content: ContentHash,
    /// When.
    pub at: Time,
}

/// How large a blob a peer keeps for us. Learned without risk: a small blob goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Capacity {
    /// Not known yet: it is sent a small blob, then a large one.
    #[default]
    Unknown,
    /// A large blob was sent; small ones came back on so many connections since.
    Probing {
        /// When the first large blob of this attempt was sent.
        large_sent_at: Time,
        /// On how many connections a small blob came back since.
        small_returns: u32,
    },
    /// 1024 bytes (LDK), learned at this time.
    Small {
        /// Tried again a week later.
        learned_at: Time,
    },
    /// 65531 bytes: it has returned a large blob.
    Large,
}

/// A blob that we keep for a peer, without its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotState {
    /// Its size in bytes.
    pub len: usize,
    /// Since which height the peer has had no channel with us.
    pub unfunded_since: Option<u32>,
}
