//! A peer may return anything, at any time: it is named, never used, and nothing breaks.

use bitcoin::Network;
use ldk_peer_storage::backup::{encode, BackupKey, Padding, Tier, MAX_BLOB};
use ldk_peer_storage::exchange::{Event, Health};
use lightning::sign::{KeysManager, NodeSigner};
use testkit::{wait_until, RawPeer, DEADLINE};

use super::{node_id, returns, sealed, seed, snapshot, NETWORK};
use crate::support::{backup_key, of_peer, take_events, QuietNode};

#[test]
fn no_returned_blob_is_used_that_this_node_did_not_seal() {
    let dir = tempfile::tempdir().unwrap();
    let peer = RawPeer::new("peer");
    let seed = seed("phone");
    let good = snapshot((7, 7), 1, &[(1, peer.id())]);
    let phone = QuietNode::start(seed, dir.path());
    for (what, blob, newer_version) in bad_blobs(&seed, &sealed(&seed, &good)) {
        returns(&peer, blob);
        assert!(phone.connect(peer.id(), peer.addr()));
        let mut events = Vec::new();
        wait_until(what, DEADLINE, || {
            events.extend(take_events(&phone.storage));
            !events.is_empty()
        });
        assert!(phone.storage.flush(DEADLINE));
        let unreadable = Event::Unreadable {
            peer: peer.id(),
            newer_version,
        };
        assert_eq!(events, [unreadable], "{what}");
        let health = of_peer(&phone.storage, &peer.id()).map(|p| p.health);
        assert_eq!(health, Some(Health::Unreadable), "{what}");
        let report = phone.storage.restore_report();
        assert!(
            report.newest.is_none() && report.channels.is_empty(),
            "{what}"
        );
        assert!(phone.storage.finish_restore().is_err(), "{what}");
        disconnect(&phone, &peer);
    }
    assert!(peer.pushed_by(&phone.id()).is_empty());

    // The good one still counts after all that.
    returns(&peer, sealed(&seed, &good));
    assert!(phone.connect(peer.id(), peer.addr()));
    wait_until("the good one", DEADLINE, || {
        phone.storage.restore_report().newest == Some(good.revision)
    });

    // And to a wallet that knows its past, the bad ones are no news but this: the backup of a newer
    // version is not overwritten, whatever else is.
    phone.storage.finish_restore().unwrap();
    peer.wait_received("a backup", 0, |m| m.type_id == 7);
    for (what, blob, newer_version) in bad_blobs(&seed, &sealed(&seed, &good)) {
        disconnect(&phone, &peer);
        take_events(&phone.storage);
        let mark = peer.received().len();
        returns(&peer, blob);
        assert!(phone.connect(peer.id(), peer.addr()));
        wait_until(what, DEADLINE, || !take_events(&phone.storage).is_empty());
        if newer_version {
            phone.storage.push_now();
            assert!(phone.storage.flush(DEADLINE));
            let pushed = |m: &testkit::Received| m.type_id == 7;
            assert!(!peer.received().iter().skip(mark).any(pushed), "{what}");
        } else {
            peer.wait_received(what, mark, |m| m.type_id == 7);
        }
        assert_eq!(phone.storage.status().backup.channels, 1, "{what}");
    }
    assert_eq!(peer.panicked(), None);
    phone.stop();
}

fn disconnect(phone: &QuietNode, peer: &RawPeer) {
    phone.disconnect(peer.id());
    wait_until("both to be gone", DEADLINE, || {
        !phone.is_connected(&peer.id()) && !peer.is_connected(&phone.id())
    });
}

/// What it is, the blob, and whether a newer version may have made it.
fn bad_blobs(seed: &[u8; 32], good: &[u8]) -> Vec<(&'static str, Vec<u8>, bool)> {
    let filled = |len: usize| {
        let mut blob = vec![0xa5; len];
        blob[0] = 1;
        blob
    };
    let changed = |at: usize, bit: u8| {
        let mut blob = good.to_vec();
        blob[at] ^= 1 << bit;
        blob
    };
    let mut extended = good.to_vec();
    extended.push(0);
    let own = snapshot((9, 9), 1, &[(9, node_id(seed))]);
    let secret = KeysManager::new(seed, 0, 0, true).get_peer_storage_key();
    let resealed = |network: Network, node: &[u8; 32]| {
        let key = BackupKey::derive(&secret.inner, network, &node_id(node));
        let plaintext = encode(&own, Tier::Full, MAX_BLOB).unwrap().plaintext;
        key.seal(&plaintext, Padding::Buckets, MAX_BLOB, [3; 24])
            .unwrap()
    };
    let another = super::seed("another");
    // Type 4 is even and unknown; it stands after all essentials.
    let mut later = encode(&own, Tier::Essential, MAX_BLOB)
        .unwrap()
        .plaintext
        .to_vec();
    later.extend([4, 1, 0]);
    let later = backup_key(seed).seal(&later, Padding::Buckets, MAX_BLOB, [4; 24]);
    vec![
        ("0 bytes", Vec::new(), false),
        ("1 byte", filled(1), false),
        ("1024 bytes", filled(1024), false),
        ("1025 bytes", filled(1025), false),
        ("65531 bytes", filled(65531), false),
        ("cut short", good[..good.len() - 1].to_vec(), false),
        ("extended", extended, false),
        ("a flipped bit in the nonce", changed(5, 3), false),
        ("a flipped bit inside", changed(500, 7), false),
        (
            "a flipped bit at the end",
            changed(good.len() - 1, 0),
            false,
        ),
        ("another key", sealed(&another, &own), false),
        ("another network", resealed(Network::Testnet, seed), false),
        ("another node", resealed(NETWORK, &another), false),
        ("an unknown version", changed(0, 4), true),
        ("an unknown even record", later.unwrap(), true),
    ]
}
