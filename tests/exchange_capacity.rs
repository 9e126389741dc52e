//! How the exchange learns how large a blob each kind of storer keeps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "simulation/example.rs"]
mod example;

use example::*;
use ldk_peer_storage::backup::{ChannelPhase::Ready, Tier};
use ldk_peer_storage::exchange::{Capacity, Event};

const LDK: &str = "Supports only data up to 1024 bytes in peer storage.";

fn wallet() -> Example {
    let mut wallet = Example::wallet(&[(1, 0, 5, Ready)]);
    wallet.large();
    wallet
}

#[test]
fn an_unknown_peer_is_sent_a_small_blob_and_then_a_large_one() {
    let mut w = wallet();
    w.connect(1).returns_nothing(1);
    let tiers: Vec<_> = w.pushed().into_iter().map(|(_, tier, _)| tier).collect();
    assert_eq!(tiers, [Tier::Essential, Tier::Full]);
}

#[test]
fn a_large_return_is_proof_enough() {
    let mut w = wallet();
    w.meet(1, None);
    let newest = w.snapshot();
    w.meet(1, Some((&newest, Tier::Full)));
    assert_eq!(w.storer(1).capacity, Capacity::Large);
    assert!(w.has_event(|e| matches!(e, Event::CapacityLearned { bytes: 65531, .. })));
}

#[test]
fn ldk_says_that_it_keeps_1024_bytes() {
    let mut w = wallet();
    w.connect(1).returns_nothing(1).warning(1, LDK);
    assert!(matches!(w.storer(1).capacity, Capacity::Small { .. }));
    w.pushed();
    w.disconnect(1).pass(60).connect(1).returns_nothing(1);
    let tiers: Vec<_> = w.pushed().into_iter().map(|(_, tier, _)| tier).collect();
    assert_eq!(tiers, [Tier::Essential]);
}

#[test]
fn the_warning_of_a_peer_that_got_no_large_blob_means_nothing() {
    let mut w = Example::wallet(&[(1, 0, 5, Ready)]);
    w.connect(1).returns_nothing(1).warning(1, LDK);
    assert_eq!(w.storer(1).capacity, Capacity::Unknown);
}

#[test]
fn two_small_returns_long_after_the_large_blob_are_proof() {
    let mut w = wallet();
    w.meet(1, None);
    let newest = w.snapshot();
    w.meet(1, Some((&newest, Tier::Essential)));
    assert!(matches!(
        w.storer(1).capacity,
        Capacity::Probing {
            small_returns: 1,
            ..
        }
    ));
    w.meet(1, Some((&newest, Tier::Essential)));
    assert!(matches!(w.storer(1).capacity, Capacity::Small { .. }));
}

#[test]
fn small_returns_soon_after_the_large_blob_prove_nothing() {
    let mut w = wallet();
    w.connect(1).returns_nothing(1);
    let newest = w.snapshot();
    for _ in 0..4 {
        w.pass(100).disconnect(1).connect(1);
        w.returns(1, &newest, Tier::Essential);
    }
    assert!(matches!(
        w.storer(1).capacity,
        Capacity::Probing {
            small_returns: 0,
            ..
        }
    ));
}

#[test]
fn a_peer_whose_connection_broke_after_the_large_blob_is_not_mistaken() {
    let mut w = wallet();
    w.connect(1).returns_nothing(1);
    let newest = w.snapshot();
    for _ in 0..4 {
        w.pass(5).disconnect(1).pass(3600).connect(1);
        w.returns(1, &newest, Tier::Essential);
    }
    assert!(matches!(
        w.storer(1).capacity,
        Capacity::Probing {
            small_returns: 0,
            ..
        }
    ));
}

#[test]
fn a_small_capacity_is_tried_again_after_a_week_and_when_features_change() {
    let mut w = wallet();
    w.connect(1).returns_nothing(1).warning(1, LDK);
    let tiers = |w: &mut Example| {
        w.pushed();
        w.disconnect(1).connect(1).returns_nothing(1);
        w.pushed().len()
    };
    w.pass(6 * DAY);
    assert_eq!(tiers(&mut w), 1);
    w.pass(DAY);
    assert_eq!(tiers(&mut w), 2);
    w.warning(1, LDK);
    assert_eq!(tiers(&mut w), 1);
    w.features = 2;
    assert_eq!(tiers(&mut w), 2);
}

#[test]
fn a_peer_that_no_longer_keeps_large_blobs_gets_the_essentials_again() {
    let mut w = wallet();
    w.meet(1, None);
    let old = w.snapshot();
    w.meet(1, Some((&old, Tier::Full)));
    w.live(&[(1, 0, 5, Ready), (1, 1, 0, Ready)]);
    w.connect(1).returns(1, &old, Tier::Full).pass(120);
    w.pushed();
    // It keeps returning the old one: the large one never gets there.
    w.disconnect(1)
        .pass(3600)
        .connect(1)
        .returns(1, &old, Tier::Full);
    let tiers: Vec<_> = w.pushed().into_iter().map(|(_, tier, _)| tier).collect();
    assert_eq!(tiers, [Tier::Essential, Tier::Full]);
}
