//! What the person allows is the end of it: fees, addresses, and what is told.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::PublicKey;
use bitcoin::{FeeRate, OutPoint, Transaction, Txid};
use ldk_peer_storage::backup::{ChannelIds, PeerRecord};
use ldk_peer_storage::recovery::{
    Agreed, ChannelProgress, Consent, KeptChannel, LeftOut, Plan, Progress, RecoveryEvent,
    Stage as ChannelStage, WhyKept, WhyLeft,
};
use lightning::ln::types::ChannelId;
use testkit::{pay, pay_hold, ChannelType, KeyDerivation};

use crate::odd_source::OddSource;
use crate::stage::{consent, destination, Rescuer, Stage, FEE_RATE, HIGHEST_FEE_RATE};

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
    for _ in 0..60 {
        if rescuer.arrived().to_sat() > 0 {
            break;
        }
        rescuer.step();
        stage.chain.mine(1);
        rescuer.clock.advance(Duration::from_secs(600));
    }
    assert!(rescuer.arrived().to_sat() > 0, "the balance");
    // The payment runs out, and then nobody mines the claim.
    let mut rounds_with_claim = 0;
    for _ in 0..500 {
        if rounds_with_claim == 200 {
            break;
        }
        rescuer.step();
        stage.chain.mine_empty(1);
        rounds_with_claim += u32::from(!stage.chain.mempool().is_empty());
    }
    assert_eq!(rounds_with_claim, 200);
    let rates = stage.rates_of_claims(0);
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

/// A phone whose channel is closed and whose sweep waits in the mempool, with a source that can lie.
fn with_a_sweep_that_waits(stage: &Stage) -> (Rescuer, Plan, Arc<OddSource>, testkit::Node) {
    let peer = stage.stock("peer");
    let phone = stage.wallet("phone");
    stage.fund(&phone, &peer);
    pay(&phone.node, &peer, 10_000_000);
    stage.back_up(&phone, &[&peer]);
    let lost = stage.lose(phone);
    let source = OddSource::new(&stage.chain);
    let (chain, dir) = (stage.chain.clone(), lost.dir.clone());
    let mut rescuer = Rescuer::start_with(chain, lost.seed, dir, source.clone());
    let plan = rescuer.agree(&[&peer]);
    rescuer.step();
    stage.chain.mine(1);
    rescuer.step();
    assert_eq!(stage.chain.mempool().len(), 1, "the sweep waits");
    (rescuer, plan, source, peer)
}

/// What a sweep of all that the phone owned pays, in sat per 1000 weight units.
fn rate(sweep: &Transaction) -> u64 {
    (490_000 - sweep.output[0].value.to_sat()) * 1_000 / sweep.weight().to_wu()
}

#[test]
fn once_the_highest_fee_rate_was_lowered_nothing_above_it_is_published() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let (mut rescuer, plan, source, _peer) = with_a_sweep_that_waits(&stage);
    for _ in 0..30 {
        stage.chain.mine_empty(1);
        rescuer.step();
    }
    let raised = source.given.lock().unwrap().iter().map(rate).max().unwrap();
    assert!(raised > 2 * FEE_RATE.to_sat_per_kwu(), "{raised}");

    // The network forgets it, and the person thinks better of it.
    source.forgets_mempool.store(true, Ordering::SeqCst);
    let mut low = consent(&plan);
    low.highest_fee_rate = FEE_RATE;
    rescuer.recovery.agree(&plan, &low).unwrap();
    source.given.lock().unwrap().clear();
    for _ in 0..20 {
        rescuer.step();
        stage.chain.mine_empty(1);
    }
    let given: Vec<_> = source.given.lock().unwrap().iter().map(rate).collect();
    assert!(!given.is_empty(), "it is published again");
    let highest = FEE_RATE.to_sat_per_kwu() * 102 / 100;
    assert!(given.iter().all(|rate| *rate <= highest), "{given:?}");
    source.forgets_mempool.store(false, Ordering::SeqCst);
    let progress = rescuer.finish();
    assert_eq!(progress.recovered_sat + progress.fees_sat, 490_000);
}

#[test]
fn a_source_that_refuses_every_raise_and_wants_another_fee_each_time_does_not_fill_the_journal() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let (mut rescuer, _, source, _peer) = with_a_sweep_that_waits(&stage);
    source.refuses.store(true, Ordering::SeqCst);
    source.given.lock().unwrap().clear();
    for round in 0..36 {
        let wanted = FeeRate::from_sat_per_kwu(2_000 + round);
        *source.wanted_fee_rate.lock().unwrap() = Some(wanted);
        stage.chain.mine_empty(1);
        rescuer.step();
    }
    let given = source.given.lock().unwrap().clone();
    let made: BTreeSet<_> = given.iter().map(Transaction::compute_txid).collect();
    assert!((2..=6).contains(&made.len()), "{}", made.len());
    source.refuses.store(false, Ordering::SeqCst);
    let progress = rescuer.finish();
    assert_eq!(progress.recovered_sat + progress.fees_sat, 490_000);
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
        kept: vec![KeptChannel {
            ids: channel,
            peer,
            why: WhyKept::GivenUp,
        }],
        left_sat: 1,
        too_dear_sat: 1,
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
        RecoveryEvent::Closing { channel, txid },
        RecoveryEvent::Closed {
            channel,
            txid,
            ours_sat: 1,
        },
        RecoveryEvent::Reopened { channel },
        RecoveryEvent::NothingOfOurs { channel },
        RecoveryEvent::OverByScript { channel },
        RecoveryEvent::TooDear {
            sat: 1,
            below: FeeRate::ZERO,
        },
        RecoveryEvent::Left {
            sat: 1,
            why: WhyLeft::TooSmall,
        },
        RecoveryEvent::SweepStuck { txid },
        RecoveryEvent::SweepRefused {
            txid,
            reason: String::new(),
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
    let agreed = Agreed {
        channels: vec![channel],
        given_up: Vec::new(),
        sweep_to: destination().script_pubkey(),
        fee_rate: FEE_RATE,
        highest_fee_rate: HIGHEST_FEE_RATE,
    };
    let plan = Plan {
        wallet: peer,
        newest: None,
        channels: Vec::new(),
        left_out: vec![LeftOut { peer, channels: 1 }],
        unheard: vec![PeerRecord {
            node_id: peer,
            addresses: Vec::new(),
        }],
        waiting_sat: 1,
        trouble: None,
    };
    let shown: Vec<_> = events.iter().map(ToString::to_string).collect();
    let printed =
        format!("{consent:?} {agreed:?} {plan:?} {progress:?} {events:?} {shown:?} {channel:?}");
    for private in ["abab", "171", "79be", &destination().to_string()] {
        assert!(!printed.contains(private), "{printed}");
    }
}
