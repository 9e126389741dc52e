use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, Weak};
use std::time::Instant;

use peer_storage_ffi::callbacks::CallbackError;
use peer_storage_ffi::relay::RelayListener;
use peer_storage_ffi::status::Activity;
use peer_storage_ffi::PeerStorage;

use crate::support::*;

/// One thread calls all listeners of a process: one that blocks makes those of other tests wait.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner())
}

fn last_activity(listener: &Listener) -> Option<Activity> {
    let told = listener.told.lock().unwrap();
    told.last().map(|status| status.activity)
}

#[test]
fn a_listener_is_told_the_present_first_and_then_what_changes() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    let listener = Listener::new(|| Ok(()));
    let subscription = storage.subscribe(listener.clone()).unwrap();
    wait_until("the present", || listener.times() > 0);
    // Nothing of this changes how things stand.
    for _ in 0..20 {
        storage.on_network_changed(false);
        storage.report_tip(1);
        storage.on_foreground();
        wait(storage.next_event()).unwrap();
    }
    wait(storage.on_background(ENOUGH)).unwrap();
    let suspended = || last_activity(&listener) == Some(Activity::Suspended);
    wait_until("the suspension to be told", suspended);
    let told = listener.told.lock().unwrap().clone();
    assert!(told.windows(2).all(|two| two[0] != two[1]), "each once");

    subscription.cancel();
    let times = listener.times();
    storage.on_foreground();
    wait_until("it to be open", || !is_suspended(&storage));
    let other = Listener::new(|| Ok(()));
    let _other = storage.subscribe(other.clone()).unwrap();
    wait_until("another to be told", || other.times() > 0);
    assert_eq!(listener.times(), times, "no call begins after cancel");
    wait(storage.shutdown(ENOUGH)).unwrap();
}

#[test]
fn a_listener_that_throws_or_panics_is_called_again_and_harms_nobody() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    let throws = Listener::new(|| Err(CallbackError::Failed));
    let panics = Listener::new(|| panic!("as a listener may"));
    let good = Listener::new(|| Ok(()));
    let subscribe = |listener: &Arc<Listener>| storage.subscribe(listener.clone()).unwrap();
    let _subscriptions = [subscribe(&throws), subscribe(&panics), subscribe(&good)];
    wait(storage.on_background(ENOUGH)).unwrap();
    for listener in [&throws, &panics, &good] {
        wait_until("the suspension to be told", || {
            last_activity(listener) == Some(Activity::Suspended)
        });
    }
    wait(storage.shutdown(ENOUGH)).unwrap();
}

#[test]
fn a_listener_may_call_back_in_and_end_itself() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    let weak: Weak<PeerStorage> = Arc::downgrade(&storage);
    let own = Arc::new(OnceLock::<Arc<_>>::new());
    let (done, of_listener) = (Arc::new(AtomicBool::new(false)), own.clone());
    let seen = done.clone();
    let listener = Listener::new(move || {
        let Some(storage) = weak.upgrade() else {
            return Ok(());
        };
        storage.status().unwrap();
        storage.on_network_changed(false);
        storage.report_tip(1);
        storage.hold().unwrap().release();
        storage.report_wallet(report(vec![channel(2)])).unwrap();
        wait(storage.set_app_data(vec![1])).unwrap();
        wait(storage.next_event()).unwrap();
        storage
            .subscribe(Listener::new(|| Ok(())))
            .unwrap()
            .cancel();
        let own: Option<&Arc<peer_storage_ffi::subscriptions::StorageSubscription>> =
            of_listener.get();
        if let Some(own) = own {
            own.cancel();
            seen.store(true, Ordering::SeqCst);
        }
        Ok(())
    });
    let subscription = storage.subscribe(listener).unwrap();
    let _ = own.set(subscription);
    let mut height = 0;
    wait_until("the listener to end itself", || {
        height += 1;
        storage.on_network_changed(height % 2 == 0);
        done.load(Ordering::SeqCst)
    });
    wait(storage.shutdown(ENOUGH)).unwrap();
}

#[test]
fn a_listener_that_does_not_return_makes_others_late_and_nothing_else() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let entered = Arc::new(AtomicUsize::new(0));
    let (of_listener, count) = (gate.clone(), entered.clone());
    let blocked = Listener::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
        let (open, opened) = &*of_listener;
        let open = open.lock().unwrap();
        drop(opened.wait_while(open, |open| !*open).unwrap());
        Ok(())
    });
    let late = Listener::new(|| Ok(()));
    let first = storage.subscribe(blocked).unwrap();
    wait_until("the listener to be called", || {
        entered.load(Ordering::SeqCst) > 0
    });
    let _second = storage.subscribe(late.clone()).unwrap();

    // Everything else goes on.
    wait(storage.declare_new()).unwrap();
    let begun = Instant::now();
    assert!(wait(storage.on_background(ENOUGH)).unwrap().suspended);
    assert!(begun.elapsed().as_millis() < u128::from(ENOUGH));
    assert_eq!(late.times(), 0);

    first.cancel();
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    wait_until("the other to be told the last", || {
        last_activity(&late) == Some(Activity::Suspended)
    });
    wait(storage.shutdown(ENOUGH)).unwrap();
}

#[test]
fn a_relay_that_is_dropped_lets_go_of_its_listener() {
    struct Silent;
    impl RelayListener for Silent {
        fn on_steps_waiting(&self) -> Result<(), CallbackError> {
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    let listener = Arc::new(Silent);
    let weak = Arc::downgrade(&listener);
    let relay = storage.message_relay(listener).unwrap();
    assert!(relay.is_current().unwrap());
    drop(relay);
    wait_until("the listener to be let go", || weak.upgrade().is_none());
    wait(storage.shutdown(ENOUGH)).unwrap();
}
