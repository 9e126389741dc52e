//! Alarms: what the app must tell the person, and what only the person can decide.

use bitcoin::secp256k1::PublicKey;
use lightning::ln::types::ChannelId;

use super::time::Time;
use crate::backup::{ChannelIds, Revision};

/// The durable name of an alarm. Unique within a data directory, rising.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlarmId(pub u64);

/// Something is wrong that the software must not decide by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Its durable name.
    pub id: AlarmId,
    /// When it was raised.
    pub raised_at: Time,
    /// What is wrong.
    pub kind: AlarmKind,
    /// The height at which the first pending HTLC expires, in blocks: the time left to decide.
    pub earliest_htlc_expiry: Option<u32>,
    /// The person decided to recover through the peers: held until then.
    pub recovering: bool,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlarmKind {
    /// The channel state on this device is older than what is known elsewhere. Using it could cost
    /// all funds of the channel: everything is held (safety rule 6).
    StaleState {
        /// The peer whose message proves it; none: our own records do.
        peer: Option<PublicKey>,
        /// How it is known.
        evidence: Evidence,
    },
    /// A peer returned a backup older than one it had returned before, twice.
    StorerRolledBack {
        /// The peer.
        peer: PublicKey,
        /// What it returned.
        returned: Revision,
        /// What it had returned before.
        before: Revision,
    },
    /// A peer with a ready channel returned nothing, twice, although it was sent a backup.
    StorerLostBackup {
        /// The peer.
        peer: PublicKey,
    },
}

impl AlarmKind {
    /// Whether channels are held while this alarm stands.
    pub fn holds(&self) -> bool {
        matches!(self, AlarmKind::StaleState { .. })
    }
}

/// How it is known that the channel state on this device is stale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A backup carries a higher state stamp of a channel than the live state.
    StampAhead {
        /// The channel.
        channel: ChannelIds,
        /// `ChannelMonitor::get_latest_update_id()` in the backup. What LDK does with the channel by
        /// itself while it is held moves both numbers, and not the distance.
        backup: u64,
        /// The same of the live state.
        live: u64,
    },
    /// A backup names a usable channel that the live state lacks.
    ChannelMissing {
        /// The channel.
        channel: ChannelIds,
    },
    /// The numbers in the peer's `channel_reestablish` say so.
    Numbers {
        /// The channel.
        channel_id: ChannelId,
        /// The peer's `next_revocation_number`, where the message carries the secret that proves it;
        /// none: its word is all there is.
        proved: Option<u64>,
    },
}

/// What the person decided about an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Recover the funds through the peers; held until that is done.
    Recover,
    /// Decide later; held.
    StayHeld,
    /// This device has the newest state. Refused where state stamps or the peer's proof say otherwise.
    /// A proof is answered by the right database, and the peer has to be connected to see that.
    ThisDeviceIsCurrent,
}

/// Why an alarm was not resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// There is no such alarm, or it is over.
    #[error("there is no such alarm")]
    Unknown,
    /// A backup, or a secret in the peer's `channel_reestablish`, proves that this device's state is
    /// older: going on would risk the channel's funds.
    #[error("it is proved that the channel state on this device is older")]
    ProvedStale,
}
