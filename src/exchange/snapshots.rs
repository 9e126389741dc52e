//! The owner's side: when a new snapshot is made, and of what.

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;

use super::current::{omitted, Current};
use super::due::Moved;
use super::{Action, Event, Exchange, Record, Time};
use crate::backup::{
    self, ChannelIds, ChannelRecord, ContentHash, MonitorRecord, Revision, Snapshot, Tier,
    MAX_BLOB, SMALL_BLOB,
};

/// Why a snapshot is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// For all peers.
    Structure,
    /// The states of channels alone: for peers that keep large blobs.
    States,
}

impl Exchange {
    /// Brings the book up to the live state and notes what kind of change that is.
    pub(super) fn update_book(&mut self, now: Time) {
        // A stale state must not replace what is known to be newer.
        if self.holding() {
            return;
        }
        let Some(live) = &self.live else { return };
        let storers = &self.storers;
        let holds_backup =
            |peer: &PublicKey| storers.get(peer).is_some_and(|s| s.verified.is_some());
        let before = self.book.channels.clone();
        self.book.update(live, |peer| {
            holds_backup(peer) || self.listed.contains(peer)
        });
        let moved = before != self.book.channels;
        self.note_unread_monitors(now, moved);
        let Some(live) = &self.live else { return };
        let Some(current) = &self.snapshot else {
            self.due.structure();
            return;
        };
        let snapshot = &current.snapshot;
        let same_channels = snapshot.channels.len() == self.book.channels.len()
            && snapshot
                .channels
                .iter()
                .zip(&self.book.channels)
                .all(|(a, b)| same_structure(a, b));
        if !same_channels
            || snapshot.peers != self.book.peers
            || snapshot.spendable_outputs != self.book.spendable_outputs(&live.spendable_outputs)
        {
            self.due.structure();
        } else if snapshot.channels != self.book.channels {
            Moved::note(&mut self.due.stamps, now, moved);
        }
    }

    fn note_unread_monitors(&mut self, now: Time, moved: bool) {
        if moved {
            self.monitors_are_read = false;
        }
        if self.carries_monitors && !self.monitors_are_read && self.book.lacks_monitors() {
            Moved::note(&mut self.due.monitors, now, moved);
        } else {
            self.due.monitors = None;
        }
    }

    pub(super) fn ask_for_monitors(&mut self) {
        if !self.due.asked {
            self.due.asked = true;
            self.actions.push(Action::ReadMonitors);
        }
    }

    /// See [`monitors_read`](Exchange::monitors_read).
    pub(super) fn take_monitors(&mut self, now: Time, monitors: Vec<MonitorRecord>) {
        self.due.asked = false;
        let urgent = std::mem::take(&mut self.due.urgent);
        if !self.may_push() || !self.carries_monitors {
            return;
        }
        // One that has moved on since is read again. One that is not given will not be given next
        // time either, or not before its next state is written.
        let has_moved = |channel: &ChannelRecord| {
            let given = monitors.iter().find(|m| m.ids().matches(&channel.ids));
            given.is_some_and(|monitor| monitor.update_id < channel.update_id)
        };
        let have_moved = self.book.channels.iter().any(has_moved);
        self.monitors_are_read = !have_moved;
        self.due.monitors = have_moved.then_some(Moved {
            first: now,
            last: now,
        });
        let news = self.book.monitors_read(monitors);
        self.due.last = Some(now);
        if urgent {
            self.due.structure |= news || self.due.stamps.is_some();
        } else if news || self.due.stamps.is_some() {
            self.make_snapshot(now, Change::States);
        }
        self.push_what_is_due(now);
    }

    /// Backs up the states of channels if it is time. Only the clock leads here, which `wake_at` has set:
    /// what peers and the wallet do leads to no snapshot for states alone.
    pub(super) fn push_states_if_due(&mut self, now: Time) {
        let is_due = self.due.states_due_at().is_some_and(|at| now >= at);
        if !is_due || !self.may_push() || !self.has_taker_of_states(now) {
            return;
        }
        match self.due.monitors {
            Some(_) => self.ask_for_monitors(),
            None => self.make_snapshot(now, Change::States),
        }
    }

    pub(super) fn make_snapshot(&mut self, now: Time, change: Change) {
        if self.snapshot.is_none() && self.live.is_none() && !self.past_told {
            // Nothing is known yet that a snapshot could name (safety rule 4).
            return;
        }
        let snapshot = Arc::new(self.next_snapshot());
        self.due.structure = false;
        self.due.stamps = None;
        if change == Change::States {
            self.due.last = Some(now);
        }
        let content = snapshot.content_hash();
        let essentials = backup::encode_with_hash(&snapshot, Tier::Essential, SMALL_BLOB, content);
        if essentials.is_err() {
            // The old blob stays where it is (safety rule 4).
            let newest = self.snapshot().map(|s| s.revision);
            self.report(Event::NotBackedUp { newest });
            return;
        }
        let current = self.current_by(snapshot.clone(), content, change);
        self.highest_seen = snapshot.revision;
        self.book.note_stamps(&snapshot);
        self.actions
            .push(Action::Persist(Record::Snapshot(snapshot)));
        let before = self.snapshot.replace(current);
        self.tell_what_is_omitted(before);
    }

    /// Of all that is known now.
    fn next_snapshot(&self) -> Snapshot {
        let waiting = match (&self.live, &self.snapshot) {
            (Some(live), _) => &live.spendable_outputs[..],
            (None, Some(current)) => &current.snapshot.spendable_outputs,
            (None, None) => &[],
        };
        Snapshot {
            revision: Revision {
                epoch: self.epoch,
                generation: self.highest_seen.generation.saturating_add(1),
            },
            installation: self.installation,
            peers: self.book.peers.clone(),
            channels: self.book.channels.clone(),
            spendable_outputs: self.book.spendable_outputs(waiting),
            app_data: self.app_data.clone(),
            monitors: self.book.snapshot_monitors(self.carries_monitors),
        }
    }

    fn current_by(&self, snapshot: Arc<Snapshot>, content: ContentHash, change: Change) -> Current {
        let revision = snapshot.revision;
        let before = self.snapshot.as_ref();
        let known = |ids: &ChannelIds| {
            let mut introduced = before?.introduced.iter();
            let known = introduced.find(|(known, _)| known.matches(ids));
            known.map(|(_, revision)| *revision)
        };
        let channels = snapshot.channels.iter();
        let introduced = channels
            .map(|c| (c.ids, known(&c.ids).unwrap_or(revision)))
            .collect();
        let structure = match (before, change) {
            (Some(before), Change::States) => before.structure,
            _ => revision,
        };
        Current::new(snapshot, content, introduced, structure)
    }

    /// What does not fit, where it is not the same as `before` (safety rule 4).
    fn tell_what_is_omitted(&mut self, before: Option<Current>) {
        let Some(current) = &self.snapshot else {
            return;
        };
        let (before, revision) = (before.as_ref(), current.revision());
        let mut events = Vec::new();
        let others = current.omitted_others();
        let others_told = before.is_some_and(|before| before.omitted_others() == others);
        // Which monitors fit changes with every payment: each is told once a start.
        let known = &self.told_monitors;
        let news: Vec<_> = current.omitted_monitors().collect();
        let monitors_told = news.iter().all(|channel| known.contains(channel));
        if !monitors_told || (!others.is_empty() && !others_told) {
            let parts = current.omitted_parts.clone();
            events.push(Event::PartsOmitted { revision, parts });
        }
        let channels = current.omitted_small.clone();
        let told = before.is_some_and(|before| before.omitted_small == channels);
        if !channels.is_empty() && !told {
            let event = |tier, channels| Event::Omitted {
                revision,
                tier,
                channels,
            };
            events.push(event(Tier::Essential, channels));
            let channels = omitted(&current.snapshot, current.content, Tier::Full, MAX_BLOB);
            if !channels.is_empty() {
                events.push(event(Tier::Full, channels));
            }
        }
        self.told_monitors.extend(news);
        events.into_iter().for_each(|event| self.report(event));
    }
}

/// Whether two records differ in their state stamp at most.
fn same_structure(a: &ChannelRecord, b: &ChannelRecord) -> bool {
    ChannelRecord {
        update_id: 0,
        ..a.clone()
    } == ChannelRecord {
        update_id: 0,
        ..b.clone()
    }
}
