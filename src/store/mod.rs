//! The data directory: what must survive a restart, a crash and a power loss, in SQLite. The only
//! SQL of this project.
//!
//! ```text
//! Record --submit--> queue --writer thread: one transaction, fsync--> peer-storage.sqlite
//!                      |                                                 |
//!                      +-- slot, before it is durable --> reader <-------+  one more connection
//! ```
//!
//! * `schema` the tables and their migrations; `connection` how the file is made and opened;
//!   `lock` who owns the directory;
//! * `writer` group commit; `records` what each record does; `own`, `blobs`, `values` what is in the
//!   columns;
//! * `load` what opening reads; `aside` the way on from a file that cannot be used.

mod aside;
mod blobs;
mod connection;
mod error;
mod load;
mod lock;
mod own;
mod records;
mod schema;
#[cfg(test)]
mod tests;
mod values;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::{mpsc, Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use bitcoin::Network;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use crate::backup::{BackupKey, InstallationId, Revision};
use crate::exchange::Event;
use crate::exchange::{Record, SavedState};
use crate::locks::lock;
use lock::DirectoryLock;
use writer::{Done, Queue, Work, Writer};

pub use aside::move_aside;
pub use error::StoreError;

/// Whose data directory it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The node whose peers and backups these are.
    pub node_id: PublicKey,
    /// The network it runs on.
    pub network: Network,
}

/// The durable name of an event. Unique within a data directory, rising.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub u64);

/// A backup of this node that another installation made and a peer returned.
#[derive(Clone, PartialEq, Eq)]
pub struct ForeignBlob {
    /// Who returned it.
    pub peer: PublicKey,
    /// Which data directory made it.
    pub installation: InstallationId,
    /// Its place in the order of backups.
    pub revision: Revision,
    /// As it came, sealed.
    pub blob: Vec<u8>,
}

/// An open data directory.
///
/// One for a directory: the directory is locked until [`close`](Store::close) or drop. All methods
/// may be called from any thread; put it into an `Arc` to share it. A thread of its own writes.
/// Callbacks run on that thread: they must be short, and must not wait for the store (`apply`,
/// `acknowledge`, `flush`).
///
/// Memory: what is submitted is held until it is durable, without a bound of its own; the caller
/// limits how much it submits. A blob in the queue is not copied.
pub struct Store {
    queue: Arc<Queue>,
    reader: Mutex<Option<Connection>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    writer_id: ThreadId,
}

impl Store {
    /// Opens a data directory, or makes a new one, parent directories included, and returns what was
    /// durable in it. Reads no blob of a peer. Blocks for a few milliseconds.
    ///
    /// `key` opens and seals the snapshots of `owner`, which never stand in the clear in the file.
    /// A new directory does not know its past.
    ///
    /// # Errors
    /// Any [`StoreError`] but `Closed` and `RevisionTaken`. With `NewerSchema`, `Corrupt` and
    /// `WrongNode` the database is as it was, byte for byte.
    pub fn open(
        dir: &Path,
        key: BackupKey,
        owner: Owner,
    ) -> Result<(Store, SavedState), StoreError> {
        let start = Instant::now();
        std::fs::create_dir_all(dir)?;
        let lock = DirectoryLock::take(dir)?;
        let path = connection::ensure_exists(dir, &owner)?;

        let mut connection = connection::open(&path)?;
        #[cfg(test)]
        tests::trace(&mut connection);
        let state = prepare(&mut connection, &key, &owner)?;
        #[cfg_attr(not(test), allow(unused_mut))]
        let mut reader = connection::open(&path)?;
        #[cfg(test)]
        tests::trace(&mut reader);
        connection::make_reader(&reader)?;
        connection::make_writer(&connection)?;

        let queue = Arc::new(Queue::default());
        let writer = Writer {
            connection,
            key,
            queue: queue.clone(),
            _lock: lock,
        };
        let writer = thread::Builder::new()
            .name("peer-storage-store".to_owned())
            .spawn(move || writer.run())?;
        log::debug!(
            "store: opened with {} slots in {:?}",
            state.slots.len(),
            start.elapsed()
        );
        let store = Store {
            queue,
            reader: Mutex::new(Some(reader)),
            writer_id: writer.thread().id(),
            writer: Mutex::new(Some(writer)),
        };
        Ok((store, state))
    }

    /// Queues records: all of them become durable together, or none. Returns at once.
    ///
    /// Submissions are written in the order in which they were queued, as many as are there in one
    /// transaction. `done` is called on the writer thread when the records are on the disk, or with
    /// the error; callbacks come in the order of submission. After [`close`](Store::close) it is
    /// called at once, on the calling thread, with [`StoreError::Closed`].
    ///
    /// After an error nothing of the submission is there, and it can be made again. Where its last sync
    /// failed and the process ends before anything else is written, it may be there in the next life.
    pub fn submit(
        &self,
        records: Vec<Record>,
        done: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) {
        self.queue.push(Work::Records(records), Box::new(done));
    }

    /// [`submit`](Store::submit), and waits for the result. Not from a callback.
    pub fn apply(&self, records: Vec<Record>) -> Result<(), StoreError> {
        self.write(Work::Records(records))
    }

    /// The blob kept for a peer, as it came; the one that was submitted last, durable or not yet.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where it is not as it came.
    pub fn slot(&self, peer: &PublicKey) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(queued) = self.queue.slot(peer) {
            return Ok(queued.map(|blob| blob.to_vec()));
        }
        self.read(|reader| blobs::slot(reader, peer))
    }

    /// The oldest event that is not acknowledged. Only durable ones are told.
    pub fn next_event(&self) -> Result<Option<(EventId, Event)>, StoreError> {
        let row: Option<(i64, Vec<u8>)> = self.read(|reader| {
            Ok(reader
                .prepare_cached("SELECT id, tlv FROM events ORDER BY id LIMIT 1")?
                .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?)
        })?;
        row.map(|(id, tlv)| Ok((EventId(id as u64), values::decode(&tlv, "an event")?)))
            .transpose()
    }

    /// The app has acted on this event: it is not told again, not even after a crash. Waits until
    /// that is durable. An event that is gone already is no error.
    pub fn acknowledge(&self, id: EventId) -> Result<(), StoreError> {
        self.write(Work::Acknowledge(id))
    }

    /// All returned blobs that other installations made: the newest of each peer and installation.
    pub fn foreign_blobs(&self) -> Result<Vec<ForeignBlob>, StoreError> {
        self.read(blobs::foreign)
    }

    /// Adds a step to the record of a recovery. The caller seals it. Durable on return.
    pub(crate) fn add_recovery_step(&self, sealed: Vec<u8>) -> Result<(), StoreError> {
        self.write(Work::RecoveryStep(sealed))
    }

    /// All steps of recoveries, in their order, as they were handed in.
    pub(crate) fn recovery_steps(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        self.read(records::recovery_steps)
    }

    /// Waits until all that was submitted before is durable and its callbacks have returned, at most
    /// for `budget`. Returns `false` where that took too long, or something of it failed.
    pub fn flush(&self, budget: Duration) -> bool {
        self.queue.wait(budget)
    }

    /// Writes what is queued, ends the writer thread, and releases the lock and all files. Every
    /// other call then gives [`StoreError::Closed`]. Dropping the store does the same.
    ///
    /// From a callback it does not wait: the writer thread ends after what is queued.
    pub fn close(&self) {
        // The reader first: the connection that is closed last empties the log, and only the writer may.
        drop(self.reader().take());
        self.queue.close();
        let writer = lock(&self.writer).take();
        if let Some(writer) = writer.filter(|_| !self.on_writer_thread()) {
            if writer.join().is_err() {
                log::error!("store: the writer thread panicked");
            }
        }
    }

    fn write(&self, work: Work) -> Result<(), StoreError> {
        if self.on_writer_thread() {
            return Err(StoreError::Io(
                "a callback must not wait for the store".to_owned(),
            ));
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let done: Done = Box::new(move |result| {
            let _ = sender.send(result);
        });
        self.queue.push(work, done);
        receiver.recv().unwrap_or(Err(StoreError::Closed))
    }

    fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        query(self.reader().as_ref().ok_or(StoreError::Closed)?)
    }

    fn reader(&self) -> MutexGuard<'_, Option<Connection>> {
        lock(&self.reader)
    }

    fn on_writer_thread(&self) -> bool {
        thread::current().id() == self.writer_id
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

/// From a connection to a file that may be anything to one with the newest schema, and the state.
/// Everything that can be wrong is found before the first byte is written.
fn prepare(
    connection: &mut Connection,
    key: &BackupKey,
    owner: &Owner,
) -> Result<SavedState, StoreError> {
    let version = schema::known_version(connection)?;
    load::check_owner(connection, owner)?;
    load::check_tables(connection, version)?;
    // One transaction: a migration whose outcome does not load has not happened.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
    schema::migrate(&transaction, version)?;
    let state = load::load(&transaction, key)?;
    transaction.commit()?;
    Ok(state)
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

// A blob in a log would be a backup in a log.
impl fmt::Debug for ForeignBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeignBlob")
            .field("peer", &self.peer)
            .field("installation", &self.installation)
            .field("revision", &self.revision)
            .field("bytes", &self.blob.len())
            .finish()
    }
}
