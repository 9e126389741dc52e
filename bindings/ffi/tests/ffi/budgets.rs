use std::future::Future;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use peer_storage_ffi::chain::ChainAccess;
use peer_storage_ffi::config::OpenConfig;
use peer_storage_ffi::errors::{Obstacle, PeerStorageError};
use peer_storage_ffi::recovery::RecoverySettings;
use peer_storage_ffi::reports::{Hindrance, NodeStart, WhyUnknown};
use peer_storage_ffi::status::Activity;
use peer_storage_ffi::wallet::WalletPeer;
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
    let storage = open_with(config, secret(1)).unwrap();
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
        storage.start_recovery(chain, settings, None).unwrap()
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

/// A wallet whose peer listens and says nothing.
fn with_a_silent_peer(dir: &Path) -> (Arc<PeerStorage>, TcpListener) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = OpenConfig {
        network_available: true,
        ..config(dir)
    };
    let storage = open_with(config, secret(1)).unwrap();
    let mut wallet = report(vec![channel(2)]);
    wallet.peers[0].addresses = vec![silent.local_addr().unwrap().to_string()];
    storage.report_wallet(wallet).unwrap();
    wait(storage.adopt()).unwrap();
    (storage, silent)
}

/// As many calls as there are places for, each with minutes left, and a payment that keeps all open.
#[test]
fn leaving_is_said_at_once_however_many_calls_are_under_way() {
    if !is_alone("budgets::leaving_is_said_at_once_however_many_calls_are_under_way") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    let payment = storage.hold().unwrap();
    let mut leaving: Vec<_> = (0..20)
        .map(|_| Box::pin(storage.on_background(60_000)))
        .collect();
    // Begun, and no more.
    let mut context = Context::from_waker(Waker::noop());
    for call in &mut leaving {
        assert!(call.as_mut().poll(&mut context).is_pending());
    }
    let activity = storage.status().unwrap().activity;
    assert_eq!(activity, Activity::Draining);
    let mut ending = Box::pin(storage.shutdown(60_000));
    assert!(ending.as_mut().poll(&mut context).is_pending());
    assert_eq!(storage.hold().err(), Some(PeerStorageError::Closed));
    let begun = Instant::now();
    // The system takes its time back: this call may find no place to wait in, and is heard all the same.
    let _ = wait(storage.on_background(0));
    for leaving in leaving {
        match wait(leaving) {
            Ok(report) => assert!(report.suspended),
            Err(error) => assert!(matches!(error, PeerStorageError::NotNow { .. }), "{error}"),
        }
    }
    assert!(begun.elapsed() < SLACK * 2, "{:?}", begun.elapsed());
    drop(payment);
    assert!(wait(storage.shutdown(ENOUGH)).unwrap().closed);
}

#[test]
fn other_calls_with_a_budget_take_no_place_from_leaving_and_from_the_end() {
    if !is_alone("budgets::other_calls_with_a_budget_take_no_place_from_leaving_and_from_the_end") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (storage, silent) = with_a_silent_peer(dir.path());
    let passes = || {
        let storage = storage.clone();
        thread::spawn(move || drop(wait(storage.run_background_pass(60_000))))
    };
    let passes: Vec<_> = (0..20).map(|_| passes()).collect();
    let _dialled = silent.accept().unwrap();
    wait_until("all places to be taken", || {
        let pass = wait(storage.run_background_pass(0));
        let busy = Obstacle::Busy;
        matches!(pass, Err(PeerStorageError::NotNow { obstacle }) if obstacle == busy)
    });
    let check = || wait(storage.check_before_node_start(100)).unwrap();
    match check() {
        NodeStart::Unknown {
            why: WhyUnknown::Hindered { hindrance },
        } => assert_eq!(hindrance, Hindrance::Busy),
        _ => panic!("asked, without a place to ask from"),
    }
    // What is known needs no asking.
    storage.report_wallet(report(Vec::new())).unwrap();
    wait_until("the alarm", || storage.status().unwrap().held);
    assert!(matches!(check(), NodeStart::DoNotStart { .. }));
    let left = wait(storage.on_background(300)).expect("a place to wait in");
    assert!(!left.suspended, "the passes have time left");
    let ended = wait(storage.shutdown(300)).expect("a place to wait in");
    assert!(ended.closed);
    for pass in passes {
        pass.join().unwrap();
    }
}

#[test]
fn a_shutdown_is_heard_by_every_call_after_it_and_shortened_by_the_system() {
    if !is_alone("budgets::a_shutdown_is_heard_by_every_call_after_it_and_shortened_by_the_system")
    {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (storage, silent) = with_a_silent_peer(dir.path());
    let visit = {
        let (storage, peers) = (storage.clone(), report(vec![channel(2)]).peers);
        let addresses = vec![silent.local_addr().unwrap().to_string()];
        let peer = WalletPeer {
            addresses,
            ..peers[0].clone()
        };
        thread::spawn(move || drop(wait(storage.sync_with_peers(vec![peer], false, 60_000))))
    };
    let _dialled = silent.accept().unwrap();
    let begun = Instant::now();
    let ending = {
        let storage = storage.clone();
        thread::spawn(move || wait(storage.shutdown(60_000)))
    };
    wait_until("the shutdown to be heard", || {
        matches!(storage.hold().err(), Some(PeerStorageError::Closed))
    });
    // It answers after a second at most, and on a busy machine the end may come later.
    wait_until("the end", || {
        wait(storage.on_background(0)).unwrap().suspended
    });
    assert!(ending.join().unwrap().unwrap().closed);
    assert!(begun.elapsed() < SLACK * 2, "{:?}", begun.elapsed());
    visit.join().unwrap();
}
