//! Our own snapshots: stored sealed, so that the file never holds a channel list or an address book
//! in the clear, and each under a revision of its own (safety rules 5, 7, 13).

use chacha20poly1305::aead::rand_core::RngCore;
use chacha20poly1305::aead::OsRng;
use rusqlite::{params, Connection, OptionalExtension};

use super::error::StoreError;
use super::values;
use crate::backup::{self, BackupKey, Padding, Snapshot, Tier};

/// How many snapshots are kept: the newest, and those before it for whoever has to look into a
/// mishap.
const KEPT: i64 = 4;

/// Stores `snapshot` as the newest.
///
/// Its revision has to be above all before it: a lower one may have been used by a snapshot that was
/// dropped since. The newest itself may be written again, as long as it says the same.
pub(super) fn save(
    connection: &Connection,
    key: &BackupKey,
    snapshot: &Snapshot,
) -> Result<(), StoreError> {
    if let Some(newest) = newest(connection, key)? {
        if newest.revision == snapshot.revision && newest.content_hash() == snapshot.content_hash()
        {
            return Ok(());
        }
        if newest.revision >= snapshot.revision {
            return Err(StoreError::RevisionTaken(snapshot.revision));
        }
    }
    connection
        .prepare_cached("INSERT INTO snapshots (revision, sealed) VALUES (?, ?)")?
        .execute(params![
            values::revision_bytes(snapshot.revision),
            seal(key, snapshot)?
        ])?;
    connection
        .prepare_cached(
            "DELETE FROM snapshots WHERE revision NOT IN
                 (SELECT revision FROM snapshots ORDER BY revision DESC LIMIT ?)",
        )?
        .execute(params![KEPT])?;
    Ok(())
}

/// The newest snapshot. One that does not open, or that says another revision than its row, is
/// damage: an older one in its place would bring back what was already sent.
pub(super) fn newest(
    connection: &Connection,
    key: &BackupKey,
) -> Result<Option<Snapshot>, StoreError> {
    let row: Option<([u8; 12], Vec<u8>)> = connection
        .prepare_cached("SELECT revision, sealed FROM snapshots ORDER BY revision DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((revision, sealed)) = row else {
        return Ok(None);
    };
    let snapshot = key
        .open_snapshot(&sealed)
        .map_err(|error| StoreError::Corrupt(format!("our newest snapshot: {error}")))?
        .snapshot;
    if snapshot.revision != values::revision(revision) {
        return Err(StoreError::corrupt(
            "our newest snapshot stands under another revision",
        ));
    }
    Ok(Some(snapshot))
}

/// All of the snapshot, nothing left out and hardly padded: no storer sees it.
fn seal(key: &BackupKey, snapshot: &Snapshot) -> Result<Vec<u8>, StoreError> {
    let all = backup::encode(snapshot, Tier::Full, usize::MAX).map_err(io)?;
    let mut nonce = [0; 24];
    OsRng.try_fill_bytes(&mut nonce).map_err(io)?;
    key.seal(&all.plaintext, Padding::Buckets, usize::MAX, nonce)
        .map_err(io)
}

fn io(error: impl ToString) -> StoreError {
    StoreError::Io(error.to_string())
}
