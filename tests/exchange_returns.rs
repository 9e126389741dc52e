//! What a returned backup means: compared with what was sent, and with the wallet.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "simulation/example.rs"]
mod example;

use example::*;
use ldk_peer_storage::backup::ChannelPhase::{Closing, Opening, Ready};
use ldk_peer_storage::backup::{OpenError, Snapshot, Tier};
use ldk_peer_storage::exchange::{AlarmKind, Event, Evidence, Health, WalletState};
use lightning::ln::types::ChannelId;

fn wallet() -> Example {
    Example::wallet(&[(1, 0, 5, Ready)])
}

fn stale(w: &Example) -> Option<Evidence> {
    w.exchange.alarms().iter().find_map(|a| match &a.kind {
        AlarmKind::StaleState { evidence, .. } => Some(evidence.clone()),
        _ => None,
    })
}

#[test]
fn the_last_one_sent_is_verified() {
    let mut w = wallet();
    w.meet(1, None);
    let newest = w.snapshot();
    w.meet(1, Some((&newest, Tier::Full)));
    assert_eq!(w.health(1), Health::Verified);
    let status = w.exchange.status();
    assert_eq!((status.verified_by, status.verified_whole_by), (1, 1));
    assert_eq!(status.unprotected_channels, 0);
}

#[test]
fn what_comes_back_on_the_connection_on_which_it_was_first_sent_proves_nothing() {
    let mut w = wallet();
    w.connect(1).returns_nothing(1);
    assert_eq!(w.pushed().len(), 1);
    let newest = w.snapshot();
    w.returns(1, &newest, Tier::Full);
    assert_eq!(w.health(1), Health::Sent);
    assert!(!w.exchange.progress(&w.peer(1).node_id).unwrap().verified);
    assert_eq!(w.exchange.status().verified_by, 0);
    w.pass(MINUTE).disconnect(1).connect(1);
    w.returns(1, &newest, Tier::Full);
    assert_eq!(w.health(1), Health::Verified);
    assert!(w.exchange.progress(&w.peer(1).node_id).unwrap().verified);

    // A peer that speaks of its channels first has it from before, though it was sent it again.
    w.pass(MINUTE).disconnect(1).connect(1).returns_nothing(1);
    assert_eq!(w.pushed().len(), 1);
    w.returns(1, &newest, Tier::Full);
    assert_eq!(w.health(1), Health::Verified);
}

#[test]
fn one_sent_within_ten_minutes_may_lag() {
    let mut w = wallet();
    w.connect(1).returns_nothing(1);
    let first = w.snapshot();
    w.live(&[(1, 0, 5, Ready), (1, 1, 0, Opening)]).pushed();
    w.pass(5 * MINUTE).disconnect(1).connect(1);
    w.returns(1, &first, Tier::Full);
    assert_eq!(w.pushed().len(), 1, "it is sent the newest again");
    assert_eq!(w.health(1), Health::Lagging);
    assert_eq!(w.storer(1).stale_returns, 0);
    assert_eq!(w.exchange.status().verified_by, 0);
    assert!(w.exchange.alarms().is_empty());
}

#[test]
fn one_that_is_older_than_what_was_sent_long_ago_is_overdue() {
    let mut w = wallet();
    w.connect(1).returns_nothing(1);
    let first = w.snapshot();
    w.live(&[(1, 0, 5, Ready), (1, 1, 0, Opening)]);
    w.disconnect(1).pass(11 * MINUTE).connect(1);
    w.returns(1, &first, Tier::Full);
    assert_eq!(w.health(1), Health::Overdue);
    assert!(w.exchange.alarms().is_empty());
    assert_eq!(w.storer(1).verified.unwrap().revision, first.revision);
}

/// A peer that had returned `old` and then a newer one.
fn with_history() -> (Example, ldk_peer_storage::backup::Snapshot) {
    let mut w = wallet();
    w.meet(1, None);
    let old = w.snapshot();
    w.live(&[(1, 0, 5, Ready), (1, 1, 0, Opening)]);
    w.meet(1, Some((&old, Tier::Full)));
    let newest = w.snapshot();
    w.meet(1, Some((&newest, Tier::Full)));
    assert_eq!(w.health(1), Health::Verified);
    (w, old)
}

#[test]
fn a_storer_that_rolls_back_twice_is_an_alarm_until_it_returns_the_newest() {
    let (mut w, old) = with_history();
    w.meet(1, Some((&old, Tier::Full)));
    assert!(w.exchange.alarms().is_empty());
    assert_eq!(w.exchange.status().verified_by, 0, "it is no keeper now");
    w.meet(1, Some((&old, Tier::Full)));
    let kinds: Vec<_> = w.exchange.alarms().iter().map(|a| a.kind.clone()).collect();
    assert!(matches!(kinds[..], [AlarmKind::StorerRolledBack { .. }]));
    assert!(!w.exchange.holding(), "this stops no channel");
    let newest = w.snapshot();
    w.meet(1, Some((&newest, Tier::Full)));
    assert!(w.exchange.alarms().is_empty());
    assert!(w.has_event(|e| matches!(e, Event::AlarmOver(_))));
}

#[test]
fn rolling_back_right_after_a_push_is_no_second_time() {
    let (mut w, old) = with_history();
    for _ in 0..3 {
        w.connect(1).returns(1, &old, Tier::Full);
        w.pass(2 * MINUTE).disconnect(1).pass(MINUTE);
    }
    assert!(w.exchange.alarms().is_empty());
}

#[test]
fn a_storer_that_fails_in_each_way_once_and_then_returns_the_newest_is_no_alarm() {
    let (mut w, old) = with_history();
    let newest = w.snapshot();
    w.pushed();
    for _ in 0..3 {
        // It forgets, rolls back, and gives what does not open: never twice in a row.
        let failures: [Option<&Snapshot>; 2] = [None, Some(&old)];
        for failure in failures {
            w.meet(1, failure.map(|backup| (backup, Tier::Full)));
            assert_eq!(w.exchange.status().verified_by, 0, "it is no keeper now");
            assert_eq!(w.pushed().len(), 1, "it is sent the newest again");
            w.meet(1, Some((&newest, Tier::Full)));
            assert_eq!(w.health(1), Health::Verified);
        }
        w.connect(1).returns_garbage(1, OpenError::Unreadable);
        w.pass(2 * MINUTE).disconnect(1).pass(15 * MINUTE);
        assert_eq!(w.pushed().len(), 1);
        w.meet(1, Some((&newest, Tier::Full)));
    }
    assert_eq!(w.exchange.alarms(), []);
    assert!(!w.has_event(|e| matches!(e, Event::AlarmRaised(_))));
    assert_eq!(
        (w.storer(1).missing_returns, w.storer(1).stale_returns),
        (0, 0)
    );
}

/// What a storer has may be anybody's.
#[test]
fn a_backup_that_was_sent_to_another_storer_verifies_nothing_and_holds_nothing() {
    let (mut w, old) = with_history();
    let newest = w.snapshot();
    w.pushed();
    // It was never sent to this one: an old one is stored, merged, and overwritten by one that comes after it.
    w.connect(2).returns(2, &old, Tier::Full);
    assert_eq!(w.health(2), Health::Lagging);
    assert_eq!(w.foreign.len(), 1);
    assert!(w.pushed().iter().any(|(peer, ..)| *peer == 2));
    w.pass(2 * MINUTE).disconnect(2);
    let newer = w.snapshot();
    assert!(newer.revision > newest.revision);
    assert_eq!(newer.channels, newest.channels);
    assert_eq!(w.exchange.status().verified_by, 0, "nobody has returned it");
    // The newest is the newest, whoever has it.
    w.meet(3, Some((&newer, Tier::Full)));
    assert_eq!(w.health(3), Health::Verified);
    assert_eq!(w.exchange.alarms(), []);
}

/// Every backup that ever left, given back at any later time by anyone: what a storer can do who wants a
/// healthy wallet to stop.
#[test]
fn no_backup_of_the_past_freezes_a_healthy_wallet() {
    let mut w = wallet();
    let lives: [&[LiveChannel]; 9] = [
        &[(1, 0, 5, Ready)],
        &[(1, 0, 6, Ready), (2, 1, 0, Opening)],
        &[(1, 0, 9, Ready), (2, 1, 1, Ready)],
        &[(1, 0, 9, Closing), (2, 1, 4, Ready), (3, 2, 0, Ready)],
        &[(1, 0, 10, Closing), (2, 1, 4, Closing), (3, 2, 3, Ready)],
        &[(2, 1, 4, Closing), (3, 2, 7, Ready)],
        &[(3, 2, 8, Ready), (1, 3, 0, Opening)],
        &[(3, 2, 8, Closing), (1, 3, 5, Ready)],
        &[(1, 3, 6, Ready)],
    ];
    let mut past = vec![w.snapshot()];
    for (at, live) in lives.into_iter().enumerate() {
        for (over, gone_at) in [(0, 5), (1, 6), (2, 8)] {
            if gone_at == at {
                w.exchange.channel_resolved(w.now, channel_ids(over, true));
            }
        }
        w.live(live).pass(2 * MINUTE);
        past.push(w.snapshot());
        if at % 2 == 1 {
            w.restart();
            w.live(live);
        }
        for backup in past.clone().iter().rev() {
            for (peer, tier) in [(1, Tier::Full), (3, Tier::Essential), (9, Tier::Full)] {
                w.meet(peer, Some((backup, tier)));
                assert!(!w.exchange.holding(), "{at}: {:?}", w.exchange.alarms());
                let made = w.snapshot();
                assert!(made.channels.iter().all(|c| !c.restored), "{at}: {made:?}");
            }
        }
        w.pass(2 * MINUTE);
    }
}

#[test]
fn a_ready_peer_that_returns_nothing_twice_is_an_alarm() {
    let mut w = wallet();
    w.meet(1, None);
    w.meet(1, None);
    assert_eq!(w.storer(1).missing_returns, 1);
    assert_eq!(w.health(1), Health::Missing);
    assert!(w.exchange.alarms().is_empty());
    w.meet(1, None);
    let alarm = w.exchange.alarms()[0].clone();
    assert!(matches!(alarm.kind, AlarmKind::StorerLostBackup { .. }));
    w.restart();
    assert_eq!(w.exchange.alarms(), [alarm]);
}

#[test]
fn a_peer_whose_channel_is_not_ready_owes_nothing() {
    let mut w = Example::wallet(&[(1, 0, 0, Opening)]);
    for _ in 0..4 {
        w.meet(1, None);
    }
    assert!(w.exchange.alarms().is_empty());
    // Ready now: what was sent before is sent again.
    w.connect(1).returns_nothing(1).pushed();
    w.live(&[(1, 0, 0, Ready)]);
    assert_eq!(w.pushed().len(), 1);
}

#[test]
fn pushes_that_were_lost_with_their_connection_accuse_no_one() {
    let mut w = wallet();
    for _ in 0..4 {
        w.connect(1).returns_nothing(1);
        w.pass(10).disconnect(1).pass(3600);
    }
    assert!(w.exchange.alarms().is_empty());
    assert_eq!(w.storer(1).missing_returns, 0);
}

#[test]
fn the_revision_of_ours_with_other_content_is_a_conflict() {
    let mut w = wallet();
    w.meet(1, None);
    let mut other = w.snapshot();
    other.app_data = vec![1, 2, 3];
    w.connect(1).returns(1, &other, Tier::Full);
    assert!(w.has_event(|e| matches!(e, Event::Conflict { .. })));
    assert_eq!(w.foreign.len(), 1, "kept before it is overwritten");
    assert_eq!(w.storer(1).verified, None);
    assert!(w.snapshot().app_data.is_empty(), "never used");
    assert!(w.snapshot().revision.epoch > other.revision.epoch);
}

#[test]
fn a_newer_backup_without_newer_stamps_is_another_installation() {
    let mut w = wallet();
    w.connect(1).pushed();
    w.returns(1, &foreign((4, 9), &[(1, 0, 5, Ready)]), Tier::Full);
    assert!(w.has_event(|e| matches!(e, Event::OtherInstallation { .. })));
    assert!(!w.exchange.holding());
    assert_eq!(w.foreign.len(), 1);
    let ours = w.snapshot().revision;
    assert_eq!((ours.epoch, ours.generation), (5, 10));
    assert_eq!(w.pushed(), [(1, Tier::Full, 10)]);
}

#[test]
fn a_newer_stamp_is_a_stale_state() {
    let mut w = wallet();
    w.connect(1);
    w.returns(1, &foreign((0, 1), &[(1, 0, 6, Ready)]), Tier::Essential);
    let Some(Evidence::StampAhead { backup, live, .. }) = stale(&w) else {
        panic!();
    };
    assert_eq!((backup, live), (6, 5));
    assert!(w.exchange.holding());
    w.pushed();
    w.live(&[(1, 0, 5, Ready)]).pass(3600);
    assert_eq!(w.pushed(), [], "the newer backup is not overwritten");
}

#[test]
fn the_stamp_of_a_record_that_was_restored_elsewhere_counts_as_well() {
    let mut w = wallet();
    let mut backup = foreign((4, 9), &[(1, 0, 6, Ready)]);
    backup.channels[0].restored = true;
    w.connect(1).returns(1, &backup, Tier::Full);
    assert!(matches!(stale(&w), Some(Evidence::StampAhead { .. })));
}

#[test]
fn a_wallet_that_is_reported_after_the_backup_came_is_compared_too() {
    let mut w = wallet();
    w.restart();
    w.connect(1)
        .returns(1, &foreign((0, 1), &[(1, 0, 6, Ready)]), Tier::Full);
    assert!(stale(&w).is_none());
    w.live(&[(1, 0, 5, Ready)]);
    assert!(matches!(stale(&w), Some(Evidence::StampAhead { .. })));
}

#[test]
fn a_usable_channel_that_the_wallet_lacks_is_a_stale_state() {
    let mut w = wallet();
    w.connect(1)
        .returns(1, &foreign((4, 9), &[(1, 3, 1, Ready)]), Tier::Full);
    assert!(matches!(stale(&w), Some(Evidence::ChannelMissing { .. })));
}

#[test]
fn that_stays_so_after_another_backup_has_raised_the_epoch() {
    let mut w = Example::wallet(&[(1, 0, 5, Ready), (2, 1, 5, Ready)]);
    w.connect(1).connect(2);
    w.returns(1, &foreign((4, 9), &[(1, 0, 5, Ready)]), Tier::Full);
    w.returns(2, &foreign((4, 8), &[(2, 3, 1, Ready)]), Tier::Full);
    assert!(matches!(stale(&w), Some(Evidence::ChannelMissing { .. })));
}

#[test]
fn our_own_records_show_that_the_wallet_was_put_back() {
    let mut w = wallet();
    w.restart();
    w.live(&[(1, 0, 4, Ready)]);
    assert!(matches!(stale(&w), Some(Evidence::StampAhead { .. })));
    let mut w = wallet();
    w.restart();
    w.live(&[]);
    assert!(matches!(stale(&w), Some(Evidence::ChannelMissing { .. })));
}

#[test]
fn channels_that_only_the_peer_knows_are_merged_and_stay_until_resolved() {
    let mut w = wallet();
    w.connect(1)
        .returns(1, &foreign((0, 1), &[(2, 3, 1, Closing)]), Tier::Full);
    assert!(w.has_event(|e| matches!(e, Event::ChannelsMerged { .. })));
    assert!(!w.exchange.holding());
    let restored = |w: &Example| {
        let channels = w.snapshot().channels;
        channels.iter().filter(|c| c.restored).count()
    };
    assert_eq!(restored(&w), 1);
    w.live(&[(1, 0, 9, Ready)]).pass(600);
    w.restart();
    w.live(&[(1, 0, 9, Ready)]);
    assert_eq!(restored(&w), 1);
    w.exchange.channel_resolved(w.now, channel_ids(3, true));
    assert_eq!(restored(&w), 0);
    // No backup brings it back.
    w.take().connect(1);
    w.returns(1, &foreign((0, 2), &[(2, 3, 1, Closing)]), Tier::Full);
    assert_eq!(restored(&w), 0);
}

#[test]
fn what_this_database_did_not_send_is_kept_though_it_bears_our_name() {
    // The database was put back to before channel 1 was opened.
    let mut w = wallet();
    w.meet(1, None);
    let mut lost = w.snapshot();
    lost.revision.generation -= 1;
    lost.channels.push(record((1, 1, 0, Closing)));
    w.connect(1).returns(1, &lost, Tier::Full);
    assert_eq!(w.foreign.len(), 1);
    assert_eq!(w.snapshot().channels.len(), 2);
    assert_eq!(w.storer(1).verified, None);
}

#[test]
fn only_the_first_9_of_a_connection_counts() {
    let mut w = wallet();
    w.connect(1);
    w.returns(1, &foreign((0, 1), &[(1, 0, 5, Ready)]), Tier::Full);
    w.returns(1, &foreign((0, 2), &[(1, 0, 6, Ready)]), Tier::Full);
    assert!(!w.exchange.holding());
}

#[test]
fn a_blob_that_does_not_open_is_reported_and_replaced() {
    let mut w = wallet();
    w.connect(1).pushed();
    w.returns_garbage(1, OpenError::Unreadable);
    assert!(w.has_event(|e| matches!(
        e,
        Event::Unreadable {
            newer_version: false,
            ..
        }
    )));
    assert_eq!(w.pushed().len(), 1);
}

#[test]
fn a_peer_that_returned_the_newest_and_then_something_else_counts_no_more() {
    type Return = fn(&mut Example);
    let other: [Return; 3] = [
        |w| {
            w.returns_garbage(1, OpenError::Unreadable);
        },
        |w| {
            w.returns_garbage(1, OpenError::NewerFormat);
        },
        |w| {
            w.returns_nothing(1);
        },
    ];
    for returns in other {
        let (mut w, _) = with_history();
        let newest = w.snapshot();
        let before = w.exchange.status();
        assert_eq!((before.verified_by, before.unprotected_channels), (1, 0));
        w.connect(1);
        returns(&mut w);
        w.pass(MINUTE).disconnect(1);
        let status = w.exchange.status();
        assert_eq!((status.verified_by, status.unprotected_channels), (0, 2));
        w.meet(1, Some((&newest, Tier::Full)));
        assert_eq!(w.exchange.status().verified_by, 1);
    }
}

#[test]
fn a_blob_of_a_newer_version_is_not_overwritten() {
    let mut w = wallet();
    w.connect(1).pushed();
    w.returns_garbage(1, OpenError::NewerFormat).pass(3600);
    assert!(w.has_event(|e| matches!(
        e,
        Event::Unreadable {
            newer_version: true,
            ..
        }
    )));
    assert_eq!(w.pushed(), []);
}

#[test]
fn channels_that_do_not_fit_are_named_once() {
    let many: Vec<LiveChannel> = (0..60).map(|c| (1 + c % 40, c, 0, Ready)).collect();
    let mut w = Example::wallet(&many);
    let omitted = |w: &Example| {
        let events = w.events.iter();
        let omitted = events.filter_map(|e| match e {
            Event::Omitted { channels, tier, .. } => Some((channels.len(), *tier)),
            _ => None,
        });
        omitted.collect::<Vec<_>>()
    };
    let told = omitted(&w);
    assert_eq!(told.len(), 1);
    assert!(told[0].0 > 20 && told[0].1 == Tier::Essential);
    w.exchange.app_data_changed(w.now, vec![1]);
    w.take();
    assert_eq!(omitted(&w).len(), 1);
}

/// A wallet with one ordinary channel, whose small backup names it by its place in the chain alone.
fn ordinary() -> (Example, WalletState) {
    let mut live = state(&[(1, 0, 5, Ready)]);
    let ids = &mut live.channels[0].ids;
    let funding = ids.funding_outpoint.unwrap();
    let outpoint = lightning::chain::transaction::OutPoint {
        txid: funding.txid,
        index: funding.vout as u16,
    };
    ids.channel_id = Some(ChannelId::v1_from_funding_outpoint(outpoint));
    let mut w = Example::wallet(&[]);
    w.exchange.wallet_changed(w.now, live.clone());
    w.take();
    (w, live)
}

/// LDK tells no short channel id of a channel that is closed.
fn closed(mut live: WalletState) -> WalletState {
    live.channels[0].phase = Closing;
    live.channels[0].ids.short_channel_id = None;
    live
}

#[test]
fn a_channel_that_closed_while_a_small_storer_was_away_raises_no_alarm() {
    let (mut w, live) = ordinary();
    w.meet(1, None);
    let kept = w.snapshot();
    w.exchange.wallet_changed(w.now, closed(live));
    w.take();
    w.meet(1, Some((&kept, Tier::Essential)));
    assert_eq!(stale(&w), None);
    assert_eq!(w.snapshot().channels.len(), 1);
}

#[test]
fn a_resolved_channel_stays_so_under_all_of_its_names_after_a_restart() {
    let (mut w, live) = ordinary();
    w.meet(1, None);
    let kept = w.snapshot();
    let closed = closed(live);
    let without_place = closed.channels[0].ids;
    w.exchange.wallet_changed(w.now, closed);
    w.exchange.channel_resolved(w.now, without_place);
    w.take();
    w.restart();
    w.exchange.wallet_changed(w.now, WalletState::default());
    w.take();
    w.meet(1, Some((&kept, Tier::Essential)));
    assert_eq!(stale(&w), None);
    assert!(w.snapshot().channels.is_empty());
}

#[test]
fn a_missing_channel_is_an_alarm_also_after_a_foreign_backup_has_raised_the_epoch() {
    let mut w = Example::wallet(&[(1, 0, 5, Ready)]);
    w.meet(1, Some((&foreign((7, 1), &[(1, 0, 5, Ready)]), Tier::Full)));
    assert_eq!(stale(&w), None);
    w.restart();
    w.live(&[(1, 0, 5, Ready)]);
    w.connect(2);
    w.returns(2, &foreign((2, 4), &[(2, 3, 1, Ready)]), Tier::Full);
    assert!(matches!(stale(&w), Some(Evidence::ChannelMissing { .. })));
}

#[test]
fn what_a_peer_has_contradicted_counts_no_more_also_after_a_restart() {
    type Says = fn(&mut Example);
    let says: [(&str, Says); 5] = [
        ("nothing", |w| {
            w.connect(1).returns_nothing(1);
        }),
        ("garbage", |w| {
            w.connect(1).returns_garbage(1, OpenError::Unreadable);
        }),
        // To this one nothing is pushed, which would be remembered as well.
        ("a later version's", |w| {
            w.connect(1).returns_garbage(1, OpenError::NewerFormat);
        }),
        ("another installation's", |w| {
            let other = foreign((0, 1), &[(1, 0, 5, Ready)]);
            w.connect(1).returns(1, &other, Tier::Full);
        }),
        ("other content", |w| {
            let mut other = w.snapshot();
            other.app_data = vec![1, 2, 3];
            w.connect(1).returns(1, &other, Tier::Full);
        }),
    ];
    for (what, says) in says {
        let mut w = wallet();
        w.meet(1, None);
        let newest = w.snapshot();
        w.meet(1, Some((&newest, Tier::Full)));
        assert_eq!(w.exchange.status().unprotected_channels, 0, "{what}");
        says(&mut w);
        assert_eq!(w.exchange.status().unprotected_channels, 1, "{what}");
        w.restart();
        w.live(&[(1, 0, 5, Ready)]);
        let status = w.exchange.status();
        assert_eq!(status.unprotected_channels, 1, "{what}");
        assert_eq!(status.verified_by, 0, "{what}");
        assert_ne!(w.health(1), Health::Verified, "{what}");
        let newest = w.snapshot();
        w.meet(1, None).meet(1, Some((&newest, Tier::Full)));
        assert_eq!(w.exchange.status().unprotected_channels, 0, "{what}");
    }
}

#[test]
fn of_strangers_that_return_garbage_nothing_is_remembered() {
    // Before a restore it is told of any peer, as long as it is connected.
    let unknown = (Example::unknown(), Health::Unreadable);
    for (mut w, shown) in [(wallet(), Health::NothingSent), unknown] {
        w.connect(7).returns_garbage(7, OpenError::Unreadable);
        assert_eq!(w.health(7), shown);
        w.disconnect(7);
        let peers = w.exchange.status().peers;
        assert!(peers.iter().all(|peer| peer.node_id != node_id(7)));
        assert!(!w.saved.storers.contains_key(&node_id(7)));
        w.connect(7);
        assert_eq!(w.health(7), Health::NothingSent);
    }
}
