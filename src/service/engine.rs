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
//! `refreshing` is held while the source reads the live state or the monitors, with LDK's locks: no one
//! may wait for it who holds a lock that the source needs.

mod desk;
mod outbox;
mod spend_guard;
mod worker;

use std::sync::{Arc, Condvar, Mutex, RwLock, TryLockError};
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use bitcoin::OutPoint;
use chacha20poly1305::aead::rand_core::RngCore;
use chacha20poly1305::aead::OsRng;
use lightning::ln::types::ChannelId;
use zeroize::Zeroizing;

use self::desk::Desk;
pub(crate) use self::outbox::Outgoing;
use self::outbox::{Envelope, Outbox};
use self::spend_guard::SpendGuard;
use super::clock::Clock;
use super::jobs::jobs;
use super::stamps::DurableStamps;
use super::WalletSource;
use crate::backup::{BackupKey, ChannelIds, MonitorRecord, Padding};
use crate::exchange::{
    Action, ConnectionId, Exchange, Inbound, Numbers, Outbound, PeerFeatures, Proof, Time, Verdict,
    WalletState,
};
use crate::locks::{lock, read, write};
use crate::store::{Store, StoreError};

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
    outbox: Outbox,
    /// Held while the live state is read and handed in: an older reading must not overtake a newer.
    refreshing: Mutex<()>,
    stamps: Mutex<DurableStamps>,
    source: RwLock<Option<Arc<dyn WalletSource>>>,
    waker: RwLock<Option<Arc<dyn Fn() + Send + Sync>>>,
    /// Called whenever the worker has done something, and so the status may have changed.
    bell: RwLock<Option<Arc<dyn Fn() + Send + Sync>>>,
    spend_guard: SpendGuard,
}

impl Engine {
    pub fn new(
        exchange: Exchange,
        store: Store,
        key: BackupKey,
        padding: Padding,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let spend_guard = SpendGuard::new(&exchange);
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
            outbox: Outbox::default(),
            refreshing: Mutex::default(),
            stamps: Mutex::default(),
            source: RwLock::default(),
            waker: RwLock::default(),
            bell: RwLock::default(),
            spend_guard,
        }
    }

    // ---- what the LDK side calls ------------------------------------------------------------

    // A message handler says with each call which connection it means. There may be two handlers, a
    // session's and a relay's, and a peer may have left one when it is connected to the other: what is said
    // of a connection that is no more must not touch the gate of the present one (safety rule 6).

    /// A peer connects. Returns which connection it is, and the blob that we keep for it, as it stands now:
    /// its 9. Empty: there is nothing to return. None: nothing is known of what was kept for it.
    pub fn connected(
        &self,
        peer: PublicKey,
        features: PeerFeatures,
        inbound: bool,
    ) -> (Option<ConnectionId>, Option<Vec<u8>>) {
        let (connection, pending) = self.input(|exchange, now| {
            exchange.connected(now, peer, features);
            if !inbound {
                exchange.dialled(&peer);
            }
            (exchange.connection(&peer), exchange.pending_slot(&peer))
        });
        // The end of an earlier connection, at another handler, may be told later or never.
        lock(&self.desk).refused.remove(&peer);
        (connection, self.kept_for(peer, pending))
    }

    fn kept_for(&self, peer: PublicKey, pending: Option<Arc<[u8]>>) -> Option<Vec<u8>> {
        let unsaved = || lock(&self.desk).unsaved.get(&peer).cloned();
        let blob = match pending.map(Some).or_else(unsaved) {
            Some(blob) => blob?.to_vec(),
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

    pub fn disconnected(&self, peer: PublicKey, connection: Option<ConnectionId>) {
        let ended = self.input_on(&peer, connection, |exchange, now| {
            exchange.disconnected(now, peer);
        });
        let Some(connection) = connection.filter(|_| ended.is_some()) else {
            return;
        };
        lock(&self.desk).refused.remove(&peer);
        self.outbox.ended(connection);
    }

    /// LDK's own handler had kept a blob for the peer.
    pub fn take_over_slot(&self, peer: PublicKey, blob: &[u8]) {
        self.input(|exchange, _| exchange.take_over_slot(peer, Arc::from(blob)));
    }

    /// `peer_storage` (type 7) came. Whether it is kept depends on the channels of this moment: one
    /// that has just come to be counts (safety rule 11).
    pub fn storage_received(&self, peer: PublicKey, connection: Option<ConnectionId>, blob: &[u8]) {
        if !self.look(|exchange| exchange.connection(&peer) == connection) {
            return;
        }
        if self.refuse_if_closed(peer, connection) {
            return;
        }
        if self.live_state_is_outdated() {
            self.refresh();
        }
        self.input_on(&peer, connection, |exchange, now| {
            exchange.storage_received(now, peer, Arc::from(blob));
        });
        self.relieve_the_worker();
        // It may have been closed in between.
        self.refuse_if_closed(peer, connection);
    }

    /// Says once a connection that a blob is not kept, since the feature bit goes on to offer it.
    fn refuse_if_closed(&self, peer: PublicKey, connection: Option<ConnectionId>) -> bool {
        // As in `send`: nothing is put there for a connection that has ended.
        let exchange = lock(&self.exchange);
        let mut desk = lock(&self.desk);
        if !desk.is_closed() {
            return false;
        }
        let is_present = exchange.connection(&peer) == connection;
        let Some(connection) = connection.filter(|_| is_present) else {
            return true;
        };
        if desk.refused.insert(peer) {
            self.outbox.put(Envelope {
                peer,
                connection,
                message: Outgoing::Warning("peer_storage is not kept at present".to_owned()),
            });
        }
        true
    }

    /// `peer_storage_retrieval` (type 9) came: compared with the live state of this moment. What is
    /// not compared does not cost its reading, which takes LDK's locks.
    pub fn retrieval_received(
        &self,
        peer: PublicKey,
        connection: Option<ConnectionId>,
        blob: &[u8],
    ) {
        let is_awaited = |exchange: &Exchange| {
            exchange.connection(&peer) == connection && exchange.awaits_retrieval(&peer)
        };
        if !self.look(is_awaited) {
            return;
        }
        let opened = self.key.open_snapshot(blob);
        if opened.is_ok() {
            self.refresh();
        }
        self.input_on(&peer, connection, |exchange, now| {
            exchange.retrieval_received(now, peer, blob, opened);
        });
    }

    /// A warning of a peer was logged.
    pub fn warning_received(&self, peer: PublicKey, text: &str) {
        self.input(|exchange, now| exchange.warning_received(now, peer, text));
    }

    /// Whether a message of the node's own handler may see the wire now.
    pub fn may_leave(
        &self,
        peer: PublicKey,
        connection: Option<ConnectionId>,
        message: Outbound,
    ) -> bool {
        let may_leave = self.input_on(&peer, connection, |exchange, now| {
            exchange.may_leave(now, peer, message)
        });
        may_leave.unwrap_or(false)
    }

    /// Whether the node's own handler may see a message of the peer.
    pub fn inbound(
        &self,
        peer: PublicKey,
        connection: Option<ConnectionId>,
        offered: impl Into<Offered>,
    ) -> Verdict {
        let Offered { message, secret } = offered.into();
        let verdict = match message {
            Inbound::Reestablish(id, theirs) => {
                let proof = secret.map_or(Proof::Unchecked, |secret| {
                    self.proof(&peer, &id, &theirs, &secret)
                });
                self.input_on(&peer, connection, |exchange, now| {
                    exchange.reestablish(now, peer, id, theirs, proof)
                })
            }
            message => self.input_on(&peer, connection, |exchange, now| {
                exchange.inbound(now, peer, message)
            }),
        };
        verdict.unwrap_or(Verdict::Drop)
    }

    /// An input of one connection. None: that is no more, or it is no longer the present one. Asked under the
    /// lock that decides, since the peer may connect anew at any moment.
    fn input_on<R>(
        &self,
        peer: &PublicKey,
        connection: Option<ConnectionId>,
        input: impl FnOnce(&mut Exchange, Time) -> R,
    ) -> Option<R> {
        self.input(|exchange, now| {
            (exchange.connection(peer) == connection).then(|| input(exchange, now))
        })
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

    /// Our own messages that wait to be sent on a handler's connections. What was meant for an earlier connection
    /// is dropped: the present one has to be read back first (safety rule 1).
    pub fn take_outbox(
        &self,
        connection_of: impl Fn(&PublicKey) -> Option<ConnectionId>,
    ) -> Vec<(PublicKey, Outgoing)> {
        if self.outbox.is_empty() {
            return Vec::new();
        }
        let exchange = lock(&self.exchange);
        let taken = self.outbox.take(|peer| {
            let present = exchange.connection(peer);
            present.is_none() || connection_of(peer) == present
        });
        self.done.notify_all();
        let current = taken
            .into_iter()
            .filter(|envelope| exchange.connection(&envelope.peer) == Some(envelope.connection));
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
        self.spend_guard.learn_outpoint(outpoint);
    }

    /// Whether channels are held.
    pub fn holding(&self) -> bool {
        self.spend_guard.holding()
    }

    /// Whether this output must not be spent now.
    pub fn forbids_spend_of(&self, outpoint: &OutPoint) -> bool {
        self.spend_guard.forbids(outpoint)
    }

    // ---- what the service calls -------------------------------------------------------------

    /// Hands an input to the exchange and has what follows from it done.
    pub fn input<R>(&self, input: impl FnOnce(&mut Exchange, Time) -> R) -> R {
        let now = self.clock.now();
        let mut exchange = lock(&self.exchange);
        let result = input(&mut exchange, now);
        let mut actions = exchange.take_actions();
        let all = actions.len();
        actions.retain(|action| !matches!(action, Action::ReadMonitors));
        let wants_monitors = actions.len() < all;
        let jobs = jobs(actions);
        let hold_has_ended = self.spend_guard.follow(&exchange);
        // Under the exchange's lock still, so that jobs stand in the order of the inputs.
        let mut desk = lock(&self.desk);
        if desk.is_closed() {
            // The gates still work; nothing is written or pushed any more.
            return result;
        }
        desk.gate_has_opened |= hold_has_ended;
        desk.wants_monitors |= wants_monitors;
        // What is due already stays due: the exchange speaks of the future alone.
        let due = desk.wake_at.filter(|at| now >= *at);
        let wake_at = due.or(exchange.wake_at(now));
        let wake =
            !jobs.is_empty() || wants_monitors || wake_at != desk.wake_at || desk.gate_has_opened;
        desk.wake_at = wake_at;
        for job in jobs {
            desk.put(job);
        }
        if wake {
            self.work.notify_one();
        }
        result
    }

    /// Looks without touching.
    pub fn look<R>(&self, look: impl FnOnce(&Exchange) -> R) -> R {
        look(&lock(&self.exchange))
    }

    pub fn add_recovery_step(&self, step: &[u8]) -> Result<(), StoreError> {
        let mut nonce = [0; 24];
        OsRng.try_fill_bytes(&mut nonce).map_err(io)?;
        let sealed = self.key.seal(step, Padding::Buckets, usize::MAX, nonce);
        self.store.add_recovery_step(sealed.map_err(io)?)
    }

    pub fn recovery_steps(&self) -> Result<Vec<Zeroizing<Vec<u8>>>, StoreError> {
        let sealed = self.store.recovery_steps()?;
        let open = |step: Vec<u8>| {
            let opened = self.key.open(&step);
            opened.map_err(|error| StoreError::Corrupt(format!("a step of a recovery: {error}")))
        };
        sealed.into_iter().map(open).collect()
    }

    /// Connects the live wallet, and compares it with our records at once.
    pub fn attach(&self, source: Arc<dyn WalletSource>) {
        *write(&self.source) = Some(source);
        self.refresh();
        self.spend_guard.live_state_was_compared();
    }

    pub fn set_waker(&self, waker: Arc<dyn Fn() + Send + Sync>) {
        *write(&self.waker) = Some(waker);
    }

    pub fn set_bell(&self, bell: Arc<dyn Fn() + Send + Sync>) {
        *write(&self.bell) = Some(bell);
    }

    /// Why nothing can be written at present.
    pub fn failure(&self) -> Option<StoreError> {
        lock(&self.desk).failure.clone()
    }

    /// The clock was moved by a test.
    pub fn clock_moved(&self) {
        // The worker may have looked at the clock, and not wait yet: without the lock he would miss it.
        let _desk = lock(&self.desk);
        self.work.notify_one();
    }

    /// Waits until everything is durable and handed to the peers' connections, or the budget ends.
    /// Whether all was done.
    pub fn flush(&self, budget: Duration) -> bool {
        self.wait(budget, || self.outbox.is_empty())
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
            let done = desk.is_clear() && also();
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
        self.spend_guard.node_has_gone();
        *write(&self.source) = None;
        *write(&self.waker) = None;
        *write(&self.bell) = None;
    }

    /// Takes the live state of this moment, and compares it with our records before it returns.
    pub fn refresh(&self) {
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
        self.hand_in(state, None);
    }

    /// Reads the monitors in this way, and after them the live state, so that no monitor is ahead of
    /// the stamp beside it.
    fn read_monitors_by(
        &self,
        read_from: impl FnOnce(&dyn WalletSource) -> Option<(Vec<MonitorRecord>, WalletState)>,
    ) {
        let _in_order = lock(&self.refreshing);
        let source = read(&self.source).clone();
        let (monitors, state) = match source.and_then(|source| read_from(&*source)) {
            Some((monitors, state)) => (monitors, Some(state)),
            None => (Vec::new(), None),
        };
        self.hand_in(state, Some(monitors));
    }

    /// Only while `refreshing` is held since before it was read.
    fn hand_in(&self, mut state: Option<WalletState>, mut monitors: Option<Vec<MonitorRecord>>) {
        if let Some(monitors) = &mut monitors {
            lock(&self.stamps).withhold(monitors);
        }
        if let Some(state) = &mut state {
            lock(&self.stamps).lower(state);
        }
        // Taken after the live state was read: a channel that is not in it because its monitor was
        // archived is known here to be resolved.
        let archived = std::mem::take(&mut lock(&self.desk).archived);
        if let Some(state) = &state {
            self.spend_guard.learn(&state.channels);
        }
        if state.is_none() && monitors.is_none() && archived.is_empty() {
            return;
        }
        self.input(|exchange, now| {
            for ids in archived {
                exchange.channel_resolved(now, ids);
            }
            if let Some(state) = state {
                exchange.wallet_changed(now, state);
            }
            if let Some(monitors) = monitors {
                exchange.monitors_read(now, monitors);
            }
        });
    }

    /// Whether the wallet has changed since its state was handed in, as far as known.
    fn live_state_is_outdated(&self) -> bool {
        let being_read = || matches!(self.refreshing.try_lock(), Err(TryLockError::WouldBlock));
        lock(&self.desk).wallet_is_dirty || being_read()
    }
}

fn io(error: impl ToString) -> StoreError {
    StoreError::Io(error.to_string())
}
