//! Which state of each channel is durable in the wallet's own database.
//!
//! LDK raises a monitor's update id in memory before its persister has written it. A backup that named
//! such a state would be ahead of the wallet after a crash in between, and a wallet that had lost
//! nothing would be taken for a stale one. So a state stamp in a backup is that of a state that the
//! persister has reported as written. The same holds for the monitors beside the stamps: one that is
//! ahead is left out, so that the one known before stays until the write is reported.

use std::collections::BTreeMap;

use lightning::ln::types::ChannelId;

use crate::backup::MonitorRecord;
use crate::exchange::WalletState;

#[derive(Debug, Default)]
pub(super) struct DurableStamps {
    by_channel: BTreeMap<ChannelId, u64>,
    /// What was loaded at the start is durable, and known.
    started: bool,
}

impl DurableStamps {
    /// The persister has written this state.
    pub fn written(&mut self, channel: ChannelId, update_id: u64) {
        let known = self.by_channel.entry(channel).or_default();
        *known = update_id.max(*known);
    }

    /// Leaves out what is not known to be durable.
    pub fn withhold(&self, monitors: &mut Vec<MonitorRecord>) {
        monitors.retain(|monitor| {
            let durable = self.by_channel.get(&monitor.channel);
            durable.is_some_and(|durable| monitor.update_id <= *durable)
        });
    }

    /// Lowers the stamps of a live state to what is durable. The first one was just loaded from the
    /// wallet's database.
    pub fn lower(&mut self, state: &mut WalletState) {
        for channel in &mut state.channels {
            let Some(id) = channel.ids.channel_id else {
                continue;
            };
            if !self.started {
                self.written(id, channel.update_id);
            }
            let durable = self.by_channel.get(&id).copied().unwrap_or_default();
            channel.update_id = channel.update_id.min(durable);
        }
        self.started = true;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn monitor(channel: u8, update_id: u64) -> MonitorRecord {
        MonitorRecord {
            channel: ChannelId([channel; 32]),
            update_id,
            pending_htlcs: false,
            bytes: Arc::new(vec![channel].into()),
        }
    }

    #[test]
    fn a_monitor_ahead_of_what_is_written_is_withheld() {
        let mut stamps = DurableStamps::default();
        stamps.written(ChannelId([1; 32]), 5);
        stamps.written(ChannelId([2; 32]), 0);
        let withheld = |stamps: &DurableStamps, monitor| {
            let mut monitors = vec![monitor];
            stamps.withhold(&mut monitors);
            monitors.is_empty()
        };
        assert!(!withheld(&stamps, monitor(1, 4)) && !withheld(&stamps, monitor(1, 5)));
        assert!(withheld(&stamps, monitor(1, 6)));
        assert!(!withheld(&stamps, monitor(2, 0)) && withheld(&stamps, monitor(2, 1)));
        assert!(
            withheld(&stamps, monitor(3, 0)),
            "its first write is under way"
        );
        stamps.written(ChannelId([1; 32]), 6);
        assert!(!withheld(&stamps, monitor(1, 6)));
    }
}
