//! Peers that do not close, that lie about their channels, or that speak of what LDK does not know: they
//! harm themselves alone.

use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use ldk_peer_storage::recovery::{
    ChannelState, ConsentError, KnownBy, RecoveryEvent, Stage as ChannelStage, Way,
};
use lightning::ln::msgs::ChannelReestablish;
use lightning::ln::types::ChannelId;
use lightning::util::ser::Writeable;
use testkit::scripted::{commitments, take_over, Act, CoreLightning, Held, Script, Word};
use testkit::{copy_dir, pay, ChannelType, KeyDerivation, Node, Outgoing, ScriptedPeer, DEADLINE};

use crate::implementations::{agree, assert_all_came, lost_with, record, OWNED};
use crate::listened::{attempts, listened_with};
use crate::stage::{closes, consent, Lost, Rescuer, Stage, BUDGET};
use crate::support::OwnChainSource;

/// These peers are slow in nothing.
const REST: Duration = Duration::from_millis(200);
const STAY: Duration = Duration::from_millis(300);
/// Longer than the first pauses between two attempts.
const WHILE: Duration = Duration::from_secs(600);

/// Says what it is told to say, and closes a channel at an `error` that names it, if it may.
struct Odd {
    says: Vec<Act>,
    closes: bool,
}

impl Script for Odd {
    fn connected(&mut self, _to: PublicKey, _held: &Held) -> Vec<Act> {
        self.says.clone()
    }

    fn heard(&mut self, _from: PublicKey, word: &Word, _held: &Held) -> Vec<Act> {
        match word {
            Word::Error(error) if self.closes => vec![Act::Close(error.channel_id)],
            _ => Vec::new(),
        }
    }
}

/// A peer that says what `says` makes of the true `channel_reestablish`.
fn odd(
    stage: &Stage,
    lost: &Lost,
    node: Node,
    closes: bool,
    says: impl FnOnce(PublicKey, ChannelReestablish) -> Vec<Outgoing>,
) -> ScriptedPeer {
    let estate = take_over(node, lost.seed);
    let truth = estate.held.channels[0].reestablish.clone();
    let says = says(estate.other, truth).into_iter().map(Act::Say);
    let says = says.collect();
    ScriptedPeer::start(&stage.chain, estate, Odd { says, closes })
}

pub fn rescuer(stage: &Stage, lost: &Lost) -> (Rescuer, std::sync::Arc<testkit::WireTap>) {
    let source = std::sync::Arc::new(OwnChainSource::new(&stage.chain));
    listened_with(stage, lost, source, REST, STAY)
}

/// A round, a block, and ten minutes.
pub fn round(rescuer: &mut Rescuer) -> ldk_peer_storage::recovery::Progress {
    let progress = rescuer.step();
    rescuer.chain.mine(1);
    rescuer.clock.advance(WHILE);
    progress
}

fn channel(peer: &ScriptedPeer) -> ChannelId {
    peer.held().channels[0].reestablish.channel_id
}

#[test]
fn peers_that_never_close_are_asked_both_ways_in_turn_and_hold_up_nobody() {
    let stage = Stage::new(ChannelType::StaticRemoteKey, KeyDerivation::V2);
    let nodes = ["stubborn", "mute", "keeper"].map(|name| stage.stock(name));
    let lost = lost_with(&stage, &nodes.iter().collect::<Vec<_>>());
    let [stubborn, mute, keeper] = nodes;
    let speaks = |to, msg| vec![Outgoing::reestablish(to, msg)];
    let stubborn = odd(&stage, &lost, stubborn, false, speaks);
    let mute = odd(&stage, &lost, mute, false, |_, _| Vec::new());

    let (mut rescuer, wire) = rescuer(&stage, &lost);
    agree(&mut rescuer, &[crate::stage::record(&keeper)]);
    let mut progress = round(&mut rescuer);
    for _ in 0..7 {
        progress = round(&mut rescuer);
        assert!(!progress.done);
    }
    let stage_of = |peer| {
        progress
            .channels
            .iter()
            .find(|c| c.peer == peer)
            .unwrap()
            .stage
    };
    assert_eq!(stage_of(keeper.id()), ChannelStage::Over);
    assert_eq!(stage_of(mute.raw().id()), ChannelStage::Open);
    let asked = attempts(&stubborn, &wire, REST, STAY);
    assert!(asked.len() >= 4, "{asked:?}");
    for asked in [asked, attempts(&mute, &wire, REST, STAY)] {
        for (n, way) in asked.into_iter().enumerate() {
            assert_eq!(way == Way::Error, n % 2 == 0);
        }
    }
    assert_eq!(closes(&stage.chain, &lost.funding), 1);

    let never: Vec<_> = progress
        .channels
        .iter()
        .filter(|c| c.peer != keeper.id())
        .collect();
    for channel in never {
        rescuer.recovery.give_up(channel.ids, None).unwrap();
    }
    let progress = rescuer.step();
    assert!(progress.done);
    assert_all_came(&rescuer, &progress, OWNED);
    assert_eq!(rescuer.storage.known().channels.len(), 2, "still backed up");
}

#[test]
fn what_is_ours_in_an_older_state_comes_as_it_stands_there() {
    // The peer gains by the older state, or loses.
    for since_then in [200_000_000, 0] {
        let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
        let peer = stage.stock("peer");
        let phone = stage.wallet("phone");
        stage.fund(&phone, &peer);
        pay(&phone.node, &peer, 10_000_000);
        let port = peer.addr().port();
        peer.stop();
        let mut old = stage.config("peer");
        old.dir = stage.home.path().join("an old state of the peer");
        copy_dir(stage.home.path().join("peer"), &old.dir);
        let peer = Node::start(stage.config("peer").listen(port));
        phone.reconnect(&peer);
        match since_then {
            0 => pay(&peer, &phone.node, 50_000_000),
            msat => pay(&phone.node, &peer, msat),
        }
        stage.back_up(&phone, &[&peer]);
        let lost = stage.lose(phone);
        let mut estate = take_over(peer, lost.seed);
        let channel = &mut estate.held.channels[0];
        let newest = std::mem::replace(
            &mut channel.commitment,
            commitments(&old)[&channel.reestablish.channel_id].clone(),
        );
        assert_ne!(newest, channel.commitment);
        let peer = ScriptedPeer::start(&stage.chain, estate, CoreLightning::default());

        let (mut rescuer, _) = rescuer(&stage, &lost);
        agree(&mut rescuer, &[record(&peer)]);
        let progress = rescuer.finish();
        assert_all_came(&rescuer, &progress, OWNED);
        assert_eq!(progress.channels[0].ours_sat, OWNED);
    }
}

#[test]
fn a_peer_that_names_the_channel_of_another_closes_nothing_there() {
    let stage = Stage::new(ChannelType::StaticRemoteKey, KeyDerivation::V2);
    let (liar, honest) = (stage.stock("liar"), stage.stock("honest"));
    let lost = lost_with(&stage, &[&liar, &honest]);
    let anothers = honest.channels()[0].channel_id;
    let liar = odd(&stage, &lost, liar, true, |to, truth| {
        let msg = ChannelReestablish {
            channel_id: anothers,
            ..truth
        };
        vec![Outgoing::reestablish(to, msg)]
    });
    let (mut rescuer, _) = rescuer(&stage, &lost);
    let both = [record(&liar), crate::stage::record(&honest)];
    let outcome = rescuer.session.restore(&both, BUDGET).unwrap();
    let plan = rescuer.recovery.plan(&outcome, &both).unwrap();
    let known_by = |by| plan.channels.iter().filter(|c| c.known_by == by).count();
    assert_eq!((known_by(KnownBy::Backup), known_by(KnownBy::Peer)), (2, 1));

    // The person wants the liar's channel alone. Which of the two it is, only the chain tells.
    let of_liar = plan.channels.iter().filter(|c| c.peer == liar.raw().id());
    let (backed_up, named): (Vec<_>, Vec<_>) = of_liar.partition(|c| c.by_place_alone);
    let mut one = consent(&plan);
    one.channels = vec![backed_up[0].ids];
    let refused = rescuer.recovery.agree(&plan, &one);
    assert_eq!(refused, Err(ConsentError::OnlyTogether(1)));
    one.channels.push(named[0].ids);
    rescuer.recovery.agree(&plan, &one).unwrap();
    for _ in 0..2 {
        round(&mut rescuer);
    }
    let heard = liar.talks().into_iter().flat_map(|talk| talk.heard);
    let asked = heard.filter(|(_, m)| m.body.starts_with(&anothers.0));
    assert!(asked.count() > 0, "by what it calls its own");
    assert!(honest.closed_channels().is_empty());
    assert_eq!(closes(&stage.chain, &lost.funding), 0);

    // Now everything, also what the liar says. Nothing counts twice.
    rescuer.recovery.agree(&plan, &consent(&plan)).unwrap();
    for _ in 0..12 {
        let progress = round(&mut rescuer);
        let there = closes(&stage.chain, &lost.funding) as u64 * OWNED;
        assert!(progress.found_sat <= there, "{progress:?}");
    }
    let progress = rescuer.step();
    assert!(!honest.closed_channels().is_empty());
    assert!(progress.found_sat >= OWNED);
    assert_all_came(&rescuer, &progress, progress.found_sat);
}

/// Without a backup the peers' word is all there is, and the liar has the first one.
#[test]
fn without_a_backup_a_peer_that_names_the_channel_of_another_does_not_hide_it() {
    let stage = Stage::new(ChannelType::StaticRemoteKey, KeyDerivation::V2);
    let (liar, honest) = (stage.stock("liar"), stage.stock("honest"));
    let phone = stage.stock("phone");
    for peer in [&liar, &honest] {
        phone.connect_to(peer);
        testkit::open_channel(&stage.chain, peer, &phone, 1_000_000);
        pay(&phone, peer, 10_000_000);
    }
    let lost = Lost {
        seed: phone.config().seed,
        dir: stage.home.path().join("new-phone"),
        funding: phone.funding_outpoints(),
    };
    phone.kill();
    let anothers = honest.channels()[0].channel_id;
    let liar = odd(&stage, &lost, liar, true, |to, truth| {
        let lie = ChannelReestablish {
            channel_id: anothers,
            ..truth.clone()
        };
        let both = [lie, truth].into_iter();
        both.map(|msg| Outgoing::reestablish(to, msg)).collect()
    });
    // Plans list what peers say in the order of their node ids.
    let (mut rescuer, _) = rescuer(&stage, &lost);
    let both = [record(&liar), crate::stage::record(&honest)];
    let mut outcome = rescuer.session.restore(&both, BUDGET).unwrap();
    outcome
        .peers
        .sort_by_key(|report| report.peer != liar.raw().id());
    let plan = rescuer.recovery.plan(&outcome, &both).unwrap();
    assert_eq!(plan.channels.len(), 3);
    rescuer.recovery.agree(&plan, &consent(&plan)).unwrap();
    for _ in 0..20 {
        let progress = round(&mut rescuer);
        let there = closes(&stage.chain, &lost.funding) as u64 * OWNED;
        assert!(progress.found_sat <= there, "{progress:?}");
        if progress.done {
            assert_all_came(&rescuer, &progress, 2 * OWNED);
            return;
        }
    }
    panic!("not done: {:?}", rescuer.recovery);
}

#[test]
fn a_peer_that_names_three_hundred_channels_is_no_burden() {
    let stage = Stage::new(ChannelType::StaticRemoteKey, KeyDerivation::V2);
    let (node, honest) = (stage.stock("boaster"), stage.stock("honest"));
    let lost = lost_with(&stage, &[&node, &honest]);
    let boaster = odd(&stage, &lost, node, true, |to, truth| {
        let made_up = (0..299u16).map(|n| {
            let mut channel_id = ChannelId([0x77; 32]);
            channel_id.0[..2].copy_from_slice(&n.to_be_bytes());
            let truth = truth.clone();
            ChannelReestablish {
                channel_id,
                ..truth
            }
        });
        let first = std::iter::once(truth.clone());
        let all = first.chain(made_up);
        all.map(|msg| Outgoing::reestablish(to, msg)).collect()
    });
    let (mut rescuer, _) = rescuer(&stage, &lost);
    let both = [record(&boaster), crate::stage::record(&honest)];
    let outcome = rescuer.session.restore(&both, BUDGET).unwrap();
    let begun = Instant::now();
    let plan = rescuer.recovery.plan(&outcome, &both).unwrap();
    assert!(begun.elapsed() < DEADLINE);
    let (backed_up, made_up): (Vec<_>, Vec<_>) = plan
        .channels
        .iter()
        .partition(|c| c.known_by == KnownBy::Backup);
    assert_eq!(backed_up.len(), 2);
    assert!(made_up.len() < 300);
    assert!(made_up.iter().all(|c| c.state == ChannelState::NotFound));
    assert!(plan
        .left_out
        .iter()
        .any(|cut| cut.peer == boaster.raw().id()));
    let mut true_ones = consent(&plan);
    true_ones.channels = backed_up.iter().map(|c| c.ids).collect();
    let refused = rescuer.recovery.agree(&plan, &true_ones);
    assert_eq!(refused, Err(ConsentError::OnlyTogether(made_up.len())));

    // Which of so many is the one that the backup knows by its place, nobody can tell for sure. It costs
    // nobody else anything.
    rescuer.recovery.agree(&plan, &consent(&plan)).unwrap();
    for _ in 0..12 {
        round(&mut rescuer);
    }
    assert!(!boaster.has_closed(&channel(&boaster)));
    for channel in plan
        .channels
        .iter()
        .filter(|c| c.peer == boaster.raw().id())
    {
        rescuer.recovery.give_up(channel.ids, None).unwrap();
    }
    let progress = rescuer.finish();
    assert_all_came(&rescuer, &progress, OWNED);
}

/// LDK 0.2 hangs up at a `channel_reestablish` with a TLV that it must not ignore, as taproot channels
/// have one.
#[test]
fn a_taproot_peer_is_told_of_as_one_that_cannot_be_asked() {
    let stage = Stage::new(ChannelType::StaticRemoteKey, KeyDerivation::V2);
    let (node, keeper) = (stage.stock("taproot"), stage.stock("keeper"));
    let lost = lost_with(&stage, &[&node, &keeper]);
    let taproot = odd(&stage, &lost, node, true, |to, truth| {
        let mut body = truth.encode();
        // next_local_nonce: two points.
        body.extend([4, 66]);
        body.extend([2; 66]);
        vec![Outgoing::Raw {
            to,
            type_id: 136,
            body,
        }]
    });
    let (mut rescuer, wire) = rescuer(&stage, &lost);
    agree(&mut rescuer, &[crate::stage::record(&keeper)]);
    let mut progress = round(&mut rescuer);
    for _ in 0..9 {
        progress = round(&mut rescuer);
    }
    let of = |peer| progress.channels.iter().find(|c| c.peer == peer).unwrap();
    assert_eq!(of(keeper.id()).stage, ChannelStage::Over);
    let not_asked = of(taproot.raw().id());
    assert_eq!((not_asked.stage, not_asked.asked), (ChannelStage::Open, 0));
    assert!(not_asked.unreached >= 3, "{not_asked:?}");
    assert!(attempts(&taproot, &wire, REST, STAY).is_empty());
    let events = rescuer.events.lock().unwrap();
    let told = events.iter().any(|event| match event {
        RecoveryEvent::NotReached { peer, why, .. } => {
            *peer == taproot.raw().id() && why.contains("hung up")
        }
        _ => false,
    });
    assert!(told, "{events:?}");
    assert_eq!(progress.recovered_sat + progress.fees_sat, OWNED);
}
