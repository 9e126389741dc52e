//! What a host gets wrong is refused, and changes nothing.

use ldk_peer_storage::ldk::{RawMessage, RelayError};
use lightning::ln::types::ChannelId;
use lightning::types::features::{InitFeatures, NodeFeatures};
use lightning::util::ser::{LengthReadable, Writeable};
use testkit::raw_peer::channel_messages;

use crate::bench::*;

fn both(bench: &Bench, message: RawMessage) -> [Result<(), RelayError>; 2] {
    [
        bench.relay.node_sends(peer(), message.clone()),
        bench.relay.message_received(peer(), message),
    ]
}

#[test]
fn nobody_speaks_without_a_connection() {
    let bench = Bench::new();
    let refused = [Err(RelayError::NotConnected); 2];
    assert_eq!(both(&bench, sample(36, CHANNEL)), refused);
    bench.connect(stranger(), Vec::new());
    assert_eq!(both(&bench, sample(36, CHANNEL)), refused);
    bench.connect(peer(), Vec::new());
    bench.relay.peer_disconnected(peer());
    assert_eq!(both(&bench, sample(36, CHANNEL)), refused);
    bench.relay.node_disconnects(peer());
    bench.relay.peer_disconnected(peer());
    assert_eq!(bench.steps(), []);
}

#[test]
fn a_message_that_is_cut_short_is_refused_and_the_whole_one_is_taken() {
    let bench = Bench::new();
    bench.connect(peer(), Vec::new());
    for (kind, payload) in channel_messages(CHANNEL) {
        let cut = RawMessage {
            kind,
            payload: payload[..31].to_vec(),
        };
        assert_eq!(both(&bench, cut), [Err(RelayError::Unreadable { kind }); 2]);
    }
    for kind in [1, 7, 9, 127] {
        let cut = RawMessage {
            kind,
            payload: vec![1],
        };
        assert_eq!(both(&bench, cut), [Err(RelayError::Unreadable { kind }); 2]);
    }
    let mut long = sample(38, CHANNEL);
    let filler = 65_534 - long.payload.len() - 8;
    long.payload.extend([0xfe, 0x7f, 0xff, 0xff, 0xff, 0xfd]);
    long.payload.extend((filler as u16).to_be_bytes());
    long.payload.extend(vec![0; filler]);
    let refused = [Err(RelayError::Unreadable { kind: 38 }); 2];
    assert_eq!(both(&bench, long.clone()), refused, "too long for the wire");
    // An even record that nobody knows must be understood.
    let mut even = sample(38, CHANNEL);
    even.payload.extend([0xfe, 0x7f, 0xff, 0xff, 0xfe, 0]);
    assert_eq!(both(&bench, even), refused);
    assert_eq!(bench.steps(), []);
    bench.say(sample(38, CHANNEL));
    assert_eq!(bench.steps(), [send(sample(38, CHANNEL))]);
}

#[test]
fn what_is_not_about_channels_does_not_go_through() {
    let bench = Bench::new();
    bench.connect(peer(), Vec::new());
    let batch_of_something_else = RawMessage {
        kind: 127,
        payload: [&CHANNEL.0[..], &[0, 2], &[1, 2, 0, 128]].concat(),
    };
    let kinds = [
        16, 18, 19, 40, 41, 256, 257, 261, 262, 263, 264, 265, 513, 32_768,
    ];
    let others = kinds.map(|kind| RawMessage {
        kind,
        payload: vec![1; 500],
    });
    for message in others.into_iter().chain([batch_of_something_else]) {
        let kind = message.kind;
        let refused = [Err(RelayError::NotForTheRelay { kind }); 2];
        assert_eq!(both(&bench, message), refused);
    }
    assert_eq!(bench.steps(), []);
}

#[test]
fn a_broken_batch_is_refused_and_can_still_be_completed() {
    let bench = Bench::new();
    bench.connect(peer(), Vec::new());
    let start = |size: u8| RawMessage {
        kind: 127,
        payload: [&CHANNEL.0[..], &[0, size], &[1, 2, 0, 132]].concat(),
    };
    let breaks = |kind| [Err(RelayError::BreaksBatch { kind }); 2];
    for size in [0, 1, 21] {
        assert_eq!(both(&bench, start(size)), breaks(127));
    }
    assert_eq!(both(&bench, start(2)), [Ok(()), Ok(())]);
    assert_eq!(both(&bench, start(2)), breaks(127));
    for kind in [36, 38, 128, 136] {
        assert_eq!(both(&bench, sample(kind, CHANNEL)), breaks(kind));
    }
    assert_eq!(both(&bench, blob(7, &[1; 10])), breaks(7));
    assert_eq!(both(&bench, blob(9, &[1; 10])), breaks(9));
    assert_eq!(both(&bench, sample(132, UNKNOWN)), breaks(132));
    // Other peers go on.
    bench.connect(stranger(), Vec::new());
    let other = bench.relay.node_sends(stranger(), sample(36, UNKNOWN));
    other.unwrap();
    assert_eq!(bench.steps().len(), 1);
    for _ in 0..2 {
        assert_eq!(both(&bench, sample(132, CHANNEL)), [Ok(()), Ok(())]);
    }
    let steps = bench.steps();
    let whole = [start(2), sample(132, CHANNEL), sample(132, CHANNEL)];
    assert_eq!(
        steps,
        whole.map(send),
        "and nobody hears of a channel that is unknown"
    );
    // A half batch ends with its connection.
    assert_eq!(both(&bench, start(2)), [Ok(()), Ok(())]);
    bench.relay.peer_disconnected(peer());
    bench.connect(peer(), Vec::new());
    assert_eq!(both(&bench, start(2)), [Ok(()), Ok(())]);
}

#[test]
fn a_connection_that_cannot_be_read_does_not_begin() {
    let bench = Bench::new();
    let connect = |features: &[u8], says| bench.relay.peer_connected(peer(), features, true, says);
    let without_length = &features()[2..];
    let with_more = [features(), vec![0]].concat();
    for bad in [without_length, &with_more, &[], &[0]] {
        assert_eq!(connect(bad, Vec::new()), Err(RelayError::Features));
    }
    let cut = RawMessage {
        kind: 136,
        payload: vec![1; 40],
    };
    let half = RawMessage {
        kind: 127,
        payload: [&CHANNEL.0[..], &[0, 2], &[1, 2, 0, 132]].concat(),
    };
    let says = vec![reestablish(CHANNEL, 5, 4), cut];
    assert_eq!(
        connect(&features(), says),
        Err(RelayError::Unreadable { kind: 136 })
    );
    let says = vec![reestablish(CHANNEL, 5, 4), half];
    assert_eq!(
        connect(&features(), says),
        Err(RelayError::BreaksBatch { kind: 127 })
    );
    let refused = [Err(RelayError::NotConnected); 2];
    assert_eq!(both(&bench, sample(36, CHANNEL)), refused);
    assert_eq!(bench.steps(), []);
    // One that stands stays as it is.
    bench.connect(peer(), vec![reestablish(CHANNEL, 5, 4)]);
    assert_eq!(connect(&[], Vec::new()), Err(RelayError::Features));
    bench.hear(reestablish(CHANNEL, 5, 4));
    let steps = [
        deliver(reestablish(CHANNEL, 5, 4)),
        send(reestablish(CHANNEL, 5, 4)),
    ];
    assert_eq!(bench.steps(), steps);
}

#[test]
fn features_keep_what_the_node_offers() {
    let bench = Bench::new();
    let mut own = InitFeatures::empty();
    own.set_static_remote_key_required();
    own.set_dual_fund_optional();
    let offered = bench.relay.init_features(&own.encode()).unwrap();
    own.set_provide_storage_optional();
    assert_eq!(offered, own.encode());
    assert_eq!(bench.relay.init_features(&offered).unwrap(), offered);
    let node = NodeFeatures::empty().encode();
    let node = bench.relay.node_features(&node).unwrap();
    let node = NodeFeatures::read_from_fixed_length_buffer(&mut &node[..]).unwrap();
    assert!(node.supports_provide_storage());
    assert_eq!(bench.relay.init_features(&[1]), Err(RelayError::Features));
    assert_eq!(
        bench.relay.node_features(&[0, 9]),
        Err(RelayError::Features)
    );
}

#[test]
fn what_is_no_transaction_is_not_judged() {
    let bench = Bench::new();
    assert_eq!(
        bench.relay.may_publish(&[vec![1, 2, 3]]),
        Err(RelayError::Transaction)
    );
    assert_eq!(bench.relay.may_publish(&[]), Ok(true));
}

#[test]
fn nothing_secret_is_printed() {
    let message = blob(7, &[0xab; 40]);
    let step = send(sample(36, ChannelId([0xab; 32])));
    let printed = format!("{message:?} {step:?} {:?}", Bench::new().relay);
    assert_eq!(
        printed,
        "type 7 (42 bytes) Send(type 36 (65 bytes)) MessageRelay { .. }"
    );
}
