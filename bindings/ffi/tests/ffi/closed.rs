use std::sync::Arc;

use peer_storage_ffi::alarms::AlarmResolution;
use peer_storage_ffi::callbacks::CallbackError;
use peer_storage_ffi::chain::ChainAccess;
use peer_storage_ffi::errors::PeerStorageError;
use peer_storage_ffi::recovery::RecoverySettings;
use peer_storage_ffi::relay::RelayListener;
use peer_storage_ffi::status::Activity;
use peer_storage_ffi::wallet::ChannelIds;
use peer_storage_ffi::PeerStorage;

use crate::support::*;

struct Deaf;

impl RelayListener for Deaf {
    fn on_steps_waiting(&self) -> Result<(), CallbackError> {
        Ok(())
    }
}

/// What each call says, except those that work from memory alone.
fn every_call(storage: &PeerStorage) -> Vec<(&'static str, Option<PeerStorageError>)> {
    let ids = ChannelIds {
        short_channel_id: Some(1),
        funding_outpoint: None,
        channel_id: None,
    };
    let chain = ChainAccess::Host {
        source: Arc::new(EmptyChain(Box::new(|| {}))),
    };
    let settings = RecoverySettings { stay_ms: 0 };
    vec![
        ("declare_new", wait(storage.declare_new()).err()),
        ("adopt", wait(storage.adopt()).err()),
        ("restore_report", wait(storage.restore_report()).err()),
        ("finish_restore", wait(storage.finish_restore()).err()),
        ("channel_swept", wait(storage.channel_swept(ids)).err()),
        ("set_app_data", wait(storage.set_app_data(Vec::new())).err()),
        (
            "resolve_alarm",
            wait(storage.resolve_alarm(1, AlarmResolution::StayHeld)).err(),
        ),
        ("next_event", wait(storage.next_event()).err()),
        ("event_handled", wait(storage.event_handled(1)).err()),
        ("wait_until_open", wait(storage.wait_until_open()).err()),
        (
            "start_recovery",
            match storage.start_recovery(chain, settings, None) {
                Ok(recovery) => wait(recovery.is_begun()).err(),
                Err(error) => Some(error),
            },
        ),
        ("message_relay", storage.message_relay(Arc::new(Deaf)).err()),
        ("restore", wait(storage.restore(Vec::new(), ENOUGH)).err()),
        (
            "sync",
            wait(storage.sync_with_peers(Vec::new(), false, ENOUGH)).err(),
        ),
    ]
}

#[test]
fn after_shutdown_every_call_says_that_it_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    let report = wait(storage.shutdown(ENOUGH)).unwrap();
    assert!(report.closed);
    assert!(wait(storage.shutdown(ENOUGH)).unwrap().closed, "again");

    for (call, error) in every_call(&storage) {
        assert_eq!(error, Some(PeerStorageError::Closed), "{call}");
    }
    let closed = |error: Option<PeerStorageError>| error == Some(PeerStorageError::Closed);
    // The system tells every app that it was left, however it ends.
    assert!(wait(storage.on_background(100)).unwrap().suspended);
    assert!(closed(wait(storage.run_background_pass(100)).err()));
    assert!(closed(wait(storage.check_before_node_start(100)).err()));
    assert!(closed(storage.report_wallet(report_of_none()).err()));
    assert!(closed(storage.hold().err()));
    assert!(closed(storage.subscribe(Listener::new(|| Ok(()))).err()));
    // Facts are heard by nobody.
    storage.on_foreground();
    storage.on_network_changed(true);
    storage.on_host_node_changed(true);
    storage.report_tip(1);
    assert_eq!(storage.status().unwrap().activity, Activity::Closed);
    assert!(storage.alarms().unwrap().is_empty());
    wait(open(dir.path()).shutdown(ENOUGH)).unwrap();
}

fn report_of_none() -> peer_storage_ffi::wallet::WalletReport {
    report(Vec::new())
}

#[test]
fn in_background_every_call_that_needs_the_directory_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    let report = wait(storage.on_background(ENOUGH)).unwrap();
    assert!(report.suspended && !report.visible_again);
    assert_eq!(storage.status().unwrap().activity, Activity::Suspended);
    for (call, error) in every_call(&storage) {
        match error {
            Some(PeerStorageError::Suspended | PeerStorageError::NotNow { .. }) => {}
            other => panic!("{call}: {other:?}"),
        }
    }
    // What is reported meanwhile is there when it opens again.
    storage
        .report_wallet(crate::support::report(vec![channel(2)]))
        .unwrap();
    storage.on_foreground();
    wait_until("it to be open", || !is_suspended(&storage));
    wait(storage.adopt()).unwrap();
    wait_until("the channel to be in the backup", || {
        storage.status().unwrap().channels == 1
    });
    wait(storage.shutdown(ENOUGH)).unwrap();
}
