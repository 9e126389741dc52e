//! Sealing: from the plaintext of a snapshot to the blob that peers keep, and back.
//!
//! ```text
//! blob = version 1 ‖ nonce 24 ‖ XChaCha20-Poly1305(length 4 ‖ plaintext ‖ zeros) ‖ tag 16
//! key  = HKDF-SHA256(peer storage key, info = label ‖ chain hash ‖ node id)
//! AAD  = label ‖ version ‖ chain hash ‖ node id
//! ```
//!
//! The storer is not part of it, so that the blobs of all peers can be compared.

use std::fmt;

use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::PublicKey;
use bitcoin::Network;
use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{Key, KeyInit, Tag, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::codec::{decode, Contents, FormatError};
use super::padding::Padding;

const VERSION: u8 = 1;
const NONCE: usize = 24;
const TAG: usize = 16;
const LENGTH: usize = 4;

/// What a blob has around its ciphertext.
const FRAME: usize = 1 + NONCE + TAG;

/// Bytes that sealing adds: version 1, nonce 24, tag 16, and inside 4 for the length.
pub const OVERHEAD: usize = FRAME + LENGTH;

// Our own label: a blob under LDK's own peer storage key would be taken by LDK for one of its own.
const LABEL: &[u8] = b"ldk-peer-storage blob";

/// Seals and opens the backups of one node on one network.
///
/// Wiped from memory on drop.
#[derive(Clone)]
pub struct BackupKey {
    key: Zeroizing<[u8; 32]>,
    chain: ChainHash,
    node_id: PublicKey,
}

impl BackupKey {
    /// The key for the backups of the node `node_id` on `network`.
    ///
    /// `peer_storage_key` is what LDK's `NodeSigner::get_peer_storage_key` returns, which
    /// `KeysManager` derives from the seed alone: whoever has the seed can open the backups.
    pub fn derive(peer_storage_key: &[u8; 32], network: Network, node_id: &PublicKey) -> Self {
        let chain = ChainHash::using_genesis_block_const(network);
        let info = [
            LABEL,
            chain.as_bytes().as_slice(),
            node_id.serialize().as_slice(),
        ]
        .concat();
        Self {
            key: hkdf_sha256(peer_storage_key, &info),
            chain,
            node_id: *node_id,
        }
    }

    /// Seals a plaintext into a blob of at most `capacity` bytes (`usize::MAX`: no limit).
    ///
    /// The size of the blob is what `padding` makes of it. The nonce must be random: 24 bytes are
    /// long enough to draw a fresh one for every blob, and one used twice would reveal contents.
    ///
    /// # Errors
    /// [`SealError::TooLarge`] where the plaintext and [`OVERHEAD`] exceed `capacity`.
    pub fn seal(
        &self,
        plaintext: &[u8],
        padding: Padding,
        capacity: usize,
        nonce: [u8; 24],
    ) -> Result<Vec<u8>, SealError> {
        let needed = plaintext.len().saturating_add(OVERHEAD);
        let too_large = SealError::TooLarge { needed, capacity };
        let size = padding.sealed_size(needed, capacity).ok_or(too_large)?;
        let length = u32::try_from(plaintext.len()).map_err(|_| too_large)?;

        // One allocation for all of it; the ciphertext replaces the plaintext in place.
        let mut blob = Vec::with_capacity(size);
        blob.push(VERSION);
        blob.extend_from_slice(&nonce);
        blob.extend_from_slice(&length.to_be_bytes());
        blob.extend_from_slice(plaintext);
        blob.resize(size - TAG, 0);
        let tag = self
            .cipher()
            .encrypt_in_place_detached(
                XNonce::from_slice(&nonce),
                &self.associated_data(),
                &mut blob[1 + NONCE..],
            )
            .map_err(|_| too_large)?;
        blob.extend_from_slice(&tag);
        Ok(blob)
    }

    /// Opens a blob: the plaintext that was sealed, without its padding.
    ///
    /// # Errors
    /// [`OpenError`], for any input; never [`OpenError::NewerFormat`], which decoding alone finds.
    pub fn open(&self, blob: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let parts = Parts::of(blob).ok_or(OpenError::TooShort)?;
        if parts.version != VERSION {
            return Err(OpenError::UnknownVersion(parts.version));
        }
        let mut plaintext = Zeroizing::new(parts.ciphertext.to_vec());
        self.cipher()
            .decrypt_in_place_detached(
                XNonce::from_slice(parts.nonce),
                &self.associated_data(),
                &mut plaintext,
                Tag::from_slice(parts.tag),
            )
            .map_err(|_| OpenError::Unreadable)?;
        // What follows was sealed with our key. The padding needs no look: the tag covers it.
        let (length, rest) = plaintext
            .split_first_chunk::<LENGTH>()
            .ok_or(OpenError::Malformed)?;
        let length = usize::try_from(u32::from_be_bytes(*length))
            .ok()
            .filter(|length| *length <= rest.len())
            .ok_or(OpenError::Malformed)?;
        plaintext.copy_within(LENGTH..LENGTH + length, 0);
        plaintext.truncate(length);
        Ok(plaintext)
    }

    /// Opens a blob and reads the snapshot in it.
    ///
    /// # Errors
    /// [`OpenError`], for any input.
    pub fn open_snapshot(&self, blob: &[u8]) -> Result<Contents, OpenError> {
        Ok(decode(&self.open(blob)?)?)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(Key::from_slice(self.key.as_slice()))
    }

    // The key depends on the same, apart from the version. Bound here as well, so that a mistake
    // in either still keeps one network's blob from opening on another.
    fn associated_data(&self) -> Vec<u8> {
        [
            LABEL,
            &[VERSION],
            self.chain.as_bytes().as_slice(),
            self.node_id.serialize().as_slice(),
        ]
        .concat()
    }
}

impl fmt::Debug for BackupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackupKey").finish_non_exhaustive()
    }
}

/// The parts of a blob, in their order.
struct Parts<'a> {
    version: u8,
    nonce: &'a [u8; NONCE],
    ciphertext: &'a [u8],
    tag: &'a [u8; TAG],
}

impl<'a> Parts<'a> {
    fn of(blob: &'a [u8]) -> Option<Self> {
        let (version, rest) = blob.split_first()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (ciphertext, tag) = rest.split_last_chunk()?;
        Some(Self {
            version: *version,
            nonce,
            ciphertext,
            tag,
        })
    }
}

/// HKDF-SHA256 (RFC 5869) without a salt, for one block of 32 bytes.
fn hkdf_sha256(input: &[u8; 32], info: &[u8]) -> Zeroizing<[u8; 32]> {
    let (pseudorandom_key, _) = Hkdf::<Sha256>::extract(None, input);
    let pseudorandom_key = Zeroizing::new(<[u8; 32]>::from(pseudorandom_key));
    // The first block of the expansion is HMAC(pseudorandom key, info ‖ 1), and an extraction is
    // an HMAC. Unlike `expand`, it has no error for lengths that this one cannot have.
    let first_block = [info, &[1]].concat();
    let (key, _) = Hkdf::<Sha256>::extract(Some(pseudorandom_key.as_slice()), &first_block);
    Zeroizing::new(key.into())
}

/// Why a plaintext was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It would exceed the capacity.
    #[error("a backup of {needed} bytes exceeds the capacity of {capacity}")]
    TooLarge {
        /// The size of the blob without padding, in bytes.
        needed: usize,
        /// The size of the largest blob that was asked for, in bytes.
        capacity: usize,
    },
}

/// Why a blob was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Shorter than any blob.
    #[error("the backup is too short")]
    TooShort,
    /// Its first byte names a version that is not known here. Nothing vouches for that byte: a
    /// newer version of this software, another program, or a damaged blob.
    #[error("the backup has the unknown version {0}")]
    UnknownVersion(u8),
    /// Damaged, or sealed with another key, on another network or by another node.
    #[error(
        "the backup is damaged, or made with another seed, on another network or by another node"
    )]
    Unreadable,
    /// Sealed by this node with a newer version of this software, which is needed to read it.
    #[error("the backup was made by a newer version of this software")]
    NewerFormat,
    /// Sealed by this node, but its content breaks the format: a bug in whatever made it.
    #[error("the content of the backup is malformed")]
    Malformed,
}

impl From<FormatError> for OpenError {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::NewerFormat => OpenError::NewerFormat,
            FormatError::Malformed => OpenError::Malformed,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_key_derivation_is_the_library_s() {
        let mut expected = [0; 32];
        Hkdf::<Sha256>::new(None, &[7; 32])
            .expand(b"some context", &mut expected)
            .unwrap();
        assert_eq!(*hkdf_sha256(&[7; 32], b"some context"), expected);
    }
}
