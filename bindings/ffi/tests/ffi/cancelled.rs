use std::sync::Arc;
use std::time::Duration;

use peer_storage_ffi::chain::ChainAccess;
use peer_storage_ffi::opening::StorageOpening;
use peer_storage_ffi::recovery::RecoverySettings;
use peer_storage_ffi::status::Past;

use crate::support::*;

const TIMES: usize = 1000;

/// Callers stop waiting at any moment of any call. What they began is done all the same, and whoever calls
/// next sees a storage that works.
#[test]
fn a_thousand_callers_of_each_call_that_no_longer_wait_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    storage.report_wallet(report(vec![channel(2)])).unwrap();
    let mut random = Random(7);
    let mut moment = || Duration::from_micros(random.below(400));
    begin_and_drop(storage.adopt(), Duration::ZERO);
    wait_until("the past to be known", || {
        storage.status().unwrap().past == Past::Known
    });

    let chain = || ChainAccess::Host {
        source: Arc::new(EmptyChain(Box::new(|| {}))),
    };
    let settings = || RecoverySettings { stay_ms: 0 };
    let recovery = storage.start_recovery(chain(), settings(), None).unwrap();
    for number in 0..TIMES {
        begin_and_drop(
            storage.set_app_data(number.to_be_bytes().to_vec()),
            moment(),
        );
        begin_and_drop(storage.next_event(), moment());
        begin_and_drop(storage.event_handled(number as u64), moment());
        begin_and_drop(storage.restore_report(), moment());
        begin_and_drop(storage.finish_restore(), moment());
        begin_and_drop(storage.sync_with_peers(Vec::new(), true, 1), moment());
        begin_and_drop(storage.restore(Vec::new(), 1), moment());
        begin_and_drop(recovery.agreed(), moment());
        begin_and_drop(recovery.is_begun(), moment());
        begin_and_drop(recovery.plan(Vec::new(), 0), moment());
        begin_and_drop(recovery.step(), moment());
    }
    // The last in line: all before it is done, or it would not be.
    wait(storage.set_app_data(b"the last".to_vec())).unwrap();
    assert!(!wait(recovery.is_begun()).unwrap());
    drop(recovery);
    wait(storage.shutdown(ENOUGH)).unwrap();
    wait_until_free(dir.path());
}

/// The same of the calls that open and close everything.
#[test]
fn a_thousand_callers_that_do_not_wait_for_the_end_of_a_hop_leave_it_where_the_facts_say() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    let mut random = Random(8);
    for _ in 0..TIMES {
        let moment = Duration::from_micros(random.below(2_000));
        match random.below(4) {
            0 => begin_and_drop(storage.on_background(random.below(50)), moment),
            1 => begin_and_drop(storage.run_background_pass(random.below(50)), moment),
            2 => begin_and_drop(storage.check_before_node_start(random.below(50)), moment),
            _ => storage.on_foreground(),
        }
    }
    storage.on_foreground();
    wait_until("it to be open", || !is_suspended(&storage));
    wait(storage.declare_new()).unwrap();
    wait_until("it to come to rest", || {
        wait(storage.on_background(ENOUGH)).is_ok_and(|report| report.suspended)
    });
    assert!(is_suspended(&storage));
    begin_and_drop(storage.shutdown(ENOUGH), Duration::ZERO);
    wait_until_free(dir.path());
}

#[test]
fn openings_that_nobody_waits_for_are_closed_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(9);
    for _ in 0..100 {
        let moment = Duration::from_micros(random.below(5_000));
        let opening = StorageOpening::new(config(dir.path()), secret(1));
        begin_and_drop(opening.open(), moment);
    }
    wait_until_free(dir.path());
}

fn wait_until_free(dir: &std::path::Path) {
    wait_until("the directory to be free", || {
        let opened = open_with(config(dir), secret(1));
        opened.is_ok_and(|storage| wait(storage.shutdown(ENOUGH)).unwrap().closed)
    });
}
