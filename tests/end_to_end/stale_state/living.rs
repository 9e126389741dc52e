//! Two devices, and lost directories: who is held, and who is not.

use ldk_peer_storage::exchange::{Event, Health};
use testkit::ChannelType::{Anchors, StaticRemoteKey};
use testkit::{copy_dir, open_channel, pay, wait_until, wipe, DEADLINE};

use super::stage::{holding_alarms, pay_often, push, Stage};
use crate::support::{take_events, Begin, Wallet};

#[test]
fn a_living_wallet_that_lost_its_directory_goes_on_and_takes_over_its_backup() {
    let stage = Stage::new(Anchors);
    let bob = Wallet::start(stage.wallet("bob"));
    let alice = Wallet::start(stage.wallet("alice"));
    alice.connect_to(&bob.node);
    open_channel(&stage.chain, &alice.node, &bob.node, 1_000_000);
    alice.reconnect(&bob.node);
    pay(&alice.node, &bob.node, 1_000_000);
    push(&alice, &bob.node);
    let before = alice.storage.status().backup.newest.unwrap();
    let alice = alice.stop();
    wipe(&alice.storage_dir);

    let alice = Wallet::start(alice.begin(Begin::Adopt));
    alice.reconnect(&bob.node);
    let other = |event: &Event| {
        let peer = bob.node.id();
        matches!(event, Event::OtherInstallation { peer: p, .. } if *p == peer)
    };
    assert!(alice.storage.flush(DEADLINE));
    assert!(take_events(&alice.storage).iter().any(other));
    assert!(alice.storage.alarms().is_empty());
    pay(&alice.node, &bob.node, 1_000_000);
    pay(&bob.node, &alice.node, 1_000_000);
    push(&alice, &bob.node);
    let after = alice.storage.status().backup.newest.unwrap();
    assert!(after.epoch > before.epoch, "{after:?} after {before:?}");

    alice.reconnect(&bob.node);
    wait_until("the new backup to be verified", DEADLINE, || {
        let peers = alice.storage.status().backup.peers;
        peers.iter().all(|peer| {
            peer.health == Health::Verified && peer.verified.is_some_and(|v| v.revision >= after)
        })
    });
    assert!(alice.storage.alarms().is_empty());
    assert!(bob.storage.alarms().is_empty());
}

#[test]
fn an_old_phone_switched_on_again_is_held_and_the_new_one_goes_on() {
    let stage = Stage::new(StaticRemoteKey);
    let bob = Wallet::start(stage.wallet("bob"));
    let old = Wallet::start(stage.wallet("alice"));
    old.connect_to(&bob.node);
    open_channel(&stage.chain, &old.node, &bob.node, 1_000_000);
    let funding = old.node.funding_outpoints()[0];
    old.reconnect(&bob.node);
    push(&old, &bob.node);
    let old = old.stop();

    // The wallet moves to a new phone, which does not get the directory of peer storage.
    let mut new = stage.wallet("the new phone");
    new.node.seed = old.node.seed;
    copy_dir(&old.node.dir, &new.node.dir);
    let new = Wallet::start(new.begin(Begin::Adopt));
    new.reconnect(&bob.node);
    pay_often(3, &new.node, &bob.node, 0);
    push(&new, &bob.node);
    let new = new.stop();

    let old = Wallet::start(old);
    let heard = bob.node.wire().mark();
    old.connect_to(&bob.node);
    wait_until("the old phone to be held", DEADLINE, || {
        old.storage.is_holding()
    });
    assert_eq!(holding_alarms(&old).len(), 1);
    let received = testkit::Direction::Received;
    old.node
        .wire()
        .wait_for(0, &bob.node.id(), received, "ChannelReestablish", DEADLINE);
    old.storage.push_now();
    assert!(old.storage.on_background(DEADLINE).complete);
    let heard = bob.node.wire().received_since(heard, &old.node.id());
    let forbidden = ["ChannelReestablish", "PeerStorage", "Error"];
    assert!(
        heard.iter().all(|name| !forbidden.contains(&name.as_str())),
        "{heard:?}"
    );
    assert_eq!(old.node.panicked(), None);
    stage.assert_published_nothing("alice", funding);
    old.stop();

    let new = Wallet::start(new);
    new.reconnect(&bob.node);
    pay(&new.node, &bob.node, 1_000_000);
    pay(&bob.node, &new.node, 1_000_000);
    assert!(new.storage.alarms().is_empty());
    assert!(bob.storage.alarms().is_empty());
    assert_eq!(stage.chain.spender(funding), None);
}
