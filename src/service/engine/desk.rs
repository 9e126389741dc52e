//! What waits for the worker.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;

use super::super::jobs::{keep_last_blobs, Job};
use crate::backup::ChannelIds;
use crate::exchange::{Record, Time};
use crate::store::StoreError;

/// A failed write is tried again after this.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Desk {
    pub jobs: VecDeque<Job>,
    /// Blobs kept for peers that are in `jobs` or being written.
    pub unsaved: BTreeMap<PublicKey, Arc<[u8]>>,
    pub wallet_is_dirty: bool,
    /// The exchange wants the monitors.
    pub wants_monitors: bool,
    /// Channels whose monitors were archived: their outputs are swept and buried.
    pub archived: Vec<ChannelIds>,
    /// Messages of the node that were held may leave now.
    pub gate_has_opened: bool,
    pub wake_at: Option<Time>,
    /// How many threads have taken something from here and are not done with it.
    pub busy: usize,
    pub stopping: bool,
    /// The worker thread is gone, at the end or by a panic.
    pub ended: bool,
    /// Records that could not be written while stopping.
    pub lost: usize,
    /// Peers that were told on their present connection that nothing is kept any more.
    pub refused: BTreeSet<PublicKey>,
    /// Why the last write failed; none: it did not.
    pub failure: Option<StoreError>,
    retry_at: Option<Instant>,
}

impl Desk {
    /// Nothing is written or pushed any more, apart from what waits.
    pub fn is_closed(&self) -> bool {
        self.stopping || self.ended
    }

    /// Everything that was ever put here is done.
    pub fn is_clear(&self) -> bool {
        let nothing_to_read = !self.wallet_is_dirty && !self.wants_monitors;
        let idle = self.jobs.is_empty() && self.busy == 0 && nothing_to_read;
        idle && self.lost == 0 && self.failure.is_none()
    }

    pub fn put(&mut self, job: Job) {
        for record in &job.records {
            if let Record::Slot { peer, blob } = record {
                self.unsaved.insert(*peer, blob.clone());
            }
        }
        self.jobs.push_back(job);
    }

    /// The peers' blobs among the jobs, in bytes.
    pub fn waiting_bytes(&self) -> usize {
        let records = self.jobs.iter().flat_map(|job| &job.records);
        let len = |record: &Record| match record {
            Record::Slot { blob, .. } => blob.len(),
            _ => 0,
        };
        records.map(len).sum()
    }

    /// How long nothing is to be written after a failure.
    pub fn retry_in(&self) -> Option<Duration> {
        let at = self.retry_at?;
        Some(at.saturating_duration_since(Instant::now()))
    }

    pub fn written(&mut self, jobs: &[Job]) {
        self.failure = None;
        self.retry_at = None;
        for record in jobs.iter().flat_map(|job| &job.records) {
            let Record::Slot { peer, blob } = record else {
                continue;
            };
            let newest = self.unsaved.get(peer);
            if newest.is_some_and(|newest| Arc::ptr_eq(newest, blob)) {
                self.unsaved.remove(peer);
            }
        }
    }

    /// What could not be written goes back to the front of the queue: nothing is lost, and nothing
    /// overtakes it.
    pub fn not_written(&mut self, jobs: Vec<Job>, error: StoreError) {
        log::error!("cannot write to the data directory: {error}");
        self.retry_at = Some(Instant::now() + RETRY);
        self.failure = Some(error);
        if self.is_closed() {
            let lost: usize = jobs.iter().map(|job| job.records.len()).sum();
            log::error!("{lost} records are lost, for the worker has to end");
            self.lost += lost;
            return;
        }
        for job in jobs.into_iter().rev() {
            self.jobs.push_front(job);
        }
        keep_last_blobs(&mut self.jobs);
    }
}
