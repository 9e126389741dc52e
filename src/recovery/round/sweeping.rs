//! From what is free to sweeps in the mempool, with fees that rise.

use std::collections::BTreeSet;

use bitcoin::Txid;

use super::look::Spendable;
use super::{is_buried, View};
use crate::recovery::chain::{ChainError, Tip};
use crate::recovery::journal::{Step, Sweep, Terms};
use crate::recovery::sweep::{self, Coin};
use crate::recovery::{Recovery, RecoveryError, RecoveryEvent};

impl Recovery {
    pub(super) fn sweep(&mut self, view: &View) -> Result<(), RecoveryError> {
        let (coins, tip) = (&view.coins, &view.tip);
        let Some(terms) = self.journal.terms.clone() else {
            return Ok(());
        };
        let terms = &terms;
        self.raise_what_is_stuck(coins, terms, tip)?;

        let is_free = |(coin, spend): &&Spendable| {
            spend.is_none()
                && coin.is_mature(tip)
                && !self.unsignable.contains(&coin.outpoint)
                && sweep::pays_for_itself(coin.sat(), terms.fee_rate)
        };
        let mut free: Vec<Coin> = coins
            .iter()
            .filter(is_free)
            .map(|(c, _)| c.clone())
            .collect();
        self.publish_again(&mut free, terms)?;
        if free.is_empty() {
            return Ok(());
        }
        let rate = self.rate_for(&free, terms, tip);
        if self.sweep_together(&free, terms, rate, tip)? {
            return Ok(());
        }
        // One that cannot be spent must not hold back the others.
        for coin in &free {
            let alone = std::slice::from_ref(coin);
            if free.len() > 1 && self.sweep_together(alone, terms, rate, tip)? {
                continue;
            }
            let is_worth_it = sweep::pays_for_itself(coin.sat(), rate);
            if is_worth_it && sweep::build(&self.keys, alone, &terms.sweep_to, rate, tip).is_none()
            {
                self.unsignable.insert(coin.outpoint);
            }
        }
        Ok(())
    }

    /// A sweep that has left the mempool, or never got there, goes first: were another made in its place,
    /// whoever still knows the first one would see the two conflict. But none that goes elsewhere than the
    /// person wants by now, or pays more than they allow by now.
    fn publish_again(&mut self, free: &mut Vec<Coin>, terms: &Terms) -> Result<(), RecoveryError> {
        let sweeps: Vec<Sweep> = self.journal.sweeps.iter().rev().cloned().collect();
        let is_wanted = |sweep: &&Sweep| {
            sweep.pays_to(&terms.sweep_to) && sweep.fee_rate <= terms.highest_fee_rate
        };
        let mut tried = BTreeSet::new();
        for sweep in sweeps.iter().filter(is_wanted) {
            let is_input = |coin: &Coin| sweep.spends(&coin.outpoint);
            let inputs: Vec<_> = free
                .iter()
                .filter(|c| is_input(c))
                .map(|c| c.outpoint)
                .collect();
            let all_free = inputs.len() == sweep.tx.input.len();
            // Of several for the same coin, the newest alone.
            if !all_free || inputs.iter().any(|input| tried.contains(input)) {
                continue;
            }
            tried.extend(inputs);
            if self.publish(sweep, false)? {
                free.retain(|coin| !is_input(coin));
            }
        }
        Ok(())
    }

    /// What the network has refused before has to pay more in time, as far as the person allows by now.
    fn rate_for(&self, free: &[Coin], terms: &Terms, tip: &Tip) -> u64 {
        let before: Vec<_> = free.iter().filter_map(|c| self.newest_of(c)).collect();
        if before.is_empty() || !before.iter().all(|sweep| sweep::is_overdue(sweep, tip)) {
            return terms.fee_rate;
        }
        let wanted = self.chain.fee_rate(1).ok().flatten();
        let raised = before
            .iter()
            .map(|sweep| sweep::raised(sweep, wanted, terms.highest()).unwrap_or(sweep.fee_rate));
        let raised = raised.max().unwrap_or_default();
        raised.min(terms.highest_fee_rate).max(terms.fee_rate)
    }

    fn newest_of(&self, coin: &Coin) -> Option<&Sweep> {
        let mut newest_first = self.journal.sweeps.iter().rev();
        newest_first.find(|sweep| sweep.spends(&coin.outpoint))
    }

    /// Whether the network took it.
    fn sweep_together(
        &mut self,
        coins: &[Coin],
        terms: &Terms,
        rate: u64,
        tip: &Tip,
    ) -> Result<bool, RecoveryError> {
        match sweep::build(&self.keys, coins, &terms.sweep_to, rate, tip) {
            Some(sweep) => self.take_and_publish(sweep, false),
            None => Ok(false),
        }
    }

    fn raise_what_is_stuck(
        &mut self,
        coins: &[Spendable],
        terms: &Terms,
        tip: &Tip,
    ) -> Result<(), RecoveryError> {
        let waiting: BTreeSet<Txid> = coins
            .iter()
            .filter_map(|(_, spend)| spend.as_ref())
            .filter(|spend| spend.place.is_none())
            .map(|spend| spend.tx.compute_txid())
            .collect();
        for txid in waiting {
            let sweeps = &self.journal.sweeps;
            let Some(stuck) = sweeps.iter().find(|s| s.tx.compute_txid() == txid).cloned() else {
                continue;
            };
            // One that goes to an address that the person no longer wants has no time at all. But where its
            // replacement was refused, the next one has time: each is journaled for good.
            let newest = self.newest_in_place_of(&stuck);
            if !sweep::is_overdue(&newest, tip) && newest.pays_to(&terms.sweep_to) {
                continue;
            }
            let wanted = self.chain.fee_rate(1).ok().flatten();
            let raised = |sweep| sweep::raised(sweep, wanted, terms.highest());
            let Some(rate) = raised(&newest).or_else(|| raised(&stuck)) else {
                let event = match stuck.pays_to(&terms.sweep_to) {
                    true => RecoveryEvent::SweepStuck { txid },
                    false => RecoveryEvent::SweepToOldAddress {
                        txid,
                        needs: sweep::least_to_replace(&stuck),
                    },
                };
                self.complain(txid, event);
                continue;
            };
            let inputs: Vec<Coin> = coins
                .iter()
                .filter(|(coin, _)| stuck.spends(&coin.outpoint) && coin.is_mature(tip))
                .map(|(coin, _)| coin.clone())
                .collect();
            if let Some(raised) = sweep::build(&self.keys, &inputs, &terms.sweep_to, rate, tip) {
                self.take_and_publish(raised, true)?;
            }
        }
        Ok(())
    }

    /// The newest sweep of a coin of this one: itself, or one that was to replace it and was refused.
    fn newest_in_place_of(&self, stuck: &Sweep) -> Sweep {
        let spends_the_same = |other: &&Sweep| {
            let mut inputs = stuck.tx.input.iter();
            inputs.any(|input| other.spends(&input.previous_output))
        };
        let mut newest_first = self.journal.sweeps.iter().rev();
        let newest = newest_first.find(spends_the_same);
        newest.unwrap_or(stuck).clone()
    }

    /// Noted before it is published: a sweep that nobody knows of could be made twice, with other fees.
    fn take_and_publish(&mut self, sweep: Sweep, raised: bool) -> Result<bool, RecoveryError> {
        let txid = sweep.tx.compute_txid();
        let mut sweeps = self.journal.sweeps.iter();
        if !sweeps.any(|known| known.tx.compute_txid() == txid) {
            self.take(Step::Sweeping(sweep.clone()))?;
        }
        self.publish(&sweep, raised)
    }

    /// Whether the network took it.
    fn publish(&mut self, sweep: &Sweep, raised: bool) -> Result<bool, RecoveryError> {
        let txid = sweep.tx.compute_txid();
        match self.chain.broadcast(&sweep.tx) {
            Ok(()) => {
                self.complained.remove(&txid);
                self.tell(RecoveryEvent::Sweeping {
                    txid,
                    sat: sweep.output_sat(),
                    fee_sat: sweep.fee_sat(),
                    raised,
                });
                Ok(true)
            }
            Err(ChainError::Rejected { reason }) => {
                self.complain(txid, RecoveryEvent::SweepRefused { txid, reason });
                Ok(false)
            }
            Err(error) => self.troubled(error).map(|()| false),
        }
    }

    /// The sweeps that the chain has, buried or not. One that is buried, and one that such a one stands in
    /// the way of, is not asked for again.
    pub(super) fn sweeps_in_the_chain(&mut self, tip: &Tip) -> Result<Vec<Sweep>, RecoveryError> {
        let mut confirmed = Vec::new();
        for sweep in self.journal.sweeps.clone() {
            let txid = sweep.tx.compute_txid();
            let is_confirmed = match self.settled.get(&txid) {
                Some(settled) => *settled,
                None => {
                    let found = self.chain.transaction(&txid);
                    let place = self.told(found)?.flatten().and_then(|found| found.place);
                    if is_buried(place, tip) {
                        self.settle(&sweep);
                    }
                    place.is_some()
                }
            };
            if is_confirmed {
                confirmed.push(sweep);
            }
        }
        Ok(confirmed)
    }

    fn settle(&mut self, buried: &Sweep) {
        let spends_the_same = |other: &&Sweep| {
            let mut inputs = buried.tx.input.iter();
            inputs.any(|input| other.spends(&input.previous_output))
        };
        for other in self.journal.sweeps.iter().filter(spends_the_same) {
            self.settled.insert(other.tx.compute_txid(), false);
        }
        self.settled.insert(buried.tx.compute_txid(), true);
    }

    /// Told once of each sweep, until it goes on.
    fn complain(&mut self, txid: Txid, event: RecoveryEvent) {
        if self.complained.insert(txid) {
            self.tell(event);
        }
    }
}
