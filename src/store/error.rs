//! What can go wrong with a data directory, grouped by what the caller can do about it.

use std::io;

use rusqlite::ffi::{self, ErrorCode};

use crate::backup::Revision;

/// Why the data directory could not be opened, read or written.
///
/// No error names a key, a seed, blob content or an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another process, or another [`Store`](super::Store) of this one, owns the directory. Close
    /// that one first.
    #[error("the data directory is in use by another process or object")]
    Locked,
    /// The files may not be read now: on a phone, the device was not unlocked since it started.
    /// Try again later.
    #[error("the data directory cannot be read at present: {0}")]
    Inaccessible(String),
    /// The directory was written by a later version. Nothing was touched: update the app, or
    /// [`move_aside`](super::move_aside) what is there.
    #[error("the database has schema {found}, newer than the known {known}")]
    NewerSchema {
        /// The schema of the file.
        found: i64,
        /// The newest schema that this version knows.
        known: i64,
    },
    /// The database is damaged. At open nothing was touched: [`move_aside`](super::move_aside) what
    /// is there, or bring back a good copy.
    #[error("the database is damaged: {0}")]
    Corrupt(String),
    /// The directory belongs to another node or network. Open another directory.
    #[error("the data directory belongs to another node or network")]
    WrongNode,
    /// A snapshot with this revision, or a later one, is stored already, and it says something else.
    /// Nothing was written: a revision stands for one snapshot alone.
    #[error("revision {0} is taken by another snapshot")]
    RevisionTaken(Revision),
    /// No space is left. What was stored stays; the submission that failed may be made again, with
    /// no need to reopen, when there is space.
    #[error("no space is left on the device")]
    DiskFull,
    /// The directory may not be written.
    #[error("the data directory is read-only")]
    ReadOnly,
    /// Something else went wrong below; perhaps it works the next time.
    #[error("input or output failed: {0}")]
    Io(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    pub(super) fn corrupt(what: impl ToString) -> StoreError {
        StoreError::Corrupt(what.to_string())
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> StoreError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::DiskFull,
            io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly,
            io::ErrorKind::PermissionDenied => StoreError::Inaccessible(error.to_string()),
            _ => StoreError::Io(error.to_string()),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        // Whatever does not come from SQLite itself is a row or a column that is not as the schema
        // says: no caller's value can cause it.
        let Some(cause) = error.sqlite_error() else {
            return StoreError::corrupt(error);
        };
        match (cause.code, cause.extended_code) {
            (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => StoreError::corrupt(error),
            // SQLITE_ERROR: the tables are not those of the schema.
            (ErrorCode::Unknown, ffi::SQLITE_ERROR) => StoreError::corrupt(error),
            (_, ffi::SQLITE_IOERR_CORRUPTFS) => StoreError::corrupt(error),
            // The index of the write-ahead log could not grow.
            (_, ffi::SQLITE_IOERR_SHMSIZE) => StoreError::DiskFull,
            (ErrorCode::DiskFull, _) => StoreError::DiskFull,
            (ErrorCode::ReadOnly, _) => StoreError::ReadOnly,
            (ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied, _) => {
                StoreError::Inaccessible(error.to_string())
            }
            _ => StoreError::Io(error.to_string()),
        }
    }
}
