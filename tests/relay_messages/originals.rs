//! Messages come out byte by byte as they went in.

use ldk_peer_storage::ldk::{RawMessage, RelayStep};
use testkit::raw_peer::channel_messages;

use crate::bench::*;

/// Every message, each with a record that LDK does not know.
fn strange(except: &[u16]) -> Vec<RawMessage> {
    let samples = channel_messages(CHANNEL).into_iter().zip(0..);
    let wanted = samples.filter(|((kind, _), _)| !except.contains(kind));
    wanted
        .map(|((kind, payload), n)| with_unknown_record(RawMessage { kind, payload }, n))
        .collect()
}

/// The same, each with a second one that is the same to LDK.
fn twice(except: &[u16]) -> Vec<RawMessage> {
    let plain = channel_messages(CHANNEL).into_iter();
    let plain = plain.filter(|(kind, _)| !except.contains(kind));
    let twice = plain.flat_map(|(kind, payload)| {
        let message = RawMessage { kind, payload };
        [1, 2].map(|n| with_unknown_record(message.clone(), n))
    });
    twice.collect()
}

fn sorted(mut messages: Vec<RawMessage>) -> Vec<RawMessage> {
    messages.sort_by(|a, b| (a.kind, &a.payload).cmp(&(b.kind, &b.payload)));
    messages
}

/// What is delivered, and what is sent.
fn apart(steps: Vec<RelayStep>) -> (Vec<RawMessage>, Vec<RawMessage>) {
    let (mut delivered, mut sent) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            RelayStep::Deliver { message, .. } => delivered.push(message),
            RelayStep::Send { message, .. } => sent.push(message),
            RelayStep::Disconnect { .. } => panic!("nobody asked for it"),
        }
    }
    (delivered, sent)
}

#[test]
fn every_message_that_passes_at_once_is_as_it_came() {
    let bench = Bench::new();
    bench.connect(peer(), Vec::new());
    // What begins with a 136 is held, and what opens a channel of this name is dropped.
    let messages = strange(&[136, 32, 64]);
    for message in &messages {
        bench.say(message.clone());
    }
    let (_, sent) = apart(bench.steps());
    assert_eq!(sent, messages);
    // The channel is known by now to be new.
    for message in &messages {
        if message.kind != 17 {
            bench.hear(message.clone());
        }
    }
    let (delivered, _) = apart(bench.steps());
    let expected = messages.iter().filter(|m| m.kind != 17);
    assert_eq!(delivered, expected.cloned().collect::<Vec<_>>());
}

#[test]
fn every_message_that_has_waited_is_as_it_came() {
    let bench = Bench::new();
    let ours = with_unknown_record(reestablish(CHANNEL, 5, 4), 1_000);
    bench.connect(peer(), vec![ours.clone()]);
    // A 258 is about no channel, and an opening under the name of a channel is dropped.
    let from_node = twice(&[136, 258]);
    let from_peer = twice(&[136, 258, 32, 64, 17]);
    for message in &from_node {
        bench.say(message.clone());
    }
    for message in &from_peer {
        bench.hear(message.clone());
    }
    assert_eq!(bench.steps(), []);
    let theirs = with_unknown_record(reestablish(CHANNEL, 5, 4), 1_001);
    bench.hear(theirs.clone());
    let (delivered, sent) = apart(bench.steps());
    assert_eq!(delivered, [from_peer, vec![theirs]].concat());
    assert_eq!(sent, [vec![ours], from_node].concat());
}

#[test]
fn of_messages_that_wait_few_bytes_are_kept_as_they_came() {
    let bench = Bench::new();
    bench.connect(peer(), vec![reestablish(CHANNEL, 5, 4)]);
    let mut large = sample(36, CHANNEL);
    let plain = large.clone();
    // 60000 bytes of a record that nobody knows.
    large
        .payload
        .extend([0xfe, 0x7f, 0xff, 0xff, 0xff, 0xfd, 0xea, 0x60]);
    large.payload.extend([9; 60_000]);
    for _ in 0..10 {
        bench.hear(large.clone());
    }
    bench.hear(reestablish(CHANNEL, 5, 4));
    let (delivered, _) = apart(bench.steps());
    let count = |message: &RawMessage| delivered.iter().filter(|m| *m == message).count();
    assert_eq!((count(&large), count(&plain)), (4, 6));
}

#[test]
fn what_is_dropped_is_not_taken_for_what_waits() {
    let bench = Bench::new();
    bench.connect(peer(), vec![reestablish(CHANNEL, 5, 4)]);
    bench.hear(sample(38, CHANNEL));
    // The node does not speak of this channel yet.
    bench.hear(with_unknown_record(sample(36, UNKNOWN), 1));
    bench.say(reestablish(UNKNOWN, 5, 4));
    assert_eq!(bench.steps(), []);
    let waits = with_unknown_record(sample(36, UNKNOWN), 2);
    bench.hear(waits.clone());
    assert_eq!(bench.steps(), []);
    bench.hear(reestablish(UNKNOWN, 5, 4));
    let steps = [
        deliver(waits),
        deliver(reestablish(UNKNOWN, 5, 4)),
        send(reestablish(UNKNOWN, 5, 4)),
    ];
    assert_eq!(bench.steps(), steps);
}

#[test]
fn a_batch_stays_in_one_piece_in_either_direction() {
    for waits in [false, true] {
        let bench = Bench::new();
        let says = match waits {
            true => vec![reestablish(CHANNEL, 5, 4)],
            false => Vec::new(),
        };
        bench.connect(peer(), says);
        let mut start = RawMessage {
            kind: 127,
            payload: [&CHANNEL.0[..], &[0, 3], &[1, 2, 0, 132]].concat(),
        };
        start = with_unknown_record(start, 0);
        let signed = |n| with_unknown_record(sample(132, CHANNEL), n);
        let batch = [start, signed(1), signed(2), signed(3)];
        for message in &batch[..3] {
            bench.say(message.clone());
        }
        assert_eq!(bench.steps(), [], "not before it is whole");
        bench.say(batch[3].clone());
        let mut steps = bench.steps();
        for message in &batch {
            assert_eq!(bench.steps(), []);
            bench.hear(message.clone());
        }
        if waits {
            assert_eq!(steps, []);
            bench.hear(reestablish(CHANNEL, 5, 4));
        }
        steps.extend(bench.steps());
        let (delivered, sent) = apart(steps);
        let channel = |messages: Vec<RawMessage>| -> Vec<RawMessage> {
            messages.into_iter().filter(|m| m.kind != 136).collect()
        };
        assert_eq!(channel(delivered), batch, "{waits}");
        assert_eq!(channel(sent), batch, "{waits}");
    }
}

#[test]
fn a_long_error_that_waits_is_cut() {
    let bench = Bench::new();
    bench.connect(peer(), vec![reestablish(CHANNEL, 5, 4)]);
    let error = |length: u16| {
        let text = vec![b'x'; usize::from(length)];
        let payload = [&CHANNEL.0[..], &length.to_be_bytes(), &text].concat();
        RawMessage { kind: 17, payload }
    };
    bench.hear(error(5_000));
    bench.hear(reestablish(CHANNEL, 5, 4));
    bench.hear(error(5_001));
    let (delivered, _) = apart(bench.steps());
    let expected = vec![error(1024), reestablish(CHANNEL, 5, 4), error(1024)];
    assert_eq!(sorted(delivered), sorted(expected));
    bench.hear(error(5_002));
    assert_eq!(bench.steps(), [deliver(error(5_002))]);
}
