//! Drives an [`Exchange`]: hands it inputs from any thread, and has its actions carried out in order
//! by one worker thread, so that nothing leaves before it is durable.
//!
//! ```text
//! message handler ─┐                      ┌─▶ Store (one transaction for all that waits)
//! persist hook ────┼─▶ Exchange ─▶ jobs ─▶│     then
//! the app ─────────┘    (a mutex)  (FIFO) └─▶ outbox ─▶ waker ─▶ PeerManager::process_events
//! ```
//!
//! Locks, in the order in which they may be taken together: `exchange`, then `desk`. Neither is held
//! while the wallet's own code (source, waker) or SQLite runs, so whoever holds LDK's locks (logger,
//! broadcaster, message handler) may wait for them. The persist hook takes the `desk` alone.
//! `refreshing` is held while the source reads the live state, with LDK's locks: no one may wait for
//! it who holds a lock that the source needs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use bitcoin::OutPoint;
use chacha20poly1305::aead::rand_core::RngCore;
use chacha20poly1305::aead::OsRng;
use lightning::ln::types::ChannelId;

use super::clock::Clock;
use super::jobs::{jobs, keep_last_blobs, Job};
use super::stamps::DurableStamps;
use super::WalletSource;
use crate::backup::{self, BackupKey, ChannelIds, Padding, Revision, Snapshot, Tier};
use crate::exchange::{
    Action, ConnectionId, Exchange, Inbound, Numbers, Outbound, PeerFeatures, Proof, Record, Time,
    Verdict, WalletState,
};
use crate::store::{Store, StoreError};

/// So many bytes of peers' blobs may wait for the worker.
const MOST_WAITING: usize = 256 * 1024;
/// A failed write is tried again after this.
const RETRY: Duration = Duration::from_secs(1);

/// A message of ours for a peer.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// `peer_storage` (type 7)
    Storage(Vec<u8>),
    /// `warning` (type 1)
    Warning(String),
}

/// A message of a peer, as the engine is asked about it. No `Debug`: of the secret nothing may be logged.
#[derive(Clone, Copy)]
pub(crate) struct Offered {
    pub message: Inbound,
    /// `your_last_per_commitment_secret` of a 136.
    pub secret: Option<[u8; 32]>,
}

impl From<Inbound> for Offered {
    fn from(message: Inbound) -> Self {
        Offered {
            message,
            secret: None,
        }
    }
}

/// A message, and the one connection that it may leave on.
struct Envelope {
    peer: PublicKey,
    connection: Option<ConnectionId>,
    message: Outgoing,
}

pub(crate) struct Engine {
    exchange: Mutex<Exchange>,
    pub(super) store: Store,
    key: BackupKey,
    padding: Padding,
    clock: Arc<dyn Clock>,
    desk: Mutex<Desk>,
    /// Held from the taking of jobs until they are done, so that they are done in order.
    writing: Mutex<()>,
    /// Work has come for the worker.
    work: Condvar,
    /// The worker has finished something.
    done: Condvar,
    outbox: Mutex<Vec<Envelope>>,
    /// Held while the live state is read and handed in: an older reading must not overtake a newer.
    refreshing: Mutex<()>,
    stamps: Mutex<DurableStamps>,
    source: RwLock<Option<Arc<dyn WalletSource>>>,
    waker: RwLock<Option<Arc<dyn Fn() + Send + Sync>>>,
    /// A copy of [`Exchange::holding`] for the broadcaster, which must not wait for a lock.
    holding: AtomicBool,
    /// The live state was compared with our records. Until then nobody knows whether it is stale.
    compared: AtomicBool,
    /// Funding outputs of all channels ever seen here: what a guarded broadcaster must not spend.
    funding: RwLock<BTreeSet<OutPoint>>,
    /// Of these, those of disputed channels: not to be spent, alarm or no alarm.
    disputed: RwLock<BTreeSet<OutPoint>>,
}

/// What waits for the worker.
#[derive(Default)]
struct Desk {
    jobs: VecDeque<Job>,
    /// Blobs kept for peers that are in `jobs` or being written.
    unsaved: BTreeMap<PublicKey, Arc<[u8]>>,
    wallet_is_dirty: bool,
    /// Channels whose monitors were archived: their outputs are swept and buried.
    archived: Vec<ChannelIds>,
    /// Messages of the node that were held may leave now.
    gate_has_opened: bool,
    wake_at: Option<Time>,
    /// How many threads have taken something from here and are not done with it.
    busy: usize,
    stopping: bool,
    /// The worker thread is gone, at the end or by a panic.
    ended: bool,
    /// Records that could not be written while stopping.
    lost: usize,
    /// Peers that were told on their present connection that nothing is kept any more.
    refused: BTreeSet<PublicKey>,
    /// Why the last write failed; none: it did not.
    failure: Option<StoreError>,
    retry_at: Option<Instant>,
}

impl Desk {
    /// Nothing is written or pushed any more, apart from what waits.
    fn is_closed(&self) -> bool {
        self.stopping || self.ended
    }

    /// The peers' blobs among the jobs, in bytes.
    fn waiting_bytes(&self) -> usize {
        let records = self.jobs.iter().flat_map(|job| &job.records);
        let len = |record: &Record| match record {
            Record::Slot { blob, .. } => blob.len(),
            _ => 0,
        };
        records.map(len).sum()
    }

    /// How long nothing is to be written after a failure.
    fn retry_in(&self) -> Option<Duration> {
        let at = self.retry_at?;
        Some(at.saturating_duration_since(Instant::now()))
    }
}

impl Engine {
    pub fn new(
        exchange: Exchange,
        store: Store,
        key: BackupKey,
        padding: Padding,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let holding = exchange.holding();
        let funding = exchange
            .snapshot()
            .map(|s| funding_outpoints(&s.channels))
            .unwrap_or_default();
        Engine {
            exchange: Mutex::new(exchange),
            store,
            key,
            padding,
            clock,
            desk: Mutex::default(),
            writing: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
            outbox: Mutex::default(),
            refreshing: Mutex::default(),
            stamps: Mutex::default(),
            source: RwLock::default(),
            waker: RwLock::default(),
            holding: AtomicBool::new(holding),
            compared: AtomicBool::new(false),
            funding: RwLock::new(funding),
            disputed: RwLock::default(),
        }
    }

    // ---- what the LDK side calls ------------------------------------------------------------

    /// A peer connects. Returns the blob that we keep for it, as it stands now: its 9.
    /// Empty: there is nothing to return. None: nothing is known of what was kept for it.
    pub fn connected(
        &self,
        peer: PublicKey,
        features: PeerFeatures,
        inbound: bool,
    ) -> Option<Vec<u8>> {
        let pending = self.input(|exchange, now| {
            exchange.connected(now, peer, features);
            if !inbound {
                exchange.dialled(&peer);
            }
            exchange.pending_slot(&peer)
        });
        let unsaved = || lock(&self.desk).unsaved.get(&peer).cloned();
        let blob = match pending.or_else(unsaved) {
            Some(blob) => blob.to_vec(),
            None => match self.store.slot(&peer) {
                Ok(blob) => blob?,
                Err(error) => {
                    log::error!("cannot read what is kept for a peer: {error}");
                    Vec::new()
                }
            },
        };
        Some(blob)
    }

    pub fn disconnected(&self, peer: PublicKey) {
        self.input(|exchange, now| exchange.disconnected(now, peer));
        lock(&self.desk).refused.remove(&peer);
        lock(&self.outbox).retain(|envelope| envelope.peer != peer);
    }

    /// LDK's own handler had kept a blob for the peer.
    pub fn take_over_slot(&self, peer: PublicKey, blob: &[u8]) {
        self.input(|exchange, _| exchange.take_over_slot(peer, Arc::from(blob)));
    }

    /// `peer_storage` (type 7) came. Whether it is kept depends on the channels of this moment: one
    /// that has just come to be counts (safety rule 11).
    pub fn storage_received(&self, peer: PublicKey, blob: &[u8]) {
        if self.refuse_if_closed(peer) {
            return;
        }
        if self.live_state_is_outdated() {
            self.refresh();
        }
        self.input(|exchange, now| exchange.storage_received(now, peer, Arc::from(blob)));
        self.relieve_the_worker();
        // It may have been closed in between.
        self.refuse_if_closed(peer);
    }

    /// Says once a connection that a blob is not kept, since the feature bit goes on to offer it.
    fn refuse_if_closed(&self, peer: PublicKey) -> bool {
        let mut desk = lock(&self.desk);
        if !desk.is_closed() {
            return false;
        }
        if desk.refused.insert(peer) {
            drop(desk);
            lock(&self.outbox).push(Envelope {
                peer,
                connection: None,
                message: Outgoing::Warning("peer_storage is not kept at present".to_owned()),
            });
        }
        true
    }

    /// `peer_storage_retrieval` (type 9) came: compared with the live state of this moment. What is
    /// not compared does not cost its reading, which takes LDK's locks.
    pub fn retrieval_received(&self, peer: PublicKey, blob: &[u8]) {
        if !self.look(|exchange| exchange.awaits_retrieval(&peer)) {
            return;
        }
        let opened = self.key.open_snapshot(blob);
        if opened.is_ok() {
            self.refresh();
        }
        self.input(|exchange, now| exchange.retrieval_received(now, peer, blob, opened));
    }

    /// A warning of a peer was logged.
    pub fn warning_received(&self, peer: PublicKey, text: &str) {
        self.input(|exchange, now| exchange.warning_received(now, peer, text));
    }

    /// Whether a message of the node's own handler may see the wire now.
    pub fn may_leave(&self, peer: PublicKey, message: Outbound) -> bool {
        self.input(|exchange, now| exchange.may_leave(now, peer, message))
    }

    /// Whether the node's own handler may see a message of the peer.
    pub fn inbound(&self, peer: PublicKey, offered: impl Into<Offered>) -> Verdict {
        let Offered { message, secret } = offered.into();
        let Inbound::Reestablish(id, theirs) = message else {
            return self.input(|exchange, now| exchange.inbound(now, peer, message));
        };
        let proof = secret.map_or(Proof::Unchecked, |secret| {
            self.proof(&peer, &id, &theirs, &secret)
        });
        self.input(|exchange, now| exchange.reestablish(now, peer, id, theirs, proof))
    }

    /// Has the wallet check the secret, where something depends on it: outside of our locks.
    fn proof(
        &self,
        peer: &PublicKey,
        id: &ChannelId,
        theirs: &Numbers,
        secret: &[u8; 32],
    ) -> Proof {
        // Before the first revocation there is no secret.
        let checkable = theirs.next_remote > 0;
        if !checkable || !lock(&self.exchange).wants_proof(peer, id, theirs) {
            return Proof::Unchecked;
        }
        let source = read(&self.source).clone();
        let ask = || {
            source
                .as_ref()?
                .holds_secret(id, theirs.next_remote, secret)
        };
        // A channel that has just come to be may not have been looked at yet.
        let known = ask().or_else(|| {
            self.refresh();
            ask()
        });
        match known {
            Some(true) => Proof::Valid,
            Some(false) => Proof::Invalid,
            None => Proof::Unchecked,
        }
    }

    /// Our own messages that wait to be sent. What was meant for an earlier connection is dropped:
    /// the present one has to be read back first (safety rule 1).
    pub fn take_outbox(&self) -> Vec<(PublicKey, Outgoing)> {
        let taken = std::mem::take(&mut *lock(&self.outbox));
        if taken.is_empty() {
            return Vec::new();
        }
        self.done.notify_all();
        let exchange = lock(&self.exchange);
        let current = taken.into_iter().filter(|envelope| {
            let present = exchange.connection(&envelope.peer);
            present.is_some() && (envelope.connection.is_none() || envelope.connection == present)
        });
        current
            .map(|envelope| (envelope.peer, envelope.message))
            .collect()
    }

    /// The wallet's state has changed. Safe to call anywhere, also with LDK's locks held.
    pub fn wallet_is_dirty(&self) {
        let mut desk = lock(&self.desk);
        desk.wallet_is_dirty = !desk.is_closed();
        self.work.notify_one();
    }

    /// The monitor of a channel is archived. Safe to call anywhere, also with LDK's locks held.
    pub fn channel_archived(&self, ids: ChannelIds) {
        let mut desk = lock(&self.desk);
        if desk.is_closed() {
            return;
        }
        desk.archived.push(ids);
        desk.wallet_is_dirty = true;
        self.work.notify_one();
    }

    /// The wallet's database has this state of a channel. Safe to call anywhere, also with LDK's locks
    /// held.
    pub fn monitor_written(&self, channel: ChannelId, update_id: u64) {
        lock(&self.stamps).written(channel, update_id);
        self.wallet_is_dirty();
    }

    /// A channel has this funding output.
    pub fn funding_outpoint(&self, outpoint: OutPoint) {
        write(&self.funding).insert(outpoint);
    }

    /// Whether channels are held.
    pub fn holding(&self) -> bool {
        self.holding.load(Ordering::SeqCst)
    }

    /// Whether this output must not be spent now.
    ///
    /// | attached | alarm | not to be spent |
    /// |---|---|---|
    /// | no | no | funding outputs: LDK may want to go on chain while it loads, with a state that was not compared with our records yet |
    /// | no | yes | anything: the alarm may be about a channel that no record of ours names |
    /// | yes | yes | funding outputs |
    /// | yes | no | those of disputed channels |
    pub fn forbids_spend_of(&self, outpoint: &OutPoint) -> bool {
        let (compared, holding) = (self.compared.load(Ordering::SeqCst), self.holding());
        match (compared, holding) {
            (false, true) => true,
            (false, false) | (true, true) => read(&self.funding).contains(outpoint),
            (true, false) => read(&self.disputed).contains(outpoint),
        }
    }

    // ---- what the service calls -------------------------------------------------------------

    /// Hands an input to the exchange and has what follows from it done.
    pub fn input<R>(&self, input: impl FnOnce(&mut Exchange, Time) -> R) -> R {
        let now = self.clock.now();
        let mut exchange = lock(&self.exchange);
        let result = input(&mut exchange, now);
        let jobs = jobs(exchange.take_actions());
        let holding = exchange.holding();
        self.note_disputed(&exchange);
        let held_before = self.holding.swap(holding, Ordering::SeqCst);
        // Under the exchange's lock still, so that jobs stand in the order of the inputs.
        let mut desk = lock(&self.desk);
        if desk.is_closed() {
            // The gates still work; nothing is written or pushed any more.
            return result;
        }
        desk.gate_has_opened |= held_before && !holding;
        // What is due already stays due: the exchange speaks of the future alone.
        let due = desk.wake_at.filter(|at| now >= *at);
        let wake_at = due.or(exchange.wake_at(now));
        let wake = !jobs.is_empty() || wake_at != desk.wake_at || desk.gate_has_opened;
        desk.wake_at = wake_at;
        for job in jobs {
            for record in &job.records {
                if let Record::Slot { peer, blob } = record {
                    desk.unsaved.insert(*peer, blob.clone());
                }
            }
            desk.jobs.push_back(job);
        }
        if wake {
            self.work.notify_one();
        }
        result
    }

    /// Before an alarm ends, its channel is guarded by itself.
    fn note_disputed(&self, exchange: &Exchange) {
        let disputed = exchange.disputed_funding();
        if *read(&self.disputed) != disputed {
            *write(&self.disputed) = disputed;
        }
    }

    /// Looks without touching.
    pub fn look<R>(&self, look: impl FnOnce(&Exchange) -> R) -> R {
        look(&lock(&self.exchange))
    }

    /// Connects the live wallet, and compares it with our records at once.
    pub fn attach(&self, source: Arc<dyn WalletSource>) {
        *write(&self.source) = Some(source);
        self.refresh();
        self.compared.store(true, Ordering::SeqCst);
    }

    pub fn set_waker(&self, waker: Arc<dyn Fn() + Send + Sync>) {
        *write(&self.waker) = Some(waker);
    }

    /// Why nothing can be written at present.
    pub fn failure(&self) -> Option<StoreError> {
        lock(&self.desk).failure.clone()
    }

    /// The clock was moved by a test.
    pub fn clock_moved(&self) {
        self.work.notify_one();
    }

    /// Waits until everything is durable and handed to the peers' connections, or the budget ends.
    /// Whether all was done.
    pub fn flush(&self, budget: Duration) -> bool {
        self.wait(budget, || lock(&self.outbox).is_empty())
    }

    /// Waits until the worker has nothing to do, or the budget ends.
    pub fn settle(&self, budget: Duration) -> bool {
        self.wait(budget, || true)
    }

    fn wait(&self, budget: Duration, also: impl Fn() -> bool) -> bool {
        // None: a budget beyond what can be measured has no end.
        let deadline = Instant::now().checked_add(budget);
        let mut desk = lock(&self.desk);
        loop {
            let idle = desk.jobs.is_empty() && desk.busy == 0 && !desk.wallet_is_dirty;
            let written = desk.lost == 0 && desk.failure.is_none();
            let done = idle && written && also();
            // Without a worker nothing changes any more.
            if done || desk.ended {
                return done;
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return false;
            }
            // The outbox is emptied by LDK's own threads, which announce nothing when they find it
            // empty: look again soon.
            let soon = Duration::from_millis(20);
            let wait = left.map_or(soon, |left| left.min(soon));
            desk = self
                .done
                .wait_timeout(desk, wait)
                .map_or_else(|e| e.into_inner().0, |r| r.0);
        }
    }

    /// Tells the worker to end once what is due is done, and lets go of the node.
    pub fn stop(&self) {
        lock(&self.desk).stopping = true;
        self.work.notify_one();
        // Nothing will be compared any more; what was known to be stale stays held.
        if !self.holding() {
            self.compared.store(true, Ordering::SeqCst);
        }
        *write(&self.source) = None;
        *write(&self.waker) = None;
    }

    // ---- the worker -------------------------------------------------------------------------

    /// The worker thread: returns after [`stop`](Self::stop).
    pub fn work(&self) {
        let _ending = Ending(self);
        while let Some(errand) = self.next_errand() {
            match errand {
                Errand::Refresh => self.refresh_by(|source| {
                    survive("the wallet's state could not be read", || {
                        source.wallet_state()
                    })
                }),
                Errand::Tick => {
                    self.input(|exchange, now| exchange.tick(now));
                    // The time may have opened a gate.
                    self.wake_and_survive();
                }
                Errand::Wake => self.wake_and_survive(),
                Errand::Write => {
                    if self.write() {
                        self.wake_and_survive();
                    }
                }
            }
            self.no_longer_busy();
        }
    }

    fn wake_and_survive(&self) {
        survive("the waker failed", || self.wake());
    }

    fn next_errand(&self) -> Option<Errand> {
        let mut desk = lock(&self.desk);
        loop {
            let retry_in = desk.retry_in();
            let may_write = desk.stopping || retry_in.is_none_or(|left| left.is_zero());
            let now = self.clock.now();
            let errand = if desk.wallet_is_dirty {
                desk.wallet_is_dirty = false;
                Some(Errand::Refresh)
            } else if std::mem::take(&mut desk.gate_has_opened) {
                Some(Errand::Wake)
            } else if !desk.jobs.is_empty() && may_write {
                Some(Errand::Write)
            } else if desk.stopping {
                return None;
            } else if desk.wake_at.is_some_and(|at| now >= at) {
                desk.wake_at = None;
                Some(Errand::Tick)
            } else {
                None
            };
            if errand.is_some() {
                desk.busy += 1;
                return errand;
            }
            let retry = retry_in.filter(|_| !desk.jobs.is_empty());
            let wait = desk
                .wake_at
                .map(|at| at.since(now))
                .into_iter()
                .chain(retry)
                .min();
            desk = match wait {
                None => self.work.wait(desk).unwrap_or_else(PoisonError::into_inner),
                Some(wait) => self
                    .work
                    .wait_timeout(desk, wait)
                    .map_or_else(|error| error.into_inner().0, |result| result.0),
            };
        }
    }

    fn no_longer_busy(&self) {
        lock(&self.desk).busy -= 1;
        self.done.notify_all();
    }

    /// Writes in the worker's place where too much waits for it. Unlike the worker it is called by
    /// LDK with locks held, so it waits for the disk alone, never for the worker, who may be waiting
    /// for those locks.
    fn relieve_the_worker(&self) {
        let mut desk = lock(&self.desk);
        let is_failing = desk.retry_in().is_some_and(|left| !left.is_zero());
        if desk.waiting_bytes() <= MOST_WAITING || is_failing {
            return;
        }
        desk.busy += 1;
        drop(desk);
        if self.write() {
            // Not from here: the worker wakes LDK.
            lock(&self.desk).gate_has_opened = true;
            self.work.notify_one();
        }
        self.no_longer_busy();
    }

    /// Makes all records durable, and only then does what was to follow. What cannot be written
    /// stays in front of the queue: nothing is lost, and nothing overtakes it. Whether messages now
    /// wait in the outbox.
    fn write(&self) -> bool {
        let _in_order = lock(&self.writing);
        let mut jobs: Vec<_> = lock(&self.desk).jobs.drain(..).collect();
        let records: Vec<_> = jobs
            .iter()
            .flat_map(|job| job.records.iter().cloned())
            .collect();
        let written = if records.is_empty() {
            Ok(())
        } else {
            self.store.apply(records)
        };
        let mut desk = lock(&self.desk);
        if let Err(error) = written {
            log::error!("cannot write to the data directory: {error}");
            desk.retry_at = Some(Instant::now() + RETRY);
            desk.failure = Some(error);
            if desk.is_closed() {
                let lost: usize = jobs.iter().map(|job| job.records.len()).sum();
                log::error!("{lost} records are lost, for the worker has to end");
                desk.lost += lost;
                return false;
            }
            jobs.into_iter()
                .rev()
                .for_each(|job| desk.jobs.push_front(job));
            keep_last_blobs(&mut desk.jobs);
            return false;
        }
        desk.failure = None;
        desk.retry_at = None;
        for record in jobs.iter().flat_map(|job| &job.records) {
            if let Record::Slot { peer, blob } = record {
                if desk
                    .unsaved
                    .get(peer)
                    .is_some_and(|unsaved| Arc::ptr_eq(unsaved, blob))
                {
                    desk.unsaved.remove(peer);
                }
            }
        }
        drop(desk);
        let actions: Vec<_> = jobs.iter_mut().flat_map(|job| job.then.drain(..)).collect();
        self.send(actions)
    }

    /// Has LDK ask for messages, outside of all our locks.
    pub fn wake(&self) {
        let waker = read(&self.waker).clone();
        if let Some(waker) = waker {
            waker();
        }
    }

    /// Puts messages into the outbox. Whether there were any.
    fn send(&self, actions: Vec<Action>) -> bool {
        let mut sealed = Sealed::default();
        let mut any = false;
        for action in actions {
            let (peer, connection, message) = match action {
                Action::Push {
                    peer,
                    connection,
                    snapshot,
                    tier,
                    capacity,
                } => {
                    let Some(blob) = sealed.blob(self, &snapshot, tier, capacity) else {
                        continue;
                    };
                    (peer, Some(connection), Outgoing::Storage(blob))
                }
                Action::Warn { peer, text } => (peer, None, Outgoing::Warning(text)),
                Action::Persist(_) => continue,
            };
            lock(&self.outbox).push(Envelope {
                peer,
                connection,
                message,
            });
            any = true;
        }
        any
    }

    /// Takes the live state of this moment.
    fn refresh(&self) {
        self.refresh_by(|source| Some(source.wallet_state()));
    }

    /// Reads it in this way; none: it could not be read, and what is known stays.
    fn refresh_by(&self, read_from: impl FnOnce(&dyn WalletSource) -> Option<WalletState>) {
        let _in_order = lock(&self.refreshing);
        let source = read(&self.source).clone();
        let mut state = None;
        if let Some(source) = source {
            state = read_from(&*source);
            if state.is_none() {
                return;
            }
        }
        if let Some(state) = &mut state {
            lock(&self.stamps).lower(state);
        }
        // Taken after the live state was read: a channel that is not in it because its monitor was
        // archived is known here to be resolved.
        let archived = std::mem::take(&mut lock(&self.desk).archived);
        if let Some(state) = &state {
            write(&self.funding).extend(funding_outpoints(&state.channels));
        }
        if state.is_none() && archived.is_empty() {
            return;
        }
        self.input(|exchange, now| {
            for ids in archived {
                exchange.channel_resolved(now, ids);
            }
            if let Some(state) = state {
                exchange.wallet_changed(now, state);
            }
        });
    }

    /// Whether the wallet has changed since its state was handed in, as far as known.
    fn live_state_is_outdated(&self) -> bool {
        let being_read = || matches!(self.refreshing.try_lock(), Err(TryLockError::WouldBlock));
        lock(&self.desk).wallet_is_dirty || being_read()
    }

    fn seal(&self, snapshot: &Snapshot, tier: Tier, capacity: usize) -> Option<Vec<u8>> {
        let encoded = backup::encode(snapshot, tier, capacity).ok()?;
        let mut nonce = [0; 24];
        if let Err(error) = OsRng.try_fill_bytes(&mut nonce) {
            log::error!("the system gives no random numbers, so nothing is sealed: {error}");
            return None;
        }
        self.key
            .seal(&encoded.plaintext, self.padding, capacity, nonce)
            .ok()
    }
}

/// Runs code of the host on the worker's thread: its panic must not end the thread, or peers' blobs
/// would go on being taken and never be written.
fn survive<R>(what: &str, run: impl FnOnce() -> R) -> Option<R> {
    let result = catch_unwind(AssertUnwindSafe(run));
    if result.is_err() {
        log::error!("{what}: it panicked");
    }
    result.ok()
}

/// Notes that the worker thread ends, however it does.
struct Ending<'a>(&'a Engine);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let mut desk = lock(&self.0.desk);
        desk.ended = true;
        if !desk.stopping {
            log::error!("the worker thread has ended: nothing is written or pushed any more");
            desk.failure = Some(StoreError::Io("the worker thread has ended".to_owned()));
        }
        drop(desk);
        self.0.done.notify_all();
    }
}

enum Errand {
    Refresh,
    Tick,
    Wake,
    Write,
}

/// The last blob sealed: the same one goes to many peers.
#[derive(Default)]
struct Sealed {
    of: Option<(Revision, Tier, usize)>,
    blob: Option<Vec<u8>>,
}

impl Sealed {
    fn blob(
        &mut self,
        engine: &Engine,
        snapshot: &Snapshot,
        tier: Tier,
        capacity: usize,
    ) -> Option<Vec<u8>> {
        let of = Some((snapshot.revision, tier, capacity));
        if self.of != of {
            self.blob = engine.seal(snapshot, tier, capacity);
            self.of = of;
        }
        self.blob.clone()
    }
}

fn funding_outpoints(channels: &[backup::ChannelRecord]) -> BTreeSet<OutPoint> {
    channels
        .iter()
        .filter_map(|channel| channel.ids.funding_outpoint)
        .collect()
}

// A panic elsewhere leaves the state of this project whole: every input is applied completely or the
// process is gone. So poisoned locks are used on.

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
