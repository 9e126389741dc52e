//! What goes into a plaintext comes out of it, and what does not fit is named.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::HashSet;
use std::sync::Arc;

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::PublicKey;
use bitcoin::{Amount, OutPoint, ScriptBuf, TxOut, Txid};
use ldk_peer_storage::backup::{
    decode, encode, fits, ChannelIds, ChannelKind, ChannelPhase, ChannelRecord, EncodeError,
    InstallationId, MonitorRecord, Padding, Part, PeerRecord, Revision, Snapshot, Tier, MAX_BLOB,
    OVERHEAD, SMALL_BLOB,
};
use lightning::ln::msgs::SocketAddress;
use lightning::ln::types::ChannelId;
use lightning::sign::SpendableOutputDescriptor;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

mod backup_samples;
use backup_samples::{channel, crowded, empty, monitor, node_id, peer, rich, with_monitors};

#[test]
fn everything_comes_back_in_its_order() {
    for snapshot in [empty(), crowded(), rich(), with_monitors()] {
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
    let snapshot = with_monitors();
    let encoded = encode(&snapshot, Tier::Essential, SMALL_BLOB).unwrap();
    assert!(encoded.omitted.is_empty() && encoded.dropped.is_empty());
    let contents = decode(&encoded.plaintext).unwrap();
    assert_eq!(contents.tier, Tier::Essential);
    assert_eq!(contents.content, snapshot.content_hash());
    assert!(!contents.trimmed && !contents.partial);

    let essential = contents.snapshot;
    assert!(essential.spendable_outputs.is_empty() && essential.app_data.is_empty());
    assert!(essential.monitors.is_empty());
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

/// Four channels, the smallest first, and their monitors.
fn monitored(lengths: [usize; 4]) -> Snapshot {
    let monitors = (2..6).zip(lengths);
    Snapshot {
        peers: (2..6).map(peer).collect(),
        channels: (2..6).map(channel).collect(),
        app_data: vec![7; 100],
        monitors: monitors.map(|(secret, len)| monitor(secret, len)).collect(),
        ..empty()
    }
}

/// Which monitors a blob keeps, and which are named as left out, by the number of their channel.
fn kept_and_dropped(snapshot: &Snapshot, capacity: usize) -> (Vec<u8>, Vec<u8>) {
    let encoded = encode(snapshot, Tier::Full, capacity).unwrap();
    assert!(encoded.plaintext.len() + OVERHEAD <= capacity);
    let contents = decode(&encoded.plaintext).unwrap();
    assert_eq!(contents.partial, !encoded.dropped.is_empty());
    let kept = contents.snapshot.monitors;
    for monitor in &kept {
        assert!(snapshot.monitors.contains(monitor));
    }
    let dropped = encoded.dropped.iter().map(|part| match part {
        Part::Monitor(channel) => channel.0[0],
        other => panic!("{other:?} was dropped for a monitor"),
    });
    let kept = kept.iter().map(|monitor| monitor.channel.0[0]).collect();
    (kept, dropped.collect())
}

#[test]
fn monitors_with_htlcs_pending_go_first_and_then_those_of_large_channels() {
    let mut snapshot = monitored([1000; 4]);
    // All but this many bytes short of everything.
    let short = |snapshot: &Snapshot, by| kept_and_dropped(snapshot, sealed_size(snapshot) - by);
    assert_eq!(short(&snapshot, 0), (vec![2, 3, 4, 5], vec![]));
    assert_eq!(short(&snapshot, 1), (vec![3, 4, 5], vec![2]));
    assert_eq!(short(&snapshot, 2500), (vec![5], vec![4, 3, 2]));
    snapshot.monitors[1].pending_htlcs = true;
    assert_eq!(short(&snapshot, 2500), (vec![3], vec![5, 4, 2]));
    assert_eq!(short(&snapshot, 1500), (vec![3, 5], vec![4, 2]));
    // A value that nobody knows may be a large one.
    snapshot.channels[0].value_sat = None;
    assert_eq!(short(&snapshot, 1500), (vec![2, 3], vec![5, 4]));
    // Of channels of the same value those that are up to date.
    snapshot.channels[2].value_sat = snapshot.channels[3].value_sat;
    snapshot.monitors[2].update_id -= 1;
    assert_eq!(short(&snapshot, 1500), (vec![2, 3], vec![5, 4]));
}

#[test]
fn a_monitor_that_is_too_large_makes_room_for_smaller_ones() {
    let snapshot = monitored([500, 500, 500, 70_000]);
    let kept = kept_and_dropped(&snapshot, MAX_BLOB);
    assert_eq!(kept, (vec![2, 3, 4], vec![5]));
}

#[test]
fn monitors_push_nothing_else_out() {
    let snapshot = with_monitors();
    let without = Snapshot {
        monitors: Vec::new(),
        ..snapshot.clone()
    };
    let essentials = encode(&snapshot, Tier::Essential, usize::MAX).unwrap();
    for capacity in essentials.plaintext.len() + OVERHEAD..=sealed_size(&snapshot) {
        let encoded = encode(&snapshot, Tier::Full, capacity).unwrap();
        let others = encode(&without, Tier::Full, capacity).unwrap();
        assert_eq!(encoded.omitted, others.omitted);
        let is_monitor = |part: &Part| matches!(part, Part::Monitor(_));
        let (monitors, dropped): (Vec<_>, Vec<_>) =
            encoded.dropped.iter().copied().partition(is_monitor);
        assert_eq!(dropped, others.dropped);
        let kept = decode(&encoded.plaintext).unwrap().snapshot;
        assert_eq!(kept.monitors.len() + monitors.len(), 3);
        // Without its details a channel may not be known by the id that a monitor names.
        let has_details = !dropped.contains(&Part::ChannelDetails);
        assert!(has_details || kept.monitors.is_empty());
    }
}

#[test]
fn a_channel_that_is_left_out_takes_its_monitor_along() {
    let mut snapshot = crowded();
    snapshot.monitors = vec![monitor(2, 1), monitor(21, 1)];
    let all = encode(&crowded(), Tier::Full, usize::MAX).unwrap();
    for capacity in SMALL_BLOB - 200..all.plaintext.len() + OVERHEAD + 100 {
        let encoded = encode(&snapshot, Tier::Full, capacity).unwrap();
        let kept = decode(&encoded.plaintext).unwrap().snapshot;
        for monitor in &kept.monitors {
            let named = |c: &ChannelRecord| c.ids.matches(&monitor.ids());
            assert!(kept.channels.iter().any(named), "{capacity}");
        }
    }
}

#[test]
fn a_channel_that_is_too_large_takes_its_monitor_along_even_where_that_would_fit() {
    let mut snapshot = empty();
    snapshot.peers = vec![peer(9), peer(2)];
    snapshot.peers[0].addresses = vec![backup_samples::hostname(&"a".repeat(250))];
    snapshot.channels = vec![channel(9), channel(2)];
    snapshot.monitors = vec![monitor(9, 1), monitor(2, 1)];
    let encoded = encode(&snapshot, Tier::Full, 350).unwrap();
    assert_eq!(encoded.omitted, [channel(9).ids]);
    let dropped = [Part::Peer(node_id(9)), Part::Monitor(monitor(9, 1).channel)];
    assert_eq!(encoded.dropped, dropped);
    let kept = decode(&encoded.plaintext).unwrap().snapshot.monitors;
    assert!(kept == [monitor(2, 1)]);
}

#[test]
fn of_two_monitors_of_a_channel_the_newer_one_is_written() {
    let mut snapshot = monitored([10, 20, 30, 40]);
    let newer = MonitorRecord {
        update_id: 1_000,
        ..monitor(3, 50)
    };
    snapshot.monitors.insert(0, monitor(3, 60));
    snapshot.monitors.push(newer.clone());
    let encoded = encode(&snapshot, Tier::Full, usize::MAX).unwrap();
    let kept = decode(&encoded.plaintext).unwrap().snapshot.monitors;
    assert_eq!(kept.len(), 4);
    assert!(kept.contains(&newer));
}

#[test]
fn fits_means_that_nothing_is_left_out() {
    for snapshot in [empty(), crowded(), rich(), with_monitors()] {
        let size = sealed_size(&snapshot);
        assert!(fits(&snapshot, size));
        assert!(!fits(&snapshot, size - 1));
        assert!(fits(&snapshot, usize::MAX));
    }
    assert!(!fits(&crowded(), SMALL_BLOB));
}

#[test]
fn the_content_hash_covers_everything() {
    let original = with_monitors();
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
    check(|s| s.monitors[0].update_id += 1);
    check(|s| s.monitors[0].pending_htlcs = true);
    check(|s| s.monitors[0].bytes = Arc::new(vec![9; 700].into()));
    check(|s| s.monitors[0].channel.0[31] ^= 1);
    check(|s| s.monitors.swap(0, 1));
    check(|s| s.monitors.clear());
    assert_eq!(original.content_hash(), with_monitors().content_hash());
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
    let dropped = [Part::Peer(node_id(2)), Part::Monitor(monitor(8, 0).channel)];
    let monitors = with_monitors().monitors;
    let printed = format!("{encoded:?} {contents:?} {dropped:?} {monitors:?}");
    for private in [
        "203",
        "example",
        "labels",
        &node_id(2).to_string(),
        "3, 3, 3",
        "08080808",
    ] {
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
        let dropped = |m: &MonitorRecord| encoded.dropped.contains(&Part::Monitor(m.channel));
        let expected = snapshot.monitors.iter().filter(|m| full && !dropped(m));
        prop_assert!(kept.monitors.iter().eq(expected));
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

#[test]
fn outputs_with_any_bit_turned_are_refused_or_stable() {
    let snapshot = Snapshot {
        spendable_outputs: backup_samples::spendable_outputs(1),
        ..backup_samples::empty()
    };
    let plaintext = encode(&snapshot, Tier::Full, usize::MAX).unwrap().plaintext;
    for bit in 0..plaintext.len() * 8 {
        let mut turned = plaintext.clone();
        turned[bit / 8] ^= 1 << (bit % 8);
        if let Ok(contents) = decode(&turned) {
            let again = encode(&contents.snapshot, Tier::Full, usize::MAX).unwrap();
            assert!(decode(&again.plaintext).unwrap().snapshot == contents.snapshot);
        }
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
        monitors in btree_map(any_monitored_channel(), any_monitor(), 0..8),
        order in any::<prop::sample::Index>(),
    ) -> Snapshot {
        let mut channels = channels;
        let mut monitors: Vec<_> = monitors.into_iter().map(|((place, id), monitor)| {
            // Most belong to a channel.
            let channel = channels.get_mut(place).map(|c| *c.ids.channel_id.get_or_insert(ChannelId(id)));
            MonitorRecord { channel: channel.unwrap_or(ChannelId(id)), ..monitor }
        }).collect();
        monitors.sort_by_key(|monitor| monitor.channel);
        monitors.dedup_by_key(|monitor| monitor.channel);
        let order = order.index(monitors.len() + 1);
        monitors.rotate_left(order);
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
            monitors,
        }
    }
}

fn any_monitored_channel() -> impl Strategy<Value = (usize, [u8; 32])> {
    (0..30_usize, any::<[u8; 32]>())
}

fn any_monitor() -> impl Strategy<Value = MonitorRecord> {
    (any_number(), any::<bool>(), vec(any::<u8>(), 0..900)).prop_map(
        |(update_id, pending_htlcs, bytes)| MonitorRecord {
            channel: ChannelId([0; 32]),
            update_id,
            pending_htlcs,
            bytes: Arc::new(bytes.into()),
        },
    )
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
