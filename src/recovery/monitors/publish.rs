//! What of the monitors' wishes is published: the second guard of safety rule 9, and the end of all fees.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{OutPoint, Transaction, TxIn};

use crate::recovery::chain::{ChainError, ChainSource};
use crate::recovery::journal::Terms;
use crate::recovery::sweep;

/// All that monitors publish goes through here.
#[derive(Default)]
pub(super) struct Publisher {
    /// Funding outputs: nothing that spends one is ever published.
    funding: BTreeSet<OutPoint>,
    /// What was published last, by its first input: what LDK makes of it later may be too dear.
    published: BTreeMap<OutPoint, Transaction>,
}

impl Publisher {
    pub fn guard(&mut self, funding: OutPoint) {
        self.funding.insert(funding);
    }

    /// Publishes what may be. What the source fails at holds back nothing else; the first error.
    pub fn publish(
        &mut self,
        chain: &dyn ChainSource,
        wishes: Vec<Transaction>,
        terms: &Terms,
    ) -> Result<(), ChainError> {
        let mut result = Ok(());
        for tx in wishes {
            result = result.and(self.publish_one(chain, tx, terms));
        }
        result
    }

    fn publish_one(
        &mut self,
        chain: &dyn ChainSource,
        tx: Transaction,
        terms: &Terms,
    ) -> Result<(), ChainError> {
        let Some(input_sat) = self.may_be_published(chain, &tx)? else {
            log::debug!("recovery: a transaction of a monitor is not published");
            return Ok(());
        };
        let Some(first) = tx.input.first().map(|input| input.previous_output) else {
            return Ok(());
        };
        let wanted = match sweep::is_within(&tx, input_sat, terms.highest_fee_rate) {
            true => Some(tx),
            false => self.published_before(chain, &first, terms)?,
        };
        let Some(wanted) = wanted else {
            return Ok(());
        };
        match chain.broadcast(&wanted) {
            Ok(()) => {
                self.published.insert(first, wanted);
                Ok(())
            }
            // LDK makes claims anew each block, and others spend outputs too.
            Err(ChainError::Rejected { reason }) => {
                log::debug!("recovery: a claim was refused: {reason}");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// LDK raises by its own rule, as far as half of what is claimed. What the person allows is the end of
    /// it: what was within goes out again, should it have left the mempool, if it still is.
    fn published_before(
        &self,
        chain: &dyn ChainSource,
        first: &OutPoint,
        terms: &Terms,
    ) -> Result<Option<Transaction>, ChainError> {
        let Some(tx) = self.published.get(first) else {
            return Ok(None);
        };
        let input_sat = self.may_be_published(chain, tx)?;
        let is_within = |sat| sweep::is_within(tx, sat, terms.highest_fee_rate);
        Ok(input_sat.is_some_and(is_within).then(|| tx.clone()))
    }

    /// The second guard of safety rule 9: nothing that spends a funding output, and nothing whose
    /// parents are not in the chain. What its inputs are worth, in sat; none: it must not be published.
    fn may_be_published(
        &self,
        chain: &dyn ChainSource,
        tx: &Transaction,
    ) -> Result<Option<u64>, ChainError> {
        let mut sat = 0u64;
        for input in &tx.input {
            let parent = input.previous_output;
            // Also one that a splice has made and nobody here has heard of.
            if self.funding.contains(&parent) || spends_two_of_two(input) {
                return Ok(None);
            }
            let found = chain.transaction(&parent.txid)?;
            let Some(found) = found.filter(|found| found.place.is_some()) else {
                return Ok(None);
            };
            let Some(output) = found.tx.output.get(parent.vout as usize) else {
                return Ok(None);
            };
            sat = sat.saturating_add(output.value.to_sat());
        }
        Ok(Some(sat))
    }
}

/// Funding outputs are two-of-two (BOLT #3): `2 <key> <key> 2 OP_CHECKMULTISIG`.
fn spends_two_of_two(input: &TxIn) -> bool {
    let script = input.witness.last().unwrap_or_default();
    matches!(script, [0x52, .., 0x52, 0xae]) && script.len() == 71
}
