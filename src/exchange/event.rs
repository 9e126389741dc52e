//! What the app is told.

use bitcoin::secp256k1::PublicKey;
use lightning::ln::types::ChannelId;

use super::alarm::{Alarm, AlarmId};
use crate::backup::{ChannelIds, InstallationId, Part, Revision, Tier};

/// Something the app may want to act on, or show. Durable: told again after a restart, until the app
/// has acknowledged it ([`PeerStorage::event_handled`](crate::PeerStorage::event_handled)).
///
/// | event | what the app does |
/// |---|---|
/// | `AlarmRaised`, stale state | tells the person at once; nothing on this device may be deleted; shows the time left |
/// | `AlarmRaised`, a storer | shows it; the other peers still hold the backup; it ends by itself when the peer returns it |
/// | `OtherInstallation`, `Conflict` | asks whether a second device uses this seed |
/// | `ChannelsMerged`, `UnknownChannel` | offers a restore: a channel is known that this device has no state of |
/// | `FalseNumbers` | informs; the channel does not work until the peer tells the truth |
/// | `Unreadable` by a newer version | asks to update the app |
/// | `Omitted`, `PartsOmitted`, `NotBackedUp` | shows it; less app data, or a peer that keeps 65531 bytes, helps |
/// | the others | informs, at most |
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An alarm was raised. It stays in `PeerStorage::alarms` until it is resolved.
    AlarmRaised(Alarm),
    /// An alarm is over: resolved by the app, or disproved by the peer.
    AlarmOver(AlarmId),
    /// A peer returned a backup by another installation that is newer than ours, and whose state
    /// stamps are not ahead of the live state: a second device, or an SDK directory that was lost.
    /// Nothing is held.
    OtherInstallation {
        /// Who returned it.
        peer: PublicKey,
        /// Which data directory made it.
        installation: InstallationId,
        /// Its place in the order of backups.
        revision: Revision,
    },
    /// A returned backup knew channels that this device did not. They are in our backup now, marked
    /// as restored.
    ChannelsMerged {
        /// Who returned it.
        peer: PublicKey,
        /// The channels.
        channels: Vec<ChannelIds>,
    },
    /// What a peer returned does not open: damaged, or not for this node and network. Never used.
    Unreadable {
        /// Who returned it.
        peer: PublicKey,
        /// Made by a newer version of this project, so perhaps good.
        newer_version: bool,
    },
    /// A peer returned a backup with the revision of one of ours but other content. Never used.
    Conflict {
        /// Who returned it.
        peer: PublicKey,
        /// The revision that stands twice.
        revision: Revision,
    },
    /// Not everything fits into what a storer keeps. Dropped by priority: closing channels before
    /// open ones, small before large.
    Omitted {
        /// Which snapshot.
        revision: Revision,
        /// Which blob of it.
        tier: Tier,
        /// The channels that are not in that blob.
        channels: Vec<ChannelIds>,
    },
    /// Something besides channels does not fit into the largest blob, and is in no backup: app data or
    /// monitors, as a rule. The channels were more important. Which monitors fit changes with their
    /// payments: each that does not is told once a start. `Status` has their present number.
    PartsOmitted {
        /// Which snapshot.
        revision: Revision,
        /// What is left out.
        parts: Vec<Part>,
    },
    /// A snapshot could not be built; the backup before it stays.
    NotBackedUp {
        /// The newest backup that stands.
        newest: Option<Revision>,
    },
    /// A peer keeps at most so many bytes for us.
    CapacityLearned {
        /// The peer.
        peer: PublicKey,
        /// 1024 or 65531.
        bytes: usize,
    },
    /// A peer said that it does not keep a backup for us.
    Refused {
        /// The peer.
        peer: PublicKey,
    },
    /// A peer speaks of a channel that this device does not know. Nothing was answered, so nothing
    /// closes; the channel may belong to a wallet state that was lost.
    UnknownChannel {
        /// The peer.
        peer: PublicKey,
        /// The channel, as the peer names it.
        channel_id: ChannelId,
    },
    /// A peer's `channel_reestablish` says that our state of the channel is old, and the secret that is
    /// to prove it is wrong. Nothing was answered and nothing is held but that channel, on that
    /// connection.
    FalseNumbers {
        /// The peer.
        peer: PublicKey,
        /// The channel.
        channel_id: ChannelId,
    },
    /// The slot of a peer was given up after its retention.
    SlotExpired {
        /// Whose backup it was.
        peer: PublicKey,
    },
}
