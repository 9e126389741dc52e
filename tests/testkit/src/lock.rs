//! A mutex lock that outlives panics.

use std::sync::{Mutex, MutexGuard};

/// Locks `mutex` even where a thread has panicked while it held it. A panic in a node is something
/// that tests provoke on purpose; what was recorded up to then must stay readable.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
