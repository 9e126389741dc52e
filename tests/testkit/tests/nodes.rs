//! Two stock nodes: open, pay, restart, force close, sweep.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Instant;

use lightning::chain::BestBlock;
use testkit::{
    copy_dir, open_channel, pay, pay_hold, wait_until, Chain, ChannelType, KeyDerivation, Node,
    NodeConfig, DEADLINE,
};

const SAT: u64 = 1_000_000;

#[test]
fn static_remote_key_v1() {
    live(ChannelType::StaticRemoteKey, KeyDerivation::V1);
}

#[test]
fn static_remote_key_v2() {
    live(ChannelType::StaticRemoteKey, KeyDerivation::V2);
}

#[test]
fn anchors_v1() {
    live(ChannelType::Anchors, KeyDerivation::V1);
}

#[test]
fn anchors_v2() {
    live(ChannelType::Anchors, KeyDerivation::V2);
}

/// The whole life of a channel.
fn live(channel_type: ChannelType, keys: KeyDerivation) {
    let chain = Chain::new();
    let dirs = tempfile::tempdir().unwrap();
    let config = |name: &str| {
        let config = NodeConfig::new(name, dirs.path().join(name), chain.clone());
        config.channel_type(channel_type).keys(keys)
    };
    let alice = Node::start(config("alice"));
    let bob = Node::start(config("bob"));
    let channel = open_channel(&chain, &alice, &bob, SAT);
    let features = alice.channels()[0].channel_type.clone().unwrap();
    let anchors = channel_type == ChannelType::Anchors;
    assert_eq!(features.supports_anchors_zero_fee_htlc_tx(), anchors);

    let start = Instant::now();
    for _ in 0..20 {
        pay(&alice, &bob, 1_000_000);
        pay(&bob, &alice, 1_000_000);
    }
    println!("40 payments in {:?}", start.elapsed());

    let bob = bob.restart();
    bob.connect_to(&alice);
    pay(&alice, &bob, 2_000_000);
    let held = pay_hold(&bob, &alice, 3_000_000);
    held.claim_and_wait(&bob, &alice);
    let refused = pay_hold(&bob, &alice, 3_000_000);
    refused.fail_and_wait(&bob, &alice);

    let funding = alice.funding_outpoints()[0];
    alice.force_close(&channel);
    bob.wait_closed(&channel);
    wait_until("the commitment transaction", DEADLINE, || {
        chain.spender(funding).is_some()
    });
    assert!(chain
        .submitted_by("alice")
        .iter()
        .any(|tx| tx.input[0].previous_output == funding));
    chain.mine(6);
    wait_until("bob's output", DEADLINE, || {
        !bob.spendable_outputs().is_empty()
    });
    chain.mine(150);
    wait_until("alice's output", DEADLINE, || {
        !alice.spendable_outputs().is_empty()
    });
    for node in [&alice, &bob] {
        let sweep = node.sweep().unwrap();
        chain.mine(1);
        assert!(chain
            .transaction(sweep.compute_txid())
            .unwrap()
            .height
            .is_some());
        assert!(sweep.output[0].value.to_sat() > 490_000, "{sweep:?}");
        assert_eq!(node.panicked(), None);
    }
}

#[test]
fn htlcs_are_settled_on_chain() {
    for channel_type in [ChannelType::StaticRemoteKey, ChannelType::Anchors] {
        settle_on_chain(channel_type);
    }
}

/// Two payments are pending when alice closes: one that bob can claim, one that he lets time out.
fn settle_on_chain(channel_type: ChannelType) {
    let chain = Chain::new();
    let dirs = tempfile::tempdir().unwrap();
    let config = |name: &str| NodeConfig::new(name, dirs.path().join(name), chain.clone());
    let alice = Node::start(config("alice").channel_type(channel_type));
    let bob = Node::start(config("bob").channel_type(channel_type));
    let channel = open_channel(&chain, &alice, &bob, SAT);
    let claimed = pay_hold(&alice, &bob, 50_000_000);
    let _late = pay_hold(&alice, &bob, 60_000_000);
    alice.disconnect_from(&bob);
    alice.force_close(&channel);
    chain.mine(1);
    bob.sync();
    claimed.claim(&bob);
    for _ in 0..130 {
        // Claims come block by block, and some need the one before to be deep.
        chain.mine(2);
        alice.sync();
        bob.sync();
    }
    let swept = |node: &Node| {
        wait_until("outputs", DEADLINE, || !node.spendable_outputs().is_empty());
        assert_eq!(node.panicked(), None);
        node.sweep().unwrap().output[0].value.to_sat()
    };
    let (alice, bob) = (swept(&alice), swept(&bob));
    chain.mine(1);
    assert!((440_000..450_000).contains(&alice), "{alice}");
    assert!((540_000..550_000).contains(&bob), "{bob}");
}

#[test]
fn a_cooperative_close_pays_both() {
    let chain = Chain::new();
    let dirs = tempfile::tempdir().unwrap();
    let alice = Node::start(NodeConfig::new(
        "alice",
        dirs.path().join("a"),
        chain.clone(),
    ));
    let bob = Node::start(NodeConfig::new("bob", dirs.path().join("b"), chain.clone()));
    let channel = open_channel(&chain, &alice, &bob, SAT);
    alice.close_cooperatively(&channel);
    alice.wait_closed(&channel);
    bob.wait_closed(&channel);
    chain.mine(6);
    for node in [&alice, &bob] {
        wait_until("an output", DEADLINE, || {
            !node.spendable_outputs().is_empty()
        });
        node.sweep().unwrap();
    }
    chain.mine(1);
}

#[test]
fn a_stale_node_panics_and_the_test_sees_it() {
    let chain = Chain::new();
    let dirs = tempfile::tempdir().unwrap();
    let (live, old) = (dirs.path().join("live"), dirs.path().join("old"));
    let alice = Node::start(NodeConfig::new("alice", &live, chain.clone()));
    let bob = Node::start(NodeConfig::new("bob", dirs.path().join("b"), chain.clone()));
    open_channel(&chain, &alice, &bob, SAT);
    let config = alice.config().clone();
    alice.stop();
    copy_dir(&live, &old);
    let alice = Node::start(config.clone());
    alice.connect_to(&bob);
    for _ in 0..3 {
        pay(&alice, &bob, 1_000_000);
    }
    alice.stop();
    copy_dir(&old, &live);

    let alice = Node::start(config);
    alice.try_connect(&bob.id(), bob.addr());
    wait_until("the panic", DEADLINE, || alice.panicked().is_some());
    let said = alice.panicked().unwrap();
    assert!(said.contains("fallen behind"), "{said}");
    assert_eq!(bob.panicked(), None);
}

#[test]
fn a_killed_node_comes_back_with_what_was_on_disk() {
    let chain = Chain::new();
    let dirs = tempfile::tempdir().unwrap();
    let alice = Node::start(NodeConfig::new(
        "alice",
        dirs.path().join("a"),
        chain.clone(),
    ));
    let bob = Node::start(NodeConfig::new("bob", dirs.path().join("b"), chain.clone()));
    open_channel(&chain, &alice, &bob, SAT);
    let held = pay_hold(&alice, &bob, 5_000_000);
    let config = bob.config().clone();
    bob.kill();
    wait_until("alice to notice", DEADLINE, || {
        !alice.is_connected(&config_id(&alice))
    });
    chain.mine(3);
    let bob = Node::start(config);
    bob.connect_to(&alice);
    wait_until("the channel", DEADLINE, || bob.is_usable_with(&alice.id()));
    held.claim_and_wait(&alice, &bob);
    pay(&bob, &alice, 1_000_000);
}

/// The counterparty of the node's only channel.
fn config_id(node: &Node) -> bitcoin::secp256k1::PublicKey {
    node.channels()[0].counterparty.node_id
}

#[test]
fn nodes_follow_a_reorg() {
    let chain = Chain::new();
    let dirs = tempfile::tempdir().unwrap();
    let alice = Node::start(NodeConfig::new(
        "alice",
        dirs.path().join("a"),
        chain.clone(),
    ));
    let bob = Node::start(NodeConfig::new("bob", dirs.path().join("b"), chain.clone()));
    open_channel(&chain, &alice, &bob, SAT);
    chain.mine(3);
    alice.sync();
    let config = bob.config().clone();
    bob.stop();
    chain.reorg(2);
    chain.mine(4);
    alice.sync();
    let bob = Node::start(config);
    let best: BestBlock = bob.channel_manager().current_best_block();
    assert_eq!(best, chain.tip());
    bob.connect_to(&alice);
    pay(&alice, &bob, 1_000_000);
}
