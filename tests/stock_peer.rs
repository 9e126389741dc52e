//! A node with peer storage and a stock LDK node.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use ldk_peer_storage::exchange::Health;
use support::{ManualClock, Wallet, WalletConfig};
use testkit::{
    open_channel, pay, pay_hold, wait_until, Chain, ChannelType, Direction, KeyDerivation, Node,
    NodeConfig, WireMessage, DEADLINE,
};

const SAT: u64 = 1_000_000;
/// So long a peer without a channel has time to return a backup.
const GRACE: Duration = Duration::from_secs(31);

#[test]
fn anchors_v2() {
    backs_up_with_a_stock_peer(ChannelType::Anchors, KeyDerivation::V2);
}

#[test]
fn static_remote_key_v1() {
    backs_up_with_a_stock_peer(ChannelType::StaticRemoteKey, KeyDerivation::V1);
}

fn backs_up_with_a_stock_peer(channel_type: ChannelType, keys: KeyDerivation) {
    let chain = Chain::new();
    let dirs = tempfile::tempdir().unwrap();
    let config = |name: &str| {
        let config = NodeConfig::new(name, dirs.path().join(name), chain.clone());
        config.channel_type(channel_type).keys(keys)
    };
    let bob = Node::start(config("bob"));
    let clock = ManualClock::new();
    let alice = Wallet::start(WalletConfig::new(config("alice")).clock(clock.clone()));
    alice.connect_to(&bob);
    open_channel(&chain, &alice.node, &bob, SAT);
    pay(&alice.node, &bob, 1_000_000);
    pay(&bob, &alice.node, 2_000_000);
    clock.advance(GRACE);
    alice.clock_moved();
    bob.wire()
        .wait_received(&alice.node.id(), "PeerStorage", DEADLINE);

    alice.node.disconnect_from(&bob);
    let mark = (alice.node.wire().mark(), bob.wire().mark());
    alice.connect_to(&bob);
    wait_until("the channel to be usable", DEADLINE, || {
        alice.node.is_usable_with(&bob.id()) && bob.is_usable_with(&alice.node.id())
    });
    let received = alice.node.wire().received_since(mark.0, &bob.id());
    assert_order(&received, "PeerStorageRetrieval", "ChannelReestablish");
    assert_verified(&alice, &bob.id());
    pay(&alice.node, &bob, 1_000_000);
    pay_hold(&bob, &alice.node, 1_000_000).claim_and_wait(&bob, &alice.node);

    let alice = alice.restart();
    alice.connect_to(&bob);
    wait_until("the channel to be usable", DEADLINE, || {
        alice.node.is_usable_with(&bob.id()) && bob.is_usable_with(&alice.node.id())
    });
    pay(&bob, &alice.node, 1_000_000);
    pay(&alice.node, &bob, 1_000_000);
    assert!(alice.storage.alarms().is_empty());
    assert_eq!(alice.node.closed_channels(), vec![]);
    assert_eq!(bob.wire().warnings_from(&alice.node.id()), [""; 0]);
    alice.stop();
}

/// Both have peer storage, so both hold their 136 back; and each stores for the other.
#[test]
fn two_wallets_store_for_each_other() {
    let chain = Chain::new();
    let dirs = tempfile::tempdir().unwrap();
    let clock = ManualClock::new();
    let start = |name: &str| {
        let mut config = NodeConfig::new(name, dirs.path().join(name), chain.clone());
        config.drain_threads = 2;
        Wallet::start(WalletConfig::new(config).clock(clock.clone()))
    };
    let (alice, bob) = (start("alice"), start("bob"));
    alice.connect_to(&bob.node);
    bob.learn_address(&alice.node);
    open_channel(&chain, &alice.node, &bob.node, SAT);
    pay(&alice.node, &bob.node, 1_000_000);
    clock.advance(GRACE);
    for (a, b) in [(&alice, &bob), (&bob, &alice)] {
        a.clock_moved();
        let at_storer = b.node.wire();
        at_storer.wait_received(&a.node.id(), "PeerStorage", DEADLINE);
    }
    for _ in 0..3 {
        alice.node.disconnect_from(&bob.node);
        let marks = [alice.node.wire().mark(), bob.node.wire().mark()];
        alice.connect_to(&bob.node);
        wait_until("the channel to be usable", DEADLINE, || {
            alice.node.is_usable_with(&bob.node.id()) && bob.node.is_usable_with(&alice.node.id())
        });
        for (mark, a, b) in [(marks[0], &alice, &bob), (marks[1], &bob, &alice)] {
            let received = a.node.wire().received_since(mark, &b.node.id());
            assert_order(&received, "PeerStorageRetrieval", "ChannelReestablish");
            assert_verified(a, &b.node.id());
        }
        pay(&alice.node, &bob.node, 1_000_000);
        pay(&bob.node, &alice.node, 1_000_000);
    }
    for wallet in [alice, bob] {
        let peer = wallet.node.channels()[0].counterparty.node_id;
        assert_eq!(wallet.node.wire().warnings_from(&peer), [""; 0]);
        assert!(wallet.storage.alarms().is_empty());
        wallet.stop();
    }
}

/// A node that gets peer storage later hands back what LDK had kept by itself.
#[test]
fn what_ldk_had_kept_is_taken_over() {
    let chain = Chain::new();
    let dirs = tempfile::tempdir().unwrap();
    let config = |name: &str| NodeConfig::new(name, dirs.path().join(name), chain.clone());
    let bob = Node::start(config("bob"));
    let clock = ManualClock::new();
    let alice = Wallet::start(WalletConfig::new(config("alice")).clock(clock.clone()));
    alice.connect_to(&bob);
    open_channel(&chain, &alice.node, &bob, SAT);
    clock.advance(GRACE);
    alice.clock_moved();
    bob.wire()
        .wait_received(&alice.node.id(), "PeerStorage", DEADLINE);
    // LDK does not write its ChannelManager for the sake of a blob.
    alice.node.disconnect_from(&bob);
    bob.persist();
    bob.stop();

    for _ in 0..2 {
        let bob = Wallet::start(WalletConfig::new(config("bob")).begin(support::Begin::Adopt));
        let mark = alice.node.wire().mark();
        alice.connect_to(&bob.node);
        wait_until("the channel to be usable", DEADLINE, || {
            alice.node.is_usable_with(&bob.node.id())
        });
        let received = alice.node.wire().received_since(mark, &bob.node.id());
        assert_order(&received, "PeerStorageRetrieval", "ChannelReestablish");
        let returned = received.iter().filter(|n| *n == "PeerStorageRetrieval");
        assert_eq!(returned.count(), 1);
        assert_verified(&alice, &bob.node.id());
        alice.node.disconnect_from(&bob.node);
        bob.stop();
    }
}

/// No message of the channels may precede the peer's 136, but our own 136.
#[test]
fn held_until_the_peer_has_spoken() {
    let chain = Chain::new();
    let dirs = tempfile::tempdir().unwrap();
    let config = |name: &str| NodeConfig::new(name, dirs.path().join(name), chain.clone());
    let bob = Node::start(config("bob"));
    let alice = Wallet::start(WalletConfig::new(config("alice")));
    alice.connect_to(&bob);
    open_channel(&chain, &alice.node, &bob, SAT);
    for _ in 0..20 {
        alice.node.disconnect_from(&bob);
        let mark = alice.node.wire().mark();
        alice.connect_to(&bob);
        wait_until("the channel to be usable", Duration::from_secs(30), || {
            alice.node.is_usable_with(&bob.id()) && bob.is_usable_with(&alice.node.id())
        });
        let seen: Vec<_> = alice.node.wire().with(&bob.id());
        let since = alice.node.wire().all().len() - mark;
        let seen = &seen[seen.len() - since..];
        let at = |direction| position(seen, direction, "ChannelReestablish");
        assert!(at(Direction::Received) < at(Direction::Sent), "{seen:?}");
    }
    alice.stop();
}

fn position(seen: &[WireMessage], direction: Direction, name: &str) -> usize {
    let wanted = |m: &WireMessage| m.direction == direction && m.name == name;
    seen.iter().position(wanted).expect(name)
}

#[track_caller]
fn assert_order(names: &[String], first: &str, second: &str) {
    let at = |name| names.iter().position(|n| n == name);
    assert!(
        at(first).is_some() && at(first) < at(second),
        "{first} before {second}: {names:?}"
    );
}

#[track_caller]
fn assert_verified(wallet: &Wallet, peer: &PublicKey) {
    wallet.storage.flush(DEADLINE);
    let status = wallet.storage.status().backup;
    let at_peer = status.peers.iter().find(|p| p.node_id == *peer);
    let at_peer = at_peer.expect("the peer holds a backup");
    assert!(at_peer.verified.is_some(), "{at_peer:?}");
    assert!(
        matches!(
            at_peer.health,
            Health::Verified | Health::Lagging | Health::Sent
        ),
        "{at_peer:?}"
    );
    assert_eq!((status.channels, status.restored_channels), (1, 0));
}
