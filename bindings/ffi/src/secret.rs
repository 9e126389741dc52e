//! The wallet's secret, from which its keys come.

use std::sync::Arc;

use bitcoin::Network;
use ldk_peer_storage::recovery::Identity;
use zeroize::{Zeroize, Zeroizing};

use crate::errors::PeerStorageError;
use crate::parse;
use crate::runtime::contained;

/// No BIP39 mnemonic is longer, in bytes, in any language.
const LONGEST_WORDS: usize = 1024;

/// A wallet's secret. Nothing prints it, and what this object holds is wiped from memory with the last one that
/// holds it. (What the app's own language has copied on the way here is the app's to forget.)
///
/// Making one checks the secret and takes a few milliseconds. It may be used from any thread, and for several
/// storages.
#[derive(uniffi::Object)]
pub struct WalletSecret {
    identity: Identity,
}

impl WalletSecret {
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }
}

#[uniffi::export]
impl WalletSecret {
    /// Of a wallet on LDK: the 32 bytes that its `KeysManager` is made from.
    ///
    /// Throws `InvalidInput`.
    #[uniffi::constructor]
    pub fn from_ldk_seed(bytes: Vec<u8>) -> Result<Arc<Self>, PeerStorageError> {
        let bytes = Zeroizing::new(bytes);
        contained(|| {
            let mut seed: [u8; 32] = exactly(&bytes)?;
            let identity = Identity::from_seed(seed);
            seed.zeroize();
            WalletSecret::of(identity?)
        })
    }

    /// Of a wallet on ldk-node that was given 64 bytes, or has made them itself: its file `keys_seed`.
    ///
    /// Throws `InvalidInput`.
    #[uniffi::constructor]
    pub fn from_ldk_node_seed(bytes: Vec<u8>) -> Result<Arc<Self>, PeerStorageError> {
        let bytes = Zeroizing::new(bytes);
        contained(|| {
            let seed: Zeroizing<[u8; 64]> = Zeroizing::new(exactly(&bytes)?);
            WalletSecret::of(Identity::from_ldk_node_seed(&seed)?)
        })
    }

    /// Of a wallet on ldk-node that was given BIP39 words, and a passphrase if it had one (else it is empty).
    /// A wrong passphrase gives the secret of another wallet, without an error: see `node_id`, and
    /// `OpenConfig.expected_node_id`.
    ///
    /// Throws `InvalidInput`.
    #[uniffi::constructor]
    pub fn from_ldk_node_mnemonic(
        words: String,
        passphrase: String,
    ) -> Result<Arc<Self>, PeerStorageError> {
        let (words, passphrase) = (Zeroizing::new(words), Zeroizing::new(passphrase));
        contained(|| {
            parse::limit("words", words.len(), LONGEST_WORDS)?;
            parse::limit("passphrase", passphrase.len(), LONGEST_WORDS)?;
            // The network does not show in the keys.
            let network = Network::Bitcoin;
            let identity = Identity::from_ldk_node_mnemonic(&words, &passphrase, network)?;
            WalletSecret::of(identity)
        })
    }

    /// The id of the wallet's node, in hex. It is the same on every network.
    pub fn node_id(&self) -> String {
        self.identity.node_id().to_string()
    }
}

impl WalletSecret {
    fn of(identity: Identity) -> Result<Arc<Self>, PeerStorageError> {
        Ok(Arc::new(WalletSecret { identity }))
    }
}

fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], PeerStorageError> {
    bytes
        .try_into()
        .map_err(|_| PeerStorageError::invalid("bytes", format!("has not {N} bytes")))
}
