//! What shows that the wallet's state is stale, and the alarms that follow from it (safety rule 6).

use std::collections::BTreeSet;

use bitcoin::secp256k1::PublicKey;
use bitcoin::OutPoint;
use lightning::ln::types::ChannelId;

use super::gate::Check;
use super::{
    Action, Alarm, AlarmId, AlarmKind, Event, Evidence, Exchange, Numbers, Proof, Record,
    Resolution, ResolveError, Time, Verdict, WalletState,
};
use crate::backup::{ChannelIds, ChannelPhase, ChannelRecord};

impl Exchange {
    /// Whether channels are held: no channel message to peers whose gate is shut, and no spend of a
    /// funding output.
    pub fn holding(&self) -> bool {
        self.alarms.holding()
    }

    /// The funding outputs of channels whose numbers the person has declared wrong although nobody could
    /// check them: until the next start they are not to be spent, whatever the peer says later.
    pub fn disputed_funding(&self) -> BTreeSet<OutPoint> {
        let disputed =
            |ids: &ChannelIds| ids.channel_id.is_some_and(|id| self.disputed.contains(&id));
        let live = self.live.iter().flat_map(|live| &live.channels);
        live.filter(|channel| disputed(&channel.ids))
            .filter_map(|channel| channel.ids.funding_outpoint)
            .collect()
    }

    /// The alarms that stand.
    pub fn alarms(&self) -> &[Alarm] {
        self.alarms.all()
    }

    /// Carries out what the person decided.
    pub fn resolve_alarm(
        &mut self,
        now: Time,
        id: AlarmId,
        resolution: Resolution,
    ) -> Result<(), ResolveError> {
        let live = self.live.as_ref();
        let gates = || self.connections.values().map(|connection| &connection.gate);
        let ours = |channel: &ChannelId| gates().find_map(|gate| gate.ours(channel));
        let (alarm, over) = self
            .alarms
            .resolve(id, resolution, live, &self.book, ours)?;
        if !over {
            self.actions.push(Action::Persist(Record::Alarm(alarm)));
            return Ok(());
        }
        self.alarm_over(id);
        if let AlarmKind::StaleState {
            evidence:
                Evidence::Numbers {
                    channel_id,
                    proved: None,
                },
            ..
        } = alarm.kind
        {
            self.disputed.insert(channel_id);
        }
        self.update_book(now);
        self.push_what_is_due(now);
        Ok(())
    }

    pub(super) fn check_reestablish(
        &mut self,
        now: Time,
        peer: PublicKey,
        id: ChannelId,
        theirs: Numbers,
        proof: Proof,
    ) -> Verdict {
        let known_peer = self.concerns_us(&peer);
        let Some(connection) = self.connections.get_mut(&peer) else {
            return Verdict::Drop;
        };
        if self.alarms.holding() {
            return Verdict::Keep;
        }
        match connection.gate.check(id, theirs, proof) {
            // A disputed channel stays guarded: a peer may first say what is true, and then less.
            Check::Passed => Verdict::Forward,
            Check::UnknownChannel => {
                let news = connection.note_unknown(id) && !self.book.names(&id);
                if known_peer && news {
                    self.report(Event::UnknownChannel {
                        peer,
                        channel_id: id,
                    });
                }
                Verdict::Drop
            }
            Check::Lie { news } => {
                if news {
                    self.report(Event::FalseNumbers {
                        peer,
                        channel_id: id,
                    });
                }
                Verdict::Drop
            }
            Check::Stale { proved: None } if self.disputed.contains(&id) => Verdict::Drop,
            Check::Stale { proved } => {
                let evidence = Evidence::Numbers {
                    channel_id: id,
                    proved,
                };
                self.raise(
                    now,
                    AlarmKind::StaleState {
                        peer: Some(peer),
                        evidence,
                    },
                );
                Verdict::Drop
            }
        }
    }

    /// Our own last snapshot, or a backup that was returned before, may be newer than the live state:
    /// the wallet's database was put back.
    pub(super) fn check_own_records(&mut self, now: Time) {
        let Some(state) = &self.live else { return };
        let own = self.snapshot.iter().flat_map(|c| &c.snapshot.channels);
        let missing = |c: &&ChannelRecord| {
            let gone = self.book.is_resolved(&c.ids) || self.book.is_restored(&c.ids);
            c.phase == ChannelPhase::Ready
                && !c.restored
                && !gone
                && state.channel(&c.ids).is_none()
        };
        let missing = own
            .into_iter()
            .find(missing)
            .map(|c| Evidence::ChannelMissing { channel: c.ids });
        if let Some(evidence) = self.book.stamp_ahead_of(state).or(missing) {
            self.raise(
                now,
                AlarmKind::StaleState {
                    peer: None,
                    evidence,
                },
            );
        }
    }

    /// A channel that was missing is reported as closing after all, or its outputs are swept: the wallet
    /// lacks nothing of it. Not while another is missing, or behind: an alarm names only one of them.
    pub(super) fn end_alarms_of_channels_that_are_over(&mut self) {
        let Some(live) = &self.live else { return };
        let book = &self.book;
        let is_missing = |channel: &ChannelRecord| {
            channel.phase == ChannelPhase::Ready && live.channel(&channel.ids).is_none()
        };
        if book.channels.iter().any(is_missing) || book.stamp_ahead_of(live).is_some() {
            return;
        }
        let is_over = |ids: &ChannelIds| {
            let here = live.channel(ids);
            let is_closing = here.is_some_and(|here| here.phase == ChannelPhase::Closing);
            is_closing || book.is_resolved(ids)
        };
        let ended = self.alarms.end(|kind| match kind {
            AlarmKind::StaleState {
                evidence: Evidence::ChannelMissing { channel },
                ..
            } => is_over(channel),
            _ => false,
        });
        ended.into_iter().for_each(|id| self.alarm_over(id));
    }

    /// A stale channel that is held still moves on by itself: claims and closings are updates too, and
    /// may lift its stamp above that of the backup. That makes nothing current, so what is known of
    /// the backup moves as far.
    pub(super) fn ignore_progress_while_held(&mut self, state: &WalletState) {
        let Some(before) = self.live.as_ref().filter(|_| self.alarms.holding()) else {
            return;
        };
        for channel in &before.channels {
            let Some(now) = state.channel(&channel.ids) else {
                continue;
            };
            let progress = now.update_id.saturating_sub(channel.update_id);
            if progress == 0 {
                continue;
            }
            self.book.raise_stamp_ahead_of(channel, progress);
            for alarm in self.alarms.raise_evidence_ahead_of(channel, progress) {
                self.actions.push(Action::Persist(Record::Alarm(alarm)));
            }
        }
    }

    pub(super) fn raise(&mut self, now: Time, kind: AlarmKind) {
        let expiry = self
            .live
            .as_ref()
            .and_then(|live| live.earliest_htlc_expiry);
        if let Some(alarm) = self.alarms.raise(now, kind, expiry) {
            self.actions
                .push(Action::Persist(Record::Alarm(alarm.clone())));
            self.report(Event::AlarmRaised(alarm));
        }
    }

    pub(super) fn end_alarms(&mut self, over: impl Fn(&AlarmKind) -> bool) {
        for id in self.alarms.end(over) {
            self.alarm_over(id);
        }
    }

    pub(super) fn alarm_over(&mut self, id: AlarmId) {
        self.actions.push(Action::Persist(Record::AlarmOver(id)));
        self.report(Event::AlarmOver(id));
    }
}
