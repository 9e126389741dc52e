//! One round: a look at the chain, and what follows from it.

mod asking;
mod ending;
mod fitting;
mod leaving;
mod look;
mod sweeping;

use std::fmt;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use bitcoin::Txid;

use super::chain::{ChainError, FoundTransaction, Place, Tip};
use super::journal::{Sweep, Unproven};
use super::sweep;
use super::{Recovery, RecoveryError};
use crate::backup::ChannelIds;
use crate::session::Session;

pub(super) use look::{Seen, View};

/// So deep a transaction is taken for final, as LDK does (`ANTI_REORG_DELAY`). In blocks.
const BURIED: u32 = 6;
/// How long a caller waits before the next round while only the chain can bring news.
const POLL: Duration = Duration::from_secs(30);

/// How far everything is.
#[derive(Clone, PartialEq, Eq)]
pub struct Progress {
    /// Each channel that the person agreed to; one that was given up only where something of ours was
    /// found in it all the same.
    pub channels: Vec<ChannelProgress>,
    /// Channels that nobody waits for any more although it is not proven that all of ours has come. Their
    /// backup stays. Where there is one: keep the data directory, or the peers that keep the backup, and
    /// tell the person so.
    pub kept: Vec<KeptChannel>,
    /// What was found to be ours so far and is swept by this recovery, or waits to be, in sat. What the
    /// lost device had swept itself does not count.
    pub found_sat: u64,
    /// What has come to the person's address, in sat: in the chain, though perhaps not buried yet.
    pub recovered_sat: u64,
    /// What that cost, in sat.
    pub fees_sat: u64,
    /// What was found to be ours, is not swept, and is not waited for, in sat; [`RecoveryEvent::Left`](super::RecoveryEvent::Left)
    /// tells why.
    pub left_sat: u64,
    /// What waits because the first fee rate would eat it, in sat. Agree again with a lower one; see
    /// [`RecoveryEvent::TooDear`](super::RecoveryEvent::TooDear).
    pub too_dear_sat: u64,
    /// Closes that were found by our scripts and that no channel here is known to belong to. What is
    /// ours in them is swept all the same.
    pub other_closes: usize,
    /// What the chain did not tell in this round, if anything: the rest went on. Nothing is done while
    /// it lasts.
    pub trouble: Option<ChainError>,
    /// All is over: nothing more will come, but for what [`kept`](Self::kept) tells of.
    pub done: bool,
    /// When to look again.
    pub next_round_in: Duration,
}

/// How far a channel is.
#[derive(Clone, PartialEq, Eq)]
pub struct ChannelProgress {
    /// The channel.
    pub ids: ChannelIds,
    /// The other side.
    pub peer: PublicKey,
    /// How far it is. Where the chain did not tell: how far it was when it last did.
    pub stage: Stage,
    /// What was found to be ours, in sat.
    pub ours_sat: u64,
    /// How often the peer was asked to close.
    pub asked: usize,
    /// How often in a row it was not reached, or could not be asked.
    pub unreached: u32,
}

/// A channel whose end is not proven.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptChannel {
    /// The channel.
    pub ids: ChannelIds,
    /// The other side.
    pub peer: PublicKey,
    /// Why it is kept.
    pub why: WhyKept,
}

/// Why a channel's backup stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyKept {
    /// Its close is buried, and nothing in it was recognised, or could be swept at any fee rate.
    NothingFound,
    /// Its funding output was never found. Something that our scripts led to is taken for its close and
    /// is swept, and the peer no longer names it; nothing proves that it was this channel's.
    OverByScript,
    /// The person has given it up.
    GivenUp,
}

/// How far a channel is on its way to the person's address. It can go back: blocks can be replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The peer has not closed it, as far as the chain tells.
    Open,
    /// The close is in the mempool.
    Closing(Txid),
    /// The close is in the chain; what is ours is not swept yet.
    Closed(Txid),
    /// All that is ours is swept; the sweep or the close is not buried yet.
    Swept(Txid),
    /// The close is in the chain, and nothing in it is known to be ours. It is not buried yet.
    NothingOfOurs(Txid),
    /// It is over. Whether something has come is in [`Progress::kept`].
    Over,
}

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
    /// Nothing is lost with any: call it again later. What the chain does not tell of a single channel
    /// is no error: [`Progress::trouble`]. [`RecoveryError::OtherNode`] where the session is not one of
    /// this wallet: peers would not know who asks.
    pub fn step(&mut self, session: &Session) -> Result<Progress, RecoveryError> {
        if session.node_id() != self.identity.node_id() {
            return Err(RecoveryError::OtherNode);
        }
        let known = self.storage.known();
        let view = self.look(&known)?;
        self.tell_changes(&view);
        self.sweep(&view)?;
        self.note_what_is_left(&view)?;
        self.ask_peers(&view, &known, session)?;
        // What a peer has just named may keep a channel from being over.
        self.note_what_is_over(&view, &known)?;
        self.progress(&view)
    }

    fn progress(&mut self, view: &View) -> Result<Progress, RecoveryError> {
        let swept = self.sweeps_in_the_chain(&view.tip)?;
        let terms = self.journal.terms.as_ref();
        let fee_rate = terms.map_or(0, |terms| terms.fee_rate);
        let (mut waiting_sat, mut left_sat, mut too_dear_sat) = (0, 0, 0);
        let mut all_buried = true;
        for of in &view.coins {
            let (coin, spend) = of;
            let sat = coin.sat();
            if self.why_left(of, view).is_some() {
                left_sat += sat;
                continue;
            }
            let is_worth_it = sweep::pays_for_itself(sat, fee_rate);
            if spend.as_ref().is_none_or(|spend| spend.place.is_none()) {
                waiting_sat += sat;
            }
            if spend.is_none() && !is_worth_it {
                too_dear_sat += sat;
            }
            all_buried &= is_spend_buried(spend, &view.tip) || !is_worth_it;
        }
        let is_told_of = |seen: &&Seen| !seen.given_up || seen.ours_sat() > 0;
        let mut channels = Vec::new();
        for seen in view.channels.iter().filter(is_told_of) {
            channels.push(self.progress_of(seen));
        }
        // What was found of a channel that is given up is waited for as a coin.
        let mut waited_for = view.channels.iter().filter(|seen| !seen.given_up);
        let all_over = waited_for.all(|seen| self.journal.has_ended(&seen.target));
        let trouble = self.trouble.clone();
        Ok(Progress {
            kept: self.kept(),
            found_sat: swept.iter().map(|sweep| sweep.input_sat).sum::<u64>() + waiting_sat,
            recovered_sat: swept.iter().map(Sweep::output_sat).sum(),
            fees_sat: swept.iter().map(Sweep::fee_sat).sum(),
            left_sat,
            too_dear_sat,
            other_closes: view.other_closes,
            done: self.is_begun() && all_over && all_buried && trouble.is_none(),
            trouble,
            next_round_in: self.next_round_in(view),
            channels,
        })
    }

    fn progress_of(&mut self, seen: &Seen) -> ChannelProgress {
        let ids = seen.target.ids;
        let attempts = self.journal.attempts(&seen.target.peer);
        let has_ended = self.journal.has_ended(&seen.target);
        let before = self.stage_of(&seen.target).map(|before| *before);
        ChannelProgress {
            ids,
            peer: seen.target.peer,
            stage: match (has_ended, seen.in_view, before) {
                (true, _, _) => Stage::Over,
                (false, false, Some(before)) => before,
                _ => seen.stage(),
            },
            ours_sat: seen.ours_sat(),
            asked: attempts.asked.len(),
            unreached: attempts.unreached.map_or(0, |(times, _)| times),
        }
    }

    fn kept(&self) -> Vec<KeptChannel> {
        let journal = &self.journal;
        let targets = journal.targets.iter();
        let kept = targets.filter_map(|target| {
            let why = match () {
                () if journal.is_over(&target.ids) => return None,
                () if journal.is(target, Unproven::NothingFound) => WhyKept::NothingFound,
                () if journal.is(target, Unproven::OverByScript) => WhyKept::OverByScript,
                () if journal.is_given_up(target) => WhyKept::GivenUp,
                () => return None,
            };
            Some(KeptChannel {
                ids: target.ids,
                peer: target.peer,
                why,
            })
        });
        kept.collect()
    }
}

// Which channels and transactions they are is private: Debug tells how many, and how far.
impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress")
            .field("channels", &self.channels)
            .field("kept", &self.kept)
            .field("found_sat", &self.found_sat)
            .field("recovered_sat", &self.recovered_sat)
            .field("fees_sat", &self.fees_sat)
            .field("left_sat", &self.left_sat)
            .field("too_dear_sat", &self.too_dear_sat)
            .field("other_closes", &self.other_closes)
            .field("trouble", &self.trouble)
            .field("done", &self.done)
            .field("next_round_in", &self.next_round_in)
            .finish()
    }
}

impl fmt::Debug for ChannelProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelProgress")
            .field("stage", &self.stage)
            .field("ours_sat", &self.ours_sat)
            .field("asked", &self.asked)
            .field("unreached", &self.unreached)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for KeptChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptChannel")
            .field("why", &self.why)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Open => "Open",
            Stage::Closing(_) => "Closing",
            Stage::Closed(_) => "Closed",
            Stage::Swept(_) => "Swept",
            Stage::NothingOfOurs(_) => "NothingOfOurs",
            Stage::Over => "Over",
        })
    }
}
