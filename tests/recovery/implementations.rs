//! The one sequence against every implementation: its way to close, real channels, to the satoshi.

use std::time::Duration;

use ldk_peer_storage::backup::PeerRecord;
use ldk_peer_storage::recovery::{KnownBy, Progress, RecoveryEvent, Stage as ChannelStage, Way};
use testkit::scripted::{take_over, CoreLightning, Eclair, Lnd};
use testkit::{
    pay, wait_until, ChannelType, KeyDerivation, Node, RawPeer, RawPeerConfig, ScriptedPeer,
    DEADLINE,
};

use crate::listened::{attempts, listened, REST, STAY};
use crate::stage::{closes, consent, peer_record, Lost, Rescuer, Stage, BUDGET};

/// What the phone owns in each channel after its payment, in sat.
pub const OWNED: u64 = 500_000 - 10_000;
/// What LND takes before it acts on a message.
const DIGESTION: Duration = Duration::from_millis(400);

/// A phone with a channel to each of these peers, paid over and backed up, is lost.
pub fn lost_with(stage: &Stage, peers: &[&Node]) -> Lost {
    let phone = stage.wallet("phone");
    for peer in peers {
        stage.fund(&phone, peer);
        pay(&phone.node, peer, 10_000_000);
    }
    stage.back_up(&phone, peers);
    stage.lose(phone)
}

pub fn record(peer: &ScriptedPeer) -> PeerRecord {
    peer_record(peer.raw().id(), peer.raw().addr())
}

/// Reads back from these peers, and agrees to everything.
pub fn agree(rescuer: &mut Rescuer, first: &[PeerRecord]) {
    let outcome = rescuer.session.restore(first, BUDGET).unwrap();
    let plan = rescuer.recovery.plan(&outcome, first).unwrap();
    assert!(plan.channels.iter().all(|c| c.known_by == KnownBy::Backup));
    let consent = consent(&plan);
    rescuer.recovery.agree(&plan, &consent).unwrap();
}

#[track_caller]
pub fn assert_all_came(rescuer: &Rescuer, progress: &Progress, owned: u64) {
    assert_eq!(progress.found_sat, owned);
    assert_eq!(progress.recovered_sat + progress.fees_sat, owned);
    assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
}

#[test]
fn one_sequence_closes_channels_of_every_implementation_and_brings_all_back() {
    every_implementation(ChannelType::StaticRemoteKey);
}

#[test]
fn one_sequence_closes_anchor_channels_of_every_implementation_and_brings_all_back() {
    every_implementation(ChannelType::Anchors);
}

fn every_implementation(channel_type: ChannelType) {
    let stage = Stage::new(channel_type, KeyDerivation::V2);
    let nodes = ["core lightning", "lnd", "eclair", "ldk"].map(|name| stage.stock(name));
    let lost = lost_with(&stage, &nodes.iter().collect::<Vec<_>>());
    let [cln, lnd, eclair, ldk] = nodes;
    let [cln, mut lnd, eclair] = [cln, lnd, eclair].map(|node| take_over(node, lost.seed));
    assert!(cln.held.blob.is_some() && eclair.held.blob.is_some());
    lnd.held.blob = None;
    let cln = ScriptedPeer::start(&stage.chain, cln, CoreLightning::default());
    let lnd = ScriptedPeer::start(&stage.chain, lnd, Lnd::new(DIGESTION));
    let eclair = ScriptedPeer::start(&stage.chain, eclair, Eclair::default());
    let channel = |peer: &ScriptedPeer| peer.held().channels[0].reestablish.channel_id;
    let has_closed = |peer: &ScriptedPeer| peer.has_closed(&channel(peer));

    let (mut rescuer, wire) = listened(&stage, &lost);
    agree(&mut rescuer, &[record(&cln)]);
    assert_eq!(closes(&stage.chain, &lost.funding), 0, "agreed, not asked");
    rescuer.step();
    assert!(has_closed(&cln) && has_closed(&eclair));
    assert!(!has_closed(&lnd), "an error closes nothing there");
    wait_until("stock LDK to close", DEADLINE, || {
        closes(&stage.chain, &lost.funding) == 3
    });

    // Nobody's turn has come: the chain tells who has closed.
    let progress = rescuer.step();
    let of = |peer| {
        let mut channels = progress.channels.iter();
        channels.find(|c| c.peer == peer).unwrap()
    };
    for peer in [cln.raw().id(), eclair.raw().id(), ldk.id()] {
        assert!(matches!(of(peer).stage, ChannelStage::Closing(_)));
        assert_eq!(of(peer).asked, 1);
    }
    let waiting = of(lnd.raw().id());
    assert_eq!((waiting.stage, waiting.asked), (ChannelStage::Open, 1));
    assert!(!progress.done && !progress.next_round_in.is_zero());

    let progress = rescuer.finish();
    assert_all_came(&rescuer, &progress, 4 * OWNED);
    let asked = |peer| attempts(peer, &wire, REST, STAY);
    assert_eq!(asked(&cln), [Way::Error]);
    assert_eq!(asked(&eclair), [Way::Error]);
    assert_eq!(asked(&lnd), [Way::Error, Way::BogusReestablish]);
    let sent = wire.sent_to(&lnd.raw().id());
    assert!(sent.iter().any(|name| name == "Pong"), "{sent:?}");
    let events = rescuer.events.lock().unwrap();
    let told = |way| {
        let peer = lnd.raw().id();
        events.contains(&RecoveryEvent::Asked { peer, way })
    };
    assert!(told(Way::Error) && told(Way::BogusReestablish));
}

#[test]
fn an_older_lnd_that_believes_in_the_lost_phone_is_insisted_on() {
    let stage = Stage::new(ChannelType::StaticRemoteKey, KeyDerivation::V2);
    let (node, keeper) = (stage.stock("lnd"), stage.stock("keeper"));
    let lost = lost_with(&stage, &[&node, &keeper]);
    let mut estate = take_over(node, lost.seed);
    estate.held.blob = None;
    let channel = estate.held.channels[0].reestablish.channel_id;
    let lnd = ScriptedPeer::start(&stage.chain, estate, Lnd::new(DIGESTION).older());

    let (mut rescuer, wire) = listened(&stage, &lost);
    agree(&mut rescuer, &[crate::stage::record(&keeper)]);
    for _ in 0..2 {
        // What it has dialled itself it prefers to who comes in.
        let before = lnd.talks().len();
        let ghost = RawPeer::start(RawPeerConfig {
            seed: lost.seed,
            ..RawPeerConfig::new("the lost phone")
        });
        lnd.raw().connect(&ghost.id(), ghost.addr());
        let gone = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(1));
            drop(ghost);
        });
        rescuer.step();
        gone.join().unwrap();
        assert_eq!(lnd.talks().len(), before + 2, "the ghost, then the phone");
        rescuer.clock.advance(Duration::from_secs(600));
    }
    assert!(lnd.has_closed(&channel));
    let progress = rescuer.finish();
    assert_all_came(&rescuer, &progress, 2 * OWNED);
    let asked = attempts(&lnd, &wire, REST, STAY);
    assert_eq!(asked, [Way::Error, Way::BogusReestablish]);
    let events = rescuer.events.lock().unwrap();
    let unreached = |e: &RecoveryEvent| matches!(e, RecoveryEvent::NotReached { .. });
    assert!(!events.iter().any(unreached));
}
