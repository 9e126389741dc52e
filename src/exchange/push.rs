//! The owner's side, outgoing: when a new snapshot is made, and what is sent to whom.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::types::ChannelId;

use super::capacity::Plan;
use super::record::{Past, Sent, StorerState};
use super::{
    Action, AlarmKind, Current, Event, Evidence, Exchange, Health, PeerStatus, Record, Status,
    Time, WalletState,
};
use crate::backup::{
    self, ChannelIds, ChannelPhase, ChannelRecord, ContentHash, MonitorRecord, Part, Revision,
    Snapshot, Tier, MAX_BLOB, SMALL_BLOB,
};

/// State changes are pushed after so much quiet, or a minute after the first of them...
const QUIET: Duration = Duration::from_secs(3);
/// ...and no more often than this.
const STATE_INTERVAL: Duration = Duration::from_secs(60);

/// Whether a new snapshot is due, and how urgently.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Channels, peers or app data have changed: at once.
    structure: bool,
    /// State stamps are not those of the last snapshot: after some quiet, or on background.
    stamps: Option<Moved>,
    /// Channels have moved on since their monitors were read: the same.
    monitors: Option<Moved>,
    /// The host was asked for the monitors and has not given them yet.
    asked: bool,
    /// The app has gone to background meanwhile.
    urgent: bool,
    /// When states were last taken into a snapshot for their own sake.
    last: Option<Time>,
}

/// A change that goes on.
#[derive(Clone, Copy, Debug)]
struct Moved {
    first: Time,
    last: Time,
}

impl Due {
    pub fn structure(&mut self) {
        self.structure = true;
    }

    fn states_due_at(&self) -> Option<Time> {
        if self.asked {
            return None;
        }
        let moved = self.stamps.into_iter().chain(self.monitors);
        moved.map(|moved| self.due_at(moved)).min()
    }

    /// A channel that never rests is backed up all the same.
    fn due_at(&self, moved: Moved) -> Time {
        let quiet = moved.last.after(QUIET);
        let quiet = quiet.min(moved.first.after(STATE_INTERVAL));
        quiet.max(self.last.map_or(quiet, |last| last.after(STATE_INTERVAL)))
    }
}

impl Moved {
    /// `again`: this is another change than the one before.
    fn note(slot: &mut Option<Moved>, now: Time, again: bool) {
        match slot {
            Some(moved) if again => moved.last = now,
            Some(_) => {}
            None => {
                *slot = Some(Moved {
                    first: now,
                    last: now,
                })
            }
        }
    }
}

impl Current {
    pub fn loaded(snapshot: Arc<Snapshot>) -> Self {
        let revision = snapshot.revision;
        let introduced = snapshot
            .channels
            .iter()
            .map(|c| (c.ids, revision))
            .collect();
        let content = snapshot.content_hash();
        Self::new(snapshot, content, introduced, revision)
    }

    fn new(
        snapshot: Arc<Snapshot>,
        content: ContentHash,
        introduced: Vec<(ChannelIds, Revision)>,
        structure: Revision,
    ) -> Self {
        // The hash takes one more encoding of everything: not for each of these.
        let encode = |tier, capacity| backup::encode_with_hash(&snapshot, tier, capacity, content);
        let fits_small = encode(Tier::Full, SMALL_BLOB)
            .is_ok_and(|encoded| encoded.omitted.is_empty() && encoded.dropped.is_empty());
        let omitted_small = match fits_small {
            true => Vec::new(),
            false => omitted(&snapshot, content, Tier::Essential, SMALL_BLOB),
        };
        let omitted_parts = match fits_small {
            true => Vec::new(),
            false => encode(Tier::Full, MAX_BLOB)
                .map(|encoded| encoded.dropped)
                .unwrap_or_default(),
        };
        Current {
            snapshot,
            content,
            fits_small,
            omitted_small,
            omitted_parts,
            introduced,
            structure,
        }
    }

    fn revision(&self) -> Revision {
        self.snapshot.revision
    }

    /// The channels whose monitors are not even in the largest blob.
    pub fn omitted_monitors(&self) -> impl Iterator<Item = ChannelId> + '_ {
        self.omitted_parts.iter().filter_map(|part| match part {
            Part::Monitor(channel) => Some(*channel),
            _ => None,
        })
    }

    /// What else is not.
    fn omitted_others(&self) -> Vec<Part> {
        let is_monitor = |part: &Part| matches!(part, Part::Monitor(_));
        let parts = self.omitted_parts.iter().copied();
        parts.filter(|part| !is_monitor(part)).collect()
    }
}

/// The channels that a blob of this size leaves out.
fn omitted(
    snapshot: &Snapshot,
    content: ContentHash,
    tier: Tier,
    capacity: usize,
) -> Vec<ChannelIds> {
    match backup::encode_with_hash(snapshot, tier, capacity, content) {
        Ok(encoded) => encoded.omitted,
        Err(_) => snapshot
            .channels
            .iter()
            .map(|channel| channel.ids)
            .collect(),
    }
}

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
        self.storer.write_all_pending(&mut self.actions);
        let wants_monitors = self.due.asked || self.due.monitors.is_some();
        if wants_monitors && self.may_push() && self.has_taker_of_states(now) {
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
    fn may_push(&self) -> bool {
        self.past == Past::Known && !self.holding()
    }

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

    fn ask_for_monitors(&mut self) {
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

    fn make_snapshot(&mut self, now: Time, change: Change) {
        if self.snapshot.is_none() && self.live.is_none() && !self.past_told {
            // Nothing is known yet that a snapshot could name (safety rule 4).
            return;
        }
        let revision = Revision {
            epoch: self.epoch,
            generation: self.highest_seen.generation.saturating_add(1),
        };
        let snapshot = Arc::new(Snapshot {
            revision,
            installation: self.installation,
            peers: self.book.peers.clone(),
            channels: self.book.channels.clone(),
            spendable_outputs: self
                .book
                .spendable_outputs(match (&self.live, &self.snapshot) {
                    (Some(live), _) => &live.spendable_outputs,
                    (None, Some(current)) => &current.snapshot.spendable_outputs,
                    (None, None) => &[],
                }),
            app_data: self.app_data.clone(),
            monitors: self.book.snapshot_monitors(self.carries_monitors),
        });
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
        let before = self.snapshot.as_ref();
        let known = |ids: &ChannelIds| {
            let introduced = before?
                .introduced
                .iter()
                .find(|(known, _)| known.matches(ids));
            introduced.map(|(_, revision)| *revision)
        };
        let introduced = snapshot
            .channels
            .iter()
            .map(|c| (c.ids, known(&c.ids).unwrap_or(revision)))
            .collect();
        let structure = match (before, change) {
            (Some(before), Change::States) => before.structure,
            _ => revision,
        };
        let current = Current::new(snapshot.clone(), content, introduced, structure);
        let told = before.is_some_and(|before| before.omitted_small == current.omitted_small);
        let others = current.omitted_others();
        let others_told = before.is_some_and(|before| before.omitted_others() == others);
        // Which monitors fit changes with every payment: each is told once a start.
        let known = &self.told_monitors;
        let news: Vec<_> = current.omitted_monitors().collect();
        let monitors_told = news.iter().all(|channel| known.contains(channel));
        let omitted_small = current.omitted_small.clone();
        let parts = current.omitted_parts.clone();
        self.highest_seen = revision;
        self.book.note_stamps(&snapshot);
        self.snapshot = Some(current);
        self.told_monitors.extend(news);
        self.actions
            .push(Action::Persist(Record::Snapshot(snapshot.clone())));
        if !monitors_told || (!others.is_empty() && !others_told) {
            self.report(Event::PartsOmitted { revision, parts });
        }
        if !omitted_small.is_empty() && !told {
            let channels = omitted_small;
            self.report(Event::Omitted {
                revision,
                tier: Tier::Essential,
                channels,
            });
            let channels = omitted(&snapshot, content, Tier::Full, MAX_BLOB);
            if !channels.is_empty() {
                self.report(Event::Omitted {
                    revision,
                    tier: Tier::Full,
                    channels,
                });
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

    /// What a wallet can show.
    pub fn status(&self) -> Status {
        let newest = self.snapshot().map(|s| s.revision);
        let structure = self.snapshot.as_ref().map(|current| current.structure);
        let has = |sent: Option<Sent>| sent.is_some_and(|sent| Some(sent.revision) >= structure);
        let verified = |s: &&StorerState| structure.is_some() && s.is_trusted() && has(s.verified);
        let whole = |s: &&StorerState| {
            let is_whole = |v: Sent| v.tier == Tier::Full && Some(v.revision) == newest;
            s.verified.is_some_and(is_whole)
        };
        let with_newest = || self.storers.values().filter(verified);
        let peers: BTreeSet<_> = self
            .storers
            .keys()
            .chain(self.connections.keys())
            .copied()
            .collect();
        Status {
            past: self.past,
            newest,
            snapshot_due: self.due.structure || self.due.stamps.is_some(),
            channels: self.book.channels.len(),
            restored_channels: self.book.channels.iter().filter(|c| c.restored).count(),
            verified_by: with_newest().count(),
            verified_whole_by: with_newest().filter(whole).count(),
            sent_to: self
                .storers
                .values()
                .filter(|s| structure.is_some() && has(s.sent))
                .count(),
            unprotected_channels: self.unprotected_channels(),
            channels_without_monitor: self.channels_without_monitor(),
            holding: self.holding(),
            alarms: self.alarms().to_vec(),
            peers: peers
                .into_iter()
                .map(|peer| self.peer_status(peer))
                .collect(),
        }
    }

    fn unprotected_channels(&self) -> usize {
        let Some(current) = &self.snapshot else {
            return self.book.channels.len();
        };
        let held_by = |ids: &ChannelIds, introduced: Revision, storer: &StorerState| {
            storer.is_trusted()
                && storer.verified.is_some_and(|verified| {
                    let omitted = || {
                        current
                            .omitted_small
                            .iter()
                            .any(|omitted| omitted.matches(ids))
                    };
                    verified.revision >= introduced && (verified.tier == Tier::Full || !omitted())
                })
        };
        let unprotected = |channel: &&ChannelRecord| {
            let known = current
                .introduced
                .iter()
                .find(|(ids, _)| ids.matches(&channel.ids));
            known.is_none_or(|(ids, introduced)| {
                !self
                    .storers
                    .values()
                    .any(|storer| held_by(ids, *introduced, storer))
            })
        };
        self.book.channels.iter().filter(unprotected).count()
    }

    fn channels_without_monitor(&self) -> usize {
        let omitted: BTreeSet<_> = self
            .snapshot
            .iter()
            .flat_map(Current::omitted_monitors)
            .collect();
        let lacks = |channel: &&ChannelRecord| {
            let monitors = self.snapshot.iter().flat_map(|c| &c.snapshot.monitors);
            let mut monitors = monitors.filter(|m| !omitted.contains(&m.channel));
            !monitors.any(|monitor| monitor.ids().matches(&channel.ids))
        };
        self.book.channels.iter().filter(lacks).count()
    }

    fn peer_status(&self, node_id: PublicKey) -> PeerStatus {
        let storer = self.storers.get(&node_id).cloned().unwrap_or_default();
        let connection = self.connections.get(&node_id);
        let provides_storage = connection.map(|c| c.features.provides_storage);
        let health = match self.health.get(&node_id) {
            _ if storer.refused_at.is_some() || provides_storage == Some(false) => Health::Refused,
            Some(health) => *health,
            None if storer.sent.is_none() => Health::NothingSent,
            None if storer.verified.map(|v| v.revision) == storer.sent.map(|s| s.revision) => {
                Health::Verified
            }
            None => Health::Sent,
        };
        PeerStatus {
            node_id,
            connected: connection.is_some(),
            provides_storage,
            sent: storer.sent,
            verified: storer.verified,
            capacity: storer.capacity,
            health,
        }
    }

    fn has_taker_of_states(&self, now: Time) -> bool {
        self.connections
            .keys()
            .any(|peer| self.takes_states(now, peer))
    }

    /// Whether the peer is worth a push for every state change: it keeps large blobs, or may do so and
    /// there are monitors for it.
    fn takes_states(&self, now: Time, peer: &PublicKey) -> bool {
        let storer = self.storers.get(peer);
        let plan = storer.map(|s| s.capacity).unwrap_or_default().plan(now);
        let has_monitors = || {
            let known = self.snapshot().is_some_and(|s| !s.monitors.is_empty());
            self.carries_monitors && (known || self.due.monitors.is_some())
        };
        let takes = match plan {
            Plan::Large => true,
            Plan::SmallThenLarge => has_monitors(),
            Plan::Small => false,
        };
        takes && self.may_push_to(peer)
    }
}

/// Why a snapshot is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    /// For all peers.
    Structure,
    /// The states of channels alone: for peers that keep large blobs.
    States,
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
