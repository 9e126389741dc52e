//! The app comes back; obstacles come and go.

use std::time::Duration;

use ldk_peer_storage::exchange::Health;
use ldk_peer_storage::lifecycle::{LifeState, Lifecycle, Obstacle, Unavailable};
use ldk_peer_storage::service::OpenError;
use ldk_peer_storage::session::Work;
use ldk_peer_storage::store::StoreError;
use testkit::{wait_until, DEADLINE};

use crate::stage::{
    config, keys, keys_of, open_directly, record, within, without_channels, Phone, LONG, SHORT,
};

#[test]
fn after_a_suspension_peers_are_visited_and_what_they_keep_is_verified() {
    let phone = Phone::settled();
    for round in 0..3u8 {
        let before = phone.keeper.connections();
        assert!(phone.life.on_background(LONG).suspended);
        assert_eq!(phone.keeper.connections(), before);
        // It forgets what it was sent last.
        if round == 2 {
            *phone.keeper.kept.lock().unwrap() = vec![1; 300];
        }
        phone.life.on_foreground();
        wait_until("a visit", DEADLINE, || phone.keeper.connections() > before);
        phone.wait_idle();
        let peers = phone.life.status().storage.backup.peers;
        let health = peers.iter().find(|peer| peer.node_id == phone.keeper.id());
        let health = health.unwrap().health;
        if round < 2 {
            assert_eq!(health, Health::Verified);
        }
        assert_eq!(
            phone.keeper.app_data().unwrap(),
            b"first",
            "it was sent again"
        );
    }
}

#[test]
fn connections_from_before_are_not_shown_while_suspended() {
    let phone = Phone::settled();
    let report = phone.life.on_background(LONG);
    let status = phone.life.status();
    assert_eq!(status.storage.backup, report.status.storage.backup);
    let peers = status.storage.backup.peers;
    assert!(!peers.is_empty() && peers.iter().all(|peer| !peer.connected));
    assert!(status.storage.backup.newest.is_some());
}

#[test]
fn while_an_obstacle_stands_nobody_is_dialled() {
    let phone = Phone::settled();
    type Set = fn(&Lifecycle, bool);
    let obstacles: [(Obstacle, Set); 2] = [
        (Obstacle::NoNetwork, |life, stands| {
            life.on_network_changed(!stands)
        }),
        (Obstacle::HostNodeRuns, |life, stands| {
            life.on_host_node_changed(stands)
        }),
    ];
    for (round, (obstacle, set)) in obstacles.into_iter().enumerate() {
        // Of the round before a visit may be under way.
        phone.wait_idle();
        set(&phone.life, true);
        let before = phone.keeper.connections();
        let data = format!("round {round}").into_bytes();
        phone.write(&data);
        assert_eq!(phone.life.status().obstacle, Some(obstacle));
        let peers = [phone.keeper.record()];
        let refused = phone.life.sync_with_peers(&peers, Work::default(), LONG);
        assert_eq!(refused.unwrap_err(), Unavailable::Obstacle(obstacle));
        let pass = phone.life.run_background_pass(SHORT);
        assert_eq!(pass.session.unwrap_err(), Unavailable::Obstacle(obstacle));
        assert!(!pass.suspended, "the app is visible");
        let report = phone.life.on_background(LONG);
        assert!(report.suspended && report.drained, "{report:?}");
        assert_eq!(report.obstacle, Some(obstacle));
        phone.life.on_foreground();
        assert!(phone.life.storage().is_ok());
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(phone.keeper.connections(), before);
        set(&phone.life, false);
        phone.keeper.wait_for(&data);
    }
}

#[test]
fn a_payment_in_flight_keeps_visits_off_until_the_last_hold_is_released() {
    let phone = Phone::settled();
    let (one, two) = (phone.life.hold(), phone.life.hold());
    let before = phone.keeper.connections();
    phone.write(b"paid");
    drop(one);
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(phone.keeper.connections(), before);
    assert_eq!(
        phone.life.status().obstacle,
        Some(Obstacle::PaymentInFlight)
    );
    drop(two);
    phone.keeper.wait_for(b"paid");
}

#[test]
fn an_obstacle_ends_a_visit_that_is_under_way() {
    let phone = Phone::settled();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = record(phone.keeper.id(), silent.local_addr().unwrap());
    std::thread::scope(|scope| {
        let visit = scope.spawn(|| {
            let peers = [peer.clone()];
            phone.life.sync_with_peers(&peers, Work::default(), LONG)
        });
        let _dialled = silent.accept().unwrap();
        phone.life.on_host_node_changed(true);
        // The handshake alone would take two seconds.
        within(Duration::from_millis(500), || visit.join().unwrap()).unwrap();
    });
}

#[test]
fn before_the_app_has_said_what_the_wallet_is_nobody_is_visited() {
    let phone = Phone::with(|_| ());
    phone.tell();
    std::thread::sleep(Duration::from_millis(200));
    assert!(phone.life.on_background(LONG).suspended);
    assert!(phone.keeper.wire_is_silent());
}

#[test]
fn flaps_of_the_network_collapse() {
    let phone = Phone::settled();
    let before = phone.keeper.connections();
    for _ in 0..200 {
        phone.life.on_network_changed(false);
        phone.life.on_network_changed(true);
    }
    phone.write(b"after the flaps");
    phone.keeper.wait_for(b"after the flaps");
    phone.wait_idle();
    let visits = phone.keeper.connections() - before;
    assert!(visits < 20, "{visits} visits");
    assert_eq!(phone.life.status().state, LifeState::Active);
}

#[test]
fn flips_of_the_app_collapse() {
    let phone = Phone::settled();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| phone.life.on_background(SHORT));
            phone.life.on_foreground();
        }
    });
    phone.life.on_foreground();
    phone.write(b"after the flips");
    phone.keeper.wait_for(b"after the flips");
}

#[test]
fn a_peer_that_was_away_is_tried_again() {
    let phone = Phone::with(|_| ());
    phone
        .life
        .durably(|storage| storage.declare_new())
        .unwrap()
        .unwrap();
    // Nobody listens there yet.
    let addr = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    };
    let raw = testkit::RawPeerConfig {
        listen: Some(addr.port()),
        ..testkit::RawPeerConfig::new("late")
    };
    let id = keys_of(&raw.seed);
    let wallet = without_channels(&[record(id, addr)]);
    phone.life.report_wallet(wallet);
    wait_until("a first try", DEADLINE, || {
        let last = phone.life.status().last_session;
        last.is_some_and(|(_, report)| report.peers.iter().any(|peer| peer.outcome.is_err()))
    });
    let late = testkit::RawPeer::start(raw);
    wait_until("another", DEADLINE, || !late.wire().all().is_empty());
}

#[test]
fn a_directory_that_another_has_is_refused_and_tried_again_when_the_app_says_something() {
    let phone = Phone::settled();
    let again = Lifecycle::open(config(&phone.data_dir()), keys());
    assert!(matches!(again, Err(OpenError::Store(StoreError::Locked))));

    assert!(phone.life.on_background(LONG).suspended);
    let other = open_directly(&phone.data_dir()).unwrap();
    phone.life.on_foreground();
    let locked = Unavailable::Storage(StoreError::Locked);
    assert_eq!(phone.life.storage().err(), Some(locked.clone()));
    wait_until("the trouble to show", DEADLINE, || {
        phone.life.status().trouble == Some(locked.clone())
    });
    let pass = within(SHORT, || phone.life.run_background_pass(SHORT));
    assert_eq!(pass.session.unwrap_err(), locked);
    // By itself it would be tried again in a minute.
    for _ in 0..8 {
        assert_eq!(phone.life.storage().err(), Some(locked.clone()));
    }
    other.close(DEADLINE);
    phone.life.on_network_changed(true);
    wait_until("the opening", DEADLINE, || phone.life.opening().is_some());
    assert_eq!(phone.life.status().trouble, None);
}

#[test]
fn a_directory_that_another_had_is_opened_without_a_word_of_the_app_while_it_is_visible() {
    let phone = Phone::settled();
    assert!(phone.life.on_background(LONG).suspended);
    let other = open_directly(&phone.data_dir()).unwrap();
    phone.life.on_foreground();
    wait_until("the trouble to show", DEADLINE, || {
        phone.life.status().trouble.is_some()
    });
    other.close(DEADLINE);
    wait_until("the opening", DEADLINE, || phone.life.opening().is_some());
    assert_eq!(phone.life.status().trouble, None);

    // In background nobody tries.
    assert!(phone.life.on_background(LONG).suspended);
    let other = open_directly(&phone.data_dir()).unwrap();
    phone.life.on_foreground();
    wait_until("the trouble to show", DEADLINE, || {
        phone.life.status().trouble.is_some()
    });
    assert!(within(SHORT, || phone.life.on_background(SHORT)).suspended);
    other.close(DEADLINE);
    phone.assert_free();
    assert_eq!(phone.life.opening(), None);
}

#[test]
fn opened_in_background_it_shows_what_is_wrong_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let invisible = || {
        let mut config = config(dir.path());
        config.visible = false;
        config
    };
    let other = open_directly(dir.path()).unwrap();
    let refused = Lifecycle::open(invisible(), keys());
    assert!(matches!(refused, Err(OpenError::Store(StoreError::Locked))));
    other.close(DEADLINE);
    let life = Lifecycle::open(invisible(), keys()).unwrap();
    wait_until("the end", DEADLINE, || {
        life.status().state == LifeState::Suspended
    });
    crate::stage::assert_free(dir.path());
    assert_eq!(life.storage().err(), Some(Unavailable::Suspended));
    life.on_foreground();
    assert!(life.storage().is_ok());
}

#[test]
fn the_waker_of_a_message_relay_survives_sessions_and_suspensions() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Arc;

    let phone = Phone::settled();
    let woken = Arc::<AtomicUsize>::default();
    let count = woken.clone();
    phone.life.set_waker(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    for round in 0..2 {
        let peers = [phone.keeper.record()];
        let visits = phone.life.sync_with_peers(&peers, Work::default(), LONG);
        assert!(visits.unwrap().peers[0].outcome.is_ok());
        phone.wait_idle();
        let before = woken.load(Ordering::SeqCst);
        let storage = phone.life.storage().unwrap();
        assert_eq!(storage.opening(), round + 1);
        let peer = crate::stage::provoke_a_warning(&storage);
        wait_until("the waker", DEADLINE, || {
            woken.load(Ordering::SeqCst) > before
        });
        // With the relay its connections end.
        drop((peer, storage));
        assert!(phone.life.on_background(LONG).suspended);
        phone.life.on_foreground();
        phone.life.storage().unwrap();
        phone.wait_idle();
    }
}

#[test]
fn the_waker_of_a_message_relay_is_called_when_a_session_is_over() {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::Arc;

    let phone = Phone::settled();
    phone.wait_idle();
    let woken = Arc::<AtomicBool>::default();
    let flag = woken.clone();
    phone
        .life
        .set_waker(move || flag.store(true, Ordering::SeqCst));
    let peers = [phone.keeper.record()];
    let visits = phone.life.sync_with_peers(&peers, Work::default(), LONG);
    assert!(visits.unwrap().peers[0].outcome.is_ok());
    wait_until("the waker", DEADLINE, || woken.load(Ordering::SeqCst));
}
