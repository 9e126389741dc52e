//! A payment is in flight.

use std::fmt;
use std::sync::Arc;

use super::shared::Shared;

/// A payment is in flight, or expected. Dropping it ends that.
#[must_use = "dropping it ends the hold"]
pub struct Hold(Arc<Shared>);

impl Hold {
    pub(super) fn new(shared: &Arc<Shared>) -> Hold {
        shared.change(|state, _| state.hold_begins());
        Hold(shared.clone())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.change(|state, now| state.hold_ends(now));
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").finish_non_exhaustive()
    }
}
