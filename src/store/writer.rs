//! The writer thread: group commit.
//!
//! Whatever is queued when the writer looks goes into one transaction, since the cost of a commit is
//! that of the disk, not of the rows. An idle writer starts at once, so a single submission waits
//! for nothing but its own commit.

use std::collections::{HashMap, VecDeque};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use rusqlite::{Connection, TransactionBehavior};

use super::error::StoreError;
use super::lock::DirectoryLock;
use super::{records, EventId};
use crate::backup::BackupKey;
use crate::exchange::Record;
use crate::locks::lock;

/// One transaction takes at most so many submissions ...
const BATCH_SUBMISSIONS: usize = 64;
/// ... and no further one when it has so many bytes of blobs.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

pub(super) type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// What a queued submission keeps for a peer; `None`: nothing any more.
type QueuedBlob = Option<Arc<[u8]>>;

/// What a submission asks for; all of it or nothing is done.
pub(super) enum Work {
    Records(Vec<Record>),
    Acknowledge(EventId),
    /// One more step of a recovery, sealed.
    RecoveryStep(Vec<u8>),
    /// Lets a test reach the writer's connection.
    #[cfg(test)]
    Sql(&'static str),
}

struct Submission {
    number: u64,
    work: Work,
    done: Done,
}

/// What is submitted and not yet durable; shared by the store and its writer thread.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Something was queued, or the store closes.
    queued: Condvar,
    /// Submissions were settled: durable or failed, and their callbacks have returned.
    settled: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Submission>,
    /// What the newest submission not yet settled says of a slot: its number, and the blob.
    slots: HashMap<PublicKey, (u64, QueuedBlob)>,
    /// The number of the last submission.
    last: u64,
    /// The number of the last settled submission.
    settled: u64,
    /// The number of the last submission that failed.
    failed: u64,
    closing: bool,
}

impl Queue {
    /// Queues work. Once the store is closed, `done` is called at once on this thread.
    pub(super) fn push(&self, work: Work, done: Done) {
        let mut state = self.state();
        if state.closing {
            drop(state);
            return done(Err(StoreError::Closed));
        }
        state.last += 1;
        let number = state.last;
        for (peer, blob) in slot_writes(&work) {
            state.slots.insert(peer, (number, blob));
        }
        state.waiting.push_back(Submission { number, work, done });
        self.queued.notify_one();
    }

    /// What is queued for a slot: `None` nothing, `Some(None)` that none is kept.
    pub(super) fn slot(&self, peer: &PublicKey) -> Option<QueuedBlob> {
        self.state().slots.get(peer).map(|(_, blob)| blob.clone())
    }

    /// Waits until all that is queued now is settled; whether all of that was written.
    pub(super) fn wait(&self, budget: Duration) -> bool {
        let start = Instant::now();
        let mut state = self.state();
        let (before, last) = (state.settled, state.last);
        while state.settled < last {
            let Some(left) = budget.checked_sub(start.elapsed()) else {
                return false;
            };
            state = self
                .settled
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state.failed <= before
    }

    /// Takes no more; the writer ends when it has written what is queued.
    pub(super) fn close(&self) {
        self.state().closing = true;
        self.queued.notify_one();
    }

    /// Fails what is queued: there is no writer any more.
    fn abandon(&self) {
        let waiting = {
            let mut state = self.state();
            state.closing = true;
            std::mem::take(&mut state.waiting)
        };
        for submission in waiting {
            (submission.done)(Err(StoreError::Closed));
        }
    }

    fn take_batch(&self) -> Option<Vec<Submission>> {
        let mut state = self.state();
        while state.waiting.is_empty() {
            if state.closing {
                return None;
            }
            state = self
                .queued
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let mut bytes = 0;
        let mut batch = Vec::new();
        while batch.len() < BATCH_SUBMISSIONS && bytes < BATCH_BYTES {
            let Some(submission) = state.waiting.pop_front() else {
                break;
            };
            bytes += submission.work.blob_bytes();
            batch.push(submission);
        }
        Some(batch)
    }

    /// Lets readers of slots see the database again. Only once the outcome is final.
    fn forget_slots(&self, submission: &Submission) {
        let mut state = self.state();
        for (peer, _) in slot_writes(&submission.work) {
            if state
                .slots
                .get(&peer)
                .is_some_and(|(number, _)| *number == submission.number)
            {
                state.slots.remove(&peer);
            }
        }
    }

    fn settle(&self, number: u64, written: bool) {
        let mut state = self.state();
        state.settled = number;
        if !written {
            state.failed = number;
        }
        self.settled.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Work {
    fn blob_bytes(&self) -> usize {
        let Work::Records(records) = self else {
            return 0;
        };
        let len = |record: &Record| match record {
            Record::Slot { blob, .. } | Record::Foreign { blob, .. } => blob.len(),
            _ => 0,
        };
        records.iter().map(len).sum()
    }
}

fn slot_writes(work: &Work) -> impl Iterator<Item = (PublicKey, QueuedBlob)> + '_ {
    let records = match work {
        Work::Records(records) => records.as_slice(),
        _ => &[],
    };
    records.iter().filter_map(|record| match record {
        Record::Slot { peer, blob } => Some((*peer, Some(blob.clone()))),
        Record::SlotExpired(peer) => Some((*peer, None)),
        _ => None,
    })
}

/// The writer's own things: the only connection that writes, and the lock on the directory, which
/// ends after the connection.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) key: BackupKey,
    pub(super) queue: Arc<Queue>,
    pub(super) _lock: DirectoryLock,
}

impl Writer {
    /// Writes until the store is closed and the queue is empty.
    pub(super) fn run(mut self) {
        while let Some(batch) = self.queue.take_batch() {
            let start = Instant::now();
            let work: Vec<&Work> = batch.iter().map(|submission| &submission.work).collect();
            let results = self.write(&work);
            let failed = results.iter().filter(|result| result.is_err()).count();
            log::debug!(
                "store: {} submissions in {:?}, {failed} failed",
                batch.len(),
                start.elapsed(),
            );
            for (submission, result) in batch.into_iter().zip(results) {
                self.finish(submission, result);
            }
        }
    }

    /// Writes all in one transaction; or, where that fails, each in its own, so that none fails for
    /// another's sake.
    fn write(&mut self, batch: &[&Work]) -> Vec<Result<(), StoreError>> {
        match self.write_together(batch) {
            Ok(()) => vec![Ok(()); batch.len()],
            Err(error) if batch.len() == 1 => vec![Err(error)],
            Err(_) => batch
                .iter()
                .map(|work| self.write_together(&[work]))
                .collect(),
        }
    }

    fn write_together(&mut self, batch: &[&Work]) -> Result<(), StoreError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for work in batch {
            match work {
                Work::Records(records) => {
                    for record in records {
                        records::apply(&transaction, &self.key, record)?;
                    }
                }
                Work::Acknowledge(id) => records::acknowledge(&transaction, *id)?,
                Work::RecoveryStep(sealed) => records::add_recovery_step(&transaction, sealed)?,
                #[cfg(test)]
                Work::Sql(sql) => transaction.execute_batch(sql)?,
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn finish(&self, submission: Submission, result: Result<(), StoreError>) {
        self.queue.forget_slots(&submission);
        let Submission { number, done, .. } = submission;
        let written = result.is_ok();
        // The caller's bug must not end the thread that everyone waits for.
        if catch_unwind(AssertUnwindSafe(|| done(result))).is_err() {
            log::error!("store: a callback panicked");
        }
        self.queue.settle(number, written);
    }
}

// Nothing is queued here at a regular end. Should the thread ever panic, nobody waits for it.
impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}
