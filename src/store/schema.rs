//! The tables, and the way from each earlier schema to the newest.

use rusqlite::Connection;

use super::error::StoreError;

/// Marks an SQLite file as ours: "PSTO".
pub(super) const APPLICATION_ID: i64 = 0x5053_544f;

/// The newest schema known here. A file with a higher number is refused before anything is touched.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Entry n leads from schema n to n + 1. An entry that was released is never changed.
///
/// A new kind of event, alarm or other stored value is a new schema, even where no table changes: an
/// earlier version must refuse the file instead of failing to read a row.
const MIGRATIONS: &[&str] = &[SCHEMA_1, SCHEMA_2, SCHEMA_3];

// Revisions are 12 bytes, big-endian epoch and generation, so that they compare as they should and
// no generation is too large for an SQLite integer. Public keys are 33 bytes. `tlv` columns hold
// what `values.rs` writes.
//
// Blobs of up to 64 KiB stand in tables of their own: opening a store, and noting a block height,
// reads and writes none of them.
const SCHEMA_1: &str = "
-- One row: whose directory this is, and what is true of the whole of it. Every schema keeps the
-- first four columns, so that a directory of another node is known before any migration.
CREATE TABLE meta (
    id           INTEGER PRIMARY KEY CHECK (id = 1),
    installation BLOB NOT NULL CHECK (length(installation) = 8),
    node_id      BLOB NOT NULL CHECK (length(node_id) = 33),
    network      TEXT NOT NULL,
    past_known   INTEGER NOT NULL DEFAULT 0 CHECK (past_known IN (0, 1)),
    highest_seen BLOB NOT NULL CHECK (length(highest_seen) = 12),
    lost_before  INTEGER NOT NULL DEFAULT 0,
    last_alarm   INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Our own snapshots, sealed: the newest and a few before it.
CREATE TABLE snapshots (
    revision BLOB PRIMARY KEY CHECK (length(revision) = 12),
    sealed   BLOB NOT NULL
) STRICT;

-- Peers as keepers of our backup.
CREATE TABLE storers (
    peer BLOB PRIMARY KEY CHECK (length(peer) = 33),
    tlv  BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Backups of this node by other installations, as peers returned them.
CREATE TABLE foreign_backups (
    id           INTEGER PRIMARY KEY,
    peer         BLOB NOT NULL CHECK (length(peer) = 33),
    installation BLOB NOT NULL CHECK (length(installation) = 8),
    revision     BLOB NOT NULL CHECK (length(revision) = 12),
    len          INTEGER NOT NULL,
    crc32        INTEGER NOT NULL,
    UNIQUE (peer, installation)
) STRICT;
CREATE TABLE foreign_blobs (
    id    INTEGER PRIMARY KEY REFERENCES foreign_backups (id) ON DELETE CASCADE,
    bytes BLOB NOT NULL
) STRICT;

-- Channels whose outputs are swept and buried.
CREATE TABLE resolved (
    tlv BLOB PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- Alarms that are not over.
CREATE TABLE alarms (
    id  INTEGER PRIMARY KEY,
    tlv BLOB NOT NULL
) STRICT;

-- What the app has not yet acknowledged. Numbers are never used twice.
CREATE TABLE events (
    id  INTEGER PRIMARY KEY AUTOINCREMENT,
    tlv BLOB NOT NULL
) STRICT;

-- What we keep for peers: one row for each.
CREATE TABLE slots (
    id             INTEGER PRIMARY KEY,
    peer           BLOB NOT NULL UNIQUE CHECK (length(peer) = 33),
    len            INTEGER NOT NULL,
    crc32          INTEGER NOT NULL,
    unfunded_since INTEGER
) STRICT;
CREATE TABLE slot_blobs (
    id    INTEGER PRIMARY KEY REFERENCES slots (id) ON DELETE CASCADE,
    bytes BLOB NOT NULL
) STRICT;
";

const SCHEMA_2: &str = "
-- What a recovery of funds has decided and done, in its order, sealed.
CREATE TABLE recovery_steps (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    sealed BLOB NOT NULL
) STRICT;
";

const SCHEMA_3: &str = "
-- A restore has ended here: the channels of the backups are on no device. A storer may be contradicted.
ALTER TABLE meta ADD COLUMN was_restored INTEGER NOT NULL DEFAULT 0
    CHECK (was_restored IN (0, 1));
";

/// The tables that `open` checks page by page, all but those of blobs, each with the schema that
/// brought it.
const SMALL_TABLES: &[(i64, &str)] = &[
    (1, "meta"),
    (1, "snapshots"),
    (1, "storers"),
    (1, "foreign_backups"),
    (1, "resolved"),
    (1, "alarms"),
    (1, "events"),
    (1, "slots"),
    (2, "recovery_steps"),
];

/// The tables that `open` checks page by page in a file of this schema.
pub(super) fn small_tables(version: i64) -> impl Iterator<Item = &'static str> {
    let there = SMALL_TABLES
        .iter()
        .filter(move |(since, _)| *since <= version);
    there.map(|(_, table)| *table)
}

/// The schema of an existing file: ours, and not from the future. Reads the header alone.
pub(super) fn known_version(connection: &Connection) -> Result<i64, StoreError> {
    let application_id: i64 = pragma(connection, "PRAGMA application_id")?;
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    // Every file of ours uses the log from the start; without it, what is in the log would be lost.
    if application_id != APPLICATION_ID || mode != "wal" {
        return Err(StoreError::corrupt(
            "the header is not that of a peer storage",
        ));
    }
    let found: i64 = pragma(connection, "PRAGMA user_version")?;
    match found {
        found if found > VERSION => Err(StoreError::NewerSchema {
            found,
            known: VERSION,
        }),
        found if found < 1 => Err(StoreError::corrupt("the schema has no version")),
        found => Ok(found),
    }
}

/// Brings the tables from schema `from` (0: an empty file) to the newest. The caller commits.
pub(super) fn migrate(connection: &Connection, from: i64) -> Result<(), StoreError> {
    for migration in MIGRATIONS.iter().skip(usize::try_from(from).unwrap_or(0)) {
        connection.execute_batch(migration)?;
    }
    if from < VERSION {
        connection.execute_batch(&format!("PRAGMA user_version = {VERSION}"))?;
    }
    Ok(())
}

fn pragma(connection: &Connection, sql: &str) -> Result<i64, StoreError> {
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}
