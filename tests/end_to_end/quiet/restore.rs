//! Reading back and taking what was read.

use bitcoin::secp256k1::PublicKey;
use testkit::{
    open_channel, wait_until, wipe, Chain, Direction, Node, NodeConfig, WireTap, DEADLINE,
};

use super::assert_open;
use crate::support::{assert_quiet, QuietNode, Wallet, WalletConfig};

#[test]
fn a_restore_reads_before_it_writes_and_closes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let config = |name: &str| NodeConfig::new(name, dir.path().join(name), chain.clone());
    let wallet = |name: &str| Wallet::start(WalletConfig::new(config(name)));
    let phone = wallet("phone");
    let (bob, carol, dave) = (wallet("bob"), wallet("carol"), Node::start(config("dave")));
    let peers = [&bob.node, &carol.node, &dave];
    for peer in peers {
        phone.connect_to(peer);
        open_channel(&chain, &phone.node, peer, 1_000_000);
    }
    for peer in peers {
        phone.reconnect(peer);
        let received = || peer.wire().received_from(&phone.node.id());
        wait_until("a first backup to arrive", DEADLINE, || {
            received().iter().any(|name| name == "PeerStorage")
        });
    }
    assert!(phone.storage.on_background(DEADLINE).complete);
    // Dave is away when the next one is made.
    phone.node.disconnect_from(&dave);
    let marks = [&bob, &carol].map(|peer| peer.node.wire().mark());
    phone.storage.set_app_data(vec![7; 3_000]);
    for (peer, mark) in [&bob, &carol].into_iter().zip(marks) {
        wait_for(peer.node.wire(), mark, &phone.node.id(), "PeerStorage");
    }
    let newest = phone.storage.on_background(DEADLINE).status.backup.newest;
    let newest = newest.expect("a backup");
    let funding = phone.node.funding_outpoints();
    let phone_id = phone.node.id();

    let lost = phone.kill();
    wipe(&lost.node.dir);
    wipe(&lost.storage_dir);
    wait_until("the peers to notice", DEADLINE, || {
        peers.iter().all(|peer| !peer.is_connected(&phone_id))
    });
    let marks = peers.map(|peer| peer.wire().mark());
    let quiet = QuietNode::start(lost.node.seed, &dir.path().join("new-phone"));
    for peer in [&dave, &bob.node, &carol.node] {
        assert!(quiet.connect(peer.id(), peer.addr()));
        quiet.wait_read_back(peer.id());
    }
    // What the peers say of their channels is heard as well.
    for peer in peers {
        quiet
            .wire
            .wait_received(&peer.id(), "ChannelReestablish", DEADLINE);
    }
    quiet.storage.flush(DEADLINE);
    for (peer, mark) in peers.into_iter().zip(marks) {
        let heard = peer.wire().received_since(mark, &phone_id);
        assert_quiet(&heard);
        assert!(!heard.iter().any(|name| name == "PeerStorage"), "{heard:?}");
    }
    let report = quiet.storage.restore_report();
    assert_eq!(report.newest, Some(newest));
    assert_eq!((report.answers.len(), report.channels.len()), (3, 3));
    for answer in &report.answers {
        assert_eq!(answer.newest, answer.peer != dave.id(), "{answer:?}");
        assert_eq!(answer.revision < newest, answer.peer == dave.id());
    }
    assert_eq!(report.app_data, [7; 3_000]);

    quiet.storage.finish_restore().unwrap();
    for (peer, mark) in peers.into_iter().zip(marks) {
        wait_for(peer.wire(), mark, &phone_id, "PeerStorage");
        assert_pushed_after_reading(peer.wire(), mark, &phone_id);
    }
    let status = quiet.storage.status().backup;
    assert_eq!(status.newest.unwrap().epoch, newest.epoch + 1);
    assert_eq!((status.channels, status.restored_channels), (3, 3));
    // The new epoch is what they return from now on.
    for peer in peers {
        let mark = peer.wire().mark();
        quiet.disconnect(peer.id());
        wait_until("both to disconnect", DEADLINE, || {
            !quiet.is_connected(&peer.id()) && !peer.is_connected(&phone_id)
        });
        assert!(quiet.connect(peer.id(), peer.addr()));
        wait_until("the new backup to be verified", DEADLINE, || {
            let status = quiet.storage.status().backup;
            let peer = status.peers.iter().find(|p| p.node_id == peer.id());
            let verified = peer.and_then(|peer| peer.verified);
            verified.map(|verified| verified.revision) == status.newest
        });
        assert_pushed_after_reading(peer.wire(), mark, &phone_id);
    }
    chain.mine(6);
    for peer in peers {
        peer.sync();
        peer.tick();
    }
    quiet.storage.flush(DEADLINE);
    for (peer, mark) in peers.into_iter().zip(marks) {
        assert_quiet(&peer.wire().received_since(mark, &phone_id));
        assert_quiet(&quiet.wire.sent_to(&peer.id()));
    }
    assert_open(&chain, &phone_id, &funding, &peers);
    quiet.stop();
}

fn wait_for(wire: &WireTap, mark: usize, from: &PublicKey, name: &str) {
    wire.wait_for(mark, from, Direction::Received, name, DEADLINE);
}

/// On each connection since the mark, seen at the peer: its 9 went out before a 7 came.
#[track_caller]
fn assert_pushed_after_reading(wire: &WireTap, mark: usize, from: &PublicKey) {
    // What arrives before the first `init` belongs to the connection before.
    let mut read_back = true;
    for message in wire.all().iter().skip(mark).filter(|m| m.peer == *from) {
        match (message.direction, message.name.as_str()) {
            (_, "Init") => read_back = false,
            (Direction::Sent, "PeerStorageRetrieval") => read_back = true,
            (Direction::Received, "PeerStorage") => assert!(read_back, "{:?}", wire.with(from)),
            _ => {}
        }
    }
}
