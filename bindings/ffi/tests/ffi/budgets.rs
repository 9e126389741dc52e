use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use peer_storage_ffi::chain::ChainAccess;
use peer_storage_ffi::config::OpenConfig;
use peer_storage_ffi::errors::{Obstacle, PeerStorageError};
use peer_storage_ffi::recovery::RecoverySettings;
use peer_storage_ffi::PeerStorage;

use crate::support::*;

/// What a call may take beyond its budget: the second that is promised, and one for a machine that is busy.
const SLACK: Duration = Duration::from_secs(2);

#[test]
fn budgets_hold_while_everything_that_takes_long_is_stuck() {
    let dir = tempfile::tempdir().unwrap();
    let config = OpenConfig {
        network_available: true,
        ..config(dir.path())
    };
    let storage = wait(PeerStorage::open(config, secret(1))).unwrap();
    let gate = Arc::new((Mutex::new((0, false)), Condvar::new()));
    let of_chain = gate.clone();
    let source = Arc::new(EmptyChain(Box::new(move || {
        let (state, changed) = &*of_chain;
        let mut state = state.lock().unwrap();
        state.0 += 1;
        drop(changed.wait_while(state, |state| !state.1).unwrap());
    })));
    let recovery = || {
        let chain = ChainAccess::Host {
            source: source.clone(),
        };
        let settings = RecoverySettings { stay_ms: 0 };
        wait(storage.start_recovery(chain, settings, None)).unwrap()
    };
    let recoveries: Vec<_> = (0..6).map(|_| recovery()).collect();
    let waiting: Vec<_> = recoveries
        .into_iter()
        .map(|recovery| thread::spawn(move || wait(recovery.plan(Vec::new(), 0)).map(|_| ())))
        .collect();
    wait_until("all places to be taken", || gate.0.lock().unwrap().0 >= 1);

    let within = |budget: u64, call: &dyn Fn()| {
        let begun = Instant::now();
        call();
        let limit = Duration::from_millis(budget) + SLACK;
        assert!(begun.elapsed() < limit, "{:?}", begun.elapsed());
    };
    within(300, &|| {
        // Whether it has a turn depends on how many of the others have one.
        match wait(storage.sync_with_peers(Vec::new(), false, 300)) {
            Ok(_) => {}
            Err(error) => assert!(
                matches!(
                    error,
                    PeerStorageError::NotNow {
                        obstacle: Obstacle::Busy
                    }
                ),
                "{error}"
            ),
        }
    });
    within(300, &|| {
        drop(wait(storage.check_before_node_start(300)).unwrap())
    });
    within(300, &|| drop(wait(storage.run_background_pass(300))));
    within(500, &|| drop(wait(storage.on_background(500))));
    within(0, &|| drop(wait(storage.on_background(0))));
    within(500, &|| drop(wait(storage.shutdown(500))));

    gate.0.lock().unwrap().1 = true;
    gate.1.notify_all();
    for plan in waiting {
        let _ = plan.join().unwrap();
    }
}
