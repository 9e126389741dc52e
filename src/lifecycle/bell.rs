//! A doorbell: tells that something has changed, and not what. Rings collapse.

use std::collections::BTreeMap;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::locks::lock;

type Listener = Arc<dyn Fn() + Send + Sync>;

/// Calls the listeners on a thread that exists only while there is something to tell: a suspended app
/// has none.
#[derive(Default)]
pub(super) struct Bell {
    state: Mutex<State>,
    quiet: Condvar,
}

#[derive(Default)]
struct State {
    listeners: BTreeMap<u64, Listener>,
    last_id: u64,
    rung: bool,
    thread: Option<JoinHandle<()>>,
    thread_runs: bool,
}

/// A subscription. Dropping it ends it.
#[must_use = "dropping it ends the subscription"]
pub struct Subscription {
    bell: Weak<Bell>,
    id: u64,
}

impl Subscription {
    /// Ends it. A call under way may still be going on.
    pub fn cancel(&self) {
        if let Some(bell) = self.bell.upgrade() {
            let listener = lock(&bell.state).listeners.remove(&self.id);
            // Dropping what the host gave runs the host's code: not under the lock.
            drop(listener);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl Bell {
    /// Calls it from now on, and once for the present.
    pub fn subscribe(self: &Arc<Self>, listener: Listener) -> Subscription {
        let mut state = lock(&self.state);
        state.last_id += 1;
        let id = state.last_id;
        state.listeners.insert(id, listener);
        drop(state);
        self.ring();
        Subscription {
            bell: Arc::downgrade(self),
            id,
        }
    }

    /// Has all listeners called soon. Returns at once; safe with any lock held.
    pub fn ring(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        if state.listeners.is_empty() {
            return;
        }
        state.rung = true;
        if state.thread_runs {
            return;
        }
        let bell = self.clone();
        let named = thread::Builder::new().name("peer-storage-bell".into());
        match named.spawn(move || bell.call_all()) {
            Ok(thread) => {
                state.thread = Some(thread);
                state.thread_runs = true;
            }
            // The next ring tries again.
            Err(error) => log::error!("nobody is told of changes: {error}"),
        }
    }

    /// Waits until all has been told, at most so long, and not in a listener's own call.
    pub fn settle(&self, budget: Duration) {
        let end = Instant::now() + budget;
        let mut state = lock(&self.state);
        let me = thread::current().id();
        let is_listener = |thread: &JoinHandle<()>| thread.thread().id() == me;
        if state.thread.as_ref().is_some_and(is_listener) {
            return;
        }
        while state.thread_runs {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.quiet.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let thread = state.thread.take();
        drop(state);
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    fn call_all(&self) {
        loop {
            let mut state = lock(&self.state);
            if !std::mem::take(&mut state.rung) {
                state.thread_runs = false;
                self.quiet.notify_all();
                return;
            }
            let ids: Vec<_> = state.listeners.keys().copied().collect();
            drop(state);
            for id in ids {
                let listener = lock(&self.state).listeners.get(&id).cloned();
                if let Some(listener) = listener {
                    let told = catch_unwind(AssertUnwindSafe(|| {
                        listener();
                        drop(listener);
                    }));
                    if told.is_err() {
                        log::error!("a listener panicked");
                    }
                }
            }
        }
    }
}
