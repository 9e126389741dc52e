//! What can go wrong, by what the caller can do about it: each kind has an exit code of its own.

use ldk_peer_storage::backup;
use ldk_peer_storage::recovery::chain::ChainError;
use ldk_peer_storage::recovery::{ConsentError, IdentityError, RecoveryError};
use ldk_peer_storage::service::OpenError;
use ldk_peer_storage::session::SessionError;
use ldk_peer_storage::store::StoreError;

/// Why a command did not end well. The texts say what to do, and hold nothing that is private.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Something inside failed.
    #[error("{0}")]
    Inside(String),
    /// The command line, or a file named there, cannot be used.
    #[error("{0}")]
    Usage(String),
    /// Nothing was found, or not everything is done yet.
    #[error("{0}")]
    Incomplete(String),
    /// The person has not agreed.
    #[error("{0}")]
    NotAgreed(String),
    /// Another seed, network or data directory than this is needed.
    #[error("{0}")]
    WrongPlace(String),
    /// The network or the chain source does not answer.
    #[error("{0}")]
    Network(String),
    /// The channel state that was given is older than a backup.
    #[error("{0}")]
    Alarm(String),
    /// All that can be done is done, and not everything came.
    #[error("{0}")]
    LeftBehind(String),
}

impl Failure {
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Inside(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Incomplete(_) => 3,
            Failure::NotAgreed(_) => 4,
            Failure::WrongPlace(_) => 5,
            Failure::Network(_) => 6,
            Failure::Alarm(_) => 7,
            Failure::LeftBehind(_) => 8,
        }
    }

    /// A file that cannot be read.
    pub fn unreadable(path: &std::path::Path, error: &std::io::Error) -> Failure {
        Failure::Usage(format!("cannot read {}: {error}", path.display()))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let advice = match &error {
            StoreError::Locked => "end the other process first",
            StoreError::WrongNode => "give --data-dir a directory of this seed and --network",
            StoreError::NewerSchema { .. } => "use the newer version of this program",
            StoreError::Corrupt(_) => "move it away, and read back into a new one",
            StoreError::Inaccessible(_) | StoreError::ReadOnly => {
                "give --data-dir a directory that can be written"
            }
            _ => return Failure::Inside(format!("the data directory: {error}")),
        };
        Failure::WrongPlace(format!("{error}: {advice}"))
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Failure {
        match error {
            OpenError::Store(error) => error.into(),
            other => Failure::Inside(other.to_string()),
        }
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Failure {
        Failure::Inside(error.to_string())
    }
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Failure {
        match &error {
            IdentityError::OtherNode { .. } => Failure::WrongPlace(format!(
                "{error}: check the seed, the passphrase and --expect-node-id"
            )),
            _ => Failure::Usage(error.to_string()),
        }
    }
}

impl From<ChainError> for Failure {
    fn from(error: ChainError) -> Failure {
        let advice = match &error {
            ChainError::Unreachable(_) => "nothing is lost: run it again later",
            ChainError::WrongChain => "give --esplora a server of this --network",
            _ => "give --esplora another server",
        };
        Failure::Network(format!("{error}; {advice}"))
    }
}

impl From<RecoveryError> for Failure {
    fn from(error: RecoveryError) -> Failure {
        match error {
            RecoveryError::Chain(error) => error.into(),
            RecoveryError::Store(error) => error.into(),
            other => Failure::WrongPlace(other.to_string()),
        }
    }
}

impl From<ConsentError> for Failure {
    fn from(error: ConsentError) -> Failure {
        match error {
            ConsentError::Recovery(error) => error.into(),
            ConsentError::OtherNetwork => {
                Failure::Usage(format!("{error}: give --sweep-to one of this --network"))
            }
            ConsentError::FeeRate(_) => {
                Failure::Usage(format!("{error}: see --fee-rate and --highest-fee-rate"))
            }
            ConsentError::OnlyTogether(_) => Failure::NotAgreed(format!(
                "{error}: --close-channels-without-keys takes them in, where they can be swept at all, and \
                 --take-up CHANNEL those that were given up"
            )),
            other => Failure::NotAgreed(other.to_string()),
        }
    }
}

impl From<backup::OpenError> for Failure {
    fn from(error: backup::OpenError) -> Failure {
        match error {
            backup::OpenError::Unreadable => Failure::WrongPlace(error.to_string()),
            other => Failure::Usage(other.to_string()),
        }
    }
}
