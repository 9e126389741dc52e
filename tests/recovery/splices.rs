//! A funding output that is spent without anything of ours: a splice, or the end.

use std::sync::Arc;

use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{hashes::Hash, WPubkeyHash};
use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxIn, TxOut, WScriptHash};
use ldk_peer_storage::recovery::chain::{ChainSource, FoundTransaction, Place};
use ldk_peer_storage::recovery::{RecoveryEvent, Stage as ChannelStage, WhyKept};
use testkit::{pay, wait_until, ChannelType, KeyDerivation, Node, DEADLINE};

use crate::odd_source::OddSource;
use crate::stage::{closes, Lost, Rescuer, Stage};

/// More than are followed.
const LONG: usize = 20;

fn lost_with_one_channel(stage: &Stage, peer: &Node) -> (Lost, Arc<OddSource>) {
    let phone = stage.wallet("phone");
    stage.fund(&phone, peer);
    pay(&phone.node, peer, 10_000_000);
    stage.back_up(&phone, &[peer]);
    (stage.lose(phone), OddSource::new(&stage.chain))
}

fn rescuer(stage: &Stage, lost: &Lost, source: &Arc<OddSource>) -> Rescuer {
    let (chain, dir) = (stage.chain.clone(), lost.dir.clone());
    Rescuer::start_with(chain, lost.seed, dir, source.clone())
}

fn p2wsh() -> ScriptBuf {
    ScriptBuf::new_p2wsh(&WScriptHash::all_zeros())
}

/// A transaction in the last block, as far as the source says, that spends `outpoint` to these scripts.
fn spend(stage: &Stage, source: &OddSource, outpoint: OutPoint, to: &[ScriptBuf]) -> Transaction {
    let output = to.iter().map(|script| TxOut {
        value: Amount::from_sat(10_000),
        script_pubkey: script.clone(),
    });
    let tx = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: outpoint,
            ..TxIn::default()
        }],
        output: output.collect(),
    };
    let tip = stage.chain.tip();
    let place = Some(Place {
        height: tip.height,
        block: tip.block_hash,
        index: 1,
    });
    let found = FoundTransaction {
        tx: tx.clone(),
        place,
    };
    source.spends.lock().unwrap().insert(outpoint, found);
    tx
}

/// One after the other, and never an end.
fn spend_on_and_on(stage: &Stage, source: &OddSource, mut outpoint: OutPoint) {
    for _ in 0..LONG {
        let tx = spend(stage, source, outpoint, &[p2wsh()]);
        outpoint = OutPoint::new(tx.compute_txid(), 0);
    }
    spend(stage, source, outpoint, &[]);
}

#[test]
fn a_channel_behind_more_splices_than_are_followed_is_not_taken_for_closed() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let (lost, source) = lost_with_one_channel(&stage, &peer);
    spend_on_and_on(&stage, &source, lost.funding[0]);
    let mut rescuer = rescuer(&stage, &lost, &source);
    rescuer.agree(&[&peer]);
    for _ in 0..10 {
        let progress = rescuer.step();
        assert_eq!(progress.channels[0].stage, ChannelStage::Open);
        assert!(!progress.done && progress.kept.is_empty());
        stage.chain.mine_empty(1);
    }
}

#[test]
fn what_is_near_is_looked_at_before_what_others_have_made_of_the_rest() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let (lost, source) = lost_with_one_channel(&stage, &peer);
    let funding = lost.funding[0];
    let splice = spend(&stage, &source, funding, &[p2wsh(), p2wsh()]);
    let outpoint = |vout| OutPoint::new(splice.compute_txid(), vout);
    spend_on_and_on(&stage, &source, outpoint(1));
    peer.force_close(&peer.channels()[0].channel_id);
    wait_until("the peer's close", DEADLINE, || {
        closes(&stage.chain, &lost.funding) == 1
    });
    stage.chain.mine(1);
    let own = crate::support::OwnChainSource::new(&stage.chain);
    let close = own.spend_of(&funding).unwrap().unwrap();
    source.spends.lock().unwrap().insert(outpoint(0), close);
    let mut rescuer = rescuer(&stage, &lost, &source);
    rescuer.agree(&[&peer]);
    let progress = rescuer.finish();
    assert_eq!(progress.recovered_sat + progress.fees_sat, 490_000);
}

#[test]
fn a_close_without_anything_of_ours_is_told_as_that() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let (lost, source) = lost_with_one_channel(&stage, &peer);
    let others = ScriptBuf::new_p2wpkh(&WPubkeyHash::all_zeros());
    let close = spend(&stage, &source, lost.funding[0], &[others]).compute_txid();
    let mut rescuer = rescuer(&stage, &lost, &source);
    rescuer.agree(&[&peer]);
    let progress = rescuer.step();
    let stage_now = progress.channels[0].stage;
    assert_eq!(stage_now, ChannelStage::NothingOfOurs(close));
    let progress = rescuer.finish();
    assert_eq!(progress.found_sat, 0);
    assert_eq!(progress.kept[0].why, WhyKept::NothingFound);
    assert_eq!(rescuer.storage.known().channels.len(), 1);
    let told = |e: &RecoveryEvent| matches!(e, RecoveryEvent::NothingOfOurs { .. });
    assert!(rescuer.events.lock().unwrap().iter().any(told));
}
