//! The owner's side: what is sent to whom.

use bitcoin::secp256k1::PublicKey;

use super::capacity::Plan;
use super::record::{Past, Sent};
use super::snapshots::Change;
use super::{Action, Exchange, Health, Time, WalletState};
use crate::backup::{Tier, MAX_BLOB, SMALL_BLOB};

impl Exchange {
    /// Sends what is due again to every peer that can be sent to, whatever it has returned.
    pub fn push_now(&mut self, now: Time) {
        self.due.structure |= self.due.stamps.is_some();
        for connection in self.connections.values_mut() {
            connection.pushed = false;
            connection.returned = None;
        }
        self.push_what_is_due(now);
    }

    /// The process may not live much longer: pushes what has changed, and writes what waits. Where
    /// monitors have to be read first ([`Action::ReadMonitors`]), the push follows their reading.
    pub fn background(&mut self, now: Time) {
        self.take_what_changed(now, self.has_taker_of_states(now));
    }

    /// These peers will be connected in a moment, and not for long: the same, for what will be pushed to
    /// them then.
    pub fn session_begins(&mut self, now: Time, peers: &[PublicKey]) {
        let has_taker = peers.iter().any(|peer| self.wants_states(now, peer));
        self.take_what_changed(now, has_taker);
    }

    fn take_what_changed(&mut self, now: Time, has_taker_of_states: bool) {
        self.storer.write_all_pending(&mut self.actions);
        let wants_monitors = self.due.asked || self.due.monitors.is_some();
        if wants_monitors && self.may_push() && has_taker_of_states {
            self.due.urgent = true;
            self.ask_for_monitors();
        } else {
            self.due.structure |= self.due.stamps.is_some();
        }
        self.push_what_is_due(now);
    }

    pub(super) fn next_push_at(&self, now: Time) -> Option<Time> {
        let at = self.due.states_due_at()?;
        (self.may_push() && self.has_taker_of_states(now)).then_some(at)
    }

    /// Whether anything may be pushed to anyone.
    pub(super) fn may_push(&self) -> bool {
        self.past == Past::Known && !self.holding()
    }

    /// Makes a new snapshot if more than states has changed, and sends to each peer what it lacks.
    pub(super) fn push_what_is_due(&mut self, now: Time) {
        if !self.may_push() {
            return;
        }
        if self.due.structure {
            self.make_snapshot(now, Change::Structure);
        }
        let peers: Vec<_> = self.connections.keys().copied().collect();
        for peer in peers {
            if self.may_push_to(&peer) && self.is_push_due(now, &peer) {
                self.push(now, peer);
            }
        }
    }

    /// The push gate (safety rule 1), and who is sent backups at all.
    fn may_push_to(&self, peer: &PublicKey) -> bool {
        let Some(connection) = self.connections.get(peer) else {
            return false;
        };
        let storer = self.storers.get(peer);
        let has_open_channel = self
            .live
            .as_ref()
            .is_some_and(|l| l.has_open_channel_with(peer));
        let refused = storer.is_some_and(|s| s.refused_at.is_some()) && !has_open_channel;
        connection.features.provides_storage
            && connection.read_back.is_some()
            && !connection.returned_newer_format
            && !refused
            && (self.book.knows_channel_with(peer)
                || self.listed.contains(peer)
                || connection.returned.is_some()
                || storer.is_some_and(|s| s.verified.is_some()))
    }

    /// Whether the peer lacks the newest snapshot, as far as is known.
    fn is_push_due(&self, now: Time, peer: &PublicKey) -> bool {
        let (Some(connection), Some(current)) = (self.connections.get(peer), &self.snapshot) else {
            return false;
        };
        let storer = self.storers.get(peer);
        if connection.pushed {
            // A small blob is worth no push for the stamps in it.
            let wanted = match self.takes_states(now, peer) {
                true => current.revision(),
                false => current.structure,
            };
            let sent = storer.and_then(|s| s.sent);
            return sent.is_none_or(|sent| sent.revision < wanted);
        }
        let best = match storer.map(|s| s.capacity.plan(now)) {
            Some(Plan::Small) if !current.fits_small => Tier::Essential,
            _ => Tier::Full,
        };
        connection.returned != Some((current.revision(), best))
    }

    fn push(&mut self, now: Time, peer: PublicKey) {
        let (Some(connection), Some(current)) = (self.connections.get_mut(&peer), &self.snapshot)
        else {
            return;
        };
        let storer = self.storers.entry(peer).or_default();
        storer.features = connection.features.hash;
        let plan = storer.capacity.plan(now);
        // The last one sent to it came back, or a small one with the same channels has just gone out.
        let has_the_essentials = connection.returned_latest
            || (connection.pushed
                && storer
                    .sent
                    .is_some_and(|sent| sent.revision >= current.structure));
        let blobs: &[(Tier, usize)] = match plan {
            _ if current.fits_small => &[(Tier::Full, storer.capacity.bytes())],
            Plan::Small => &[(Tier::Essential, SMALL_BLOB)],
            // Perhaps it runs other software by now, and keeps no large blob any more.
            Plan::Large if !has_the_essentials => {
                &[(Tier::Essential, SMALL_BLOB), (Tier::Full, MAX_BLOB)]
            }
            Plan::SmallThenLarge => &[(Tier::Essential, SMALL_BLOB), (Tier::Full, MAX_BLOB)],
            Plan::Large => &[(Tier::Full, MAX_BLOB)],
        };
        let largest = blobs
            .iter()
            .fold(Tier::Essential, |t, (tier, _)| t.max(*tier));
        let sent_before = storer.sent.map(|sent| sent.revision);
        if sent_before < Some(current.revision()) {
            connection.first_pushed = Some(current.revision());
        }
        storer.settled = storer.settled(now);
        if !current.fits_small && largest == Tier::Full {
            connection.pushed_large = true;
            storer.capacity.large_sent(now);
        }
        let content = current.content;
        storer.sent = Some(Sent {
            revision: current.revision(),
            tier: largest,
            content,
            at: now,
        });
        connection.pushed = true;
        connection.pushed_at = Some(now);
        let (id, snapshot) = (connection.id, current.snapshot.clone());
        // What it returned stays the news of it until it returns something else, or is sent something
        // newer: a larger blob of what it has returned, to learn its capacity, takes nothing back.
        let verified = storer.verified.map(|verified| verified.revision);
        let is_newer = verified != Some(current.revision());
        if is_newer && !self.health.get(&peer).is_some_and(Health::is_a_complaint) {
            self.health.insert(peer, Health::Sent);
        }
        // The record first: what comes back and is newer than it was not sent by this database.
        self.persist_storer(peer);
        for (tier, capacity) in blobs {
            self.actions.push(Action::Push {
                peer,
                connection: id,
                snapshot: snapshot.clone(),
                tier: *tier,
                capacity: *capacity,
            });
        }
    }

    /// Core Lightning keeps nothing before the channel is usable: what was sent before is sent again.
    pub(super) fn push_again_where_a_channel_became_ready(&mut self, state: &WalletState) {
        for (peer, connection) in &mut self.connections {
            let was_ready = self
                .live
                .as_ref()
                .is_some_and(|l| l.has_ready_channel_with(peer));
            if !was_ready && state.has_ready_channel_with(peer) {
                connection.pushed = false;
                if let Some(storer) = self.storers.get_mut(peer) {
                    storer.refused_at = None;
                }
            }
        }
    }

    pub(super) fn has_taker_of_states(&self, now: Time) -> bool {
        self.connections
            .keys()
            .any(|peer| self.takes_states(now, peer))
    }

    fn takes_states(&self, now: Time, peer: &PublicKey) -> bool {
        self.wants_states(now, peer) && self.may_push_to(peer)
    }

    /// Whether the peer is worth a push for every state change: it keeps large blobs, or may do so and
    /// there are monitors for it.
    fn wants_states(&self, now: Time, peer: &PublicKey) -> bool {
        let storer = self.storers.get(peer);
        match storer.map(|s| s.capacity).unwrap_or_default().plan(now) {
            Plan::Large => true,
            Plan::SmallThenLarge => {
                let known = self.snapshot().is_some_and(|s| !s.monitors.is_empty());
                self.carries_monitors && (known || self.due.monitors.is_some())
            }
            Plan::Small => false,
        }
    }
}
