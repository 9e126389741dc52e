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
    /// What `jobs`, and what is being written, come to for peers: the blob that is kept, or that none
    /// is any more.
    pub unsaved: BTreeMap<PublicKey, Option<Arc<[u8]>>>,
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
        for (peer, blob) in job.records.iter().filter_map(slot) {
            self.unsaved.insert(*peer, blob.cloned());
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
        let records = jobs.iter().flat_map(|job| &job.records);
        for (peer, blob) in records.filter_map(slot) {
            let is_newest = match (self.unsaved.get(peer), blob) {
                (Some(Some(newest)), Some(blob)) => Arc::ptr_eq(newest, blob),
                (Some(None), None) => true,
                _ => false,
            };
            if is_newest {
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

/// What a record makes of what is kept for a peer; none: nothing is, any more.
fn slot(record: &Record) -> Option<(&PublicKey, Option<&Arc<[u8]>>)> {
    match record {
        Record::Slot { peer, blob } => Some((peer, Some(blob))),
        Record::SlotExpired(peer) => Some((peer, None)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{Secp256k1, SecretKey};

    use super::*;

    fn job(record: Record) -> Job {
        Job {
            records: vec![record],
            then: Vec::new(),
        }
    }

    #[test]
    fn what_ends_a_slot_counts_before_it_is_written() {
        let secret = SecretKey::from_slice(&[1; 32]).unwrap();
        let peer = PublicKey::from_secret_key(&Secp256k1::new(), &secret);
        let blob: Arc<[u8]> = Arc::from([7; 100]);
        let kept = job(Record::Slot {
            peer,
            blob: blob.clone(),
        });
        let (kept_again, over) = (job(kept.records[0].clone()), job(Record::SlotExpired(peer)));
        let mut desk = Desk::default();
        desk.put(kept);
        assert_eq!(desk.unsaved.get(&peer), Some(&Some(blob)));
        desk.put(job(over.records[0].clone()));
        assert_eq!(desk.unsaved.get(&peer), Some(&None), "nothing is kept");
        desk.written(&[kept_again]);
        assert_eq!(desk.unsaved.get(&peer), Some(&None), "still nothing");
        desk.written(&[over]);
        assert!(desk.unsaved.is_empty(), "the database says so by now");
    }
}
