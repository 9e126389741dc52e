//! The peer has forgotten the backup: the numbers in its 136 are all there is.

use std::time::Duration;

use ldk_peer_storage::exchange::{AlarmKind, Event, Evidence, Resolution, ResolveError};
use lightning::ln::channel_state::ChannelDetails;
use testkit::ChannelType::{Anchors, StaticRemoteKey};
use testkit::{
    open_channel, pay, wait_until, wipe, ChannelType, Direction, Node, Outgoing, RawPeer,
    RawPeerConfig, DEADLINE,
};

use super::stage::{holding_alarms, reestablish, Directory, Peer, PeerKind, Stage, Stale};
use crate::support::{take_events, Begin, ManualClock, Wallet};

#[test]
fn a_stock_peer_that_lost_the_backup_in_a_crash_still_tells_by_its_numbers() {
    noticed_by_numbers(Anchors, PeerKind::Stock, Directory::Lost);
}

#[test]
fn a_peer_whose_own_directory_was_lost_still_tells_by_its_numbers() {
    noticed_by_numbers(StaticRemoteKey, PeerKind::Decorated, Directory::PutBack);
}

fn noticed_by_numbers(channel_type: ChannelType, kind: PeerKind, directory: Directory) {
    let stale = forgetful(Stale::new(channel_type, kind, directory));
    let alice = stale.start_alice();
    // An error must wait for a 136, and here none comes.
    stale.hear_errors_before_any_reestablish(&alice);
    assert!(!alice.storage.is_holding());
    stale.assert_harmless(&alice);

    let heard = stale.bob.node().wire().mark();
    stale.meet_impatiently(&alice);
    let alarm = &holding_alarms(&alice)[0];
    let AlarmKind::StaleState { peer, evidence } = &alarm.kind else {
        panic!("{alarm:?}");
    };
    assert_eq!(*peer, Some(stale.bob.node().id()));
    let Evidence::Numbers { channel_id, proved } = evidence else {
        panic!("{evidence:?}");
    };
    assert_eq!(*channel_id, stale.channel);
    assert!(proved.is_some());
    assert_eq!(alarm.earliest_htlc_expiry, Some(stale.expiry));
    stale.hear_errors(&alice);
    stale.assert_harmless(&alice);
    stale.assert_open_at_bob();

    let heard = stale
        .bob
        .node()
        .wire()
        .received_since(heard, &alice.node.id());
    assert!(!heard.contains(&"ChannelReestablish".to_owned()));

    // The person insists, in vain: bob has the secret of a state that alice does not know.
    let refused = || {
        let current = Resolution::ThisDeviceIsCurrent;
        let decided = alice.storage.resolve_alarm(alarm.id, current);
        assert_eq!(decided, Err(ResolveError::ProvedStale));
    };
    refused();
    stale.let_time_pass(&alice);
    stale.hear_errors(&alice);
    stale.meet(&alice);
    refused();
    assert!(alice.storage.is_holding());
    assert_eq!(alice.node.channels().len(), 1);
    stale
        .stage
        .mine_beyond_all_htlcs(&[&alice.node, stale.bob.node()]);
    wait_until("LDK to want to go on chain", DEADLINE, || {
        alice.dropped_transactions() > 0
    });
    stale.assert_harmless(&alice);
    stale.assert_open_at_bob();

    stale.bob_closes(&alice);
    stale.assert_harmless(&alice);
}

/// Somebody with bob's keys and without his database: he knows the numbers, and not the secrets.
#[test]
fn a_peer_that_lies_about_the_numbers_stops_its_own_channel_alone() {
    let stage = Stage::new(Anchors);
    let clock = ManualClock::new();
    let bob = Node::start(stage.node("bob"));
    let carol = Node::start(stage.node("carol"));
    let alice = Wallet::start(stage.wallet("alice").clock(clock.clone()));
    for peer in [&bob, &carol] {
        alice.connect_to(peer);
        open_channel(&stage.chain, &alice.node, peer, 1_000_000);
        pay(&alice.node, peer, 1_000_000);
    }
    let with_bob = |c: &ChannelDetails| c.counterparty.node_id == bob.id();
    let channels = alice.node.channels();
    let channel = channels.into_iter().find(with_bob).unwrap();
    alice.node.disconnect_from(&bob);
    take_events(&alice.storage);

    let mut config = RawPeerConfig::new("a lying bob");
    config.seed = bob.config().seed;
    let liar = RawPeer::start(config);
    let lie = reestablish(channel.channel_id, 1_000);
    liar.on_connect(move |alice, _| vec![Outgoing::reestablish(alice, lie.clone())]);
    let mark = alice.node.wire().mark();
    alice.node.connect(&bob.id(), liar.addr());
    let received = Direction::Received;
    let wire = alice.node.wire();
    wire.wait_for(mark, &bob.id(), received, "ChannelReestablish", DEADLINE);
    let told = Event::FalseNumbers {
        peer: bob.id(),
        channel_id: channel.channel_id,
    };
    wait_until("the event", DEADLINE, || {
        take_events(&alice.storage).contains(&told)
    });
    assert!(!alice.storage.is_holding());
    assert!(alice.storage.alarms().is_empty());
    pay(&alice.node, &carol, 1_000_000);

    // Nor does the liar hear from alice how far she is.
    clock.advance(Duration::from_secs(60));
    alice.clock_moved();
    alice.node.peer_manager().process_events();
    pay(&carol, &alice.node, 100_000);
    let heard = liar.received();
    assert!(heard.iter().all(|m| m.name != "ChannelReestablish"));
    let funding = channel.funding_txo.unwrap().into_bitcoin_outpoint();
    assert_eq!(stage.chain.spender(funding), None);
    assert_eq!(alice.node.panicked(), None);

    // With the true bob the channel goes on.
    alice.node.disconnect_from(&bob);
    drop(liar);
    alice.reconnect(&bob);
    pay(&alice.node, &bob, 1_000_000);
}

/// Bob loses what he kept for alice, and nothing else.
fn forgetful(mut stale: Stale) -> Stale {
    stale.bob = match stale.bob {
        Peer::Stock(bob) => {
            // LDK keeps blobs in memory until it happens to write for another reason, so a crash
            // loses them. When that is, is a matter of luck; an empty blob has the same effect.
            let mut config = RawPeerConfig::new("a clumsy alice");
            config.seed = stale.alice.node.seed;
            let clumsy = RawPeer::start(config);
            let mark = bob.wire().mark();
            clumsy.connect(&bob.id(), bob.addr());
            clumsy.push_storage(&bob.id(), &[]);
            let received = Direction::Received;
            bob.wire()
                .wait_for(mark, &clumsy.id(), received, "PeerStorage", DEADLINE);
            clumsy.disconnect(&bob.id());
            wait_until("bob to notice", DEADLINE, || {
                !bob.is_connected(&clumsy.id())
            });
            Peer::Stock(bob)
        }
        Peer::Decorated(bob) => {
            let config = bob.stop();
            wipe(&config.storage_dir);
            Peer::Decorated(Wallet::start(config.begin(Begin::Adopt)))
        }
    };
    stale
}
