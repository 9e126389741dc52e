//! One identity, now in a session, now in a node: the peer believes in one connection at a time.

use std::time::Duration;

use ldk_peer_storage::session::{Returned, Times, Work};
use testkit::{
    open_channel, pay, wait_until, Chain, Node, NodeConfig, Outgoing, RawPeer, DEADLINE,
};

use crate::cable::{Cable, Line};
use crate::stage::{assert_all_delivered, of_node, outcome, record, Quiet};
use crate::support::assert_quiet;

#[test]
fn a_session_and_a_node_of_the_same_identity_take_turns_fifty_times() {
    let dir = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let config = |name: &str| NodeConfig::new(name, dir.path().join(name), chain.clone());
    let (mut phone, bob) = (Node::start(config("phone")), Node::start(config("bob")));
    phone.connect_to(&bob);
    open_channel(&chain, &phone, &bob, 1_000_000);
    let (phone_id, seed) = (phone.id(), phone.config().seed);
    let mark = bob.wire().mark();
    let quiet = Quiet::open(seed, &dir.path().join("storage"));
    quiet.storage.declare_new().unwrap();
    quiet.storage.list_peers([bob.id()].into());
    for round in 0..50_u8 {
        let config = phone.config().clone();
        phone.stop();
        quiet.storage.set_app_data(vec![round; 100]);
        let report = quiet
            .session
            .run(&[of_node(&bob)], Work::default(), DEADLINE);
        assert_all_delivered(&report);
        let visit = outcome(&report.peers, &bob.id()).unwrap();
        match (round, visit.returned) {
            (0, Returned::Nothing) | (1.., Returned::Backup(_)) => {}
            other => panic!("{other:?}"),
        }
        assert_quiet(&quiet.wire.sent_to(&bob.id()));
        assert!(!bob.is_connected(&phone_id));
        phone = Node::start(config);
        phone.connect_to(&bob);
    }
    wait_until("the channel to be usable", DEADLINE, || {
        phone.is_usable_with(&bob.id()) && bob.is_usable_with(&phone_id)
    });
    pay(&phone, &bob, 10_000);
    // A second dial after a refusal shows as an `init` too many; some are forgiven.
    let inits = bob.wire().received_since(mark, &phone_id);
    let inits = inits.iter().filter(|name| *name == "Init").count();
    assert!((100..110).contains(&inits), "{inits}");
    assert!(bob.closed_channels().is_empty());
}

#[test]
fn a_connection_that_the_peer_still_believes_in_is_waited_out() {
    let dir = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let config = |name: &str| NodeConfig::new(name, dir.path().join(name), chain.clone());
    let (phone, bob) = (Node::start(config("phone")), Node::start(config("bob")));
    // The phone's connection leads through a cable that can be cut without anybody noticing.
    let cable = Cable::to(bob.addr(), Line::Fast);
    phone.connect(&bob.id(), cable.addr);
    let (phone_id, seed) = (phone.id(), phone.config().seed);
    wait_until("bob to know", DEADLINE, || bob.is_connected(&phone_id));
    cable.cut();
    phone.kill();
    assert!(bob.is_connected(&phone_id), "bob believes in it");

    let times = Times {
        read_back: Duration::from_secs(2),
        ..Times::default()
    };
    let quiet = Quiet::with_times(seed, &dir.path().join("storage"), times);
    let bobs = record(bob.id(), bob.addr());
    let report = std::thread::scope(|scope| {
        let visiting = scope.spawn(|| quiet.session.run(&[bobs], Work::default(), DEADLINE));
        // What LDK's timers do in their time.
        wait_until("two refusals", DEADLINE, || {
            quiet.wire.sent_to(&bob.id()).len() >= 3
        });
        assert!(bob.is_connected(&phone_id));
        (0..3).for_each(|_| bob.tick());
        visiting.join().unwrap()
    });
    let visit = outcome(&report.peers, &bob.id()).unwrap();
    assert!(visit.delivered, "{visit:?}");
}

#[test]
fn calls_at_the_same_time_visit_a_peer_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let bob = RawPeer::new("bob");
    bob.on_connect(|to, _| vec![Outgoing::retrieval(to, vec![1; 300])]);
    let quiet = Quiet::open([7; 32], dir.path());
    quiet.storage.declare_new().unwrap();
    let cable = Cable::to(bob.addr(), Line::Fast);
    let bobs = [record(bob.id(), cable.addr)];
    std::thread::scope(|scope| {
        let visit = || quiet.session.run(&bobs, Work::default(), DEADLINE);
        let visits: Vec<_> = (0..8).map(|_| scope.spawn(visit)).collect();
        for visit in visits {
            assert_all_delivered(&visit.join().unwrap());
        }
    });
    assert_eq!(cable.connections(), 8, "none was refused and dialled again");
}
