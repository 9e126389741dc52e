//! How one monitor is shown the chain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use bitcoin::block::Header;
use bitcoin::{Txid, Wtxid};
use lightning::chain::Confirm;
use lightning::events::{Event, EventsProvider};
use lightning::ln::types::ChannelId;
use lightning::sign::SpendableOutputDescriptor;

use super::contained::{Contained, Guarded};
use super::publish::Publisher;
use super::witness;
use crate::locks::lock;
use crate::recovery::chain::{ChainError, ChainSource, FoundTransaction, Tip};
use crate::recovery::journal::Terms;

/// A monitor, and what it has been shown.
pub(super) struct Followed {
    pub monitor: Contained,
    /// The last block that it was shown.
    tip: Option<Tip>,
    shown: BTreeSet<Txid>,
    /// What an earlier one of this state broke at: this one is not shown it, and so can do the rest.
    passed_over: BTreeSet<Wtxid>,
    progress: Reached,
    /// What has become spendable.
    spendable: Vec<(Option<ChannelId>, SpendableOutputDescriptor)>,
}

/// How far it has come when it was last shown the chain.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// It has seen all of it.
    Tip,
    /// The chain was not told in full, or has changed meanwhile.
    Less,
    /// The chain that it was shown is no longer the chain.
    Outdated,
}

impl Followed {
    /// `before`: one of the same state that could not go on.
    pub fn new(monitor: Contained, before: Option<Followed>) -> Followed {
        let broken = before.filter(|before| before.monitor.is_broken());
        Followed {
            monitor,
            tip: None,
            shown: BTreeSet::new(),
            passed_over: broken.map(|broken| broken.passed_over).unwrap_or_default(),
            progress: Reached::Less,
            spendable: Vec::new(),
        }
    }

    /// Whether it can be shown what comes next. Else it has to be made anew.
    pub fn can_go_on(&self) -> bool {
        !self.monitor.is_broken() && self.progress != Reached::Outdated
    }

    /// Whether it had seen all of the chain when it was last shown it.
    pub fn is_at_the_tip(&self) -> bool {
        self.progress == Reached::Tip
    }

    pub fn spendable(&self) -> &[(Option<ChannelId>, SpendableOutputDescriptor)] {
        &self.spendable
    }

    /// Shows it what the chain has come to up to `tip`, and publishes what it wants.
    pub fn follow(
        &mut self,
        chain: &dyn ChainSource,
        tip: &Tip,
        terms: &Terms,
        publisher: &mut Publisher,
    ) -> Result<(), ChainError> {
        self.monitor.set_rate(terms.fee_rate);
        self.progress = Reached::Less;
        let mut publish = |monitor: &Contained| {
            let wishes = monitor.take_wishes();
            publisher.publish(chain, wishes, terms)
        };
        let reached = self.show(chain, tip, &mut publish);
        if let Ok(reached) = reached {
            self.progress = reached;
        }
        reached.map(|_| ()).and(publish(&self.monitor))
    }

    fn show(
        &mut self,
        chain: &dyn ChainSource,
        tip: &Tip,
        publish: &mut dyn FnMut(&Contained) -> Result<(), ChainError>,
    ) -> Result<Reached, ChainError> {
        let has_left = self.what_has_left(chain)?;
        if self.tip.is_none() && self.shown.is_empty() {
            // Of the blocks that the lost device had seen.
            for txid in has_left.transactions {
                self.call(|monitor| monitor.transaction_unconfirmed(&txid))?;
            }
        } else if has_left.tip || !has_left.transactions.is_empty() {
            return Ok(Reached::Outdated);
        }
        let header = chain.header_at(tip.height)?;
        let Some(header) = header.filter(|header| header.block_hash() == tip.hash) else {
            return Ok(Reached::Less);
        };
        let mut published = Ok(());
        let mut all = true;
        loop {
            let found = self.what_is_new(chain, tip, &mut all)?;
            if found.is_empty() {
                break;
            }
            for ((height, index), FoundTransaction { tx, place }) in found {
                let header = chain.header_at(height)?;
                let block = header.map(|header| header.block_hash());
                let (Some(header), true) = (header, block == place.map(|place| place.block)) else {
                    // A block has been replaced meanwhile; the next round sees the new one.
                    return published.map(|()| Reached::Less);
                };
                if self.knows_it_elsewhere(&tx.compute_txid(), &header)? {
                    // So has the one that it knows it in. LDK takes it for a bug, and panics.
                    return published.map(|()| Reached::Outdated);
                }
                self.shown.insert(tx.compute_txid());
                let wtxid = tx.compute_wtxid();
                let tx = witness::as_in_bolt_3(tx);
                let transactions = [(index as usize, &tx)];
                let shown = self.call(|monitor| {
                    monitor.transactions_confirmed(&header, &transactions, height);
                });
                if shown.is_err() {
                    self.passed_over.insert(wtxid);
                }
                // What it claims at once must not wait for what it is shown next.
                published = published.and(publish(&self.monitor));
                shown?;
            }
        }
        self.call(|monitor| monitor.best_block_updated(&header, tip.height))?;
        self.tip = Some(*tip);
        self.hear_events()?;
        self.call(|monitor| monitor.rebroadcast_pending_claims())?;
        published?;
        match all {
            true => Ok(Reached::Tip),
            false => Err(broken()),
        }
    }

    /// What is shown leads to further outputs to watch. `all` is false where something is passed over.
    fn what_is_new(
        &self,
        chain: &dyn ChainSource,
        tip: &Tip,
        all: &mut bool,
    ) -> Result<BTreeMap<(u32, u32), FoundTransaction>, ChainError> {
        let (outputs, transactions) = self.monitor.watches();
        let spends = outputs.iter().map(|output| chain.spend_of(output));
        let transactions = transactions.iter().map(|txid| chain.transaction(txid));
        let mut new = BTreeMap::new();
        for found in spends.chain(transactions) {
            let Some(found) = found? else {
                continue;
            };
            // What has come after the tip is seen in the next round: LDK would take it back at once.
            let Some(place) = found.place.filter(|place| place.height <= tip.height) else {
                continue;
            };
            if self.passed_over.contains(&found.tx.compute_wtxid()) {
                *all = false;
            } else if !self.shown.contains(&found.tx.compute_txid()) {
                new.insert((place.height, place.index), found);
            }
        }
        Ok(new)
    }

    fn hear_events(&mut self) -> Result<(), ChainError> {
        let heard = Mutex::new(Vec::new());
        let listen = |event| {
            // Safety rule 9: with `BumpTransaction` a close of our own is never helped on its way. HTLCs of a
            // commitment of ours that somebody else has published would need coins of a wallet.
            if let Event::SpendableOutputs {
                outputs,
                channel_id,
            } = event
            {
                lock(&heard).extend(outputs.into_iter().map(|output| (channel_id, output)));
            }
            Ok(())
        };
        let called = self.call(|monitor| monitor.process_pending_events(&listen));
        for output in std::mem::take(&mut *lock(&heard)) {
            if !self.spendable.contains(&output) {
                self.spendable.push(output);
            }
        }
        called
    }

    /// What of all that it has seen is no longer in the chain.
    fn what_has_left(&mut self, chain: &dyn ChainSource) -> Result<HasLeft, ChainError> {
        let mut has_left = HasLeft::default();
        if let Some(shown) = self.tip {
            let header = chain.header_at(shown.height)?;
            has_left.tip = header.is_none_or(|header| header.block_hash() != shown.hash);
        }
        for (txid, height, block) in self.call(|monitor| monitor.get_relevant_txids())? {
            let place = chain.transaction(&txid)?.and_then(|found| found.place);
            let stands = place.is_some_and(|place| {
                place.height == height && block.is_none_or(|block| block == place.block)
            });
            if !stands {
                has_left.transactions.push(txid);
            }
        }
        Ok(has_left)
    }

    /// Whether it believes a transaction to be in another block.
    fn knows_it_elsewhere(&mut self, txid: &Txid, header: &Header) -> Result<bool, ChainError> {
        let known = self.call(|monitor| monitor.get_relevant_txids())?;
        let blocks = known.into_iter().filter(|(known, _, _)| known == txid);
        let mut blocks = blocks.filter_map(|(_, _, block)| block);
        Ok(blocks.any(|block| block != header.block_hash()))
    }

    fn call<T>(&mut self, f: impl FnOnce(&Guarded) -> T) -> Result<T, ChainError> {
        self.monitor.call(f).ok_or_else(broken)
    }
}

/// What has left the chain.
#[derive(Default)]
struct HasLeft {
    tip: bool,
    transactions: Vec<Txid>,
}

/// LDK panics at what it holds for impossible.
fn broken() -> ChainError {
    ChainError::invalid("LDK does not go on with a channel after what it was shown")
}
