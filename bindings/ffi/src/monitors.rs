//! What a channel's monitor tells that LDK's lists of channels do not.

use std::sync::Arc;

use bitcoin::BlockHash;
use ldk_peer_storage::backup::ChannelKind as CoreKind;
use ldk_peer_storage::ldk::LdkWallet;
use ldk_peer_storage::service::WalletSource;
use lightning::chain::channelmonitor::ChannelMonitor;
use lightning::sign::InMemorySigner;
use lightning::util::ser::ReadableArgs;

use crate::errors::PeerStorageError;
use crate::parse::{self, hex_of};
use crate::runtime::{run, Lane};
use crate::secret::WalletSecret;
use crate::wallet::{ChannelIds, ChannelKind, LARGEST_MONITOR};

/// What a channel's monitor tells.
#[derive(Clone, uniffi::Record)]
pub struct MonitorFacts {
    /// The channel.
    pub ids: ChannelIds,
    /// The node id of the other side, in hex.
    pub counterparty_node_id: String,
    /// For `WalletChannel.kind`.
    pub kind: ChannelKind,
    /// For `WalletChannel.state_stamp`.
    pub state_stamp: u64,
    /// For `WalletChannel.channel_keys_id`; none: the seed alone gives the keys.
    pub channel_keys_id: Option<String>,
    /// Whether the channel's keys were found. If not, the secret is most likely not the wallet's: a wallet that
    /// has lost everything else could not sweep this channel.
    pub keys_are_known: bool,
    /// The height at which its first pending HTLC expires, in blocks: for `WalletReport.earliest_htlc_expiry`
    /// and `WalletChannel.has_pending_htlcs`. None: none is pending.
    pub earliest_htlc_expiry: Option<u32>,
}

/// Reads a channel's monitor, as LDK writes it (`ChannelMonitor.write`, which is what its persisters store), for
/// wallets that get at their monitors: what their lists of channels do not tell is in it. Keys and kind of a
/// channel do not change, so that once for each channel is enough for these. Nothing is kept.
///
/// Throws `InvalidInput`.
#[uniffi::export]
pub async fn read_monitor(
    secret: Arc<WalletSecret>,
    monitor: Vec<u8>,
) -> Result<MonitorFacts, PeerStorageError> {
    parse::limit("monitor", monitor.len(), LARGEST_MONITOR)?;
    run(Lane::Disk, move || read(&secret, &monitor)).await
}

fn read(secret: &WalletSecret, bytes: &[u8]) -> Result<MonitorFacts, PeerStorageError> {
    let unreadable = || PeerStorageError::invalid("monitor", "is no ChannelMonitor of this wallet");
    let keys = Arc::new(secret.identity().keys());
    type Stored = (BlockHash, ChannelMonitor<InMemorySigner>);
    let stored = Stored::read(&mut &*bytes, (&*keys, &*keys)).map_err(|_| unreadable())?;
    // Reported and forgotten at once: nothing here publishes or watches anything.
    let wallet = LdkWallet::stopped(vec![stored], Vec::new(), keys, |_: &_| Vec::new());
    let state = wallet.wallet_state();
    let record = state.channels.into_iter().next().ok_or_else(unreadable)?;
    Ok(MonitorFacts {
        counterparty_node_id: record.counterparty.to_string(),
        kind: match record.kind {
            CoreKind::Anchors => ChannelKind::Anchors,
            CoreKind::StaticRemoteKey => ChannelKind::StaticRemoteKey,
            CoreKind::Other => ChannelKind::Other,
        },
        state_stamp: record.update_id,
        channel_keys_id: record.channel_keys_id.map(|id| hex_of(&id)),
        keys_are_known: wallet.channels_without_keys().is_empty(),
        ids: record.ids.into(),
        earliest_htlc_expiry: state.earliest_htlc_expiry,
    })
}
