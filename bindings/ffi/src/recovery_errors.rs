//! What can go wrong in a recovery, as [`PeerStorageError`].

#[cfg(feature = "esplora")]
use ldk_peer_storage::recovery::chain::esplora::BadAddress;
use ldk_peer_storage::recovery::chain::ChainError;
use ldk_peer_storage::recovery::{ConsentError, RecoveryError};

use crate::errors::{PeerStorageError, Refusal};

impl From<ChainError> for PeerStorageError {
    fn from(error: ChainError) -> Self {
        PeerStorageError::Chain {
            reason: error.to_string(),
            may_pass: error.may_pass(),
        }
    }
}

impl From<RecoveryError> for PeerStorageError {
    fn from(error: RecoveryError) -> Self {
        match error {
            RecoveryError::Chain(error) => error.into(),
            RecoveryError::Store(error) => error.into(),
            RecoveryError::OtherNode => PeerStorageError::WrongWallet,
            RecoveryError::Journal => {
                PeerStorageError::not_allowed(Refusal::JournalUnreadable, error)
            }
            RecoveryError::UnknownChannel => {
                PeerStorageError::not_allowed(Refusal::NoSuchChannel, error)
            }
        }
    }
}

impl From<ConsentError> for PeerStorageError {
    fn from(error: ConsentError) -> Self {
        use PeerStorageError as E;
        match error {
            ConsentError::OldDeviceMayLive => E::not_allowed(Refusal::OldDeviceMayLive, error),
            ConsentError::PeersUnheard(_) => E::not_allowed(Refusal::PeersUnheard, error),
            ConsentError::KeysUnknown => E::not_allowed(Refusal::KeysUnknown, error),
            ConsentError::NoChannel => E::not_allowed(Refusal::NoChannel, error),
            ConsentError::UnknownChannel => E::not_allowed(Refusal::NoSuchChannel, error),
            ConsentError::OtherWallet => E::WrongWallet,
            ConsentError::OnlyTogether(_) => E::not_allowed(Refusal::OnlyTogether, error),
            ConsentError::OtherNetwork => E::invalid("sweep_to", error),
            ConsentError::FeeRate(_) => E::invalid("fee_rate", error),
            ConsentError::Recovery(error) => error.into(),
        }
    }
}

#[cfg(feature = "esplora")]
impl From<BadAddress> for PeerStorageError {
    fn from(error: BadAddress) -> Self {
        let field = if error.0.contains("proxy") {
            "proxy"
        } else {
            "url"
        };
        PeerStorageError::invalid(field, error)
    }
}
