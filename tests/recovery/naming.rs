//! Whatever the chain source says, no channel is asked for that the person did not choose.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use bitcoin::OutPoint;
use ldk_peer_storage::recovery::{ChannelState, ConsentError, RecoveryEvent};
use testkit::{pay, ChannelType, KeyDerivation, Node};

use crate::odd_source::OddSource;
use crate::stage::{closes, consent, Lost, Rescuer, Stage};
use crate::support::Wallet;

/// A phone that had two channels with the same peer.
fn lost_with_two_channels(stage: &Stage, phone: Wallet, peer: &Node) -> Lost {
    for _ in 0..2 {
        stage.fund(&phone, peer);
        pay(&phone.node, peer, 10_000_000);
    }
    stage.back_up(&phone, &[peer]);
    stage.lose(phone)
}

/// The source says that each of the two funding outputs is where the other one is.
fn swap(stage: &Stage, source: &OddSource, funding: &[OutPoint]) {
    let places = [0, 1].map(|n| stage.chain.position(funding[n].txid).unwrap());
    let mut lies = source.lies.lock().unwrap();
    for (place, other) in places.iter().zip([funding[1], funding[0]]) {
        lies.insert((place.height, place.index), other.txid);
    }
}

fn rescuer(stage: &Stage, lost: &Lost, source: &Arc<OddSource>) -> Rescuer {
    Rescuer::start_with(
        stage.chain.clone(),
        lost.seed,
        lost.dir.clone(),
        source.clone(),
    )
}

/// A small backup knows both by their places alone.
#[test]
fn channels_that_only_the_chain_tells_apart_are_agreed_to_together_and_a_lie_costs_nothing() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let phone = stage.wallet("phone");
    let lost = lost_with_two_channels(&stage, phone, &peer);
    let source = OddSource::new(&stage.chain);
    swap(&stage, &source, &lost.funding);
    let mut rescuer = rescuer(&stage, &lost, &source);
    let plan = rescuer.plan(&[&peer]);
    assert_eq!(plan.channels.len(), 2);
    assert!(plan.channels.iter().all(|c| c.by_place_alone));

    let mut one = consent(&plan);
    one.channels.truncate(1);
    let refused = rescuer.recovery.agree(&plan, &one);
    assert_eq!(refused, Err(ConsentError::OnlyTogether(1)));
    rescuer.step();
    assert_eq!(closes(&stage.chain, &lost.funding), 0);

    rescuer.recovery.agree(&plan, &consent(&plan)).unwrap();
    let progress = rescuer.finish();
    assert_eq!(progress.found_sat, 2 * 490_000);
    assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
    assert!(rescuer.storage.known().channels.is_empty());
}

#[test]
fn when_one_of_them_is_given_up_the_other_is_not_asked_for_either() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let phone = stage.wallet("phone");
    let lost = lost_with_two_channels(&stage, phone, &peer);
    let mut rescuer = stage.rescuer(&lost);
    let plan = rescuer.agree(&[&peer]);
    rescuer
        .recovery
        .give_up(plan.channels[0].ids, None)
        .unwrap();
    let progress = rescuer.step();
    assert_eq!(progress.channels.len(), 1);
    assert_eq!(progress.channels[0].asked, 0);
    let told = |e: &RecoveryEvent| matches!(e, RecoveryEvent::NotNamed { times: 1, .. });
    assert!(rescuer.events.lock().unwrap().iter().any(told));
    assert_eq!(closes(&stage.chain, &lost.funding), 0);
    assert_eq!(peer.channels().len(), 2);

    // The person thinks better of it.
    rescuer.recovery.agree(&plan, &consent(&plan)).unwrap();
    rescuer.clock.advance(std::time::Duration::from_secs(600));
    assert_eq!(rescuer.finish().found_sat, 2 * 490_000);
}

/// A large backup knows both by their ids.
#[test]
fn of_channels_that_the_backup_tells_apart_one_alone_is_closed_whatever_the_chain_says() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.wallet("peer");
    let phone = stage.wallet("phone");
    let lost = lost_with_two_channels(&stage, phone, &peer.node);
    let source = OddSource::new(&stage.chain);
    swap(&stage, &source, &lost.funding);
    let mut rescuer = rescuer(&stage, &lost, &source);
    let plan = rescuer.plan(&[&peer.node]);
    assert_eq!(plan.channels.len(), 2);
    assert!(plan.channels.iter().all(|c| !c.by_place_alone));
    let mut one = consent(&plan);
    one.channels.truncate(1);
    let chosen = one.channels[0].funding_outpoint.unwrap();
    rescuer.recovery.agree(&plan, &one).unwrap();
    let progress = rescuer.finish();
    // The payments may have gone through either.
    assert!((480_000..=500_000).contains(&progress.found_sat));
    assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
    assert_eq!(closes(&stage.chain, &[chosen]), 1);
    assert_eq!(closes(&stage.chain, &lost.funding), 1);
}

/// An Esplora server proves where a transaction is, but not which one is at a place.
#[test]
fn a_source_that_names_another_transaction_than_the_one_at_a_place_is_not_followed() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let phone = stage.wallet("phone");
    let lost = lost_with_two_channels(&stage, phone, &peer);
    let source = OddSource::new(&stage.chain);
    swap(&stage, &source, &lost.funding);
    source.proves_places.store(true, Ordering::SeqCst);
    let mut rescuer = rescuer(&stage, &lost, &source);
    let plan = rescuer.agree(&[&peer]);
    let of_backup = plan.channels.iter().filter(|c| c.by_place_alone);
    assert!(of_backup.clone().all(|c| c.state == ChannelState::NotFound));
    // What the peer names is listed beside them, and can be agreed to by its own id.
    for channel in of_backup {
        rescuer.recovery.give_up(channel.ids, None).unwrap();
    }
    let progress = rescuer.finish();
    assert_eq!(progress.found_sat, 2 * 490_000);
    assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
    assert_eq!(
        rescuer.storage.known().channels.len(),
        2,
        "nothing is forgotten"
    );
}
