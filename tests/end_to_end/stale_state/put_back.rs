//! The node's database is put back, and a backup tells: from the peer, or from our own records.

use ldk_peer_storage::exchange::{Alarm, AlarmKind, Event, Evidence, Resolution, ResolveError};
use ldk_peer_storage::service::{Config, PeerStorage};
use testkit::ChannelType::{Anchors, StaticRemoteKey};
use testkit::{wait_until, ChannelType, DEADLINE};

use super::stage::{holding_alarms, Directory, PeerKind, Stale};
use crate::support::{keys, take_events, Wallet};

#[test]
fn with_its_own_records_lost_the_peers_blob_holds_everything() {
    noticed_in_time(Anchors, PeerKind::Decorated, Directory::Lost);
}

#[test]
fn with_its_own_records_put_back_the_peers_blob_holds_everything() {
    noticed_in_time(StaticRemoteKey, PeerKind::Decorated, Directory::PutBack);
}

#[test]
fn its_own_current_records_hold_everything_before_anyone_is_met() {
    noticed_in_time(StaticRemoteKey, PeerKind::Decorated, Directory::Current);
}

#[test]
fn the_essential_blob_at_a_stock_peer_is_enough() {
    noticed_in_time(Anchors, PeerKind::Stock, Directory::Lost);
}

#[test]
fn with_a_stock_peer_too_own_current_records_are_enough() {
    noticed_in_time(Anchors, PeerKind::Stock, Directory::Current);
}

fn noticed_in_time(channel_type: ChannelType, kind: PeerKind, directory: Directory) {
    let stale = Stale::new(channel_type, kind, directory);
    let bob_heard = stale.bob.node().wire().mark();
    let alice = stale.start_alice();
    if directory == Directory::Current {
        assert!(alice.storage.is_holding());
    }
    let waits_from = alice.node.wire().mark();
    stale.meet(&alice);
    assert!(alice.storage.is_holding());
    if directory != Directory::Current {
        // The alarm came with the backup: nothing had to be deduced from the 136.
        let received = alice
            .node
            .wire()
            .received_since(waits_from, &stale.bob.node().id());
        let position = |name: &str| received.iter().position(|n| n == name);
        assert!(position("PeerStorageRetrieval") < position("ChannelReestablish"));
    }
    let alarm = stamp_alarm(&alice, &stale);
    assert!(alice.storage.flush(DEADLINE));
    let events = take_events(&alice.storage);
    assert!(events.contains(&Event::AlarmRaised(alarm.clone())));

    stale.hear_errors_before_any_reestablish(&alice);
    stale.hear_errors(&alice);
    decide_in_vain(&alice, &alarm);
    assert_eq!(alice.node.channels().len(), 1);
    stale.meet(&alice);
    stale
        .stage
        .mine_beyond_all_htlcs(&[&alice.node, stale.bob.node()]);
    wait_until("LDK to want to go on chain", DEADLINE, || {
        alice.dropped_transactions() > 0
    });
    stale.assert_harmless(&alice);
    stale.assert_open_at_bob();

    let alice = held_from_the_start(alice, &stale, &alarm);
    stale.meet(&alice);
    stale.hear_errors(&alice);
    stale.assert_harmless(&alice);
    stale.assert_open_at_bob();
    let heard = stale.bob.node().wire();
    let heard = heard.received_since(bob_heard, &alice.node.id());
    assert!(
        !heard.contains(&"ChannelReestablish".to_owned()),
        "{heard:?}"
    );

    stale.bob_closes(&alice);
    stale.assert_harmless(&alice);
}

/// The one alarm that tells how far behind the device is.
fn stamp_alarm(alice: &Wallet, stale: &Stale) -> Alarm {
    let alarms = holding_alarms(alice);
    let ahead = |alarm: &&Alarm| {
        let AlarmKind::StaleState { peer, evidence } = &alarm.kind else {
            return false;
        };
        let Evidence::StampAhead {
            channel,
            backup,
            live,
        } = evidence
        else {
            return false;
        };
        assert!(peer.is_none_or(|peer| peer == stale.bob.node().id()));
        assert_eq!(channel.funding_outpoint, Some(stale.funding));
        backup > live
    };
    let alarm = alarms.iter().find(ahead);
    let alarm = alarm.unwrap_or_else(|| panic!("no alarm about a stamp: {alarms:?}"));
    assert!(alarm.id.0 > 0);
    assert_eq!(alarm.earliest_htlc_expiry, Some(stale.expiry));
    alarm.clone()
}

/// No decision of the person lets a state be used that is proved to be old.
fn decide_in_vain(alice: &Wallet, alarm: &Alarm) {
    let decide = |resolution| alice.storage.resolve_alarm(alarm.id, resolution);
    let recovering = || {
        let alarms = alice.storage.alarms();
        let alarm = alarms.iter().find(|a| a.id == alarm.id);
        alarm.expect("it stands").recovering
    };
    assert_eq!(
        decide(Resolution::ThisDeviceIsCurrent),
        Err(ResolveError::ProvedStale)
    );
    assert_eq!(decide(Resolution::Recover), Ok(()));
    assert!(recovering() && alice.storage.is_holding());
    assert_eq!(decide(Resolution::StayHeld), Ok(()));
    assert!(!recovering() && alice.storage.is_holding());
}

/// Kills the app, and switches it on again after more blocks: LDK wants to go on chain while it
/// loads, before it could tell anyone which channels there are.
fn held_from_the_start(alice: Wallet, stale: &Stale, alarm: &Alarm) -> Wallet {
    assert!(alice.storage.flush(DEADLINE));
    let before = alice.storage.alarms();
    let config = alice.kill();
    stale.stage.chain.mine(10);
    let storage = Config::new(&config.storage_dir, bitcoin::Network::Regtest);
    let storage = PeerStorage::open(storage, &keys(&config.node)).unwrap();
    assert!(storage.is_holding());
    let after = storage.alarms();
    assert_eq!(after, before);
    assert!(after
        .iter()
        .any(|a| a.id == alarm.id && a.raised_at == alarm.raised_at));
    storage.close(DEADLINE);

    let alice = Wallet::start(config);
    alice.learn_address(stale.bob.node());
    alice.node.sync();
    alice.node.tick();
    wait_until("LDK to want to go on chain again", DEADLINE, || {
        alice.dropped_transactions() > 0
    });
    stale.assert_harmless(&alice);
    alice
}
