//! Blobs without cryptography: the plaintext of the real codec behind a checksum and the owner's
//! number, of the size that the sealed one would have.

use std::sync::Arc;

use ldk_peer_storage::backup::{
    self, Contents, OpenError, Part, Revision, Snapshot, Tier, MAX_BLOB, OVERHEAD,
};

use super::names::channel_of;

pub type Bytes = Arc<[u8]>;

/// What a blob says, so that a step need not decode it.
#[derive(Clone)]
pub struct Meta {
    pub revision: Revision,
    pub tier: Tier,
    /// The channels that it names, as bits.
    pub channels: u128,
    /// How far they have come: the state stamps.
    pub stamps: Vec<(usize, u64)>,
    /// The monitors that it carries, and how far each had come.
    pub monitors: Vec<(usize, u64)>,
}

const HEAD: usize = 18;

/// Seals for an owner. `number`: where the run keeps what the blob says.
pub fn seal(
    owner: usize,
    number: usize,
    snapshot: &Snapshot,
    tier: Tier,
    capacity: usize,
) -> Option<(Bytes, Meta)> {
    let encoded = backup::encode(snapshot, tier, capacity).ok()?;
    let omitted = channel_bits(encoded.omitted.iter().map(channel_of));
    let all = channel_bits(snapshot.channels.iter().map(|c| channel_of(&c.ids)));
    let plaintext = &encoded.plaintext;
    let size = sealed_size(plaintext.len());
    let mut bytes = Vec::with_capacity(size);
    bytes.push(1);
    bytes.push(owner as u8);
    bytes.extend((number as u32).to_be_bytes());
    bytes.extend((plaintext.len() as u32).to_be_bytes());
    bytes.extend(checksum(plaintext).to_be_bytes());
    bytes.extend_from_slice(plaintext);
    bytes.resize(size, 0);
    let meta = Meta {
        revision: snapshot.revision,
        tier,
        channels: all & !omitted,
        stamps: snapshot
            .channels
            .iter()
            .map(|c| (channel_of(&c.ids), c.update_id))
            .collect(),
        monitors: snapshot
            .monitors
            .iter()
            .filter(|m| tier == Tier::Full && !encoded.dropped.contains(&Part::Monitor(m.channel)))
            .map(|m| (channel_of(&m.ids()), m.update_id))
            .collect(),
    };
    Some((bytes.into(), meta))
}

fn sealed_size(plaintext: usize) -> usize {
    let sizes = [1024, 4096, 16384, MAX_BLOB];
    let fitting = sizes.into_iter().find(|s| *s >= plaintext + OVERHEAD);
    fitting.unwrap()
}

pub fn number_of(bytes: &[u8]) -> usize {
    u32::from_be_bytes(bytes[2..6].try_into().unwrap()) as usize
}

pub fn open(owner: usize, bytes: &[u8]) -> Result<Contents, OpenError> {
    if bytes.len() < HEAD {
        return Err(OpenError::TooShort);
    }
    if bytes[0] != 1 {
        return Err(OpenError::UnknownVersion(bytes[0]));
    }
    let length = u32::from_be_bytes(bytes[6..10].try_into().unwrap()) as usize;
    let sum = u64::from_be_bytes(bytes[10..HEAD].try_into().unwrap());
    let plaintext = bytes
        .get(HEAD..HEAD + length)
        .ok_or(OpenError::Unreadable)?;
    if bytes[1] as usize != owner || checksum(plaintext) != sum {
        return Err(OpenError::Unreadable);
    }
    Ok(backup::decode(plaintext)?)
}

/// The same blob with a fault in it.
pub fn corrupt(bytes: &[u8], new_version: bool) -> Bytes {
    let mut bytes = bytes.to_vec();
    match new_version {
        true => bytes[0] = 99,
        false => bytes[HEAD] ^= 1,
    }
    bytes.into()
}

pub fn channel_bits(channels: impl Iterator<Item = usize>) -> u128 {
    channels.fold(0, |bits, channel| bits | 1 << channel)
}

fn checksum(bytes: &[u8]) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        sum = (sum ^ u64::from_be_bytes(word)).wrapping_mul(0x0100_0000_01b3);
    }
    sum
}
