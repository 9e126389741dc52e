//! SQLite connections: how the file comes into being, is opened with care, and becomes durable.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::rand_core::RngCore;
use chacha20poly1305::aead::OsRng;
use rusqlite::config::DbConfig;
use rusqlite::{params, Connection, OpenFlags, TransactionBehavior};

use super::error::StoreError;
use super::{schema, values, Owner};
use crate::backup::Revision;

/// The database. Its write-ahead log stands beside it, with `-wal` added to the name.
pub(super) const DATABASE: &str = "peer-storage.sqlite";

/// A write-ahead log larger than this is cut down when it is empty again. In bytes.
const LOG_SIZE_LIMIT: u32 = 8 * 1024 * 1024;

/// Pages are kept in memory up to this, in KiB, for each connection. Blobs pass through once: more
/// than the small tables would be memory for nothing.
const CACHE_KIB: u32 = 512;

/// The database file of a data directory, made where there is none.
///
/// Creation is atomic: the file is made under another name, whole, and then renamed. So a file that
/// is empty or cut short was damaged, and is never taken for a new one.
pub(super) fn ensure_exists(dir: &Path, owner: &Owner) -> Result<PathBuf, StoreError> {
    let path = dir.join(DATABASE);
    if path.try_exists()? {
        return Ok(path);
    }
    if has_content(&log_of(&path))? {
        return Err(StoreError::corrupt("the log is there, the database is not"));
    }
    let unfinished = dir.join("peer-storage.sqlite.new");
    for leftover in with_companions(&unfinished) {
        remove_if_there(&leftover)?;
    }
    create(&unfinished, owner)?;
    std::fs::rename(&unfinished, &path)?;
    sync_directory(dir)?;
    Ok(path)
}

fn create(path: &Path, owner: &Owner) -> Result<(), StoreError> {
    let mut installation = [0; 8];
    OsRng
        .try_fill_bytes(&mut installation)
        .map_err(|error| StoreError::Io(error.to_string()))?;

    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA fullfsync = ON;")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(&format!(
        "PRAGMA application_id = {}",
        schema::APPLICATION_ID
    ))?;
    schema::migrate(&transaction, 0)?;
    transaction.execute(
        "INSERT INTO meta (id, installation, node_id, network, highest_seen) VALUES (1, ?, ?, ?, ?)",
        params![
            installation,
            owner.node_id.serialize(),
            owner.network.to_string(),
            values::revision_bytes(Revision::default()),
        ],
    )?;
    transaction.commit()?;
    // Last, while no log is there yet: the file is complete without one.
    use_log(&connection)?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(())
}

/// Opens an existing database so that nothing but reading happens to it: what a stopped process
/// left in the log stays there, even when the connection is closed.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.execute_batch("PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;")?;
    Ok(connection)
}

/// Makes a connection that [`open`] gave, to a database found good, the writer.
pub(super) fn make_writer(connection: &Connection) -> Result<(), StoreError> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    use_log(connection)?;
    // FULL: a commit has reached the disk when it returns (safety rules 5 and 11). On Apple's
    // systems fsync alone does not get that far.
    connection.execute_batch(&format!(
        "PRAGMA synchronous = FULL;
         PRAGMA fullfsync = ON;
         PRAGMA checkpoint_fullfsync = ON;
         PRAGMA foreign_keys = ON;
         PRAGMA journal_size_limit = {LOG_SIZE_LIMIT};
         PRAGMA cache_size = -{CACHE_KIB};",
    ))?;
    // SQLite opens a file that may not be written without a word.
    connection.execute_batch("BEGIN IMMEDIATE; COMMIT;")?;
    Ok(())
}

/// Makes a connection that [`open`] gave the reader.
pub(super) fn make_reader(connection: &Connection) -> Result<(), StoreError> {
    connection.execute_batch(&format!(
        "PRAGMA query_only = ON; PRAGMA cache_size = -{CACHE_KIB};"
    ))?;
    Ok(())
}

fn use_log(connection: &Connection) -> Result<(), StoreError> {
    let mut statement = connection.prepare("PRAGMA journal_mode = WAL")?;
    let mut rows = statement.query([])?;
    let mut mode = String::new();
    // To the end: SQLite names the new mode first, and writes it afterwards.
    while let Some(row) = rows.next()? {
        mode = row.get(0)?;
    }
    if mode != "wal" {
        return Err(StoreError::Io(
            "this file system allows no write-ahead log".to_owned(),
        ));
    }
    Ok(())
}

/// A database and the files that SQLite keeps beside it, the database first.
pub(super) fn with_companions(path: &Path) -> [PathBuf; 4] {
    ["", "-wal", "-shm", "-journal"].map(|suffix| with_suffix(path, suffix))
}

pub(super) fn log_of(path: &Path) -> PathBuf {
    with_suffix(path, "-wal")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

pub(super) fn has_content(path: &Path) -> Result<bool, StoreError> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len() > 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Makes a rename durable.
pub(super) fn sync_directory(dir: &Path) -> Result<(), StoreError> {
    if cfg!(unix) {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}
