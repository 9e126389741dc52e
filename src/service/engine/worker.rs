//! The worker: one thread that carries out in order what the exchange asks for.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::PoisonError;

use chacha20poly1305::aead::rand_core::RngCore;
use chacha20poly1305::aead::OsRng;

use super::outbox::{Envelope, Outgoing};
use super::Engine;
use crate::backup::{self, Revision, Snapshot, Tier};
use crate::exchange::Action;
use crate::locks::{lock, read};
use crate::store::StoreError;

/// So many bytes of peers' blobs may wait for the worker.
const MOST_WAITING: usize = 256 * 1024;

enum Errand {
    Refresh,
    Monitors,
    Tick,
    Wake,
    Write,
}

impl Engine {
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
                Errand::Monitors => self.read_monitors_by(|source| {
                    survive("the wallet's monitors could not be read", || {
                        let monitors = source.monitors();
                        // Without any there is nothing to compare.
                        let any = !monitors.is_empty();
                        any.then(|| (monitors, source.wallet_state()))
                    })
                    .flatten()
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
            let bell = read(&self.bell).clone();
            if let Some(bell) = bell {
                survive("the bell failed", || bell());
            }
        }
    }

    /// Writes in the worker's place where too much waits for it. Unlike the worker it is called by
    /// LDK with locks held, so it waits for the disk alone, never for the worker, who may be waiting
    /// for those locks.
    pub(super) fn relieve_the_worker(&self) {
        let mut desk = lock(&self.desk);
        let is_failing = desk.retry_in().is_some_and(|left| !left.is_zero());
        if desk.waiting_bytes() <= MOST_WAITING || is_failing {
            return;
        }
        desk.busy += 1;
        drop(desk);
        if self.write() {
            self.wake_soon();
        }
        self.no_longer_busy();
    }

    /// Has the worker wake LDK: for where the waker cannot be called from.
    pub fn wake_soon(&self) {
        lock(&self.desk).gate_has_opened = true;
        self.work.notify_one();
    }

    /// Has LDK ask for messages, outside of all our locks.
    pub fn wake(&self) {
        let waker = read(&self.waker).clone();
        if let Some(waker) = waker {
            waker();
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
            } else if std::mem::take(&mut desk.wants_monitors) {
                Some(Errand::Monitors)
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
            let tick = desk.wake_at.map(|at| at.since(now));
            desk = match tick.into_iter().chain(retry).min() {
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

    /// Makes all records durable, and only then does what was to follow. Whether messages now wait in
    /// the outbox.
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
        match written {
            Ok(()) => lock(&self.desk).written(&jobs),
            Err(error) => {
                lock(&self.desk).not_written(jobs, error);
                return false;
            }
        }
        let actions: Vec<_> = jobs.iter_mut().flat_map(|job| job.then.drain(..)).collect();
        self.send(actions)
    }

    /// Puts messages into the outbox. Whether there were any.
    pub(in crate::service) fn send(&self, actions: Vec<Action>) -> bool {
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
                Action::Persist(_) | Action::ReadMonitors => continue,
            };
            // Under the exchange's lock, which the end of a connection takes as well: put there after that, it would
            // wait for somebody to take it who may never come.
            let exchange = lock(&self.exchange);
            let Some(present) = exchange.connection(&peer) else {
                continue;
            };
            if connection.is_some_and(|connection| connection != present) {
                continue;
            }
            self.outbox.put(Envelope {
                peer,
                connection: present,
                message,
            });
            any = true;
        }
        any
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
