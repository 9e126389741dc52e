//! What the app is told.

use ldk_peer_storage::backup::{Part, Tier};
use ldk_peer_storage::exchange::Event;

use crate::alarms::StorageAlarm;
use crate::parse::{count, hex_of};
use crate::status::Revision;
use crate::wallet::ChannelIds;

/// An event, and its durable name.
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
pub struct EventRecord {
    /// For `event_handled`. Unique within a data directory, rising.
    pub id: u64,
    /// What has happened.
    pub event: StorageEvent,
}

/// Something that the app may want to act on, or show. Durable: told again, also after a restart, until the app
/// has called `event_handled`.
#[derive(Clone, PartialEq, Eq, uniffi::Enum)]
#[non_exhaustive]
pub enum StorageEvent {
    /// An alarm was raised. It stands until it is resolved. Of stale state: tell the person at once.
    AlarmRaised {
        /// The alarm, as it was raised.
        alarm: StorageAlarm,
    },
    /// An alarm is over: resolved by the app, or disproved by the peer.
    AlarmOver {
        /// Its name.
        alarm_id: u64,
    },
    /// A peer returned a newer backup by another installation, whose state is not ahead of ours: a second
    /// device, or a data directory that was lost. Nothing is held. Ask whether a second device uses this
    /// seed.
    OtherInstallation {
        /// The node id of the peer, in hex.
        peer: String,
        /// Which data directory made it: 8 bytes in hex.
        installation: String,
        /// Its place in the order of backups.
        revision: Revision,
    },
    /// A returned backup knew channels that this device did not. They are in our backup now, marked as
    /// restored. Offer a restore.
    ChannelsMerged {
        /// The node id of the peer, in hex.
        peer: String,
        /// The channels.
        channels: Vec<ChannelIds>,
    },
    /// What a peer returned does not open: damaged, or not for this wallet. It is never used.
    Unreadable {
        /// The node id of the peer, in hex.
        peer: String,
        /// Made by a newer version, so perhaps good: ask the person to update the app.
        newer_version: bool,
    },
    /// A peer returned a backup with the revision of one of ours but other content. It is never used. Ask
    /// whether a second device uses this seed.
    Conflict {
        /// The node id of the peer, in hex.
        peer: String,
        /// The revision that stands twice.
        revision: Revision,
    },
    /// Not all channels fit into what a small storer keeps.
    Omitted {
        /// Which backup.
        revision: Revision,
        /// Whether they are missing in the largest form of it too.
        in_largest: bool,
        /// The channels that are left out.
        channels: Vec<ChannelIds>,
    },
    /// Something besides channels does not fit into the largest backup, and is in none.
    PartsOmitted {
        /// Which backup.
        revision: Revision,
        /// What is left out.
        parts: Vec<OmittedPart>,
    },
    /// A backup could not be made; the one before it stays.
    NotBackedUp {
        /// The newest backup that stands; none: there is none.
        newest: Option<Revision>,
    },
    /// A peer keeps at most so many bytes for us.
    CapacityLearned {
        /// The node id of the peer, in hex.
        peer: String,
        /// 1024 or 65531.
        bytes: u32,
    },
    /// A peer said that it does not keep a backup for us.
    Refused {
        /// The node id of the peer, in hex.
        peer: String,
    },
    /// A peer speaks of a channel that this device does not know. Nothing was answered, so nothing closes; the
    /// channel may belong to a wallet state that was lost. Offer a restore.
    UnknownChannel {
        /// The node id of the peer, in hex.
        peer: String,
        /// The id of the channel, in hex, as the peer names it.
        channel_id: String,
    },
    /// A peer claims that our state of a channel is old, and its proof is wrong. Only that channel does not
    /// work, until the peer tells the truth.
    FalseNumbers {
        /// The node id of the peer, in hex.
        peer: String,
        /// The id of the channel, in hex.
        channel_id: String,
    },
    /// The backup that was kept for a peer was given up: its time was over.
    SlotExpired {
        /// The node id of the peer, in hex.
        peer: String,
    },
}

/// What does not fit into a backup.
#[derive(Clone, PartialEq, Eq, uniffi::Enum)]
pub enum OmittedPart {
    /// A peer with none of the channels in the backup.
    Peer {
        /// Its node id, in hex.
        node_id: String,
    },
    /// All outputs that are ours and not yet swept.
    SpendableOutputs,
    /// Ids, values and the order of channels; what is needed to sweep them is there.
    ChannelDetails,
    /// All but the first address of each peer.
    FurtherAddresses,
    /// The app's own data.
    AppData,
    /// The monitor of this channel.
    Monitor {
        /// The id of the channel, in hex.
        channel_id: String,
    },
}

crate::private::says_nothing!(EventRecord);
crate::private::says_its_kind!(StorageEvent: AlarmRaised, AlarmOver, OtherInstallation, ChannelsMerged, Unreadable, Conflict, Omitted, PartsOmitted, NotBackedUp, CapacityLearned, Refused, UnknownChannel, FalseNumbers, SlotExpired);
crate::private::says_its_kind!(OmittedPart: Peer, SpendableOutputs, ChannelDetails, FurtherAddresses, AppData, Monitor);

impl From<Event> for StorageEvent {
    fn from(event: Event) -> Self {
        use StorageEvent as E;
        match event {
            Event::AlarmRaised(alarm) => E::AlarmRaised {
                alarm: alarm.into(),
            },
            Event::AlarmOver(id) => E::AlarmOver { alarm_id: id.0 },
            Event::OtherInstallation {
                peer,
                installation,
                revision,
            } => E::OtherInstallation {
                peer: peer.to_string(),
                installation: hex_of(&installation.0),
                revision: revision.into(),
            },
            Event::ChannelsMerged { peer, channels } => E::ChannelsMerged {
                peer: peer.to_string(),
                channels: channels.into_iter().map(ChannelIds::from).collect(),
            },
            Event::Unreadable {
                peer,
                newer_version,
            } => E::Unreadable {
                peer: peer.to_string(),
                newer_version,
            },
            Event::Conflict { peer, revision } => E::Conflict {
                peer: peer.to_string(),
                revision: revision.into(),
            },
            Event::Omitted {
                revision,
                tier,
                channels,
            } => E::Omitted {
                revision: revision.into(),
                in_largest: tier == Tier::Full,
                channels: channels.into_iter().map(ChannelIds::from).collect(),
            },
            Event::PartsOmitted { revision, parts } => E::PartsOmitted {
                revision: revision.into(),
                parts: parts.into_iter().map(OmittedPart::from).collect(),
            },
            Event::NotBackedUp { newest } => E::NotBackedUp {
                newest: newest.map(Revision::from),
            },
            Event::CapacityLearned { peer, bytes } => E::CapacityLearned {
                peer: peer.to_string(),
                bytes: count(bytes),
            },
            Event::Refused { peer } => E::Refused {
                peer: peer.to_string(),
            },
            Event::UnknownChannel { peer, channel_id } => E::UnknownChannel {
                peer: peer.to_string(),
                channel_id: hex_of(&channel_id.0),
            },
            Event::FalseNumbers { peer, channel_id } => E::FalseNumbers {
                peer: peer.to_string(),
                channel_id: hex_of(&channel_id.0),
            },
            Event::SlotExpired { peer } => E::SlotExpired {
                peer: peer.to_string(),
            },
        }
    }
}

impl From<Part> for OmittedPart {
    fn from(part: Part) -> Self {
        match part {
            Part::Peer(node_id) => OmittedPart::Peer {
                node_id: node_id.to_string(),
            },
            Part::SpendableOutputs => OmittedPart::SpendableOutputs,
            Part::ChannelDetails => OmittedPart::ChannelDetails,
            Part::FurtherAddresses => OmittedPart::FurtherAddresses,
            Part::AppData => OmittedPart::AppData,
            Part::Monitor(id) => OmittedPart::Monitor {
                channel_id: hex_of(&id.0),
            },
        }
    }
}
