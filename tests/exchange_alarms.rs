//! What the person decides about an alarm, and where that is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "simulation/example.rs"]
mod example;

use example::*;
use ldk_peer_storage::backup::ChannelPhase::{Closing, Ready};
use ldk_peer_storage::backup::Tier;
use ldk_peer_storage::exchange::{AlarmId, Event, Resolution, ResolveError};

/// A backup is ahead of channel 0.
fn stale() -> (Example, AlarmId) {
    let mut w = Example::wallet(&[(1, 0, 5, Ready)]);
    w.connect(1)
        .returns(1, &foreign((4, 9), &[(1, 0, 6, Ready)]), Tier::Full);
    let id = w.exchange.alarms()[0].id;
    (w, id)
}

fn resolve(w: &mut Example, id: AlarmId, resolution: Resolution) -> Result<(), ResolveError> {
    let result = w.exchange.resolve_alarm(w.now, id, resolution);
    w.take();
    result
}

#[test]
fn to_go_on_is_refused_where_the_stamps_say_otherwise() {
    let (mut w, id) = stale();
    let refused = resolve(&mut w, id, Resolution::ThisDeviceIsCurrent);
    assert_eq!(refused, Err(ResolveError::ProvedStale));
    assert!(w.exchange.holding());
}

#[test]
fn the_right_database_is_accepted() {
    let (mut w, id) = stale();
    w.restart();
    w.live(&[(1, 0, 6, Ready)]);
    assert!(w.exchange.holding(), "only the person ends it");
    assert_eq!(resolve(&mut w, id, Resolution::ThisDeviceIsCurrent), Ok(()));
    assert!(!w.exchange.holding());
    w.connect(1).returns_nothing(1);
    assert!(!w.pushed().is_empty());
}

#[test]
fn what_a_held_channel_does_by_itself_makes_it_no_newer() {
    let (mut w, id) = stale();
    w.live(&[(1, 0, 6, Ready)]);
    let refused = resolve(&mut w, id, Resolution::ThisDeviceIsCurrent);
    assert_eq!(refused, Err(ResolveError::ProvedStale));
}

#[test]
fn a_second_channel_that_is_behind_is_not_overlooked() {
    let mut w = Example::wallet(&[(1, 0, 5, Ready), (1, 1, 5, Ready)]);
    let backup = foreign((4, 9), &[(1, 0, 6, Ready), (1, 1, 6, Ready)]);
    w.connect(1).returns(1, &backup, Tier::Full);
    w.live(&[(1, 0, 6, Ready), (1, 1, 5, Ready)]);
    for alarm in w.exchange.alarms().to_vec() {
        let refused = resolve(&mut w, alarm.id, Resolution::ThisDeviceIsCurrent);
        assert_eq!(refused, Err(ResolveError::ProvedStale));
    }
}

#[test]
fn a_channel_that_is_resolved_holds_nothing_any_more() {
    let (mut w, id) = stale();
    assert_eq!(resolve(&mut w, id, Resolution::Recover), Ok(()));
    assert!(w.exchange.alarms()[0].recovering && w.exchange.holding());
    w.exchange.channel_resolved(w.now, channel_ids(0, true));
    w.live(&[]);
    assert_eq!(resolve(&mut w, id, Resolution::ThisDeviceIsCurrent), Ok(()));
    assert!(!w.exchange.holding());
}

#[test]
fn a_missing_channel_may_be_declared_over() {
    let mut w = Example::wallet(&[(1, 0, 5, Ready)]);
    w.connect(1)
        .returns(1, &foreign((4, 9), &[(1, 3, 1, Ready)]), Tier::Full);
    let id = w.exchange.alarms()[0].id;
    assert_eq!(resolve(&mut w, id, Resolution::ThisDeviceIsCurrent), Ok(()));
    // It is in the backup as restored, and raises no further alarm.
    assert_eq!(w.snapshot().channels.len(), 2);
    w.restart();
    w.live(&[(1, 0, 5, Ready)]);
    assert!(!w.exchange.holding());
}

#[test]
fn an_alarm_survives_a_restart_as_it_was_decided() {
    let (mut w, id) = stale();
    assert_eq!(resolve(&mut w, id, Resolution::Recover), Ok(()));
    w.restart();
    assert!(w.exchange.holding());
    assert!(w.exchange.alarms()[0].recovering);
    assert_eq!(resolve(&mut w, id, Resolution::StayHeld), Ok(()));
    assert!(!w.exchange.alarms()[0].recovering && w.exchange.holding());
}

#[test]
fn an_alarm_that_is_over_is_unknown() {
    let (mut w, id) = stale();
    let unknown = resolve(&mut w, AlarmId(id.0 + 1), Resolution::StayHeld);
    assert_eq!(unknown, Err(ResolveError::Unknown));
}

#[test]
fn it_names_the_time_that_is_left() {
    let mut w = Example::wallet(&[(1, 0, 5, Ready)]);
    let mut live = state(&[(1, 0, 5, Ready)]);
    live.earliest_htlc_expiry = Some(812_345);
    w.exchange.wallet_changed(w.now, live);
    w.connect(1)
        .returns(1, &foreign((4, 9), &[(1, 0, 6, Ready)]), Tier::Full);
    let alarm = &w.exchange.alarms()[0];
    assert_eq!(alarm.earliest_htlc_expiry, Some(812_345));
}

#[test]
fn a_storer_is_not_accused_twice_of_what_an_alarm_kept_from_it() {
    let mut w = Example::wallet(&[(1, 0, 5, Ready), (2, 1, 5, Ready)]);
    w.meet(2, None).meet(2, None);
    w.connect(1);
    w.returns(1, &foreign((4, 9), &[(1, 0, 6, Ready)]), Tier::Full);
    for _ in 0..3 {
        w.meet(2, None);
    }
    assert_eq!(w.exchange.alarms().len(), 1);
}

#[test]
fn what_a_peer_and_our_own_records_know_of_a_channel_is_one_alarm() {
    let (mut w, id) = stale();
    // The same live state once more, and a second peer with the same backup.
    w.live(&[(1, 0, 5, Ready)]);
    w.connect(2)
        .returns(2, &foreign((4, 9), &[(1, 0, 6, Ready)]), Tier::Full);
    w.live(&[(1, 0, 5, Ready)]);
    let alarms: Vec<_> = w.exchange.alarms().iter().map(|alarm| alarm.id).collect();
    assert_eq!(alarms, [id]);
    // Of another channel the person hears all the same.
    let mut w = Example::wallet(&[(1, 0, 5, Ready)]);
    w.connect(1).connect(2);
    w.returns(1, &foreign((4, 9), &[(1, 3, 6, Ready)]), Tier::Full);
    w.returns(2, &foreign((4, 9), &[(2, 4, 6, Ready)]), Tier::Full);
    assert_eq!(w.exchange.alarms().len(), 2);
}

/// Our own records name two ready channels; the wallet reports one of them.
fn forgotten() -> Example {
    let mut w = Example::wallet(&[(1, 0, 5, Ready), (2, 1, 5, Ready)]);
    w.restart();
    w.live(&[(1, 0, 5, Ready)]);
    assert!(w.exchange.holding());
    w
}

#[test]
fn a_missing_channel_holds_nothing_once_it_is_reported_as_closing_or_swept() {
    let mut w = forgotten();
    w.live(&[(1, 0, 5, Ready), (2, 1, 5, Closing)]);
    assert_eq!(w.exchange.alarms(), []);
    assert!(w.has_event(|e| matches!(e, Event::AlarmOver(_))));
    w.restart();
    w.live(&[(1, 0, 5, Ready), (2, 1, 5, Closing)]);
    assert_eq!(w.exchange.alarms(), [], "for good");

    let mut w = forgotten();
    w.exchange.channel_resolved(w.now, channel_ids(1, true));
    assert_eq!(w.take().exchange.alarms(), []);

    // The same where a peer's backup names it.
    let mut w = Example::wallet(&[(1, 0, 5, Ready)]);
    w.connect(1)
        .returns(1, &foreign((4, 9), &[(2, 1, 5, Ready)]), Tier::Full);
    assert!(w.exchange.holding());
    w.live(&[(1, 0, 5, Ready), (2, 1, 5, Closing)]);
    assert_eq!(w.exchange.alarms(), []);
}

#[test]
fn a_missing_channel_that_is_back_is_the_persons_to_decide() {
    let mut w = forgotten();
    w.live(&[(1, 0, 5, Ready), (2, 1, 5, Ready)]);
    assert!(w.exchange.holding());
}

#[test]
fn one_missing_channel_that_is_closing_does_not_answer_for_another() {
    let mut w = Example::wallet(&[(1, 0, 5, Ready), (2, 1, 5, Ready), (3, 2, 5, Ready)]);
    w.restart();
    w.live(&[(1, 0, 5, Ready)]);
    for closing in [1, 2] {
        w.live(&[(1, 0, 5, Ready), (closing + 1, closing, 5, Closing)]);
        assert!(w.exchange.holding(), "one is still missing");
    }
    // All there, but another is behind.
    w.live(&[(1, 0, 4, Ready), (2, 1, 5, Closing), (3, 2, 5, Closing)]);
    assert!(w.exchange.holding());
    let id = w.exchange.alarms()[0].id;
    let refused = resolve(&mut w, id, Resolution::ThisDeviceIsCurrent);
    assert_eq!(refused, Err(ResolveError::ProvedStale));
}
