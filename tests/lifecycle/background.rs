//! The app is left.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ldk_peer_storage::backup::{ChannelIds, ChannelKind, ChannelPhase, ChannelRecord};
use ldk_peer_storage::lifecycle::{LifeState, Obstacle, Unavailable};
use ldk_peer_storage::session::Work;
use ldk_peer_storage::PeerStorage;
use lightning::ln::types::ChannelId;
use testkit::{wait_until, DEADLINE};

use crate::cable::{Cable, Line};
use crate::stage::{record, within, without_channels, Phone, LONG, SHORT};
use crate::support::ManualClock;

#[test]
fn a_relay_that_was_dropped_with_its_connections_holds_nothing_up() {
    let phone = Phone::settled();
    let storage = phone.life.storage().unwrap();
    // What is for its peer can never leave.
    for _ in 0..10 {
        drop(crate::stage::provoke_a_warning(&storage));
    }
    drop(storage);
    let report = within(Duration::ZERO, || phone.life.on_background(LONG));
    assert!(report.suspended && report.drained, "{report:?}");
}

#[test]
fn what_is_due_is_pushed_and_then_nothing_is_open() {
    // Nobody visits by himself before the app is left.
    let phone = Phone::settled_with(|config| config.sync.after_change = LONG);
    phone.write(b"second");
    assert_eq!(phone.keeper.app_data().unwrap(), b"first");
    let report = within(LONG, || phone.life.on_background(LONG));
    assert!(
        report.drained && report.suspended && !report.visible_again,
        "{report:?}"
    );
    assert_eq!(phone.keeper.app_data().unwrap(), b"second");
    assert!(!phone.keeper.is_connected());
    assert_eq!(phone.life.opening(), None);
    assert_eq!(phone.life.status().state, LifeState::Suspended);
    phone.assert_free();
}

#[test]
fn where_nothing_is_due_nobody_is_dialled() {
    let phone = Phone::settled();
    let before = phone.keeper.connections();
    let report = phone.life.on_background(LONG);
    assert!(report.drained && report.suspended);
    assert_eq!(phone.keeper.connections(), before);
}

#[test]
fn said_twice_it_is_done_once() {
    let phone = Phone::settled();
    assert!(phone.life.on_background(LONG).suspended);
    let report = within(SHORT, || phone.life.on_background(LONG));
    assert!(report.suspended && report.drained);
    phone.life.on_foreground();
    phone.life.on_foreground();
    assert!(phone.life.storage().is_ok());
    assert_eq!(phone.life.opening(), Some(2));
}

#[test]
fn what_is_told_while_suspended_is_pushed_at_the_next_occasion() {
    let phone = Phone::settled();
    assert!(phone.life.on_background(LONG).suspended);
    let mut wallet = without_channels(&[phone.keeper.record()]);
    let other = testkit::RawPeer::new("other");
    wallet.peers.push(record(other.id(), other.addr()));
    phone.life.report_wallet(wallet);
    assert_eq!(phone.life.opening(), None, "nothing is opened for it");
    let report = phone.life.run_background_pass(Duration::from_secs(4));
    assert!(report.drained && report.suspended, "{report:?}");
    let backup = phone.keeper.backup().unwrap().snapshot;
    assert!(backup.peers.iter().any(|peer| peer.node_id == other.id()));
    phone.assert_free();

    // Saying again that the app was left is an occasion too.
    phone.tell();
    assert_eq!(phone.life.opening(), None);
    let report = within(LONG, || phone.life.on_background(LONG));
    assert!(report.drained && report.suspended, "{report:?}");
    assert!(phone.keeper.backup().unwrap().snapshot.revision > backup.revision);
}

#[test]
fn a_short_hop_tears_nothing_down() {
    let phone = Phone::settled_with(|config| config.linger = LONG);
    let opening = phone.life.opening();
    let storage = phone.life.storage().unwrap();
    let visits = phone.keeper.connections();
    let report = thread::scope(|scope| {
        let left = scope.spawn(|| phone.life.on_background(LONG * 2));
        wait_until("the drain", DEADLINE, || {
            phone.life.status().state == LifeState::Draining
        });
        phone.life.on_foreground();
        left.join().unwrap()
    });
    assert!(report.visible_again && !report.suspended);
    assert_eq!(phone.life.opening(), opening);
    assert!(storage.next_event().is_ok(), "it is open still");
    assert_eq!(
        phone.keeper.connections(),
        visits,
        "nobody is visited for it"
    );
    assert_eq!(phone.life.status().state, LifeState::Active);
}

#[test]
fn a_short_hop_begins_to_drain_at_once() {
    let phone = Phone::settled_with(|config| {
        config.linger = LONG;
        config.sync.after_change = LONG;
    });
    phone.write(b"second");
    thread::scope(|scope| {
        let left = scope.spawn(|| phone.life.on_background(LONG * 2));
        phone.keeper.wait_for(b"second");
        phone.life.on_foreground();
        left.join().unwrap()
    });
}

#[test]
fn a_hold_keeps_everything_open_until_it_is_released() {
    let phone = Phone::settled();
    let opening = phone.life.opening();
    let hold = phone.life.hold();
    let report = thread::scope(|scope| {
        let left = scope.spawn(|| phone.life.on_background(LONG));
        thread::sleep(Duration::from_millis(300));
        assert_eq!(phone.life.opening(), opening);
        drop(hold);
        within(Duration::from_secs(5), || left.join().unwrap())
    });
    assert!(report.suspended);
    phone.assert_free();
}

#[test]
fn the_deadline_beats_a_hold_and_a_storage_that_is_not_given_back() {
    let phone = Phone::settled();
    let _hold = phone.life.hold();
    let kept = phone.life.storage().unwrap();
    let began = Instant::now();
    let report = within(SHORT, || phone.life.on_background(SHORT));
    assert!(began.elapsed() >= SHORT / 2);
    assert!(report.suspended, "{report:?}");
    assert_eq!(report.obstacle, Some(Obstacle::PaymentInFlight));
    phone.assert_free();
    assert!(kept.next_event().is_err(), "it is closed");
    drop(kept);
    phone.life.on_foreground();
    assert!(phone.life.storage().unwrap().next_event().is_ok());
}

#[test]
fn a_storage_that_is_in_use_is_waited_for() {
    let phone = Phone::settled();
    let storage = phone.life.storage().unwrap();
    let report = thread::scope(|scope| {
        let left = scope.spawn(|| phone.life.on_background(LONG));
        wait_until("the drain", DEADLINE, || {
            phone.life.status().state == LifeState::Draining
        });
        thread::sleep(Duration::from_millis(200));
        assert!(storage.next_event().is_ok(), "it is open still");
        drop(storage);
        left.join().unwrap()
    });
    assert!(report.suspended && report.drained);
}

#[test]
fn what_is_done_too_late_is_refused_not_lost() {
    let phone = Phone::settled();
    let done = phone.life.durably(|storage| {
        storage.set_app_data(b"in time".to_vec());
        // It takes longer than the system allows.
        assert!(phone.life.on_background(SHORT).suspended);
        storage.set_app_data(b"too late".to_vec());
    });
    assert_eq!(done, Err(Unavailable::Suspended));
}

#[test]
fn what_is_overtaken_by_the_end_says_so() {
    let phone = Phone::settled();
    let done = phone.life.durably(|storage| {
        assert!(phone.life.shutdown(SHORT).closed);
        storage.set_app_data(b"too late".to_vec());
    });
    assert_eq!(done, Err(Unavailable::Closed));
}

#[test]
fn peers_that_say_nothing_do_not_keep_a_background_call() {
    let phone = Phone::settled();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = testkit::RawPeer::new("nobody");
    let mut wallet = without_channels(&[phone.keeper.record()]);
    let peer = record(nobody.id(), silent.local_addr().unwrap());
    wallet.peers.push(peer);
    phone.life.report_wallet(wallet.clone());
    for budget in [Duration::ZERO, Duration::from_millis(20), SHORT, SHORT * 3] {
        let report = within(budget, || phone.life.on_background(budget));
        assert!(report.suspended, "{budget:?}: {report:?}");
        phone.assert_free();
        let report = within(budget, || phone.life.run_background_pass(budget));
        assert!(report.suspended, "{budget:?}: {report:?}");
        phone.assert_free();
        phone.life.on_foreground();
        phone.life.report_wallet(wallet.clone());
    }
}

#[test]
fn a_restore_goes_on_in_background_until_the_budget_ends() {
    let phone = Phone::with(|_| ());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = testkit::RawPeer::new("nobody");
    let peers = [record(nobody.id(), silent.local_addr().unwrap())];
    thread::scope(|scope| {
        let restore = scope.spawn(|| phone.life.restore(&peers, LONG));
        let _dialled = silent.accept().unwrap();
        let report = within(SHORT, || phone.life.on_background(SHORT));
        assert!(report.suspended);
        let outcome = within(SHORT, || restore.join().unwrap()).unwrap();
        assert!(outcome.peers[0].outcome.is_err());
    });
    phone.assert_free();
}

/// A peer to whom the line goes dead at the last word: nobody tells us that it has come.
fn dead_line(phone: &Phone) -> (Arc<Cable>, Arc<AtomicBool>) {
    let cable = Arc::new(Cable::to(phone.keeper.raw.addr(), Line::Fast));
    let is_cut = Arc::<AtomicBool>::default();
    let (cutting, noting) = (cable.clone(), is_cut.clone());
    phone.keeper.raw.on_message(move |message| {
        if message.type_id == 7 {
            cutting.cut();
            noting.store(true, Ordering::SeqCst);
        }
        Vec::new()
    });
    (cable, is_cut)
}

#[test]
fn a_line_that_goes_dead_does_not_keep_a_background_call() {
    let phone = Phone::settled();
    let (cable, is_cut) = dead_line(&phone);
    let peers = [record(phone.keeper.id(), cable.addr)];
    let said = |storage: &PeerStorage| storage.set_app_data(b"second".to_vec());
    phone.life.durably(said).unwrap();
    thread::scope(|scope| {
        let visit = scope.spawn(|| phone.life.sync_with_peers(&peers, Work::default(), LONG));
        wait_until("the cut", DEADLINE, || is_cut.load(Ordering::SeqCst));
        let report = within(SHORT, || phone.life.on_background(SHORT));
        assert!(report.suspended, "{report:?}");
        let _ = visit.join().unwrap();
    });
    phone.assert_free();
}

#[test]
fn a_visit_that_hangs_is_over_when_the_node_is_allowed_to_start() {
    for offline in [false, true] {
        let phone = Phone::settled();
        let (cable, is_cut) = dead_line(&phone);
        let peers = [record(phone.keeper.id(), cable.addr)];
        let said = |storage: &PeerStorage| storage.set_app_data(b"second".to_vec());
        phone.life.durably(said).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| phone.life.sync_with_peers(&peers, Work::default(), LONG));
            wait_until("the cut", DEADLINE, || is_cut.load(Ordering::SeqCst));
            phone.life.on_network_changed(!offline);
            let budget = if offline { LONG } else { SHORT };
            let takes = if offline { Duration::ZERO } else { SHORT };
            within(takes, || phone.life.check_before_node_start(budget));
            assert!(!phone.life.status().visiting);
        });
    }
}

#[test]
fn a_clock_that_jumps_ends_what_it_should_have_ended() {
    let clock = ManualClock::new();
    let phone = Phone::settled_with(|config| config.storage.clock = Some(clock.clone()));
    let _hold = phone.life.hold();
    let day = Duration::from_secs(24 * 60 * 60);
    let report = thread::scope(|scope| {
        let left = scope.spawn(|| phone.life.on_background(day));
        wait_until("the drain", DEADLINE, || {
            phone.life.status().state == LifeState::Draining
        });
        clock.advance(day);
        phone.life.clock_moved();
        left.join().unwrap()
    });
    assert!(report.suspended);
    clock.advance(day * 365);
    phone.life.on_foreground();
    assert!(phone.life.storage().is_ok());
}

#[test]
fn what_is_reported_again_is_backed_up_as_it_is_now() {
    let phone = Phone::settled();
    let report = |update_id| {
        let mut wallet = without_channels(&[phone.keeper.record()]);
        wallet.channels = vec![ChannelRecord {
            counterparty: phone.keeper.id(),
            ids: ChannelIds {
                channel_id: Some(ChannelId([5; 32])),
                ..ChannelIds::default()
            },
            update_id,
            phase: ChannelPhase::Ready,
            restored: false,
            kind: ChannelKind::Anchors,
            channel_keys_id: None,
            value_sat: Some(100_000),
        }];
        // The first of an opening may have been an older one.
        let mut older = wallet.clone();
        older.channels[0].update_id -= 1;
        phone.life.report_wallet(older);
        phone.life.report_wallet(wallet);
        assert!(phone.life.on_background(LONG).drained);
        phone.life.on_foreground();
        phone.life.storage().unwrap();
        let backup = phone.keeper.backup().unwrap().snapshot;
        backup.channels[0].update_id
    };
    for stamp in [3, 5, 9] {
        assert_eq!(report(stamp), stamp);
    }
}
