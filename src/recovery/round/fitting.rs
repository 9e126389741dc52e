//! Which channels the closes belong to that were found by our scripts.
//!
//! Nothing proves it: whoever knows a script can pay to it, and give the payment any form. So what is
//! found so is swept, but it ends no channel that its peer still names, and takes no backup away.

use std::collections::BTreeSet;

use bitcoin::{OutPoint, Txid};

use super::Seen;
use crate::recovery::funding::{self, Close};
use crate::recovery::{Recovery, RecoveryError};

impl Recovery {
    /// Gives the closes that were found by our scripts to the channels whose funding output is not known.
    /// Returns those that fit none.
    pub(super) fn fit_what_was_found(
        &mut self,
        channels: &mut [Seen],
    ) -> Result<Vec<Close>, RecoveryError> {
        let mut found = self.closes_of_nobody(channels)?;
        let is_lost = |seen: &&mut Seen| seen.in_view && seen.funding.is_none();
        let lost = channels.iter_mut().filter(is_lost).collect();
        let lost = fit_by_key(lost, &mut found);
        fit_by_number(lost, &mut found);
        for seen in channels.iter_mut().filter(|seen| seen.by_script()) {
            let close = seen.close.as_ref();
            match close.map_or(Ok(Vec::new()), |close| self.spends(close)) {
                Ok(spends) => seen.spends = spends,
                Err(error) => self.not_in_view(seen, error)?,
            }
        }
        Ok(found)
    }

    /// The transactions with outputs of ours that are not the close of a channel whose funding output is
    /// known.
    fn closes_of_nobody(&mut self, channels: &[Seen]) -> Result<Vec<Close>, RecoveryError> {
        let found = self.journal.found.iter();
        let txids: BTreeSet<Txid> = found.map(|output| output.txid).collect();
        let mut closes = Vec::new();
        for txid in txids {
            let answer = self.chain.transaction(&txid);
            let Some(tx) = self.told(answer)?.flatten() else {
                continue;
            };
            let spends =
                |outpoint: &OutPoint| tx.tx.input.iter().any(|i| i.previous_output == *outpoint);
            let is_known = |seen: &Seen| {
                let closed_by = seen.close.as_ref().map(|close| close.tx.compute_txid());
                closed_by == Some(txid) || seen.funding.as_ref().is_some_and(spends)
            };
            if !channels.iter().any(is_known) {
                closes.push(Close::of(tx, &self.keys));
            }
        }
        Ok(closes)
    }
}

/// By the key, where the backup tells it. Of several the one that is worth most: dust is easily paid.
/// Returns the channels that are left.
fn fit_by_key<'a>(lost: Vec<&'a mut Seen>, found: &mut Vec<Close>) -> Vec<&'a mut Seen> {
    let mut left = Vec::new();
    for seen in lost {
        let id = seen.target.channel_keys_id;
        let fits = |(_, close): &(usize, &Close)| {
            let mut keys = close.ours.iter().filter_map(|output| output.key);
            funding::is_commitment(&close.tx) && keys.any(|key| Some(key.channel_keys_id) == id)
        };
        let fitting = found.iter().enumerate().filter(fits);
        match fitting.max_by_key(|(_, close)| close.sat()) {
            Some((at, _)) => {
                seen.close = Some(found.remove(at));
            }
            None => left.push(seen),
        }
    }
    left
}

/// Where there are as many closes as channels that wait for one.
fn fit_by_number(mut lost: Vec<&mut Seen>, found: &mut Vec<Close>) {
    lost.retain(|seen| !seen.given_up);
    let is_commitment = |close: &Close| funding::is_commitment(&close.tx);
    if found.iter().filter(|close| is_commitment(close)).count() != lost.len() {
        return;
    }
    let (closes, rest): (Vec<_>, _) = std::mem::take(found).into_iter().partition(is_commitment);
    *found = rest;
    for (seen, close) in lost.into_iter().zip(closes) {
        seen.close = Some(close);
    }
}
