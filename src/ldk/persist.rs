//! What the persister of the node's channel monitors tells.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use lightning::chain::chainmonitor::Persist;
use lightning::chain::channelmonitor::{ChannelMonitor, ChannelMonitorUpdate};
use lightning::chain::ChannelMonitorUpdateStatus;
use lightning::ln::types::ChannelId;
use lightning::sign::ecdsa::EcdsaChannelSigner;
use lightning::util::persist::MonitorName;

use crate::backup::ChannelIds;
use crate::service::Engine;

/// Learns from the node's own persister when the backup is outdated.
///
/// Made by [`PeerStorage::persister`](crate::service::PeerStorage::persister) around the node's own,
/// and given to the `ChainMonitor` in its place. LDK calls it with its locks held, so it only sets
/// flags; it returns what the inner persister returns, and is never itself the reason for
/// `InProgress`: a peer that cannot be reached must not stall a channel.
///
/// Every call makes the backup look at the wallet again, soon and once for many calls. That includes
/// those without an update, which LDK makes every few blocks: a cooperative close tells nothing
/// else. Report `Event::ChannelClosed` with
/// [`PeerStorage::wallet_changed`](crate::service::PeerStorage::wallet_changed) to have it at once.
///
/// What it is told of as written is also what backups carry of the monitors themselves.
///
/// An archived monitor means that the outputs of its channel are swept and buried: the channel leaves
/// the backup.
pub struct PersistHook<P> {
    inner: P,
    engine: Arc<Engine>,
}

impl<P> PersistHook<P> {
    pub(crate) fn new(engine: Arc<Engine>, inner: P) -> Self {
        PersistHook { inner, engine }
    }
}

impl<P> PersistHook<P> {
    /// Only a state that is written may be named in a backup.
    fn note<S: EcdsaChannelSigner>(
        &self,
        status: ChannelMonitorUpdateStatus,
        monitor: &ChannelMonitor<S>,
    ) -> ChannelMonitorUpdateStatus {
        match status {
            ChannelMonitorUpdateStatus::Completed => self
                .engine
                .monitor_written(monitor.channel_id(), monitor.get_latest_update_id()),
            ChannelMonitorUpdateStatus::InProgress
            | ChannelMonitorUpdateStatus::UnrecoverableError => self.engine.wallet_is_dirty(),
        }
        status
    }
}

impl<P, S> Persist<S> for PersistHook<P>
where
    P: Deref,
    P::Target: Persist<S>,
    S: EcdsaChannelSigner,
{
    fn persist_new_channel(
        &self,
        monitor_name: MonitorName,
        monitor: &ChannelMonitor<S>,
    ) -> ChannelMonitorUpdateStatus {
        self.engine
            .funding_outpoint(monitor.get_funding_txo().into_bitcoin_outpoint());
        let status = self.inner.persist_new_channel(monitor_name, monitor);
        self.note(status, monitor)
    }

    fn update_persisted_channel(
        &self,
        monitor_name: MonitorName,
        monitor_update: Option<&ChannelMonitorUpdate>,
        monitor: &ChannelMonitor<S>,
    ) -> ChannelMonitorUpdateStatus {
        if let Some(update) = monitor_update {
            // A splice moves the funding output; before it is locked, both can be spent.
            self.engine
                .funding_outpoint(monitor.get_funding_txo().into_bitcoin_outpoint());
            for (outpoint, _) in update.renegotiated_funding_data() {
                self.engine
                    .funding_outpoint(outpoint.into_bitcoin_outpoint());
            }
        }
        let status = self
            .inner
            .update_persisted_channel(monitor_name, monitor_update, monitor);
        self.note(status, monitor)
    }

    fn archive_persisted_channel(&self, monitor_name: MonitorName) {
        self.inner.archive_persisted_channel(monitor_name);
        self.engine.channel_archived(ids(monitor_name));
    }

    fn get_and_clear_completed_updates(&self) -> Vec<(ChannelId, u64)> {
        let completed = self.inner.get_and_clear_completed_updates();
        for (channel, update_id) in &completed {
            self.engine.monitor_written(*channel, *update_id);
        }
        completed
    }
}

fn ids(name: MonitorName) -> ChannelIds {
    match name {
        MonitorName::V1Channel(outpoint) => ChannelIds {
            channel_id: Some(ChannelId::v1_from_funding_outpoint(outpoint)),
            funding_outpoint: Some(outpoint.into_bitcoin_outpoint()),
            short_channel_id: None,
        },
        MonitorName::V2Channel(channel_id) => ChannelIds {
            channel_id: Some(channel_id),
            ..ChannelIds::default()
        },
    }
}

impl<P> fmt::Debug for PersistHook<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PersistHook").finish_non_exhaustive()
    }
}
