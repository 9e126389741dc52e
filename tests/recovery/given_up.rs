//! A channel that is given up is not waited for; what comes of it all the same is not left behind.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;
use ldk_peer_storage::backup::ChannelIds;
use ldk_peer_storage::lifecycle::{Lifecycle, LifecycleConfig, NodeStart, WhyUnknown};
use ldk_peer_storage::recovery::{Identity, RecoveryError, RecoveryEvent, WhyKept};
use ldk_peer_storage::service::Config;
use testkit::{pay, wait_until, ChannelType, KeyDerivation, DEADLINE};

use crate::odd_source::OddSource;
use crate::stage::{closes, Lost, Rescuer, Stage};

fn lost_with_one_channel(stage: &Stage, peer: &testkit::Node) -> Lost {
    let phone = stage.wallet("phone");
    stage.fund(&phone, peer);
    pay(&phone.node, peer, 10_000_000);
    stage.back_up(&phone, &[peer]);
    stage.lose(phone)
}

#[test]
fn a_close_that_comes_after_the_channel_was_given_up_is_swept() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    // It keeps a backup that names the channel by its id.
    let ours = stage.wallet("peer");
    let peer = &ours.node;
    let lost = lost_with_one_channel(&stage, peer);
    let mut rescuer = stage.rescuer(&lost);
    let plan = rescuer.agree(&[peer]);
    let channel = &plan.channels[0];
    let of = Some(channel.peer);
    rescuer.recovery.give_up(channel.ids, of).unwrap();
    let progress = rescuer.step();
    assert!(progress.done && progress.channels.is_empty());
    assert_eq!(progress.kept[0].why, WhyKept::GivenUp);
    rescuer.clock.advance(Duration::from_secs(600));
    rescuer.step();
    let asked = |e: &RecoveryEvent| matches!(e, RecoveryEvent::Asked { .. });
    assert!(!rescuer.events.lock().unwrap().iter().any(asked));

    peer.force_close(&peer.channels()[0].channel_id);
    wait_until("the peer's close", DEADLINE, || {
        closes(&stage.chain, &lost.funding) == 1
    });
    let progress = rescuer.step();
    assert!(!progress.done, "something of ours is in it");
    assert_eq!(progress.channels.len(), 1);
    let progress = rescuer.finish();
    assert_eq!(progress.recovered_sat + progress.fees_sat, 490_000);
    assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
    assert!(progress.kept.is_empty(), "it has come to its end");
    assert!(rescuer.storage.known().channels.is_empty());
}

#[test]
fn a_sweep_that_waits_when_its_channel_is_given_up_is_raised_and_waited_for() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let lost = lost_with_one_channel(&stage, &peer);
    let mut rescuer = stage.rescuer(&lost);
    let plan = rescuer.agree(&[&peer]);
    rescuer.step();
    stage.chain.mine(1);
    rescuer.step();
    let first = stage.chain.mempool();
    assert_eq!(first.len(), 1, "the sweep waits");
    rescuer
        .recovery
        .give_up(plan.channels[0].ids, None)
        .unwrap();
    for _ in 0..8 {
        assert!(!rescuer.step().done);
        stage.chain.mine_empty(1);
    }
    assert_ne!(stage.chain.mempool(), first, "it was raised");
    let progress = rescuer.finish();
    assert_eq!(progress.recovered_sat + progress.fees_sat, 490_000);
}

#[test]
fn a_node_may_start_on_the_seed_when_its_restored_channels_are_given_up() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let lost = lost_with_one_channel(&stage, &peer);
    let mut rescuer = stage.rescuer(&lost);
    rescuer.plan(&[&peer]);
    rescuer.stop();
    assert_eq!(check(&lost), NodeStart::Restored { channels: 1 });

    let mut rescuer = stage.rescuer(&lost);
    let plan = rescuer.agree(&[&peer]);
    rescuer.storage.finish_restore().unwrap();
    rescuer.stop();
    assert_eq!(check(&lost), NodeStart::Restored { channels: 1 });

    let mut rescuer = stage.rescuer(&lost);
    rescuer
        .recovery
        .give_up(plan.channels[0].ids, None)
        .unwrap();
    rescuer.stop();
    assert_eq!(check(&lost), NodeStart::Unknown(WhyUnknown::NotReported));
    assert_eq!(closes(&stage.chain, &lost.funding), 0);
}

/// What the app is told in this data directory, without a network.
fn check(lost: &Lost) -> NodeStart {
    let mut config = LifecycleConfig::new(Config::new(&lost.dir, Network::Regtest));
    config.network = false;
    let keys = Arc::new(Identity::from_seed(lost.seed).unwrap().keys());
    let life = Lifecycle::open(config, keys).unwrap();
    let start = life.check_before_node_start(DEADLINE);
    assert!(life.shutdown(DEADLINE).closed);
    start
}

#[test]
fn what_was_never_agreed_to_cannot_be_given_up() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let lost = lost_with_one_channel(&stage, &peer);
    let mut rescuer = stage.rescuer(&lost);
    let plan = rescuer.plan(&[&peer]);
    let channel = plan.channels[0].ids;
    let unknown = Err(RecoveryError::UnknownChannel);
    assert_eq!(rescuer.recovery.give_up(channel, None), unknown);
    let consent = crate::stage::consent(&plan);
    rescuer.recovery.agree(&plan, &consent).unwrap();
    let other = ChannelIds {
        short_channel_id: Some(1),
        ..ChannelIds::default()
    };
    assert_eq!(rescuer.recovery.give_up(other, None), unknown);
    let somebody = Some(plan.wallet);
    assert_eq!(rescuer.recovery.give_up(channel, somebody), unknown);
    assert!(!rescuer
        .recovery
        .give_up(other, None)
        .unwrap_err()
        .may_pass());
    let progress = rescuer.finish();
    assert_eq!(progress.recovered_sat + progress.fees_sat, 490_000);
}

#[test]
fn what_the_source_does_not_tell_of_a_channel_that_is_given_up_holds_nothing_up() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let lost = lost_with_one_channel(&stage, &peer);
    let source = OddSource::new(&stage.chain);
    let (chain, dir) = (stage.chain.clone(), lost.dir.clone());
    let mut rescuer = Rescuer::start_with(chain, lost.seed, dir, source.clone());
    let plan = rescuer.agree(&[&peer]);
    source.failing.lock().unwrap().insert(lost.funding[0].txid);
    let progress = rescuer.step();
    assert!(!progress.done && progress.trouble.is_some());
    rescuer
        .recovery
        .give_up(plan.channels[0].ids, None)
        .unwrap();
    let progress = rescuer.step();
    assert!(progress.done && progress.trouble.is_none());
}
