//! Moving a database aside: the one way on from a file that cannot be used (safety rule 15).

use std::path::{Path, PathBuf};

use super::connection::{sync_directory, with_companions, DATABASE};
use super::error::StoreError;
use super::lock::DirectoryLock;

/// Renames the database of a data directory, whatever is in it, so that the next
/// [`Store::open`](super::Store::open) makes a new one, which does not know its past and so pushes
/// nothing to anyone. Nothing is deleted or overwritten. Returns the new path of the database; what
/// SQLite kept beside it has the same name with the same endings as before.
///
/// Only for an explicit decision of the person or the app: what was kept for peers is no longer
/// returned to them, and alarms and events are forgotten.
///
/// # Errors
/// [`StoreError::Locked`] while anyone has the directory open, [`StoreError::Io`] where there is
/// nothing to move. After an error the call can be repeated.
pub fn move_aside(dir: &Path) -> Result<PathBuf, StoreError> {
    let _lock = DirectoryLock::take(dir)?;
    let from = with_companions(&dir.join(DATABASE));
    let mut present = Vec::new();
    for path in &from {
        present.push(path.try_exists()?);
    }
    if !present.contains(&true) {
        return Err(StoreError::Io(
            "there is no database to move aside".to_owned(),
        ));
    }
    let to = with_companions(&free_name(dir, present[0])?);
    // The database first, and durably: one that stood without its log, even for a moment, would be an
    // older one.
    for ((from, to), present) in from.iter().zip(&to).zip(present) {
        if present {
            std::fs::rename(from, to)?;
            sync_directory(dir)?;
        }
    }
    let [database, ..] = to;
    log::warn!("store: a database was moved aside");
    Ok(database)
}

/// The first name of which nothing is there yet. Where a call before this one moved the database and
/// was stopped, the rest goes beside it.
fn free_name(dir: &Path, with_database: bool) -> Result<PathBuf, StoreError> {
    let mut taken = None;
    for number in 1u32.. {
        let path = dir.join(format!("{DATABASE}.aside-{number}"));
        let [database, companions @ ..] = with_companions(&path);
        let mut lone = database.try_exists()?;
        let mut free = !lone;
        for companion in companions {
            if companion.try_exists()? {
                (lone, free) = (false, false);
            }
        }
        if free {
            return Ok(if with_database {
                path
            } else {
                taken.unwrap_or(path)
            });
        }
        taken = lone.then_some(path);
    }
    Err(StoreError::Io(
        "too many databases were moved aside".to_owned(),
    ))
}
