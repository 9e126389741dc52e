//! The relay as Kotlin and Swift reach it: the hooks of `tests/support/hook.rs`, round a real
//! `ChannelManager`, with a [`MessageRelay`](ldk::MessageRelay) in hex and bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(missing_docs)] // `pub` only so that the hooks find it.

// The hooks name the core's relay; here it is the one of the bindings.
extern crate self as ldk_peer_storage;

mod adapter;
mod alarms;
#[path = "../../../../tests/support/hook.rs"]
#[allow(dead_code, unused_imports)]
mod hook;
mod recovery;
#[path = "../ffi/support.rs"]
#[allow(dead_code)]
mod support;
mod wallet;

/// What the hooks take from the core.
pub mod ldk {
    pub use crate::adapter::{MessageRelay, RawMessage, RelayError, RelayStep};
}

use std::time::{Duration, Instant};

use peer_storage_ffi::monitors::read_monitor;
use peer_storage_ffi::relay::RelayError;
use peer_storage_ffi::status::BackupHealth;
use support::{wait, wait_until, ENOUGH};
use testkit::{open_channel, pay, Chain, KeyDerivation, NodeConfig};
use wallet::Wallet;

#[test]
fn two_apps_keep_each_others_backup_while_their_channel_works() {
    let dir = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let start = |name: &str| {
        let node = NodeConfig::new(name, dir.path().join(name), chain.clone());
        Wallet::start(node, &dir.path().join(format!("{name}-storage")))
    };
    let (alice, bob) = (start("alice"), start("bob"));
    alice.connect_to(&bob);
    open_channel(&chain, &alice.node, &bob.node, 1_000_000);
    alice.report();
    bob.report();
    let verified = |wallet: &Wallet| {
        let status = wallet.storage.status().unwrap();
        let mut peers = status.peers.into_iter();
        (status.channels, status.unprotected_channels) == (1, 0)
            && peers.any(|peer| peer.health == BackupHealth::Verified)
    };
    // A 7 leaves now, or at the next connection, and comes back at the one after it. Each lasts until its
    // messages have had time to come.
    let mut connected_at = None;
    wait_until("each to have the other's backup", || {
        if connected_at.is_none_or(|at: Instant| at.elapsed() > Duration::from_secs(3)) {
            alice.reconnect(&bob);
            connected_at = Some(Instant::now());
        }
        verified(&alice) && verified(&bob)
    });
    pay(&alice.node, &bob.node, 20_000_000);
    pay(&bob.node, &alice.node, 1_000_000);
    for wallet in [&alice, &bob] {
        assert_eq!(wallet.node.panicked(), None);
        assert!(wallet.storage.alarms().unwrap().is_empty());
    }
    alice.stop();
    bob.stop();
}

#[test]
fn a_monitor_tells_what_the_lists_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let start = |name: &str, keys| {
        let node = NodeConfig::new(name, dir.path().join(name), chain.clone()).keys(keys);
        Wallet::start(node, &dir.path().join(format!("{name}-storage")))
    };
    // The one needs its channel's keys in the backup, the other does not.
    let (old, new) = (
        start("old", KeyDerivation::V1),
        start("new", KeyDerivation::V2),
    );
    old.connect_to(&new);
    let channel = open_channel(&chain, &old.node, &new.node, 1_000_000);
    for (wallet, peer, needs_keys) in [(&old, &new, true), (&new, &old, false)] {
        let (secret, monitor) = (wallet.secret.clone(), wallet.monitor(channel));
        let facts = wait(read_monitor(secret, monitor.clone())).unwrap();
        assert_eq!(facts.counterparty_node_id, peer.node.id().to_string());
        assert_eq!(facts.ids.channel_id, Some(channel.to_string()));
        assert_eq!(facts.state_stamp, wallet.stamp(channel));
        assert_eq!(facts.channel_keys_id.is_some(), needs_keys);
        assert!(facts.keys_are_known && facts.earliest_htlc_expiry.is_none());

        let refused = |bytes| wait(read_monitor(wallet.secret.clone(), bytes)).is_err();
        assert!(refused(monitor[..monitor.len() / 2].to_vec()) && refused(Vec::new()));
    }
    old.report_with_monitor(channel);
    wait_until("the channel to be in the backup", || {
        old.storage.status().unwrap().channels == 1
    });
    old.stop();
    new.stop();
}

#[test]
fn a_relay_says_when_its_opening_is_over_and_goes_on_to_forward() {
    let dir = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let node = NodeConfig::new("alice", dir.path().join("alice"), chain);
    let alice = Wallet::start(node, &dir.path().join("storage"));
    let relay = &alice.relay.0;
    assert!(relay.is_current().unwrap());
    wait(alice.storage.on_background(ENOUGH)).unwrap();
    assert!(!relay.is_current().unwrap());
    alice.storage.on_foreground();
    wait_until("it to be open", || !support::is_suspended(&alice.storage));
    assert!(!relay.is_current().unwrap());

    let peer = support::peer(9);
    let ping_like = peer_storage_ffi::relay::RawMessage {
        kind: 18,
        payload: vec![0; 4],
    };
    let not_connected = relay.message_received(peer.clone(), ping_like.clone());
    assert_eq!(not_connected, Err(RelayError::NotConnected));
    let features = relay.init_features(vec![0, 0]).unwrap();
    relay
        .peer_connected(peer.clone(), features, true, Vec::new())
        .unwrap();
    let passed_by = relay.message_received(peer.clone(), ping_like);
    assert_eq!(passed_by, Err(RelayError::NotForTheRelay { kind: 18 }));
    relay.peer_disconnected(peer.clone()).unwrap();

    let field = |error: RelayError| match error {
        RelayError::InvalidInput { field, .. } => field,
        other => panic!("{other}"),
    };
    let stranger = relay.peer_disconnected("me".to_owned()).unwrap_err();
    assert_eq!(field(stranger), "peer");
    assert_eq!(field(relay.init_features(vec![9]).unwrap_err()), "features");
    let published = relay.may_publish(vec![vec![1, 2]]).unwrap_err();
    assert_eq!(field(published), "transactions");
    alice.stop();
}
