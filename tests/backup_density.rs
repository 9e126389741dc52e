//! How many channels fit into the smallest blob.

#![allow(clippy::unwrap_used)]

use bitcoin::hashes::Hash;
use bitcoin::{Network, OutPoint, Txid};
use ldk_peer_storage::backup::{
    encode, BackupKey, ChannelIds, ChannelRecord, Padding, PeerRecord, Snapshot, Tier, SMALL_BLOB,
};
use lightning::ln::msgs::SocketAddress;

mod backup_samples;

#[test]
fn the_smallest_blob_holds_a_phone_wallet() {
    let v2 = most_channels(|_, _| {});
    let v1 = most_channels(|_, channel| channel.channel_keys_id = Some([7; 32]));
    let v2_tor = most_channels(|peer, _| peer.addresses = vec![tor_address()]);
    let v1_tor = most_channels(|peer, channel| {
        peer.addresses = vec![tor_address()];
        channel.channel_keys_id = Some([7; 32]);
    });
    let v2_unconfirmed = most_channels(|_, channel| channel.ids = unconfirmed());
    let v1_unconfirmed = most_channels(|_, channel| {
        channel.ids = unconfirmed();
        channel.channel_keys_id = Some([7; 32]);
    });
    let v2_busy = most_channels(|_, channel| channel.update_id = 5_000_000);
    let v1_busy = most_channels(|_, channel| {
        channel.update_id = 5_000_000;
        channel.channel_keys_id = Some([7; 32]);
    });

    println!("channels in {SMALL_BLOB} bytes, another peer each:   v2 keys  v1 keys");
    println!("  confirmed, IPv4, stamps up to 65535         {v2:>5}    {v1:>5}");
    println!("  confirmed, IPv4, stamps above 65535         {v2_busy:>5}    {v1_busy:>5}");
    println!("  confirmed, Tor v3                           {v2_tor:>5}    {v1_tor:>5}");
    println!(
        "  unconfirmed (funding outpoint), IPv4        {v2_unconfirmed:>5}    {v1_unconfirmed:>5}"
    );

    assert!(v2 >= 17 && v2_busy >= 17, "v2 keys: {v2}, {v2_busy}");
    assert!(v1 >= 11 && v1_busy >= 11, "v1 keys: {v1}, {v1_busy}");
}

/// With one channel more, one is left out.
fn most_channels(change: impl Fn(&mut PeerRecord, &mut ChannelRecord)) -> usize {
    (1..usize::from(u16::MAX))
        .take_while(|count| all_fit(&snapshot(*count, &change)))
        .last()
        .unwrap()
}

fn all_fit(snapshot: &Snapshot) -> bool {
    let encoded = encode(snapshot, Tier::Essential, SMALL_BLOB).unwrap();
    let key = BackupKey::derive(&[1; 32], Network::Bitcoin, &backup_samples::node_id(1));
    let blob = key
        .seal(&encoded.plaintext, Padding::Buckets, SMALL_BLOB, [0; 24])
        .unwrap();
    assert_eq!(blob.len(), SMALL_BLOB);
    encoded.omitted.is_empty()
}

fn snapshot(count: usize, change: impl Fn(&mut PeerRecord, &mut ChannelRecord)) -> Snapshot {
    let mut snapshot = backup_samples::empty();
    for i in 0..count {
        let mut peer = backup_samples::peer(i as u16 + 2);
        let mut channel = backup_samples::channel(i as u16 + 2);
        channel.update_id = 65_535;
        change(&mut peer, &mut channel);
        snapshot.peers.push(peer);
        snapshot.channels.push(channel);
    }
    snapshot
}

fn unconfirmed() -> ChannelIds {
    ChannelIds {
        funding_outpoint: Some(OutPoint::new(Txid::from_byte_array([5; 32]), 1)),
        ..ChannelIds::default()
    }
}

fn tor_address() -> SocketAddress {
    backup_samples::tor_v3(3)
}
