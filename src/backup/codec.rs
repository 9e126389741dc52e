//! From a snapshot to the plaintext of a blob, and back.
//!
//! A TLV stream as in BOLT #1, written and read by LDK's own macros:
//!
//! | type | record | module | |
//! |---|---|---|---|
//! | 0 | revision, installation, tier, content hash | `header` | always |
//! | 2 | peers with an address each, and their channels | `essential` | always |
//! | 3 | spendable outputs | `full` | full tier, where there are any |
//! | 5 | all ids, values and the order of channels | `full` | full tier, where there are any |
//! | 7 | further addresses of peers | `full` | full tier, where there are any |
//! | 9 | app data | here | full tier, where there is any |
//! | 11 | monitors of channels | `full` | full tier, as many as there is room for |
//!
//! An unknown even type makes a reader refuse the backup as made by a newer version; an unknown odd
//! type is passed over.

use std::fmt;

use bitcoin::secp256k1::PublicKey;
use lightning::io;
use lightning::ln::msgs::DecodeError;
use lightning::ln::types::ChannelId;
use lightning::util::ser::{BigSize, LengthLimitedRead, LengthReadable, Writeable, Writer};
use lightning::{decode_tlv_stream, encode_tlv_stream};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::header::Header;
use super::seal::OVERHEAD;
use super::snapshot::{ChannelIds, ContentHash, Snapshot, Tier};
use super::tier::{fit, fit_monitors};
use super::{essential, full};

/// A snapshot, or what fits of it, ready to be sealed.
pub struct Encoded {
    /// What [`BackupKey::seal`](super::BackupKey::seal) takes; with the capacity it was made for,
    /// it fits.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// The tier that was asked for.
    pub tier: Tier,
    /// Identifies what the snapshot says, whatever was left out here.
    pub content: ContentHash,
    /// The channels that did not fit, the most important first. Losing the phone now would lose
    /// them, as far as this blob goes: never to be passed over in silence.
    pub omitted: Vec<ChannelIds>,
    /// What else of the tier did not fit, the most important first.
    pub dropped: Vec<Part>,
}

/// A part of a snapshot that a blob may lack for want of room, besides channels.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// A peer with none of the channels in the blob.
    Peer(PublicKey),
    /// All outputs that are ours and not yet swept.
    SpendableOutputs,
    /// The ids that the essential tier leaves out, the values and the order of channels.
    ChannelDetails,
    /// All but the first address of each peer.
    FurtherAddresses,
    /// What the wallet app wants to find again.
    AppData,
    /// The monitor of this channel.
    Monitor(ChannelId),
}

/// Why a snapshot was not encoded. The blob that a storer has is the better one and stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// There are channels, and not one of them fits.
    #[error("none of the {channels} channels fits into a backup of {capacity} bytes")]
    NoChannelFits {
        /// How many channels the snapshot has.
        channels: usize,
        /// The size of the sealed blob, in bytes.
        capacity: usize,
    },
    /// Not even an empty snapshot fits.
    #[error("{capacity} bytes are too few for any backup")]
    CapacityTooSmall {
        /// The size of the sealed blob, in bytes.
        capacity: usize,
    },
}

/// What a blob said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The snapshot, as far as the blob carries it.
    pub snapshot: Snapshot,
    /// How much of the snapshot the blob carries.
    pub tier: Tier,
    /// The [`Snapshot::content_hash`] of the complete snapshot that the blob was made from. It is
    /// that of `snapshot` only for a full blob with nothing left out.
    pub content: ContentHash,
    /// Channels are missing that did not fit.
    pub trimmed: bool,
    /// Something else of the tier is missing that did not fit; see [`Part`].
    pub partial: bool,
}

/// Why a plaintext was not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// It has something that must be understood and is not known here, as a newer version of this
    /// software (or of LDK, for spendable outputs) would write it.
    #[error("made by a newer version of this software")]
    NewerFormat,
    /// It breaks the format.
    #[error("malformed")]
    Malformed,
}

/// Encodes what fits of a snapshot into a blob of `capacity` bytes, sealed and padded
/// (`usize::MAX`: no limit, for the node's own store).
///
/// What goes first where not all fits: channels, open before closing, then large before small
/// (those of unknown value count as large), each with its peer; peers without channels; then, in
/// the full tier, spendable outputs, complete ids and values, further addresses, app data, and in the
/// room that is left monitors: those with HTLCs pending, then those of large channels. What is left
/// out is named in [`Encoded::omitted`] and [`Encoded::dropped`].
///
/// # Errors
/// [`EncodeError`] where no channel of one or more fits, or nothing at all.
pub fn encode(snapshot: &Snapshot, tier: Tier, capacity: usize) -> Result<Encoded, EncodeError> {
    encode_with_hash(snapshot, tier, capacity, snapshot.content_hash())
}

/// Whether the full tier of a snapshot fits into a blob of `capacity` bytes with nothing left out.
pub fn fits(snapshot: &Snapshot, capacity: usize) -> bool {
    encode(snapshot, Tier::Full, capacity)
        .is_ok_and(|encoded| encoded.omitted.is_empty() && encoded.dropped.is_empty())
}

impl Snapshot {
    /// Identifies what this snapshot says, its revision and installation included: over the
    /// complete encoding of the full tier in which the hash itself is zero.
    ///
    /// Not stable across versions of this software; a blob tells the hash of its snapshot.
    pub fn content_hash(&self) -> ContentHash {
        let mut hash = [0; 16];
        // Without a limit nothing is left out and nothing fails.
        if let Ok(all) = encode_with_hash(self, Tier::Full, usize::MAX, ContentHash(hash)) {
            hash.copy_from_slice(&Sha256::digest(all.plaintext.as_slice())[..16]);
        }
        ContentHash(hash)
    }
}

/// [`encode`], where the snapshot's hash is known: making it encodes everything once.
pub(crate) fn encode_with_hash(
    snapshot: &Snapshot,
    tier: Tier,
    capacity: usize,
    content: ContentHash,
) -> Result<Encoded, EncodeError> {
    let mut header = Header {
        revision: snapshot.revision,
        installation: snapshot.installation,
        tier,
        trimmed: false,
        partial: false,
        content,
    };
    let too_small = EncodeError::CapacityTooSmall { capacity };
    let mut room = Room(capacity.checked_sub(OVERHEAD).ok_or(too_small)?);
    if !room.take(header.size()) || room.for_record() < essential::EMPTY_SIZE {
        return Err(too_small);
    }

    let fitting = fit(snapshot, room.for_record());
    let channels = snapshot.channels.len();
    if channels > 0 && fitting.omitted_channels.len() == channels {
        return Err(EncodeError::NoChannelFits { channels, capacity });
    }
    let essentials = essential::write(&fitting.groups, &snapshot.channels);
    room.take(essentials.len());

    let mut dropped: Vec<Part> = fitting.omitted_peers.into_iter().map(Part::Peer).collect();
    let mut take = |part, record: Option<Vec<u8>>| {
        let record = record.filter(|_| tier == Tier::Full)?;
        if room.take(record.len()) {
            return Some(record);
        }
        dropped.push(part);
        None
    };
    let outputs = full::write_outputs(&snapshot.spendable_outputs);
    let outputs = take(Part::SpendableOutputs, outputs);
    let details = full::write_details(&fitting.groups, &snapshot.channels);
    let details = take(Part::ChannelDetails, details);
    let addresses = full::write_addresses(&fitting.groups);
    let addresses = take(Part::FurtherAddresses, addresses);
    let app_data = Some(&snapshot.app_data).filter(|data| !data.is_empty());
    let app_data = take(Part::AppData, app_data.cloned());
    let mut monitors = None;
    if tier == Tier::Full {
        // A small record may name a channel by less than a monitor does: never without the details.
        let room_for_monitors = match dropped.contains(&Part::ChannelDetails) {
            true => 0,
            false => room.for_record(),
        };
        let fitting = fit_monitors(snapshot, &fitting.omitted_channels, room_for_monitors);
        monitors = full::write_monitors(&fitting.kept);
        room.take(monitors.as_ref().map_or(0, Vec::len));
        dropped.extend(fitting.dropped.into_iter().map(Part::Monitor));
    }

    header.trimmed = !fitting.omitted_channels.is_empty();
    header.partial = !dropped.is_empty();
    let records = Records {
        header: Some(header.write().into()),
        essentials: Some(essentials.into()),
        outputs: outputs.map(Record::from),
        details: details.map(Record::from),
        addresses: addresses.map(Record::from),
        app_data: app_data.map(Record::from),
        monitors: monitors.map(Record::from),
    };
    Ok(Encoded {
        plaintext: Zeroizing::new(records.encode()),
        tier,
        content,
        omitted: fitting.omitted_channels,
        dropped,
    })
}

/// Decodes the plaintext of a blob. Takes any bytes, and allocates in proportion to them.
///
/// # Errors
/// [`FormatError`] where it is not what [`encode`] makes.
pub fn decode(plaintext: &[u8]) -> Result<Contents, FormatError> {
    read_contents(plaintext).map_err(|error| match error {
        DecodeError::UnknownRequiredFeature | DecodeError::UnknownVersion => {
            FormatError::NewerFormat
        }
        _ => FormatError::Malformed,
    })
}

fn read_contents(plaintext: &[u8]) -> Result<Contents, DecodeError> {
    let records = Records::read(plaintext)?;
    let header = Header::read(&required(records.header)?)?;
    let (mut peers, mut channels) = essential::read(&required(records.essentials)?)?;
    let spendable_outputs = match records.outputs {
        Some(outputs) => full::read_outputs(&outputs.0)?,
        None => Vec::new(),
    };
    if let Some(details) = records.details {
        channels = full::read_details(&details.0, channels)?;
    }
    if let Some(addresses) = records.addresses {
        full::read_addresses(&addresses.0, &mut peers)?;
    }
    let monitors = match records.monitors {
        Some(monitors) => full::read_monitors(&monitors.0)?,
        None => Vec::new(),
    };
    let app_data = records.app_data.map(|data| data.0.to_vec());
    let snapshot = Snapshot {
        revision: header.revision,
        installation: header.installation,
        peers,
        channels,
        spendable_outputs,
        app_data: app_data.unwrap_or_default(),
        monitors,
    };
    Ok(Contents {
        snapshot,
        tier: header.tier,
        content: header.content,
        trimmed: header.trimmed,
        partial: header.partial,
    })
}

fn required(record: Option<Record>) -> Result<Zeroizing<Vec<u8>>, DecodeError> {
    record.map(|r| r.0).ok_or(DecodeError::InvalidValue)
}

/// The bytes that are left for records.
struct Room(usize);

impl Room {
    /// Takes the room for a record of that many bytes and for its type and length; false where
    /// there is too little.
    fn take(&mut self, length: usize) -> bool {
        let with_prefix = 1 + BigSize(length as u64).serialized_length() + length;
        match self.0.checked_sub(with_prefix) {
            Some(left) => {
                self.0 = left;
                true
            }
            None => false,
        }
    }

    /// The length of the longest record that can be taken.
    fn for_record(&self) -> usize {
        // A length of up to 252 bytes takes one byte, of up to 65535 three, and so on (BigSize).
        let prefixes = [(2, 0xfc), (4, 0xffff), (6, 0xffff_ffff), (10, u64::MAX)];
        let longest = prefixes.map(|(prefix, most)| {
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            self.0.saturating_sub(prefix).min(most)
        });
        longest.into_iter().max().unwrap_or(0)
    }
}

/// The TLV stream; the table above says what is in it.
#[derive(Default)]
struct Records {
    header: Option<Record>,
    essentials: Option<Record>,
    outputs: Option<Record>,
    details: Option<Record>,
    addresses: Option<Record>,
    app_data: Option<Record>,
    monitors: Option<Record>,
}

impl Writeable for Records {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        encode_tlv_stream!(writer, {
            (0, self.header, option),
            (2, self.essentials, option),
            (3, self.outputs, option),
            (5, self.details, option),
            (7, self.addresses, option),
            (9, self.app_data, option),
            (11, self.monitors, option),
        });
        Ok(())
    }
}

impl Records {
    #[allow(clippy::drop_non_drop)] // in LDK's macro
    fn read(mut plaintext: &[u8]) -> Result<Self, DecodeError> {
        let mut header = None;
        let mut essentials = None;
        let mut outputs = None;
        let mut details = None;
        let mut addresses = None;
        let mut app_data = None;
        let mut monitors = None;
        decode_tlv_stream!(&mut plaintext, {
            (0, header, option),
            (2, essentials, option),
            (3, outputs, option),
            (5, details, option),
            (7, addresses, option),
            (9, app_data, option),
            (11, monitors, option),
        });
        Ok(Self {
            header,
            essentials,
            outputs,
            details,
            addresses,
            app_data,
            monitors,
        })
    }
}

/// A record's bytes.
struct Record(Zeroizing<Vec<u8>>);

impl From<Vec<u8>> for Record {
    fn from(bytes: Vec<u8>) -> Self {
        Record(bytes.into())
    }
}

impl Writeable for Record {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        writer.write_all(&self.0)
    }
}

impl LengthReadable for Record {
    // In pieces: the length that a record claims to have is no reason to allocate that much.
    fn read_from_fixed_length_buffer<R: LengthLimitedRead>(
        reader: &mut R,
    ) -> Result<Self, DecodeError> {
        let mut bytes = Zeroizing::new(Vec::new());
        let mut piece = [0; 4096];
        loop {
            let length = reader.read(&mut piece)?;
            if length == 0 {
                return Ok(Self(bytes));
            }
            bytes.extend_from_slice(&piece[..length]);
        }
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoded")
            .field("bytes", &self.plaintext.len())
            .field("tier", &self.tier)
            .field("omitted", &self.omitted.len())
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Peer(_) => "Peer",
            Part::SpendableOutputs => "SpendableOutputs",
            Part::ChannelDetails => "ChannelDetails",
            Part::FurtherAddresses => "FurtherAddresses",
            Part::AppData => "AppData",
            Part::Monitor(_) => "Monitor",
        })
    }
}
