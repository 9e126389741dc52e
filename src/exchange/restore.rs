//! How a data directory comes to know its past: declared new, adopted, or restored (safety rules 1
//! and 8).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::sign::SpendableOutputDescriptor;
use zeroize::Zeroizing;

use super::{Action, AlarmKind, Evidence, Exchange, Past, Record, Time};
use crate::backup::{
    ChannelIds, ChannelPhase, ChannelRecord, Contents, InstallationId, MonitorRecord, PeerRecord,
    Revision,
};

/// Beyond so many peers that gave nothing, only those that a backup names are remembered.
const MOST_SILENT: usize = 1000;

/// What was read back by a data directory that does not know its past.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    by_peer: BTreeMap<PublicKey, Contents>,
    /// Peers that were heard and gave nothing that can be read.
    silent: BTreeSet<PublicKey>,
    /// A peer returned one that only a newer version of this project can read.
    pub newer_format: bool,
}

impl Candidates {
    /// Whether this peer has given this very backup before.
    pub fn has(&self, peer: &PublicKey, revision: Revision) -> bool {
        let known = self.by_peer.get(peer);
        known.is_some_and(|known| known.snapshot.revision == revision)
    }

    /// `known`: some backup names it. Of others that come by themselves a few are remembered.
    pub fn gave_nothing(&mut self, peer: PublicKey, known: bool) {
        let remembered = known || self.silent.len() < MOST_SILENT;
        if remembered && !self.by_peer.contains_key(&peer) {
            self.silent.insert(peer);
        }
    }

    pub fn add(&mut self, peer: PublicKey, contents: Contents) {
        self.silent.remove(&peer);
        let newer = |known: &Contents| contents.snapshot.revision >= known.snapshot.revision;
        if self.by_peer.get(&peer).is_none_or(newer) {
            self.by_peer.insert(peer, contents);
        }
    }
}

/// What a restore would bring back, so far.
#[derive(Clone)]
pub struct RestoreReport {
    /// The newest backup of all peers that answered; none: no one has returned one.
    pub newest: Option<Revision>,
    /// Who gave what, the newest first.
    pub answers: Vec<Answer>,
    /// Peers that were heard and gave nothing that can be read.
    pub silent: Vec<PublicKey>,
    /// Peers named in the backups that have not been heard. One of them may hold a newer one.
    pub unheard: Vec<PeerRecord>,
    /// The channels of the newest backup.
    pub channels: Vec<ChannelRecord>,
    /// Channels that only older backups name: closed and swept since, or unknown to whoever made the
    /// newest. The chain tells; they are restored as well.
    pub older_channels: Vec<ChannelRecord>,
    /// All peers known.
    pub peers: Vec<PeerRecord>,
    /// Outputs on the chain that were ours and not yet swept.
    pub spendable_outputs: Vec<SpendableOutputDescriptor>,
    /// The newest backup names no channel, but an older one does: the person should be asked.
    pub newest_is_empty_but_older_is_not: bool,
    /// What the app had put into the newest full backup.
    pub app_data: Vec<u8>,
    /// Of each channel the newest monitor that any answer had. Where none had one, our own output can
    /// be swept, and nothing else.
    pub monitors: Vec<RestoredMonitor>,
}

/// A monitor out of a backup, of a channel that this device has no state of, or only an older one.
///
/// It may be older than the channel: peers are not sent every state, and some do not keep monitors at
/// all. So it must **never** be used to publish a commitment transaction of ours, nor be loaded into a
/// `ChannelManager` (safety rule 9): the one that it holds may be revoked.
#[derive(Clone, PartialEq, Eq)]
pub struct RestoredMonitor {
    /// All that its channel is known by.
    pub channel: ChannelIds,
    /// Its state: `ChannelMonitor::get_latest_update_id()` when it was backed up.
    pub update_id: u64,
    /// The highest state of the channel that any backup names. The channel may have come even further.
    pub newest_known_update_id: u64,
    /// As LDK writes it; see [`MonitorRecord::bytes`].
    pub bytes: Arc<Zeroizing<Vec<u8>>>,
}

impl RestoredMonitor {
    /// Whether a later state is known to exist. If not, that proves nothing.
    pub fn is_outdated(&self) -> bool {
        self.update_id < self.newest_known_update_id
    }
}

impl fmt::Debug for RestoredMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestoredMonitor")
            .field("update_id", &self.update_id)
            .field("newest_known_update_id", &self.newest_known_update_id)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RestoreReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestoreReport")
            .field("newest", &self.newest)
            .field("answers", &self.answers)
            .field("unheard", &self.unheard.len())
            .field("channels", &self.channels.len())
            .field("older_channels", &self.older_channels.len())
            .field("app_data_bytes", &self.app_data.len())
            .field("monitors", &self.monitors)
            .finish_non_exhaustive()
    }
}

/// What the backup names: all that a recovery of funds starts from.
#[derive(Clone)]
pub struct Known {
    /// All channels whose outputs are not yet swept and buried.
    pub channels: Vec<ChannelRecord>,
    /// The peers, and where they can be reached.
    pub peers: Vec<PeerRecord>,
    /// Outputs that only a returned backup names, not yet swept.
    pub restored_outputs: Vec<SpendableOutputDescriptor>,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known")
            .field("channels", &self.channels.len())
            .field("peers", &self.peers.len())
            .field("restored_outputs", &self.restored_outputs.len())
            .finish()
    }
}

/// What one peer gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The peer.
    pub peer: PublicKey,
    /// Which backup.
    pub revision: Revision,
    /// Who made it.
    pub installation: InstallationId,
    /// How many channels it names.
    pub channels: usize,
    /// It is the newest.
    pub newest: bool,
    /// It has the revision of another answer but other content: a second device, or a fault.
    pub conflicts: bool,
}

/// Why a data directory cannot take this way to know its past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PastError {
    /// It knows its past already.
    #[error("this data directory knows its past already")]
    Known,
    /// A peer has returned a backup: the wallet is not new.
    #[error("a peer has returned a backup of this node: it is not new")]
    NotNew,
    /// No peer has returned a backup.
    #[error("no peer has returned a backup yet")]
    NothingRead,
    /// There is no live wallet to adopt.
    #[error("no wallet state was reported: there is nothing to adopt")]
    NoWallet,
    /// The wallet that was reported has no channel, and no output to sweep: it may be the empty one of a
    /// phone that has lost everything, and what peers keep would pass for the past of another.
    #[error("the wallet that was reported has no channel: there is nothing to adopt")]
    NothingToAdopt,
}

impl Exchange {
    /// The wallet is brand new: no backup of it exists anywhere.
    pub fn declare_new(&mut self, now: Time) -> Result<(), PastError> {
        self.require_unknown()?;
        if !self.candidates.by_peer.is_empty() || self.candidates.newer_format {
            return Err(PastError::NotNew);
        }
        self.past_is_known(now);
        Ok(())
    }

    /// The wallet is alive on this device, with channels, and only this data directory is new. One that was
    /// made here and has none yet is [declared new](Self::declare_new).
    pub fn adopt(&mut self, now: Time) -> Result<(), PastError> {
        self.require_unknown()?;
        let live = self.live.as_ref().ok_or(PastError::NoWallet)?;
        if live.channels.is_empty() && live.spendable_outputs.is_empty() {
            return Err(PastError::NothingToAdopt);
        }
        self.past_is_known(now);
        Ok(())
    }

    /// The person has seen the report and takes it. What comes to light later is merged.
    pub fn finish_restore(&mut self, now: Time) -> Result<RestoreReport, PastError> {
        self.require_unknown()?;
        if self.candidates.by_peer.is_empty() {
            return Err(PastError::NothingRead);
        }
        let report = self.restore_report();
        // The person knows now that this device lacks those channels, and what that means.
        self.end_alarms(|kind| match kind {
            AlarmKind::StaleState { evidence, .. } => {
                matches!(evidence, Evidence::ChannelMissing { .. })
            }
            _ => false,
        });
        self.was_restored = true;
        self.actions.push(Action::Persist(Record::Restored));
        self.past_is_known(now);
        Ok(report)
    }

    /// What a restore would bring back, so far. Every further peer only improves it.
    pub fn restore_report(&self) -> RestoreReport {
        let answers = &self.candidates.by_peer;
        let newest = answers.values().max_by_key(|c| c.snapshot.revision);
        let newest_revision = newest.map(|c| c.snapshot.revision);
        let answer = |(peer, contents): (&PublicKey, &Contents)| {
            let snapshot = &contents.snapshot;
            let conflict = |other: &Contents| {
                other.snapshot.revision == snapshot.revision && other.content != contents.content
            };
            Answer {
                peer: *peer,
                revision: snapshot.revision,
                installation: snapshot.installation,
                channels: snapshot.channels.len(),
                newest: Some(snapshot.revision) == newest_revision,
                conflicts: answers.values().any(conflict),
            }
        };
        let mut sorted: Vec<_> = answers.iter().map(answer).collect();
        sorted.sort_by_key(|answer| std::cmp::Reverse(answer.revision));
        let silent = &self.candidates.silent;
        let unheard = |peer: &&PeerRecord| {
            !answers.contains_key(&peer.node_id) && !silent.contains(&peer.node_id)
        };
        let full = answers.values().filter(|c| !c.snapshot.app_data.is_empty());
        let app_data = full.max_by_key(|c| c.snapshot.revision);
        let in_newest = |channel: &ChannelRecord| {
            let mut named = newest.into_iter().flat_map(|c| &c.snapshot.channels);
            named.any(|named| named.ids.matches(&channel.ids))
        };
        let (channels, older_channels) = self.book.channels.iter().cloned().partition(in_newest);
        RestoreReport {
            newest: newest_revision,
            silent: silent.iter().copied().collect(),
            unheard: self.book.peers.iter().filter(unheard).cloned().collect(),
            channels,
            older_channels,
            peers: self.book.peers.clone(),
            spendable_outputs: self.book.restored_outputs.clone(),
            newest_is_empty_but_older_is_not: newest
                .is_some_and(|c| c.snapshot.channels.is_empty() && !c.trimmed)
                && sorted.iter().any(|answer| answer.channels > 0),
            app_data: app_data
                .map(|c| c.snapshot.app_data.clone())
                .unwrap_or_default(),
            monitors: self.restored_monitors(),
            answers: sorted,
        }
    }

    /// The newest known monitors of channels that are not resolved and that the wallet has no state of,
    /// or only an older one. Before the wallet is reported: of all.
    pub fn restored_monitors(&self) -> Vec<RestoredMonitor> {
        let lacks = |monitor: &&MonitorRecord| {
            let here = |live: &super::WalletState| {
                let channel = live.channel(&monitor.ids());
                channel.is_some_and(|channel| channel.update_id >= monitor.update_id)
            };
            !self.live.as_ref().is_some_and(here)
        };
        let restored = |monitor: &MonitorRecord| {
            let channel = self.book.channel(&monitor.ids())?;
            let stamp = self.book.stamp(&channel.ids).max(channel.update_id);
            Some(RestoredMonitor {
                channel: channel.ids,
                update_id: monitor.update_id,
                newest_known_update_id: stamp.max(monitor.update_id),
                bytes: monitor.bytes.clone(),
            })
        };
        let monitors = self.book.monitors.all().filter(lacks);
        monitors.filter_map(restored).collect()
    }

    /// What the backup names at present.
    pub fn known(&self) -> Known {
        Known {
            channels: self.book.channels.clone(),
            peers: self.book.peers.clone(),
            restored_outputs: self.book.restored_outputs.clone(),
        }
    }

    /// Channels that a restore has brought back, or would, and that may still be open: this device has no
    /// state of them. A Lightning node that started here would not know them, and their peers would close
    /// them without anybody's consent (safety rule 10).
    pub fn restored_channels(&self) -> Vec<ChannelRecord> {
        // An adopted wallet may have left channels behind that nobody reported as swept: that is no loss.
        let lost = match self.past {
            Past::Known => self.was_restored,
            Past::Unknown => self.live.is_none(),
        };
        if !lost {
            return Vec::new();
        }
        let may_be_open =
            |channel: &&ChannelRecord| channel.restored && channel.phase != ChannelPhase::Closing;
        let channels = self.book.channels.iter();
        channels.filter(may_be_open).cloned().collect()
    }

    /// Hands back a blob that was read before the process ended, from the host's records.
    pub fn returned_before(&mut self, peer: PublicKey, contents: Contents) {
        self.book.note_stamps(&contents.snapshot);
        if self.book.merge(&contents).any() {
            self.due.structure();
        }
        if self.past == Past::Unknown {
            // Later it is in our own snapshot, or the app has changed it.
            if self.app_data.is_empty() {
                self.app_data = contents.snapshot.app_data.clone();
            }
            self.candidates.add(peer, contents);
        }
    }

    fn require_unknown(&self) -> Result<(), PastError> {
        match self.past {
            Past::Unknown => Ok(()),
            Past::Known => Err(PastError::Known),
        }
    }

    /// Starts a new epoch, one above the highest seen.
    fn past_is_known(&mut self, now: Time) {
        self.past = Past::Known;
        self.past_told = true;
        self.epoch = self.highest_seen.epoch.saturating_add(1);
        self.lost_before_epoch = self.epoch;
        self.candidates = Candidates::default();
        self.actions
            .push(Action::Persist(Record::LostBefore(self.epoch)));
        self.actions
            .push(Action::Persist(Record::Past(Past::Known)));
        self.due.structure();
        self.update_book(now);
        self.push_what_is_due(now);
    }
}
