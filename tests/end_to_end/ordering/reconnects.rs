//! Five hundred connections, with threads that call `process_events` all the time.

use std::time::Instant;

use ldk_peer_storage::exchange::OWN_REESTABLISH_WAIT;
use testkit::{open_channel, pay, wait_until, Chain, Direction, NodeConfig, DEADLINE};

use super::{fault, names};
use crate::support::{wait_pushes_arrived, ManualClock, Wallet, WalletConfig};

const RECONNECTS: usize = 500;
/// So many on each of the two nodes.
const DRAIN_THREADS: usize = 4;

#[test]
fn the_blob_precedes_the_channels_on_every_connection_in_both_directions() {
    let dir = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let start = |name: &str, drain_threads: usize| {
        let clock = ManualClock::new();
        let node = NodeConfig::new(name, dir.path().join(name), chain.clone());
        let node = node.drain_threads(drain_threads);
        let wallet = Wallet::start(WalletConfig::new(node).clock(clock.clone()));
        (wallet, clock)
    };
    let (alice, bob) = (start("alice", 0), start("bob", 0));
    alice.0.connect_to(&bob.0.node);
    open_channel(&chain, &alice.0.node, &bob.0.node, 1_000_000);
    for (wallet, peer) in [(&alice.0, &bob.0), (&bob.0, &alice.0)] {
        wallet.learn_address(&peer.node);
        wallet.storage.set_app_data(vec![7; 60_000]);
    }
    // Each pushes once it has heard the other's 136, and what it keeps is large.
    alice.0.reconnect(&bob.0.node);
    for (wallet, peer) in [(&alice.0, &bob.0), (&bob.0, &alice.0)] {
        wait_until("both blobs, a small one and a large one", DEADLINE, || {
            let received = wallet.node.wire().received_from(&peer.node.id());
            received
                .iter()
                .filter(|name| *name == "PeerStorage")
                .count()
                >= 2
        });
        assert!(wallet.storage.on_background(DEADLINE).complete);
        wait_pushes_arrived(&wallet.node.id(), wallet.node.wire(), &peer.node);
    }
    alice.0.reconnect(&bob.0.node);
    for (wallet, peer) in [(&alice.0, &bob.0), (&bob.0, &alice.0)] {
        let status = wallet.storage.status().backup;
        let peer = status.peers.iter().find(|p| p.node_id == peer.node.id());
        assert_eq!(
            peer.unwrap().capacity.bytes(),
            65_531,
            "the large blob came back"
        );
    }
    // The same nodes again, now with the threads.
    let restart = |(wallet, clock): (Wallet, std::sync::Arc<ManualClock>)| {
        let mut config = wallet.stop();
        config.node.drain_threads = DRAIN_THREADS;
        (Wallet::start(config), clock)
    };
    let (alice, bob) = (restart(alice), restart(bob));

    let began = Instant::now();
    let mut faults = Vec::new();
    for round in 0..RECONNECTS {
        // Each of the two is the one that connects, and the one whose wait is over first.
        let (dialler, listener) = match round % 2 {
            0 => (&alice.0, &bob.0),
            _ => (&bob.0, &alice.0),
        };
        let (hurried, clock) = if round % 4 < 2 { &alice } else { &bob };
        let marks = [&alice.0, &bob.0].map(|wallet| wallet.node.wire().mark());
        dialler.connect_to(&listener.node);
        // Who has dialled waits for longer.
        clock.advance(OWN_REESTABLISH_WAIT * 2);
        hurried.clock_moved();
        wait_until("the channel to be usable", DEADLINE, || {
            alice.0.node.is_usable_with(&bob.0.node.id())
                && bob.0.node.is_usable_with(&alice.0.node.id())
        });
        dialler.node.disconnect_from(&listener.node);
        for (at, wallet) in [&alice.0, &bob.0].into_iter().enumerate() {
            let seen = wallet.node.wire().since(marks[at]);
            for direction in [Direction::Sent, Direction::Received] {
                let fault = fault(&names(&seen, direction));
                faults.extend(fault.map(|fault| (round, at, direction, fault)));
            }
        }
    }
    let each = began.elapsed() / RECONNECTS as u32;
    println!(
        "{RECONNECTS} reconnects, {each:?} each, {} wrong",
        faults.len()
    );
    assert!(faults.is_empty(), "{} wrong: {:?}", faults.len(), faults[0]);

    alice.0.connect_to(&bob.0.node);
    bob.1.advance(OWN_REESTABLISH_WAIT);
    bob.0.clock_moved();
    pay(&alice.0.node, &bob.0.node, 1_000_000);
    assert!(alice.0.storage.alarms().is_empty() && bob.0.storage.alarms().is_empty());
}
