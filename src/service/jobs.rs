//! What the worker has to do, in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;

use crate::exchange::{Action, Record};

/// Records, and what may be done once they are durable.
#[derive(Default)]
pub(super) struct Job {
    pub records: Vec<Record>,
    pub then: Vec<Action>,
}

/// Groups actions so that what follows a record waits for it.
pub(super) fn jobs(actions: Vec<Action>) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    for action in actions {
        match (action, jobs.last_mut()) {
            (Action::Persist(record), Some(job)) if job.then.is_empty() => job.records.push(record),
            (Action::Persist(record), _) => {
                jobs.push(Job {
                    records: vec![record],
                    then: Vec::new(),
                });
            }
            (action, Some(job)) => job.then.push(action),
            (action, None) => jobs.push(Job {
                records: Vec::new(),
                then: vec![action],
            }),
        }
    }
    jobs
}

/// Of all blobs that wait for a peer only the last stays: while nothing can be written, peers must not
/// fill the memory. It takes the place of the first, as what follows for the slot may need one there.
pub(super) fn keep_last_blobs(jobs: &mut VecDeque<Job>) {
    // Of each peer: how often its slot ends, and the blob that stands after that.
    type Ends = (usize, Option<Arc<[u8]>>);
    let mut last: BTreeMap<PublicKey, Ends> = BTreeMap::new();
    for record in jobs.iter().flat_map(|job| &job.records) {
        match record {
            Record::Slot { peer, blob } => {
                last.entry(*peer).or_default().1 = Some(blob.clone());
            }
            Record::SlotExpired(peer) => {
                let (ends, blob) = last.entry(*peer).or_default();
                *ends += 1;
                *blob = None;
            }
            _ => {}
        }
    }
    for job in jobs.iter_mut() {
        job.records.retain_mut(|record| match record {
            Record::Slot { peer, blob } => {
                let stands = last.get_mut(peer).filter(|(ends, _)| *ends == 0);
                match stands.and_then(|(_, newest)| newest.take()) {
                    Some(newest) => {
                        *blob = newest;
                        true
                    }
                    None => false,
                }
            }
            Record::SlotExpired(peer) => {
                if let Some((ends, _)) = last.get_mut(peer) {
                    *ends -= 1;
                }
                true
            }
            _ => true,
        });
    }
    jobs.retain(|job| !job.records.is_empty() || !job.then.is_empty());
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{Secp256k1, SecretKey};

    use super::*;

    fn key(byte: u8) -> PublicKey {
        let secret = SecretKey::from_slice(&[byte; 32]).unwrap();
        PublicKey::from_secret_key(&Secp256k1::new(), &secret)
    }

    fn slot(peer: u8, byte: u8) -> Record {
        Record::Slot {
            peer: key(peer),
            blob: Arc::from(vec![byte; 65_531]),
        }
    }

    fn queue(records: Vec<Record>) -> VecDeque<Job> {
        let actions = records.into_iter().map(Action::Persist);
        actions.flat_map(|action| jobs(vec![action])).collect()
    }

    /// The records, in short.
    fn said(jobs: &VecDeque<Job>) -> Vec<String> {
        let records = jobs.iter().flat_map(|job| &job.records);
        let short = |record: &Record| match record {
            Record::Slot { peer, blob } => format!("{} {}", number(peer), blob[0]),
            Record::SlotUnfunded { peer, .. } => format!("{} unfunded", number(peer)),
            Record::SlotExpired(peer) => format!("{} over", number(peer)),
            _ => "other".to_owned(),
        };
        records.map(short).collect()
    }

    fn number(peer: &PublicKey) -> u8 {
        (1..=9).find(|n| key(*n) == *peer).unwrap()
    }

    #[test]
    fn while_nothing_can_be_written_memory_does_not_grow() {
        let mut jobs = VecDeque::new();
        for round in 0..100 {
            jobs.extend(queue(vec![slot(1, round), slot(2, round)]));
            keep_last_blobs(&mut jobs);
            assert_eq!(jobs.len(), 2);
            assert_eq!(said(&jobs), [format!("1 {round}"), format!("2 {round}")]);
        }
    }

    #[test]
    fn what_else_becomes_of_a_slot_is_as_before() {
        let unfunded = || Record::SlotUnfunded {
            peer: key(1),
            since_height: Some(7),
        };
        let over = || Record::SlotExpired(key(1));
        let mut jobs = queue(vec![slot(1, 1), unfunded(), slot(1, 2)]);
        keep_last_blobs(&mut jobs);
        assert_eq!(said(&jobs), ["1 2", "1 unfunded"]);
        let mut jobs = queue(vec![slot(1, 1), over(), slot(1, 2), slot(1, 3)]);
        keep_last_blobs(&mut jobs);
        assert_eq!(said(&jobs), ["1 over", "1 3"]);
        let mut jobs = queue(vec![slot(1, 1), slot(2, 1), over()]);
        keep_last_blobs(&mut jobs);
        assert_eq!(said(&jobs), ["2 1", "1 over"]);
    }

    #[test]
    fn what_waits_for_a_record_still_follows() {
        let warn = Action::Warn {
            peer: key(3),
            text: String::new(),
        };
        let mut queue: VecDeque<_> = jobs(vec![Action::Persist(slot(1, 1)), warn]).into();
        queue.extend(jobs(vec![Action::Persist(slot(1, 2))]));
        keep_last_blobs(&mut queue);
        assert_eq!(queue.len(), 1);
        assert_eq!(queue[0].then.len(), 1);
        assert_eq!(said(&queue), ["1 2"]);
    }
}
