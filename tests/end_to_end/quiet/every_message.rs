//! A peer says everything that can be said about a channel.

use bitcoin::secp256k1::PublicKey;
use bitcoin::Network;
use ldk_peer_storage::backup::{
    encode, BackupKey, ChannelIds, ChannelKind, ChannelPhase, ChannelRecord, InstallationId,
    Padding, PeerRecord, Revision, Snapshot, Tier, MAX_BLOB,
};
use ldk_peer_storage::exchange::Resolution;
use lightning::ln::types::ChannelId;
use lightning::sign::{KeysManager, NodeSigner};
use testkit::{Chain, NodeConfig, Outgoing, RawPeer, Received, WireTap, DEADLINE};

use crate::support::{assert_quiet, keys, Begin, QuietNode, Wallet, WalletConfig};

/// A channel that the lost device had.
const KNOWN: ChannelId = ChannelId([5; 32]);
/// A channel that no backup names.
const UNKNOWN: ChannelId = ChannelId([6; 32]);
/// The temporary id of a channel that the peer wants to open.
const TEMPORARY: ChannelId = ChannelId([8; 32]);
/// `open_channel`, in both versions.
const OPENINGS: [u16; 2] = [32, 64];

#[test]
fn a_quiet_node_answers_no_message_about_a_channel() {
    let dir = tempfile::tempdir().unwrap();
    let seed = [3; 32];
    let keys = KeysManager::new(&seed, 0, 0, true);
    let quiet = QuietNode::start(seed, dir.path());
    let bob = RawPeer::new("bob");
    assert!(quiet.connect(bob.id(), bob.addr()));
    bob.wait_connected(&quiet.id());

    say_everything(&bob, quiet.id(), &quiet.wire, &[UNKNOWN]);
    bob.send_retrieval(&quiet.id(), &backup(&keys, &quiet.id(), &bob));
    say_everything(&bob, quiet.id(), &quiet.wire, &[KNOWN, UNKNOWN]);
    assert_eq!(quiet.storage.restore_report().channels.len(), 1);
    quiet.storage.finish_restore().unwrap();
    bob.wait_received("the new epoch", 0, |m| m.type_id == 7);
    say_everything(&bob, quiet.id(), &quiet.wire, &[KNOWN, UNKNOWN]);
    // On a new connection the 136 comes after much else.
    bob.disconnect(&quiet.id());
    testkit::wait_until("both to disconnect", DEADLINE, || {
        !quiet.is_connected(&bob.id()) && !bob.is_connected(&quiet.id())
    });
    assert!(quiet.connect(bob.id(), bob.addr()));
    bob.wait_connected(&quiet.id());
    say_everything(&bob, quiet.id(), &quiet.wire, &[UNKNOWN, KNOWN]);

    quiet.storage.flush(DEADLINE);
    assert_quiet(&bob.wire().received_from(&quiet.id()));
    let connections = bob.received().iter().filter(|m| m.type_id == 16).count();
    assert_eq!(connections, 2, "nothing ended a connection");
    assert!(quiet.is_connected(&bob.id()));
    quiet.stop();
}

#[test]
fn an_empty_node_says_nothing_about_a_channel_that_it_does_not_know() {
    let dir = tempfile::tempdir().unwrap();
    let config = NodeConfig::new("phone", dir.path().join("phone"), Chain::new());
    let keys = keys(&config);
    let phone = Wallet::start(WalletConfig::new(config).begin(Begin::AsIs));
    let (id, wire) = (phone.node.id(), phone.node.wire());
    let bob = RawPeer::new("bob");

    bob.connect(&id, phone.node.addr());
    // The peer speaks of a channel, and only later uses the same name for an opening.
    let messages = testkit::raw_peer::channel_messages(UNKNOWN);
    let first = |openings: bool| {
        let fits = |(type_id, _): &&(u16, Vec<u8>)| OPENINGS.contains(type_id) == openings;
        let raw = |(type_id, body): &(u16, Vec<u8>)| Outgoing::Raw {
            to: id,
            type_id: *type_id,
            body: body.clone(),
        };
        bob.send_all(messages.iter().filter(fits).map(raw).collect());
    };
    first(false);
    first(true);
    say_everything(&bob, id, wire, &[UNKNOWN]);
    // A true opening may be answered, under its own name.
    bob.send_every_channel_message(&id, TEMPORARY);
    say_everything(&bob, id, wire, &[UNKNOWN]);
    assert_harmless(&bob, &id);

    bob.send_retrieval(&id, &backup(&keys, &id, &bob));
    say_everything(&bob, id, wire, &[KNOWN, UNKNOWN]);
    assert_harmless(&bob, &id);
    // Even if the person is wrong about the alarm.
    let alarms = phone.storage.alarms();
    assert!(phone.storage.is_holding(), "the backup names a channel");
    for alarm in alarms {
        let wrong = Resolution::ThisDeviceIsCurrent;
        phone.storage.resolve_alarm(alarm.id, wrong).unwrap();
    }
    assert!(!phone.storage.is_holding());
    say_everything(&bob, id, wire, &[KNOWN, UNKNOWN]);
    assert_harmless(&bob, &id);

    let connections = bob.received().iter().filter(|m| m.type_id == 16).count();
    assert_eq!(connections, 1, "nothing ended the connection");
    assert!(bob.pushed_by(&id).is_empty());
    assert_eq!(phone.node.panicked(), None);
}

/// Every kind of message about each of these channels, before and after its 136, and waits until
/// all of it was heard.
fn say_everything(bob: &RawPeer, to: PublicKey, heard: &WireTap, channels: &[ChannelId]) {
    let mark = heard.mark();
    for channel in channels {
        for _ in 0..2 {
            bob.send_every_channel_message(&to, *channel);
            bob.send_all(batch(to, *channel));
        }
        bob.send(Outgoing::error(to, *channel, "sync error"));
        bob.send(Outgoing::warning(to, "mind the gap"));
    }
    let last = Outgoing::Raw {
        to,
        type_id: 40_001,
        body: Vec::new(),
    };
    bob.send(last);
    let direction = testkit::Direction::Received;
    heard.wait_for(mark, &bob.id(), direction, "Unknown(40001)", DEADLINE);
}

/// `start_batch`, and two `commitment_signed`.
fn batch(to: PublicKey, channel: ChannelId) -> Vec<Outgoing> {
    let samples = testkit::raw_peer::channel_messages(channel);
    let (_, signed) = samples.into_iter().find(|(id, _)| *id == 132).unwrap();
    let start = [&channel.0[..], &[0, 2], &[1, 2, 0, 132]].concat();
    let raw = |(type_id, body)| Outgoing::Raw { to, type_id, body };
    [(127, start), (132, signed.clone()), (132, signed)]
        .map(raw)
        .into()
}

/// Nothing left the node that speaks of a channel that it does not know, or of all channels.
#[track_caller]
fn assert_harmless(bob: &RawPeer, phone: &PublicKey) {
    let received = bob.received();
    let speaks_of_unknown = |message: &&Received| {
        let free = [7, 9, 16];
        message.from == *phone
            && !free.contains(&message.type_id)
            && !message.body.starts_with(&TEMPORARY.0)
    };
    let harmful = received.iter().find(speaks_of_unknown);
    assert_eq!(harmful, None);
}

/// What the lost device had left with Bob.
fn backup(keys: &KeysManager, owner: &PublicKey, bob: &RawPeer) -> Vec<u8> {
    let snapshot = Snapshot {
        revision: Revision {
            epoch: 1,
            generation: 9,
        },
        installation: InstallationId([1; 8]),
        peers: vec![PeerRecord {
            node_id: bob.id(),
            addresses: vec![bob.addr().into()],
        }],
        channels: vec![ChannelRecord {
            counterparty: bob.id(),
            ids: ChannelIds {
                channel_id: Some(KNOWN),
                ..ChannelIds::default()
            },
            update_id: 5,
            phase: ChannelPhase::Ready,
            restored: false,
            kind: ChannelKind::Anchors,
            channel_keys_id: None,
            value_sat: Some(1_000_000),
        }],
        spendable_outputs: Vec::new(),
        app_data: Vec::new(),
        monitors: Vec::new(),
    };
    let secret = keys.get_peer_storage_key().inner;
    let key = BackupKey::derive(&secret, Network::Regtest, owner);
    let encoded = encode(&snapshot, Tier::Full, MAX_BLOB).unwrap();
    let padding = Padding::default();
    key.seal(&encoded.plaintext, padding, MAX_BLOB, [7; 24])
        .unwrap()
}
