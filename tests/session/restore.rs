//! A phone that has lost everything: it reads back, and finds more peers in what it reads.

use std::time::Duration;

use ldk_peer_storage::exchange::{Past, PastError};
use ldk_peer_storage::session::{NotReached, Returned, Times, Work};
use testkit::{open_channel, wait_until, wipe, Chain, Node, NodeConfig, DEADLINE};

use crate::stage::{assert_all_delivered, assert_read_before_written, of_node, outcome, Quiet};
use crate::support::{assert_quiet, Wallet, WalletConfig};

#[test]
fn a_restore_finds_the_peers_named_in_what_it_reads_and_a_second_one_improves_it() {
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
        wait_until("a first backup to arrive", DEADLINE, || {
            let received = peer.wire().received_from(&phone.node.id());
            received.iter().any(|name| name == "PeerStorage")
        });
    }
    let older = phone.storage.on_background(DEADLINE).status.backup.newest;
    // Bob and Dave are away when the next one is made, so Carol alone has the newest.
    for peer in [&bob.node, &dave] {
        phone.node.disconnect_from(peer);
    }
    let mark = carol.node.wire().mark();
    phone.storage.set_app_data(vec![7; 3_000]);
    let newest = phone.storage.on_background(DEADLINE).status.backup.newest;
    let received = testkit::Direction::Received;
    let phone_id = phone.node.id();
    carol
        .node
        .wire()
        .wait_for(mark, &phone_id, received, "PeerStorage", DEADLINE);
    let funding = phone.node.funding_outpoints();
    let lost = phone.kill();
    wipe(&lost.node.dir);
    wipe(&lost.storage_dir);
    wait_until("the peers to notice", DEADLINE, || {
        peers.iter().all(|peer| !peer.is_connected(&phone_id))
    });
    let marks = [&bob.node, &dave].map(|peer| peer.wire().mark());

    // Carol is off for now, and only Dave's address is known.
    let (carol_id, carol_port) = (carol.node.id(), carol.node.addr().port());
    let mut carol = carol.stop();
    carol.node.listen = Some(carol_port);
    let times = Times {
        connect: Duration::from_secs(2),
        ..Times::default()
    };
    let quiet = Quiet::with_times(lost.node.seed, &dir.path().join("new-phone"), times);
    let outcome_of = |peer: &Node, peers: &[_]| outcome(peers, &peer.id()).unwrap();
    let first = quiet.session.restore(&[of_node(&dave)], DEADLINE).unwrap();
    assert_eq!(first.peers.len(), 3);
    for peer in [&bob.node, &dave] {
        let visit = outcome_of(peer, &first.peers);
        assert_eq!(visit.returned, Returned::Backup(older.unwrap()));
        assert_eq!((visit.sent, visit.channels.len()), (None, 1));
    }
    assert_eq!(
        outcome(&first.peers, &carol_id),
        Err(NotReached::Unreachable)
    );
    assert_eq!(
        (first.report.newest, first.report.answers.len()),
        (older, 2)
    );
    assert_eq!(first.report.channels.len(), 3);
    assert_eq!(first.report.unheard.len(), 1);

    // Carol is back: nobody needs to say where she is.
    let carol = Wallet::start(carol);
    let second = quiet.session.restore(&[], DEADLINE).unwrap();
    assert_eq!(second.peers.len(), 1, "who was heard is not asked again");
    let visit = outcome_of(&carol.node, &second.peers);
    assert_eq!(visit.returned, Returned::Backup(newest.unwrap()));
    assert_eq!(
        (second.report.newest, second.report.answers.len()),
        (newest, 3)
    );
    assert_eq!(second.report.app_data, [7; 3_000]);
    assert!(second.report.unheard.is_empty());

    // So far nobody was given anything, and the person has decided nothing.
    assert_eq!(quiet.storage.past(), Past::Unknown);
    for (peer, mark) in [&bob.node, &dave].into_iter().zip(marks) {
        let heard = peer.wire().received_since(mark, &phone_id);
        assert_quiet(&heard);
        assert!(!heard.iter().any(|name| name == "PeerStorage"), "{heard:?}");
    }
    let sent = quiet.wire.sent_to(&carol_id);
    assert!(!sent.iter().any(|name| name == "PeerStorage"), "{sent:?}");

    quiet.storage.finish_restore().unwrap();
    let refused = quiet.session.restore(&[of_node(&dave)], DEADLINE);
    assert_eq!(refused.unwrap_err(), PastError::Known);
    let everyone = &second.report.peers;
    let report = quiet.session.run(everyone, Work { verify: true }, DEADLINE);
    assert_all_delivered(&report);
    let restored = quiet.storage.status().backup.newest;
    assert_eq!(restored.unwrap().epoch, newest.unwrap().epoch + 1);
    for peer in [&bob.node, &carol.node, &dave] {
        let visit = outcome_of(peer, &report.peers);
        assert_eq!((visit.sent, visit.verified), (restored, true));
        assert_quiet(&quiet.wire.sent_to(&peer.id()));
        assert_read_before_written(&quiet.wire, &peer.id());
        assert_eq!(peer.panicked(), None);
        assert!(peer.closed_channels().is_empty());
        assert_eq!(peer.channels_with(&phone_id).len(), 1);
    }
    assert!(funding.iter().all(|f| chain.spender(*f).is_none()));
    quiet.close();
}
