//! Where a channel stands in the chain: its funding output, what spent it, and what of that is ours.

use std::collections::BTreeSet;

use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, Transaction, TxOut, Txid};
use lightning::ln::types::ChannelId;

use super::chain::{ChainError, ChainSource, FoundTransaction, Place};
use super::keys::{PaymentKey, PaymentKeys};
use crate::backup::ChannelIds;

/// A splice moves a channel's funds from one output to the next; so far they are followed.
const MOST_SPLICES: usize = 16;
/// The index of a funding output is small: other funds in the transaction are few. To find one by
/// its channel id, indices up to this are tried.
const MOST_INDEX: u16 = 32;

/// How a channel's funding output was spent.
pub(super) struct Close {
    pub tx: Transaction,
    /// None: it is in the mempool.
    pub place: Option<Place>,
    /// Our outputs in it.
    pub ours: Vec<OurOutput>,
}

/// One of our outputs on a closing transaction.
pub(super) struct OurOutput {
    pub outpoint: OutPoint,
    pub output: TxOut,
    /// How it is spent; none: it pays to an address of LDK's own keys, as a cooperative close does.
    pub key: Option<PaymentKey>,
    /// Where its transaction is confirmed.
    pub place: Option<Place>,
}

/// The funding output of a channel, by whatever is known of it. None: nothing leads there, or the
/// transaction is not in the chain.
pub(super) fn outpoint(
    chain: &dyn ChainSource,
    ids: &ChannelIds,
) -> Result<Option<OutPoint>, ChainError> {
    if ids.funding_outpoint.is_some() {
        return Ok(ids.funding_outpoint);
    }
    if let Some(scid) = ids.short_channel_id {
        // BOLT #7: block height 3 bytes, transaction index 3, output index 2.
        let (height, index) = ((scid >> 40) as u32, (scid >> 16) as u32 & 0xff_ffff);
        let txid = chain.txid_at(height, index)?;
        return Ok(txid.map(|txid| OutPoint::new(txid, scid as u32 & 0xffff)));
    }
    match ids.channel_id {
        Some(id) => by_channel_id(chain, id),
        None => Ok(None),
    }
}

/// The channel id of a v1 channel is its funding txid, with the output index in the last two bytes
/// (BOLT #2). A v2 channel's leads nowhere.
fn by_channel_id(chain: &dyn ChainSource, id: ChannelId) -> Result<Option<OutPoint>, ChainError> {
    for index in 0..=MOST_INDEX {
        let mut txid = id.0;
        let [.., high, low] = &mut txid;
        *high ^= index.to_be_bytes()[0];
        *low ^= index.to_be_bytes()[1];
        let txid = Txid::from_byte_array(txid);
        let found = chain.transaction(&txid)?;
        if found.is_some_and(|found| found.tx.output.len() > usize::from(index)) {
            return Ok(Some(OutPoint::new(txid, index.into())));
        }
    }
    Ok(None)
}

/// How the channel was closed, if it was: found by our scripts, also behind splices.
pub(super) fn close(
    chain: &dyn ChainSource,
    keys: &PaymentKeys,
    funding: OutPoint,
    channel_keys_id: Option<[u8; 32]>,
) -> Result<Option<Close>, ChainError> {
    let Some(FoundTransaction { tx, place }) = chain.spend_of(&funding)? else {
        return Ok(None);
    };
    let first = Close {
        ours: ours(&tx, place, keys, channel_keys_id),
        tx,
        place,
    };
    if !first.ours.is_empty() || first.place.is_none() || is_commitment(&first.tx) {
        return Ok(Some(first));
    }
    // Nothing of ours, and no commitment: a cooperative close to another wallet, or a splice, behind
    // which there is more to see.
    let mut looked_at = BTreeSet::new();
    let mut next = p2wsh_outputs(&first.tx);
    let mut lives_on = false;
    while let Some(outpoint) = next.pop() {
        if looked_at.len() == MOST_SPLICES || !looked_at.insert(outpoint) {
            continue;
        }
        let Some(FoundTransaction { tx, place }) = chain.spend_of(&outpoint)? else {
            // Perhaps the channel's new funding output.
            lives_on = true;
            continue;
        };
        let ours = ours(&tx, place, keys, channel_keys_id);
        if !ours.is_empty() {
            return Ok(Some(Close { tx, place, ours }));
        }
        if !is_commitment(&tx) {
            next.extend(p2wsh_outputs(&tx));
        }
    }
    Ok((!lives_on).then_some(first))
}

/// Whether a transaction has the form of a commitment: its number stands, obscured, in sequence and lock
/// time (BOLT #3).
fn is_commitment(tx: &Transaction) -> bool {
    let sequence = tx.input.first().map(|input| input.sequence.0 >> 24);
    sequence == Some(0x80) && tx.lock_time.to_consensus_u32() >> 24 == 0x20
}

fn ours(
    tx: &Transaction,
    place: Option<Place>,
    keys: &PaymentKeys,
    channel_keys_id: Option<[u8; 32]>,
) -> Vec<OurOutput> {
    let txid = tx.compute_txid();
    let outputs = tx.output.iter().zip(0..);
    let ours = outputs.filter_map(|(output, vout)| {
        let script = &output.script_pubkey;
        let key = keys.recognise(script, channel_keys_id);
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
