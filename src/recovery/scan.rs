//! The search for our outputs by their scripts, for channels whose funding output nobody knows: those
//! with ids that lead nowhere (dual-funded ones), and those whose block cannot be seen.
//!
//! It is long (two thousand scripts), so it is cut into pieces, one a round, and repeated with pauses
//! that grow. A script of which nothing true is told does not stop it: it is asked for again at the end.
//! What is found is noted in the journal.

use bitcoin::{OutPoint, ScriptBuf};

use super::chain::ChainError;
use super::journal::Step;
use super::round::Seen;
use super::schedule;
use super::{Recovery, RecoveryError};
use crate::exchange::Time;

/// So many scripts are asked for in a round.
const SCRIPTS_A_ROUND: usize = 250;

/// How far the search is.
#[derive(Default)]
pub(super) struct Scan {
    next: usize,
    /// Scripts of which the chain source has said nothing true: asked again after all others. Before they
    /// are answered the search has not come to its end.
    unanswered: Vec<ScriptBuf>,
    /// How often it came to its end, and when last.
    ended: Option<(usize, Time)>,
}

impl Recovery {
    /// Searches on, if a channel is open of which no funding output is known; also when something was found
    /// that may be its close.
    pub(super) fn scan(&mut self, channels: &[Seen]) -> Result<(), RecoveryError> {
        let is_lost = |seen: &Seen| {
            seen.in_view
                && !seen.given_up
                && seen.funding.is_none()
                && seen.close.is_none()
                && !self.journal.has_ended(&seen.target)
        };
        let now = self.clock.now();
        let rests = self.scan.ended.is_some_and(|(times, at)| {
            self.scan.next == 0 && now < at.after(schedule::search_again(times))
        });
        if rests || !channels.iter().any(is_lost) {
            return Ok(());
        }
        let scripts = self.keys.scripts();
        let asks_again = self.scan.next >= scripts.len();
        let piece: Vec<ScriptBuf> = if asks_again {
            let unanswered = &mut self.scan.unanswered;
            unanswered
                .drain(..unanswered.len().min(SCRIPTS_A_ROUND))
                .collect()
        } else {
            let rest = scripts.iter().skip(self.scan.next);
            rest.take(SCRIPTS_A_ROUND).cloned().collect()
        };
        for (n, script) in piece.iter().enumerate() {
            match self.search(script) {
                Ok(()) => {}
                // One answer that cannot be true says nothing of the next.
                Err(RecoveryError::Chain(error @ ChainError::Invalid(_))) => {
                    self.scan.unanswered.push(script.clone());
                    self.troubled(error)?;
                }
                // A source that is away does. It goes on here in the next round.
                Err(RecoveryError::Chain(error)) => {
                    if asks_again {
                        self.scan.unanswered.extend_from_slice(&piece[n..]);
                    }
                    return self.troubled(error);
                }
                Err(error) => return Err(error),
            }
            self.scan.next += usize::from(!asks_again);
        }
        if self.scan.next >= scripts.len() && self.scan.unanswered.is_empty() {
            let times = self.scan.ended.map_or(0, |(times, _)| times);
            self.scan = Scan {
                ended: Some((times + 1, now)),
                ..Scan::default()
            };
        }
        Ok(())
    }

    /// Notes what was paid to a script and is unspent.
    fn search(&mut self, script: &ScriptBuf) -> Result<(), RecoveryError> {
        let outputs = match self.chain.outputs_to(script) {
            // Somebody has paid to it very often: no channel does.
            Err(ChainError::TooMany { .. }) => return Ok(()),
            answer => answer?,
        };
        for output in outputs.iter().filter(|output| output.place.is_some()) {
            self.note_found(output.outpoint)?;
        }
        Ok(())
    }

    /// What is spent already, by whomever, was an older channel's.
    fn note_found(&mut self, output: OutPoint) -> Result<(), RecoveryError> {
        if self.journal.found.contains(&output) || self.chain.spend_of(&output)?.is_some() {
            return Ok(());
        }
        self.take(Step::Found { output })
    }
}
