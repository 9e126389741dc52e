//! Any plaintext and any blob are refused or read, and what was read can be written again.

#![no_main]

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use bitcoin::Network;
use ldk_peer_storage::backup::{decode, encode, BackupKey, Padding, Tier, MAX_BLOB};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static KEY: LazyLock<BackupKey> = LazyLock::new(|| {
    let secret = SecretKey::from_slice(&[1; 32]).unwrap();
    let node_id = PublicKey::from_secret_key(&Secp256k1::new(), &secret);
    BackupKey::derive(&[2; 32], Network::Regtest, &node_id)
});

fuzz_target!(|data: &[u8]| {
    let _ = KEY.open_snapshot(data);

    let Ok(contents) = decode(data) else {
        return;
    };
    let all = encode(&contents.snapshot, Tier::Full, usize::MAX).unwrap();
    assert!(all.omitted.is_empty() && all.dropped.is_empty());
    let again = decode(&all.plaintext).unwrap();
    assert!(again.snapshot == contents.snapshot);
    assert_eq!(again.content, contents.snapshot.content_hash());

    for tier in [Tier::Essential, Tier::Full] {
        let Ok(some) = encode(&contents.snapshot, tier, MAX_BLOB) else {
            continue;
        };
        let blob = KEY
            .seal(&some.plaintext, Padding::Buckets, MAX_BLOB, [0; 24])
            .unwrap();
        let opened = KEY.open_snapshot(&blob).unwrap();
        assert_eq!(opened.trimmed, !some.omitted.is_empty());
        assert_eq!(opened.partial, !some.dropped.is_empty());
        for monitor in &opened.snapshot.monitors {
            assert_eq!(tier, Tier::Full);
            assert!(contents.snapshot.monitors.contains(monitor));
        }
    }
});
