//! The live state of the wallet, as the host reports it.

use std::fmt;

use bitcoin::secp256k1::PublicKey;
use lightning::sign::SpendableOutputDescriptor;

use crate::backup::{ChannelIds, ChannelPhase, ChannelRecord, PeerRecord};

/// Everything of a running node that belongs into a backup.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct WalletState {
    /// All channels from funding until their outputs are swept and buried.
    pub channels: Vec<ChannelRecord>,
    /// The peers of those channels, and others that the wallet wants to find again.
    pub peers: Vec<PeerRecord>,
    /// Outputs on the chain that are ours and not yet swept.
    pub spendable_outputs: Vec<SpendableOutputDescriptor>,
    /// The height at which the first pending HTLC expires, in blocks.
    pub earliest_htlc_expiry: Option<u32>,
}

impl fmt::Debug for WalletState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalletState")
            .field("channels", &self.channels)
            .field("peers", &self.peers.len())
            .field("spendable_outputs", &self.spendable_outputs.len())
            .field("earliest_htlc_expiry", &self.earliest_htlc_expiry)
            .finish()
    }
}

impl WalletState {
    /// The live channel that goes by one of these ids.
    pub fn channel(&self, ids: &ChannelIds) -> Option<&ChannelRecord> {
        self.channels
            .iter()
            .find(|channel| channel.ids.matches(ids))
    }

    /// Whether the peer has a channel that is not closed.
    pub fn has_open_channel_with(&self, peer: &PublicKey) -> bool {
        self.channels_with(peer)
            .any(|channel| channel.phase != ChannelPhase::Closing)
    }

    /// Whether the peer has a channel that payments can use.
    pub fn has_ready_channel_with(&self, peer: &PublicKey) -> bool {
        self.channels_with(peer)
            .any(|channel| channel.phase == ChannelPhase::Ready)
    }

    fn channels_with<'a>(
        &'a self,
        peer: &'a PublicKey,
    ) -> impl Iterator<Item = &'a ChannelRecord> + 'a {
        self.channels
            .iter()
            .filter(move |channel| channel.counterparty == *peer)
    }
}
