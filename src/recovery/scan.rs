//! The search for our outputs by their scripts, for channels whose funding output nobody knows: those
//! with ids that lead nowhere (dual-funded ones), and those whose block cannot be seen.
//!
//! It is long (two thousand scripts), so it is cut into pieces, one a round, and repeated with pauses
//! that grow. What it finds is noted in the journal.

use bitcoin::OutPoint;

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
    /// How often it came to its end, and when last.
    ended: Option<(usize, Time)>,
}

impl Recovery {
    /// Searches on, if a channel is open of which no funding output is known.
    pub(super) fn scan(&mut self, channels: &[Seen]) -> Result<(), RecoveryError> {
        let is_lost = |seen: &Seen| {
            seen.in_view
                && seen.funding.is_none()
                && seen.close.is_none()
                && !self.has_ended(&seen.target.ids)
        };
        let now = self.clock.now();
        let rests = self.scan.ended.is_some_and(|(times, at)| {
            self.scan.next == 0 && now < at.after(schedule::search_again(times))
        });
        if rests || !channels.iter().any(is_lost) {
            return Ok(());
        }
        let scripts = self.keys.scripts();
        for script in scripts.iter().skip(self.scan.next).take(SCRIPTS_A_ROUND) {
            match self.chain.outputs_to(script) {
                Ok(outputs) => {
                    for output in outputs.iter().filter(|output| output.place.is_some()) {
                        self.note_found(output.outpoint)?;
                    }
                }
                // Somebody has paid to it very often: no channel does.
                Err(ChainError::TooMany { .. }) => {}
                // Goes on here in the next round.
                Err(error) => return self.troubled(error),
            }
            self.scan.next += 1;
        }
        if self.scan.next >= scripts.len() {
            let times = self.scan.ended.map_or(0, |(times, _)| times);
            self.scan = Scan {
                next: 0,
                ended: Some((times + 1, now)),
            };
        }
        Ok(())
    }

    /// What is spent already, by whomever, was an older channel's.
    fn note_found(&mut self, output: OutPoint) -> Result<(), RecoveryError> {
        if self.journal.found.contains(&output) {
            return Ok(());
        }
        match self.chain.spend_of(&output) {
            Ok(None) => self.take(Step::Found { output }),
            Ok(Some(_)) => Ok(()),
            Err(error) => self.troubled(error),
        }
    }
}
