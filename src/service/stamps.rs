//! Which state of each channel is durable in the wallet's own database.
//!
//! LDK raises a monitor's update id in memory before its persister has written it. A backup that named
//! such a state would be ahead of the wallet after a crash in between, and a wallet that had lost
//! nothing would be taken for a stale one. So a state stamp in a backup is that of a state that the
//! persister has reported as written.

use std::collections::BTreeMap;

use lightning::ln::types::ChannelId;

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
