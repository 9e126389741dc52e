//! A node that has kept blobs with LDK alone gets this crate: its peers miss nothing.

use testkit::{
    open_channel, wait_until, Chain, Direction, Node, NodeConfig, RawPeer, RawPeerConfig, DEADLINE,
};

use crate::support::{kept_for, of_peer, Begin, Wallet, WalletConfig};

#[test]
fn a_blob_that_ldk_had_kept_is_returned_and_taken_over_once() {
    let home = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let config = |name: &str| NodeConfig::new(name, home.path().join(name), chain.clone());
    let phone = Wallet::start(WalletConfig::new(config("phone")));
    let id = phone.node.id();
    let storer = Node::start(config("storer"));
    let seeds = (phone.node.config().seed, storer.config().seed);
    phone.connect_to(&storer);
    open_channel(&chain, &phone.node, &storer, 1_000_000);
    phone.reconnect(&storer);
    storer.wire().wait_received(&id, "PeerStorage", DEADLINE);
    assert!(phone.storage.on_background(DEADLINE).complete);
    let newest = phone.storage.status().backup.newest;
    // What was handed to LDK is on its way when LDK has gone through it.
    phone.node.peer_manager().process_events();
    wait_until("all that was sent to arrive", DEADLINE, || {
        let sent = phone.node.wire().sent_to(&storer.id());
        count(&sent) == count(&storer.wire().received_from(&id))
    });
    storer.stop();
    let phone_config = phone.stop();

    // Adopted: on the first connection the blob comes back, before any 136, and is kept. The phone
    // only listens, so that nothing but LDK's own blob can be there afterwards.
    let adopted = WalletConfig::new(config("storer")).begin(Begin::Adopt);
    let storer = Wallet::start(adopted);
    let storer_id = storer.node.id();
    let listening = |name: &str| {
        RawPeer::start(RawPeerConfig {
            seed: seeds.0,
            ..RawPeerConfig::new(name)
        })
    };
    let raw = listening("phone that listens");
    raw.connect(&storer_id, storer.node.addr());
    raw.wait_received("the 136", 0, |m| m.type_id == 136);
    let received: Vec<_> = raw.received().iter().map(|m| m.type_id).collect();
    let at = |type_id: u16| received.iter().position(|t| *t == type_id);
    assert!(at(9).is_some() && at(9) < at(136), "{received:?}");
    let returned = raw.returned_by(&storer_id);
    drop(raw);
    let stopped = storer.stop();
    let slot = kept_for(id, &seeds.1, &stopped.storage_dir);
    assert_eq!(slot.blob().len(), 1024);
    assert!(returned == [slot.blob()]);
    assert_eq!(Some(slot.contents(&seeds.0).snapshot.revision), newest);
    drop(slot);

    // It survives a restart, and a newer one takes its place for good.
    let storer = Wallet::start(stopped);
    let phone = Wallet::start(phone_config);
    let verified = |at_least| {
        let verified = of_peer(&phone.storage, &storer_id).and_then(|p| p.verified);
        verified.map(|v| v.revision) >= at_least
    };
    phone.connect_to(&storer.node);
    phone.reconnect(&storer.node);
    wait_until("the phone to verify it", DEADLINE, || verified(newest));
    phone.storage.set_app_data(vec![5; 100]);
    wait_until("a newer one to be sent", DEADLINE, || {
        let status = phone.storage.status().backup;
        status.newest > newest && status.sent_to == 1 && !status.snapshot_due
    });
    let newer = phone.storage.status().backup.newest.unwrap();
    assert!(phone.storage.on_background(DEADLINE).complete);
    wait_until("all that was sent to arrive", DEADLINE, || {
        let sent = phone.node.wire().sent_to(&storer_id);
        let received = storer.node.wire().received_from(&id);
        count(&sent) == count(&received)
    });
    let storer = storer.restart();
    phone.reconnect(&storer.node);
    wait_until("the newer one to come back", DEADLINE, || {
        verified(Some(newer))
    });
    let stopped = storer.stop();
    let slot = kept_for(id, &seeds.1, &stopped.storage_dir);
    assert!(slot.contents(&seeds.0).snapshot.revision >= newer);
    drop(slot);

    // A peer that takes its blob back does not get LDK's old one again.
    let mut storer = Wallet::start(stopped);
    phone.stop();
    let raw = listening("phone that listens again");
    raw.connect(&storer.node.id(), storer.node.addr());
    raw.wait_received("what is kept", 0, |m| m.type_id == 9);
    raw.push_storage(&storer.node.id(), &[]);
    wire_saw(&storer, &raw);
    assert!(storer.storage.flush(DEADLINE));
    for restarted in [false, true] {
        if restarted {
            storer = storer.restart();
        }
        raw.disconnect(&storer.node.id());
        let mark = raw.received().len();
        wait_until("no old connection", DEADLINE, || {
            !raw.is_connected(&storer.node.id())
        });
        raw.connect(&storer.node.id(), storer.node.addr());
        raw.wait_received("its 136", mark, |m| m.type_id == 136);
        let returned = raw
            .received()
            .into_iter()
            .skip(mark)
            .filter(|m| m.type_id == 9);
        assert_eq!(returned.count(), 0, "an old blob is back");
    }
}

fn count(names: &[String]) -> usize {
    names.iter().filter(|name| *name == "PeerStorage").count()
}

fn wire_saw(storer: &Wallet, raw: &RawPeer) {
    let wire = storer.node.wire();
    wire.wait_for(0, &raw.id(), Direction::Received, "PeerStorage", DEADLINE);
}
