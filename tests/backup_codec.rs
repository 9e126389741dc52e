//! What goes into a plaintext comes out of it, and what does not fit is named.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::PublicKey;
use bitcoin::{Amount, OutPoint, ScriptBuf, TxOut, Txid};
use ldk_peer_storage::backup::{
    decode, encode, fits, ChannelIds, ChannelKind, ChannelPhase, ChannelRecord, EncodeError,
    InstallationId, Padding, Part, PeerRecord, Revision, Snapshot, Tier, MAX_BLOB, OVERHEAD,
    SMALL_BLOB,
};
use lightning::ln::msgs::SocketAddress;
use lightning::ln::types::ChannelId;
use lightning::sign::SpendableOutputDescriptor;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

mod backup_samples;
use backup_samples::{channel, crowded, empty, node_id, peer, rich};

#[test]
fn everything_comes_back_in_its_order() {
    for snapshot in [empty(), crowded(), rich()] {
        let encoded = encode(&snapshot, Tier::Full, usize::MAX).unwrap();
        assert!(encoded.omitted.is_empty() && encoded.dropped.is_empty());
        let contents = decode(&encoded.plaintext).unwrap();
        assert!(contents.snapshot == snapshot);
        assert_eq!(contents.tier, Tier::Full);
        assert_eq!(contents.content, snapshot.content_hash());
        assert!(!contents.trimmed && !contents.partial);
    }
}

#[test]
fn the_essential_tier_keeps_what_closes_and_sweeps_channels() {
    let snapshot = rich();
    let encoded = encode(&snapshot, Tier::Essential, SMALL_BLOB).unwrap();
    assert!(encoded.omitted.is_empty() && encoded.dropped.is_empty());
    let contents = decode(&encoded.plaintext).unwrap();
    assert_eq!(contents.tier, Tier::Essential);
    assert_eq!(contents.content, snapshot.content_hash());
    assert!(!contents.trimmed && !contents.partial);

    let essential = contents.snapshot;
    assert!(essential.spendable_outputs.is_empty() && essential.app_data.is_empty());
    assert_essential_peers(&essential, &snapshot);
    assert_eq!(essential.channels.len(), snapshot.channels.len());
    for channel in &snapshot.channels {
        assert!(essential.channels.contains(&essential_part(channel)));
    }
}

#[test]
fn open_channels_stay_before_closing_ones_and_large_before_small() {
    let mut snapshot = crowded();
    // The largest are closing, one of them restored; two of the open ones have an unknown value.
    for place in 15..20 {
        snapshot.channels[place].phase = ChannelPhase::Closing;
    }
    snapshot.channels[19].restored = true;
    snapshot.channels[0].value_sat = None;
    snapshot.channels[1].restored = true;
    snapshot.channels[1].value_sat = None;

    let mut expected: Vec<usize> = vec![0, 1];
    expected.extend((2..15).rev());
    expected.extend((15..20).rev());
    for kept in 1..=20 {
        let capacity = capacity_for(&snapshot, &expected[..kept]);
        let encoded = encode(&snapshot, Tier::Essential, capacity).unwrap();
        let omitted: Vec<ChannelIds> = expected[kept..]
            .iter()
            .map(|place| snapshot.channels[*place].ids)
            .collect();
        assert_eq!(encoded.omitted, omitted);
        let contents = decode(&encoded.plaintext).unwrap();
        assert_eq!(contents.trimmed, kept < 20);
        assert_eq!(contents.snapshot.channels.len(), kept);
    }
}

#[test]
fn a_channel_that_is_too_large_makes_room_for_smaller_ones() {
    let mut snapshot = empty();
    snapshot.peers = vec![peer(9), peer(2)];
    snapshot.peers[0].addresses = vec![backup_samples::hostname(&"a".repeat(200))];
    snapshot.channels = vec![channel(9), channel(2)];
    let encoded = encode(&snapshot, Tier::Essential, 200).unwrap();
    assert_eq!(encoded.omitted, vec![channel(9).ids]);
    assert_eq!(encoded.dropped, vec![Part::Peer(node_id(9))]);
}

#[test]
fn without_room_for_any_channel_nothing_is_encoded() {
    let one = Snapshot {
        peers: vec![peer(2)],
        channels: vec![channel(2)],
        ..empty()
    };
    let capacity = capacity_for(&one, &[0]);
    assert!(encode(&one, Tier::Essential, capacity).is_ok());
    assert!(encode(&one, Tier::Full, capacity).is_ok());
    let error = EncodeError::NoChannelFits {
        channels: 1,
        capacity: capacity - 1,
    };
    for tier in [Tier::Essential, Tier::Full] {
        assert_eq!(encode(&one, tier, capacity - 1).err(), Some(error));
    }
}

#[test]
fn without_channels_little_room_is_enough() {
    let smallest = sealed_size(&empty());
    assert!(encode(&empty(), Tier::Full, smallest).is_ok());
    for capacity in 0..smallest {
        let error = EncodeError::CapacityTooSmall { capacity };
        assert_eq!(encode(&empty(), Tier::Full, capacity).err(), Some(error));
    }
    let peers = Snapshot {
        peers: vec![peer(2), peer(3)],
        ..empty()
    };
    let encoded = encode(&peers, Tier::Essential, smallest).unwrap();
    let dropped = [2, 3].map(|secret| Part::Peer(node_id(secret)));
    assert_eq!(encoded.dropped, dropped);
    let contents = decode(&encoded.plaintext).unwrap();
    assert!(contents.partial && !contents.trimmed);
}

#[test]
fn peers_without_channels_come_after_channels() {
    let mut snapshot = crowded();
    snapshot.channels.drain(..10);
    let capacity = capacity_for(&snapshot, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let encoded = encode(&snapshot, Tier::Essential, capacity + 80).unwrap();
    assert!(encoded.omitted.is_empty());
    assert_eq!(encoded.dropped.len(), 8);
    let contents = decode(&encoded.plaintext).unwrap();
    assert_essential_peers(
        &contents.snapshot,
        &Snapshot {
            peers: [&snapshot.peers[..2], &snapshot.peers[10..]].concat(),
            ..snapshot.clone()
        },
    );
}

#[test]
fn the_full_tier_drops_whole_parts_by_priority_and_names_them() {
    let snapshot = rich();
    let all = [
        Part::SpendableOutputs,
        Part::ChannelDetails,
        Part::FurtherAddresses,
        Part::AppData,
    ];
    let essentials = encode(&snapshot, Tier::Essential, usize::MAX).unwrap();
    let capacity = essentials.plaintext.len() + OVERHEAD;
    let dropped_at = |capacity| encode(&snapshot, Tier::Full, capacity).unwrap().dropped;
    assert_eq!(dropped_at(capacity), all);
    assert_eq!(dropped_at(sealed_size(&snapshot)), []);

    for capacity in capacity..=sealed_size(&snapshot) {
        let encoded = encode(&snapshot, Tier::Full, capacity).unwrap();
        assert!(encoded.omitted.is_empty());
        let contents = decode(&encoded.plaintext).unwrap();
        let kept = contents.snapshot;
        let has = |part| !encoded.dropped.contains(&part);
        assert_eq!(
            has(Part::SpendableOutputs),
            !kept.spendable_outputs.is_empty()
        );
        assert_eq!(
            has(Part::ChannelDetails),
            kept.channels == snapshot.channels
        );
        assert_eq!(has(Part::FurtherAddresses), kept.peers == snapshot.peers);
        assert_eq!(has(Part::AppData), kept.app_data == snapshot.app_data);
        assert_eq!(contents.partial, !encoded.dropped.is_empty());
    }

    // With room for the outputs alone, they are what is kept.
    let size_of_outputs = sealed_size(&snapshot)
        - sealed_size(&Snapshot {
            spendable_outputs: Vec::new(),
            ..snapshot.clone()
        });
    assert_eq!(dropped_at(capacity + size_of_outputs), all[1..]);
}

#[test]
fn fits_means_that_nothing_is_left_out() {
    for snapshot in [empty(), crowded(), rich()] {
        let size = sealed_size(&snapshot);
        assert!(fits(&snapshot, size));
        assert!(!fits(&snapshot, size - 1));
        assert!(fits(&snapshot, usize::MAX));
    }
    assert!(!fits(&crowded(), SMALL_BLOB));
}

#[test]
fn the_content_hash_covers_everything() {
    let original = rich();
    let mut seen = HashSet::from([original.content_hash()]);
    let mut check = |change: fn(&mut Snapshot)| {
        let mut changed = original.clone();
        change(&mut changed);
        assert!(seen.insert(changed.content_hash()));
    };
    check(|s| s.revision.epoch += 1);
    check(|s| s.revision.generation += 1);
    check(|s| s.installation.0[7] ^= 1);
    check(|s| s.peers.swap(0, 1));
    check(|s| s.peers[0].addresses.swap(1, 2));
    check(|s| s.channels.swap(0, 1));
    check(|s| s.channels[0].update_id += 1);
    check(|s| s.channels[0].restored = true);
    check(|s| s.channels[0].value_sat = None);
    check(|s| s.channels[0].ids.channel_id = None);
    check(|s| s.channels[1].channel_keys_id = None);
    check(|s| s.spendable_outputs.swap(0, 1));
    check(|s| s.app_data.push(0));
    assert_eq!(original.content_hash(), rich().content_hash());
}

#[test]
fn more_than_a_message_holds_comes_back_from_the_local_store() {
    let snapshot = Snapshot {
        app_data: vec![7; 200_000],
        ..rich()
    };
    let encoded = encode(&snapshot, Tier::Full, usize::MAX).unwrap();
    let key = backup_samples::key();
    for padding in [Padding::Buckets, Padding::Full] {
        let blob = key.seal(&encoded.plaintext, padding, usize::MAX, [1; 24]);
        let contents = key.open_snapshot(&blob.unwrap()).unwrap();
        assert!(contents.snapshot == snapshot);
    }
    let dropped = encode(&snapshot, Tier::Full, MAX_BLOB).unwrap().dropped;
    assert_eq!(dropped, [Part::AppData]);
}

#[test]
fn nothing_private_is_printed() {
    assert_eq!(format!("{:?}", backup_samples::key()), "BackupKey { .. }");
    let encoded = encode(&rich(), Tier::Full, SMALL_BLOB).unwrap();
    let contents = decode(&encoded.plaintext).unwrap();
    let dropped = [Part::Peer(node_id(2))];
    let printed = format!("{encoded:?} {contents:?} {dropped:?}");
    for private in ["203", "example", "labels", &node_id(2).to_string()] {
        assert!(!printed.contains(private), "{printed}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn full_and_unlimited_is_exact(snapshot in any_snapshot()) {
        let encoded = encode(&snapshot, Tier::Full, usize::MAX).unwrap();
        let contents = decode(&encoded.plaintext).unwrap();
        prop_assert!(contents.snapshot == snapshot);
    }

    #[test]
    fn whatever_the_capacity_nothing_is_lost_in_silence(
        snapshot in any_snapshot(),
        capacity in 0..5000_usize,
        full in any::<bool>(),
    ) {
        let tier = if full { Tier::Full } else { Tier::Essential };
        let Ok(encoded) = encode(&snapshot, tier, capacity) else {
            return Ok(());
        };
        prop_assert!(encoded.plaintext.len() + OVERHEAD <= capacity);
        prop_assert_eq!(encoded.content, snapshot.content_hash());
        let contents = decode(&encoded.plaintext).unwrap();
        prop_assert_eq!(contents.trimmed, !encoded.omitted.is_empty());
        prop_assert_eq!(contents.partial, !encoded.dropped.is_empty());
        prop_assert_eq!(contents.tier, tier);

        let kept = contents.snapshot;
        prop_assert_eq!(kept.channels.len() + encoded.omitted.len(), snapshot.channels.len());
        let mut missing: Vec<_> = snapshot.channels.iter().map(essential_part).collect();
        for channel in &kept.channels {
            let found = missing.iter().position(|c| *c == essential_part(channel));
            missing.swap_remove(found.unwrap());
        }
        let dropped_peers = encoded.dropped.iter().filter(|p| matches!(p, Part::Peer(_))).count();
        prop_assert_eq!(kept.peers.len() + dropped_peers, snapshot.peers.len());
        if full && encoded.omitted.is_empty() && encoded.dropped.is_empty() {
            prop_assert!(kept == snapshot);
        }
    }

    #[test]
    fn any_plaintext_is_refused_or_stable(
        snapshot in any_snapshot(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in option::of(any::<prop::sample::Index>()),
    ) {
        let mut plaintext = encode(&snapshot, Tier::Full, usize::MAX).unwrap().plaintext;
        for (place, byte) in changes {
            let place = place.index(plaintext.len());
            plaintext[place] = byte;
        }
        if let Some(cut) = cut {
            let cut = cut.index(plaintext.len());
            plaintext.truncate(cut);
        }
        if let Ok(contents) = decode(&plaintext) {
            let again = encode(&contents.snapshot, Tier::Full, usize::MAX).unwrap();
            prop_assert!(decode(&again.plaintext).unwrap().snapshot == contents.snapshot);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes);
        let _ = backup_samples::key().open_snapshot(&bytes);
    }
}

/// The channel as the essential tier carries it.
fn essential_part(channel: &ChannelRecord) -> ChannelRecord {
    let mut channel = channel.clone();
    channel.value_sat = None;
    let ids = &mut channel.ids;
    if ids.short_channel_id.is_some() {
        ids.funding_outpoint = None;
    }
    let funding = ids.funding_outpoint;
    ids.funding_outpoint = funding.filter(|funding| funding.vout <= u16::MAX.into());
    if ids.short_channel_id.is_some() || ids.funding_outpoint.is_some() {
        ids.channel_id = None;
    }
    channel
}

fn assert_essential_peers(essential: &Snapshot, complete: &Snapshot) {
    let complete: Vec<(PublicKey, Option<&SocketAddress>)> = complete
        .peers
        .iter()
        .map(|peer| (peer.node_id, peer.addresses.first()))
        .collect();
    let essential: Vec<_> = essential
        .peers
        .iter()
        .inspect(|peer| assert!(peer.addresses.len() <= 1))
        .map(|peer| (peer.node_id, peer.addresses.first()))
        .collect();
    assert_eq!(essential, complete);
}

/// The capacity that just holds the essentials of these channels and their peers.
fn capacity_for(snapshot: &Snapshot, channels: &[usize]) -> usize {
    let channels: Vec<_> = channels
        .iter()
        .map(|place| snapshot.channels[*place].clone())
        .collect();
    let has_channel = |peer: &&PeerRecord| channels.iter().any(|c| c.counterparty == peer.node_id);
    let peers = snapshot.peers.iter().filter(has_channel).cloned().collect();
    let reduced = Snapshot {
        peers,
        channels: channels.clone(),
        ..snapshot.clone()
    };
    let encoded = encode(&reduced, Tier::Essential, usize::MAX).unwrap();
    encoded.plaintext.len() + OVERHEAD
}

fn sealed_size(snapshot: &Snapshot) -> usize {
    let encoded = encode(snapshot, Tier::Full, usize::MAX).unwrap();
    encoded.plaintext.len() + OVERHEAD
}

// Strategies.

prop_compose! {
    fn any_snapshot()(
        epoch in any::<u32>(),
        generation in any_number(),
        installation in any::<[u8; 8]>(),
        peers in vec((1..12_u16, vec(any_address(), 0..4)), 0..12),
        channels in vec(any_channel(), 0..24),
        spendable_outputs in vec(any_output(), 0..4),
        app_data in vec(any::<u8>(), 0..600),
    ) -> Snapshot {
        let peers = peers
            .into_iter()
            .map(|(secret, addresses)| PeerRecord { node_id: node_id(secret), addresses })
            .collect();
        Snapshot {
            revision: Revision { epoch, generation },
            installation: InstallationId(installation),
            peers,
            channels,
            spendable_outputs,
            app_data,
        }
    }
}

prop_compose! {
    fn any_channel()(
        secret in 1..20_u16,
        short_channel_id in option::of(any::<u64>()),
        funding in option::of((any::<[u8; 32]>(), prop_oneof![9 => 0..=65_535_u32, 1 => any::<u32>()])),
        channel_id in option::of(any::<[u8; 32]>()),
        update_id in any_number(),
        phase in prop_oneof![
            Just(ChannelPhase::Opening), Just(ChannelPhase::Ready), Just(ChannelPhase::Closing)
        ],
        restored in any::<bool>(),
        kind in prop_oneof![
            Just(ChannelKind::StaticRemoteKey), Just(ChannelKind::Anchors), Just(ChannelKind::Other)
        ],
        channel_keys_id in option::of(any::<[u8; 32]>()),
        value_sat in option::of(any_number()),
    ) -> ChannelRecord {
        ChannelRecord {
            counterparty: node_id(secret),
            ids: ChannelIds {
                short_channel_id,
                funding_outpoint: funding
                    .map(|(txid, vout)| OutPoint::new(Txid::from_byte_array(txid), vout)),
                channel_id: channel_id.map(ChannelId),
            },
            update_id,
            phase,
            restored,
            kind,
            channel_keys_id,
            value_sat,
        }
    }
}

/// Numbers of every BigSize length.
fn any_number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift)
}

fn any_address() -> impl Strategy<Value = SocketAddress> {
    let port = any::<u16>();
    prop_oneof![
        (any::<[u8; 4]>(), port).prop_map(|(addr, port)| SocketAddress::TcpIpV4 { addr, port }),
        (any::<[u8; 16]>(), port).prop_map(|(addr, port)| SocketAddress::TcpIpV6 { addr, port }),
        any::<[u8; 12]>().prop_map(SocketAddress::OnionV2),
        (any::<[u8; 32]>(), any::<u16>(), any::<u8>(), port).prop_map(
            |(ed25519_pubkey, checksum, version, port)| SocketAddress::OnionV3 {
                ed25519_pubkey,
                checksum,
                version,
                port,
            }
        ),
        ("[a-z0-9.-]{1,255}", port).prop_map(|(name, port)| SocketAddress::Hostname {
            hostname: name.try_into().unwrap(),
            port,
        }),
    ]
}

fn any_output() -> impl Strategy<Value = SpendableOutputDescriptor> {
    prop_oneof![
        (any::<u8>(), 0..3_usize)
            .prop_map(|(byte, kind)| backup_samples::spendable_outputs(byte)[kind].clone()),
        (
            any::<[u8; 32]>(),
            any::<u16>(),
            any::<u64>(),
            vec(any::<u8>(), 0..50),
            option::of(any::<[u8; 32]>()),
        )
            .prop_map(|(txid, index, value, script, channel_keys_id)| {
                SpendableOutputDescriptor::StaticOutput {
                    outpoint: lightning::chain::transaction::OutPoint {
                        txid: Txid::from_byte_array(txid),
                        index,
                    },
                    output: TxOut {
                        value: Amount::from_sat(value),
                        script_pubkey: ScriptBuf::from_bytes(script),
                    },
                    channel_keys_id,
                }
            }),
    ]
}
