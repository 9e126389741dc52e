//! LDK may want to go on chain while it loads, before it can tell which channels there are.

use testkit::ChannelType::StaticRemoteKey;
use testkit::{open_channel, pay_hold, wait_until, DEADLINE};

use super::stage::{Directory, PeerKind, Stage, Stale};
use crate::support::{Begin, Wallet};

#[test]
fn nothing_is_published_before_the_state_is_compared_with_our_records() {
    let stale = Stale::new(StaticRemoteKey, PeerKind::Stock, Directory::Current);
    stale.stage.mine_beyond_all_htlcs(&[stale.bob.node()]);
    let alice = stale.start_alice();
    assert!(alice.storage.is_holding());
    alice.node.sync();
    alice.node.tick();
    wait_until("LDK to want to go on chain", DEADLINE, || {
        alice.dropped_transactions() > 0
    });
    stale.assert_harmless(&alice);
    stale.assert_open_at_bob();
}

#[test]
fn an_alarm_guards_also_channels_that_no_record_names() {
    let mut stale = Stale::new(StaticRemoteKey, PeerKind::Stock, Directory::Lost);
    stale.alice.begin = Begin::AsIs;
    let alice = stale.start_alice();
    stale.meet(&alice);
    assert!(alice.storage.is_holding());
    assert!(alice.storage.flush(DEADLINE));
    drop(alice.kill());
    stale.stage.mine_beyond_all_htlcs(&[stale.bob.node()]);
    let alice = stale.start_alice();
    alice.node.sync();
    alice.node.tick();
    wait_until("LDK to want to go on chain", DEADLINE, || {
        alice.dropped_transactions() > 0
    });
    stale.assert_harmless(&alice);
    stale.assert_open_at_bob();
}

#[test]
fn a_current_wallet_goes_on_chain_when_a_payment_expired_while_it_was_off() {
    let stage = Stage::new(StaticRemoteKey);
    let bob = Wallet::start(stage.wallet("bob"));
    let alice = Wallet::start(stage.wallet("alice"));
    alice.connect_to(&bob.node);
    open_channel(&stage.chain, &alice.node, &bob.node, 1_000_000);
    alice.reconnect(&bob.node);
    pay_hold(&alice.node, &bob.node, 5_000_000);
    let funding = alice.node.funding_outpoints()[0];
    let alice = alice.stop();
    stage.mine_beyond_all_htlcs(&[&bob.node]);

    let alice = Wallet::start(alice);
    alice.node.sync();
    alice.node.tick();
    wait_until("the channel to close on chain", DEADLINE, || {
        stage.chain.spender(funding).is_some()
    });
    assert!(alice.storage.alarms().is_empty());
}
