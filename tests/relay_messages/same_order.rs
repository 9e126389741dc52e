//! Whatever is said in whatever order: the relay does what the decorator does.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::PublicKey;
use ldk_peer_storage::ldk::{MessageRelay, PeerStorageHandler, RawMessage, RelayStep};
use ldk_peer_storage::service::PeerStorage as Storage;
use lightning::ln::msgs::*;
use lightning::ln::types::ChannelId;
use lightning::types::features::{InitFeatures, NodeFeatures};
use lightning::util::ser::LengthReadable;
use proptest::prelude::*;

use crate::bench::{self, blob, key, reestablish, sample, with_unknown_record, CHANNEL, UNKNOWN};
use crate::support::{
    batch_messages, deliver, event, for_each_message, no_updates, on_the_wire, raw, read,
    ManualClock, Want,
};

/// The node: it says what it is told to say, and notes what it hears.
#[derive(Default)]
struct Recorder {
    says: Mutex<Vec<MessageSendEvent>>,
    says_on_connect: Mutex<Vec<MessageSendEvent>>,
    heard: Mutex<Vec<RelayStep>>,
}

impl Recorder {
    fn hear(&self, peer: PublicKey, messages: Vec<RawMessage>) {
        let steps = messages.into_iter();
        let steps = steps.map(|message| RelayStep::Deliver { peer, message });
        self.heard.lock().unwrap().extend(steps);
    }
}

impl BaseMessageHandler for Recorder {
    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        std::mem::take(&mut self.says.lock().unwrap())
    }
    fn peer_disconnected(&self, _: PublicKey) {}
    fn provided_node_features(&self) -> NodeFeatures {
        NodeFeatures::empty()
    }
    fn provided_init_features(&self, _: PublicKey) -> InitFeatures {
        InitFeatures::empty()
    }
    fn peer_connected(&self, _: PublicKey, _: &Init, _: bool) -> Result<(), ()> {
        let first = std::mem::take(&mut *self.says_on_connect.lock().unwrap());
        self.says.lock().unwrap().extend(first);
        Ok(())
    }
}

macro_rules! record {
    ($([$how:ident $kind:literal $name:ident $method:ident])*) => {
        impl ChannelMessageHandler for Recorder {
            $(record_one!($how $kind $name $method);)*
            fn handle_commitment_signed_batch(
                &self, peer: PublicKey, channel_id: ChannelId, batch: Vec<CommitmentSigned>,
            ) {
                self.hear(peer, batch_messages(channel_id, &batch));
            }
            fn get_chain_hashes(&self) -> Option<Vec<ChainHash>> {
                None
            }
            fn message_received(&self) {}
        }
    };
}

macro_rules! record_one {
    (by_ref $kind:literal $name:ident $method:ident) => {
        fn $method(&self, peer: PublicKey, message: &$name) {
            self.hear(peer, vec![raw($kind, message)]);
        }
    };
    (by_value $kind:literal $name:ident $method:ident) => {
        fn $method(&self, peer: PublicKey, message: $name) {
            self.hear(peer, vec![raw($kind, &message)]);
        }
    };
}

for_each_message!(record);

/// What happens.
#[derive(Clone, Debug)]
enum Op {
    /// It connects, or disconnects if it is connected: the node says these first.
    Toggle {
        peer: u8,
        inbound: bool,
        says: Vec<Said>,
    },
    Node(u8, Said),
    Peer(u8, Said),
    NodeDisconnects(u8),
    Wait(u16),
}

/// One message, or one batch.
#[derive(Clone, Debug)]
enum Said {
    Sample(u16, ChannelId),
    Reestablish(ChannelId, u64, u64),
    Batch(ChannelId, u8),
    Blob(u16, u8),
}

impl Said {
    fn messages(&self, number: &mut u32) -> Vec<RawMessage> {
        *number += 1;
        let strange = |message| with_unknown_record(message, *number);
        match *self {
            Said::Sample(kind, channel) => vec![strange(sample(kind, channel))],
            Said::Reestablish(channel, next_local, next_remote) => {
                vec![strange(reestablish(channel, next_local, next_remote))]
            }
            Said::Batch(channel, size) => {
                let payload = [&channel.0[..], &[0, size], &[1, 2, 0, 132]].concat();
                let start = strange(RawMessage { kind: 127, payload });
                let signed = (0..size).map(|_| strange(sample(132, channel)));
                std::iter::once(start).chain(signed).collect()
            }
            Said::Blob(kind, byte) => vec![blob(kind, &[byte; 40])],
        }
    }
}

/// Both, with the same wallet.
struct Pair {
    storages: [Storage; 2],
    clocks: [Arc<ManualClock>; 2],
    _dirs: [tempfile::TempDir; 2],
    recorder: Arc<Recorder>,
    decorator: PeerStorageHandler<Arc<Recorder>>,
    relay: MessageRelay,
    connected: BTreeSet<PublicKey>,
    number: u32,
    /// All that went into the relay.
    originals: BTreeSet<(u16, Vec<u8>)>,
}

impl Pair {
    fn new() -> Pair {
        let (a, clock_a, dir_a) = bench::storage();
        let (b, clock_b, dir_b) = bench::storage();
        let recorder = Arc::<Recorder>::default();
        Pair {
            decorator: a.message_handler(recorder.clone()),
            relay: b.message_relay(),
            storages: [a, b],
            clocks: [clock_a, clock_b],
            _dirs: [dir_a, dir_b],
            recorder,
            connected: BTreeSet::new(),
            number: 0,
            originals: BTreeSet::new(),
        }
    }

    fn messages(&mut self, said: &Said) -> Vec<RawMessage> {
        let messages = said.messages(&mut self.number);
        let noted = messages.iter().map(|m| (m.kind, m.payload.clone()));
        self.originals.extend(noted);
        messages
    }

    fn perform(&mut self, op: &Op) {
        match op {
            Op::Toggle {
                peer,
                inbound,
                says,
            } => {
                let peer = key(*peer);
                if self.connected.remove(&peer) {
                    self.decorator.peer_disconnected(peer);
                    self.relay.peer_disconnected(peer);
                } else {
                    let says: Vec<_> = says.iter().map(|said| self.messages(said)).collect();
                    let events = says.iter().map(|said| wish(peer, said));
                    self.recorder.says_on_connect.lock().unwrap().extend(events);
                    let features = bench::features();
                    let init = Init {
                        features: LengthReadable::read_from_fixed_length_buffer(&mut &features[..])
                            .unwrap(),
                        networks: None,
                        remote_network_address: None,
                    };
                    self.decorator
                        .peer_connected(peer, &init, *inbound)
                        .unwrap();
                    self.relay
                        .peer_connected(peer, &features, *inbound, says.concat())
                        .unwrap();
                    self.connected.insert(peer);
                }
            }
            Op::Node(peer, said) if self.connected.contains(&key(*peer)) => {
                let peer = key(*peer);
                let messages = self.messages(said);
                let event = wish(peer, &messages);
                self.recorder.says.lock().unwrap().push(event);
                for message in messages {
                    self.relay.node_sends(peer, message).unwrap();
                }
            }
            Op::Peer(peer, said) if self.connected.contains(&key(*peer)) => {
                let peer = key(*peer);
                let messages = self.messages(said);
                match &messages[..] {
                    [message] => deliver(&self.decorator, peer, message),
                    [start, signed @ ..] => {
                        let channel = read::<StartBatch>(start).channel_id;
                        let signed = signed.iter().map(read).collect();
                        self.decorator
                            .handle_commitment_signed_batch(peer, channel, signed);
                    }
                    [] => {}
                }
                for message in messages {
                    self.relay.message_received(peer, message).unwrap();
                }
            }
            Op::NodeDisconnects(peer) if self.connected.contains(&key(*peer)) => {
                let node_id = key(*peer);
                let action = ErrorAction::DisconnectPeer { msg: None };
                let event = MessageSendEvent::HandleError { node_id, action };
                self.recorder.says.lock().unwrap().push(event);
                self.relay.node_disconnects(node_id);
            }
            Op::Wait(ms) => {
                for (storage, clock) in self.storages.iter().zip(&self.clocks) {
                    clock.advance(Duration::from_millis((*ms).into()));
                    storage.clock_moved();
                }
            }
            Op::Node(..) | Op::Peer(..) | Op::NodeDisconnects(_) => {}
        }
    }

    fn by_decorator(&self) -> Vec<RelayStep> {
        settled(&self.storages[0], || {
            let events = self.decorator.get_and_clear_pending_msg_events();
            let mut steps = std::mem::take(&mut *self.recorder.heard.lock().unwrap());
            for event in &events {
                let (peer, wants) = on_the_wire(event).expect("an event with an addressee");
                steps.extend(wants.into_iter().map(|want| match want {
                    Want::Send(message) => RelayStep::Send { peer, message },
                    Want::Disconnect => RelayStep::Disconnect { peer },
                }));
            }
            steps
        })
    }

    fn by_relay(&self) -> Vec<RelayStep> {
        settled(&self.storages[1], || self.relay.take_steps())
    }

    /// Every message is one that went in, byte by byte, and what came out does not come out again.
    fn check_originals(&mut self, steps: &[RelayStep]) {
        for step in steps {
            let (RelayStep::Send { message, .. } | RelayStep::Deliver { message, .. }) = step
            else {
                continue;
            };
            // An `error` may have been written anew, and blobs are no originals.
            if matches!(message.kind, 9 | 17) {
                continue;
            }
            let bytes = (message.kind, message.payload.clone());
            // The messages of a batch have one number.
            let known = match message.kind {
                127 | 132 => self.originals.contains(&bytes),
                _ => self.originals.remove(&bytes),
            };
            assert!(known, "{message:?} did not go in like this");
        }
    }
}

/// All that comes until nothing is on its way any more, without what we push of our own.
fn settled(storage: &Storage, take: impl Fn() -> Vec<RelayStep>) -> Vec<RelayStep> {
    let mut steps = take();
    while !storage.flush(Duration::from_millis(20)) {
        steps.extend(take());
    }
    steps.extend(take());
    let own = |step: &RelayStep| matches!(step, RelayStep::Send { message, .. } if matches!(message.kind, 1 | 7));
    steps.retain(|step| !own(step));
    steps
}

/// What a node's handler says for these messages.
fn wish(node_id: PublicKey, messages: &[RawMessage]) -> MessageSendEvent {
    match messages {
        [one] => event(node_id, one),
        [start, signed @ ..] => {
            let mut updates = no_updates();
            updates.commitment_signed = signed.iter().map(read).collect();
            MessageSendEvent::UpdateHTLCs {
                node_id,
                channel_id: read::<StartBatch>(start).channel_id,
                updates,
            }
        }
        [] => panic!("nothing to say"),
    }
}

/// As LDK writes it.
fn as_ldk_writes(steps: Vec<RelayStep>) -> Vec<RelayStep> {
    let plain = |message: RawMessage| match message.kind {
        127 => raw(127, &read::<StartBatch>(&message)),
        _ => match on_the_wire(&event(key(1), &message)) {
            Some((_, wants)) => match wants.into_iter().next() {
                Some(Want::Send(plain)) => plain,
                _ => panic!("a message"),
            },
            None => panic!("a message"),
        },
    };
    let steps = steps.into_iter().map(|step| match step {
        RelayStep::Send { peer, message } => RelayStep::Send {
            peer,
            message: plain(message),
        },
        RelayStep::Deliver { peer, message } => RelayStep::Deliver {
            peer,
            message: plain(message),
        },
        other => other,
    });
    steps.collect()
}

fn channels() -> impl Strategy<Value = ChannelId> {
    prop_oneof![
        4 => Just(CHANNEL),
        2 => Just(UNKNOWN),
        1 => Just(ChannelId([3; 32])),
        1 => Just(ChannelId([0; 32])),
    ]
}

fn said() -> impl Strategy<Value = Said> {
    let kinds = prop::sample::select(vec![
        2, 17, 17, 32, 33, 34, 35, 36, 38, 39, 64, 65, 66, 70, 71, 77, 80, 128, 130, 131, 132, 133,
        134, 135, 258, 259,
    ]);
    let numbers = prop::sample::select(vec![(5, 4), (5, 4), (5, 4), (6, 4), (5, 3), (35, 34)]);
    prop_oneof![
        8 => (kinds, channels()).prop_map(|(kind, channel)| Said::Sample(kind, channel)),
        4 => (channels(), numbers).prop_map(|(id, (a, b))| Said::Reestablish(id, a, b)),
        1 => (channels(), 2u8..4).prop_map(|(channel, size)| Said::Batch(channel, size)),
        1 => (prop::sample::select(vec![7, 9]), any::<u8>())
            .prop_map(|(kind, byte)| Said::Blob(kind, byte)),
    ]
}

fn ops() -> impl Strategy<Value = Op> {
    let peer = || prop_oneof![3 => Just(1u8), 1 => Just(2u8)];
    let own = prop_oneof![
        4 => Just(vec![Said::Reestablish(CHANNEL, 5, 4)]),
        1 => Just(vec![Said::Blob(9, 3), Said::Reestablish(CHANNEL, 5, 4)]),
        1 => prop::collection::vec(said(), 0..3),
    ];
    prop_oneof![
        3 => (peer(), any::<bool>(), own)
            .prop_map(|(peer, inbound, says)| Op::Toggle { peer, inbound, says }),
        6 => (peer(), said()).prop_map(|(peer, said)| Op::Node(peer, said)),
        8 => (peer(), said()).prop_map(|(peer, said)| Op::Peer(peer, said)),
        1 => peer().prop_map(Op::NodeDisconnects),
        2 => (1u16..2_500).prop_map(Op::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_relay_delivers_and_sends_what_the_decorator_does_in_its_order(
        ops in prop::collection::vec(ops(), 1..60),
    ) {
        let mut pair = Pair::new();
        for op in &ops {
            pair.perform(op);
            let (by_decorator, by_relay) = (pair.by_decorator(), pair.by_relay());
            pair.check_originals(&by_relay);
            prop_assert_eq!(by_decorator, as_ldk_writes(by_relay), "after {:?}", op);
        }
        let holding = pair.storages.each_ref().map(|storage| storage.is_holding());
        prop_assert_eq!(holding[0], holding[1]);
    }
}
