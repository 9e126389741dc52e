//! The SDK's log, for the app to write where it writes its own.
//!
//! Nothing in it names keys, peers, channels or amounts. Only what this SDK says itself gets here: other
//! libraries would name the servers that they ask.

use std::cell::Cell;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{sync_channel, SyncSender};
use std::sync::{Arc, PoisonError, RwLock};

use log::{LevelFilter, Log, Metadata, Record};
use once_cell::sync::OnceCell;

use crate::callbacks::CallbackError;
use crate::errors::{PeerStorageError, Refusal};
use crate::runtime::contained;

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, uniffi::Enum)]
pub enum StorageLogLevel {
    /// What must not happen.
    Error,
    /// What should not happen, and is dealt with.
    Warn,
    /// What happens: a few lines a day.
    Info,
    /// What is done step by step.
    Debug,
    /// Everything.
    Trace,
}

/// A line of the log.
#[derive(Clone, Debug, uniffi::Record)]
pub struct StorageLogRecord {
    /// How grave it is.
    pub level: StorageLogLevel,
    /// The part of the SDK that says it.
    pub target: String,
    /// What it says.
    pub text: String,
}

/// Writes the log. Called by one thread of the SDK that does nothing else; lines that come while too many
/// wait are dropped, and counted. It may call the SDK.
#[uniffi::export(foreign)]
pub trait StorageLogWriter: Send + Sync {
    /// Writes a line.
    fn write(&self, record: StorageLogRecord) -> Result<(), CallbackError>;
}

/// Has the SDK's log written by `writer`, for the whole process, from this level up. Can be called again at any
/// time; none: nothing is written any more.
///
/// Throws `NotAllowed` (`LoggerIsSet`) where another Rust library in the same binary has taken the log.
#[uniffi::export]
pub fn set_log_writer(
    writer: Option<Arc<dyn StorageLogWriter>>,
    level: StorageLogLevel,
) -> Result<(), PeerStorageError> {
    contained(|| {
        static SET: OnceCell<()> = OnceCell::new();
        let forwarder = forwarder()?;
        SET.get_or_try_init(|| log::set_logger(forwarder))
            .map_err(|error| PeerStorageError::not_allowed(Refusal::LoggerIsSet, error))?;
        let is_off = writer.is_none();
        let mut place = forwarder
            .writer
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *place, writer);
        // The one before is the app's, and ends with nothing locked.
        drop(place);
        drop(before);
        // Lines below it are never made.
        log::set_max_level(match is_off {
            true => LevelFilter::Off,
            false => level.into(),
        });
        Ok(())
    })
}

/// So many lines wait at most.
const MOST_WAITING: usize = 1024;

struct Forwarder {
    writer: RwLock<Option<Arc<dyn StorageLogWriter>>>,
    lines: SyncSender<StorageLogRecord>,
    dropped: AtomicU64,
}

thread_local! {
    /// What a writer has the SDK say must not be written by it: it would never end.
    static WRITES: Cell<bool> = const { Cell::new(false) };
}

fn forwarder() -> Result<&'static Forwarder, PeerStorageError> {
    static FORWARDER: OnceCell<Forwarder> = OnceCell::new();
    FORWARDER.get_or_try_init(|| {
        let (lines, waiting) = sync_channel::<StorageLogRecord>(MOST_WAITING);
        let thread = std::thread::Builder::new().name("peer-storage-log".into());
        let run = move || {
            WRITES.with(|writes| writes.set(true));
            for line in waiting {
                write(line);
            }
        };
        let started = thread.spawn(run);
        started.map_err(|error| PeerStorageError::internal(format!("no thread: {error}")))?;
        Ok(Forwarder {
            writer: RwLock::new(None),
            lines,
            dropped: AtomicU64::new(0),
        })
    })
}

/// On the thread that does nothing else.
fn write(mut line: StorageLogRecord) {
    let Ok(forwarder) = forwarder() else { return };
    let dropped = forwarder.dropped.swap(0, Ordering::Relaxed);
    if dropped > 0 {
        line.text = format!("{} (before it, {dropped} lines were dropped)", line.text);
    }
    // Taken out, so that nothing is locked while it is called.
    let writer = forwarder
        .writer
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    if let Some(writer) = writer {
        // There is nobody to tell that it has failed.
        let _ = catch_unwind(AssertUnwindSafe(|| writer.write(line)));
    }
}

impl Log for Forwarder {
    fn enabled(&self, metadata: &Metadata) -> bool {
        is_ours(metadata.target()) && !WRITES.with(Cell::get)
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = StorageLogRecord {
            level: record.level().into(),
            target: record.target().to_owned(),
            text: record.args().to_string(),
        };
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

fn is_ours(target: &str) -> bool {
    let first = target.split("::").next();
    matches!(first, Some("ldk_peer_storage" | "peer_storage_ffi"))
}

impl From<StorageLogLevel> for LevelFilter {
    fn from(level: StorageLogLevel) -> Self {
        match level {
            StorageLogLevel::Error => LevelFilter::Error,
            StorageLogLevel::Warn => LevelFilter::Warn,
            StorageLogLevel::Info => LevelFilter::Info,
            StorageLogLevel::Debug => LevelFilter::Debug,
            StorageLogLevel::Trace => LevelFilter::Trace,
        }
    }
}

impl From<log::Level> for StorageLogLevel {
    fn from(level: log::Level) -> Self {
        match level {
            log::Level::Error => StorageLogLevel::Error,
            log::Level::Warn => StorageLogLevel::Warn,
            log::Level::Info => StorageLogLevel::Info,
            log::Level::Debug => StorageLogLevel::Debug,
            log::Level::Trace => StorageLogLevel::Trace,
        }
    }
}
