//! Our newest snapshot, and what of it fits where.

use std::sync::Arc;

use lightning::ln::types::ChannelId;

use crate::backup::{
    self, ChannelIds, ContentHash, Part, Revision, Snapshot, Tier, MAX_BLOB, SMALL_BLOB,
};

/// Our newest snapshot, and what follows from it.
#[derive(Debug)]
pub(super) struct Current {
    pub snapshot: Arc<Snapshot>,
    pub content: ContentHash,
    /// All of it fits into a blob of 1024 bytes.
    pub fits_small: bool,
    /// Channels that are not in a blob of 1024 bytes.
    pub omitted_small: Vec<ChannelIds>,
    /// What else is not even in the largest blob.
    pub omitted_parts: Vec<Part>,
    /// Since this revision nothing has changed but the states of channels.
    pub structure: Revision,
    /// Since which revision each channel has been in our snapshots.
    pub introduced: Vec<(ChannelIds, Revision)>,
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

    pub fn new(
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

    pub fn revision(&self) -> Revision {
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
    pub fn omitted_others(&self) -> Vec<Part> {
        let is_monitor = |part: &Part| matches!(part, Part::Monitor(_));
        let parts = self.omitted_parts.iter().copied();
        parts.filter(|part| !is_monitor(part)).collect()
    }
}

/// The channels that a blob of this size leaves out.
pub(super) fn omitted(
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
