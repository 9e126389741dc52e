//! What has changed is told, and what is over is noted.

use lightning::ln::types::ChannelId;
use lightning::sign::SpendableOutputDescriptor;

use super::{is_spend_buried, Seen, Stage, View};
use crate::backup::ChannelIds;
use crate::exchange::Known;
use crate::recovery::chain::ChainError;
use crate::recovery::journal::{Step, Target};
use crate::recovery::{Recovery, RecoveryError, RecoveryEvent};

impl Recovery {
    pub(super) fn tell_changes(&mut self, view: &View) {
        for seen in view.channels.iter().filter(|seen| seen.in_view) {
            let (channel, stage) = (seen.target.ids, seen.stage());
            let before = match self.stage_of(&seen.target) {
                Some(before) => std::mem::replace(before, stage),
                None => {
                    self.stages.push((channel, seen.target.peer, stage));
                    Stage::Open
                }
            };
            let event = match (before, stage) {
                (before, now) if before == now => continue,
                (_, Stage::Open) => RecoveryEvent::Reopened { channel },
                (_, Stage::Closing(txid)) => RecoveryEvent::Closing { channel, txid },
                (Stage::Closed(_) | Stage::Swept(_), _) | (_, Stage::Over) => continue,
                (_, Stage::Closed(txid) | Stage::Swept(txid) | Stage::NothingOfOurs(txid)) => {
                    RecoveryEvent::Closed {
                        channel,
                        txid,
                        ours_sat: seen.ours_sat(),
                    }
                }
            };
            self.tell(event);
        }
    }

    /// How far a channel was when it was last seen.
    pub(super) fn stage_of(&mut self, target: &Target) -> Option<&mut Stage> {
        let mut known = self.stages.iter_mut();
        let of = known.find(|(ids, peer, _)| *peer == target.peer && ids.matches(&target.ids));
        of.map(|(_, _, stage)| stage)
    }

    pub(super) fn note_what_is_over(
        &mut self,
        view: &View,
        known: &Known,
    ) -> Result<(), RecoveryError> {
        if !self.is_begun() {
            return Ok(());
        }
        for seen in &view.channels {
            let (channel, peer) = (seen.target.ids, Some(seen.target.peer));
            let is_over = seen.in_view
                && !self.journal.has_ended(&seen.target)
                && seen.is_buried(&view.tip)
                && self.may_end(seen, view, known)
                && !self.monitor_is_busy(seen, view)
                && {
                    let stands = self.stands_in_the_chain(seen);
                    self.told(stands)?.unwrap_or(false)
                };
            if !is_over {
                continue;
            }
            if !seen.has_come() {
                self.take(Step::NothingFound { channel, peer })?;
                self.tell(RecoveryEvent::NothingOfOurs { channel });
            } else if seen.by_script() {
                self.take(Step::OverByScript { channel, peer })?;
                self.tell(RecoveryEvent::OverByScript { channel });
            } else {
                self.take(Step::Over { channel })?;
                self.storage.channel_resolved(channel);
                self.tell(RecoveryEvent::Over { channel });
            }
        }
        for (coin, spend) in &view.coins {
            if view.waiting.contains(&coin.outpoint) && is_spend_buried(spend, &view.tip) {
                self.storage.channel_resolved(ChannelIds {
                    funding_outpoint: Some(coin.outpoint),
                    ..ChannelIds::default()
                });
            }
        }
        Ok(())
    }

    /// Whether a channel's monitor may still bring something, or has brought something that is not
    /// swept and buried yet.
    fn monitor_is_busy(&self, seen: &Seen, view: &View) -> bool {
        let mut ids = seen.target.ids;
        ids.funding_outpoint = ids.funding_outpoint.or(seen.funding);
        let Some(id) = ids.derived_channel_id() else {
            return false;
        };
        let of_channel = |(of, output): &(Option<ChannelId>, SpendableOutputDescriptor)| {
            (*of == Some(id)).then(|| output.spendable_outpoint().into_bitcoin_outpoint())
        };
        let spendable = self.monitors.spendable();
        let brought: Vec<_> = spendable.iter().filter_map(of_channel).collect();
        let mut coins = view.coins.iter();
        self.monitors.waits_for(&id, &view.tip)
            || coins.any(|(coin, spend)| {
                brought.contains(&coin.outpoint) && !is_spend_buried(spend, &view.tip)
            })
    }

    /// What a source says of places is a hint: the end of a channel is believed only if those blocks are
    /// in the best chain.
    fn stands_in_the_chain(&self, seen: &Seen) -> Result<bool, ChainError> {
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
}
