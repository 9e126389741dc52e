//! Whatever a plaintext claims about its own lengths and counts, to decode it takes memory in proportion to the
//! bytes that are really there.
//!
//! A program of its own: all memory is counted.
#![allow(clippy::unwrap_used)]

use ldk_peer_storage::backup::{
    decode, encode, BackupKey, ChannelIds, ChannelKind, Padding, Snapshot, Tier, MAX_BLOB,
};

mod backup_samples;
#[path = "support/counting.rs"]
#[allow(dead_code)]
mod counting;
use backup_samples::{channel, empty, key, peer, with_monitors};
use counting::needed;

/// What a claim of any length may cost: the bytes that are there, a few times over, and the 64 KiB that LDK sets
/// aside for a list or a script before it reads it, for two at a time.
fn fair(bytes: usize) -> usize {
    8 * bytes + 2 * 64 * 1024
}

/// A channel takes a dozen bytes in a blob, and so many times more when it is read.
const UNPACKED: usize = 64;

/// One test: the memory of another beside it would be counted too.
#[test]
fn no_length_or_count_that_a_backup_claims_has_memory_allocated_for_it() {
    let good = encode(&with_monitors(), Tier::Full, MAX_BLOB).unwrap();
    let good = good.plaintext.to_vec();
    let claims: [&[u8]; 6] = [
        &[0xff; 9],
        &[0xff, 0, 0, 0, 1, 0, 0, 0, 0],
        &[0xfe, 0xff, 0xff, 0xff, 0xff],
        &[0xfe, 0x7f, 0xff, 0xff, 0xff],
        &[0xfd, 0xff, 0xff],
        &[0xff, 0xff],
    ];
    let mut worst = 0;
    for at in 0..good.len() {
        for claim in claims {
            // In place of what is there, and before it.
            for replaced in [claim.len(), 1, 0] {
                let rest = &good[good.len().min(at + replaced)..];
                let bomb = [&good[..at], claim, rest].concat();
                let (bytes, _) = needed(|| drop(decode(&bomb)));
                assert!(
                    bytes <= fair(bomb.len()),
                    "{claim:02x?} at {at}: {bytes} bytes for {}",
                    bomb.len()
                );
                worst = worst.max(bytes);
            }
        }
    }
    println!(
        "decoding {} bytes with false lengths: {worst} bytes at the most",
        good.len()
    );

    // As large as a message can be, and sealed with the right key: what only the wallet itself could make.
    let full = dense();
    let plaintext = encode(&full, Tier::Essential, MAX_BLOB).unwrap().plaintext;
    let sealed = key()
        .seal(&plaintext, Padding::Buckets, MAX_BLOB, [7; 24])
        .unwrap();
    let (bytes, opened) = needed(|| key().open_snapshot(&sealed));
    let channels = opened.unwrap().snapshot.channels.len();
    println!(
        "opening {} bytes with {channels} channels: {bytes} bytes at the most",
        sealed.len()
    );
    assert!(channels > 3_000 && bytes <= UNPACKED * sealed.len());

    // What anybody can make costs its own size and no more.
    let other = BackupKey::derive(
        &[0x12; 32],
        bitcoin::Network::Bitcoin,
        &channel(1).counterparty,
    );
    let (bytes, opened) = needed(|| other.open_snapshot(&sealed).is_ok());
    println!("refusing {} bytes: {bytes} bytes at the most", sealed.len());
    assert!(!opened && bytes <= 2 * sealed.len());
}

/// As many channels as fit, each as small as can be.
fn dense() -> Snapshot {
    let mut snapshot = empty();
    snapshot.peers = vec![peer(1)];
    snapshot.channels = (1..=8_000_u64)
        .map(|n| {
            let mut record = channel(1);
            record.ids = ChannelIds {
                short_channel_id: Some(n),
                ..ChannelIds::default()
            };
            record.kind = ChannelKind::Anchors;
            record.update_id = 1;
            record
        })
        .collect();
    snapshot
}
