//! The whole way, for each kind of channel, key and backup: to the satoshi.

use ldk_peer_storage::recovery::{Claim, ConsentError, KnownBy, RecoveryEvent};
use testkit::{pay, ChannelType, KeyDerivation};

use crate::stage::{closes, Stage};

/// What the phone owns after its payment, in sat.
const OWNED: u64 = 500_000 - 10_000;

#[derive(Clone, Copy, PartialEq)]
enum Peer {
    Ours,
    Stock,
}

#[test]
fn a_channel_with_a_stock_peer_comes_back() {
    comes_back(ChannelType::StaticRemoteKey, KeyDerivation::V2, Peer::Stock);
}

#[test]
fn an_anchor_channel_with_a_stock_peer_comes_back() {
    comes_back(ChannelType::Anchors, KeyDerivation::V2, Peer::Stock);
}

#[test]
fn a_channel_with_v1_keys_and_a_stock_peer_comes_back() {
    comes_back(ChannelType::StaticRemoteKey, KeyDerivation::V1, Peer::Stock);
}

#[test]
fn an_anchor_channel_with_v1_keys_and_a_stock_peer_comes_back() {
    comes_back(ChannelType::Anchors, KeyDerivation::V1, Peer::Stock);
}

#[test]
fn a_channel_with_a_peer_of_ours_comes_back() {
    comes_back(ChannelType::StaticRemoteKey, KeyDerivation::V2, Peer::Ours);
}

#[test]
fn an_anchor_channel_with_a_peer_of_ours_comes_back() {
    comes_back(ChannelType::Anchors, KeyDerivation::V2, Peer::Ours);
}

#[test]
fn a_channel_with_v1_keys_and_a_peer_of_ours_comes_back() {
    comes_back(ChannelType::StaticRemoteKey, KeyDerivation::V1, Peer::Ours);
}

#[test]
fn an_anchor_channel_with_v1_keys_and_a_peer_of_ours_comes_back() {
    comes_back(ChannelType::Anchors, KeyDerivation::V1, Peer::Ours);
}

fn comes_back(channel_type: ChannelType, keys: KeyDerivation, kind: Peer) {
    let stage = Stage::new(channel_type, keys);
    let (ours, stock);
    let peer = match kind {
        Peer::Ours => {
            ours = stage.wallet("peer");
            &ours.node
        }
        Peer::Stock => {
            stock = stage.stock("peer");
            &stock
        }
    };
    let phone = stage.wallet("phone");
    stage.fund(&phone, peer);
    pay(&phone.node, peer, 10_000_000);
    stage.back_up(&phone, &[peer]);
    let lost = stage.lose(phone);

    let mut rescuer = stage.rescuer(&lost);
    let plan = rescuer.agree(&[peer]);
    assert_eq!(plan.channels.len(), 1);
    assert_eq!(plan.channels[0].known_by, KnownBy::Backup);
    if kind == Peer::Stock {
        assert_eq!(
            plan.channels[0].claim,
            Claim::Balance,
            "no room for monitors"
        );
    }
    assert_eq!(closes(&stage.chain, &lost.funding), 0, "agreed, not asked");
    let progress = rescuer.finish();

    assert_eq!(progress.found_sat, OWNED);
    assert_eq!(progress.recovered_sat + progress.fees_sat, OWNED);
    assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
    assert!(progress.fees_sat < 1_000, "{}", progress.fees_sat);
    assert!(rescuer.storage.known().channels.is_empty(), "resolved");
    let events = rescuer.events.lock().unwrap();
    let asked = |e: &&RecoveryEvent| matches!(e, RecoveryEvent::Asked { .. });
    // A peer of ours keeps an error from its node until it knows by a `channel_reestablish` that its own
    // state is not stale (safety rule 6). The second attempt is one.
    let times = if kind == Peer::Stock { 1 } else { 2 };
    assert_eq!(events.iter().filter(asked).count(), times);
}

#[test]
fn channels_come_back_with_no_backup_at_all_from_seed_and_peer_list() {
    for channel_type in [ChannelType::StaticRemoteKey, ChannelType::Anchors] {
        let stage = Stage::new(channel_type, KeyDerivation::V2);
        let (anna, bert) = (stage.stock("anna"), stage.stock("bert"));
        // A node that never heard of peer storage.
        let phone = stage.stock("phone");
        for peer in [&anna, &bert] {
            phone.connect_to(peer);
            testkit::open_channel(&stage.chain, peer, &phone, 1_000_000);
            pay(&phone, peer, 10_000_000);
        }
        let seed = stage.config("phone").seed;
        phone.kill();
        testkit::wipe(&stage.config("phone").dir);
        let lost = crate::stage::Lost {
            seed,
            dir: stage.home.path().join("new-phone"),
            funding: Vec::new(),
        };

        let mut rescuer = stage.rescuer(&lost);
        let plan = rescuer.plan(&[&anna, &bert]);
        let mut unaware = crate::stage::consent(&plan);
        unaware.closes_channels_without_keys = false;
        let refused = rescuer.recovery.agree(&plan, &unaware);
        assert_eq!(refused, Err(ConsentError::KeysUnknown));
        let plan = rescuer.agree(&[&anna, &bert]);
        assert_eq!(plan.newest, None);
        assert_eq!(plan.channels.len(), 2);
        assert!(plan.channels.iter().all(|c| c.known_by == KnownBy::Peer));
        let progress = rescuer.finish();
        assert_eq!(progress.found_sat, 2 * OWNED);
        assert_eq!(progress.recovered_sat + progress.fees_sat, 2 * OWNED);
        assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
    }
}
