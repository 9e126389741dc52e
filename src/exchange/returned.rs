//! The owner's side, incoming: what a peer returned, or failed to return.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;

use super::capacity::SETTLE;
use super::compare::{compare, missing_channel, Outcome, Own, SETTLED_AFTER};
use super::connection::ReadBack;
use super::record::{Capacity, Past, Sent, StorerState};
use super::{Action, AlarmKind, Event, Exchange, Health, Record, Time};
use crate::backup::{Contents, OpenError, Tier, MAX_BLOB, SMALL_BLOB};

/// "Twice" in the rules on misbehaving storers: on so many connections in a row.
const TWICE: u32 = 2;

/// So many peers are taken for keepers of our backup for no other reason than that they have returned
/// one.
const MOST_STRANGERS: usize = 100;

impl Exchange {
    /// A peer returned a blob (`peer_storage_retrieval`, type 9), opened by the host. Call
    /// [`wallet_changed`](Self::wallet_changed) with the live state before, so that it is compared
    /// with the present. Only the first one of a connection counts.
    pub fn retrieval_received(
        &mut self,
        now: Time,
        peer: PublicKey,
        blob: &[u8],
        opened: Result<Contents, OpenError>,
    ) {
        let Some(connection) = self.connections.get_mut(&peer) else {
            return;
        };
        if connection.read_back == Some(ReadBack::Returned) {
            return;
        }
        connection.read_back = Some(ReadBack::Returned);
        match opened {
            Ok(contents) => self.returned(now, peer, blob, contents),
            Err(error) => self.unreadable(peer, error),
        }
        self.push_what_is_due(now);
    }

    /// A `warning` of a peer was seen in LDK's log. Only a hint: peers may send any text.
    pub fn warning_received(&mut self, now: Time, peer: PublicKey, text: &str) {
        let Some(connection) = self.connections.get(&peer) else {
            return;
        };
        let pushed_large = connection.pushed_large;
        let Some(storer) = self.storers.get_mut(&peer) else {
            return;
        };
        if pushed_large && text.contains("Supports only data up to") {
            if matches!(storer.capacity, Capacity::Small { .. }) {
                return;
            }
            storer.capacity.warned(now);
            if let Some(sent) = &mut storer.sent {
                sent.tier = Tier::Essential;
            }
            self.report(Event::CapacityLearned {
                peer,
                bytes: SMALL_BLOB,
            });
        } else if connection.pushed && mentions_peer_storage(text) && storer.refused_at.is_none() {
            storer.refused_at = Some(now);
            self.report(Event::Refused { peer });
        } else {
            return;
        }
        self.persist_storer(peer);
    }

    /// Its 136 came first, or its time was over: it has nothing of ours.
    pub(super) fn nothing_returned(&mut self, now: Time, peer: PublicKey) {
        self.gave_nothing(peer);
        let should_be_there = self.owes_us_what_was_sent(now, &peer);
        let (Some(connection), Some(storer)) =
            (self.connections.get(&peer), self.storers.get(&peer))
        else {
            return;
        };
        let expected = storer
            .sent
            .is_some_and(|sent| connection.is_later_than(sent.at));
        if !expected || storer.refused_at.is_some() {
            return;
        }
        self.contradicts(peer, Health::Missing);
        if !should_be_there {
            return;
        }
        let storer = self.storers.entry(peer).or_default();
        storer.missing_returns = storer.missing_returns.saturating_add(1);
        let twice = storer.missing_returns >= TWICE;
        self.persist_storer(peer);
        if twice {
            self.raise(now, AlarmKind::StorerLostBackup { peer });
        }
    }

    /// A restore is told that the peer was heard.
    fn gave_nothing(&mut self, peer: PublicKey) {
        if self.past == Past::Unknown {
            let known = self.book.names_peer(&peer);
            self.candidates.gave_nothing(peer, known);
        }
    }

    /// What the peer says is not that it has a backup of ours: until it returns one again, what it returned
    /// before counts no more. Of strangers nothing is remembered beyond their connection.
    fn contradicts(&mut self, peer: PublicKey, health: Health) {
        if self.concerns_us(&peer) {
            self.health.insert(peer, health);
        }
        if let Some(storer) = self.storers.get_mut(&peer) {
            if !std::mem::replace(&mut storer.contradicted, true) {
                self.persist_storer(peer);
            }
        }
    }

    /// Whether what was last sent to the peer has arrived, and was there long enough to be written,
    /// and a ready channel obliges the peer to keep it: an honest storer that crashes right after
    /// each push must not be accused, nor one whose channel is closed.
    fn owes_us_what_was_sent(&self, now: Time, peer: &PublicKey) -> bool {
        let live = self.live.as_ref();
        let connection = self.connections.get(peer);
        // While an alarm holds the pushes back, the same loss would be counted again.
        !self.holding()
            && connection.is_some_and(|c| c.features.provides_storage)
            && live.is_some_and(|live| live.has_ready_channel_with(peer))
            && self.was_kept_for(SETTLED_AFTER, now, peer)
    }

    fn was_kept_for(&self, span: Duration, now: Time, peer: &PublicKey) -> bool {
        let sent = self.storers.get(peer).and_then(|storer| storer.sent);
        !self.undelivered.contains(peer) && sent.is_some_and(|sent| now.since(sent.at) >= span)
    }

    fn unreadable(&mut self, peer: PublicKey, error: OpenError) {
        self.gave_nothing(peer);
        let newer_version = matches!(error, OpenError::UnknownVersion(_) | OpenError::NewerFormat);
        if let Some(connection) = self.connections.get_mut(&peer) {
            connection.returned_newer_format = newer_version;
        }
        // It opened with our key, so there was a wallet before; a version byte alone proves nothing.
        self.candidates.newer_format |= matches!(error, OpenError::NewerFormat);
        self.contradicts(peer, Health::Unreadable);
        if self.concerns_us(&peer) {
            self.report(Event::Unreadable {
                peer,
                newer_version,
            });
        }
    }

    fn returned(&mut self, now: Time, peer: PublicKey, blob: &[u8], contents: Contents) {
        let revision = contents.snapshot.revision;
        let own = Own {
            installation: self.installation,
            newest: self
                .snapshot
                .as_ref()
                .map(|c| (c.snapshot.revision, c.content)),
            is_news: self.book.lacks_channels_of(&contents.snapshot),
        };
        if self.is_one_stranger_too_many(&peer) {
            let outcome = compare(now, &contents, own, &StorerState::default());
            self.check_live_state(now, peer, &contents);
            let is_ours = matches!(outcome, Outcome::Verified | Outcome::Lagging { .. });
            // What only it knows is kept all the same (safety rule 2).
            if !is_ours && (own.is_news || Some(revision) > own.newest.map(|(newest, _)| newest)) {
                self.keep_foreign(peer, blob, contents);
            }
            return;
        }
        let storer = self.storers.entry(peer).or_default();
        let outcome = compare(now, &contents, own, storer);
        let mut first_pushed = None;
        if let Some(connection) = self.connections.get_mut(&peer) {
            connection.returned = Some((revision, contents.tier));
            first_pushed = connection.first_pushed;
            storer.features = connection.features.hash;
        }
        storer.missing_returns = 0;
        storer.refused_at = None;
        let owed = self.owes_us_what_was_sent(now, &peer);
        let large_was_there = self.was_kept_for(SETTLE, now, &peer);
        self.learn_capacity(now, peer, blob.len(), contents.tier, large_was_there);
        self.check_live_state(now, peer, &contents);
        match outcome {
            // It may never have got further than to the connection.
            Outcome::Verified if first_pushed == Some(revision) => {}
            Outcome::Verified => {
                if let Some(connection) = self.connections.get_mut(&peer) {
                    connection.returned_latest = true;
                }
                self.verified(now, peer, &contents, Health::Verified)
            }
            Outcome::Lagging { overdue: false } => {
                self.verified(now, peer, &contents, Health::Lagging)
            }
            Outcome::Lagging { overdue: true } => {
                self.verified(now, peer, &contents, Health::Overdue)
            }
            Outcome::RolledBack { before } => {
                self.health.insert(peer, Health::RolledBack);
                let storer = self.storers.entry(peer).or_default();
                if owed || storer.stale_returns == 0 {
                    storer.stale_returns = storer.stale_returns.saturating_add(1);
                }
                if storer.stale_returns >= TWICE {
                    let kind = AlarmKind::StorerRolledBack {
                        peer,
                        returned: revision,
                        before,
                    };
                    self.raise(now, kind);
                }
            }
            Outcome::Conflict => {
                self.contradicts(peer, Health::Conflict);
                self.report(Event::Conflict { peer, revision });
                // Its channels are merged (rule 2); nothing else of it is used.
                self.keep_foreign(peer, blob, contents);
            }
            Outcome::Foreign { newer } => {
                let installation = contents.snapshot.installation;
                let told = self.candidates.has(&peer, revision);
                // A restore is there to find it: no news.
                let restoring = self.past == Past::Unknown && self.live.is_none();
                if newer && !told && !restoring && !self.holding() {
                    self.report(Event::OtherInstallation {
                        peer,
                        installation,
                        revision,
                    });
                }
                self.contradicts(peer, Health::Lagging);
                if self.app_data.is_empty() {
                    self.app_data = contents.snapshot.app_data.clone();
                }
                self.keep_foreign(peer, blob, contents);
            }
        }
        self.persist_storer(peer);
    }

    fn verified(&mut self, now: Time, peer: PublicKey, contents: &Contents, health: Health) {
        let storer = self.storers.entry(peer).or_default();
        let Contents { tier, content, .. } = *contents;
        let revision = contents.snapshot.revision;
        storer.verified = Some(Sent {
            revision,
            tier,
            content,
            at: now,
        });
        storer.stale_returns = 0;
        storer.contradicted = false;
        self.health.insert(peer, health);
        self.end_alarms(|kind| match kind {
            AlarmKind::StorerLostBackup { peer: p } => *p == peer,
            AlarmKind::StorerRolledBack {
                peer: p, before, ..
            } => *p == peer && revision >= *before,
            AlarmKind::StaleState { .. } => false,
        });
    }

    /// A backup that this installation did not send: durable first, then merged, and from then on
    /// every snapshot of ours comes after it (safety rule 2).
    fn keep_foreign(&mut self, peer: PublicKey, blob: &[u8], contents: Contents) {
        let (revision, installation) = (contents.snapshot.revision, contents.snapshot.installation);
        let record = Record::Foreign {
            peer,
            installation,
            revision,
            blob: Arc::from(blob),
        };
        self.actions.push(Action::Persist(record));
        let merged = self.book.merge(&contents);
        if merged.any() {
            self.due.structure();
        }
        let channels = merged.channels;
        if !channels.is_empty() {
            self.report(Event::ChannelsMerged { peer, channels });
            for (peer, connection) in &mut self.connections {
                if self.book.knows_channel_with(peer) {
                    connection.channel_came_to_light();
                }
            }
        }
        if revision.epoch >= self.epoch {
            self.epoch = revision.epoch.saturating_add(1);
            self.due.structure();
        }
        if revision > self.highest_seen {
            self.highest_seen = revision;
            self.actions
                .push(Action::Persist(Record::HighestSeen(revision)));
        }
        if self.past == Past::Unknown {
            self.candidates.add(peer, contents);
        }
    }

    /// Does the backup prove that the live state is stale (safety rule 6)?
    fn check_live_state(&mut self, now: Time, peer: PublicKey, contents: &Contents) {
        self.book.note_stamps(&contents.snapshot);
        // Without a live state yet, the stamps are compared when it comes.
        let Some(live) = &self.live else { return };
        let epoch = contents.snapshot.revision.epoch;
        let lost_past = self.past == Past::Known && epoch < self.lost_before_epoch;
        let book = &self.book;
        let gone = |ids: &_| book.is_resolved(ids) || book.is_restored(ids);
        let ahead = book.stamp_ahead_of(live);
        let missing = || missing_channel(contents, live, gone, lost_past);
        if let Some(evidence) = ahead.or_else(missing) {
            self.raise(
                now,
                AlarmKind::StaleState {
                    peer: Some(peer),
                    evidence,
                },
            );
        }
    }

    fn learn_capacity(
        &mut self,
        now: Time,
        peer: PublicKey,
        len: usize,
        tier: Tier,
        large_was_there: bool,
    ) {
        let storer = self.storers.entry(peer).or_default();
        let before = storer.capacity;
        if len > SMALL_BLOB {
            storer.capacity.large_returned();
        } else if tier == Tier::Essential && large_was_there {
            storer.capacity.small_returned(now);
        }
        let learned = match (before, storer.capacity) {
            (Capacity::Large, Capacity::Large)
            | (Capacity::Small { .. }, Capacity::Small { .. }) => None,
            (_, Capacity::Large) => Some(MAX_BLOB),
            (_, Capacity::Small { .. }) => Some(SMALL_BLOB),
            _ => None,
        };
        if let Some(bytes) = learned {
            self.report(Event::CapacityLearned { peer, bytes });
        }
    }

    /// Whoever has a backup of ours can give it to any number of identities, and have each return it:
    /// beyond a few they are not remembered.
    fn is_one_stranger_too_many(&self, peer: &PublicKey) -> bool {
        let is_stranger = |peer: &PublicKey| {
            !self.book.knows_channel_with(peer)
                && !self.book.names_peer(peer)
                && !self.listed.contains(peer)
        };
        let wants_all = self.past == Past::Unknown;
        let new = !wants_all && !self.storers.contains_key(peer) && is_stranger(peer);
        new && self.storers.keys().filter(|p| is_stranger(p)).count() >= MOST_STRANGERS
    }

    /// Whether this peer has to do with our backup: a stranger must not fill the list of events.
    pub(super) fn concerns_us(&self, peer: &PublicKey) -> bool {
        self.past == Past::Unknown || self.has_to_do_with_our_backup(peer)
    }

    pub(super) fn has_to_do_with_our_backup(&self, peer: &PublicKey) -> bool {
        self.book.knows_channel_with(peer)
            || self.storers.contains_key(peer)
            || self.listed.contains(peer)
    }
}

/// LDK: "Ignoring peer_storage message, as peer storage is currently supported only for peers with
/// an active funded channel." This project: texts that begin with "peer_storage".
fn mentions_peer_storage(text: &str) -> bool {
    text.contains("peer_storage") || text.contains("peer storage")
}
