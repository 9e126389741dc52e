//! What the person allows is the end of it: fees, addresses, and what is told.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::PublicKey;
use bitcoin::{FeeRate, OutPoint, Txid};
use ldk_peer_storage::backup::ChannelIds;
use ldk_peer_storage::recovery::{
    ChannelProgress, Consent, Progress, RecoveryEvent, Stage as ChannelStage,
};
use lightning::ln::types::ChannelId;
use testkit::{pay, pay_hold, ChannelType, KeyDerivation};

use crate::stage::{consent, destination, Stage, FEE_RATE, HIGHEST_FEE_RATE};
use crate::support::SUBMITTER;

/// LDK raises a claim that does not confirm, block by block, up to half of what it claims.
#[test]
fn claims_of_pending_payments_never_pay_more_than_the_person_allows() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.wallet("peer");
    let phone = stage.wallet("phone");
    stage.fund(&phone, &peer.node);
    pay_hold(&phone.node, &peer.node, 50_000_000);
    stage.back_up(&phone, &[&peer.node]);
    let lost = stage.lose(phone);
    let mut rescuer = stage.rescuer(&lost);
    rescuer.agree(&[&peer.node]);
    while rescuer.arrived().to_sat() == 0 {
        rescuer.step();
        stage.chain.mine(1);
        rescuer.clock.advance(Duration::from_secs(600));
    }
    // The payment runs out, and then nobody mines the claim.
    let mut rounds_with_claim = 0;
    while rounds_with_claim < 200 {
        rescuer.step();
        stage.chain.mine_empty(1);
        rounds_with_claim += u32::from(!stage.chain.mempool().is_empty());
    }
    let mut rates = BTreeSet::new();
    for tx in stage.chain.submitted_by(SUBMITTER) {
        // A claim of a monitor's goes to the wallet's own address first.
        if tx.output[0].script_pubkey == destination().script_pubkey() {
            continue;
        }
        let output = |o: OutPoint| {
            let tx = stage.chain.transaction(o.txid).unwrap().tx;
            tx.output[o.vout as usize].value.to_sat()
        };
        let inputs: u64 = tx.input.iter().map(|i| output(i.previous_output)).sum();
        let outputs: u64 = tx.output.iter().map(|o| o.value.to_sat()).sum();
        rates.insert((inputs - outputs) * 1_000 / tx.weight().to_wu());
    }
    assert!(rates.len() >= 4, "it was raised: {rates:?}");
    assert!(*rates.first().unwrap() < FEE_RATE.to_sat_per_kwu() * 11 / 10);
    let highest = *rates.last().unwrap();
    assert!(
        highest <= HIGHEST_FEE_RATE.to_sat_per_kwu() * 102 / 100,
        "{rates:?}"
    );
    assert!(
        highest > HIGHEST_FEE_RATE.to_sat_per_kwu() * 7 / 10,
        "{rates:?}"
    );
    let progress = rescuer.finish();
    assert!(progress.found_sat > 490_000, "{progress:?}");
    assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
}

#[test]
fn a_sweep_to_the_old_address_at_the_highest_rate_is_told_and_replaced_once_it_may_be() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let phone = stage.wallet("phone");
    stage.fund(&phone, &peer);
    pay(&phone.node, &peer, 10_000_000);
    stage.back_up(&phone, &[&peer]);
    let lost = stage.lose(phone);
    let mut rescuer = stage.rescuer(&lost);
    let plan = rescuer.plan(&[&peer]);
    let mut terms = consent(&plan);
    terms.highest_fee_rate = FEE_RATE;
    rescuer.recovery.agree(&plan, &terms).unwrap();
    rescuer.step();
    stage.chain.mine(1);
    rescuer.step();
    assert_eq!(stage.chain.mempool().len(), 1, "the sweep waits");

    let script = testkit::chain::anyone_can_spend(b"another wallet of the person");
    let other = bitcoin::Address::from_script(&script, bitcoin::Network::Regtest).unwrap();
    terms.sweep_to = other.into_unchecked();
    rescuer.recovery.agree(&plan, &terms).unwrap();
    rescuer.step();
    let events = rescuer.events.lock().unwrap().clone();
    let needs = events.iter().find_map(|event| match event {
        RecoveryEvent::SweepToOldAddress { needs, .. } => Some(*needs),
        _ => None,
    });
    let needs = needs.expect("the person is told");
    assert!(needs > FEE_RATE && needs < HIGHEST_FEE_RATE);
    assert_eq!(
        stage.chain.mempool()[0].output[0].script_pubkey,
        destination().script_pubkey()
    );

    terms.highest_fee_rate = needs;
    rescuer.recovery.agree(&plan, &terms).unwrap();
    let progress = rescuer.finish();
    assert_eq!(progress.recovered_sat + progress.fees_sat, 490_000);
    assert_eq!(rescuer.arrived().to_sat(), 0);
    let arrived = stage.chain.coins(&script);
    assert_eq!(arrived[0].1.value.to_sat(), progress.recovered_sat);
}

#[test]
fn a_sweep_that_is_buried_is_not_asked_for_again() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let phone = stage.wallet("phone");
    stage.fund(&phone, &peer);
    pay(&phone.node, &peer, 10_000_000);
    stage.back_up(&phone, &[&peer]);
    let lost = stage.lose(phone);
    let source = crate::odd_source::OddSource::new(&stage.chain);
    let mut rescuer = crate::stage::Rescuer::start_with(
        stage.chain.clone(),
        lost.seed,
        lost.dir.clone(),
        source.clone(),
    );
    rescuer.agree(&[&peer]);
    rescuer.step();
    stage.chain.mine(1);
    // It is raised some times.
    for _ in 0..30 {
        stage.chain.mine_empty(1);
        rescuer.step();
    }
    let done = rescuer.finish();
    rescuer.step();
    let before = source.calls();
    assert_eq!(rescuer.step(), done);
    // Both tips, what spent the funding output, and twice what spent ours.
    assert!(source.calls() - before <= 5, "{}", source.calls() - before);
}

/// Safety rule 13.
#[test]
fn nothing_that_names_a_channel_a_transaction_or_an_address_is_printed() {
    let txid = Txid::from_byte_array([0xab; 32]);
    let peer = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    let peer = PublicKey::from_str(peer).unwrap();
    let channel = ChannelIds {
        short_channel_id: Some(171_171_171),
        funding_outpoint: Some(OutPoint::new(txid, 1)),
        channel_id: Some(ChannelId([0xab; 32])),
    };
    let consent = Consent {
        channels: vec![channel],
        sweep_to: destination().into_unchecked(),
        fee_rate: FEE_RATE,
        highest_fee_rate: HIGHEST_FEE_RATE,
        old_device_is_gone: true,
        closes_channels_without_keys: true,
        goes_on_without_unheard_peers: true,
    };
    let progress = Progress {
        channels: vec![ChannelProgress {
            ids: channel,
            peer,
            stage: ChannelStage::Closed(txid),
            ours_sat: 1,
            asked: 1,
            unreached: 0,
        }],
        found_sat: 1,
        recovered_sat: 0,
        fees_sat: 0,
        other_closes: 0,
        trouble: None,
        done: false,
        next_round_in: Duration::ZERO,
    };
    let events = [
        RecoveryEvent::Asked {
            peer,
            way: ldk_peer_storage::recovery::Way::Error,
        },
        RecoveryEvent::NotNamed { peer, times: 1 },
        RecoveryEvent::NotReached {
            peer,
            times: 1,
            why: String::new(),
        },
        RecoveryEvent::Closed {
            channel,
            txid,
            ours_sat: 1,
        },
        RecoveryEvent::Sweeping {
            txid,
            sat: 1,
            fee_sat: 1,
            raised: false,
        },
        RecoveryEvent::SweepToOldAddress {
            txid,
            needs: FeeRate::ZERO,
        },
        RecoveryEvent::Over { channel },
    ];
    let shown: Vec<_> = events.iter().map(ToString::to_string).collect();
    let printed = format!("{consent:?} {progress:?} {events:?} {shown:?} {channel:?}");
    for private in ["abab", "171", "79be", &destination().to_string()] {
        assert!(!printed.contains(private), "{printed}");
    }
}
