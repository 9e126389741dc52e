//! Blobs that came from peers: theirs, which we keep for them, and ours, which others made.
//!
//! Their bytes stand beside a checksum: SQLite itself does not notice damage inside a large value,
//! and a peer must never be sent a damaged backup (safety rule 12).

use bitcoin::secp256k1::PublicKey;
use rusqlite::{params, Connection, OptionalExtension};

use super::error::StoreError;
use super::{values, ForeignBlob};
use crate::backup::{InstallationId, Revision};

/// Keeps `blob` for `peer` in place of the one before.
pub(super) fn save_slot(
    connection: &Connection,
    peer: &PublicKey,
    blob: &[u8],
) -> Result<(), StoreError> {
    let id: i64 = connection
        .prepare_cached(
            "INSERT INTO slots (peer, len, crc32) VALUES (?, ?, ?)
             ON CONFLICT (peer) DO UPDATE SET len = excluded.len, crc32 = excluded.crc32
             RETURNING id",
        )?
        .query_row(
            params![peer.serialize(), blob.len() as i64, checksum(blob)],
            |row| row.get(0),
        )?;
    connection
        .prepare_cached(
            // Not `OR REPLACE`, which takes twice as long: an update writes over the old pages.
            "INSERT INTO slot_blobs (id, bytes) VALUES (?, ?)
             ON CONFLICT (id) DO UPDATE SET bytes = excluded.bytes",
        )?
        .execute(params![id, blob])?;
    Ok(())
}

pub(super) fn set_unfunded(
    connection: &Connection,
    peer: &PublicKey,
    since_height: Option<u32>,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE slots SET unfunded_since = ? WHERE peer = ?")?
        .execute(params![since_height, peer.serialize()])?;
    Ok(())
}

pub(super) fn delete_slot(connection: &Connection, peer: &PublicKey) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM slots WHERE peer = ?")?
        .execute(params![peer.serialize()])?;
    Ok(())
}

pub(super) fn slot(
    connection: &Connection,
    peer: &PublicKey,
) -> Result<Option<Vec<u8>>, StoreError> {
    let row: Option<(i64, Option<Vec<u8>>)> = connection
        .prepare_cached(
            "SELECT crc32, bytes FROM slots LEFT JOIN slot_blobs USING (id) WHERE peer = ?",
        )?
        .query_row(params![peer.serialize()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    row.map(|(crc32, bytes)| undamaged(bytes, crc32))
        .transpose()
}

/// Keeps a returned blob of another installation, unless a newer one, or as new a one that says no
/// less, came from the same peer before.
pub(super) fn save_foreign(
    connection: &Connection,
    peer: &PublicKey,
    installation: InstallationId,
    revision: Revision,
    blob: &[u8],
) -> Result<(), StoreError> {
    let id: Option<i64> = connection
        .prepare_cached(
            "INSERT INTO foreign_backups (peer, installation, revision, len, crc32)
             VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (peer, installation) DO UPDATE
                 SET revision = excluded.revision, len = excluded.len, crc32 = excluded.crc32
                 WHERE (excluded.revision, excluded.len) > (revision, len)
             RETURNING id",
        )?
        .query_row(
            params![
                peer.serialize(),
                installation.0,
                values::revision_bytes(revision),
                blob.len() as i64,
                checksum(blob),
            ],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(id) = id {
        connection
            .prepare_cached(
                "INSERT INTO foreign_blobs (id, bytes) VALUES (?, ?)
                 ON CONFLICT (id) DO UPDATE SET bytes = excluded.bytes",
            )?
            .execute(params![id, blob])?;
    }
    Ok(())
}

pub(super) fn foreign(connection: &Connection) -> Result<Vec<ForeignBlob>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT peer, installation, revision, crc32, bytes
         FROM foreign_backups LEFT JOIN foreign_blobs USING (id) ORDER BY peer, installation",
    )?;
    let mut rows = statement.query([])?;
    let mut blobs = Vec::new();
    while let Some(row) = rows.next()? {
        let peer: [u8; 33] = row.get(0)?;
        blobs.push(ForeignBlob {
            peer: values::public_key(&peer)?,
            installation: InstallationId(row.get(1)?),
            revision: values::revision(row.get(2)?),
            blob: undamaged(row.get(4)?, row.get(3)?)?,
        });
    }
    Ok(blobs)
}

fn checksum(bytes: &[u8]) -> i64 {
    i64::from(crc32fast::hash(bytes))
}

fn undamaged(bytes: Option<Vec<u8>>, expected: i64) -> Result<Vec<u8>, StoreError> {
    bytes
        .filter(|bytes| checksum(bytes) == expected)
        .ok_or_else(|| StoreError::corrupt("a stored blob is damaged"))
}
