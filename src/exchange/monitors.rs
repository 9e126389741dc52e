//! The newest known monitor of each channel, whoever knew it: the live node, our own last snapshot, or a
//! backup that a peer returned.

use std::collections::BTreeMap;

use lightning::ln::types::ChannelId;

use crate::backup::{ChannelIds, MonitorRecord};

/// At most one for each channel. Copies share the bytes.
#[derive(Debug, Default)]
pub(super) struct Monitors(BTreeMap<ChannelId, MonitorRecord>);

impl Monitors {
    pub fn new(known: &[MonitorRecord]) -> Self {
        let mut monitors = Monitors::default();
        for monitor in known {
            monitors.returned(monitor);
        }
        monitors
    }

    pub fn all(&self) -> impl Iterator<Item = &MonitorRecord> {
        self.0.values()
    }

    pub fn of(&self, ids: &ChannelIds) -> Option<&MonitorRecord> {
        let by_id = ids.channel_id.and_then(|id| self.0.get(&id));
        by_id.or_else(|| self.all().find(|monitor| monitor.ids().matches(ids)))
    }

    /// Takes one out of a backup if it is newer than what is known. Whether it was.
    pub fn returned(&mut self, monitor: &MonitorRecord) -> bool {
        let known = self.0.get(&monitor.channel);
        let news = known.is_none_or(|known| known.update_id < monitor.update_id);
        if news {
            self.0.insert(monitor.channel, monitor.clone());
        }
        news
    }

    /// Takes one that was just read of the live node, unless a newer one is known: then the node is
    /// stale. Of the same state, what was just read has seen more of the chain, but that is no news.
    /// Whether the state is.
    pub fn read(&mut self, monitor: MonitorRecord) -> bool {
        let known = self.0.get(&monitor.channel).map(|known| known.update_id);
        if known <= Some(monitor.update_id) {
            let news = known != Some(monitor.update_id);
            self.0.insert(monitor.channel, monitor);
            return news;
        }
        false
    }

    pub fn retain(&mut self, keep: impl Fn(&MonitorRecord) -> bool) {
        self.0.retain(|_, monitor| keep(monitor));
    }
}
