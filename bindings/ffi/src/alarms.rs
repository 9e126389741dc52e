//! Alarms: what only the person can decide.

use ldk_peer_storage::exchange::{self, Alarm, Evidence, Resolution};

use crate::parse::hex_of;
use crate::status::{seconds, Revision};
use crate::wallet::ChannelIds;

/// Something is wrong that the software must not decide by itself.
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
pub struct StorageAlarm {
    /// Its durable name, for `resolve_alarm`.
    pub id: u64,
    /// When it was raised, in seconds since 1970.
    pub raised_at: u64,
    /// What is wrong.
    pub kind: AlarmKind,
    /// Whether channels are held while it stands: the wallet's node must not be started.
    pub holds: bool,
    /// The height at which the first pending HTLC expires, in blocks: the time left to decide. None: none
    /// is pending, as far as is known.
    pub earliest_htlc_expiry: Option<u32>,
    /// The person has decided to recover through the peers: held until then.
    pub recovering: bool,
}

/// What is wrong.
#[derive(Clone, PartialEq, Eq, uniffi::Enum)]
pub enum AlarmKind {
    /// The channel state on this device is older than what is known elsewhere. Using it could cost all funds
    /// of the channel. Tell the person at once; delete nothing on this device.
    StaleState {
        /// The node id of the peer whose message proves it, in hex; none: our own records do.
        peer: Option<String>,
        /// How it is known.
        evidence: AlarmEvidence,
    },
    /// A peer returned a backup older than one that it had returned before, twice. The other peers still hold
    /// the backup; it ends by itself when the peer returns it.
    StorerRolledBack {
        /// The peer's node id, in hex.
        peer: String,
        /// What it returned.
        returned: Revision,
        /// What it had returned before.
        before: Revision,
    },
    /// A peer with a ready channel returned nothing, twice, although it was sent a backup.
    StorerLostBackup {
        /// The peer's node id, in hex.
        peer: String,
    },
}

/// How it is known that the channel state on this device is old.
#[derive(Clone, PartialEq, Eq, uniffi::Enum)]
pub enum AlarmEvidence {
    /// A backup carries a higher state stamp of a channel than the live state.
    StampAhead {
        /// The channel.
        channel: ChannelIds,
        /// The state stamp in the backup.
        backup_stamp: u64,
        /// The state stamp of the live state.
        live_stamp: u64,
    },
    /// A backup names a usable channel that the live state lacks.
    ChannelMissing {
        /// The channel.
        channel: ChannelIds,
    },
    /// The numbers in the peer's `channel_reestablish` say so.
    Numbers {
        /// The id of the channel, in hex.
        channel_id: String,
        /// Whether the message carries a secret that proves it; if not, the peer's word is all there is.
        is_proved: bool,
    },
}

/// What the person decided about an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum AlarmResolution {
    /// Recover the funds through the peers; held until that is done.
    Recover,
    /// Decide later; held.
    StayHeld,
    /// This device has the newest state. Refused where state stamps or the peer's proof say otherwise.
    ThisDeviceIsCurrent,
}

crate::private::says_nothing!(StorageAlarm);
crate::private::says_its_kind!(AlarmKind: StaleState, StorerRolledBack, StorerLostBackup);
crate::private::says_its_kind!(AlarmEvidence: StampAhead, ChannelMissing, Numbers);

impl From<Alarm> for StorageAlarm {
    fn from(alarm: Alarm) -> Self {
        StorageAlarm {
            id: alarm.id.0,
            raised_at: seconds(alarm.raised_at),
            holds: alarm.kind.holds(),
            kind: alarm.kind.into(),
            earliest_htlc_expiry: alarm.earliest_htlc_expiry,
            recovering: alarm.recovering,
        }
    }
}

impl From<exchange::AlarmKind> for AlarmKind {
    fn from(kind: exchange::AlarmKind) -> Self {
        use exchange::AlarmKind as Core;
        match kind {
            Core::StaleState { peer, evidence } => AlarmKind::StaleState {
                peer: peer.map(|peer| peer.to_string()),
                evidence: evidence.into(),
            },
            Core::StorerRolledBack {
                peer,
                returned,
                before,
            } => AlarmKind::StorerRolledBack {
                peer: peer.to_string(),
                returned: returned.into(),
                before: before.into(),
            },
            Core::StorerLostBackup { peer } => AlarmKind::StorerLostBackup {
                peer: peer.to_string(),
            },
        }
    }
}

impl From<Evidence> for AlarmEvidence {
    fn from(evidence: Evidence) -> Self {
        match evidence {
            Evidence::StampAhead {
                channel,
                backup,
                live,
            } => AlarmEvidence::StampAhead {
                channel: channel.into(),
                backup_stamp: backup,
                live_stamp: live,
            },
            Evidence::ChannelMissing { channel } => AlarmEvidence::ChannelMissing {
                channel: channel.into(),
            },
            Evidence::Numbers { channel_id, proved } => AlarmEvidence::Numbers {
                channel_id: hex_of(&channel_id.0),
                is_proved: proved.is_some(),
            },
        }
    }
}

impl From<AlarmResolution> for Resolution {
    fn from(resolution: AlarmResolution) -> Self {
        match resolution {
            AlarmResolution::Recover => Resolution::Recover,
            AlarmResolution::StayHeld => Resolution::StayHeld,
            AlarmResolution::ThisDeviceIsCurrent => Resolution::ThisDeviceIsCurrent,
        }
    }
}
