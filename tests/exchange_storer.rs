//! What is kept for peers: admission, the token bucket, quotas, retention.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "simulation/example.rs"]
mod example;

use example::*;
use ldk_peer_storage::backup::ChannelPhase::{Closing, Ready};
use ldk_peer_storage::exchange::{Event, Guests, StoragePolicy, RETENTION_BLOCKS};

fn funded() -> Example {
    Example::wallet(&[(1, 0, 5, Ready)])
}

fn bytes(w: &mut Example) -> Vec<u8> {
    let written = std::mem::take(&mut w.written);
    written.into_iter().map(|(_, blob)| blob[0]).collect()
}

#[test]
fn six_at_once_then_one_a_minute_and_the_last_is_not_lost() {
    let mut w = funded();
    w.connect(1);
    for n in 1..=10 {
        w.store(1, n, 100);
    }
    assert_eq!(bytes(&mut w), [1, 2, 3, 4, 5, 6]);
    assert_eq!(w.exchange.pending_slot(&node_id(1)).unwrap()[0], 10);
    w.pass(59);
    assert!(bytes(&mut w).is_empty());
    w.pass(1);
    assert_eq!(bytes(&mut w), [10]);
    w.store(1, 11, 100);
    assert!(bytes(&mut w).is_empty());
    assert!(w.exchange.wake_at(w.now).is_some());
}

#[test]
fn what_waits_is_written_when_the_peer_or_the_app_goes() {
    let mut w = funded();
    w.connect(1);
    for n in 1..=8 {
        w.store(1, n, 100);
    }
    bytes(&mut w);
    w.disconnect(1);
    assert_eq!(bytes(&mut w), [8]);
    w.connect(1).store(1, 9, 100);
    w.exchange.background(w.now);
    w.take();
    assert_eq!(bytes(&mut w), [9]);
}

#[test]
fn going_and_coming_causes_no_more_than_one_write_a_minute_beyond_the_tokens() {
    let mut w = funded();
    for n in 1..=6 {
        w.connect(1).store(1, n, 100).disconnect(1);
    }
    assert_eq!(bytes(&mut w), [1, 2, 3, 4, 5, 6]);
    for n in 7..=50 {
        w.connect(1).store(1, n, 100).disconnect(1);
    }
    assert_eq!(bytes(&mut w), [7]);
    assert_eq!(w.exchange.pending_slot(&node_id(1)).unwrap()[0], 50);
    w.pass(60);
    assert_eq!(bytes(&mut w), [50]);
    for n in 51..=60 {
        w.connect(1).store(1, n, 100).disconnect(1);
    }
    assert_eq!(bytes(&mut w), [51]);
    w.exchange.background(w.now);
    w.take();
    assert_eq!(bytes(&mut w), [60]);
}

#[test]
fn a_clock_that_was_set_back_does_not_stop_the_tokens() {
    let mut w = funded();
    w.connect(1);
    for n in 1..=7 {
        w.store(1, n, 100);
    }
    w.now.0 -= 365 * DAY * 1000;
    w.pass(1).pass(61);
    assert_eq!(bytes(&mut w).last(), Some(&7));
}

#[test]
fn pending_bytes_are_bounded_by_writing_early() {
    let mut w = Example::with_policy(StoragePolicy {
        pending_bytes: 1000,
        ..StoragePolicy::default()
    });
    w.live(&[(1, 0, 5, Ready)]);
    for n in 1..=7 {
        w.store(1, n, 2000);
    }
    assert_eq!(bytes(&mut w).len(), 7);
}

#[test]
fn a_stranger_is_refused_with_one_warning_a_minute() {
    let mut w = funded();
    for _ in 0..5 {
        w.store(2, 1, 100).pass(10);
    }
    assert_eq!(w.warnings.len(), 1);
    assert!(w.warnings[0].1.contains("peer_storage"));
    w.pass(10).store(2, 1, 100);
    assert_eq!(w.warnings.len(), 2);
    assert!(w.written.is_empty());
}

#[test]
fn a_peer_with_a_channel_is_never_refused() {
    let mut w = funded();
    for n in 0..50 {
        w.store(1, n, 65531);
    }
    assert!(w.warnings.is_empty());
}

#[test]
fn guests_have_quotas() {
    let mut w = Example::with_policy(StoragePolicy {
        guests: Guests::Anyone,
        guest_blob_bytes: 500,
        guest_count: 2,
        guest_total_bytes: 800,
        ..StoragePolicy::default()
    });
    w.live(&[(1, 0, 5, Ready)]);
    let stored = |w: &mut Example, peer, len| {
        w.written.clear();
        w.store(peer, 1, len);
        w.written.len() == 1
    };
    assert!(!stored(&mut w, 2, 501), "too large");
    assert!(stored(&mut w, 2, 500));
    assert!(!stored(&mut w, 3, 400), "too much together");
    assert!(stored(&mut w, 3, 300));
    assert!(stored(&mut w, 3, 200), "its own does not count twice");
    assert!(!stored(&mut w, 4, 10), "too many");
    assert!(stored(&mut w, 1, 65531), "the quotas are for guests alone");
}

#[test]
fn listed_guests_alone_are_served() {
    let mut w = Example::with_policy(StoragePolicy {
        guests: Guests::Listed([node_id(2)].into()),
        ..StoragePolicy::default()
    });
    w.live(&[]);
    w.store(2, 1, 100).store(3, 1, 100);
    assert_eq!(w.written.len(), 1);
}

#[test]
fn a_slot_expires_2016_blocks_after_the_last_channel_closed() {
    let mut w = funded();
    w.store(1, 1, 100);
    w.exchange.height_changed(1000);
    w.live(&[(1, 0, 5, Closing)]);
    w.exchange.height_changed(1000 + RETENTION_BLOCKS);
    // A reorg, and a restart, do not start it anew.
    w.exchange.height_changed(990 + RETENTION_BLOCKS);
    w.restart();
    w.live(&[(1, 0, 5, Closing)]);
    w.exchange.height_changed(1000 + RETENTION_BLOCKS);
    assert_eq!(w.take().exchange.slots().len(), 1);
    w.exchange.height_changed(1001 + RETENTION_BLOCKS);
    assert_eq!(w.take().exchange.slots().len(), 0);
    assert!(w.has_event(|e| matches!(e, Event::SlotExpired { .. })));
}

#[test]
fn a_new_channel_stops_the_count() {
    let mut w = funded();
    w.store(1, 1, 100);
    w.exchange.height_changed(1000);
    w.live(&[(1, 0, 5, Closing)]);
    w.exchange.height_changed(3000);
    w.live(&[(1, 0, 5, Closing), (1, 1, 0, Ready)]);
    w.exchange.height_changed(9000);
    assert_eq!(w.exchange.slots().len(), 1);
}

#[test]
fn nothing_expires_while_the_height_or_the_channels_are_not_known() {
    let mut w = funded();
    w.store(1, 1, 100).live(&[]);
    assert_eq!(w.exchange.slots().len(), 1);
    w.restart();
    w.exchange.height_changed(1_000_000);
    assert_eq!(w.exchange.slots().len(), 1);
    // Whoever has a slot is served until the wallet says who has a channel.
    w.store(1, 2, 100);
    assert!(w.warnings.is_empty());
}

#[test]
fn an_empty_blob_empties_the_slot_and_what_ldk_had_kept_does_not_come_back() {
    let mut w = funded();
    w.store(1, 1, 100).store(1, 0, 0);
    assert_eq!(w.exchange.slots()[&node_id(1)].len, 0);
    w.take();
    w.exchange.take_over_slot(node_id(1), vec![4; 10].into());
    assert!(w.exchange.take_actions().is_empty());
    assert_eq!(w.exchange.slots()[&node_id(1)].len, 0);
}

#[test]
fn an_empty_slot_of_a_peer_without_a_channel_is_not_remembered() {
    let mut w = funded();
    w.store(1, 1, 100).live(&[(1, 0, 5, Closing)]);
    w.exchange.storage_policy_changed(StoragePolicy {
        guests: Guests::Anyone,
        ..StoragePolicy::default()
    });
    w.store(1, 0, 0);
    assert!(w.exchange.slots().is_empty());
}

#[test]
fn to_empty_a_slot_that_is_not_there_costs_neither_a_write_nor_a_token() {
    let mut w = funded();
    w.exchange.storage_policy_changed(StoragePolicy {
        guests: Guests::Anyone,
        ..StoragePolicy::default()
    });
    w.take();
    for _ in 0..10 {
        let empty = Vec::new().into();
        w.exchange.storage_received(w.now, node_id(2), empty);
    }
    assert!(w.exchange.take_actions().is_empty());
    for n in 1..=6 {
        w.store(2, n, 100);
    }
    assert_eq!(bytes(&mut w), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_blob_that_ldk_kept_is_taken_over_once() {
    let mut w = funded();
    w.exchange.take_over_slot(node_id(1), vec![3; 10].into());
    w.exchange.take_over_slot(node_id(1), vec![4; 10].into());
    w.take();
    assert_eq!(bytes(&mut w), [3]);
}

#[test]
fn a_wallet_that_was_put_back_ends_no_retention() {
    let mut w = funded();
    w.store(1, 1, 100);
    w.exchange.height_changed(1000);
    w.restart();
    w.live(&[]);
    assert!(w.exchange.holding());
    w.exchange.height_changed(1000);
    w.exchange.height_changed(9000);
    assert_eq!(w.take().exchange.slots().len(), 1);
    w.store(1, 2, 100);
    assert!(w.warnings.is_empty());
}
