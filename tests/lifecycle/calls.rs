//! The end, what may be asked after it, and who is told.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Mutex};
use std::thread;
use std::time::Duration;

use ldk_peer_storage::backup::ChannelIds;
use ldk_peer_storage::lifecycle::{LifeState, Lifecycle, NodeStart, Unavailable, WhyUnknown};
use ldk_peer_storage::session::Work;
use ldk_peer_storage::PeerStorage;
use testkit::{wait_until, DEADLINE};

use crate::stage::{config, keys, record, within, without_channels, Phone, LONG, SHORT};

#[test]
fn a_shutdown_pushes_what_is_due_and_is_for_good() {
    let phone = Phone::settled_with(|config| config.sync.after_change = LONG);
    // Nothing is due from before.
    assert!(phone.life.on_background(LONG).drained);
    phone.life.on_foreground();
    phone.life.storage().unwrap();
    phone.wait_idle();
    let said = |storage: &PeerStorage| storage.set_app_data(b"last words".to_vec());
    phone.life.durably(said).unwrap();
    let report = within(LONG, || phone.life.shutdown(LONG));
    assert!(report.closed && report.drained, "{report:?}");
    assert_eq!(phone.keeper.app_data().unwrap(), b"last words");
    phone.assert_free();
    let again = within(SHORT, || phone.life.shutdown(LONG));
    assert!(again.closed);

    let closed = Unavailable::Closed;
    let life = &phone.life;
    life.on_foreground();
    life.on_network_changed(false);
    life.on_network_changed(true);
    life.on_host_node_changed(true);
    life.on_host_node_changed(false);
    phone.tell();
    life.report_tip(7);
    drop(life.hold());
    assert_eq!(life.storage().err(), Some(closed.clone()));
    assert_eq!(
        life.channel_swept(ChannelIds::default()),
        Err(closed.clone())
    );
    let peers = [phone.keeper.record()];
    let synced = life.sync_with_peers(&peers, Work::default(), LONG);
    assert_eq!(synced.unwrap_err(), closed);
    assert_eq!(life.restore(&peers, LONG).unwrap_err(), closed);
    assert_eq!(life.with_session(|_, _| ()), Err(closed.clone()));
    assert!(within(SHORT, || life.on_background(LONG)).suspended);
    let pass = within(SHORT, || life.run_background_pass(LONG));
    assert_eq!(pass.session.unwrap_err(), closed);
    let start = within(SHORT, || life.check_before_node_start(LONG));
    assert_eq!(start, NodeStart::Unknown(WhyUnknown::Unavailable(closed)));
    assert_eq!(life.status().state, LifeState::Closed);
    assert_eq!(life.opening(), None);
    phone.assert_free();
}

#[test]
fn a_shutdown_does_not_wait_for_others() {
    let phone = Phone::settled();
    let _hold = phone.life.hold();
    let _kept = phone.life.storage().unwrap();
    let report = within(SHORT, || phone.life.shutdown(SHORT));
    assert!(report.closed);
    phone.assert_free();
}

/// A phone whose shutdown would take all of a long budget: a peer says nothing.
fn slow_to_end() -> (Phone, TcpListener) {
    let phone = Phone::settled_with(|config| config.sync.after_change = LONG);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = testkit::RawPeer::new("nobody");
    let mut wallet = without_channels(&[phone.keeper.record()]);
    let peer = record(nobody.id(), silent.local_addr().unwrap());
    wallet.keep_backups_at.insert(peer.node_id);
    wallet.peers.push(peer);
    phone.life.report_wallet(wallet);
    (phone, silent)
}

#[test]
fn the_end_of_a_shutdown_comes_earlier_when_the_system_takes_its_time_back() {
    type Ends = fn(&Lifecycle);
    let ends: [Ends; 3] = [
        |life| assert!(within(Duration::ZERO, || life.on_background(Duration::ZERO)).suspended),
        |life| assert!(within(Duration::ZERO, || life.shutdown(Duration::ZERO)).closed),
        |life| assert!(within(SHORT, || life.shutdown(SHORT)).closed),
    ];
    for end in ends {
        let (phone, silent) = slow_to_end();
        thread::scope(|scope| {
            let began = phone.life.begin_shutdown(LONG);
            let ending = scope.spawn(|| within(SHORT, || began.wait()));
            let _dialled = silent.accept().unwrap();
            end(&phone.life);
            assert!(ending.join().unwrap().closed);
        });
        phone.assert_free();
    }
}

#[test]
fn nothing_said_after_a_shutdown_gives_it_more_time() {
    let (phone, silent) = slow_to_end();
    thread::scope(|scope| {
        let began = phone.life.begin_shutdown(SHORT);
        let ending = scope.spawn(|| within(SHORT, || began.wait()));
        let _dialled = silent.accept().unwrap();
        assert!(within(SHORT, || phone.life.on_background(LONG)).suspended);
        assert!(within(SHORT, || phone.life.shutdown(LONG)).closed);
        assert!(ending.join().unwrap().closed);
    });
    phone.assert_free();
}

#[test]
fn that_the_app_was_left_counts_from_the_moment_it_is_said() {
    let phone = Phone::settled();
    let leaving = phone.life.begin_background(LONG);
    let state = phone.life.status().state;
    assert_ne!(state, LifeState::Active, "nobody waits yet");
    assert!(within(LONG, || leaving.wait()).suspended);
    phone.life.on_foreground();
    phone.life.storage().unwrap();
    // Who does not wait has no time to give.
    drop(phone.life.begin_background(LONG));
    wait_until("the rest", DEADLINE, || {
        phone.life.status().state == LifeState::Suspended
    });
    drop(phone.life.begin_shutdown(LONG));
    assert_eq!(phone.life.storage().err(), Some(Unavailable::Closed));
}

#[test]
fn a_shutdown_while_suspended_opens_nothing() {
    let phone = Phone::settled();
    assert!(phone.life.on_background(LONG).suspended);
    let elsewhere = crate::stage::open_directly(&phone.data_dir()).unwrap();
    let report = within(SHORT, || phone.life.shutdown(LONG));
    assert!(report.closed);
    elsewhere.close(DEADLINE);
}

#[test]
fn dropping_the_last_clone_closes_everything_and_does_not_wait() {
    let phone = Phone::settled();
    let dir = phone.data_dir();
    let Phone { life, keeper, .. } = &phone;
    let clone = life.clone();
    drop(clone);
    assert!(life.storage().is_ok(), "one clone is left");
    assert!(!keeper.is_connected());
    let (life, keep) = phone.take_apart();
    within(Duration::ZERO, || drop(life));
    wait_until("the end", DEADLINE, || {
        crate::stage::open_directly(&dir)
            .map(|s| s.close(DEADLINE))
            .is_ok()
    });
    drop(keep);
}

#[test]
fn offline_everything_is_answered_at_once() {
    let phone = Phone::settled();
    phone.life.on_network_changed(false);
    let start = within(Duration::ZERO, || phone.life.check_before_node_start(LONG));
    assert!(
        matches!(start, NodeStart::Unknown(WhyUnknown::Unavailable(_))),
        "{start:?}"
    );
    let pass = within(Duration::ZERO, || phone.life.run_background_pass(LONG));
    assert!(pass.session.is_err() && pass.drained);
    assert!(phone.life.on_background(LONG).suspended);
    let start = within(Duration::ZERO, || phone.life.check_before_node_start(LONG));
    assert!(
        matches!(start, NodeStart::Unknown(WhyUnknown::Unavailable(_))),
        "{start:?}"
    );
    phone.assert_free();
}

#[test]
fn subscribers_are_told_the_present_and_every_change() {
    let phone = Phone::with(|_| ());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (see, life) = (seen.clone(), phone.life.clone());
    let subscription = phone.life.subscribe(move || {
        let status = life.status();
        // It takes its time.
        thread::sleep(Duration::from_millis(30));
        see.lock()
            .unwrap()
            .push((status.state, status.storage.backup.newest));
    });
    wait_until("the present", DEADLINE, || !seen.lock().unwrap().is_empty());
    phone.begin();
    wait_until("a backup", DEADLINE, || {
        seen.lock()
            .unwrap()
            .iter()
            .any(|(_, newest)| newest.is_some())
    });
    assert!(phone.life.on_background(LONG).suspended);
    let last = seen.lock().unwrap().last().copied();
    assert_eq!(
        last.unwrap().0,
        LifeState::Suspended,
        "all was told before the call returned"
    );
    subscription.cancel();
    let told = seen.lock().unwrap().len();
    phone.life.on_foreground();
    phone.life.storage().unwrap();
    phone.wait_idle();
    assert_eq!(seen.lock().unwrap().len(), told);
    // It holds a clone of what it was given.
    drop(subscription);
}

#[test]
fn what_the_storage_does_by_itself_rings() {
    let phone = Phone::settled_with(|config| config.sync.after_change = LONG);
    let newest = Arc::new(Mutex::new(None));
    let (see, life) = (newest.clone(), phone.life.clone());
    let _subscription = phone.life.subscribe(move || {
        *see.lock().unwrap() = life.status().storage.backup.newest;
    });
    wait_until("the present", DEADLINE, || newest.lock().unwrap().is_some());
    let storage = phone.life.storage().unwrap();
    storage.set_app_data(b"told to nobody".to_vec());
    storage.push_now();
    assert!(storage.flush(DEADLINE));
    let now = storage.status().backup.newest;
    wait_until("the news", DEADLINE, || *newest.lock().unwrap() == now);
}

#[test]
fn an_event_rings() {
    let phone = Phone::settled();
    let events = Arc::<AtomicUsize>::default();
    let (count, life) = (events.clone(), phone.life.clone());
    let _subscription = phone.life.subscribe(move || {
        let Ok(storage) = life.storage() else { return };
        while let Ok(Some((id, _))) = storage.next_event() {
            storage.event_handled(id).unwrap();
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    wait_until("old events", DEADLINE, || {
        let storage = phone.life.storage().unwrap();
        storage.next_event().unwrap().is_none()
    });
    let before = events.load(Ordering::SeqCst);
    *phone.keeper.kept.lock().unwrap() = vec![7; 300];
    let peers = [phone.keeper.record()];
    phone
        .life
        .sync_with_peers(&peers, Work::default(), LONG)
        .unwrap();
    wait_until("an unreadable backup", DEADLINE, || {
        events.load(Ordering::SeqCst) > before
    });
}

#[test]
fn a_listener_that_panics_or_calls_back_stops_nothing() {
    let phone = Phone::settled();
    let _panics = phone.life.subscribe(|| panic!("a listener of the test"));
    let reports = Arc::new(Mutex::new(Vec::new()));
    let (tell, life) = (reports.clone(), phone.life.clone());
    let _calls_back = phone.life.subscribe(move || {
        let mut reports = tell.lock().unwrap();
        if reports.is_empty() {
            reports.push(life.on_background(SHORT));
        }
    });
    wait_until("a call from a listener", DEADLINE, || {
        reports.lock().unwrap().len() == 1
    });
    assert!(reports.lock().unwrap()[0].suspended);
    phone.life.on_foreground();
    phone.write(b"it goes on");
    phone.keeper.wait_for(b"it goes on");
    assert!(phone.life.on_background(LONG).suspended);
}

#[test]
fn a_waker_that_panics_stops_nothing() {
    let phone = Phone::settled();
    phone.life.set_waker(|| panic!("a waker of the test"));
    let _peer = crate::stage::provoke_a_warning(&phone.life.storage().unwrap());
    phone.write(b"it goes on");
    phone.keeper.wait_for(b"it goes on");
}

#[test]
fn what_runs_over_a_session_has_it_to_itself_and_leaves_nothing() {
    let phone = Phone::settled();
    let peers = [phone.keeper.record()];
    let visit = phone.life.with_session(|storage, session| {
        let own = session.run(&peers, Work::default(), LONG);
        assert!(storage.next_event().is_ok());
        own
    });
    assert!(visit.unwrap().peers[0].outcome.is_ok());
    phone.wait_idle();
    assert!(!phone.keeper.is_connected());
}

#[test]
fn a_call_that_has_no_turn_in_time_is_not_told_that_the_app_is_in_background() {
    let phone = Phone::settled();
    let life = &phone.life;
    let (begun, has_begun) = mpsc::channel();
    let (end, may_end) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            life.with_session(|_, _| {
                begun.send(()).unwrap();
                let _ = may_end.recv();
            })
        });
        has_begun.recv().unwrap();
        // The session has to end for this, and who runs over it takes his time.
        life.on_host_node_changed(true);
        life.on_host_node_changed(false);
        let peers = [phone.keeper.record()];
        let synced = within(SHORT, || {
            life.sync_with_peers(&peers, Work::default(), SHORT)
        });
        assert_eq!(synced.unwrap_err(), Unavailable::Busy);
        drop(end);
    });
}

#[test]
fn calls_from_many_threads_get_along() {
    let phone = Phone::settled();
    let life = &phone.life;
    let peers = [phone.keeper.record()];
    thread::scope(|scope| {
        for round in 0..4u64 {
            let peers = &peers;
            scope.spawn(move || {
                for step in 0..6u64 {
                    match (round + step) % 6 {
                        0 => drop(life.sync_with_peers(peers, Work::default(), SHORT)),
                        1 => drop(life.run_background_pass(SHORT)),
                        2 => drop(life.on_background(SHORT)),
                        3 => drop(life.check_before_node_start(SHORT)),
                        4 => drop(life.hold()),
                        _ => life.on_foreground(),
                    }
                    life.on_host_node_changed(false);
                }
            });
        }
    });
    life.on_foreground();
    phone.write(b"it goes on");
    phone.keeper.wait_for(b"it goes on");
}

#[test]
fn a_swept_channel_is_gone_for_good_on_return() {
    let phone = Phone::settled();
    let swept = ChannelIds {
        short_channel_id: Some(77),
        ..ChannelIds::default()
    };
    phone.life.channel_swept(swept).unwrap();
    assert!(phone.life.on_background(LONG).suspended);
    assert_eq!(phone.life.channel_swept(swept), Err(Unavailable::Suspended));
}

#[test]
fn another_wallets_directory_is_refused() {
    let phone = Phone::settled();
    assert!(phone.life.shutdown(LONG).closed);
    let other = Arc::new(lightning::sign::KeysManager::new(&[99; 32], 0, 0, true));
    assert!(Lifecycle::open(config(&phone.data_dir()), other).is_err());
    assert!(Lifecycle::open(config(&phone.data_dir()), keys()).is_ok());
}
