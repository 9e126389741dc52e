//! What every chain source has to get right.

use std::collections::BTreeSet;

use bitcoin::hashes::Hash;
use bitcoin::{
    absolute, transaction, Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid,
};
use ldk_peer_storage::recovery::chain::{ChainError, ChainSource, FoundOutput, Place, Tip};
use testkit::chain::{anyone_can_spend, anyone_can_spend_witness};
use testkit::Chain;

const COIN: Amount = Amount::from_sat(100_000);

pub fn script() -> ScriptBuf {
    anyone_can_spend(b"channel")
}

/// Spends an output of [`script`] with this fee; `tag` names who receives it.
pub fn spend(from: &Transaction, vout: u32, fee: u64, tag: &[u8]) -> Transaction {
    let output = TxOut {
        value: from.output[vout as usize].value - Amount::from_sat(fee),
        script_pubkey: anyone_can_spend(tag),
    };
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(from.compute_txid(), vout),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            witness: anyone_can_spend_witness(b"channel"),
        }],
        output: vec![output],
    }
}

fn place(chain: &Chain, txid: Txid) -> Option<Place> {
    let at = chain.position(txid)?;
    Some(Place {
        height: at.height,
        block: at.block,
        index: at.index,
    })
}

fn tip(chain: &Chain) -> Tip {
    let best = chain.tip();
    Tip {
        height: best.height,
        hash: best.block_hash,
    }
}

pub fn the_tip_and_the_headers_follow_the_chain(chain: &Chain, source: &dyn ChainSource) {
    assert_eq!(source.tip(), Ok(tip(chain)));
    chain.mine(3);
    let now = tip(chain);
    assert_eq!(source.tip(), Ok(now));
    for height in [0, 1, 57, now.height] {
        let header = source.header_at(height).unwrap().expect("a block");
        assert_eq!(header, chain.block(height).unwrap().header);
    }
    assert_eq!(source.header_at(now.height + 1), Ok(None));
    assert_eq!(source.header_at(u32::MAX), Ok(None));

    chain.reorg(2);
    assert_eq!(source.tip(), Ok(tip(chain)));
    assert_eq!(source.header_at(now.height), Ok(None));
    chain.mine(5);
    assert_eq!(source.tip(), Ok(tip(chain)));
    let there = source.header_at(now.height).unwrap().expect("a block");
    assert_ne!(there.block_hash(), now.hash);
}

pub fn a_transaction_is_found_before_and_after_it_confirms(
    chain: &Chain,
    source: &dyn ChainSource,
) {
    let nobody = Txid::hash(b"nobody");
    assert_eq!(source.transaction(&nobody), Ok(None));

    let funding = chain.pay(&script(), COIN);
    let txid = funding.compute_txid();
    let found = source.transaction(&txid).unwrap().expect("in the mempool");
    assert_eq!((&found.tx, found.place), (&funding, None));

    chain.pay(&anyone_can_spend(b"other"), COIN);
    chain.mine(1);
    let found = source.transaction(&txid).unwrap().expect("in a block");
    assert_eq!((&found.tx, found.place), (&funding, place(chain, txid)));
    let place = found.place.unwrap();
    assert_eq!((place.height, place.index), (chain.height(), 1));
    assert_eq!(place.confirmations(&source.tip().unwrap()), 1);
    chain.mine(5);
    assert_eq!(place.confirmations(&source.tip().unwrap()), 6);
}

pub fn a_short_channel_id_leads_to_a_funding_transaction(chain: &Chain, source: &dyn ChainSource) {
    let txs: Vec<_> = (0..3).map(|_| chain.pay(&script(), COIN)).collect();
    chain.mine(2);
    let height = chain.height() - 1;
    for (index, tx) in (1u32..).zip(&txs) {
        assert_eq!(source.txid_at(height, index), Ok(Some(tx.compute_txid())));
    }
    let coinbase = chain.block(height).unwrap().txdata[0].compute_txid();
    assert_eq!(source.txid_at(height, 0), Ok(Some(coinbase)));
    assert_eq!(source.txid_at(height, 4), Ok(None));
    assert_eq!(source.txid_at(height + 2, 0), Ok(None));
}

pub fn a_spend_is_seen_in_the_mempool_and_in_a_block(chain: &Chain, source: &dyn ChainSource) {
    let nobody = OutPoint::new(Txid::hash(b"nobody"), 0);
    assert_eq!(source.spend_of(&nobody), Ok(None));

    let funding = chain.pay(&script(), COIN);
    let output = OutPoint::new(funding.compute_txid(), 0);
    assert_eq!(source.spend_of(&output), Ok(None));
    chain.mine(1);
    assert_eq!(source.spend_of(&output), Ok(None));

    let commitment = spend(&funding, 0, 500, b"channel");
    chain.submit(&commitment).unwrap();
    let seen = source.spend_of(&output).unwrap().expect("a spend");
    assert_eq!((&seen.tx, seen.place), (&commitment, None));

    // A child in the same block, as a sweep of an anchor is.
    let child = spend(&commitment, 0, 500, b"wallet");
    chain.submit(&child).unwrap();
    chain.mine(1);
    for (output, by) in [
        (output, &commitment),
        (child.input[0].previous_output, &child),
    ] {
        let seen = source.spend_of(&output).unwrap().expect("a spend");
        assert_eq!(
            (&seen.tx, seen.place),
            (by, place(chain, by.compute_txid()))
        );
        assert!(seen.place.is_some());
    }
}

pub fn a_spend_that_is_replaced_is_forgotten(chain: &Chain, source: &dyn ChainSource) {
    let funding = chain.pay(&script(), COIN);
    let output = OutPoint::new(funding.compute_txid(), 0);
    chain.mine(1);
    let (first, second) = (spend(&funding, 0, 500, b"a"), spend(&funding, 0, 900, b"b"));
    source.broadcast(&first).unwrap();
    source.broadcast(&second).unwrap();
    assert_eq!(source.spend_of(&output).unwrap().unwrap().tx, second);
    assert_eq!(source.transaction(&first.compute_txid()), Ok(None));
    assert_eq!(source.outputs_to(&anyone_can_spend(b"a")), Ok(vec![]));
}

pub fn a_reorganisation_takes_a_confirmation_back(chain: &Chain, source: &dyn ChainSource) {
    let funding = chain.pay(&script(), COIN);
    let txid = funding.compute_txid();
    chain.mine(2);
    let before = source.transaction(&txid).unwrap().unwrap().place.unwrap();
    chain.reorg(2);
    let between = source.transaction(&txid).unwrap().unwrap();
    assert_eq!(between.place, None);
    assert_eq!(source.outputs_to(&script()).unwrap()[0].place, None);

    chain.mine_empty(1);
    chain.mine(2);
    let after = source.transaction(&txid).unwrap().unwrap().place.unwrap();
    assert_eq!(after.height, before.height + 1);
    let there = source.header_at(before.height).unwrap().expect("a block");
    assert_ne!(there.block_hash(), before.block);
    assert_eq!(source.outputs_to(&script()).unwrap()[0].place, Some(after));
}

pub fn a_reorganisation_can_bring_another_spend(chain: &Chain, source: &dyn ChainSource) {
    let funding = chain.pay(&script(), COIN);
    let output = OutPoint::new(funding.compute_txid(), 0);
    chain.mine(1);
    let (first, second) = (spend(&funding, 0, 500, b"a"), spend(&funding, 0, 500, b"b"));
    chain.submit(&first).unwrap();
    chain.mine(1);
    assert_eq!(source.spend_of(&output).unwrap().unwrap().tx, first);

    chain.reorg(1);
    chain.mine_with(std::slice::from_ref(&second));
    chain.mine(1);
    let now = source.spend_of(&output).unwrap().expect("a spend");
    assert_eq!(
        (&now.tx, now.place),
        (&second, place(chain, second.compute_txid()))
    );
    assert_eq!(source.transaction(&first.compute_txid()), Ok(None));
    assert!(matches!(
        source.broadcast(&first),
        Err(ChainError::Rejected { .. })
    ));
}

pub fn every_output_of_a_script_is_found_spent_or_not(chain: &Chain, source: &dyn ChainSource) {
    assert_eq!(source.outputs_to(&script()), Ok(vec![]));

    let two = chain.pay_many(&script(), &[COIN, COIN * 2]);
    chain.mine(1);
    let spent = spend(&two, 1, 500, b"elsewhere");
    let kept = spend(&two, 0, 500, b"channel");
    chain.submit(&spent).unwrap();
    chain.submit(&kept).unwrap();
    chain.mine(1);
    let fresh = chain.pay(&script(), COIN * 3);

    let mut expected = Vec::new();
    for (tx, vouts) in [(&two, 0..2), (&kept, 0..1), (&fresh, 0..1)] {
        let txid = tx.compute_txid();
        expected.extend(vouts.map(|vout| FoundOutput {
            outpoint: OutPoint { txid, vout },
            output: tx.output[vout as usize].clone(),
            place: place(chain, txid),
        }));
    }
    let mut found = source.outputs_to(&script()).unwrap();
    found.sort_by_key(|found| found.outpoint);
    expected.sort_by_key(|found| found.outpoint);
    assert_eq!(found, expected);
}

pub fn a_long_history_is_found_whole(chain: &Chain, source: &dyn ChainSource) {
    let mut expected = BTreeSet::new();
    for round in 0..4 {
        for _ in 0..20 {
            let tx = chain.pay(&script(), COIN);
            expected.insert(OutPoint::new(tx.compute_txid(), 0));
        }
        // The last round stays in the mempool.
        if round < 3 {
            chain.mine(1);
        }
    }
    let found = source.outputs_to(&script()).unwrap();
    let outpoints: BTreeSet<_> = found.iter().map(|found| found.outpoint).collect();
    assert_eq!((outpoints, found.len()), (expected, 80));
    let unconfirmed = found.iter().filter(|found| found.place.is_none());
    assert_eq!(unconfirmed.count(), 20);
}

pub fn a_transaction_is_broadcast_once_or_twice_or_refused(
    chain: &Chain,
    source: &dyn ChainSource,
) {
    let funding = chain.pay(&script(), COIN);
    chain.mine(1);
    let sweep = spend(&funding, 0, 500, b"wallet");
    assert_eq!(source.broadcast(&sweep), Ok(()));
    assert_eq!(chain.mempool(), vec![sweep.clone()]);
    assert_eq!(source.broadcast(&sweep), Ok(()), "known in the mempool");
    chain.mine(1);
    assert_eq!(source.broadcast(&sweep), Ok(()), "known in a block");

    let late = spend(&funding, 0, 900, b"thief");
    let refused = source.broadcast(&late);
    let Err(ChainError::Rejected { reason }) = refused else {
        panic!("not refused: {refused:?}");
    };
    assert!(!reason.is_empty() && reason.len() < 300, "{reason}");
    let mut unlocked = spend(&sweep, 0, 500, b"wallet");
    unlocked.input[0].witness.clear();
    assert!(matches!(
        source.broadcast(&unlocked),
        Err(ChainError::Rejected { .. })
    ));
}

/// Over a chain with a bit of everything.
pub fn they_agree(chain: &Chain, sources: [&dyn ChainSource; 2]) {
    let funding = chain.pay_many(&script(), &[COIN; 3]);
    chain.mine(1);
    chain.submit(&spend(&funding, 0, 500, b"channel")).unwrap();
    chain.mine(1);
    chain.reorg(1);
    chain.mine(2);
    chain.submit(&spend(&funding, 1, 500, b"channel")).unwrap();

    let [mine, theirs] = sources;
    assert_eq!(mine.tip(), theirs.tip());
    for height in 0..chain.height() + 2 {
        assert_eq!(mine.header_at(height), theirs.header_at(height));
        for index in 0..3 {
            let named = mine.txid_at(height, index);
            // The first block's transaction counts as none: it cannot be spent.
            if height > 0 {
                assert_eq!(named, theirs.txid_at(height, index));
            }
            let Ok(Some(txid)) = named else { continue };
            assert_eq!(mine.transaction(&txid), theirs.transaction(&txid));
            for vout in 0..4 {
                let output = OutPoint { txid, vout };
                assert_eq!(mine.spend_of(&output), theirs.spend_of(&output));
            }
        }
    }
    let [mut ours, mut others] = sources.map(|source| source.outputs_to(&script()).unwrap());
    ours.sort_by_key(|found| found.outpoint);
    others.sort_by_key(|found| found.outpoint);
    assert_eq!(ours.len(), 5);
    assert_eq!(ours, others);
}
