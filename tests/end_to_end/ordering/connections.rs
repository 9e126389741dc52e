//! What a connection carries besides, between real nodes.

use std::time::Duration;

use ldk_peer_storage::exchange::Guests;
use ldk_peer_storage::exchange::StoragePolicy;
use testkit::{open_channel, wait_until, Chain, Direction, Node, NodeConfig, Outgoing, RawPeer};
use testkit::{WireMessage, DEADLINE};

use super::{fault, names};
use crate::support::{Begin, Wallet, WalletConfig};

#[test]
fn two_nodes_without_any_blob_reestablish_within_three_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let start = |name: &str| {
        let node = NodeConfig::new(name, dir.path().join(name), chain.clone());
        // Neither knows its past, so neither pushes.
        Wallet::start(WalletConfig::new(node).begin(Begin::AsIs))
    };
    let (alice, bob) = (start("alice"), start("bob"));
    alice.connect_to(&bob.node);
    open_channel(&chain, &alice.node, &bob.node, 1_000_000);
    let mark = alice.node.wire().mark();
    alice.reconnect(&bob.node);
    let seen = alice.node.wire().since(mark);
    let at = |direction: Direction, name: &str| {
        let message = |m: &&WireMessage| m.direction == direction && m.name == name;
        seen.iter().find(message).expect(name).at
    };
    let connected = at(Direction::Received, "Init");
    for direction in [Direction::Sent, Direction::Received] {
        let took = at(direction, "ChannelReestablish") - connected;
        assert!(
            took < Duration::from_secs(3),
            "{direction:?} after {took:?}"
        );
    }
    for direction in [Direction::Sent, Direction::Received] {
        let names = names(&seen, direction);
        assert!(!names.contains(&"PeerStorage") && !names.contains(&"PeerStorageRetrieval"));
    }
}

#[test]
fn a_node_returns_what_it_had_when_the_peer_connected() {
    const ROUNDS: u8 = 60;
    let dir = tempfile::tempdir().unwrap();
    let node = NodeConfig::new("alice", dir.path().join("alice"), Chain::new()).drain_threads(4);
    let alice = Wallet::start(WalletConfig::new(node));
    alice.storage.set_storage_policy(StoragePolicy {
        guests: Guests::Anyone,
        ..StoragePolicy::default()
    });
    let (id, bob) = (alice.node.id(), RawPeer::new("bob"));
    for round in 1..=ROUNDS {
        // The new blob comes at once.
        let push = vec![round; 60_000];
        bob.on_connect(move |peer, _| vec![Outgoing::storage(peer, push.clone())]);
        bob.connect(&id, alice.node.addr());
        wait_until("the new blob to be taken", DEADLINE, || {
            let received = alice.node.wire().received_from(&bob.id());
            let taken = received.iter().filter(|name| *name == "PeerStorage");
            taken.count() == usize::from(round)
        });
        let before = usize::from(round) - 1;
        wait_until("the blob before", DEADLINE, || {
            bob.returned_by(&id).len() >= before
        });
        bob.disconnect(&id);
        wait_until("both to disconnect", DEADLINE, || {
            !bob.is_connected(&id) && !alice.node.is_connected(&bob.id())
        });
    }
    let returned = bob.returned_by(&id);
    assert_eq!(
        returned.len(),
        usize::from(ROUNDS) - 1,
        "one 9 a connection"
    );
    for (round, blob) in (1..).zip(returned) {
        assert_eq!(blob, vec![round; 60_000]);
    }
}

#[test]
fn nothing_is_pushed_on_a_connection_before_it_was_read_back() {
    const ROUNDS: usize = 60;
    let world = AliceAndRawBob::new();
    let (alice, bob) = (world.alice, world.bob);
    let id = alice.node.id();
    // Bob says nothing of his own accord, but answers at once when he is asked to.
    for round in 0..ROUNDS {
        let mark = bob.received().len();
        bob.connect(&id, alice.node.addr());
        // What was pushed on the connection before was cut short.
        alice.storage.set_app_data(vec![round as u8; 10_000]);
        alice.storage.push_now();
        assert!(alice.storage.flush(DEADLINE));
        let early = bob.received().split_off(mark);
        assert!(early.iter().all(|m| m.type_id != 7), "round {round}");
        bob.send_retrieval(&id, &[1; 100]);
        bob.wait_received("a push", mark, |m| m.type_id == 7);
        alice.storage.set_app_data(vec![!round as u8; 10_000]);
        bob.disconnect(&id);
        wait_until("both to disconnect", DEADLINE, || {
            !bob.is_connected(&id) && !alice.node.is_connected(&bob.id())
        });
    }
}

#[test]
fn what_ldk_itself_had_kept_is_superseded() {
    let dir = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let config = |name: &str| NodeConfig::new(name, dir.path().join(name), chain.clone());
    let (alice, bob) = (Node::start(config("alice")), Node::start(config("bob")));
    open_channel(&chain, &alice, &bob, 1_000_000);
    let (alice_id, channel) = (alice.id(), bob.channels()[0].channel_id);
    // Alice is played by a raw peer. Bob is a stock node still.
    alice.stop();
    let alice = RawPeer::new("alice");
    assert_eq!(alice.id(), alice_id);
    alice.connect(&bob.id(), bob.addr());
    alice.push_storage(&bob.id(), &[1; 1024]);
    bob.wire().wait_received(&alice_id, "PeerStorage", DEADLINE);
    let bob_id = bob.id();
    bob.stop();
    wait_until("the end", DEADLINE, || !alice.is_connected(&bob_id));

    let bob = Wallet::start(WalletConfig::new(config("bob")).begin(Begin::Adopt));
    let reestablish = super::first_reestablish(channel);
    alice.on_connect(move |peer, _| vec![Outgoing::reestablish(peer, reestablish.clone())]);
    let mut expected = vec![(1, 1024)];
    for round in 2..6 {
        let (mark, heard) = (bob.node.wire().mark(), alice.received().len());
        alice.connect(&bob_id, bob.node.addr());
        let wire = bob.node.wire();
        alice.wait_received("the channel", heard, |m| m.type_id == 136);
        alice.push_storage(&bob_id, &[round; 65_531]);
        wire.wait_for(
            mark,
            &alice_id,
            Direction::Received,
            "PeerStorage",
            DEADLINE,
        );
        alice.disconnect(&bob_id);
        wait_until("both to disconnect", DEADLINE, || {
            !bob.node.is_connected(&alice_id) && !alice.is_connected(&bob_id)
        });
        let seen = wire.since(mark);
        let sent = names(&seen, Direction::Sent);
        assert_eq!(fault(&sent), None);
        let usual = [
            "Init",
            "PeerStorageRetrieval",
            "PeerStorage",
            "ChannelReestablish",
            "ChannelReady",
            "ChannelUpdate",
            "AnnouncementSignatures",
            "Ping",
            "Pong",
        ];
        assert!(sent.iter().all(|name| usual.contains(name)), "{sent:?}");
        let returned = alice.returned_by(&bob_id);
        let brief: Vec<_> = returned.iter().map(|blob| (blob[0], blob.len())).collect();
        assert_eq!(brief, expected, "each blob once");
        expected.push((round, 65_531));
    }
    assert_eq!(alice.panicked().or(bob.node.panicked()), None);
}

/// Alice with peer storage; Bob, with whom she has a channel, is played by a raw peer.
struct AliceAndRawBob {
    alice: Wallet,
    bob: RawPeer,
    _dir: tempfile::TempDir,
}

impl AliceAndRawBob {
    fn new() -> AliceAndRawBob {
        let dir = tempfile::tempdir().unwrap();
        let chain = Chain::new();
        let config = |name: &str| NodeConfig::new(name, dir.path().join(name), chain.clone());
        let alice = Wallet::start(WalletConfig::new(config("alice")));
        let bob = Node::start(config("bob"));
        alice.connect_to(&bob);
        open_channel(&chain, &alice.node, &bob, 1_000_000);
        let id = bob.id();
        bob.stop();
        wait_until("alice to notice", DEADLINE, || {
            !alice.node.is_connected(&id)
        });
        let bob = RawPeer::new("bob");
        assert_eq!(bob.id(), id);
        AliceAndRawBob {
            alice,
            bob,
            _dir: dir,
        }
    }
}
