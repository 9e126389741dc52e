//! What a round sees.

use std::collections::BTreeSet;

use bitcoin::{FeeRate, OutPoint};
use lightning::sign::SpendableOutputDescriptor;

use super::{is_buried, is_spend_buried, Stage};
use crate::exchange::Known;
use crate::recovery::chain::{ChainError, FoundTransaction, Tip};
use crate::recovery::funding::{self, Close};
use crate::recovery::journal::Target;
use crate::recovery::sweep::{self, Coin};
use crate::recovery::{Recovery, RecoveryError};

/// A chain that is not twice the same after so many looks is looked at later.
const MOST_LOOKS: usize = 5;

/// What was seen in a round, all of it at one tip.
pub(in crate::recovery) struct View {
    pub tip: Tip,
    /// Each channel that the person agreed to.
    pub channels: Vec<Seen>,
    /// Closes of which nobody knows the channel.
    pub other_closes: usize,
    /// All that is or was ours to sweep, each once, with what has spent it.
    pub coins: Vec<Spendable>,
    /// Those of the coins that the backup names, as what the lost node had found and not swept.
    pub waiting: BTreeSet<OutPoint>,
}

/// One of our outputs, and what has spent it.
pub(super) type Spendable = (Coin, Option<FoundTransaction>);

/// What was seen of a channel in a round.
pub(in crate::recovery) struct Seen {
    pub target: Target,
    /// The person no longer waits for it. What is found of it is swept all the same.
    pub given_up: bool,
    /// Whether the chain has told what follows.
    pub in_view: bool,
    pub funding: Option<OutPoint>,
    pub close: Option<Close>,
    /// How each of our outputs was spent, in the order of the close.
    pub spends: Vec<Option<FoundTransaction>>,
}

impl Seen {
    /// The close was found by our scripts alone: it may be another channel's.
    pub fn by_script(&self) -> bool {
        self.funding.is_none() && self.close.is_some()
    }

    pub fn ours_sat(&self) -> u64 {
        self.close.as_ref().map_or(0, Close::sat)
    }

    pub fn stage(&self) -> Stage {
        let Some(close) = &self.close else {
            return Stage::Open;
        };
        let txid = close.tx.compute_txid();
        let swept = self.spends.iter().all(Option::is_some);
        match close.place {
            None => Stage::Closing(txid),
            Some(_) if close.ours.is_empty() => Stage::NothingOfOurs(txid),
            Some(_) if swept => Stage::Swept(txid),
            Some(_) => Stage::Closed(txid),
        }
    }

    /// Whether something in the close was ours and is spent.
    pub fn has_come(&self) -> bool {
        self.spends.iter().any(Option::is_some)
    }

    /// Whether the close and all that spends our outputs of it are final. An output need not be spent that
    /// costs more than it brings at any fee rate; what the person's alone would eat is not lost.
    pub fn is_buried(&self, tip: &Tip) -> bool {
        let Some(close) = &self.close else {
            return false;
        };
        let mut outputs = self.spends.iter().zip(&close.ours);
        let spent = outputs.all(|(spend, output)| {
            is_worthless(output.output.value.to_sat()) || is_spend_buried(spend, tip)
        });
        is_buried(close.place, tip) && spent
    }
}

/// Whether so many sat are too few to be swept at any fee rate that the network relays.
pub(super) fn is_worthless(sat: u64) -> bool {
    !sweep::pays_for_itself(sat, FeeRate::BROADCAST_MIN.to_sat_per_kwu())
}

impl Recovery {
    /// Looks until the tip before is the tip after: parts that were seen at different tips need not fit
    /// together.
    pub(super) fn look(&mut self, known: &Known) -> Result<View, RecoveryError> {
        for _ in 0..MOST_LOOKS {
            self.trouble = None;
            let tip = self.chain.tip()?;
            let view = self.look_once(tip, known)?;
            if self.chain.tip()? == tip {
                return Ok(view);
            }
        }
        Err(ChainError::unreachable("the chain changes while it is looked at").into())
    }

    fn look_once(&mut self, tip: Tip, known: &Known) -> Result<View, RecoveryError> {
        let mut channels = Vec::new();
        for target in self.journal.targets.clone() {
            channels.push(self.look_at(target)?);
        }
        self.scan(&channels)?;
        let others = self.fit_what_was_found(&mut channels)?;
        self.follow_monitors(&channels, &tip)?;

        let mut coins = Vec::new();
        let closes = channels.iter().filter_map(|seen| seen.close.as_ref());
        for close in closes.chain(&others) {
            self.add_coins_of(close, &mut coins)?;
        }
        let waiting = known.restored_outputs.iter().cloned();
        let waiting: Vec<_> = waiting.filter(|output| self.is_ours(output)).collect();
        let outpoint =
            |o: &SpendableOutputDescriptor| o.spendable_outpoint().into_bitcoin_outpoint();
        let outpoints = waiting.iter().map(outpoint).collect();
        let claimed = self.monitors.spendable().into_iter();
        let claimed: Vec<_> = claimed.map(|(_, output)| output).collect();
        for output in waiting.into_iter().chain(claimed) {
            if self.is_ours(&output) {
                self.add_coin(output, &mut coins)?;
            }
        }
        Ok(View {
            tip,
            channels,
            other_closes: others.len(),
            coins,
            waiting: outpoints,
        })
    }

    fn look_at(&mut self, target: Target) -> Result<Seen, RecoveryError> {
        let mut seen = Seen {
            given_up: self.journal.is_given_up(&target),
            target,
            in_view: true,
            funding: None,
            close: None,
            spends: Vec::new(),
        };
        if let Err(error) = self.look_closely(&mut seen) {
            self.not_in_view(&mut seen, error)?;
        }
        Ok(seen)
    }

    /// Nobody waits for what the chain does not tell of a channel that is given up.
    pub(super) fn not_in_view(
        &mut self,
        seen: &mut Seen,
        error: ChainError,
    ) -> Result<(), RecoveryError> {
        seen.in_view = false;
        (seen.close, seen.spends) = (None, Vec::new());
        match seen.given_up && error != ChainError::WrongChain {
            true => Ok(()),
            false => self.troubled(error),
        }
    }

    fn look_closely(&mut self, seen: &mut Seen) -> Result<(), ChainError> {
        seen.funding = self.funding(&seen.target.ids)?;
        if let Some(funding) = seen.funding {
            seen.close = funding::close(&*self.chain, &self.keys, funding)?;
        }
        let close = seen.close.as_ref();
        seen.spends = close.map_or(Ok(Vec::new()), |close| self.spends(close))?;
        Ok(())
    }

    pub(super) fn spends(
        &self,
        close: &Close,
    ) -> Result<Vec<Option<FoundTransaction>>, ChainError> {
        let ours = close.ours.iter();
        ours.map(|output| self.chain.spend_of(&output.outpoint))
            .collect()
    }

    // ---- coins ------------------------------------------------------------------------------

    fn add_coins_of(
        &mut self,
        close: &Close,
        coins: &mut Vec<Spendable>,
    ) -> Result<(), RecoveryError> {
        for output in &close.ours {
            let (outpoint, txout) = (output.outpoint, output.output.clone());
            let descriptor = match output.key {
                Some(key) => self.keys.descriptor(outpoint, txout, key),
                None => self.keys.own_output(outpoint, txout),
            };
            let Some(descriptor) = descriptor else {
                continue;
            };
            let coin = Coin::of(descriptor, output.place);
            self.add(coin, coins)?;
        }
        Ok(())
    }

    fn add_coin(
        &mut self,
        output: SpendableOutputDescriptor,
        coins: &mut Vec<Spendable>,
    ) -> Result<(), RecoveryError> {
        let txid = output.spendable_outpoint().txid;
        let answer = self.chain.transaction(&txid);
        let Some(found) = self.told(answer)? else {
            return Ok(());
        };
        self.add(Coin::of(output, found.and_then(|found| found.place)), coins)
    }

    /// Each once: two records may turn out to be of one channel.
    fn add(&mut self, coin: Coin, coins: &mut Vec<Spendable>) -> Result<(), RecoveryError> {
        if coins
            .iter()
            .any(|(known, _)| known.outpoint == coin.outpoint)
        {
            return Ok(());
        }
        let answer = self.chain.spend_of(&coin.outpoint);
        if let Some(spend) = self.told(answer)? {
            coins.push((coin, spend));
        }
        Ok(())
    }

    /// Outputs to the wallet's own addresses are no matter of ours.
    fn is_ours(&self, output: &SpendableOutputDescriptor) -> bool {
        match output {
            SpendableOutputDescriptor::StaticOutput { output, .. } => {
                self.keys.is_own_address(&output.script_pubkey)
            }
            _ => true,
        }
    }

    /// What the lost node had found and not swept, as its backup tells.
    pub(in crate::recovery) fn waiting_sat(&mut self) -> Result<u64, RecoveryError> {
        let mut coins = Vec::new();
        for output in self.storage.known().restored_outputs {
            if self.is_ours(&output) {
                self.add(Coin::of(output, None), &mut coins)?;
            }
        }
        let waiting = coins.iter().filter(|(_, spend)| spend.is_none());
        Ok(waiting.map(|(coin, _)| coin.sat()).sum())
    }

    // ---- monitors ---------------------------------------------------------------------------

    /// Only what the person agreed to is published.
    fn follow_monitors(&mut self, channels: &[Seen], tip: &Tip) -> Result<(), RecoveryError> {
        let Some(terms) = self.journal.terms.clone() else {
            return Ok(());
        };
        self.load_monitors();
        if self.monitors.is_empty() {
            return Ok(());
        }
        for funding in channels.iter().filter_map(|seen| seen.funding) {
            self.monitors.guard(funding);
        }
        let followed = self.monitors.follow(&*self.chain, tip, &terms);
        self.told(followed).map(|_| ())
    }
}
