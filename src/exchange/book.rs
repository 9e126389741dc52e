//! Which channels and peers belong into the backup: those that are live, and those that are known
//! from records alone and not yet resolved (safety rules 2 and 3).

use bitcoin::secp256k1::PublicKey;
use lightning::ln::types::ChannelId;
use lightning::sign::SpendableOutputDescriptor;

use super::alarm::Evidence;
use super::monitors::Monitors;
use super::wallet::WalletState;
use crate::backup::{
    ChannelIds, ChannelPhase, ChannelRecord, Contents, MonitorRecord, PeerRecord, Snapshot,
};

/// The union of everything known. A channel leaves it in one way only: it is resolved.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub channels: Vec<ChannelRecord>,
    pub peers: Vec<PeerRecord>,
    /// Outputs that only a returned backup names. They leave as channels do: resolved, by outpoint.
    pub restored_outputs: Vec<SpendableOutputDescriptor>,
    /// Of channels that are not resolved. They leave with them.
    pub monitors: Monitors,
    resolved: Vec<ChannelIds>,
    /// The highest state stamp of each channel in any backup, ours or returned.
    stamps: Vec<(ChannelIds, u64)>,
}

impl Book {
    pub fn new(snapshot: Option<&Snapshot>, resolved: Vec<ChannelIds>) -> Self {
        let mut book = Book {
            channels: snapshot.map(|s| s.channels.clone()).unwrap_or_default(),
            peers: snapshot.map(|s| s.peers.clone()).unwrap_or_default(),
            restored_outputs: Vec::new(),
            monitors: snapshot
                .map(|s| Monitors::new(&s.monitors))
                .unwrap_or_default(),
            resolved,
            stamps: Vec::new(),
        };
        snapshot.into_iter().for_each(|s| book.note_stamps(s));
        book
    }

    /// Remembers how far each channel had come when this backup was made.
    pub fn note_stamps(&mut self, backup: &Snapshot) {
        for channel in &backup.channels {
            let known = self
                .stamps
                .iter_mut()
                .find(|(ids, _)| ids.matches(&channel.ids));
            match known {
                Some((ids, stamp)) => {
                    ids.complete_from(&channel.ids);
                    *stamp = channel.update_id.max(*stamp);
                }
                None => self.stamps.push((channel.ids, channel.update_id)),
            }
        }
    }

    /// How far a channel had come in any backup.
    pub fn stamp(&self, ids: &ChannelIds) -> u64 {
        let known = self.stamps.iter().find(|(known, _)| known.matches(ids));
        known.map_or(0, |(_, stamp)| *stamp)
    }

    /// Raises the stamp of a channel by so much if that of this live record is behind it.
    pub fn raise_stamp_ahead_of(&mut self, live: &ChannelRecord, by: u64) {
        let mut stamps = self.stamps.iter_mut();
        if let Some((_, stamp)) = stamps.find(|(ids, _)| ids.matches(&live.ids)) {
            if *stamp > live.update_id {
                *stamp = stamp.saturating_add(by);
            }
        }
    }

    /// The first channel whose live state is older than some backup of it.
    pub fn stamp_ahead_of(&self, live: &WalletState) -> Option<Evidence> {
        let unresolved = self.stamps.iter().filter(|(ids, _)| !self.is_resolved(ids));
        unresolved.into_iter().find_map(|(ids, stamp)| {
            let here = live.channel(ids).filter(|here| here.update_id < *stamp)?;
            Some(Evidence::StampAhead {
                channel: here.ids,
                backup: *stamp,
                live: here.update_id,
            })
        })
    }

    /// Takes over the live state. What is not in it any more stays, as known from records alone.
    /// `storers`: peers without a channel that hold a backup of ours, and so stay findable.
    pub fn update(&mut self, live: &WalletState, storers: impl Fn(&PublicKey) -> bool) {
        let before = std::mem::take(&mut self.channels);
        self.channels = live
            .channels
            .iter()
            .filter(|c| !self.is_resolved(&c.ids))
            .cloned()
            .collect();
        for mut old in before {
            let resolved = self.is_resolved(&old.ids);
            match self
                .channels
                .iter_mut()
                .find(|channel| channel.ids.matches(&old.ids))
            {
                Some(channel) => channel.ids.complete_from(&old.ids),
                None if resolved => {}
                None => {
                    old.restored = true;
                    self.channels.push(old);
                }
            }
        }
        // The host's order may change from one report to the next; that alone is no news.
        self.channels.sort_by_key(|c| {
            (
                c.counterparty,
                c.ids.short_channel_id,
                c.ids.funding_outpoint,
            )
        });
        let before = std::mem::replace(&mut self.peers, live.peers.clone());
        for old in before {
            self.add_peer(&old);
        }
        let channels = &self.channels;
        self.peers.retain(|peer| {
            let id = peer.node_id;
            let has_channel = channels.iter().any(|channel| channel.counterparty == id);
            has_channel || storers(&id) || live.peers.iter().any(|p| p.node_id == id)
        });
        self.peers.sort_by_key(|peer| peer.node_id);
    }

    /// Gives live channels the ids that they are known by from before.
    pub fn complete(&self, live: &mut WalletState) {
        for channel in &mut live.channels {
            let known = self.channels.iter().find(|k| k.ids.matches(&channel.ids));
            if let Some(known) = known {
                channel.ids.complete_from(&known.ids);
            }
        }
    }

    /// The outputs of a channel are swept and buried. Returns all ids that it was known by, if that
    /// is news.
    pub fn resolve(&mut self, ids: ChannelIds) -> Option<ChannelIds> {
        let known = self
            .channels
            .iter()
            .find(|channel| channel.ids.matches(&ids));
        let mut ids = ids;
        if let Some(channel) = known {
            ids.complete_from(&channel.ids);
        }
        let news = !self.is_resolved(&ids);
        if news {
            self.resolved.push(ids);
        }
        self.channels.retain(|channel| !channel.ids.matches(&ids));
        let mut outputs = std::mem::take(&mut self.restored_outputs);
        outputs.retain(|output| !self.is_swept(output));
        self.restored_outputs = outputs;
        self.monitors.retain(|monitor| !monitor.ids().matches(&ids));
        news.then_some(ids)
    }

    fn is_swept(&self, output: &SpendableOutputDescriptor) -> bool {
        let outpoint = output.spendable_outpoint().into_bitcoin_outpoint();
        self.is_resolved(&ChannelIds {
            funding_outpoint: Some(outpoint),
            ..ChannelIds::default()
        })
    }

    /// The outputs that belong into the next snapshot. None live: those of the last one.
    pub fn spendable_outputs(
        &self,
        known: &[SpendableOutputDescriptor],
    ) -> Vec<SpendableOutputDescriptor> {
        let restored = self.restored_outputs.iter();
        let restored = restored.filter(|output| !known.contains(output));
        let all = known.iter().chain(restored);
        all.filter(|output| !self.is_swept(output))
            .cloned()
            .collect()
    }

    /// The monitors that belong into the next snapshot. Without those of live channels, where the app
    /// does not want them: what only a backup knows stays in any case (safety rule 2).
    pub fn snapshot_monitors(&self, of_live_channels: bool) -> Vec<MonitorRecord> {
        let belongs = |monitor: &&MonitorRecord| {
            let channel = self.channel(&monitor.ids());
            channel.is_some_and(|channel| of_live_channels || channel.restored)
        };
        self.monitors.all().filter(belongs).cloned().collect()
    }

    /// Takes monitors that were just read of the live node. Whether any is of a newer state than what
    /// was known. None is taken that is ahead of its channel's stamp: the wallet may not have written it.
    pub fn monitors_read(&mut self, monitors: Vec<MonitorRecord>) -> bool {
        let mut news = false;
        for monitor in monitors {
            let channel = self.channel(&monitor.ids());
            let fits = |channel: &ChannelRecord| {
                !channel.restored && monitor.update_id <= channel.update_id
            };
            if channel.is_some_and(fits) {
                news |= self.monitors.read(monitor);
            }
        }
        news
    }

    /// Whether some live channel has no monitor here that is up to its stamp.
    pub fn lacks_monitors(&self) -> bool {
        let mut live = self.channels.iter().filter(|channel| !channel.restored);
        live.any(|channel| self.lacks_monitor_of(channel))
    }

    pub fn lacks_monitor_of(&self, channel: &ChannelRecord) -> bool {
        let known = self.monitors.of(&channel.ids);
        known.is_none_or(|known| known.update_id < channel.update_id)
    }

    pub fn channel(&self, ids: &ChannelIds) -> Option<&ChannelRecord> {
        self.channels
            .iter()
            .find(|channel| channel.ids.matches(ids))
    }

    pub fn is_resolved(&self, ids: &ChannelIds) -> bool {
        self.resolved.iter().any(|resolved| resolved.matches(ids))
    }

    /// Whether this channel is known from records alone.
    pub fn is_restored(&self, ids: &ChannelIds) -> bool {
        self.channels
            .iter()
            .any(|channel| channel.restored && channel.ids.matches(ids))
    }

    /// Whether a channel that is not resolved has this id.
    pub fn names(&self, id: &ChannelId) -> bool {
        let ids = ChannelIds {
            channel_id: Some(*id),
            ..ChannelIds::default()
        };
        self.channels
            .iter()
            .any(|channel| channel.ids.matches(&ids))
    }

    /// Whether the backup names this peer.
    pub fn names_peer(&self, peer: &PublicKey) -> bool {
        self.peers.iter().any(|known| known.node_id == *peer)
    }

    pub fn knows_channel_with(&self, peer: &PublicKey) -> bool {
        self.channels
            .iter()
            .any(|channel| channel.counterparty == *peer)
    }

    /// Whether the backup names a channel that is neither known here nor resolved.
    pub fn lacks_channels_of(&self, backup: &Snapshot) -> bool {
        backup.channels.iter().any(|channel| {
            let known = self.channels.iter().any(|c| c.ids.matches(&channel.ids));
            !known && !self.is_resolved(&channel.ids)
        })
    }

    /// Takes what only this backup knows.
    ///
    /// An older backup may bring back a channel that a newer one had dropped as resolved. That costs
    /// a look at the chain; the other mistake would cost the channel.
    pub fn merge(&mut self, backup: &Contents) -> Merged {
        let Snapshot {
            channels, peers, ..
        } = &backup.snapshot;
        let mut merged = Merged::default();
        for output in &backup.snapshot.spendable_outputs {
            if !self.restored_outputs.contains(output) && !self.is_swept(output) {
                self.restored_outputs.push(output.clone());
                merged.more = true;
            }
        }
        for channel in channels {
            let resolved = self.is_resolved(&channel.ids);
            match self
                .channels
                .iter_mut()
                .find(|known| known.ids.matches(&channel.ids))
            {
                Some(known) => {
                    known.ids.complete_from(&channel.ids);
                    known.channel_keys_id = known.channel_keys_id.or(channel.channel_keys_id);
                    known.value_sat = known.value_sat.or(channel.value_sat);
                    if known.restored {
                        known.update_id = known.update_id.max(channel.update_id);
                        known.phase = later(known.phase, channel.phase);
                    }
                }
                None if resolved => {}
                None => {
                    self.channels.push(ChannelRecord {
                        restored: true,
                        ..channel.clone()
                    });
                    merged.channels.push(channel.ids);
                }
            }
        }
        for monitor in &backup.snapshot.monitors {
            let channel = self.channel(&monitor.ids());
            // A live channel has as new a one itself.
            let wanted = |c: &ChannelRecord| c.restored || c.update_id < monitor.update_id;
            if channel.is_some_and(wanted) {
                merged.more |= self.monitors.returned(monitor);
            }
        }
        peers.iter().for_each(|peer| self.add_peer(peer));
        merged
    }

    fn add_peer(&mut self, peer: &PeerRecord) {
        match self
            .peers
            .iter_mut()
            .find(|known| known.node_id == peer.node_id)
        {
            Some(known) if known.addresses.is_empty() => known.addresses = peer.addresses.clone(),
            Some(_) => {}
            None => self.peers.push(peer.clone()),
        }
    }
}

/// What a backup had that was not known.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// The channels that are new here.
    pub channels: Vec<ChannelIds>,
    /// Spendable outputs or monitors are new here as well.
    pub more: bool,
}

impl Merged {
    pub fn any(&self) -> bool {
        self.more || !self.channels.is_empty()
    }
}

/// A channel goes from opening to closing and never back, so the later phase is the newer news.
fn later(a: ChannelPhase, b: ChannelPhase) -> ChannelPhase {
    match (a, b) {
        (ChannelPhase::Closing, _) | (_, ChannelPhase::Closing) => ChannelPhase::Closing,
        (ChannelPhase::Ready, _) | (_, ChannelPhase::Ready) => ChannelPhase::Ready,
        _ => ChannelPhase::Opening,
    }
}
