//! What the decorator promises, kept by the relay.

use std::time::Duration;

use bitcoin::consensus::encode::serialize;
use bitcoin::{Transaction, TxIn, TxOut};
use ldk_peer_storage::ldk::RelayStep;
use testkit::DEADLINE;

use crate::bench::*;

#[test]
fn the_blob_that_is_kept_for_a_peer_precedes_all_that_the_node_says() {
    let bench = Bench::new();
    bench.connect(peer(), vec![reestablish(CHANNEL, 5, 4)]);
    bench.hear(blob(7, &[3; 50]));
    bench.relay.peer_disconnected(peer());
    bench.connect(peer(), vec![reestablish(CHANNEL, 5, 4)]);
    bench.hear(blob(7, &[4; 60]));
    bench.hear(reestablish(CHANNEL, 5, 4));
    let steps = [
        deliver(reestablish(CHANNEL, 5, 4)),
        send(blob(9, &[3; 50])),
        send(reestablish(CHANNEL, 5, 4)),
    ];
    assert_eq!(bench.steps(), steps, "as it stood when it connected");
    assert_eq!(bench.steps(), []);
}

#[test]
fn what_the_node_had_kept_is_taken_over_once() {
    let bench = Bench::new();
    let says = || vec![blob(9, &[3; 50]), reestablish(CHANNEL, 5, 4)];
    bench.connect(peer(), says());
    assert_eq!(bench.steps(), [send(blob(9, &[3; 50]))]);
    bench.hear(blob(7, &[4; 60]));
    bench.relay.peer_disconnected(peer());
    bench.connect(peer(), says());
    assert_eq!(bench.steps(), [send(blob(9, &[4; 60]))]);
    // Its own 7 and 9 never leave.
    bench.say(blob(7, &[5; 50]));
    bench.say(blob(9, &[5; 50]));
    assert_eq!(bench.steps(), []);
}

#[test]
fn messages_are_held_until_the_peers_136_is_checked_and_then_come_in_order() {
    let bench = Bench::new();
    bench.connect(peer(), vec![reestablish(CHANNEL, 5, 4)]);
    bench.say(sample(36, CHANNEL));
    bench.say(sample(134, CHANNEL));
    bench.hear(sample(17, CHANNEL));
    assert_eq!(bench.steps(), []);
    bench.hear(reestablish(CHANNEL, 5, 4));
    let steps = [
        deliver(sample(17, CHANNEL)),
        deliver(reestablish(CHANNEL, 5, 4)),
        send(reestablish(CHANNEL, 5, 4)),
        send(sample(36, CHANNEL)),
        send(sample(134, CHANNEL)),
    ];
    assert_eq!(bench.steps(), steps);
}

#[test]
fn two_that_wait_do_not_wait_forever_and_the_waker_says_so() {
    let bench = Bench::new();
    let (woken, waker) = std::sync::mpsc::channel();
    bench.storage.set_waker(move || {
        let _ = woken.send(());
    });
    bench.connect(peer(), vec![reestablish(CHANNEL, 5, 4)]);
    assert_eq!(bench.steps(), []);
    bench.clock.advance(Duration::from_millis(1_999));
    bench.storage.clock_moved();
    assert_eq!(bench.steps(), []);
    bench.clock.advance(Duration::from_millis(1));
    bench.storage.clock_moved();
    loop {
        waker.recv_timeout(DEADLINE).expect("woken");
        let steps = bench.steps();
        if !steps.is_empty() {
            assert_eq!(steps, [send(reestablish(CHANNEL, 5, 4))]);
            return;
        }
    }
}

#[test]
fn a_stale_state_is_held_everywhere() {
    let bench = Bench::new();
    let publish = |input| {
        let tx = Transaction {
            version: bitcoin::transaction::Version::TWO,
            lock_time: bitcoin::absolute::LockTime::ZERO,
            input: vec![TxIn {
                previous_output: input,
                ..TxIn::default()
            }],
            output: vec![TxOut::NULL],
        };
        bench.relay.may_publish(&[serialize(&tx)]).unwrap()
    };
    assert!(publish(funding()));
    bench.connect(stranger(), Vec::new());
    bench.connect(peer(), vec![reestablish(CHANNEL, 5, 4)]);
    bench.say(sample(36, CHANNEL));
    bench.hear(reestablish(CHANNEL, 35, 34));
    assert!(bench.storage.is_holding());
    bench.hear(sample(17, CHANNEL));
    bench.hear(sample(17, lightning::ln::types::ChannelId([0; 32])));
    let other = bench.relay.node_sends(stranger(), sample(32, UNKNOWN));
    other.unwrap();
    bench.clock.advance(Duration::from_secs(60));
    bench.storage.clock_moved();
    bench.storage.flush(Duration::from_millis(100));
    assert_eq!(bench.steps(), [], "nothing leaves, and LDK hears nothing");
    assert!(!publish(funding()), "nor is anything published");
    assert!(publish(bitcoin::OutPoint {
        vout: 9,
        ..funding()
    }));
}

#[test]
fn a_channel_that_the_node_does_not_have_is_not_heard_of() {
    let bench = Bench::new();
    bench.connect(peer(), Vec::new());
    bench.hear(reestablish(UNKNOWN, 5, 4));
    bench.hear(sample(36, UNKNOWN));
    assert_eq!(bench.steps(), []);
}

#[test]
fn a_peer_that_sends_too_much_too_early_is_disconnected() {
    let bench = Bench::new();
    bench.connect(peer(), vec![reestablish(CHANNEL, 5, 4)]);
    for _ in 0..300 {
        bench.hear(sample(36, CHANNEL));
    }
    bench.hear(reestablish(CHANNEL, 5, 4));
    let steps = bench.steps();
    assert_eq!(steps.last(), Some(&RelayStep::Disconnect { peer: peer() }));
    let heard = |step: &RelayStep| matches!(step, RelayStep::Deliver { .. });
    assert!(!steps.iter().any(heard), "nothing after a hole");
}

#[test]
fn the_node_disconnects_after_what_it_has_sent() {
    let bench = Bench::new();
    bench.connect(peer(), vec![reestablish(CHANNEL, 5, 4)]);
    bench.say(sample(17, CHANNEL));
    bench.relay.node_disconnects(peer());
    assert_eq!(bench.steps(), []);
    bench.hear(reestablish(CHANNEL, 5, 4));
    let steps = [
        deliver(reestablish(CHANNEL, 5, 4)),
        send(reestablish(CHANNEL, 5, 4)),
        send(sample(17, CHANNEL)),
        RelayStep::Disconnect { peer: peer() },
    ];
    assert_eq!(bench.steps(), steps);
}

#[test]
fn what_was_meant_for_an_earlier_connection_is_void() {
    let bench = Bench::new();
    let strange = || with_unknown_record(sample(38, CHANNEL), 1);
    bench.connect(peer(), vec![reestablish(CHANNEL, 5, 4)]);
    bench.say(strange());
    bench.hear(strange());
    assert_eq!(bench.steps(), []);
    bench.say(sample(36, CHANNEL));
    bench.hear(sample(36, CHANNEL));
    bench.hear(sample(258, CHANNEL));
    bench.relay.node_disconnects(peer());
    bench.relay.peer_disconnected(peer());
    assert_eq!(bench.steps(), []);
    // Also where nobody said that it has ended.
    for next_local in [6, 7] {
        bench.connect(
            peer(),
            vec![reestablish(CHANNEL, next_local, next_local - 1)],
        );
        bench.hear(sample(38, CHANNEL));
        bench.say(sample(38, CHANNEL));
    }
    bench.hear(reestablish(CHANNEL, 7, 6));
    let steps = [
        deliver(sample(38, CHANNEL)),
        deliver(reestablish(CHANNEL, 7, 6)),
        send(reestablish(CHANNEL, 7, 6)),
        send(sample(38, CHANNEL)),
    ];
    assert_eq!(bench.steps(), steps);
}

#[test]
fn after_the_end_of_peer_storage_messages_still_pass() {
    let bench = Bench::new();
    bench.connect(peer(), vec![reestablish(CHANNEL, 5, 4)]);
    assert!(!bench
        .storage
        .clone()
        .close(Duration::ZERO)
        .status
        .backup
        .peers
        .is_empty());
    bench.hear(reestablish(CHANNEL, 5, 4));
    bench.say(sample(36, CHANNEL));
    let steps = [
        deliver(reestablish(CHANNEL, 5, 4)),
        send(reestablish(CHANNEL, 5, 4)),
        send(sample(36, CHANNEL)),
    ];
    assert_eq!(bench.steps(), steps);
}

#[test]
fn warnings_are_handed_on() {
    let bench = Bench::new();
    bench.connect(peer(), Vec::new());
    let mut warning = sample(17, CHANNEL);
    warning.kind = 1;
    bench.hear(warning.clone());
    bench.say(warning.clone());
    assert_eq!(bench.steps(), [deliver(warning.clone()), send(warning)]);
}
