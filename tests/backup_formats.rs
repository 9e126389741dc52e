//! Blobs of every released version must stay readable: they lie with people's peers.
//!
//! `tests/data/backup-v1` holds blobs that were sealed when version 1 was made, and says what is in
//! each. `REGENERATE=1 cargo test --test backup_formats` writes them anew, which after a release is
//! right for added blobs alone.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use bitcoin::hex::DisplayHex;
use ldk_peer_storage::backup::{
    decode, encode, ContentHash, Contents, Padding, Snapshot, Tier, MAX_BLOB, SMALL_BLOB,
};

mod backup_samples;
use backup_samples::{channel, crowded, empty, key, monitor, node_id, peer, rich, with_monitors};

/// A blob, how it was made, and what must come out of it.
struct Sample {
    file: &'static str,
    made_from: Snapshot,
    tier: Tier,
    capacity: usize,
    padding: Padding,
    /// The size of the file in bytes.
    size: usize,
    snapshot: Snapshot,
    /// The first four bytes of the content hash.
    content: &'static str,
    trimmed: bool,
    partial: bool,
}

fn samples() -> Vec<Sample> {
    let complete = |file, made_from: Snapshot, size, content| Sample {
        file,
        snapshot: made_from.clone(),
        made_from,
        tier: Tier::Full,
        capacity: MAX_BLOB,
        padding: Padding::Buckets,
        size,
        content,
        trimmed: false,
        partial: false,
    };
    vec![
        complete("empty", empty(), 1024, "9e757a98"),
        complete("full", rich(), 4096, "5d81837c"),
        complete("large", large(), 16384, "d1a9d51f"),
        Sample {
            capacity: usize::MAX,
            padding: Padding::Full,
            ..complete("store", large(), 6714, "d1a9d51f")
        },
        Sample {
            tier: Tier::Essential,
            capacity: SMALL_BLOB,
            snapshot: essential(),
            ..complete("essential", rich(), 1024, "5d81837c")
        },
        Sample {
            tier: Tier::Essential,
            capacity: SMALL_BLOB,
            snapshot: trimmed(),
            trimmed: true,
            partial: true,
            ..complete("trimmed", crowded(), 1024, "329936e0")
        },
        Sample {
            capacity: 3000,
            padding: Padding::Full,
            snapshot: Snapshot {
                app_data: Vec::new(),
                ..large()
            },
            partial: true,
            ..complete("partial", large(), 3000, "d1a9d51f")
        },
        complete("monitors", with_monitors(), 4096, "2eb459f7"),
    ]
}

#[test]
fn blobs_of_version_1_stay_readable() {
    for sample in samples() {
        let path = path(sample.file);
        if std::env::var_os("REGENERATE").is_some() {
            std::fs::write(&path, seal(&sample)).unwrap();
        }
        let blob = std::fs::read(&path).unwrap();
        assert_eq!(blob.len(), sample.size, "{}", sample.file);
        assert_eq!(blob[0], 1);
        let Contents {
            snapshot,
            tier,
            content: ContentHash(content),
            trimmed,
            partial,
        } = key().open_snapshot(&blob).unwrap();
        assert!(snapshot == sample.snapshot, "{}", sample.file);
        assert_eq!(tier, sample.tier);
        assert_eq!(content[..4].to_lower_hex_string(), sample.content);
        assert_eq!(trimmed, sample.trimmed, "{}", sample.file);
        assert_eq!(partial, sample.partial, "{}", sample.file);
    }
}

/// The layout that the modules describe, written down by hand.
#[test]
fn a_stream_of_version_1_byte_by_byte() {
    let node_id = node_id(2).serialize();
    let sign = node_id[0] - 2;
    let other = backup_samples::node_id(7).serialize();
    let other_sign = other[0] - 2;
    let stream = [
        // 0: epoch 3, generation 1000000, installation, full tier, content hash.
        [0_u8, 31, 3, 0xfe, 0, 0x0f, 0x42, 0x40].as_slice(),
        &[0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 1],
        &[0xcc; 16],
        // 2: a peer with an IPv4 address and one channel, then one that is no listed peer.
        &[2, 87, 1],
        &[sign | 1 << 1 | 1 << 4],
        &node_id[1..],
        &[203, 0, 113, 2, 0x26, 0x07],
        &[1 | 1 << 3 | 1 << 5, 102],
        &[0x0c, 0x35, 0, 0, 0, 2, 0, 1],
        &[other_sign | 7 << 1 | 1 << 4],
        &other[1..],
        &[2 | 1 << 2 | 2 << 3, 0xfd, 0x01, 0x00],
        // 5: the first has a value of 200000 sat, the second nothing more.
        &[5, 7, 4, 0xfe, 0, 3, 0x0d, 0x40, 0],
        // 9: app data.
        &[9, 3, b'a', b'p', b'p'],
        // 11: the monitor of the second channel, of three bytes, with HTLCs pending.
        &[11, 40],
        &[7; 32],
        &[1, 0xfd, 0x01, 0x00, 3, 7, 7, 7],
    ]
    .concat();

    let mut expected = empty();
    expected.peers = vec![peer(2)];
    expected.channels = vec![channel(2), channel(7)];
    for channel in &mut expected.channels {
        channel.ids.funding_outpoint = None;
        channel.ids.channel_id = None;
    }
    let second = &mut expected.channels[1];
    second.ids.short_channel_id = None;
    second.update_id = 256;
    second.phase = ldk_peer_storage::backup::ChannelPhase::Closing;
    second.restored = true;
    second.kind = ldk_peer_storage::backup::ChannelKind::Other;
    second.value_sat = None;
    expected.app_data = b"app".to_vec();
    expected.monitors = vec![monitor(7, 3)];
    expected.monitors[0].update_id = 256;
    expected.monitors[0].pending_htlcs = true;

    let contents = decode(&stream).unwrap();
    assert!(contents.snapshot == expected);
    assert_eq!(contents.content, ContentHash([0xcc; 16]));
    assert_eq!(contents.tier, Tier::Full);

    // It is also what is written, but for the hash.
    let mut written = encode(&expected, Tier::Full, MAX_BLOB).unwrap().plaintext;
    written[17..33].fill(0xcc);
    assert_eq!(written.to_lower_hex_string(), stream.to_lower_hex_string());
}

fn large() -> Snapshot {
    Snapshot {
        app_data: (0..5000).map(|i| i as u8).collect(),
        ..rich()
    }
}

/// What the essential tier keeps of the rich sample, ordered by peer.
fn essential() -> Snapshot {
    let mut snapshot = rich();
    snapshot.spendable_outputs.clear();
    snapshot.app_data.clear();
    for peer in &mut snapshot.peers {
        peer.addresses.truncate(1);
    }
    let channels = &mut snapshot.channels;
    for channel in channels.iter_mut() {
        channel.value_sat = None;
        if channel.ids.short_channel_id.is_some() {
            channel.ids.funding_outpoint = None;
        }
        if channel.ids.short_channel_id.is_some() || channel.ids.funding_outpoint.is_some() {
            channel.ids.channel_id = None;
        }
    }
    *channels = [1, 4, 0, 2, 3].map(|i| channels[i].clone()).to_vec();
    snapshot
}

/// The smallest of the twenty channels does not fit, nor its peer.
fn trimmed() -> Snapshot {
    let mut snapshot = crowded();
    snapshot.peers.remove(0);
    snapshot.channels.remove(0);
    for channel in &mut snapshot.channels {
        channel.value_sat = None;
        channel.ids.funding_outpoint = None;
        channel.ids.channel_id = None;
    }
    snapshot
}

fn seal(sample: &Sample) -> Vec<u8> {
    let encoded = encode(&sample.made_from, sample.tier, sample.capacity).unwrap();
    // A fixed nonce serves test vectors alone.
    key()
        .seal(
            &encoded.plaintext,
            sample.padding,
            sample.capacity,
            [0x33; 24],
        )
        .unwrap()
}

fn path(file: &str) -> PathBuf {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/backup-v1");
    PathBuf::from(data).join(format!("{file}.blob"))
}
