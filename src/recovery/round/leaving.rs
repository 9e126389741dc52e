//! What is ours and stays where it is: nobody waits for it.

use bitcoin::FeeRate;

use super::look::{is_worthless, Spendable};
use super::View;
use crate::recovery::event::WhyLeft;
use crate::recovery::journal::Step;
use crate::recovery::sweep;
use crate::recovery::{Recovery, RecoveryError, RecoveryEvent};

/// An output that the backup names and the chain does not have is waited for so long, in blocks: a day. Its
/// transaction was replaced, or never left the lost device.
const PATIENCE: u32 = 144;

impl Recovery {
    /// Notes since when the chain does not have what the backup names, and tells what is not swept, once.
    pub(super) fn note_what_is_left(&mut self, view: &View) -> Result<(), RecoveryError> {
        let Some(terms) = self.journal.terms.clone() else {
            return Ok(());
        };
        for of in view.coins.iter().filter(|(_, spend)| spend.is_none()) {
            let (coin, _) = of;
            let (output, sat) = (coin.outpoint, coin.sat());
            let is_missing = coin.place.is_none() && view.waiting.contains(&output);
            if is_missing && !self.journal.missing.contains_key(&output) {
                let height = view.tip.height;
                self.take(Step::Missing { output, height })?;
            }
            let event = match self.why_left(of, view) {
                Some(why) => RecoveryEvent::Left { sat, why },
                None if sweep::pays_for_itself(sat, terms.fee_rate) => continue,
                None => RecoveryEvent::TooDear {
                    sat,
                    below: FeeRate::from_sat_per_kwu(sweep::eaten_at(sat)),
                },
            };
            if self.told_of.insert(output) {
                self.tell(event);
            }
        }
        Ok(())
    }

    /// Why an output is not waited for; none: it is.
    pub(super) fn why_left(&self, (coin, spend): &Spendable, view: &View) -> Option<WhyLeft> {
        if spend.is_some() {
            return None;
        }
        if is_worthless(coin.sat()) {
            return Some(WhyLeft::TooSmall);
        }
        if self.unsignable.contains(&coin.outpoint) {
            return Some(WhyLeft::NoKey);
        }
        let missing = self.journal.missing.get(&coin.outpoint);
        let is_missing = coin.place.is_none() && view.waiting.contains(&coin.outpoint);
        let for_long =
            missing.is_some_and(|since| view.tip.height >= since.saturating_add(PATIENCE));
        (is_missing && for_long).then_some(WhyLeft::NotInChain)
    }
}
