//! One peer: dialled, read back, pushed to, and left in order.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::dial::{Dialler, Insistence};
use super::observer::Claim;
use super::quiet_node::Connection;
use super::report::{NotReached, PeerReport, Returned, Visit};
use super::{Times, Work};
use crate::backup::PeerRecord;
use crate::exchange::{Past, Progress};
use crate::service::PeerStorage;

/// What a visit that was cut has left to tell of itself.
const LAST_WORD: Duration = Duration::from_millis(100);

/// Visits peers. Clones share what is between them.
#[derive(Clone)]
pub(super) struct Visitor {
    pub storage: PeerStorage,
    pub dialler: Dialler,
    pub times: Times,
    /// Whether what peers say of their channels is waited for, too. It is where the past is unknown.
    pub settles: bool,
    /// So many visits at once.
    pub places: Arc<Semaphore>,
}

/// When to begin to end a call, for hanging up takes a moment; when the last connection is cut; and when
/// the call is over.
#[derive(Clone, Copy)]
pub(super) struct Budget {
    pub work_ends: Instant,
    pub cut: Instant,
    pub over: Instant,
}

impl Budget {
    pub fn new(budget: Duration, linger: Duration) -> Budget {
        let now = Instant::now();
        // Beyond what can be measured: a year will do.
        let budget = budget.min(Duration::from_secs(365 * 24 * 60 * 60));
        Budget {
            work_ends: now + (budget - linger.min(budget / 4)),
            cut: now + (budget - LAST_WORD.min(budget / 8)),
            over: now + budget,
        }
    }
}

impl Visitor {
    pub async fn visit(self, peer: PeerRecord, work: Work, budget: Budget) -> PeerReport {
        let outcome = self.try_to_visit(&peer, work, budget).await;
        PeerReport {
            peer: peer.node_id,
            outcome,
        }
    }

    async fn try_to_visit(
        &self,
        peer: &PeerRecord,
        work: Work,
        budget: Budget,
    ) -> Result<Visit, NotReached> {
        let observer = &self.dialler.node.observer;
        let place = observer.within(budget.work_ends, self.places.acquire());
        let _place = place.await.ok_or(NotReached::OutOfTime)?;
        let claim = self.claim(peer.node_id, budget.work_ends).await?;
        let mut visit = self.insist(&claim, peer, budget).await?;
        let was_sent = visit.sent.is_some() && visit.delivered;
        if work.verify && !visit.verified && was_sent {
            if let Ok(second) = self.insist(&claim, peer, budget).await {
                visit.verified = second.verified;
                visit.sent = second.sent.or(visit.sent);
                visit.delivered = second.delivered;
            }
        }
        Ok(visit)
    }

    async fn claim(&self, peer: PublicKey, end: Instant) -> Result<Arc<Claim>, NotReached> {
        let claim = self.dialler.node.observer.claim(peer, end).await;
        claim.map(Arc::new).ok_or(NotReached::OutOfTime)
    }

    async fn insist(
        &self,
        claim: &Arc<Claim>,
        peer: &PeerRecord,
        budget: Budget,
    ) -> Result<Visit, NotReached> {
        let mut insistence = Insistence::new(&self.dialler, budget.work_ends);
        loop {
            match self.visit_once(claim, peer, budget).await {
                Ok(visit) => return Ok(visit),
                Err(error) => insistence.after(error).await?,
            }
        }
    }

    async fn visit_once(
        &self,
        claim: &Arc<Claim>,
        peer: &PeerRecord,
        budget: Budget,
    ) -> Result<Visit, NotReached> {
        let connection = self.dialler.connect(claim, peer, budget.work_ends).await?;
        let peer = peer.node_id;
        let read_back = self.read_back(&connection, peer, budget.work_ends).await?;
        let flushed = read_back && self.flush(budget.work_ends).await;

        let progress = self.progress(&peer);
        let heard = self.dialler.node.observer.heard(&peer);
        let delivered = connection.hang_up(budget.cut).await;
        let returned = progress.and_then(|progress| progress.returned);
        let newest = self
            .storage
            .engine()
            .look(|e| e.snapshot().map(|s| s.revision));
        Ok(Visit {
            returned: match progress {
                Some(Progress {
                    unreadable: true, ..
                }) => Returned::Unreadable,
                _ => match returned {
                    Some(revision) => Returned::Backup(revision),
                    None if read_back => Returned::Nothing,
                    None => Returned::NothingInTime,
                },
            },
            sent: progress
                .and_then(|progress| progress.pushed)
                .filter(|_| flushed && heard.was_pushed_to),
            delivered,
            verified: progress.is_some_and(|p| p.verified) && returned == newest,
            channels: heard.reestablished,
        })
    }

    /// Waits until the peer was read back, and for a moment for the rest of what it says at first.
    /// False: the time was over.
    async fn read_back(
        &self,
        connection: &Connection,
        peer: PublicKey,
        end: Instant,
    ) -> Result<bool, NotReached> {
        let observer = &self.dialler.node.observer;
        let progress = || match self.progress(&peer) {
            Some(progress) if progress.read_back => Some(Ok(())),
            _ => connection.ended_by().map(|_| Err(NotReached::Refused)),
        };
        let until = end.min(Instant::now() + self.times.read_back);
        match observer.until(until, progress).await {
            Some(read_back) => read_back?,
            None => return Ok(false),
        }
        if self.settles || self.storage.past() == Past::Unknown {
            // Peers may speak of their channels before or after they return what they keep.
            let both = || {
                let answered = self.progress(&peer).is_some_and(|p| p.answered);
                let spoke = observer.heard(&peer).reestablished_at.is_some();
                (answered && spoke || connection.ended_by().is_some()).then_some(())
            };
            let until = end.min(Instant::now() + self.times.settle);
            observer.until(until, both).await;
        }
        Ok(true)
    }

    /// Has everything that is due made durable and handed to the connections.
    async fn flush(&self, end: Instant) -> bool {
        let storage = self.storage.clone();
        let left = end.saturating_duration_since(Instant::now());
        // It waits for a thread of the storage's.
        let flushed = tokio::task::spawn_blocking(move || storage.flush(left));
        let flushed = self.dialler.node.observer.within(end, flushed).await;
        flushed.is_some_and(|flushed| flushed.unwrap_or(false))
    }

    /// How far the connection has come, or had come before the peer hung up.
    fn progress(&self, peer: &PublicKey) -> Option<Progress> {
        let engine = self.storage.engine();
        let now = engine.look(|exchange| exchange.progress(peer));
        now.or_else(|| self.dialler.node.observer.heard(peer).progress)
    }
}
