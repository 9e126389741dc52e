//! What goes wrong in the weeks that a recovery may take.

use std::time::Duration;

use ldk_peer_storage::recovery::{RecoveryEvent, Stage as ChannelStage};
use testkit::{pay, ChannelType, KeyDerivation};

use crate::stage::{closes, Stage};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn lost_with_one_channel(stage: &Stage, peer: &testkit::Node) -> crate::stage::Lost {
    let phone = stage.wallet("phone");
    stage.fund(&phone, peer);
    pay(&phone.node, peer, 10_000_000);
    stage.back_up(&phone, &[peer]);
    stage.lose(phone)
}

#[test]
fn a_peer_that_is_offline_for_two_weeks_is_asked_when_it_is_back() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let addr = peer.addr();
    let lost = lost_with_one_channel(&stage, &peer);
    let mut rescuer = stage.rescuer(&lost);
    rescuer.agree(&[&peer]);
    peer.stop();

    let mut tried = 0;
    for day in 1..=14 {
        let progress = rescuer.step();
        assert_eq!(progress.channels[0].stage, ChannelStage::Open);
        assert_eq!(
            progress.channels[0].asked, 0,
            "nobody was there to be asked"
        );
        assert!(progress.channels[0].unreached > tried, "day {day}");
        tried = progress.channels[0].unreached;
        stage.chain.mine_empty(2);
        rescuer.clock.advance(DAY);
    }
    let told =
        |e: &&RecoveryEvent| matches!(e, RecoveryEvent::NotReached { times, .. } if *times >= 14);
    assert_eq!(
        rescuer.events.lock().unwrap().iter().filter(told).count(),
        1
    );

    let _peer = testkit::Node::start(stage.config("peer").listen(addr.port()));
    let progress = rescuer.finish();
    assert_eq!(progress.recovered_sat + progress.fees_sat, 490_000);
}

#[test]
fn a_reorganisation_that_takes_out_the_close_or_the_sweep_costs_nothing() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let lost = lost_with_one_channel(&stage, &peer);
    let mut rescuer = stage.rescuer(&lost);
    rescuer.agree(&[&peer]);

    let is = |progress: &ldk_peer_storage::recovery::Progress, wanted: fn(ChannelStage) -> bool| {
        wanted(progress.channels[0].stage)
    };
    rescuer.step();
    stage.chain.mine(1);
    assert!(is(&rescuer.step(), |s| matches!(
        s,
        ChannelStage::Closed(_)
    )));
    stage.chain.reorg(1);
    let progress = rescuer.step();
    assert!(!is(&progress, |s| matches!(s, ChannelStage::Swept(_))));
    stage.chain.mine(2);
    rescuer.step();
    stage.chain.mine(1);
    assert!(is(&rescuer.step(), |s| matches!(s, ChannelStage::Swept(_))));
    stage.chain.reorg(2);
    rescuer.step();
    let progress = rescuer.finish();
    assert_eq!(progress.recovered_sat + progress.fees_sat, 490_000);
    assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
}

#[test]
fn a_sweep_that_does_not_confirm_is_raised_up_to_what_the_person_allows() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let lost = lost_with_one_channel(&stage, &peer);
    let mut rescuer = stage.rescuer(&lost);
    rescuer.agree(&[&peer]);
    rescuer.step();
    stage.chain.mine(1);
    rescuer.step();
    for _ in 0..60 {
        stage.chain.mine_empty(1);
        rescuer.step();
    }
    let fees: Vec<u64> = rescuer
        .events
        .lock()
        .unwrap()
        .iter()
        .filter_map(|event| match event {
            RecoveryEvent::Sweeping { fee_sat, .. } => Some(*fee_sat),
            _ => None,
        })
        .collect();
    assert!(fees.len() >= 4, "{fees:?}");
    assert!(fees.windows(2).all(|pair| pair[0] < pair[1]), "{fees:?}");
    let stuck = |e: &&RecoveryEvent| matches!(e, RecoveryEvent::SweepStuck { .. });
    assert!(rescuer.events.lock().unwrap().iter().any(|e| stuck(&e)));
    let progress = rescuer.finish();
    assert_eq!(progress.recovered_sat + progress.fees_sat, 490_000);
    assert_eq!(progress.fees_sat, *fees.last().unwrap());
}

#[test]
fn a_peer_that_has_closed_already_is_not_asked() {
    let stage = Stage::new(ChannelType::StaticRemoteKey, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let lost = lost_with_one_channel(&stage, &peer);
    let mut rescuer = stage.rescuer(&lost);
    rescuer.agree(&[&peer]);
    let channel = peer.channels()[0].channel_id;
    peer.force_close(&channel);
    testkit::wait_until("the peer's close", testkit::DEADLINE, || {
        closes(&stage.chain, &lost.funding) == 1
    });
    let progress = rescuer.finish();
    assert_eq!(progress.recovered_sat + progress.fees_sat, 490_000);
    assert_eq!(progress.channels[0].asked, 0);
}

#[test]
fn a_peer_that_never_answers_can_be_given_up_and_its_channel_stays_in_the_backup() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let lost = lost_with_one_channel(&stage, &peer);
    let mut rescuer = stage.rescuer(&lost);
    let plan = rescuer.agree(&[&peer]);
    peer.stop();
    assert!(!rescuer.step().done);
    rescuer
        .recovery
        .give_up(plan.channels[0].ids, None)
        .unwrap();
    assert!(rescuer.step().done);
    rescuer.stop();

    let mut rescuer = stage.rescuer(&lost);
    assert!(rescuer.step().done, "also after a restart");
    assert_eq!(rescuer.storage.known().channels.len(), 1);
    assert_eq!(closes(&stage.chain, &lost.funding), 0);
}

#[test]
fn the_person_may_still_change_the_address_of_a_sweep_that_waits() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let lost = lost_with_one_channel(&stage, &peer);
    let mut rescuer = stage.rescuer(&lost);
    let plan = rescuer.agree(&[&peer]);
    rescuer.step();
    stage.chain.mine(1);
    rescuer.step();
    assert_eq!(stage.chain.mempool().len(), 1, "the sweep waits");

    let script = testkit::chain::anyone_can_spend(b"another wallet of the person");
    let other = bitcoin::Address::from_script(&script, bitcoin::Network::Regtest).unwrap();
    let mut consent = crate::stage::consent(&plan);
    consent.sweep_to = other.into_unchecked();
    rescuer.recovery.agree(&plan, &consent).unwrap();
    let progress = rescuer.finish();
    let arrived: u64 = stage
        .chain
        .coins(&script)
        .iter()
        .map(|(_, o)| o.value.to_sat())
        .sum();
    assert_eq!(arrived, progress.recovered_sat);
    assert_eq!(progress.recovered_sat + progress.fees_sat, 490_000);
    assert_eq!(rescuer.arrived().to_sat(), 0);
}
