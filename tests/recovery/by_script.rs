//! What was found by our scripts alone proves nothing: anyone who knows a script can pay to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use bitcoin::absolute::LockTime;
use bitcoin::secp256k1::PublicKey;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut};
use ldk_peer_storage::recovery::{RecoveryEvent, Stage as ChannelStage, WhyKept};
use testkit::chain::{anyone_can_spend, anyone_can_spend_witness};
use testkit::scripted::{take_over, Act, Held, Script, Word};
use testkit::{Chain, ChannelType, KeyDerivation, Outgoing, ScriptedPeer};

use crate::implementations::{lost_with, record, OWNED};
use crate::listened::listened_with;
use crate::odd_peers::round;
use crate::odd_source::OddSource;
use crate::stage::{consent, Stage, BUDGET};

const REST: std::time::Duration = std::time::Duration::from_millis(200);
const DUST: u64 = 5_000;

/// Names its channel as long as it has not closed it, and does not close it when it is asked.
struct Stubborn {
    has_closed: Arc<AtomicBool>,
}

impl Script for Stubborn {
    fn connected(&mut self, to: PublicKey, held: &Held) -> Vec<Act> {
        let kept = held.blob.iter();
        let mut says: Vec<_> = kept
            .map(|blob| Outgoing::retrieval(to, blob.clone()))
            .collect();
        if !self.has_closed.load(Ordering::SeqCst) {
            let channels = held.channels.iter();
            says.extend(channels.map(|c| Outgoing::reestablish(to, c.reestablish.clone())));
        }
        says.into_iter().map(Act::Say).collect()
    }

    fn heard(&mut self, _from: PublicKey, _word: &Word, _held: &Held) -> Vec<Act> {
        Vec::new()
    }
}

/// A transaction of the form that a commitment has, of somebody's own coins.
fn fake_commitment(chain: &Chain, script: &ScriptBuf) -> Transaction {
    let coin = chain.pay(&anyone_can_spend(b"a liar"), Amount::from_sat(DUST + 500));
    chain.mine(1);
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::from_consensus(0x2000_0001),
        input: vec![TxIn {
            previous_output: OutPoint::new(coin.compute_txid(), 0),
            sequence: Sequence(0x8000_0001),
            witness: anyone_can_spend_witness(b"a liar"),
            ..TxIn::default()
        }],
        output: vec![TxOut {
            value: Amount::from_sat(DUST),
            script_pubkey: script.clone(),
        }],
    }
}

#[test]
fn dust_to_a_script_of_ours_is_no_close() {
    dust_ends_nothing(KeyDerivation::V1, false);
}

#[test]
fn what_looks_like_a_close_by_its_key_ends_no_channel_that_the_peer_still_names() {
    dust_ends_nothing(KeyDerivation::V1, true);
}

#[test]
fn what_looks_like_the_one_close_for_the_one_channel_does_not_end_the_asking() {
    dust_ends_nothing(KeyDerivation::V2, true);
}

fn dust_ends_nothing(keys: KeyDerivation, has_form: bool) {
    let stage = Stage::new(ChannelType::StaticRemoteKey, keys);
    let node = stage.stock("peer");
    let lost = lost_with(&stage, &[&node]);
    let has_closed = Arc::new(AtomicBool::new(false));
    let script = Stubborn {
        has_closed: has_closed.clone(),
    };
    let peer = ScriptedPeer::start(&stage.chain, take_over(node, lost.seed), script);
    // The source does not find the funding output; the peer says that the channel lives.
    let source = OddSource::new(&stage.chain);
    source.hidden.lock().unwrap().insert(lost.funding[0].txid);
    let (mut rescuer, _) = listened_with(&stage, &lost, source, REST, REST);
    let known = [record(&peer)];
    let outcome = rescuer.session.restore(&known, BUDGET).unwrap();
    let plan = rescuer.recovery.plan(&outcome, &known).unwrap();
    assert_eq!(plan.channels.len(), 2, "the record, and what is named");
    rescuer.recovery.agree(&plan, &consent(&plan)).unwrap();
    if keys == KeyDerivation::V2 {
        // No key tells it then: it is one close for one channel.
        let unnamed = plan.channels.iter().find(|c| c.by_place_alone).unwrap();
        let of = Some(unnamed.peer);
        rescuer.recovery.give_up(unnamed.ids, of).unwrap();
    }

    let commitment = peer.held().channels[0].commitment.clone();
    let ours = commitment.output.iter();
    let ours = ours.max_by_key(|o| o.value.to_sat() == OWNED).unwrap();
    match has_form {
        true => {
            let fake = fake_commitment(&stage.chain, &ours.script_pubkey);
            stage.chain.submit(&fake).unwrap();
        }
        false => {
            let dust = Amount::from_sat(DUST);
            stage.chain.pay(&ours.script_pubkey, dust);
        }
    }
    stage.chain.mine(1);
    let mut asked = Vec::new();
    for _ in 0..24 {
        let progress = round(&mut rescuer);
        assert!(!progress.done, "{progress:?}");
        let over = |c: &&ldk_peer_storage::recovery::ChannelProgress| c.stage == ChannelStage::Over;
        assert_eq!(progress.channels.iter().find(over), None);
        if !has_form {
            let mut channels = progress.channels.iter();
            assert!(channels.all(|c| c.stage == ChannelStage::Open));
        }
        asked.push(progress.channels[0].asked);
    }
    assert!(asked[23] > asked[8] && asked[8] > 1, "{asked:?}");
    let progress = rescuer.step();
    assert_eq!(progress.recovered_sat + progress.fees_sat, DUST, "swept");
    assert_eq!(rescuer.storage.known().channels.len(), 1);
    if keys == KeyDerivation::V2 {
        return;
    }

    // It closes after all, and no longer names the channel.
    stage.chain.submit(&commitment).unwrap();
    has_closed.store(true, Ordering::SeqCst);
    let mut progress = progress;
    for _ in 0..60 {
        progress = round(&mut rescuer);
    }
    assert_eq!(progress.recovered_sat + progress.fees_sat, DUST + OWNED);
    let of_backup = plan.channels.iter().find(|c| c.by_place_alone).unwrap();
    let kept = progress.kept.iter().find(|c| c.ids == of_backup.ids);
    assert_eq!(kept.map(|kept| kept.why), Some(WhyKept::OverByScript));
    assert_eq!(
        rescuer.storage.known().channels.len(),
        1,
        "its backup stays"
    );
    let told = |e: &RecoveryEvent| matches!(e, RecoveryEvent::OverByScript { .. });
    assert!(rescuer.events.lock().unwrap().iter().any(told));
}
