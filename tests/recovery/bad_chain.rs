//! What a chain source does not tell, or tells too late, holds back nothing else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use bitcoin::{BlockHash, Txid};
use ldk_peer_storage::exchange::RestoredMonitor;
use ldk_peer_storage::recovery::{ChannelState, RecoveryEvent, Stage as ChannelStage};
use lightning::chain::channelmonitor::ChannelMonitor;
use lightning::ln::types::ChannelId;
use lightning::sign::{InMemorySigner, KeysManager};
use lightning::util::ser::ReadableArgs;
use testkit::{
    pay, pay_hold, raw_peer, wait_until, ChannelType, KeyDerivation, Outgoing, RawPeer, DEADLINE,
};

use crate::odd_source::OddSource;
use crate::stage::{closes, consent, peer_record, Lost, Rescuer, Stage, BUDGET};
use crate::support::Wallet;

fn rescuer(stage: &Stage, lost: &Lost, source: &Arc<OddSource>) -> Rescuer {
    Rescuer::start_with(
        stage.chain.clone(),
        lost.seed,
        lost.dir.clone(),
        source.clone(),
    )
}

#[test]
fn a_channel_whose_funding_output_is_not_found_is_closed_and_swept_by_its_scripts() {
    for keys in [KeyDerivation::V2, KeyDerivation::V1] {
        let stage = Stage::new(ChannelType::Anchors, keys);
        let peer = stage.stock("peer");
        let phone = stage.wallet("phone");
        stage.fund(&phone, &peer);
        pay(&phone.node, &peer, 10_000_000);
        stage.back_up(&phone, &[&peer]);
        let lost = stage.lose(phone);
        // Its place leads nowhere, and so does the id that the peer names.
        let source = OddSource::new(&stage.chain);
        source.hidden.lock().unwrap().insert(lost.funding[0].txid);
        let mut rescuer = rescuer(&stage, &lost, &source);
        let plan = rescuer.agree(&[&peer]);
        assert_eq!(
            plan.channels.len(),
            2,
            "the record, and what the peer names"
        );
        let not_found =
            |c: &ldk_peer_storage::recovery::PlannedChannel| c.state == ChannelState::NotFound;
        assert!(plan.channels.iter().all(not_found));
        // They are the same, as the person sees.
        let unnamed = plan.channels.iter().find(|c| c.by_place_alone).unwrap();
        if keys == KeyDerivation::V2 {
            rescuer.recovery.give_up(unnamed.ids, None).unwrap();
            let progress = rescuer.finish();
            assert_eq!(progress.found_sat, 490_000);
            assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
            assert_eq!(
                rescuer.storage.known().channels.len(),
                1,
                "its backup stays"
            );
        } else {
            // The backup tells the key, so it is clear whose close it is.
            for _ in 0..60 {
                rescuer.step();
                stage.chain.mine(1);
                rescuer.clock.advance(std::time::Duration::from_secs(600));
            }
            let progress = rescuer.step();
            let of = |ids| progress.channels.iter().find(|c| c.ids == ids).unwrap();
            assert_eq!(of(unnamed.ids).stage, ChannelStage::Over);
            assert_eq!(progress.found_sat, 490_000);
            assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
        }
        assert_eq!(closes(&stage.chain, &lost.funding), 1);
    }
}

#[test]
fn scripts_of_which_nothing_true_is_told_do_not_stop_the_search() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let phone = stage.wallet("phone");
    stage.fund(&phone, &peer);
    pay(&phone.node, &peer, 10_000_000);
    stage.back_up(&phone, &[&peer]);
    let lost = stage.lose(phone);
    let source = OddSource::new(&stage.chain);
    source.hidden.lock().unwrap().insert(lost.funding[0].txid);
    source.wrong_scripts.store(1, Ordering::SeqCst);
    let mut rescuer = rescuer(&stage, &lost, &source);
    let plan = rescuer.agree(&[&peer]);
    let unnamed = plan.channels.iter().find(|c| c.by_place_alone).unwrap();
    rescuer.recovery.give_up(unnamed.ids, None).unwrap();
    assert!(rescuer.step().trouble.is_some());
    let progress = rescuer.finish();
    assert_eq!(progress.found_sat, 490_000);
    assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
}

#[test]
fn a_script_that_was_not_answered_is_asked_for_again_before_the_search_rests() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V1);
    let peer = stage.stock("peer");
    let phone = stage.wallet("phone");
    stage.fund(&phone, &peer);
    pay(&phone.node, &peer, 10_000_000);
    stage.back_up(&phone, &[&peer]);
    let lost = stage.lose(phone);
    let source = OddSource::new(&stage.chain);
    source.hidden.lock().unwrap().insert(lost.funding[0].txid);
    // The channel's own are the first.
    source.wrong_scripts.store(2, Ordering::SeqCst);
    let mut rescuer = rescuer(&stage, &lost, &source);
    rescuer.agree(&[&peer]);
    for _ in 0..12 {
        assert_eq!(rescuer.step().found_sat, 0);
        stage.chain.mine(1);
    }
    source.wrong_scripts.store(0, Ordering::SeqCst);
    // The clock stands: a search that had ended would rest.
    assert_eq!(rescuer.step().found_sat, 490_000);
}

#[test]
fn a_peer_that_names_hundreds_of_channels_neither_floods_the_plan_nor_the_chain_source() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let liar = RawPeer::new("liar");
    liar.on_connect(|to, _| {
        let reestablish = |n: u16| {
            let mut id = [7; 32];
            id[..2].copy_from_slice(&n.to_be_bytes());
            let samples = raw_peer::channel_messages(ChannelId(id)).into_iter();
            let message = samples.filter(|(type_id, _)| *type_id == 136);
            message.map(move |(type_id, body)| Outgoing::Raw { to, type_id, body })
        };
        (0..200).flat_map(reestablish).collect()
    });
    let lost = Lost {
        seed: [9; 32],
        dir: stage.home.path().join("new-phone"),
        funding: Vec::new(),
    };
    let source = OddSource::new(&stage.chain);
    let mut rescuer = rescuer(&stage, &lost, &source);
    let known = [peer_record(liar.id(), liar.addr())];
    let outcome = rescuer.session.restore(&known, BUDGET).unwrap();
    let plan = rescuer.recovery.plan(&outcome, &known).unwrap();
    assert_eq!(plan.channels.len(), 32);
    assert_eq!(plan.left_out.len(), 1);
    assert_eq!(plan.left_out[0].peer, liar.id());
    let seen = outcome.peers[0].outcome.as_ref().unwrap().channels.len();
    assert_eq!(plan.left_out[0].channels, seen - 32);
    assert!(source.calls() < 32 * 40, "{}", source.calls());

    // What an id leads to is asked for once, and then seldom.
    let before = source.calls();
    rescuer.recovery.plan(&outcome, &known).unwrap();
    assert!(source.calls() - before < 10);
    rescuer.recovery.agree(&plan, &consent(&plan)).unwrap();
    rescuer.step();
    let before = source.calls();
    rescuer.step();
    assert!(source.calls() - before < 300, "{}", source.calls() - before);
}

#[test]
fn a_channel_of_which_the_source_tells_nothing_holds_back_no_other() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let (anna, bert) = (stage.stock("anna"), stage.stock("bert"));
    let phone = stage.wallet("phone");
    for peer in [&anna, &bert] {
        stage.fund(&phone, peer);
    }
    for peer in [&anna, &bert] {
        pay(&phone.node, peer, 10_000_000);
    }
    stage.back_up(&phone, &[&anna, &bert]);
    let lost = stage.lose(phone);
    let source = OddSource::new(&stage.chain);
    source.failing.lock().unwrap().insert(lost.funding[0].txid);
    let mut rescuer = rescuer(&stage, &lost, &source);
    let plan = rescuer.agree(&[&anna, &bert]);
    let unseen = plan
        .channels
        .iter()
        .filter(|c| c.state == ChannelState::Unseen);
    assert_eq!(unseen.count(), 2, "the record, and what its peer names");
    assert!(plan.trouble.is_some());
    for _ in 0..12 {
        let progress = rescuer.step();
        assert!(!progress.done);
        assert!(progress.trouble.is_some());
        stage.chain.mine(1);
        rescuer.clock.advance(std::time::Duration::from_secs(600));
    }
    assert_eq!(rescuer.arrived().to_sat() / 1_000, 489, "the other one");
    source.failing.lock().unwrap().clear();
    let progress = rescuer.finish();
    assert_eq!(progress.found_sat, 2 * 490_000);
    assert_eq!(progress.trouble, None);
}

/// The phone had seen the peer's close, not yet buried, when it made its last backup, which another peer
/// keeps.
fn lost_after_the_close(stage: &Stage, peer: &Wallet, keeper: &Wallet) -> Lost {
    let phone = stage.wallet("phone");
    stage.fund(&phone, &peer.node);
    let funding = phone.node.funding_outpoints();
    stage.fund(&phone, &keeper.node);
    pay_hold(&phone.node, &peer.node, 50_000_000);
    let channel = peer.node.channels()[0].channel_id;
    peer.node.force_close(&channel);
    wait_until("the peer's close", DEADLINE, || {
        closes(&stage.chain, &funding) == 1
    });
    phone.node.wait_closed(&channel);
    stage.chain.mine(1);
    phone.node.sync();
    keeper.node.sync();
    phone.reconnect(&keeper.node);
    stage.back_up(&phone, &[&keeper.node]);
    let mut lost = stage.lose(phone);
    lost.funding = funding;
    lost
}

#[test]
fn a_monitor_that_has_seen_blocks_that_were_replaced_meanwhile_still_brings_its_payments() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let (peer, keeper) = (stage.wallet("peer"), stage.wallet("keeper"));
    let lost = lost_after_the_close(&stage, &peer, &keeper);
    stage.chain.reorg(1);
    stage.chain.mine_empty(1);
    stage.chain.mine(1);
    let mut rescuer = stage.rescuer(&lost);
    rescuer.agree(&[&keeper.node]);
    let monitors = rescuer.storage.restored_monitors();
    let seen = |m: &RestoredMonitor| seen_by(&lost.seed, &m.bytes).len();
    assert_eq!(monitors.iter().map(seen).sum::<usize>(), 1, "the close");
    let progress = rescuer.finish_within(220);
    assert!(progress.found_sat > 490_000 + 500_000, "{progress:?}");
    assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
}

#[test]
fn blocks_that_are_replaced_between_two_questions_do_no_harm() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let (peer, keeper) = (stage.wallet("peer"), stage.wallet("keeper"));
    let lost = lost_after_the_close(&stage, &peer, &keeper);
    stage.chain.mine(1);
    let source = OddSource::new(&stage.chain);
    let chain = stage.chain.clone();
    let at = Arc::new(AtomicUsize::new(usize::MAX));
    let wanted = at.clone();
    source.on_call(move |number| {
        if number == wanted.load(Ordering::SeqCst) {
            // The height stays; the close goes from the one block to the other.
            chain.reorg(2);
            match number % 2 {
                0 => (chain.mine_empty(1), chain.mine(1)),
                _ => (chain.mine(1), chain.mine_empty(1)),
            };
        }
    });
    let mut rescuer = rescuer(&stage, &lost, &source);
    let (chain, funding) = (stage.chain.clone(), lost.funding[0]);
    let mut times = 0;
    source.on_spend_of(move |output| {
        times += usize::from(*output == funding);
        // The plan asks once, the round too, and then the monitor, which believes that the close is in
        // the block in which the lost phone has seen it.
        if times == 3 && *output == funding {
            chain.reorg(2);
            chain.mine_empty(1);
            chain.mine(1);
        }
    });
    rescuer.agree(&[&keeper.node]);
    rescuer.step();
    for after in 0..40 {
        at.store(source.calls() + after, Ordering::SeqCst);
        rescuer.step();
    }
    at.store(usize::MAX, Ordering::SeqCst);
    let progress = rescuer.finish_within(260);
    assert!(progress.found_sat > 490_000 + 500_000, "{progress:?}");
    assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
    let swept = |e: &RecoveryEvent| matches!(e, RecoveryEvent::Over { .. });
    assert!(rescuer.events.lock().unwrap().iter().any(swept));
}

/// The peer's close is in the mempool then.
fn step_until_closed(stage: &Stage, lost: &Lost, rescuer: &mut Rescuer) {
    for _ in 0..10 {
        rescuer.step();
        rescuer.clock.advance(std::time::Duration::from_secs(600));
        if closes(&stage.chain, &lost.funding) == 1 {
            return;
        }
    }
    panic!("the peer does not close");
}

#[test]
fn a_close_that_moves_after_a_question_has_failed_is_shown_again() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.wallet("peer");
    let phone = stage.wallet("phone");
    stage.fund(&phone, &peer.node);
    pay_hold(&phone.node, &peer.node, 50_000_000);
    stage.back_up(&phone, &[&peer.node]);
    let lost = stage.lose(phone);
    let mut first = stage.rescuer(&lost);
    first.agree(&[&peer.node]);
    step_until_closed(&stage, &lost, &mut first);
    first.stop();
    stage.chain.mine(1);
    let source = OddSource::new(&stage.chain);
    let mut rescuer = rescuer(&stage, &lost, &source);
    // The monitor is shown the close, and then the source says nothing of its outputs.
    let close = stage.chain.spender(lost.funding[0]).unwrap().tx;
    source.failing.lock().unwrap().insert(close.compute_txid());
    assert!(rescuer.step().trouble.is_some());
    source.failing.lock().unwrap().clear();
    stage.chain.reorg(1);
    stage.chain.mine_empty(1);
    stage.chain.mine(1);
    let progress = rescuer.finish_within(220);
    assert!(progress.found_sat > 490_000, "{progress:?}");
    assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
}

#[test]
fn a_block_that_comes_while_a_round_looks_is_seen_in_the_next() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.wallet("peer");
    let phone = stage.wallet("phone");
    stage.fund(&phone, &peer.node);
    pay_hold(&phone.node, &peer.node, 50_000_000);
    stage.back_up(&phone, &[&peer.node]);
    let lost = stage.lose(phone);
    let source = OddSource::new(&stage.chain);
    let mut rescuer = rescuer(&stage, &lost, &source);
    rescuer.agree(&[&peer.node]);
    step_until_closed(&stage, &lost, &mut rescuer);
    let (chain, funding) = (stage.chain.clone(), lost.funding[0]);
    let before = chain.height();
    let mut times = 0;
    source.on_spend_of(move |output| {
        times += usize::from(*output == funding);
        // The round asks once, and then the monitor.
        if times == 2 && chain.height() == before {
            chain.mine(1);
        }
    });
    rescuer.step();
    assert_eq!(stage.chain.height(), before + 1);
    let progress = rescuer.finish_within(220);
    assert!(progress.found_sat > 490_000, "{progress:?}");
    assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
}

/// The transactions that a monitor believes to be in the chain, not buried yet.
fn seen_by(seed: &[u8; 32], bytes: &[u8]) -> Vec<Txid> {
    let keys = KeysManager::new(seed, 0, 0, true);
    let mut reader = bytes;
    let read = <(BlockHash, ChannelMonitor<InMemorySigner>)>::read(&mut reader, (&keys, &keys));
    let seen = read.unwrap().1.get_relevant_txids();
    seen.into_iter().map(|(txid, _, _)| txid).collect()
}
