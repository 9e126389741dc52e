//! Who the lost node was: from the seed words or bytes to its keys.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use bip39::Mnemonic;
use bitcoin::bip32::Xpriv;
use bitcoin::secp256k1::PublicKey;
use bitcoin::Network;
use lightning::sign::{KeysManager, NodeSigner, Recipient};
use zeroize::Zeroizing;

/// The identity of a node: the 32 bytes that LDK's `KeysManager` is made from.
///
/// The seed is zeroised on drop, and never printed.
#[derive(Clone)]
pub struct Identity {
    seed: Zeroizing<[u8; 32]>,
    node_id: PublicKey,
}

/// Why there is no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The words are no mnemonic: an unknown word, a wrong number of words, a wrong checksum.
    #[error("the seed words are not valid: {0}")]
    Mnemonic(String),
    /// The seed is no key. Does not happen by chance.
    #[error("the seed gives no keys")]
    NoKeys,
    /// The seed is that of another node than the one expected.
    #[error("the seed is that of another node, {found}")]
    OtherNode {
        /// The node that this seed belongs to.
        found: PublicKey,
    },
}

impl Identity {
    /// Of a node whose `KeysManager` was made from these bytes.
    pub fn from_seed(seed: [u8; 32]) -> Result<Identity, IdentityError> {
        let seed = Zeroizing::new(seed);
        let node_id = keys_manager(&seed, true)
            .get_node_id(Recipient::Node)
            .map_err(|()| IdentityError::NoKeys)?;
        Ok(Identity { seed, node_id })
    }

    /// Of an ldk-node wallet: its seed is the private key of the BIP32 master of the BIP39 words.
    ///
    /// `passphrase`: the BIP39 passphrase, empty if there was none. A wrong one gives the identity of
    /// another node, without an error: see [`expect`](Self::expect).
    pub fn from_ldk_node_mnemonic(
        words: &str,
        passphrase: &str,
        network: Network,
    ) -> Result<Identity, IdentityError> {
        let words = Mnemonic::parse(words).map_err(|e| IdentityError::Mnemonic(e.to_string()))?;
        let seed = Zeroizing::new(words.to_seed(passphrase));
        Identity::of_master(&seed, network)
    }

    /// Of an ldk-node wallet that was given these bytes, or has made them itself: its file `keys_seed`.
    /// They are what BIP39 makes of words and passphrase.
    pub fn from_ldk_node_seed(seed: &[u8; 64]) -> Result<Identity, IdentityError> {
        // The network only shows when the master key is written down.
        Identity::of_master(seed, Network::Bitcoin)
    }

    /// The private key of the BIP32 master.
    fn of_master(seed: &[u8; 64], network: Network) -> Result<Identity, IdentityError> {
        let master = Xpriv::new_master(network, seed).map_err(|_| IdentityError::NoKeys)?;
        Identity::from_seed(master.private_key.secret_bytes())
    }

    /// Checks that it is the node that the person expects, before anyone is connected to.
    pub fn expect(self, expected: PublicKey) -> Result<Identity, IdentityError> {
        match self.node_id == expected {
            true => Ok(self),
            false => Err(IdentityError::OtherNode {
                found: self.node_id,
            }),
        }
    }

    /// The node's id.
    pub fn node_id(&self) -> PublicKey {
        self.node_id
    }

    /// The node's keys, for a session. Its `v2_remote_key_derivation` is set.
    pub fn keys(&self) -> KeysManager {
        keys_manager(&self.seed, true)
    }

    /// Keys that derive `to_remote` keys the first way, from each channel's `channel_keys_id`.
    pub(super) fn v1_keys(&self) -> KeysManager {
        keys_manager(&self.seed, false)
    }
}

/// The time only makes new channels' keys unique.
fn keys_manager(seed: &[u8; 32], v2: bool) -> KeysManager {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    KeysManager::new(seed, now.as_secs(), now.subsec_nanos(), v2)
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("node_id", &self.node_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const WORDS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                         abandon abandon about";

    #[test]
    fn an_expected_node_is_checked_before_anything_is_done() {
        let right = Identity::from_seed([1; 32]).unwrap();
        let other = Identity::from_seed([2; 32]).unwrap();
        assert!(right.clone().expect(right.node_id()).is_ok());
        let refused = right.clone().expect(other.node_id()).unwrap_err();
        assert!(matches!(refused, IdentityError::OtherNode { found } if found == right.node_id()));
    }

    #[test]
    fn words_that_are_no_mnemonic_are_refused() {
        for bad in [
            "",
            "abandon",
            &WORDS.replace("about", "abandon"),
            "no such words at all",
        ] {
            let refused = Identity::from_ldk_node_mnemonic(bad, "", Network::Bitcoin);
            assert!(matches!(refused, Err(IdentityError::Mnemonic(_))), "{bad}");
        }
    }

    #[test]
    fn a_passphrase_makes_another_node_and_the_network_does_not() {
        let id = |passphrase, network| {
            Identity::from_ldk_node_mnemonic(WORDS, passphrase, network)
                .unwrap()
                .node_id()
        };
        assert_eq!(id("", Network::Bitcoin), id("", Network::Regtest));
        assert_ne!(id("", Network::Bitcoin), id("x", Network::Bitcoin));
    }

    #[test]
    fn nothing_private_is_printed() {
        let identity = Identity::from_seed([0xab; 32]).unwrap();
        let printed = format!("{identity:?}");
        assert!(
            !printed.contains("171") && !printed.contains("abab"),
            "{printed}"
        );
    }
}
