//! The session: made by the first call that needs one, shared by those at the same time, dropped by the
//! last. Between calls there is none, and never one beside an obstacle.

use std::sync::Arc;

use super::driver::give_waker;
use super::shared::{OpenStorage, Shared};
use super::state::Slot;
use super::Unavailable;
use crate::exchange::Time;
use crate::session::Session;

/// A session in use. Fields are dropped in their order: this hold on the session before it is left.
pub(super) struct Visit<'a> {
    session: Arc<Session>,
    _in_use: InUse<'a>,
}

struct InUse<'a> {
    storage: &'a OpenStorage,
    shared: &'a Arc<Shared>,
}

impl<'a> Visit<'a> {
    /// Where a session is just ending that is waited for, at most so long.
    pub fn begin(
        shared: &'a Arc<Shared>,
        storage: &'a OpenStorage,
        end: Time,
    ) -> Result<Visit<'a>, Unavailable> {
        let session = match join(shared, storage, end)? {
            Some(session) => session,
            None => make(shared, storage)?,
        };
        Ok(Visit {
            session,
            _in_use: InUse { storage, shared },
        })
    }

    pub fn session(&self) -> &Session {
        &self.session
    }
}

/// Joins the session that there is. None: there is none, and the caller is to make one.
fn join(
    shared: &Shared,
    storage: &OpenStorage,
    end: Time,
) -> Result<Option<Arc<Session>>, Unavailable> {
    let mut state = shared.state();
    loop {
        if let Some(obstacle) = state.facts.obstacle() {
            return Err(obstacle.into());
        }
        if !storage.is_in(&state.place) {
            return Err(Unavailable::Suspended);
        }
        match &mut state.slot {
            Slot::Full {
                session,
                users,
                stopped_at: None,
                ..
            } => {
                *users += 1;
                return Ok(Some(session.clone()));
            }
            Slot::Empty => {
                state.slot = Slot::Changing;
                return Ok(None);
            }
            Slot::Full { .. } | Slot::Changing => {}
        }
        if shared.now() >= end {
            return Err(Unavailable::Busy);
        }
        state = shared.wait(state, Some(end));
    }
}

fn make(shared: &Shared, storage: &OpenStorage) -> Result<Arc<Session>, Unavailable> {
    let mut changing = Changing::new(shared);
    let made = match shared.opener() {
        Some(opener) => (opener.session)((**storage).clone()).map_err(Unavailable::from),
        None => Err(Unavailable::Closed),
    };
    let now = shared.now();
    let mut state = shared.state();
    changing.is_over = true;
    let made = made.map(Arc::new);
    state.slot = match &made {
        Ok(session) => Slot::Full {
            session: session.clone(),
            users: 1,
            stopped_at: None,
            cut: false,
        },
        Err(_) => Slot::Empty,
    };
    // What has come while it was made.
    if state.facts.obstacle().is_some() || !storage.is_in(&state.place) {
        state.stop_session(now);
    }
    shared.notify();
    made
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        let Slot::Full { users, .. } = &mut state.slot else {
            return;
        };
        *users -= 1;
        if *users > 0 {
            return;
        }
        let session = std::mem::replace(&mut state.slot, Slot::Changing);
        drop(state);
        let changing = Changing::new(self.shared);
        // Waits for its thread.
        drop(session);
        give_waker(self.shared, self.storage);
        // What came to wait for the relay's peers meanwhile.
        self.storage.wake_soon();
        drop(changing);
        self.shared.bell.ring();
    }
}

/// Who makes or drops the session. Ends with none, also where code of the host panics in it: or none
/// could ever be made again.
struct Changing<'a> {
    shared: &'a Shared,
    is_over: bool,
}

impl<'a> Changing<'a> {
    fn new(shared: &'a Shared) -> Self {
        Changing {
            shared,
            is_over: false,
        }
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.shared.state().slot = Slot::Empty;
            self.shared.notify();
        }
    }
}
