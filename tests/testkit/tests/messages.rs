//! Seeing messages, and sending whatever one likes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Arc, Mutex};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::types::ChannelId;
use testkit::{
    open_channel, pay, wait_until, Chain, ChainServer, Direction, Extension, Node, NodeConfig,
    NodeParts, Outgoing, RawPeer, RawPeerConfig, Received, RemoteChain, TestPeerManager, DEADLINE,
};

/// Alice, whose only channel is with a raw peer: it bears the identity of a node that had opened
/// the channel.
fn alice_and_raw_bob(chain: &Arc<Chain>, dirs: &tempfile::TempDir) -> (Node, RawPeer) {
    let alice = Node::start(NodeConfig::new(
        "alice",
        dirs.path().join("a"),
        chain.clone(),
    ));
    let bob = Node::start(NodeConfig::new("bob", dirs.path().join("b"), chain.clone()));
    open_channel(chain, &alice, &bob, 1_000_000);
    let id = bob.id();
    bob.stop();
    wait_until("alice to notice", DEADLINE, || !alice.is_connected(&id));
    let raw = RawPeer::new("bob");
    assert_eq!(raw.id(), id);
    (alice, raw)
}

fn reconnect(raw: &RawPeer, alice: &Node) {
    alice.disconnect(&raw.id());
    wait_until("both to be disconnected", DEADLINE, || {
        !alice.is_connected(&raw.id()) && !raw.is_connected(&alice.id())
    });
    raw.connect(&alice.id(), alice.addr());
}

#[test]
fn a_stock_node_stores_1024_bytes_and_returns_them_before_channel_reestablish() {
    let (chain, dirs) = (Chain::new(), tempfile::tempdir().unwrap());
    let (alice, bob) = alice_and_raw_bob(&chain, &dirs);
    bob.connect(&alice.id(), alice.addr());
    bob.push_storage(&alice.id(), &[7; 1024]);
    alice
        .wire()
        .wait_received(&bob.id(), "PeerStorage", DEADLINE);

    let mark = alice.wire().mark();
    reconnect(&bob, &alice);
    alice.wire().wait_for(
        mark,
        &bob.id(),
        Direction::Sent,
        "ChannelReestablish",
        DEADLINE,
    );
    let sent = alice.wire().sent_since(mark, &bob.id());
    let at = |name: &str| sent.iter().position(|sent| sent == name).unwrap();
    assert!(at("Init") < at("PeerStorageRetrieval"), "{sent:?}");
    assert!(
        at("PeerStorageRetrieval") < at("ChannelReestablish"),
        "{sent:?}"
    );
    bob.wait_received("the blob", 0, |m| m.type_id == 9);
    assert_eq!(bob.returned_by(&alice.id()), [vec![7; 1024]]);
}

#[test]
fn warnings_are_seen_with_their_text() {
    let (chain, dirs) = (Chain::new(), tempfile::tempdir().unwrap());
    let (alice, bob) = alice_and_raw_bob(&chain, &dirs);
    bob.connect(&alice.id(), alice.addr());
    bob.push_storage(&alice.id(), &[7; 65_531]);
    bob.wire().wait_received(&alice.id(), "Warning", DEADLINE);
    wait_until("the text", DEADLINE, || {
        !bob.wire().warnings_from(&alice.id()).is_empty()
    });
    let said = bob.wire().warnings_from(&alice.id());
    assert!(said[0].contains("up to 1024 bytes"), "{said:?}");
    assert_eq!(alice.panicked(), None);

    bob.send(Outgoing::warning(alice.id(), "mind the gap"));
    bob.send(Outgoing::Raw {
        to: alice.id(),
        type_id: 40_001,
        body: vec![1, 2, 3],
    });
    alice
        .wire()
        .wait_received(&bob.id(), "Unknown(40001)", DEADLINE);
    assert_eq!(alice.wire().warnings_from(&bob.id()), ["mind the gap"]);
    assert!(
        !alice.log().iter().any(|line| line.len() > 10_000),
        "no bodies in the log"
    );
}

#[test]
fn a_raw_peer_follows_its_script() {
    let (chain, dirs) = (Chain::new(), tempfile::tempdir().unwrap());
    let (alice, bob) = alice_and_raw_bob(&chain, &dirs);
    bob.on_connect(|peer, _init| vec![Outgoing::retrieval(peer, vec![9; 100])]);
    let echo = |m: &Received| match m.type_id {
        136 => vec![Outgoing::Raw {
            to: m.from,
            type_id: 40_003,
            body: vec![],
        }],
        _ => vec![],
    };
    bob.on_message(echo);
    bob.connect(&alice.id(), alice.addr());
    alice
        .wire()
        .wait_received(&bob.id(), "Unknown(40003)", DEADLINE);
    let received = alice.wire().received_from(&bob.id());
    let ours: Vec<_> = received.iter().rev().take(3).rev().cloned().collect();
    assert_eq!(ours, ["Init", "PeerStorageRetrieval", "Unknown(40003)"]);

    let channel = alice.channels()[0].channel_id;
    bob.send(Outgoing::error(alice.id(), channel, "go away"));
    alice.wait_closed(&channel);
    wait_until("the text", DEADLINE, || {
        alice
            .wire()
            .all()
            .iter()
            .any(|m| m.text.as_deref() == Some("go away"))
    });
}

#[test]
fn two_raw_peers_exchange_any_bytes() {
    let (one, two) = (
        RawPeer::new("one"),
        RawPeer::start(RawPeerConfig::new("two")),
    );
    one.connect(&two.id(), two.addr());
    two.wait_connected(&one.id());
    one.send(Outgoing::Raw {
        to: two.id(),
        type_id: 40_000,
        body: vec![5; 65_533],
    });
    let got = two.wait_received("the bytes", 0, |m| m.type_id == 40_000);
    assert_eq!(got.body, [5; 65_533]);
    one.send(Outgoing::error(two.id(), ChannelId([3; 32]), "text"));
    let got = two.wait_received("the error", 0, |m| m.name == "Error");
    assert_eq!(got.read::<lightning::ln::msgs::ErrorMessage>().data, "text");
}

#[test]
fn nodes_on_a_remote_chain() {
    let (chain, dirs) = (Chain::new(), tempfile::tempdir().unwrap());
    let server = ChainServer::start(&chain);
    let remote = || RemoteChain::connect(server.addr()).unwrap();
    let config = NodeConfig::new("alice", dirs.path().join("a"), remote());
    let alice = Node::start(config.drain_threads(2));
    let bob = Node::start(NodeConfig::new("bob", dirs.path().join("b"), remote()));
    open_channel(&chain, &alice, &bob, 1_000_000);
    pay(&alice, &bob, 1_000_000);
    pay(&bob, &alice, 1_000_000);
}

/// An extension that notes which of its methods were called.
#[derive(Default)]
struct Curious {
    called: Mutex<Vec<String>>,
}

impl Extension for Curious {
    fn started(&self, node: &NodeParts, _peer_manager: Arc<TestPeerManager>) {
        self.called
            .lock()
            .unwrap()
            .push(format!("started {}", node.name));
    }

    fn event(&self, event: &lightning::events::Event) {
        if let lightning::events::Event::ChannelReady { .. } = event {
            self.called.lock().unwrap().push("ready".to_owned());
        }
    }

    fn block(&self, height: u32) {
        self.called.lock().unwrap().push(format!("block {height}"));
    }

    fn stopping(&self) {
        self.called.lock().unwrap().push("stopping".to_owned());
    }
}

#[test]
fn an_extension_is_told() {
    let (chain, dirs) = (Chain::new(), tempfile::tempdir().unwrap());
    let curious = Arc::new(Curious::default());
    let config = NodeConfig::new("alice", dirs.path().join("a"), chain.clone());
    let alice = Node::start(config.extension(curious.clone()));
    let bob = Node::start(NodeConfig::new("bob", dirs.path().join("b"), chain.clone()));
    open_channel(&chain, &alice, &bob, 1_000_000);
    alice.stop();
    let called = curious.called.lock().unwrap().clone();
    for wanted in [
        "started alice",
        "block 110",
        "ready",
        "block 116",
        "stopping",
    ] {
        assert!(called.iter().any(|c| c == wanted), "{wanted}: {called:?}");
    }
}

#[test]
fn a_stranger_gets_no_storage_from_a_stock_node() {
    let (chain, dirs) = (Chain::new(), tempfile::tempdir().unwrap());
    let alice = Node::start(NodeConfig::new(
        "alice",
        dirs.path().join("a"),
        chain.clone(),
    ));
    let stranger = RawPeer::new("stranger");
    let id: PublicKey = alice.id();
    stranger.connect(&id, alice.addr());
    stranger.push_storage(&id, &[1; 10]);
    stranger.wire().wait_received(&id, "Warning", DEADLINE);
}

#[test]
fn every_kind_of_channel_message_can_be_sent() {
    let (one, two) = (RawPeer::new("one"), RawPeer::new("two"));
    one.connect(&two.id(), two.addr());
    two.wait_connected(&one.id());
    let samples = testkit::raw_peer::channel_messages(ChannelId([3; 32]));
    one.send_every_channel_message(&two.id(), ChannelId([3; 32]));
    let (last, _) = samples[samples.len() - 1];
    two.wait_received("the last one", 0, |m| m.type_id == last);
    let received: Vec<_> = two.received()[1..]
        .iter()
        .map(|m| (m.type_id, m.body.clone()))
        .collect();
    assert_eq!(received, samples);
}
