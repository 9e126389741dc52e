//! The one thread that opens and closes. It exists only while something is open or to be opened.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::call::Deadline;
use super::check;
use super::pass::{self, Kind};
use super::shared::Shared;
use super::state::{Open, Place, State, Step};
use super::Unavailable;
use crate::locks::read;
use crate::service::{FlushReport, PeerStorage};

/// Closing has so long at least, however late it is.
const TO_CLOSE: Duration = Duration::from_millis(500);

/// Starts the thread. Where there is none to be had it is tried again when the app says something.
pub(super) fn start(shared: &Arc<Shared>, state: &mut State) {
    let at_work = shared.clone();
    let named = thread::Builder::new().name("peer-storage-life".into());
    match named.spawn(move || run(&at_work)) {
        Ok(thread) => {
            state.driver = Some(thread);
            state.driver_runs = true;
        }
        Err(error) => {
            log::error!("cannot start a thread: {error}");
            state.trouble = Some(Unavailable::Failed(error.to_string()));
        }
    }
}

fn run(shared: &Arc<Shared>) {
    let panicked = catch_unwind(AssertUnwindSafe(|| drive(shared))).is_err();
    if !panicked {
        return;
    }
    log::error!("the driver panicked");
    // Nobody else would close it, and a process may be frozen at any time.
    let place = std::mem::replace(&mut shared.state().place, Place::Closing);
    if let Place::Open(open) = place {
        let close = AssertUnwindSafe(|| open.storage.close(TO_CLOSE));
        let _ = catch_unwind(close);
    }
    let mut state = shared.state();
    state.place = Place::Closed;
    state.driver_runs = false;
    state.trouble = Some(Unavailable::Failed("the driver panicked".to_owned()));
    shared.notify();
}

fn drive(shared: &Arc<Shared>) {
    let mut state = shared.state();
    loop {
        let now = shared.now();
        match state.next_step(now) {
            Step::Open => {
                state.place = Place::Opening;
                drop(state);
                open(shared);
                shared.bell.ring();
                state = shared.state();
            }
            Step::Close(deadline) => {
                let place = std::mem::replace(&mut state.place, Place::Closing);
                let pass = state.pass.take().filter(|_| !state.pass_runs);
                drop(state);
                if let Some(pass) = pass {
                    let _ = pass.join();
                }
                if let Place::Open(open) = place {
                    close(shared, open, deadline);
                }
                state = shared.state();
                state.place = Place::Closed;
                shared.notify();
                shared.bell.ring();
            }
            Step::Sync => pass::start(shared, &mut state, Kind::Sync),
            Step::Drain => pass::start(shared, &mut state, Kind::Drain),
            Step::Wait(until) => state = shared.wait(state, until),
            Step::End => {
                if state.is_shut_down() {
                    shared.forget_keys();
                }
                state.driver_runs = false;
                shared.notify();
                return;
            }
        }
    }
}

fn open(shared: &Arc<Shared>) {
    let opened = match shared.opener() {
        Some(opener) => (opener.storage)().map_err(Unavailable::from),
        None => Err(Unavailable::Closed),
    };
    let storage = match opened {
        Ok(storage) => storage,
        Err(error) => {
            let now = shared.now();
            shared.state().not_opened(now, error);
            shared.notify();
            return;
        }
    };
    prepare(shared, &storage);
    shared.reported.give_all(&storage, || {
        let now = shared.now();
        shared.state().opened(now, storage.clone());
        shared.notify();
    });
}

/// Connects a storage that was just opened.
pub(super) fn prepare(shared: &Arc<Shared>, storage: &PeerStorage) {
    let bell = Arc::downgrade(&shared.bell);
    storage.set_bell(move || {
        if let Some(bell) = bell.upgrade() {
            bell.ring();
        }
    });
    give_waker(shared, storage);
}

/// The waker is the message relay's, but for sessions.
pub(super) fn give_waker(shared: &Arc<Shared>, storage: &PeerStorage) {
    let relay = Arc::downgrade(shared);
    storage.set_waker(move || {
        let waker = relay
            .upgrade()
            .and_then(|shared| read(&shared.waker).clone());
        if let Some(waker) = waker {
            waker();
        }
    });
}

fn close(shared: &Arc<Shared>, open: Open, deadline: Deadline) {
    let restored = check::restored(&open.storage);
    let left = deadline.over.since(shared.now()).max(TO_CLOSE);
    let FlushReport {
        complete,
        mut status,
    } = open.storage.close(left);
    // Whoever was connected then is not any more.
    for peer in &mut status.backup.peers {
        peer.connected = false;
    }
    let mut state = shared.state();
    state.complete = complete;
    state.last_status = status;
    state.last_restored = restored;
}
