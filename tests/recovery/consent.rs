//! Nothing closes before the person has agreed, and what cannot be meant is refused.

use bitcoin::{FeeRate, Network};
use ldk_peer_storage::recovery::{ConsentError, RecoveryEvent};
use testkit::{pay, ChannelType, KeyDerivation};

use crate::stage::{closes, consent, Stage};
use crate::support::{Wallet, WalletConfig};

#[test]
fn without_consent_all_channels_stay_usable_for_the_original_node() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let (anna, bert) = (stage.stock("anna"), stage.wallet("bert"));
    let peers = [&anna, &bert.node];
    let phone = stage.wallet("phone");
    for peer in peers {
        stage.fund(&phone, peer);
    }
    stage.back_up(&phone, &peers);
    let funding = phone.node.funding_outpoints();
    let original = phone.stop();

    let lost = crate::stage::Lost {
        seed: original.node.seed,
        dir: stage.home.path().join("new-phone"),
        funding: funding.clone(),
    };
    let mut rescuer = stage.rescuer(&lost);
    let plan = rescuer.plan(&[&anna]);
    assert_eq!(plan.channels.len(), 2);
    for _ in 0..3 {
        let progress = rescuer.step();
        assert!(!progress.done);
        stage.chain.mine(1);
    }
    assert_eq!(closes(&stage.chain, &funding), 0);
    rescuer.stop();

    let phone = Wallet::start(WalletConfig { ..original });
    for peer in peers {
        phone.reconnect(peer);
        pay(&phone.node, peer, 1_000_000);
    }
    assert!(phone.storage.alarms().is_empty());
}

#[test]
fn what_cannot_be_meant_is_refused_and_nothing_happens() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let phone = stage.wallet("phone");
    stage.fund(&phone, &peer);
    stage.back_up(&phone, &[&peer]);
    let lost = stage.lose(phone);
    let mut rescuer = stage.rescuer(&lost);
    let plan = rescuer.plan(&[&peer]);
    let good = consent(&plan);

    let mut bad = good.clone();
    bad.old_device_is_gone = false;
    let refused =
        |rescuer: &mut crate::stage::Rescuer, bad| rescuer.recovery.agree(&plan, &bad).unwrap_err();
    assert_eq!(refused(&mut rescuer, bad), ConsentError::OldDeviceMayLive);

    let mut bad = good.clone();
    bad.channels.clear();
    assert_eq!(refused(&mut rescuer, bad), ConsentError::NoChannel);

    let mut bad = good.clone();
    bad.channels[0] = Default::default();
    assert_eq!(refused(&mut rescuer, bad), ConsentError::UnknownChannel);

    let mut bad = good.clone();
    let script = crate::stage::destination().script_pubkey();
    let mainnet = bitcoin::Address::from_script(&script, Network::Bitcoin).unwrap();
    bad.sweep_to = mainnet.into_unchecked();
    assert_eq!(refused(&mut rescuer, bad), ConsentError::OtherNetwork);

    for rate in [0, 249, 1_000_000, u64::MAX] {
        let mut bad = good.clone();
        bad.fee_rate = FeeRate::from_sat_per_kwu(rate);
        bad.highest_fee_rate = bad.fee_rate;
        assert_eq!(refused(&mut rescuer, bad), ConsentError::FeeRate(rate));
    }
    let mut bad = good.clone();
    bad.highest_fee_rate = FeeRate::from_sat_per_kwu(500);
    assert_eq!(refused(&mut rescuer, bad), ConsentError::FeeRate(500));

    assert!(!rescuer.recovery.is_begun());
    rescuer.step();
    assert_eq!(closes(&stage.chain, &lost.funding), 0);
}

#[test]
fn a_peer_that_was_not_reached_is_waited_for_unless_the_person_says_otherwise() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let phone = stage.wallet("phone");
    stage.fund(&phone, &peer);
    stage.back_up(&phone, &[&peer]);
    let lost = stage.lose(phone);
    // The person remembers another peer. Nothing says that it has no newer backup.
    let absent = stage.stock("absent");
    let mut rescuer = stage.rescuer(&lost);
    let peers = [crate::stage::record(&peer), crate::stage::record(&absent)];
    let absent_id = absent.id();
    absent.stop();
    let outcome = rescuer
        .session
        .restore(&peers, crate::stage::BUDGET)
        .unwrap();
    let plan = rescuer.recovery.plan(&outcome, &peers).unwrap();
    let unheard: Vec<_> = plan.unheard.iter().map(|p| p.node_id).collect();
    assert_eq!(unheard, [absent_id]);
    let mut hasty = consent(&plan);
    hasty.goes_on_without_unheard_peers = false;
    let refused = rescuer.recovery.agree(&plan, &hasty);
    assert_eq!(refused, Err(ConsentError::PeersUnheard(1)));
}

#[test]
fn a_balance_that_the_fee_rate_would_eat_waits_for_a_lower_one() {
    let stage = Stage::new(ChannelType::StaticRemoteKey, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let phone = stage.wallet("phone");
    stage.fund(&phone, &peer);
    // 15 000 sat are left.
    pay(&phone.node, &peer, 485_000_000);
    stage.back_up(&phone, &[&peer]);
    let lost = stage.lose(phone);
    let mut rescuer = stage.rescuer(&lost);
    let plan = rescuer.plan(&[&peer]);
    let mut dear = consent(&plan);
    dear.fee_rate = FeeRate::from_sat_per_kwu(100_000);
    dear.highest_fee_rate = dear.fee_rate;
    rescuer.recovery.agree(&plan, &dear).unwrap();
    let mut progress = rescuer.step();
    for _ in 0..20 {
        stage.chain.mine(1);
        progress = rescuer.step();
        assert!(!progress.done, "what is there is not lost");
    }
    assert_eq!((progress.recovered_sat, progress.too_dear_sat), (0, 15_000));
    assert!(progress.kept.is_empty());
    assert_eq!(rescuer.storage.known().channels.len(), 1, "not given up");
    let events = rescuer.events.lock().unwrap().clone();
    let below = events.iter().filter_map(|event| match event {
        RecoveryEvent::TooDear { sat: 15_000, below } => Some(*below),
        _ => None,
    });
    let below: Vec<_> = below.collect();
    assert_eq!(below.len(), 1, "told once");

    // As the event says.
    let mut cheap = consent(&plan);
    cheap.fee_rate = FeeRate::from_sat_per_kwu(below[0].to_sat_per_kwu() - 1);
    cheap.highest_fee_rate = cheap.fee_rate;
    rescuer.recovery.agree(&plan, &cheap).unwrap();
    let progress = rescuer.finish();
    assert_eq!(progress.recovered_sat + progress.fees_sat, 15_000);
    assert_eq!((progress.left_sat, progress.too_dear_sat), (0, 0));
    assert!(rescuer.storage.known().channels.is_empty());
}
