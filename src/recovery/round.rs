//! One round: a look at the chain, and what follows from it.

mod asking;
mod sweeping;

use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{OutPoint, Txid};
use lightning::ln::types::ChannelId;
use lightning::sign::SpendableOutputDescriptor;

use super::ask::Asker;
use super::chain::{ChainError, FoundTransaction, Place, Tip};
use super::funding::{self, Close};
use super::journal::{Step, Target};
use super::sweep::{self, Coin};
use super::{Recovery, RecoveryError, RecoveryEvent};
use crate::backup::ChannelIds;
use crate::session::Session;

/// So deep a transaction is taken for final, as LDK does (`ANTI_REORG_DELAY`). In blocks.
const BURIED: u32 = 6;
/// How long a caller waits before the next round while only the chain can bring news.
const POLL: Duration = Duration::from_secs(30);

/// How far everything is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Each channel that the person agreed to.
    pub channels: Vec<ChannelProgress>,
    /// What was found to be ours so far and is swept by this recovery, or waits to be, in sat. What the
    /// lost device had swept itself does not count.
    pub found_sat: u64,
    /// What has come to the person's address, in sat: in the chain, though perhaps not buried yet.
    pub recovered_sat: u64,
    /// What that cost, in sat.
    pub fees_sat: u64,
    /// All is over: nothing more will come.
    pub done: bool,
    /// When to look again.
    pub next_round_in: Duration,
}

/// How far a channel is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelProgress {
    /// The channel.
    pub ids: ChannelIds,
    /// The other side.
    pub peer: PublicKey,
    /// How far it is.
    pub stage: Stage,
    /// What was found to be ours, in sat.
    pub ours_sat: u64,
    /// How often the peer was asked to close.
    pub asked: usize,
    /// How often in a row it was not reached.
    pub unreached: u32,
}

/// How far a channel is on its way to the person's address. It can go back: blocks can be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The peer has not closed it.
    Open,
    /// The close is in the mempool.
    Closing(Txid),
    /// The close is in the chain; what is ours is not swept yet.
    Closed(Txid),
    /// All that is ours is swept; the sweep or the close is not buried yet.
    Swept(Txid),
    /// It is over.
    Over,
}

/// What was seen of a channel in this round.
struct Seen {
    target: Target,
    funding: Option<OutPoint>,
    close: Option<Close>,
    /// How each of our outputs was spent, in the order of the close.
    spends: Vec<Option<FoundTransaction>>,
}

impl Seen {
    fn ours_sat(&self) -> u64 {
        let ours = self.close.iter().flat_map(|close| &close.ours);
        ours.map(|output| output.output.value.to_sat()).sum()
    }

    fn stage(&self) -> Stage {
        let Some(close) = &self.close else {
            return Stage::Open;
        };
        let txid = close.tx.compute_txid();
        let swept = self.spends.iter().all(Option::is_some);
        match close.place {
            None => Stage::Closing(txid),
            Some(_) if swept => Stage::Swept(txid),
            Some(_) => Stage::Closed(txid),
        }
    }

    /// Whether something in the close was ours, and all of it is spent.
    fn is_all_swept(&self) -> bool {
        !self.spends.is_empty() && self.spends.iter().all(Option::is_some)
    }

    /// Whether the close and all that spends our outputs of it are final. An output that costs more than
    /// it brings need not be spent.
    fn is_buried(&self, tip: &Tip, fee_rate: u64) -> bool {
        let Some(close) = &self.close else {
            return false;
        };
        let mut outputs = self.spends.iter().zip(&close.ours);
        let spent = outputs.all(|(spend, output)| {
            let sat = output.output.value.to_sat();
            !sweep::pays_for_itself(sat, fee_rate) || is_spend_buried(spend, tip)
        });
        is_buried(close.place, tip) && spent
    }
}

/// One of our outputs, and what has spent it.
type Spendable = (Coin, Option<FoundTransaction>);

fn is_buried(place: Option<Place>, tip: &Tip) -> bool {
    place.is_some_and(|place| place.confirmations(tip) >= BURIED)
}

fn is_spend_buried(spend: &Option<FoundTransaction>, tip: &Tip) -> bool {
    is_buried(spend.as_ref().and_then(|spend| spend.place), tip)
}

impl Recovery {
    /// One round: looks at the chain, sweeps what can be swept, and asks the peers whose turn it is to
    /// close. Blocks for as long as the chain source takes, and while a peer is asked (all at the same
    /// time) for half a minute.
    ///
    /// Before the person has agreed it only looks. Call it again after
    /// [`Progress::next_round_in`], until [`Progress::done`].
    ///
    /// # Errors
    /// Nothing is lost with any: call it again later.
    pub fn step(&mut self, session: &Session) -> Result<Progress, RecoveryError> {
        let tip = self.chain.tip()?;
        let seen = self.look()?;
        self.tell_changes(&seen);
        self.follow_monitors(&seen, &tip)?;
        let coins = self.coins(&seen)?;
        self.sweep(&coins, &tip)?;
        self.note_what_is_over(&seen, &coins, &tip)?;
        let stay = self.stay;
        self.ask_peers(&seen, &Asker { session, stay })?;
        self.progress(&seen, &coins, &tip)
    }

    // ---- looking ----------------------------------------------------------------------------

    fn look(&self) -> Result<Vec<Seen>, RecoveryError> {
        let targets = self.journal.targets.iter();
        let targets = targets.filter(|target| !self.journal.is_given_up(&target.ids));
        let seen = targets.map(|target| {
            let chain = &*self.chain;
            let funding = funding::outpoint(chain, &target.ids)?;
            let close = match funding {
                Some(funding) => {
                    funding::close(chain, &self.keys, funding, target.channel_keys_id)?
                }
                None => None,
            };
            let ours = close.iter().flat_map(|close| &close.ours);
            let spends: Result<_, ChainError> = ours
                .map(|output| chain.spend_of(&output.outpoint))
                .collect();
            Ok(Seen {
                target: target.clone(),
                funding,
                close,
                spends: spends?,
            })
        });
        seen.collect()
    }

    fn tell_changes(&mut self, seen: &[Seen]) {
        for seen in seen {
            let (channel, stage) = (seen.target.ids, seen.stage());
            let told = self.told.iter_mut().find(|(ids, _)| ids.matches(&channel));
            let before = match told {
                Some((_, told)) => std::mem::replace(told, stage),
                None => {
                    self.told.push((channel, stage));
                    Stage::Open
                }
            };
            let event = match (before, stage) {
                (before, now) if before == now => continue,
                (_, Stage::Open) => RecoveryEvent::Reopened { channel },
                (_, Stage::Closing(txid)) => RecoveryEvent::Closing { channel, txid },
                (Stage::Closed(_) | Stage::Swept(_), _) | (_, Stage::Over) => continue,
                (_, Stage::Closed(txid) | Stage::Swept(txid)) => RecoveryEvent::Closed {
                    channel,
                    txid,
                    ours_sat: seen.ours_sat(),
                },
            };
            self.tell(event);
        }
    }

    /// All that is or was ours to sweep, each with what has spent it.
    fn coins(&self, seen: &[Seen]) -> Result<Vec<Spendable>, RecoveryError> {
        let mut coins = Vec::new();
        for seen in seen {
            let ours = seen.close.iter().flat_map(|close| &close.ours);
            for (output, spend) in ours.zip(&seen.spends) {
                let (outpoint, txout) = (output.outpoint, output.output.clone());
                let descriptor = match output.key {
                    Some(key) => self.keys.descriptor(outpoint, txout.clone(), key),
                    None => self.keys.own_output(outpoint, txout.clone()),
                };
                let Some(descriptor) = descriptor else {
                    continue;
                };
                let coin = Coin {
                    outpoint,
                    output: txout,
                    place: output.place,
                    descriptor,
                };
                coins.push((coin, spend.clone()));
            }
        }
        let claimed = self.monitors.spendable().into_iter();
        let claimed = claimed
            .map(|(_, output)| output)
            .filter(|o| self.is_ours(o));
        for descriptor in self.waiting_outputs().into_iter().chain(claimed) {
            let outpoint = descriptor.spendable_outpoint().into_bitcoin_outpoint();
            if coins.iter().any(|(coin, _)| coin.outpoint == outpoint) {
                continue;
            }
            let found = self.chain.transaction(&outpoint.txid)?;
            let coin = Coin::of(descriptor, found.and_then(|found| found.place));
            let spend = self.chain.spend_of(&outpoint)?;
            coins.push((coin, spend));
        }
        Ok(coins)
    }

    /// Outputs that the lost node had found and not swept, as its backup tells. Those to the wallet's own
    /// addresses are no matter of ours.
    fn waiting_outputs(&self) -> Vec<SpendableOutputDescriptor> {
        let mut outputs = self.storage.known().restored_outputs;
        outputs.retain(|output| self.is_ours(output));
        outputs
    }

    fn is_ours(&self, output: &SpendableOutputDescriptor) -> bool {
        match output {
            SpendableOutputDescriptor::StaticOutput { output, .. } => {
                self.keys.is_own_address(&output.script_pubkey)
            }
            _ => true,
        }
    }

    pub(super) fn waiting_sat(&self) -> Result<u64, RecoveryError> {
        let mut sat = 0;
        for descriptor in self.waiting_outputs() {
            let coin = Coin::of(descriptor, None);
            if self.chain.spend_of(&coin.outpoint)?.is_none() {
                sat += coin.sat();
            }
        }
        Ok(sat)
    }

    // ---- monitors ---------------------------------------------------------------------------

    /// Only what the person agreed to is published.
    fn follow_monitors(&mut self, seen: &[Seen], tip: &Tip) -> Result<(), RecoveryError> {
        let Some(terms) = self.journal.terms.clone() else {
            return Ok(());
        };
        self.load_monitors();
        if self.monitors.is_empty() {
            return Ok(());
        }
        for funding in seen.iter().filter_map(|seen| seen.funding) {
            self.monitors.guard(funding);
        }
        Ok(self.monitors.follow(&*self.chain, tip, terms.fee_rate)?)
    }

    /// Whether a channel's monitor may still bring something, or has brought something that is not
    /// swept and buried yet.
    fn monitor_is_busy(&self, channel: &ChannelIds, coins: &[Spendable], tip: &Tip) -> bool {
        let Some(id) = channel.derived_channel_id() else {
            return false;
        };
        let of_channel = |(of, output): &(Option<ChannelId>, SpendableOutputDescriptor)| {
            (*of == Some(id)).then(|| output.spendable_outpoint().into_bitcoin_outpoint())
        };
        let brought: Vec<_> = self
            .monitors
            .spendable()
            .iter()
            .filter_map(of_channel)
            .collect();
        let mut coins = coins.iter();
        self.monitors.waits_for(&id, tip)
            || coins.any(|(coin, spend)| {
                brought.contains(&coin.outpoint) && !is_spend_buried(spend, tip)
            })
    }

    // ---- the end of a channel ---------------------------------------------------------------

    fn note_what_is_over(
        &mut self,
        seen: &[Seen],
        coins: &[Spendable],
        tip: &Tip,
    ) -> Result<(), RecoveryError> {
        let Some(terms) = self.journal.terms.clone() else {
            return Ok(());
        };
        for seen in seen {
            let channel = seen.target.ids;
            let mut ids = channel;
            ids.funding_outpoint = ids.funding_outpoint.or(seen.funding);
            if self.journal.is_over(&channel)
                || self.journal.has_found_nothing(&channel)
                || !seen.is_buried(tip, terms.fee_rate)
                || self.monitor_is_busy(&ids, coins, tip)
                || !self.stands_in_the_chain(seen)?
            {
                continue;
            }
            if seen.is_all_swept() {
                self.take(Step::Over { channel })?;
                self.storage.channel_resolved(channel);
                self.tell(RecoveryEvent::Over { channel });
            } else {
                self.take(Step::NothingFound { channel })?;
                self.tell(RecoveryEvent::NothingOfOurs { channel });
            }
        }
        for output in self.waiting_outputs() {
            let outpoint = output.spendable_outpoint().into_bitcoin_outpoint();
            let mut coins = coins.iter();
            let coin = coins.find(|(coin, _)| coin.outpoint == outpoint);
            if coin.is_some_and(|(_, spend)| is_spend_buried(spend, tip)) {
                self.storage.channel_resolved(ChannelIds {
                    funding_outpoint: Some(outpoint),
                    ..ChannelIds::default()
                });
            }
        }
        Ok(())
    }

    /// What a source says of places is a hint: the end of a channel is believed only if those blocks are
    /// in the best chain.
    fn stands_in_the_chain(&self, seen: &Seen) -> Result<bool, RecoveryError> {
        let spends = seen.spends.iter().flatten().map(|spend| spend.place);
        let places = seen.close.iter().map(|close| close.place).chain(spends);
        for place in places.flatten() {
            let header = self.chain.header_at(place.height)?;
            if header.is_none_or(|header| header.block_hash() != place.block) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    // ---- progress ---------------------------------------------------------------------------

    fn progress(
        &self,
        seen: &[Seen],
        coins: &[Spendable],
        tip: &Tip,
    ) -> Result<Progress, RecoveryError> {
        let channels: Vec<_> = seen
            .iter()
            .map(|seen| {
                let attempts = self.journal.attempts(&seen.target.peer);
                ChannelProgress {
                    ids: seen.target.ids,
                    peer: seen.target.peer,
                    stage: match self.has_ended(&seen.target.ids) {
                        true => Stage::Over,
                        false => seen.stage(),
                    },
                    ours_sat: seen.ours_sat(),
                    asked: attempts.asked.len(),
                    unreached: attempts.unreached.map_or(0, |(times, _)| times),
                }
            })
            .collect();
        let mut ours = Vec::new();
        for sweep in &self.journal.sweeps {
            let found = self.chain.transaction(&sweep.tx.compute_txid())?;
            if found.is_some_and(|found| found.place.is_some()) {
                ours.push(sweep);
            }
        }
        let is_waiting =
            |(_, spend): &&Spendable| spend.as_ref().is_none_or(|spend| spend.place.is_none());
        let waiting = coins.iter().filter(is_waiting);
        let waiting: u64 = waiting.map(|(coin, _)| coin.sat()).sum();
        let swept: u64 = ours.iter().map(|sweep| sweep.input_sat).sum();
        let fee_rate = self
            .journal
            .terms
            .as_ref()
            .map_or(0, |terms| terms.fee_rate);
        let all_over = channels.iter().all(|c| c.stage == Stage::Over);
        let all_buried = coins.iter().all(|(coin, spend)| {
            is_spend_buried(spend, tip) || !sweep::pays_for_itself(coin.sat(), fee_rate)
        });
        Ok(Progress {
            found_sat: swept + waiting,
            recovered_sat: ours.iter().map(|sweep| sweep.output_sat()).sum(),
            fees_sat: ours.iter().map(|sweep| sweep.fee_sat()).sum(),
            done: self.is_begun() && all_over && all_buried,
            next_round_in: self.next_round_in(seen),
            channels,
        })
    }

    fn has_ended(&self, channel: &ChannelIds) -> bool {
        self.journal.is_over(channel) || self.journal.has_found_nothing(channel)
    }
}
