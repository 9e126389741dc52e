//! How values stand in a column: TLV streams by LDK's macros, so that later versions read earlier
//! ones; an earlier version refuses the schema of a later one before it reads any.

// LDK's macros drop things that need no dropping.
#![allow(clippy::drop_non_drop)]

use bitcoin::secp256k1::PublicKey;
use lightning::io::{self, Read};
use lightning::ln::msgs::DecodeError;
use lightning::ln::types::ChannelId;
use lightning::util::ser::{Readable, RequiredWrapper, Writeable, Writer};
use lightning::{
    impl_writeable_tlv_based, impl_writeable_tlv_based_enum, read_tlv_fields, write_tlv_fields,
};

use super::error::StoreError;
use crate::backup::{ChannelIds, ContentHash, InstallationId, Part, Revision, Tier};
use crate::exchange::Event;
use crate::exchange::Time;
use crate::exchange::{Alarm, AlarmId, AlarmKind, Evidence};
use crate::exchange::{Capacity, Sent, StorerState};

/// The whole of `bytes` as a value.
pub(super) fn decode<T: Readable>(mut bytes: &[u8], what: &str) -> Result<T, StoreError> {
    match T::read(&mut bytes) {
        Ok(value) if bytes.is_empty() => Ok(value),
        _ => Err(StoreError::Corrupt(format!("{what} does not read"))),
    }
}

pub(super) fn public_key(bytes: &[u8]) -> Result<PublicKey, StoreError> {
    PublicKey::from_slice(bytes).map_err(|_| StoreError::corrupt("a node id is no public key"))
}

/// Sorts as revisions do.
pub(super) fn revision_bytes(revision: Revision) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&revision.epoch.to_be_bytes());
    bytes[4..].copy_from_slice(&revision.generation.to_be_bytes());
    bytes
}

pub(super) fn revision(bytes: [u8; 12]) -> Revision {
    let [a, b, c, d, generation @ ..] = bytes;
    Revision {
        epoch: u32::from_be_bytes([a, b, c, d]),
        generation: u64::from_be_bytes(generation),
    }
}

impl_writeable_tlv_based!(Revision, { (0, epoch, required), (2, generation, required) });

impl_writeable_tlv_based!(ChannelIds, {
    (1, short_channel_id, option),
    (3, funding_outpoint, option),
    (5, channel_id, option),
});

// By hand: without the last field these are the values of schema 1.
impl Writeable for StorerState {
    fn write<W: Writer>(&self, w: &mut W) -> Result<(), io::Error> {
        let contradicted = self.contradicted.then_some(true);
        write_tlv_fields!(w, {
            (1, self.sent, option),
            (3, self.settled, option),
            (5, self.verified, option),
            (6, self.stale_returns, required),
            (8, self.missing_returns, required),
            (10, self.capacity, required),
            (12, self.features, required),
            (13, self.refused_at, option),
            (15, contradicted, option),
        });
        Ok(())
    }
}

impl Readable for StorerState {
    fn read<R: Read>(r: &mut R) -> Result<Self, DecodeError> {
        let (mut sent, mut settled, mut verified) = (None, None, None);
        let (mut refused_at, mut contradicted) = (None, None);
        let mut stale_returns = RequiredWrapper(None);
        let mut missing_returns = RequiredWrapper(None);
        let mut capacity = RequiredWrapper(None);
        let mut features = RequiredWrapper(None);
        read_tlv_fields!(r, {
            (1, sent, option),
            (3, settled, option),
            (5, verified, option),
            (6, stale_returns, required),
            (8, missing_returns, required),
            (10, capacity, required),
            (12, features, required),
            (13, refused_at, option),
            (15, contradicted, option),
        });
        Ok(StorerState {
            sent,
            settled,
            verified,
            stale_returns: value(stale_returns)?,
            missing_returns: value(missing_returns)?,
            contradicted: contradicted.unwrap_or(false),
            capacity: value(capacity)?,
            features: value(features)?,
            refused_at,
        })
    }
}

impl_writeable_tlv_based!(Sent, {
    (0, revision, required),
    (2, tier, required),
    (4, content, required),
    (6, at, required),
});

impl_writeable_tlv_based_enum!(Capacity,
    (0, Unknown) => {},
    (2, Probing) => { (0, large_sent_at, required), (2, small_returns, required) },
    (4, Small) => { (0, learned_at, required) },
    (6, Large) => {},
);

impl_writeable_tlv_based_enum!(Part,
    (0, SpendableOutputs) => {},
    (2, ChannelDetails) => {},
    (4, FurtherAddresses) => {},
    (6, AppData) => {},
    {8, Peer} => (),
    {10, Monitor} => (),
);

impl_writeable_tlv_based_enum!(Tier, (0, Essential) => {}, (2, Full) => {});

impl_writeable_tlv_based!(Alarm, {
    (0, id, required),
    (2, raised_at, required),
    (4, kind, required),
    (5, earliest_htlc_expiry, option),
    (6, recovering, required),
});

impl_writeable_tlv_based_enum!(AlarmKind,
    (0, StaleState) => { (1, peer, option), (2, evidence, required) },
    (2, StorerRolledBack) => { (0, peer, required), (2, returned, required), (4, before, required) },
    (4, StorerLostBackup) => { (0, peer, required) },
);

impl_writeable_tlv_based_enum!(Evidence,
    (0, StampAhead) => { (0, channel, required), (2, backup, required), (4, live, required) },
    (2, ChannelMissing) => { (0, channel, required) },
    (4, Numbers) => { (0, channel_id, required), (1, proved, option) },
);

/// Values that stand as they are, without a length.
macro_rules! plain {
    ($($outer: ident),*) => { $(
        impl Writeable for $outer {
            fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
                self.0.write(writer)
            }
        }

        impl Readable for $outer {
            fn read<R: Read>(reader: &mut R) -> Result<Self, DecodeError> {
                Ok($outer(Readable::read(reader)?))
            }
        }
    )* };
}

plain!(Time, AlarmId, ContentHash);

impl Writeable for InstallationId {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        writer.write_all(&self.0)
    }
}

impl Readable for InstallationId {
    fn read<R: Read>(reader: &mut R) -> Result<Self, DecodeError> {
        let mut bytes = [0; 8];
        reader.read_exact(&mut bytes)?;
        Ok(InstallationId(bytes))
    }
}

// By hand, as LDK does for its own events: a kind of one byte, then the fields.
impl Writeable for Event {
    fn write<W: Writer>(&self, w: &mut W) -> Result<(), io::Error> {
        match self {
            Event::AlarmRaised(alarm) => {
                0u8.write(w)?;
                write_tlv_fields!(w, { (0, alarm, required) });
            }
            Event::AlarmOver(id) => {
                2u8.write(w)?;
                write_tlv_fields!(w, { (0, id, required) });
            }
            Event::OtherInstallation {
                peer,
                installation,
                revision,
            } => {
                4u8.write(w)?;
                write_tlv_fields!(w, {
                    (0, peer, required),
                    (2, installation, required),
                    (4, revision, required),
                });
            }
            Event::ChannelsMerged { peer, channels } => {
                6u8.write(w)?;
                write_tlv_fields!(w, { (0, peer, required), (2, *channels, required_vec) });
            }
            Event::Unreadable {
                peer,
                newer_version,
            } => {
                8u8.write(w)?;
                write_tlv_fields!(w, { (0, peer, required), (2, newer_version, required) });
            }
            Event::Conflict { peer, revision } => {
                10u8.write(w)?;
                write_tlv_fields!(w, { (0, peer, required), (2, revision, required) });
            }
            Event::Omitted {
                revision,
                tier,
                channels,
            } => {
                12u8.write(w)?;
                write_tlv_fields!(w, {
                    (0, revision, required),
                    (2, tier, required),
                    (4, *channels, required_vec),
                });
            }
            Event::PartsOmitted { revision, parts } => {
                24u8.write(w)?;
                write_tlv_fields!(w, { (0, revision, required), (2, *parts, required_vec) });
            }
            Event::NotBackedUp { newest } => {
                14u8.write(w)?;
                write_tlv_fields!(w, { (1, newest, option) });
            }
            Event::CapacityLearned { peer, bytes } => {
                16u8.write(w)?;
                let bytes = *bytes as u64;
                write_tlv_fields!(w, { (0, peer, required), (2, bytes, required) });
            }
            Event::Refused { peer } => {
                18u8.write(w)?;
                write_tlv_fields!(w, { (0, peer, required) });
            }
            Event::UnknownChannel { peer, channel_id } => {
                22u8.write(w)?;
                write_tlv_fields!(w, { (0, peer, required), (2, channel_id, required) });
            }
            Event::FalseNumbers { peer, channel_id } => {
                26u8.write(w)?;
                write_tlv_fields!(w, { (0, peer, required), (2, channel_id, required) });
            }
            Event::SlotExpired { peer } => {
                20u8.write(w)?;
                write_tlv_fields!(w, { (0, peer, required) });
            }
        }
        Ok(())
    }
}

impl Readable for Event {
    fn read<R: Read>(r: &mut R) -> Result<Self, DecodeError> {
        match u8::read(r)? {
            0 => read_alarm_raised(r),
            2 => read_alarm_over(r),
            4 => read_other_installation(r),
            6 => read_channels_merged(r),
            8 => read_unreadable(r),
            10 => read_conflict(r),
            12 => read_omitted(r),
            14 => read_not_backed_up(r),
            16 => read_capacity_learned(r),
            18 => Ok(Event::Refused {
                peer: read_peer(r)?,
            }),
            20 => Ok(Event::SlotExpired {
                peer: read_peer(r)?,
            }),
            22 => {
                let (peer, channel_id) = read_peer_and_channel(r)?;
                Ok(Event::UnknownChannel { peer, channel_id })
            }
            24 => read_parts_omitted(r),
            26 => {
                let (peer, channel_id) = read_peer_and_channel(r)?;
                Ok(Event::FalseNumbers { peer, channel_id })
            }
            _ => Err(DecodeError::UnknownRequiredFeature),
        }
    }
}

// One function a kind: the macros open a labelled loop, and one function can have just one.

fn read_alarm_raised<R: Read>(r: &mut R) -> Result<Event, DecodeError> {
    let mut alarm = RequiredWrapper(None);
    read_tlv_fields!(r, { (0, alarm, required) });
    Ok(Event::AlarmRaised(value(alarm)?))
}

fn read_alarm_over<R: Read>(r: &mut R) -> Result<Event, DecodeError> {
    let mut id = RequiredWrapper(None);
    read_tlv_fields!(r, { (0, id, required) });
    Ok(Event::AlarmOver(value(id)?))
}

fn read_other_installation<R: Read>(r: &mut R) -> Result<Event, DecodeError> {
    let mut peer = RequiredWrapper(None);
    let mut installation = RequiredWrapper(None);
    let mut revision = RequiredWrapper(None);
    read_tlv_fields!(r, {
        (0, peer, required),
        (2, installation, required),
        (4, revision, required),
    });
    Ok(Event::OtherInstallation {
        peer: value(peer)?,
        installation: value(installation)?,
        revision: value(revision)?,
    })
}

fn read_channels_merged<R: Read>(r: &mut R) -> Result<Event, DecodeError> {
    let mut peer = RequiredWrapper(None);
    let mut channels = Vec::new();
    read_tlv_fields!(r, { (0, peer, required), (2, channels, required_vec) });
    Ok(Event::ChannelsMerged {
        peer: value(peer)?,
        channels,
    })
}

fn read_unreadable<R: Read>(r: &mut R) -> Result<Event, DecodeError> {
    let mut peer = RequiredWrapper(None);
    let mut newer_version = RequiredWrapper(None);
    read_tlv_fields!(r, { (0, peer, required), (2, newer_version, required) });
    Ok(Event::Unreadable {
        peer: value(peer)?,
        newer_version: value(newer_version)?,
    })
}

fn read_conflict<R: Read>(r: &mut R) -> Result<Event, DecodeError> {
    let mut peer = RequiredWrapper(None);
    let mut revision = RequiredWrapper(None);
    read_tlv_fields!(r, { (0, peer, required), (2, revision, required) });
    Ok(Event::Conflict {
        peer: value(peer)?,
        revision: value(revision)?,
    })
}

fn read_omitted<R: Read>(r: &mut R) -> Result<Event, DecodeError> {
    let mut revision = RequiredWrapper(None);
    let mut tier = RequiredWrapper(None);
    let mut channels = Vec::new();
    read_tlv_fields!(r, {
        (0, revision, required),
        (2, tier, required),
        (4, channels, required_vec),
    });
    Ok(Event::Omitted {
        revision: value(revision)?,
        tier: value(tier)?,
        channels,
    })
}

fn read_parts_omitted<R: Read>(r: &mut R) -> Result<Event, DecodeError> {
    let mut revision = RequiredWrapper(None);
    let mut parts = Vec::new();
    read_tlv_fields!(r, { (0, revision, required), (2, parts, required_vec) });
    Ok(Event::PartsOmitted {
        revision: value(revision)?,
        parts,
    })
}

fn read_not_backed_up<R: Read>(r: &mut R) -> Result<Event, DecodeError> {
    let mut newest = None;
    read_tlv_fields!(r, { (1, newest, option) });
    Ok(Event::NotBackedUp { newest })
}

fn read_capacity_learned<R: Read>(r: &mut R) -> Result<Event, DecodeError> {
    let mut peer = RequiredWrapper(None);
    let mut bytes = RequiredWrapper::<u64>(None);
    read_tlv_fields!(r, { (0, peer, required), (2, bytes, required) });
    let bytes = usize::try_from(value(bytes)?).map_err(|_| DecodeError::InvalidValue)?;
    Ok(Event::CapacityLearned {
        peer: value(peer)?,
        bytes,
    })
}

fn read_peer_and_channel<R: Read>(r: &mut R) -> Result<(PublicKey, ChannelId), DecodeError> {
    let mut peer = RequiredWrapper(None);
    let mut channel_id = RequiredWrapper(None);
    read_tlv_fields!(r, { (0, peer, required), (2, channel_id, required) });
    Ok((value(peer)?, value(channel_id)?))
}

fn read_peer<R: Read>(r: &mut R) -> Result<PublicKey, DecodeError> {
    let mut peer = RequiredWrapper(None);
    read_tlv_fields!(r, { (0, peer, required) });
    value(peer)
}

/// A required field; the macros have already refused a stream without it.
fn value<T>(field: RequiredWrapper<T>) -> Result<T, DecodeError> {
    field.0.ok_or(DecodeError::InvalidValue)
}
