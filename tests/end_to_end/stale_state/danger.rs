//! What LDK does with old state when nobody holds it back: without this the other tests prove nothing.

use bitcoin::OutPoint;
use lightning::ln::types::ChannelId;
use testkit::ChannelType::{Anchors, StaticRemoteKey};
use testkit::{
    copy_dir, open_channel, pay_hold, wait_until, ChannelType, Node, Outgoing, RawPeer,
    RawPeerConfig, DEADLINE,
};

use super::stage::{pay_often, Stage};

#[test]
fn stock_ldk_panics_at_the_peers_reestablish() {
    let stale = stock_node_put_back(Anchors);
    let (alice, bob) = (&stale.alice, &stale.bob);
    alice.try_connect(&bob.id(), bob.addr());
    wait_until("the panic", DEADLINE, || alice.panicked().is_some());
    let said = alice.panicked().unwrap();
    assert!(said.contains("fallen behind"), "{said}");
}

#[test]
fn stock_ldk_publishes_a_revoked_commitment_at_an_error() {
    let stale = stock_node_put_back(StaticRemoteKey);
    let mut config = RawPeerConfig::new("an angry bob");
    config.seed = stale.bob.config().seed;
    let angry = RawPeer::start(config);
    let channel = stale.channel;
    angry.on_connect(move |alice, _| vec![Outgoing::error(alice, channel, "no such channel")]);
    stale.alice.connect(&angry.id(), angry.addr());
    assert_punished(&stale);
}

#[test]
fn stock_ldk_publishes_a_revoked_commitment_when_a_payment_expires() {
    let stale = stock_node_put_back(StaticRemoteKey);
    stale
        .stage
        .mine_beyond_all_htlcs(&[&stale.alice, &stale.bob]);
    assert_punished(&stale);
}

struct StockStale {
    stage: Stage,
    alice: Node,
    bob: Node,
    channel: ChannelId,
    funding: OutPoint,
}

/// The story of the other tests, without peer storage in it.
fn stock_node_put_back(channel_type: ChannelType) -> StockStale {
    let stage = Stage::new(channel_type);
    let alice = Node::start(stage.node("alice"));
    let bob = Node::start(stage.node("bob"));
    let channel = open_channel(&stage.chain, &alice, &bob, 1_000_000);
    let funding = alice.funding_outpoints()[0];
    pay_hold(&alice, &bob, 5_000_000);
    let config = alice.config().clone();
    alice.stop();
    let old = tempfile::tempdir().unwrap();
    copy_dir(&config.dir, old.path());
    let alice = Node::start(config.clone());
    alice.connect_to(&bob);
    pay_often(3, &alice, &bob, 1);
    alice.stop();
    copy_dir(old.path(), &config.dir);
    StockStale {
        alice: Node::start(config),
        stage,
        bob,
        channel,
        funding,
    }
}

/// Alice's own transaction spends the channel, and bob takes all of it.
fn assert_punished(stale: &StockStale) {
    let chain = &stale.stage.chain;
    let by_alice = || {
        let theft = chain.spender(stale.funding).map(|spend| spend.tx);
        theft.filter(|tx| chain.submitted_by("alice").contains(tx))
    };
    wait_until("alice's old commitment transaction", DEADLINE, || {
        assert_eq!((stale.alice.panicked(), stale.bob.panicked()), (None, None));
        by_alice().is_some()
    });
    let revoked = by_alice().unwrap();
    chain.mine(1);
    stale.bob.sync();
    let to_local = |tx: &bitcoin::Transaction| {
        let mut inputs = tx.input.iter();
        inputs.any(|input| input.previous_output.txid == revoked.compute_txid())
    };
    wait_until("bob to punish", DEADLINE, || {
        chain.submitted_by("bob").iter().any(to_local)
    });
}
