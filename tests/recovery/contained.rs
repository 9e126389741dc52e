//! What goes wrong with one channel's monitor costs no other channel, and not the rest of that one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use bitcoin::{Amount, OutPoint, Transaction, TxIn, TxOut, Witness};
use ldk_peer_storage::recovery::chain::{ChainError, FoundTransaction, Place};
use ldk_peer_storage::recovery::Progress;
use testkit::{
    copy_dir, pay, pay_hold, wait_until, Chain, ChannelType, KeyDerivation, Node, DEADLINE,
};

use crate::odd_source::OddSource;
use crate::stage::{closes, Lost, Rescuer, Stage};
use crate::support::{Wallet, WalletConfig, SUBMITTER};

/// Longer than any HTLC here lives, in blocks.
const HTLC_LIFE: u32 = 220;
/// What comes back, but for the fee of a claim: two channels of half a million.
const ALL: u64 = 2 * 500_000;

/// A phone with a channel to each of two peers is lost. In the first, a payment each way waits.
struct Scene {
    stage: Stage,
    source: Arc<OddSource>,
    rescuer: Rescuer,
    peer: Option<Wallet>,
    _other: Wallet,
}

impl Scene {
    fn new() -> Scene {
        let stage = Stage::new(ChannelType::StaticRemoteKey, KeyDerivation::V2);
        let (peer, other) = (stage.wallet("peer"), stage.wallet("other"));
        let phone = stage.wallet("phone");
        for peer in [&peer, &other] {
            stage.fund(&phone, &peer.node);
        }
        pay_hold(&phone.node, &peer.node, 50_000_000);
        pay_hold(&peer.node, &phone.node, 40_000_000);
        stage.back_up(&phone, &[&peer.node, &other.node]);
        let lost = stage.lose(phone);
        let source = OddSource::new(&stage.chain);
        let mut rescuer = rescuer(&stage, &lost, &source);
        rescuer.agree(&[&peer.node, &other.node]);
        Scene {
            stage,
            source,
            rescuer,
            peer: Some(peer),
            _other: other,
        }
    }

    /// The payments run out. What the peer takes back then is in the mempool, and the peer is gone.
    fn until_the_peer_takes_its_payment_back(&mut self) -> Transaction {
        for _ in 0..HTLC_LIFE {
            self.rescuer.step();
            if let Some(peer) = &self.peer {
                peer.node.sync();
            }
            if let Some(timeout) = self.stage.chain.mempool().into_iter().find(is_timeout) {
                if let Some(peer) = self.peer.take() {
                    peer.kill();
                }
                return timeout;
            }
            self.next_block();
        }
        panic!("the peer lets its payment be");
    }

    fn next_block(&self) {
        self.stage.chain.mine(1);
        self.rescuer.clock.advance(Duration::from_secs(600));
    }

    fn finish_without_trouble(&mut self) -> Progress {
        for _ in 0..HTLC_LIFE {
            let progress = self.rescuer.step();
            assert_eq!(progress.trouble, None);
            if progress.done {
                return progress;
            }
            self.next_block();
        }
        panic!("not done: {:?}", self.rescuer.recovery);
    }

    #[track_caller]
    fn assert_all_is_back(&self, progress: &Progress) {
        assert!(progress.found_sat > ALL - 2_000, "{progress:?}");
        assert_eq!(
            progress.recovered_sat + progress.fees_sat,
            progress.found_sat
        );
        assert_eq!(self.rescuer.arrived().to_sat(), progress.recovered_sat);
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

/// `0 <sig> <sig> <> <script>` (BOLT #3, HTLC-timeout).
fn is_timeout(tx: &Transaction) -> bool {
    let witness = &tx.input[0].witness;
    witness.len() == 5 && witness.second_to_last().is_some_and(<[u8]>::is_empty)
}

/// Mines what is in the mempool, one of it with another item before the script.
fn mine_in_another_form(chain: &Chain, tx: &Transaction, item: &[u8]) {
    let mut txs = chain.mempool();
    let tx = txs.iter_mut().find(|other| *other == tx).unwrap();
    let mut items = tx.input[0].witness.to_vec();
    items[3] = item.to_vec();
    tx.input[0].witness = Witness::from_slice(&items);
    chain.mine_with(&txs);
}

#[test]
fn a_payment_that_the_peer_takes_back_in_another_form_is_followed() {
    for item in [&[1; 1][..], &[2; 33], &[3; 64]] {
        let mut scene = Scene::new();
        let timeout = scene.until_the_peer_takes_its_payment_back();
        mine_in_another_form(&scene.stage.chain, &timeout, item);
        let progress = scene.finish_without_trouble();
        scene.assert_all_is_back(&progress);
    }
}

#[test]
fn a_source_without_the_witness_of_a_spend_holds_back_only_the_end() {
    let mut scene = Scene::new();
    let timeout = scene.until_the_peer_takes_its_payment_back();
    let txid = timeout.compute_txid();
    scene.source.stripped.lock().unwrap().insert(txid);
    for round in 0..30 {
        scene.next_block();
        let progress = scene.rescuer.step();
        assert!(matches!(progress.trouble, Some(ChainError::Invalid(_))));
        assert!(!progress.done);
        if round == 29 {
            scene.assert_all_is_back(&progress);
        }
    }
    scene.source.stripped.lock().unwrap().clear();
    let progress = scene.rescuer.finish();
    scene.assert_all_is_back(&progress);
}

#[test]
fn a_monitor_that_breaks_holds_back_neither_its_penalty_nor_another_channel() {
    let stage = Stage::new(ChannelType::StaticRemoteKey, KeyDerivation::V2);
    let (peer, other) = (stage.wallet("peer"), stage.wallet("other"));
    let phone = stage.wallet("phone");
    for peer in [&peer, &other] {
        stage.fund(&phone, &peer.node);
    }
    pay(&phone.node, &peer.node, 10_000_000);
    let port = peer.node.addr().port();
    let mut config = peer.stop();
    config.node.listen = Some(port);
    let old = stage.home.path().join("an old state of the peer");
    copy_dir(&config.node.dir, &old);
    let peer = Wallet::start(WalletConfig { ..config });
    phone.reconnect(&peer.node);
    pay(&phone.node, &peer.node, 10_000_000);
    let funding: Vec<_> = phone.node.channels_with(&peer.node.id());
    let funding: Vec<OutPoint> = funding
        .iter()
        .map(|channel| channel.funding_txo.unwrap().into_bitcoin_outpoint())
        .collect();
    stage.back_up(&phone, &[&peer.node, &other.node]);
    let lost = stage.lose(phone);
    let source = OddSource::new(&stage.chain);
    let mut rescuer = rescuer(&stage, &lost, &source);
    rescuer.agree(&[&peer.node, &other.node]);
    peer.kill();

    let mut config = stage.config("peer");
    config.dir = old;
    let cheat = Node::start(config);
    cheat.force_close(&cheat.channels()[0].channel_id);
    wait_until("the revoked commitment", DEADLINE, || {
        closes(&stage.chain, &funding) == 1
    });
    cheat.kill();
    stage.chain.mine(1);

    // In the same block, as the source says, stands what LDK takes for impossible.
    let close = stage.chain.spender(funding[0]).unwrap().tx;
    let theirs = close
        .output
        .iter()
        .position(|o| o.value.to_sat() != 490_000);
    let theirs = OutPoint::new(close.compute_txid(), theirs.unwrap() as u32);
    let at = stage.chain.position(theirs.txid).unwrap();
    let impossible = Transaction {
        input: vec![TxIn {
            previous_output: theirs,
            ..TxIn::default()
        }],
        output: vec![TxOut {
            value: Amount::MAX_MONEY + Amount::ONE_SAT,
            script_pubkey: close.output[0].script_pubkey.clone(),
        }],
        ..close.clone()
    };
    let place = Some(Place {
        height: at.height,
        block: at.block,
        index: at.index + 1,
    });
    let impossible = FoundTransaction {
        tx: impossible,
        place,
    };
    source.spends.lock().unwrap().insert(theirs, impossible);
    // Whoever asks what has spent an output knows of it, and has claimed it.
    let (chain, too_early) = (stage.chain.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = too_early.clone();
    let is_claimed = move |chain: &Chain| {
        let claims = chain.submitted_by(SUBMITTER);
        let mut inputs = claims.iter().flat_map(|tx| &tx.input);
        inputs.any(|input| input.previous_output == theirs)
    };
    source.on_spend_of(move |output| {
        if *output == theirs && !is_claimed(&chain) {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let progress = rescuer.step();
    assert!(matches!(progress.trouble, Some(ChainError::Invalid(_))));
    assert!(is_claimed(&stage.chain), "the penalty");
    assert_eq!(too_early.load(Ordering::SeqCst), 0);
    for _ in 0..20 {
        stage.chain.mine(1);
        rescuer.clock.advance(Duration::from_secs(600));
        assert!(!rescuer.step().done);
    }
    assert!(rescuer.arrived().to_sat() > 980_000, "what is ours in both");

    source.spends.lock().unwrap().clear();
    let progress = rescuer.finish();
    assert!(progress.found_sat > 1_470_000, "{progress:?}");
    assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
}
