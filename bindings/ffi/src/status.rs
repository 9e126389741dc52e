//! What a wallet can show about its backup.

use ldk_peer_storage::backup::{Revision as CoreRevision, Tier};
use ldk_peer_storage::exchange::{self, Past as CorePast, Sent, Time};
use ldk_peer_storage::lifecycle;

use crate::alarms::StorageAlarm;
use crate::errors::{Obstacle, StorageFailure};
use crate::parse::count;
use crate::reports::Hindrance;
use crate::visits::{PeerVisit, SyncReport};

/// The health of the backup. The protocol has no acknowledgement: "sent" is not "saved", and "verified" means
/// that a peer has returned it at a later connection.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct StorageStatus {
    /// What runs at present. While nothing does, all else is as it was last.
    pub activity: Activity,
    /// Why peers are not visited at present; none: nothing stands in the way.
    pub obstacle: Option<Obstacle>,
    /// Why nothing is open although the app is visible; none: it is. It is tried again at the next call, and while
    /// the app is visible with growing pauses.
    pub trouble: Option<Hindrance>,
    /// Whether the wallet has been reported since the process started. Until then nothing is compared.
    pub wallet_reported: bool,
    /// When peers were last visited, in seconds since 1970; none: not since the process started.
    pub last_visits_at: Option<u64>,
    /// What came of each of them.
    pub last_visits: Vec<PeerVisit>,
    /// Whether this data directory knows its past; while it does not, nothing is pushed to anyone.
    pub past: Past,
    /// Our newest backup; none: there is none yet.
    pub newest: Option<Revision>,
    /// The wallet has changed since, and a new backup is due.
    pub backup_due: bool,
    /// Channels in the newest backup.
    pub channels: u32,
    /// Of these, the ones known from returned backups alone: this device has no state of them.
    pub restored_channels: u32,
    /// How many peers have returned the newest backup, or one that differs from it in the states of channels
    /// alone.
    pub verified_by: u32,
    /// How many peers have returned all of the newest backup itself.
    pub verified_whole_by: u32,
    /// How many peers were sent it.
    pub sent_to: u32,
    /// Channels that no peer is known to hold: lost if the phone is lost now.
    pub unprotected_channels: u32,
    /// Channels without a monitor in the newest backup: a restore sweeps our own balance of them, but no
    /// payments in flight and no penalty.
    pub channels_without_monitor: u32,
    /// Whether an alarm holds all channels: the wallet's node must not be started.
    pub held: bool,
    /// The alarms that stand.
    pub alarms: Vec<StorageAlarm>,
    /// Each peer that has to do with our backup.
    pub peers: Vec<PeerBackup>,
    /// Why nothing can be written at present; none: it can. It is tried again every second, and until then
    /// nothing new is sent.
    pub storage_failure: Option<StorageFailure>,
}

/// What runs at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Activity {
    /// The data directory is open, and peers are visited when something is due.
    Active,
    /// What is due is done, then nothing.
    Draining,
    /// Nothing: no timer, no socket, no open file, no lock.
    Suspended,
    /// It was shut down.
    Closed,
}

/// The health of the backup at one peer.
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
pub struct PeerBackup {
    /// The peer's node id, in hex.
    pub node_id: String,
    /// Whether it is connected.
    pub connected: bool,
    /// Whether it offers to keep backups; none: not seen since the start.
    pub provides_storage: Option<bool>,
    /// The last backup sent to it.
    pub sent: Option<SentBackup>,
    /// The last backup that it returned.
    pub verified: Option<SentBackup>,
    /// How many bytes it keeps, where that is known: 1024 or 65531.
    pub capacity_bytes: Option<u32>,
    /// In a word.
    pub health: BackupHealth,
}

/// A backup that went to a peer, or came back from it.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct SentBackup {
    /// Which one.
    pub revision: Revision,
    /// Whether it was all of it. If not: peers, channels, and what is needed to sweep.
    pub whole: bool,
    /// When, in seconds since 1970.
    pub at: u64,
}

/// The place of a backup in the order of all backups of a wallet: first by epoch, then by generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, uniffi::Record)]
pub struct Revision {
    /// Raised by every restore and adoption.
    pub epoch: u32,
    /// Raised by every new backup.
    pub generation: u64,
}

/// Whether a data directory knows what was backed up before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Past {
    /// A new install or a wiped phone: nothing is pushed to anyone until the app has called `declare_new`,
    /// `adopt` or `finish_restore`.
    Unknown,
    /// Declared new, adopted, or restored.
    Known,
}

/// The health of the backup at one peer, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum BackupHealth {
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
    /// It said that it does not keep backups for us, or it does not offer to.
    Refused,
}

crate::private::says_nothing!(PeerBackup);

impl From<lifecycle::Status> for StorageStatus {
    fn from(status: lifecycle::Status) -> Self {
        let (last_visits_at, last_visits) = match status.last_session {
            Some((at, report)) => (Some(seconds(at)), SyncReport::from(report).peers),
            None => (None, Vec::new()),
        };
        let storage = status.storage;
        let backup = storage.backup;
        StorageStatus {
            activity: status.state.into(),
            obstacle: status.obstacle.map(Obstacle::from),
            trouble: status.trouble.map(Hindrance::from),
            wallet_reported: status.wallet_reported,
            last_visits_at,
            last_visits,
            past: backup.past.into(),
            newest: backup.newest.map(Revision::from),
            backup_due: backup.snapshot_due,
            channels: count(backup.channels),
            restored_channels: count(backup.restored_channels),
            verified_by: count(backup.verified_by),
            verified_whole_by: count(backup.verified_whole_by),
            sent_to: count(backup.sent_to),
            unprotected_channels: count(backup.unprotected_channels),
            channels_without_monitor: count(backup.channels_without_monitor),
            held: backup.held,
            alarms: backup.alarms.into_iter().map(StorageAlarm::from).collect(),
            peers: backup.peers.into_iter().map(PeerBackup::from).collect(),
            storage_failure: storage.storage_failure.as_ref().map(StorageFailure::from),
        }
    }
}

impl From<exchange::PeerStatus> for PeerBackup {
    fn from(status: exchange::PeerStatus) -> Self {
        let capacity = status.capacity;
        PeerBackup {
            node_id: status.node_id.to_string(),
            connected: status.connected,
            provides_storage: status.provides_storage,
            sent: status.sent.map(SentBackup::from),
            verified: status.verified.map(SentBackup::from),
            capacity_bytes: capacity.is_known().then(|| count(capacity.bytes())),
            health: status.health.into(),
        }
    }
}

impl From<Sent> for SentBackup {
    fn from(sent: Sent) -> Self {
        SentBackup {
            revision: sent.revision.into(),
            whole: sent.tier == Tier::Full,
            at: seconds(sent.at),
        }
    }
}

/// Since 1970.
pub(crate) fn seconds(time: Time) -> u64 {
    time.0 / 1000
}

impl From<CoreRevision> for Revision {
    fn from(revision: CoreRevision) -> Self {
        Revision {
            epoch: revision.epoch,
            generation: revision.generation,
        }
    }
}

impl From<CorePast> for Past {
    fn from(past: CorePast) -> Self {
        match past {
            CorePast::Unknown => Past::Unknown,
            CorePast::Known => Past::Known,
        }
    }
}

impl From<exchange::Health> for BackupHealth {
    fn from(health: exchange::Health) -> Self {
        use exchange::Health;
        match health {
            Health::NothingSent => BackupHealth::NothingSent,
            Health::Sent => BackupHealth::Sent,
            Health::Verified => BackupHealth::Verified,
            Health::Lagging => BackupHealth::Lagging,
            Health::Overdue => BackupHealth::Overdue,
            Health::RolledBack => BackupHealth::RolledBack,
            Health::Missing => BackupHealth::Missing,
            Health::Unreadable => BackupHealth::Unreadable,
            Health::Conflict => BackupHealth::Conflict,
            Health::Refused => BackupHealth::Refused,
        }
    }
}
