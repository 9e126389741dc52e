//! How monitors get into backups, and come back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "simulation/example.rs"]
mod example;

use example::*;
use ldk_peer_storage::backup::ChannelPhase::{Closing, Opening, Ready};
use ldk_peer_storage::backup::{Part, Snapshot, Tier};
use ldk_peer_storage::exchange::{Capacity, Event, RestoredMonitor};

/// Anything but a monitor fits into 1024 bytes.
const LEN: usize = 2_000;

/// A new wallet whose backups carry monitors.
fn wallet(channels: &[LiveChannel]) -> Example {
    let mut w = Example::unknown();
    w.exchange.carry_monitors(true);
    w.live(channels);
    w.exchange.declare_new(w.now).unwrap();
    w.take();
    w
}

/// One with a connected peer that is known to keep large blobs, and that has the newest.
fn with_large_peer() -> Example {
    let mut w = wallet(&[(1, 0, 5, Ready)]);
    w.connect(1).returns_nothing(1).pass(3);
    w.monitors(&[(0, 5, LEN)]).pass(2 * MINUTE).disconnect(1);
    let newest = w.snapshot();
    w.pass(15 * MINUTE)
        .connect(1)
        .returns(1, &newest, Tier::Full)
        .pushed();
    assert_eq!(w.storer(1).capacity, Capacity::Large);
    assert_eq!((w.asked, w.pushed()), (1, vec![]));
    w.asked = 0;
    w
}

/// (channel, update id) of the monitors in a snapshot.
fn of(snapshot: &Snapshot) -> Vec<(usize, u64)> {
    let monitors = snapshot.monitors.iter();
    let mut of: Vec<_> = monitors
        .map(|m| (names::channel_of(&m.ids()), m.update_id))
        .collect();
    of.sort_unstable();
    of
}

#[test]
fn monitors_follow_a_new_channel_after_some_quiet_to_peers_that_may_keep_them() {
    let mut w = wallet(&[(1, 0, 5, Opening)]);
    w.connect(1).returns_nothing(1);
    assert_eq!(w.pushed().len(), 1, "the channel itself does not wait");
    w.pass(2);
    assert_eq!(w.asked, 0);
    assert_eq!(w.exchange.wake_at(w.now).unwrap().since(w.now).as_secs(), 1);
    w.pass(1);
    assert_eq!(w.asked, 1);
    assert_eq!(w.pushed(), [], "nothing before they are read");
    assert_eq!(w.exchange.wake_at(w.now), None);
    w.monitors(&[(0, 5, LEN)]);
    let tiers: Vec<_> = w.pushed().into_iter().map(|(_, tier, _)| tier).collect();
    assert_eq!(tiers, [Tier::Essential, Tier::Full]);
    assert_eq!(of(&w.snapshot()), [(0, 5)]);
    w.pass(10 * MINUTE);
    assert_eq!((w.asked, w.pushed()), (1, vec![]), "nothing has moved");
}

#[test]
fn state_changes_wait_for_quiet_and_go_out_once_a_minute() {
    let mut w = with_large_peer();
    w.live(&[(1, 0, 6, Ready)])
        .pass(2)
        .live(&[(1, 0, 7, Ready)])
        .pass(2);
    assert_eq!(w.asked, 0, "payments are under way");
    w.pass(1);
    assert_eq!(w.asked, 1);
    w.monitors(&[(0, 7, LEN)]);
    assert_eq!(w.pushed().len(), 1, "the large one alone");
    assert_eq!(of(&w.snapshot()), [(0, 7)]);

    w.live(&[(1, 0, 8, Ready)]).pass(59);
    assert_eq!(w.asked, 1);
    w.pass(1);
    assert_eq!(w.asked, 2);
    w.monitors(&[(0, 8, LEN)]);
    assert_eq!(w.pushed().len(), 1);
}

#[test]
fn states_need_no_small_blob_before_the_large_one_where_that_was_just_sent() {
    let mut w = with_large_peer();
    let old = w.snapshot();
    w.live(&[(1, 0, 5, Ready), (1, 1, 0, Opening)]).pushed();
    w.disconnect(1).connect(1).returns(1, &old, Tier::Full);
    let tiers = |w: &mut Example| -> Vec<_> {
        let pushed = w.pushed().into_iter();
        pushed.map(|(_, tier, _)| tier).collect()
    };
    assert_eq!(
        tiers(&mut w),
        [Tier::Essential, Tier::Full],
        "perhaps it keeps no more"
    );
    w.live(&[(1, 0, 6, Ready), (1, 1, 0, Opening)]).pass(3);
    w.monitors(&[(0, 6, LEN), (1, 0, LEN)]);
    assert_eq!(tiers(&mut w), [Tier::Full]);
    w.live(&[(1, 0, 6, Ready), (1, 1, 0, Ready)]);
    assert_eq!(tiers(&mut w), [Tier::Essential, Tier::Full]);
}

#[test]
fn a_channel_that_never_rests_is_backed_up_all_the_same() {
    let mut w = with_large_peer();
    for second in 0..60 {
        assert_eq!(w.asked, 0, "{second}");
        w.live(&[(1, 0, 6 + second, Ready)]).pass(1);
    }
    assert_eq!(w.asked, 1);
}

#[test]
fn reports_without_news_do_not_put_it_off() {
    let mut w = with_large_peer();
    for _ in 0..3 {
        w.live(&[(1, 0, 6, Ready)]).pass(1);
    }
    assert_eq!(w.asked, 1);
}

#[test]
fn the_background_waits_for_neither_quiet_nor_minute() {
    let mut w = with_large_peer();
    w.live(&[(1, 0, 6, Ready)]).pass(3).monitors(&[(0, 6, LEN)]);
    w.live(&[(1, 0, 7, Ready)]).pushed();
    w.exchange.background(w.now);
    w.take();
    assert_eq!((w.asked, w.pushed()), (2, vec![]));
    w.monitors(&[(0, 7, LEN)]);
    assert_eq!(w.pushed().len(), 1);
    assert_eq!(of(&w.snapshot()), [(0, 7)]);
    // Nothing is left to do, neither now nor later.
    w.exchange.background(w.now);
    w.pass(2 * MINUTE);
    assert_eq!((w.asked, w.pushed()), (2, vec![]));
}

#[test]
fn going_to_background_while_they_are_read_asks_once_and_hurries() {
    let mut w = with_large_peer();
    w.connect(2).live(&[(1, 0, 6, Ready), (2, 1, 0, Ready)]);
    w.returns_nothing(2)
        .warning(2, "Supports only data up to 1024 bytes")
        .pushed();
    w.live(&[(1, 0, 7, Ready), (2, 1, 0, Ready)]).pass(3);
    w.exchange.background(w.now);
    w.take();
    assert_eq!((w.asked, w.pushed()), (1, vec![]));
    w.monitors(&[(0, 7, LEN), (1, 0, LEN)]);
    let to: Vec<_> = w.pushed().into_iter().map(|(peer, ..)| peer).collect();
    assert_eq!(to, [1, 2], "also those that keep little");
}

#[test]
fn without_anyone_who_keeps_them_monitors_are_not_even_read() {
    let mut w = wallet(&[(1, 0, 5, Ready)]);
    w.pass(2 * MINUTE);
    w.exchange.background(w.now);
    w.pass(2 * MINUTE);
    assert_eq!(w.asked, 0);
    // Not before it has been read back, either (safety rule 1).
    w.connect(1).pass(2 * MINUTE);
    assert_eq!(w.asked, 0);
    w.returns_nothing(1).pass(0);
    assert_eq!(w.asked, 1);
}

/// A peer that has said that it keeps 1024 bytes, and one that keeps 65531.
fn with_both() -> Example {
    let mut w = with_large_peer();
    w.live(&[(1, 0, 5, Ready), (2, 1, 0, Ready)]);
    w.connect(2)
        .returns_nothing(2)
        .warning(2, "Supports only data up to 1024 bytes");
    w.pass(3).monitors(&[(0, 5, LEN), (1, 0, LEN)]);
    assert!(matches!(w.storer(2).capacity, Capacity::Small { .. }));
    w.pass(10 * MINUTE).pushed();
    w.asked = 0;
    w
}

#[test]
fn a_peer_with_little_room_is_not_sent_states_until_the_background() {
    let mut w = with_both();
    for stamp in 6..9 {
        w.live(&[(1, 0, stamp, Ready), (2, 1, stamp, Ready)])
            .pass(2 * MINUTE)
            .monitors(&[(0, stamp, LEN), (1, stamp, LEN)]);
        let to: Vec<_> = w.pushed().into_iter().map(|(peer, ..)| peer).collect();
        assert_eq!(to, [1]);
    }
    let status = w.exchange.status();
    assert_eq!(status.sent_to, 2, "the channels are at both");
    w.live(&[(1, 0, 9, Ready), (2, 1, 9, Ready)]);
    w.exchange.background(w.now);
    w.take().monitors(&[(0, 9, LEN), (1, 9, LEN)]);
    let mut pushed = w.pushed();
    pushed.sort_unstable();
    let generation = w.snapshot().revision.generation;
    assert_eq!(
        pushed,
        [
            (1, Tier::Full, generation),
            (2, Tier::Essential, generation)
        ]
    );
}

#[test]
fn a_peer_with_little_room_alone_is_sent_no_states_and_has_none_read() {
    let mut w = with_both();
    w.disconnect(1);
    for stamp in 6..9 {
        w.live(&[(1, 0, stamp, Ready), (2, 1, stamp, Ready)])
            .pass(2 * MINUTE);
    }
    assert_eq!((w.asked, w.pushed()), (0, vec![]));
    w.exchange.background(w.now);
    w.take();
    assert_eq!(w.asked, 0);
    assert_eq!(w.pushed().len(), 1, "its stamps change on background");
}

#[test]
fn structure_does_not_wait_and_takes_the_monitors_known_before() {
    let mut w = with_large_peer();
    w.live(&[(1, 0, 6, Ready), (1, 1, 0, Opening)]);
    let tiers: Vec<_> = w.pushed().into_iter().map(|(_, tier, _)| tier).collect();
    assert_eq!(tiers, [Tier::Full]);
    assert_eq!(w.asked, 0);
    assert_eq!(of(&w.snapshot()), [(0, 5)], "older than its stamp");
    w.pass(3).monitors(&[(0, 6, LEN), (1, 0, LEN)]);
    assert_eq!(of(&w.snapshot()), [(0, 6), (1, 0)]);
    assert_eq!(w.pushed().len(), 1);
}

#[test]
fn a_monitor_ahead_of_its_stamp_waits_until_that_is_durable() {
    let mut w = with_large_peer();
    w.live(&[(1, 0, 6, Ready)]).pass(3);
    w.monitors(&[(0, 7, LEN)]);
    assert_eq!(of(&w.snapshot()), [(0, 5)], "the one before");
    assert_eq!(w.snapshot().channels[0].update_id, 6);
    w.live(&[(1, 0, 7, Ready)])
        .pass(60)
        .monitors(&[(0, 7, LEN)]);
    assert_eq!(of(&w.snapshot()), [(0, 7)]);
}

#[test]
fn one_that_moves_on_while_it_is_read_is_read_again() {
    let mut w = with_large_peer();
    w.live(&[(1, 0, 6, Ready)]).pass(3);
    w.live(&[(1, 0, 7, Ready)]).monitors(&[(0, 6, LEN)]);
    assert_eq!(of(&w.snapshot()), [(0, 6)]);
    w.pass(59);
    assert_eq!(w.asked, 1);
    w.pass(1);
    assert_eq!(w.asked, 2);
    w.monitors(&[(0, 7, LEN)]);
    assert_eq!(of(&w.snapshot()), [(0, 7)]);
}

#[test]
fn a_monitor_older_than_what_is_known_changes_nothing() {
    let mut w = with_large_peer();
    w.live(&[(1, 0, 6, Ready)]).pass(3).monitors(&[(0, 4, LEN)]);
    assert_eq!(of(&w.snapshot()), [(0, 5)]);
    // Of the same state, the one that was read last has seen more of the chain.
    w.pass(60).monitors(&[(0, 5, LEN + 1)]).large();
    assert_eq!(w.snapshot().monitors[0].bytes.len(), LEN + 1);
}

#[test]
fn a_host_that_has_none_to_give_is_asked_once_for_a_state() {
    let mut w = with_large_peer();
    w.live(&[(1, 0, 6, Ready)]).pass(3).monitors(&[]);
    assert_eq!(
        w.snapshot().channels[0].update_id,
        6,
        "stamps go out anyway"
    );
    assert_eq!(of(&w.snapshot()), [(0, 5)]);
    w.pass(10 * MINUTE);
    assert_eq!(w.asked, 1);
    w.live(&[(1, 0, 7, Ready)]).pass(3);
    assert_eq!(w.asked, 2);
}

#[test]
fn where_the_app_wants_none_nothing_is_asked_for_and_old_ones_leave() {
    let mut w = with_large_peer();
    assert_eq!(of(&w.snapshot()), [(0, 5)]);
    w.restart();
    w.live(&[(1, 0, 6, Ready)]);
    let newest = w.snapshot();
    w.connect(1)
        .returns(1, &newest, Tier::Full)
        .pass(10 * MINUTE);
    assert_eq!(w.asked, 0);
    assert_eq!(w.snapshot().channels[0].update_id, 6);
    assert_eq!(of(&w.snapshot()), []);
}

#[test]
fn after_a_restart_nothing_is_read_before_something_moves() {
    let mut w = with_large_peer();
    w.restart();
    w.exchange.carry_monitors(true);
    w.live(&[(1, 0, 5, Ready)]);
    let newest = w.snapshot();
    w.connect(1)
        .returns(1, &newest, Tier::Full)
        .pass(10 * MINUTE);
    assert_eq!((w.asked, w.pushed()), (0, vec![]));
    // What was switched on only now is read at once.
    let mut w = Example::wallet(&[(1, 0, 5, Ready)]);
    w.restart();
    w.exchange.carry_monitors(true);
    w.live(&[(1, 0, 5, Ready)])
        .connect(1)
        .returns_nothing(1)
        .pass(3);
    assert_eq!(w.asked, 1);
}

#[test]
fn under_an_alarm_monitors_are_left_alone() {
    let mut w = with_large_peer();
    w.live(&[(1, 0, 6, Ready)]).pass(3);
    w.connect(2)
        .returns(2, &foreign((1, 90), &[(1, 0, 9, Ready)]), Tier::Full);
    assert!(w.exchange.holding());
    w.monitors(&[(0, 6, LEN)]).pass(10 * MINUTE);
    assert_eq!((w.asked, w.pushed()), (1, vec![]));
    assert_eq!(of(&w.snapshot()), [(0, 5)]);
}

#[test]
fn monitors_that_do_not_fit_are_named_once() {
    let mut w = with_large_peer();
    let channels = |stamp| [(1, 0, stamp, Ready), (1, 1, stamp, Ready)];
    w.live(&channels(6)).pass(3);
    let too_much = |stamp| [(0, stamp, 40_000), (1, stamp, 40_000)];
    w.monitors(&too_much(6));
    let named = |w: &Example| -> Vec<Vec<Part>> {
        let parts = w.events.iter().filter_map(|event| match event {
            Event::PartsOmitted { parts, .. } => Some(parts.clone()),
            _ => None,
        });
        parts.collect()
    };
    assert_eq!(named(&w), [vec![Part::Monitor(channel_id(1))]]);
    assert_eq!(w.exchange.status().channels_without_monitor, 1);
    for stamp in 7..10 {
        w.live(&channels(stamp))
            .pass(2 * MINUTE)
            .monitors(&too_much(stamp));
    }
    assert_eq!(named(&w).len(), 1);
    // Another one, or a part of another kind, is news.
    w.exchange.app_data_changed(w.now, vec![0; 70_000]);
    w.take();
    let parts = vec![Part::AppData, Part::Monitor(channel_id(1))];
    assert_eq!(named(&w)[1..], [parts]);
    w.live(&[(1, 0, 10, Closing), (1, 1, 10, Ready)]).pass(60);
    w.monitors(&[(0, 10, 66_000), (1, 10, 66_000)]);
    assert_eq!(named(&w).len(), 3);
    assert_eq!(w.exchange.status().channels_without_monitor, 2);
    w.restart();
    w.exchange.carry_monitors(true);
    w.live(&[(1, 0, 11, Closing), (1, 1, 11, Ready)]).large();
    assert_eq!(named(&w).len(), 3, "known before the restart");
}

// ---- the way back ---------------------------------------------------------------------------

fn backup(revision: (u32, u64), channels: &[LiveChannel], monitors: &[LiveMonitor]) -> Snapshot {
    Snapshot {
        monitors: monitors.iter().map(|m| monitor(*m)).collect(),
        ..foreign(revision, channels)
    }
}

/// (channel, update id, highest known update id)
fn states(monitors: &[RestoredMonitor]) -> Vec<(usize, u64, u64)> {
    let mut states: Vec<_> = monitors
        .iter()
        .inspect(|m| assert!(m.bytes.iter().all(|byte| u64::from(*byte) == m.update_id)))
        .map(|m| {
            let channel = names::channel_of(&m.channel);
            (channel, m.update_id, m.newest_known_update_id)
        })
        .collect();
    states.sort_unstable();
    states
}

/// Peers 1, 2 and 3 have answered.
fn restoring() -> Example {
    let mut w = Example::unknown();
    w.exchange.carry_monitors(true);
    w.connect(1).connect(2).connect(3);
    // The newest by far, but small.
    let channels = [(1, 0, 9, Ready), (2, 1, 3, Ready), (3, 2, 4, Closing)];
    w.returns(1, &backup((2, 8), &channels, &[]), Tier::Essential);
    let older = backup(
        (2, 6),
        &[(1, 0, 7, Ready), (2, 1, 3, Ready), (3, 2, 2, Ready)],
        &[(0, 6, LEN), (1, 3, LEN)],
    );
    w.returns(2, &older, Tier::Full);
    let oldest = backup(
        (2, 4),
        &[(1, 0, 5, Ready), (2, 1, 2, Ready)],
        &[(0, 5, LEN), (1, 2, LEN)],
    );
    w.returns(3, &oldest, Tier::Full);
    w
}

#[test]
fn a_restore_takes_the_newest_monitors_apart_from_the_newest_essentials() {
    let mut w = restoring();
    let report = w.exchange.restore_report();
    assert_eq!(report.newest.unwrap().generation, 8);
    assert_eq!(states(&report.monitors), [(0, 6, 9), (1, 3, 3)]);
    let outdated: Vec<_> = report.monitors.iter().map(|m| m.is_outdated()).collect();
    assert_eq!(outdated.iter().filter(|outdated| **outdated).count(), 1);
    let finished = w.exchange.finish_restore(w.now).unwrap();
    assert_eq!(finished.monitors, report.monitors);
    let printed = format!("{finished:?} {:?}", w.take().snapshot());
    assert!(!printed.contains("6, 6, 6") && printed.len() < 3_000);
}

#[test]
fn what_only_peers_knew_of_monitors_survives_and_is_backed_up_until_it_is_resolved() {
    let mut w = restoring();
    w.exchange.finish_restore(w.now).unwrap();
    w.take();
    assert_eq!(of(&w.snapshot()), [(0, 6), (1, 3)]);
    // Whatever the app thinks of monitors, these are not its own.
    for carry in [true, false] {
        w.restart();
        w.exchange.carry_monitors(carry);
        assert_eq!(
            states(&w.exchange.restored_monitors()),
            [(0, 6, 9), (1, 3, 3)]
        );
        // Life goes on, with a channel of another peer.
        w.live(&[(4, 7, 1 + u64::from(!carry), Ready)]).large();
        assert_eq!(of(&w.snapshot()), [(0, 6), (1, 3)]);
        assert_eq!(w.exchange.restored_monitors().len(), 2);
    }
    w.exchange.channel_resolved(w.now, channel_ids(0, true));
    w.take();
    assert_eq!(of(&w.snapshot()), [(1, 3)]);
    assert_eq!(states(&w.exchange.restored_monitors()), [(1, 3, 3)]);
    w.restart();
    assert_eq!(states(&w.exchange.restored_monitors()), [(1, 3, 3)]);
    // The old backup does not bring it back.
    let old = backup((2, 6), &[(1, 0, 7, Ready)], &[(0, 6, LEN)]);
    w.connect(2).returns(2, &old, Tier::Full);
    assert_eq!(states(&w.exchange.restored_monitors()), [(1, 3, 3)]);
}

#[test]
fn a_monitor_that_comes_to_light_later_is_stored_and_pushed() {
    let mut w = restoring();
    w.exchange.finish_restore(w.now).unwrap();
    w.live(&[]).pass(MINUTE).pushed();
    w.connect(4);
    let late = backup((2, 7), &[(1, 0, 8, Ready)], &[(0, 8, LEN)]);
    w.returns(4, &late, Tier::Full);
    assert_eq!(w.foreign.len(), 4);
    assert_eq!(of(&w.snapshot()), [(0, 8), (1, 3)]);
    assert!(w.pushed().len() >= 3, "at once, to all");
    let again = w.snapshot().revision;
    w.disconnect(4).connect(4).returns(4, &late, Tier::Full);
    assert_eq!(w.snapshot().revision, again, "no news");
}

#[test]
fn a_restore_goes_on_with_the_monitors_that_were_read_before_a_restart() {
    let mut w = Example::unknown();
    let backup = backup((1, 4), &[(1, 0, 5, Ready)], &[(0, 4, LEN)]);
    w.connect(1).returns(1, &backup, Tier::Full);
    w.restart();
    let (_, contents) = sealed(&backup, Tier::Full);
    w.exchange.returned_before(node_id(1), contents);
    let report = w.exchange.finish_restore(w.now).unwrap();
    assert_eq!(states(&report.monitors), [(0, 4, 5)]);
    assert_eq!(of(&w.take().snapshot()), [(0, 4)]);
}

#[test]
fn a_stale_wallet_has_the_newer_monitors_of_its_backups_at_hand() {
    let mut w = with_large_peer();
    w.live(&[(1, 0, 6, Ready)]).pass(3).monitors(&[(0, 6, LEN)]);
    assert_eq!(w.exchange.restored_monitors(), []);
    // Its database is put back.
    w.restart();
    w.exchange.carry_monitors(true);
    w.live(&[(1, 0, 2, Ready)]);
    assert!(w.exchange.holding());
    assert_eq!(states(&w.exchange.restored_monitors()), [(0, 6, 6)]);
    // A peer has an even newer one.
    let newer = backup((1, 99), &[(1, 0, 9, Ready)], &[(0, 9, LEN)]);
    w.connect(2).returns(2, &newer, Tier::Full);
    assert_eq!(states(&w.exchange.restored_monitors()), [(0, 9, 9)]);
    // And so has one whose wallet is gone altogether.
    w.restart();
    w.live(&[]);
    assert!(w.exchange.holding());
    assert_eq!(states(&w.exchange.restored_monitors()), [(0, 6, 6)]);
}

#[test]
fn what_another_installation_knew_of_a_live_channel_is_not_taken() {
    let mut w = with_large_peer();
    let other = backup((1, 99), &[(1, 0, 4, Ready)], &[(0, 4, 9 * LEN)]);
    w.connect(2).returns(2, &other, Tier::Full);
    assert!(!w.exchange.holding());
    assert_eq!(of(&w.snapshot()), [(0, 5)]);
    assert_eq!(w.exchange.restored_monitors(), []);
    // Nor where its own was not read yet.
    let mut w = wallet(&[(1, 0, 5, Ready)]);
    w.connect(2).returns(2, &other, Tier::Full);
    w.large();
    assert_eq!(of(&w.snapshot()), []);
}
