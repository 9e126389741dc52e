//! One identity, now in a session, now in an ldk-node: the peer believes in one connection at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ldk_peer_storage::service::WalletSource;
use ldk_peer_storage::session::{Returned, Visit, Work};
use testkit::{wait_until, Node, DEADLINE};

use crate::beside::{record, Beside};
use crate::cable::{Cable, Line};
use crate::phone::Phone;
use crate::stage::Stage;

const ROUNDS: u32 = 50;
/// So many dials of the sessions, of fifty, may be refused, and so many connections more than needed.
const FORGIVEN: usize = 10;
/// From the node's starts to usable channels, all rounds together. ldk-node dials when it starts, and then
/// once a minute: a start that is refused costs a minute, and nodes that are refused often exceed this.
const MOST_WAITING: Duration = Duration::from_secs(300);

#[test]
fn a_session_and_an_ldk_node_take_turns_fifty_times() {
    let stage = Stage::new();
    let bob = Node::start(stage.config("bob"));
    let (config, storage_dir) = stage.phone();
    let phone_id = config.identity().node_id();
    let mut phone = Some(stage.open(&config, &bob, bob.addr()));
    let mark = bob.wire().mark();
    let mut times = [Duration::ZERO; 4];
    let mut slowest = [Duration::ZERO; 4];
    let mut dials = 0;
    for round in 0..ROUNDS {
        let mut timed = |which: usize, since: Instant| {
            times[which] += since.elapsed();
            slowest[which] = slowest[which].max(since.elapsed());
        };
        let begun = Instant::now();
        let stopped = phone.take().unwrap().stop();
        timed(0, begun);

        let begun = Instant::now();
        let beside = Beside::open(&config.identity(), &storage_dir);
        beside.storage.set_app_data(vec![round as u8; 100]);
        let bobs = [record(bob.id(), bob.addr())];
        let report = beside.back_up(&stopped, &bobs, Work::default(), DEADLINE);
        let visit = report.peers[0].outcome.clone().unwrap();
        assert!(
            visit.delivered && visit.sent.is_some(),
            "{round}: {visit:?}"
        );
        match (round, visit.returned) {
            (0, Returned::Nothing) | (1.., Returned::Backup(_)) => {}
            other => panic!("{other:?}"),
        }
        assert!(!bob.is_connected(&phone_id));
        assert!(beside.storage.alarms().is_empty());
        dials += inits(beside.wire.sent_to(&bob.id()));
        beside.close();
        timed(1, begun);

        let begun = Instant::now();
        let node = Phone::start(config.clone());
        timed(2, begun);
        let begun = Instant::now();
        // It dials by itself: nobody tells it where Bob is.
        node.wait_usable(&bob);
        timed(3, begun);
        if round % 10 == 9 {
            node.pay(&bob, 1_000_000);
            node.receive(&bob, 1_000_000);
        }
        phone = Some(node);
    }
    phone.unwrap().stop();
    for (n, what) in ["stop", "session", "start", "usable"]
        .into_iter()
        .enumerate()
    {
        println!(
            "{what}: {:?} each, {:?} at most",
            times[n] / ROUNDS,
            slowest[n]
        );
    }
    let connections = inits(bob.wire().received_since(mark, &phone_id));
    println!("{connections} connections, {dials} dials of sessions");
    let rounds = ROUNDS as usize;
    assert!(dials <= rounds + FORGIVEN, "{dials}");
    // One of each, and none that throws another out and has to be made anew.
    let connected = 2 * rounds..=2 * rounds + FORGIVEN;
    assert!(connected.contains(&connections), "{connections}");
    assert!(times[3] < MOST_WAITING, "{times:?}");
    assert!(bob.closed_channels().is_empty());
    assert_eq!(bob.wire().warnings_from(&phone_id), [""; 0]);
}

#[test]
fn a_connection_of_the_node_that_the_peer_still_believes_in_is_waited_out() {
    let stage = Stage::new();
    let bob = Node::start(stage.config("bob"));
    // The phone's node dials through a cable that can be cut without anybody noticing.
    let cable = Cable::to(bob.addr(), Line::Fast);
    let (config, storage_dir) = stage.phone();
    let phone_id = config.identity().node_id();
    let phone = stage.open(&config, &bob, cable.addr);
    let stopped = die(phone, &cable, &bob);
    assert!(bob.is_connected(&phone_id), "bob believes in it");

    let beside = Beside::open(&config.identity(), &storage_dir);
    let bobs = [record(bob.id(), bob.addr())];
    let report = std::thread::scope(|scope| {
        let visiting = scope.spawn(|| beside.back_up(&stopped, &bobs, Work::default(), DEADLINE));
        wait_until("two refusals", DEADLINE, || {
            beside.wire.sent_to(&bob.id()).len() >= 3
        });
        assert!(bob.is_connected(&phone_id));
        // What LDK's timers do in their time.
        (0..3).for_each(|_| bob.tick());
        visiting.join().unwrap()
    });
    let visit: Visit = report.peers[0].outcome.clone().unwrap();
    assert!(visit.delivered && visit.sent.is_some(), "{visit:?}");
    beside.close();

    let phone = Phone::start(config);
    let connected = phone.node.connect(bob.id(), bob.addr().into(), true);
    connected.unwrap();
    phone.wait_usable(&bob);
    phone.pay(&bob, 1_000_000);
    phone.stop();
}

/// ldk-node dials when it starts, and then once a minute: whoever does not want to wait tells it to.
#[test]
fn a_node_that_the_peer_refuses_for_an_old_connection_has_to_be_told_to_dial_again() {
    let stage = Stage::new();
    let bob = Node::start(stage.config("bob"));
    let cable = Cable::to(bob.addr(), Line::Fast);
    let (config, _) = stage.phone();
    let phone = stage.open(&config, &bob, cable.addr);
    die(phone, &cable, &bob);
    let phone = Phone::start(config);
    let dial = || phone.node.connect(bob.id(), bob.addr().into(), true);
    assert_eq!(dial(), Err(ldk_node::NodeError::ConnectionFailed));
    (0..3).for_each(|_| bob.tick());
    wait_until("bob to let go", DEADLINE, || dial().is_ok());
    phone.wait_usable(&bob);
    phone.pay(&bob, 1_000_000);
    phone.stop();
}

/// The connections among these messages. Who dials says `init` first, also where it is refused then.
fn inits(messages: Vec<String>) -> usize {
    messages.iter().filter(|name| *name == "Init").count()
}

/// The connection goes dead, and the peer notices nothing. The wallet forgets the dead address: ldk-node
/// would dial it at its start, and while that dial waits, `connect` waits for it, whatever the address.
fn die(phone: Phone, cable: &Cable, peer: &Node) -> Arc<dyn WalletSource> {
    cable.cut();
    phone.node.disconnect(peer.id()).unwrap();
    phone.stop()
}
