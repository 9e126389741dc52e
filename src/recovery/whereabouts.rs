//! From what a channel is known by to its funding output, asked of the chain once.

use std::collections::BTreeMap;

use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, TxOut, Txid};
use lightning::ln::types::ChannelId;

use super::chain::{ChainError, ChainSource};
use super::schedule;
use crate::backup::ChannelIds;
use crate::exchange::Time;

/// The index of a funding output is small: other funds in the transaction are few. To find one by
/// its channel id, indices up to this are tried.
const MOST_INDEX: u16 = 32;

type Key = (Option<u64>, Option<ChannelId>);

/// Where funding outputs are, as far as the chain was asked. What it answers is a hint: good for
/// watching the chain, and alone for nothing that a peer is asked for.
#[derive(Default)]
pub(super) struct Whereabouts {
    found: BTreeMap<Key, OutPoint>,
    /// How often nothing was found, and when last.
    not_found: BTreeMap<Key, (usize, Time)>,
}

impl Whereabouts {
    /// The funding output of a channel. None: nothing leads there, or its transaction is not in the
    /// chain; the chain is asked again later, with pauses that grow.
    pub fn funding(
        &mut self,
        chain: &dyn ChainSource,
        ids: &ChannelIds,
        now: Time,
    ) -> Result<Option<OutPoint>, ChainError> {
        if ids.funding_outpoint.is_some() {
            return Ok(ids.funding_outpoint);
        }
        let key = (ids.short_channel_id, ids.channel_id);
        let (times, at) = self.not_found.get(&key).copied().unwrap_or_default();
        let found = self.found.get(&key).copied();
        if found.is_some() || times > 0 && now < at.after(schedule::look_again(times)) {
            return Ok(found);
        }
        let by_place = match ids.short_channel_id {
            Some(place) => by_place(chain, place),
            None => Ok(None),
        };
        let found = match (by_place, ids.channel_id) {
            (Ok(Some(found)), _) => Some(found),
            // An id may lead there where the block cannot be seen.
            (by_place, Some(id)) => match by_channel_id(chain, id)? {
                Some(found) => Some(found),
                None => by_place?,
            },
            (by_place, None) => by_place?,
        };
        match found {
            Some(found) => {
                self.found.insert(key, found);
            }
            None => {
                self.not_found.insert(key, (times + 1, now));
            }
        }
        Ok(found)
    }
}

/// BOLT #7: block height 3 bytes, transaction index 3, output index 2. Asked both ways: a source can
/// prove where a transaction is, but not which one is at a place.
fn by_place(chain: &dyn ChainSource, scid: u64) -> Result<Option<OutPoint>, ChainError> {
    let (height, index) = ((scid >> 40) as u32, (scid >> 16) as u32 & 0xff_ffff);
    let vout = scid as u32 & 0xffff;
    let Some(txid) = chain.txid_at(height, index)? else {
        return Ok(None);
    };
    let found = chain.transaction(&txid)?;
    let is_it = found.is_some_and(|found| {
        let stands = found
            .place
            .is_some_and(|place| (place.height, place.index) == (height, index));
        stands && found.tx.output.get(vout as usize).is_some_and(may_fund)
    });
    Ok(is_it.then(|| OutPoint::new(txid, vout)))
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
        let output = found
            .as_ref()
            .and_then(|f| f.tx.output.get(usize::from(index)));
        if output.is_some_and(may_fund) {
            return Ok(Some(OutPoint::new(txid, index.into())));
        }
    }
    Ok(None)
}

/// P2WSH (BOLT #3), or P2TR.
fn may_fund(output: &TxOut) -> bool {
    output.script_pubkey.is_p2wsh() || output.script_pubkey.is_p2tr()
}
