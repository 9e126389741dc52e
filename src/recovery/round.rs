//! One round: a look at the chain, and what follows from it.

mod asking;
mod ending;
mod look;
mod sweeping;

use std::fmt;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use bitcoin::Txid;

use super::chain::{ChainError, FoundTransaction, Place, Tip};
use super::journal::Sweep;
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
    /// Each channel that the person agreed to.
    pub channels: Vec<ChannelProgress>,
    /// What was found to be ours so far and is swept by this recovery, or waits to be, in sat. What the
    /// lost device had swept itself does not count.
    pub found_sat: u64,
    /// What has come to the person's address, in sat: in the chain, though perhaps not buried yet.
    pub recovered_sat: u64,
    /// What that cost, in sat.
    pub fees_sat: u64,
    /// Closes that were found by our scripts and that no channel here is known to belong to. What is
    /// ours in them is swept all the same.
    pub other_closes: usize,
    /// What the chain did not tell in this round, if anything: the rest went on. Nothing is done while
    /// it lasts.
    pub trouble: Option<ChainError>,
    /// All is over: nothing more will come.
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
    /// It is over.
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
        self.note_what_is_over(&view)?;
        self.ask_peers(&view, &known, session)?;
        self.progress(&view)
    }

    fn progress(&mut self, view: &View) -> Result<Progress, RecoveryError> {
        let swept = self.sweeps_in_the_chain(&view.tip)?;
        let is_waiting = |spend: &Option<FoundTransaction>| {
            spend.as_ref().is_none_or(|spend| spend.place.is_none())
        };
        let waiting = view.coins.iter().filter(|(_, spend)| is_waiting(spend));
        let waiting: u64 = waiting.map(|(coin, _)| coin.sat()).sum();
        let terms = self.journal.terms.as_ref();
        let fee_rate = terms.map_or(0, |terms| terms.fee_rate);
        let all_buried = view.coins.iter().all(|(coin, spend)| {
            is_spend_buried(spend, &view.tip) || !sweep::pays_for_itself(coin.sat(), fee_rate)
        });
        let channels: Vec<_> = view.channels.iter().map(|s| self.progress_of(s)).collect();
        let all_over = channels.iter().all(|c| c.stage == Stage::Over);
        let trouble = self.trouble.clone();
        Ok(Progress {
            found_sat: swept.iter().map(|sweep| sweep.input_sat).sum::<u64>() + waiting,
            recovered_sat: swept.iter().map(Sweep::output_sat).sum(),
            fees_sat: swept.iter().map(Sweep::fee_sat).sum(),
            other_closes: view.other_closes,
            done: self.is_begun() && all_over && all_buried && trouble.is_none(),
            trouble,
            next_round_in: self.next_round_in(view),
            channels,
        })
    }

    fn progress_of(&self, seen: &Seen) -> ChannelProgress {
        let ids = seen.target.ids;
        let attempts = self.journal.attempts(&seen.target.peer);
        let before = self.stages.iter().find(|(known, _)| known.matches(&ids));
        ChannelProgress {
            ids,
            peer: seen.target.peer,
            stage: match (self.has_ended(&ids), seen.in_view, before) {
                (true, _, _) => Stage::Over,
                (false, false, Some((_, before))) => *before,
                _ => seen.stage(),
            },
            ours_sat: seen.ours_sat(),
            asked: attempts.asked.len(),
            unreached: attempts.unreached.map_or(0, |(times, _)| times),
        }
    }

    pub(super) fn has_ended(&self, channel: &ChannelIds) -> bool {
        self.journal.is_over(channel)
            || self.journal.is_over_by_script(channel)
            || self.journal.has_found_nothing(channel)
    }
}

// Which channels and transactions they are is private: Debug tells how many, and how far.
impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress")
            .field("channels", &self.channels)
            .field("found_sat", &self.found_sat)
            .field("recovered_sat", &self.recovered_sat)
            .field("fees_sat", &self.fees_sat)
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

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Open => "Open",
            Stage::Closing(_) => "Closing",
            Stage::Closed(_) => "Closed",
            Stage::Swept(_) => "Swept",
            Stage::Over => "Over",
        })
    }
}
