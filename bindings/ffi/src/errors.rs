//! What can go wrong, grouped by what an app can do about it.

use ldk_peer_storage::exchange::{PastError, ResolveError};
use ldk_peer_storage::recovery::IdentityError;
use ldk_peer_storage::service::OpenError;
use ldk_peer_storage::session::SessionError;
use ldk_peer_storage::store::StoreError;

/// Why a call did not do what it was asked to. Nothing is half done.
///
/// No text in it names a key, a seed, a backup's contents or a peer. Texts are for logs: decide by the kind and
/// by the typed fields.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
#[non_exhaustive]
pub enum PeerStorageError {
    /// The files cannot be read at present: on a phone, the device was not unlocked since it started. Try
    /// again when it is unlocked.
    #[error("the data directory cannot be read at present: {reason}")]
    Locked {
        /// For logs.
        reason: String,
    },
    /// Another process, or another object of this one, has the data directory open: an app extension, or an
    /// object that was not shut down. Shut that one down first.
    #[error("the data directory is in use by another process or object")]
    InUse,
    /// Everything is at rest since the app went to background. Call again after `on_foreground`, or use
    /// `run_background_pass`.
    #[error("everything is at rest while the app is in background")]
    Suspended,
    /// The object was shut down. Open a new one.
    #[error("it was shut down")]
    Closed,
    /// Something stands in the way that passes by itself, or that the app has reported. Call again then.
    #[error("not now: {obstacle}")]
    NotNow {
        /// What stands in the way.
        obstacle: Obstacle,
    },
    /// The caller has given something that cannot be meant. A bug in the app, or a slip of the person: show
    /// which field.
    #[error("{field}: {reason}")]
    InvalidInput {
        /// Which argument or field.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The secret is that of another wallet than the one expected, or than the one whose data directory this
    /// is, or the network is another. Nothing was touched. Ask for the right words, or open another directory.
    #[error("the secret, or the network, is that of another wallet")]
    WrongWallet,
    /// The data was written by a newer version. Nothing was touched. Ask the person to update the app.
    #[error("made by a newer version: {reason}")]
    NewerVersion {
        /// For logs.
        reason: String,
    },
    /// The data directory is damaged. Nothing was touched. Tell the person; `move_aside` lets the app
    /// begin anew without deleting anything.
    #[error("the data directory is damaged: {reason}")]
    Corrupt {
        /// For logs.
        reason: String,
    },
    /// The storage failed: no space, read-only, or a fault below. Perhaps it works the next time.
    #[error("the storage failed: {reason}")]
    Storage {
        /// What it was.
        failure: StorageFailure,
        /// For logs.
        reason: String,
    },
    /// It was done and is in force, but it is not durable yet: the disk refuses it, or is slow. It is written as
    /// soon as the disk takes it; if the process ends before that, it is as if it had not been done. Tell the
    /// person where `failure` is `NoSpace`; do not repeat the call.
    #[error("not durable yet: {reason}")]
    NotDurable {
        /// What the disk said; none: nothing, in several seconds.
        failure: Option<StorageFailure>,
        /// For logs.
        reason: String,
    },
    /// It is not allowed as things stand. Show why, and ask the person what is missing.
    #[error("not allowed: {reason}")]
    NotAllowed {
        /// Why.
        why: Refusal,
        /// For logs.
        reason: String,
    },
    /// The chain source did not answer, or not with sense.
    #[error("the chain source failed: {reason}")]
    Chain {
        /// For logs.
        reason: String,
        /// Whether the same call may go through later with nothing changed. If not, another source is needed.
        may_pass: bool,
    },
    /// A bug in the SDK. Please report it.
    #[error("internal error: {reason}")]
    Internal {
        /// For logs.
        reason: String,
    },
}

/// What stands in the way at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, uniffi::Enum)]
pub enum Obstacle {
    /// The device has no network, as the app has reported.
    #[error("there is no network")]
    NoNetwork,
    /// The wallet's own node runs: two connections of one identity throw each other out. Stop it first.
    #[error("the wallet's own node runs")]
    HostNodeRuns,
    /// A payment is in flight, or expected: the app holds.
    #[error("a payment is in flight")]
    PaymentInFlight,
    /// So many calls are under way that this one had no turn within its budget; or what is under way (an opening,
    /// visits that are to end) did not end in time; or it took longer than its budget, and goes on by itself.
    #[error("too much is under way")]
    Busy,
}

/// What is wrong with the storage below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum StorageFailure {
    /// No space is left on the device. Ask the person to free some.
    NoSpace,
    /// The data directory may not be written.
    ReadOnly,
    /// It cannot be read at present.
    Unreadable,
    /// It is damaged.
    Damaged,
    /// Something else.
    Other,
}

/// Why something is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Refusal {
    /// The data directory knows its past already.
    PastIsKnown,
    /// A peer has returned a backup: the wallet is not new.
    NotNew,
    /// No peer has returned a backup yet: there is nothing to finish.
    NothingRead,
    /// Nothing was reported of the wallet yet: call `report_wallet` first.
    NoWallet,
    /// The wallet that was reported has no channel, and no output to sweep: there is nothing to adopt. One that
    /// was made on this device is declared new; where the words were typed in, a restore comes first.
    NothingToAdopt,
    /// There is no such alarm, or it is over.
    NoSuchAlarm,
    /// It is proved that the channel state on this device is older.
    ProvedStale,
    /// The person has not said that the old device is gone.
    OldDeviceMayLive,
    /// Peers were not heard, and the person has not said to go on without them.
    PeersUnheard,
    /// The keys of a chosen channel are in no backup, and the person has not said to close it all the same.
    KeysUnknown,
    /// No channel is chosen.
    NoChannel,
    /// A chosen channel is not in the plan, or cannot be recovered, or was not agreed to.
    NoSuchChannel,
    /// Only the chain tells a chosen channel apart from others of the same peer: choose all of them.
    OnlyTogether,
    /// The plan is not the last one that was made.
    NoSuchPlan,
    /// The recovery that was begun in this data directory does not read.
    JournalUnreadable,
    /// Another Rust library in this process has a logger already.
    LoggerIsSet,
}

impl PeerStorageError {
    pub(crate) fn invalid(field: &str, reason: impl ToString) -> Self {
        PeerStorageError::InvalidInput {
            field: field.to_owned(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn internal(reason: impl ToString) -> Self {
        PeerStorageError::Internal {
            reason: reason.to_string(),
        }
    }

    pub(crate) fn panicked() -> Self {
        PeerStorageError::internal("a call panicked")
    }

    pub(crate) fn not_now(obstacle: Obstacle) -> Self {
        PeerStorageError::NotNow { obstacle }
    }

    pub(crate) fn not_allowed(why: Refusal, reason: impl ToString) -> Self {
        PeerStorageError::NotAllowed {
            why,
            reason: reason.to_string(),
        }
    }
}

impl From<StoreError> for PeerStorageError {
    fn from(error: StoreError) -> Self {
        let reason = error.to_string();
        let storage = |failure| PeerStorageError::Storage {
            failure,
            reason: reason.clone(),
        };
        match error {
            StoreError::Locked => PeerStorageError::InUse,
            StoreError::Inaccessible(_) => PeerStorageError::Locked { reason },
            StoreError::NewerSchema { .. } => PeerStorageError::NewerVersion { reason },
            StoreError::Corrupt(_) => PeerStorageError::Corrupt { reason },
            StoreError::WrongNode => PeerStorageError::WrongWallet,
            StoreError::DiskFull => storage(StorageFailure::NoSpace),
            StoreError::ReadOnly => storage(StorageFailure::ReadOnly),
            StoreError::Io(_) => storage(StorageFailure::Other),
            // Between the question whether it is open and the read it was suspended.
            StoreError::Closed => PeerStorageError::Suspended,
            StoreError::RevisionTaken(_) => PeerStorageError::internal(reason),
        }
    }
}

impl From<&StoreError> for StorageFailure {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::DiskFull => StorageFailure::NoSpace,
            StoreError::ReadOnly => StorageFailure::ReadOnly,
            StoreError::Inaccessible(_) => StorageFailure::Unreadable,
            StoreError::Corrupt(_) | StoreError::NewerSchema { .. } => StorageFailure::Damaged,
            _ => StorageFailure::Other,
        }
    }
}

impl From<OpenError> for PeerStorageError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Store(error) => error.into(),
            OpenError::NoNodeId | OpenError::Thread(_) => PeerStorageError::internal(error),
        }
    }
}

impl From<SessionError> for PeerStorageError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::OtherNode => PeerStorageError::WrongWallet,
            SessionError::NoNodeId | SessionError::Thread(_) => PeerStorageError::internal(error),
        }
    }
}

impl From<PastError> for PeerStorageError {
    fn from(error: PastError) -> Self {
        let why = match error {
            PastError::Known => Refusal::PastIsKnown,
            PastError::NotNew => Refusal::NotNew,
            PastError::NothingRead => Refusal::NothingRead,
            PastError::NoWallet => Refusal::NoWallet,
            PastError::NothingToAdopt => Refusal::NothingToAdopt,
        };
        PeerStorageError::not_allowed(why, error)
    }
}

impl From<ResolveError> for PeerStorageError {
    fn from(error: ResolveError) -> Self {
        let why = match error {
            ResolveError::Unknown => Refusal::NoSuchAlarm,
            ResolveError::ProvedStale => Refusal::ProvedStale,
        };
        PeerStorageError::not_allowed(why, error)
    }
}

impl From<IdentityError> for PeerStorageError {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Mnemonic(reason) => PeerStorageError::invalid("words", reason),
            IdentityError::NoKeys => PeerStorageError::invalid("bytes", error),
            // It would name the node that was found.
            IdentityError::OtherNode { .. } => PeerStorageError::WrongWallet,
        }
    }
}
