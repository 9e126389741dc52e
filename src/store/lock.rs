//! One owner for a data directory (safety rule 14).

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use super::error::StoreError;

/// The lock file. It holds nothing and is never deleted: deleting it would let two owners lock two
/// different files of the same name.
const LOCK_FILE: &str = "peer-storage.lock";

/// The exclusive right to a data directory, until it is dropped or the process ends in any way.
pub(super) struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    /// Takes the lock, or fails at once with [`StoreError::Locked`] where another process or another
    /// object of this one has it.
    pub(super) fn take(dir: &Path) -> Result<DirectoryLock, StoreError> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join(LOCK_FILE))
            .map_err(|error| not_opened(dir, error))?;
        if !try_lock(&file)? {
            return Err(StoreError::Locked);
        }
        Ok(DirectoryLock { file })
    }
}

// By hand: a child process that was started in another thread has a copy of the file until it runs
// its own program, and with it the lock.
impl Drop for DirectoryLock {
    fn drop(&mut self) {
        if let Err(error) = unlock(&self.file) {
            log::error!("store: the directory was not unlocked: {error}");
        }
    }
}

/// A directory that can be listed but not written is read-only; one that cannot even be listed may
/// be readable later.
fn not_opened(dir: &Path, error: io::Error) -> StoreError {
    let denied = error.kind() == io::ErrorKind::PermissionDenied;
    if denied && std::fs::read_dir(dir).is_ok() {
        return StoreError::ReadOnly;
    }
    error.into()
}

// Not `File::try_lock`: the standard library has it on Android since Rust 1.98 alone.
#[cfg(unix)]
fn try_lock(file: &File) -> Result<bool, StoreError> {
    use rustix::fs::{flock, FlockOperation};
    use rustix::io::Errno;

    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(io::Error::from(error).into()),
    }
}

#[cfg(unix)]
fn unlock(file: &File) -> io::Result<()> {
    use rustix::fs::{flock, FlockOperation};

    Ok(flock(file, FlockOperation::Unlock)?)
}

#[cfg(not(unix))]
fn unlock(file: &File) -> io::Result<()> {
    file.unlock()
}

#[cfg(not(unix))]
fn try_lock(file: &File) -> Result<bool, StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
    }
}
