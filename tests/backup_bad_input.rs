//! What does not open is told apart, and nothing panics.

#![allow(clippy::unwrap_used)]

use bitcoin::constants::ChainHash;
use bitcoin::Network;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use hkdf::Hkdf;
use ldk_peer_storage::backup::{
    decode, encode, BackupKey, FormatError, OpenError, Padding, SealError, Tier, MAX_BLOB,
    OVERHEAD, SMALL_BLOB,
};
use sha2::{Digest, Sha256};

mod backup_samples;
use backup_samples::{key, node_id, rich};

const LABEL: &[u8] = b"ldk-peer-storage blob";

#[test]
fn anything_may_come_back() {
    for length in [0, 1, 40] {
        assert_eq!(open(&vec![0; length]), OpenError::TooShort);
        assert_eq!(open(&random(length)), OpenError::TooShort);
    }
    for length in [41, 44, 45, 1024, 1025, 65531] {
        assert_eq!(open(&vec![0; length]), OpenError::UnknownVersion(0));
        let mut random = random(length);
        random[0] = 0xfe;
        assert_eq!(open(&random), OpenError::UnknownVersion(0xfe));
        random[0] = 1;
        assert_eq!(open(&random), OpenError::Unreadable);
    }
}

#[test]
fn a_changed_blob_does_not_open() {
    let blob = blob();
    for length in 0..blob.len() {
        let expected = if length < 41 {
            OpenError::TooShort
        } else {
            OpenError::Unreadable
        };
        assert_eq!(open(&blob[..length]), expected);
    }
    for extra in [1, 16, 1024] {
        let mut extended = blob.clone();
        extended.resize(blob.len() + extra, 0);
        assert_eq!(open(&extended), OpenError::Unreadable);
    }
    for bit in 0..8 * blob.len() {
        let mut flipped = blob.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let expected = if bit < 8 {
            OpenError::UnknownVersion(flipped[0])
        } else {
            OpenError::Unreadable
        };
        assert_eq!(open(&flipped), expected);
    }
}

#[test]
fn only_the_same_seed_network_and_node_open_it() {
    let blob = blob();
    assert!(key().open_snapshot(&blob).is_ok());
    let others = [
        BackupKey::derive(&[0x12; 32], Network::Bitcoin, &node_id(1)),
        BackupKey::derive(&[0x11; 32], Network::Regtest, &node_id(1)),
        BackupKey::derive(&[0x11; 32], Network::Testnet4, &node_id(1)),
        BackupKey::derive(&[0x11; 32], Network::Bitcoin, &node_id(2)),
    ];
    for other in others {
        assert_eq!(other.open(&blob).err(), Some(OpenError::Unreadable));
    }
}

/// The key alone already depends on network and node: here each binding is tried on its own.
#[test]
fn key_and_associated_data_each_bind_network_node_and_version() {
    let (chain, node) = (ChainHash::BITCOIN, node_id(1).serialize());
    let sealing_key = hkdf(&[LABEL, chain.as_bytes(), &node].concat());
    let aad = [LABEL, &[1], chain.as_bytes(), &node].concat();
    let inside = inside(&plaintext());
    assert!(key()
        .open_snapshot(&seal_by_hand(&sealing_key, &aad, &inside))
        .is_ok());

    let other_chain = ChainHash::REGTEST;
    let other_node = node_id(2).serialize();
    let other_aads = [
        Vec::new(),
        [b"another label", &[1_u8] as &[u8], chain.as_bytes(), &node].concat(),
        [LABEL, &[2], chain.as_bytes(), &node].concat(),
        [LABEL, &[1], other_chain.as_bytes(), &node].concat(),
        [LABEL, &[1], chain.as_bytes(), &other_node].concat(),
    ];
    for aad in other_aads {
        let blob = seal_by_hand(&sealing_key, &aad, &inside);
        assert_eq!(open(&blob), OpenError::Unreadable);
    }
    let other_keys = [
        [0x11; 32],
        hkdf(&[b"another label", chain.as_bytes() as &[u8], &node].concat()),
        hkdf(&[LABEL, other_chain.as_bytes(), &node].concat()),
        hkdf(&[LABEL, chain.as_bytes(), &other_node].concat()),
    ];
    for other in other_keys {
        assert_eq!(
            open(&seal_by_hand(&other, &aad, &inside)),
            OpenError::Unreadable
        );
    }
}

#[test]
fn a_false_length_inside_is_malformed() {
    let (chain, node) = (ChainHash::BITCOIN, node_id(1).serialize());
    let sealing_key = hkdf(&[LABEL, chain.as_bytes(), &node].concat());
    let aad = [LABEL, &[1], chain.as_bytes(), &node].concat();
    let opened = |inside: &[u8]| open(&seal_by_hand(&sealing_key, &aad, inside));
    for inside in [
        &[] as &[u8],
        &[0],
        &[0, 0, 0],
        &[0, 0, 0, 1],
        &[0xff; 4],
        &[0xff; 100],
    ] {
        assert_eq!(opened(inside), OpenError::Malformed);
    }
    // Nothing at all has no header.
    assert_eq!(opened(&[0, 0, 0, 0]), OpenError::Malformed);
}

#[test]
fn an_unknown_even_record_is_newer_and_an_unknown_odd_one_passed_over() {
    for even in [&[4_u8, 0] as &[u8], &[250, 0], &[0xfd, 0x01, 0x00, 1, 7]] {
        // After record 2 and so before any other.
        let with_record = [plaintext(), even.to_vec()].concat();
        assert_eq!(decode(&with_record).err(), Some(FormatError::NewerFormat));
        assert_eq!(open(&seal(&with_record)), OpenError::NewerFormat);
    }
    for odd in [
        &[21_u8, 0] as &[u8],
        &[23, 2, 9, 9],
        &[0xfd, 0x01, 0x01, 1, 7],
    ] {
        let with_record = [plaintext(), odd.to_vec()].concat();
        let contents = key().open_snapshot(&seal(&with_record)).unwrap();
        assert!(contents == decode(&plaintext()).unwrap());
    }
}

#[test]
fn values_left_to_later_versions_are_newer() {
    let plaintext = plaintext();
    // Record 0 is 33 bytes long, of which the flags are byte 14 of 31; record 2 has a length of
    // two bytes after 0xfd, then the packing, the head, the node id, the address and the flags of
    // the first channel.
    let newer = |place: usize, byte: u8| {
        let mut changed = plaintext.clone();
        changed[place] = byte;
        decode(&changed).err()
    };
    let essentials = 33;
    assert_eq!(plaintext[essentials], 2);
    assert_eq!(plaintext[essentials + 1], 0xfd);
    let packing = essentials + 4;
    assert_eq!(plaintext[packing], 1);
    assert_eq!(newer(16, plaintext[16] | 8), Some(FormatError::NewerFormat));
    assert_eq!(newer(packing, 2), Some(FormatError::NewerFormat));
    let head = packing + 1;
    let kind_6 = (plaintext[head] & !0xe) | (6 << 1);
    assert_eq!(newer(head, kind_6), Some(FormatError::NewerFormat));
    let flags = head + 33 + 6;
    assert_eq!(
        newer(flags, plaintext[flags] | 3),
        Some(FormatError::NewerFormat)
    );
    let kind_3 = plaintext[flags] | (3 << 3);
    assert_eq!(newer(flags, kind_3), Some(FormatError::NewerFormat));
}

#[test]
fn a_descriptor_of_a_later_ldk_is_newer() {
    // Record 3 with one descriptor of one byte, which names variant 9.
    let with_record = [plaintext(), vec![3, 2, 1, 9]].concat();
    assert_eq!(decode(&with_record).err(), Some(FormatError::NewerFormat));
}

#[test]
fn broken_streams_are_malformed() {
    let plaintext = plaintext();
    for length in 0..plaintext.len() {
        let cut = &plaintext[..length];
        assert_eq!(decode(cut).err(), Some(FormatError::Malformed), "{length}");
    }
    let garbage: &[&[u8]] = &[
        &[0],
        &[2, 0],           // twice
        &[21],             // no length
        &[21, 5, 0],       // too short
        &[21, 0xfd, 0, 1], // a length that is not the shortest
        &[23, 0, 21, 0],   // out of order
        &[0xfd],           // half a type
        &[21, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[11, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[3, 2, 0xfc, 0],          // a descriptor longer than its record
        &[3, 1, 0],                // an empty descriptor
        &[5, 1, 0],                // details of too few channels
        &[7, 1, 0],                // addresses of too few peers
        &[7, 6, 0, 0, 0, 0, 0, 0], // and of too many
        &[7, 9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ];
    for garbage in garbage {
        let with_garbage = [&plaintext, *garbage].concat();
        let error = decode(&with_garbage).err();
        assert_eq!(error, Some(FormatError::Malformed), "{garbage:?}");
        assert_eq!(open(&seal(&with_garbage)), OpenError::Malformed);
    }
}

#[test]
fn records_of_monitors_are_taken_as_they_are_or_refused() {
    let with = |record: &[u8]| {
        let stream = [&plaintext(), &[11, record.len() as u8][..], record].concat();
        decode(&stream).map(|contents| contents.snapshot.monitors)
    };
    let entry = |channel: u8, rest: &[u8]| [&[channel; 32], rest].concat();
    assert!(with(&[]).unwrap().is_empty());
    // Nobody looks into a monitor, nor for its channel, nor compares the number with what is inside.
    let junk = entry(0x99, &[1, 0xfd, 0x01, 0x00, 3, 0xde, 0xad, 0xbe]);
    let read = with(&junk).unwrap();
    assert_eq!(read.len(), 1);
    assert_eq!((read[0].channel.0, read[0].update_id), ([0x99; 32], 256));
    assert!(read[0].pending_htlcs && **read[0].bytes == [0xde, 0xad, 0xbe]);
    let empty = with(&entry(1, &[0, 0, 0])).unwrap();
    assert!(empty[0].bytes.is_empty());

    let malformed: &[&[u8]] = &[
        &[],                 // no flags
        &[0],                // no update id
        &[0, 5],             // no length
        &[0, 5, 2, 1],       // longer than the record
        &[0, 5, 1, 1, 1],    // something after it
        &[0, 0xfd, 0, 1, 0], // a number that is not the shortest
        &[0, 5, 0xfe, 0xff, 0xff, 0xff, 0xff],
        &[0, 5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ];
    for rest in malformed {
        let error = with(&entry(1, rest)).err();
        assert_eq!(error, Some(FormatError::Malformed), "{rest:?}");
    }
    let twice = [entry(1, &[0, 5, 1, 1]), entry(1, &[0, 6, 1, 1])].concat();
    assert_eq!(with(&twice).err(), Some(FormatError::Malformed));
    let later = with(&entry(1, &[2, 5, 1, 1])).err();
    assert_eq!(later, Some(FormatError::NewerFormat));
}

#[test]
fn details_that_contradict_the_essentials_are_malformed() {
    let details = |entries: [&[u8]; 5]| {
        let record = entries.concat();
        let with_record = [plaintext(), vec![5, record.len() as u8], record].concat();
        decode(&with_record).err()
    };
    let place = |place: u8| vec![8, place];
    let (none, value) = (&[0_u8] as &[u8], &[4_u8, 7] as &[u8]);
    assert_eq!(details([none, none, value, none, none]), None);
    assert_eq!(details([&place(1), &place(0), none, none, none]), None);
    // Two channels in one place, one beyond the end.
    for place in [place(1), place(5), place(0xfc)] {
        let error = details([&place, none, none, none, none]);
        assert_eq!(error, Some(FormatError::Malformed));
    }
    // The last channel of the essential record has its channel id there.
    let channel_id = [&[2_u8] as &[u8], &[7; 32]].concat();
    assert_eq!(details([&channel_id, none, none, none, none]), None);
    let twice = details([none, none, none, none, &channel_id]);
    assert_eq!(twice, Some(FormatError::Malformed));
    let unknown = details([none, none, none, none, &[16]]);
    assert_eq!(unknown, Some(FormatError::NewerFormat));
}

#[test]
fn a_plaintext_beyond_the_capacity_is_not_sealed() {
    let seal = |length, capacity| {
        let sealed = key().seal(&vec![0; length], Padding::Buckets, capacity, [0; 24]);
        sealed.map(|blob| blob.len())
    };
    assert_eq!(seal(SMALL_BLOB - OVERHEAD, SMALL_BLOB), Ok(SMALL_BLOB));
    assert_eq!(seal(MAX_BLOB - OVERHEAD, MAX_BLOB), Ok(MAX_BLOB));
    let error = SealError::TooLarge {
        needed: MAX_BLOB + 1,
        capacity: MAX_BLOB,
    };
    assert_eq!(seal(MAX_BLOB + 1 - OVERHEAD, MAX_BLOB), Err(error));
}

#[test]
fn sealed_sizes_tell_no_more_than_a_bucket() {
    let sizes = |padding, capacity: usize| -> Vec<usize> {
        (0..=capacity - OVERHEAD)
            .step_by(101)
            .map(|length| vec![1; length])
            .map(|plaintext| {
                let blob = key().seal(&plaintext, padding, capacity, [0; 24]).unwrap();
                assert_eq!(*key().open(&blob).unwrap(), plaintext);
                blob.len()
            })
            .collect()
    };
    let mut buckets = sizes(Padding::Buckets, 20_000);
    buckets.dedup();
    assert_eq!(buckets, [1024, 4096, 16384, 20_000]);
    let mut full = sizes(Padding::Full, 20_000);
    full.dedup();
    assert_eq!(full, [20_000]);
}

/// The essential tier of the rich sample.
fn plaintext() -> Vec<u8> {
    encode(&rich(), Tier::Essential, SMALL_BLOB)
        .unwrap()
        .plaintext
        .to_vec()
}

fn blob() -> Vec<u8> {
    seal(&plaintext())
}

fn seal(plaintext: &[u8]) -> Vec<u8> {
    key()
        .seal(plaintext, Padding::Buckets, MAX_BLOB, [5; 24])
        .unwrap()
}

fn open(blob: &[u8]) -> OpenError {
    key().open_snapshot(blob).unwrap_err()
}

/// A blob by the description of the format, with the libraries alone.
fn seal_by_hand(key: &[u8; 32], aad: &[u8], inside: &[u8]) -> Vec<u8> {
    let nonce = [6; 24];
    let payload = Payload { msg: inside, aad };
    let sealed = XChaCha20Poly1305::new(key.into())
        .encrypt(&nonce.into(), payload)
        .unwrap();
    [&[1], nonce.as_slice(), &sealed].concat()
}

fn inside(plaintext: &[u8]) -> Vec<u8> {
    let length = (plaintext.len() as u32).to_be_bytes();
    [length.as_slice(), plaintext, &[0; 10]].concat()
}

fn hkdf(info: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(None, &[0x11; 32])
        .expand(info, &mut key)
        .unwrap();
    key
}

/// Bytes without a pattern, the same in every run.
fn random(length: usize) -> Vec<u8> {
    (0_u64..)
        .flat_map(|i| Sha256::digest(i.to_be_bytes()))
        .take(length)
        .collect()
}
