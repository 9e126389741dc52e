//! What is backed up, and how it stands on the wire. Pure: no I/O, no clock, no randomness of its own.
//!
//! ```text
//! Snapshot --encode(tier, capacity)--> plaintext --BackupKey::seal--> blob (peer_storage, BOLT #1 type 7)
//! Contents <---------decode----------- plaintext <--BackupKey::open-- blob (peer_storage_retrieval, type 9)
//! ```

mod codec;
mod essential;
mod full;
mod header;
mod padding;
mod seal;
mod snapshot;
mod tier;

pub(crate) use codec::encode_with_hash;
pub use codec::{decode, encode, fits, Contents, EncodeError, Encoded, FormatError, Part};
pub use padding::{Padding, MAX_BLOB, SMALL_BLOB};
pub use seal::{BackupKey, OpenError, SealError, OVERHEAD};
pub use snapshot::{
    ChannelIds, ChannelKind, ChannelPhase, ChannelRecord, ContentHash, InstallationId,
    MonitorRecord, PeerRecord, Revision, Snapshot, Tier,
};
