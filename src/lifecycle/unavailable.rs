//! Why something cannot be done now.

use super::Obstacle;
use crate::exchange::PastError;
use crate::service::OpenError;
use crate::session::SessionError;
use crate::store::StoreError;

/// Why something was not done, or not to its end. Nothing was lost by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The app is in background, and nothing is open. Again after
    /// [`on_foreground`](super::Lifecycle::on_foreground).
    #[error("suspended: the app is in background")]
    Suspended,
    /// It had no turn in time: the storage is being opened, or a session that has to end first does not.
    /// Again a little later.
    #[error("it had no turn in time")]
    Busy,
    /// After [`shutdown`](super::Lifecycle::shutdown). Open another.
    #[error("it was shut down")]
    Closed,
    /// Peers cannot be visited at present.
    #[error(transparent)]
    Obstacle(#[from] Obstacle),
    /// A restore is for a directory that does not know its past.
    #[error(transparent)]
    Past(#[from] PastError),
    /// The data directory. [`StoreError::Inaccessible`] (the device was not unlocked since it started)
    /// and [`StoreError::Locked`] (another process has it) pass; it is tried again at the next call, and while
    /// the app is visible with growing pauses.
    #[error(transparent)]
    Storage(#[from] StoreError),
    /// It was done, and is in force, but it is not durable yet: the disk refuses it, or is slow (none). It
    /// is written as soon as the disk takes it; if the process ends before that, it is as if it had not
    /// been done.
    #[error("not durable yet{}", .0.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    NotDurable(Option<StoreError>),
    /// The system gave no thread, or the like. It is tried again as well.
    #[error("failed: {0}")]
    Failed(String),
}

impl Unavailable {
    /// Whether it may be otherwise in a while, without the app doing anything about it.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Unavailable::Storage(error) => match error {
                StoreError::Locked
                | StoreError::Inaccessible(_)
                | StoreError::DiskFull
                | StoreError::ReadOnly
                | StoreError::Io(_) => true,
                StoreError::NewerSchema { .. }
                | StoreError::Corrupt(_)
                | StoreError::WrongNode
                | StoreError::RevisionTaken(_)
                | StoreError::Closed => false,
            },
            Unavailable::Closed | Unavailable::Past(_) => false,
            Unavailable::Suspended
            | Unavailable::Busy
            | Unavailable::Obstacle(_)
            | Unavailable::NotDurable(_)
            | Unavailable::Failed(_) => true,
        }
    }
}

impl From<OpenError> for Unavailable {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Store(error) => Unavailable::Storage(error),
            other => Unavailable::Failed(other.to_string()),
        }
    }
}

impl From<SessionError> for Unavailable {
    fn from(error: SessionError) -> Self {
        Unavailable::Failed(error.to_string())
    }
}
