//! What the driver, the calls and the threads of a [`Lifecycle`](super::Lifecycle) share.
//!
//! Locks, in the order in which they may be taken together: that of [`Reported`], `state`, that of
//! [`Bell`]. Under `state` nothing waits and no code of the host runs.

use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use super::bell::Bell;
use super::call::Deadline;
use super::reported::Reported;
use super::state::{Place, State};
use super::wanted::Wanted;
use super::{driver, Unavailable};
use crate::exchange::Time;
use crate::locks::{lock, read, write};
use crate::service::{Clock, OpenError, PeerStorage};
use crate::session::{Session, SessionError};

/// How much longer than its budget a call may take, where the machine is slow.
const SLACK: Duration = Duration::from_millis(800);
/// What listeners have to end the call that they are in, before the app is suspended.
const LISTENERS: Duration = Duration::from_millis(200);
/// How long whoever asks for the storage waits for its opening.
const OPENING: Duration = Duration::from_secs(10);

pub(super) type Waker = Arc<dyn Fn() + Send + Sync>;

/// Opens what is open; holds the keys.
pub(super) struct Opener {
    pub storage: Box<dyn Fn() -> Result<PeerStorage, OpenError> + Send + Sync>,
    pub session: Box<dyn Fn(PeerStorage) -> Result<Session, SessionError> + Send + Sync>,
}

pub(super) struct Shared {
    /// None after the end: then nobody needs the keys.
    opener: RwLock<Option<Arc<Opener>>>,
    pub clock: Arc<dyn Clock>,
    pub linger: Duration,
    pub reported: Arc<Reported>,
    pub bell: Arc<Bell>,
    /// Of a message relay.
    pub waker: RwLock<Option<Waker>>,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    pub fn new(opener: Opener, clock: Arc<dyn Clock>, linger: Duration, state: State) -> Arc<Self> {
        Arc::new(Shared {
            opener: RwLock::new(Some(Arc::new(opener))),
            clock,
            linger,
            reported: Arc::default(),
            bell: Arc::default(),
            waker: RwLock::default(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        })
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub fn now(&self) -> Time {
        self.clock.now()
    }

    pub fn opener(&self) -> Option<Arc<Opener>> {
        read(&self.opener).clone()
    }

    pub fn forget_keys(&self) {
        let opener = write(&self.opener).take();
        drop(opener);
    }

    /// Waits until something has changed, or that time.
    pub fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        until: Option<Time>,
    ) -> MutexGuard<'a, State> {
        match until {
            None => self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let left = until.since(self.now());
                let waited = self.changed.wait_timeout(state, left);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    /// Has everybody look again who waits.
    pub fn notify(&self) {
        self.changed.notify_all();
    }

    /// The app has said or asked something: what failed is tried again, and the driver goes where the
    /// facts want it now.
    pub fn change<R>(self: &Arc<Self>, change: impl FnOnce(&mut State, Time) -> R) -> R {
        let result = self.adjust(|state, now| {
            state.trouble = None;
            change(state, now)
        });
        self.bell.ring();
        result
    }

    /// The same where the app has said nothing: there is nothing to tell, and nothing to try again.
    pub fn adjust<R>(self: &Arc<Self>, change: impl FnOnce(&mut State, Time) -> R) -> R {
        let now = self.now();
        let mut state = self.state();
        let result = change(&mut state, now);
        self.look_again(&mut state, now);
        result
    }

    fn look_again(self: &Arc<Self>, state: &mut State, now: Time) {
        state.heed(now);
        let is_resting = matches!(state.place, Place::Closed);
        let nothing_to_do = is_resting && state.wanted(now) == Wanted::Suspended;
        if !state.driver_runs && !nothing_to_do {
            driver::start(self, state);
        }
        if is_resting && state.is_shut_down() && !state.driver_runs {
            self.forget_keys();
        }
        self.notify();
    }

    /// The storage, if it is open.
    pub fn peek(self: &Arc<Self>) -> Option<OpenStorage> {
        self.guard(&mut self.state())
    }

    fn guard(self: &Arc<Self>, state: &mut State) -> Option<OpenStorage> {
        let Place::Open(open) = &mut state.place else {
            return None;
        };
        open.guards += 1;
        Some(OpenStorage {
            storage: open.storage.clone(),
            number: open.number,
            shared: self.clone(),
        })
    }

    /// The storage; where the facts want it open, it is waited for.
    pub fn storage(self: &Arc<Self>) -> Result<OpenStorage, Unavailable> {
        let end = self.now().after(OPENING);
        self.storage_by(end)
    }

    pub fn storage_by(self: &Arc<Self>, end: Time) -> Result<OpenStorage, Unavailable> {
        let now = self.now();
        let mut state = self.state();
        if state.trouble.take().is_some() {
            self.look_again(&mut state, now);
        }
        loop {
            let now = self.now();
            if state.is_shut_down() {
                return Err(Unavailable::Closed);
            }
            let is_wanted = state.wanted(now) != Wanted::Suspended;
            if is_wanted {
                if let Some(open) = self.guard(&mut state) {
                    return Ok(open);
                }
                if let Some(trouble) = &state.trouble {
                    return Err(trouble.clone());
                }
            }
            if !is_wanted {
                return Err(Unavailable::Suspended);
            }
            if now >= end {
                return Err(Unavailable::Busy);
            }
            state = self.wait(state, Some(end));
        }
    }

    /// Waits until nothing is open and nothing runs, or the time is over, or nobody wants that any more.
    /// Whether it is so.
    pub fn wait_for_rest(&self, deadline: Deadline) -> bool {
        let end = deadline.over.after(SLACK);
        let mut state = self.state();
        let threads = loop {
            if state.is_at_rest() {
                break [state.driver.take(), state.pass.take()];
            }
            let now = self.now();
            // Without a driver nothing is closed: it could not be started.
            let in_vain = !state.driver_runs && !matches!(state.place, Place::Closed);
            let others = now >= deadline.work_until && state.wanted(now) != Wanted::Suspended;
            if state.facts.visible && !state.is_shut_down() || others || in_vain || now >= end {
                return false;
            }
            // Whether another call goes on is known only when this one's time is over.
            let next = if now < deadline.work_until {
                deadline.work_until
            } else {
                end
            };
            state = self.wait(state, Some(next));
        };
        drop(state);
        for thread in threads.into_iter().flatten() {
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
        self.bell.settle(LISTENERS);
        true
    }
}

/// An open storage. While it is held, nothing is closed before the end of the budget; then it is closed
/// all the same.
pub struct OpenStorage {
    storage: PeerStorage,
    number: u64,
    shared: Arc<Shared>,
}

impl OpenStorage {
    /// Which opening it is: see [`Lifecycle::opening`](super::Lifecycle::opening).
    pub fn opening(&self) -> u64 {
        self.number
    }

    /// Whether this is the one that is open.
    pub(super) fn is_in(&self, place: &Place) -> bool {
        matches!(place, Place::Open(open) if open.number == self.number)
    }
}

impl Deref for OpenStorage {
    type Target = PeerStorage;

    fn deref(&self) -> &PeerStorage {
        &self.storage
    }
}

impl Drop for OpenStorage {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if let Place::Open(open) = &mut state.place {
            if open.number == self.number {
                open.guards = open.guards.saturating_sub(1);
            }
        }
        drop(state);
        self.shared.notify();
    }
}
