//! Waiting for something to become true.

use std::time::{Duration, Instant};

/// Long enough for a slow, busy machine; a test that works never waits so long.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(2);

/// Returns as soon as `condition` holds; panics with the name of what was awaited after `deadline`.
#[track_caller]
pub fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    wait_for_some(what, deadline, || condition().then_some(()));
}

/// Like [`wait_until`], for a condition that yields a value.
#[track_caller]
pub fn wait_for_some<T>(what: &str, deadline: Duration, mut find: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(
            start.elapsed() < deadline,
            "waited {deadline:?} in vain for: {what}"
        );
        std::thread::sleep(POLL);
    }
}
