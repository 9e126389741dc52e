//! Where a channel stands in the chain: what has spent its funding output, and what of that is ours.

use std::collections::{BTreeSet, VecDeque};

use bitcoin::{OutPoint, Transaction, TxOut};

use super::chain::{ChainError, ChainSource, FoundTransaction, Place};
use super::keys::{PaymentKey, PaymentKeys};

/// A splice moves a channel's funds from one output to the next; so many outputs are followed.
const MOST_FOLLOWED: usize = 16;

/// How a channel's funding output was spent.
#[derive(Clone)]
pub(super) struct Close {
    pub tx: Transaction,
    /// None: it is in the mempool.
    pub place: Option<Place>,
    /// Our outputs in it.
    pub ours: Vec<OurOutput>,
}

impl Close {
    /// This transaction as a close.
    pub fn of(found: FoundTransaction, keys: &PaymentKeys) -> Close {
        let FoundTransaction { tx, place } = found;
        Close {
            ours: ours(&tx, place, keys),
            tx,
            place,
        }
    }

    /// What of it is ours, in sat.
    pub fn sat(&self) -> u64 {
        let ours = self.ours.iter();
        ours.map(|output| output.output.value.to_sat()).sum()
    }
}

/// One of our outputs on a closing transaction.
#[derive(Clone)]
pub(super) struct OurOutput {
    pub outpoint: OutPoint,
    pub output: TxOut,
    /// How it is spent; none: it pays to an address of LDK's own keys, as a cooperative close does.
    pub key: Option<PaymentKey>,
    /// Where its transaction is confirmed.
    pub place: Option<Place>,
}

/// How the channel was closed, if it was: found by our scripts, also behind splices.
pub(super) fn close(
    chain: &dyn ChainSource,
    keys: &PaymentKeys,
    funding: OutPoint,
) -> Result<Option<Close>, ChainError> {
    let Some(found) = chain.spend_of(&funding)? else {
        return Ok(None);
    };
    let first = Close::of(found, keys);
    if !first.ours.is_empty() || first.place.is_none() || is_commitment(&first.tx) {
        return Ok(Some(first));
    }
    // Nothing of ours, and no commitment: a cooperative close to another wallet, or a splice, behind
    // which there is more to see. The nearest first: what somebody has paid on may go on without end.
    let mut followed = BTreeSet::new();
    let mut next = VecDeque::from(p2wsh_outputs(&first.tx));
    let mut lives_on = false;
    while let Some(outpoint) = next.pop_front() {
        if followed.contains(&outpoint) {
            continue;
        }
        if followed.len() == MOST_FOLLOWED {
            // What lies behind the last of them nobody has seen: no end of the channel.
            lives_on = true;
            break;
        }
        followed.insert(outpoint);
        let Some(found) = chain.spend_of(&outpoint)? else {
            // Perhaps the channel's new funding output.
            lives_on = true;
            continue;
        };
        let close = Close::of(found, keys);
        if !close.ours.is_empty() {
            return Ok(Some(close));
        }
        if !is_commitment(&close.tx) {
            next.extend(p2wsh_outputs(&close.tx));
        }
    }
    Ok((!lives_on).then_some(first))
}

/// Whether a transaction has the form of a commitment: its number stands, obscured, in sequence and lock
/// time (BOLT #3).
pub(super) fn is_commitment(tx: &Transaction) -> bool {
    let sequence = tx.input.first().map(|input| input.sequence.0 >> 24);
    sequence == Some(0x80) && tx.lock_time.to_consensus_u32() >> 24 == 0x20
}

fn ours(tx: &Transaction, place: Option<Place>, keys: &PaymentKeys) -> Vec<OurOutput> {
    let txid = tx.compute_txid();
    let outputs = tx.output.iter().zip(0..);
    let ours = outputs.filter_map(|(output, vout)| {
        let script = &output.script_pubkey;
        let key = keys.recognise(script);
        if key.is_none() && !keys.is_own_address(script) {
            return None;
        }
        Some(OurOutput {
            outpoint: OutPoint::new(txid, vout),
            output: output.clone(),
            key,
            place,
        })
    });
    ours.collect()
}

fn p2wsh_outputs(tx: &Transaction) -> Vec<OutPoint> {
    let txid = tx.compute_txid();
    let outputs = tx.output.iter().zip(0..);
    let p2wsh = outputs.filter(|(output, _)| output.script_pubkey.is_p2wsh());
    p2wsh.map(|(_, vout)| OutPoint::new(txid, vout)).collect()
}
