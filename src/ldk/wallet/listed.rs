//! What a node's own list tells of a channel, beside its monitor.

use std::fmt;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{OutPoint, ScriptBuf};
use lightning::chain::channelmonitor::ANTI_REORG_DELAY;
use lightning::ln::channel_state::{ChannelDetails, ChannelShutdownState};
use lightning::ln::types::ChannelId;

use crate::backup::{ChannelIds, ChannelKind, ChannelPhase, ChannelRecord};

/// A channel that is not closed, as the node lists it. LDK's `ChannelDetails` become one by `From`; a
/// library over LDK has a list of its own, which may tell less.
#[derive(Clone)]
pub struct ListedChannel {
    /// The channel's id.
    pub channel_id: ChannelId,
    /// The other side.
    pub counterparty: PublicKey,
    /// The funding output. None: not funded yet.
    pub funding_outpoint: Option<OutPoint>,
    /// The place of the funding output in the chain: no alias. None: not confirmed.
    pub short_channel_id: Option<u64>,
    /// How deep the funding output is, in blocks. None: it is not known, and the short channel id is not
    /// used either.
    pub confirmations: Option<u32>,
    /// `channel_ready` went both ways, and nobody has asked for a close.
    pub is_ready: bool,
    /// How far a close in agreement is. None: the list does not tell; then a confirmed channel that is not
    /// ready is taken for one that shuts down, for its state may matter.
    pub shutdown: Option<ChannelShutdownState>,
    /// The capacity in sat.
    pub value_sat: u64,
    /// The heights at which pending HTLCs expire. None: the list does not tell, and the monitor is asked.
    pub htlc_expiries: Option<Vec<u32>>,
    /// The script of the funding output, where it is known: spares a look into the monitor.
    pub funding_redeem_script: Option<ScriptBuf>,
}

impl ListedChannel {
    /// All that can be told of the channel where its monitor cannot be read. None: not funded yet.
    ///
    /// The state stamp is 0, so that old state of this device goes unnoticed. The keys are taken for v2
    /// ones: a channel with v1 keys comes back only with its monitor
    /// ([`LdkWallet::stopped`](super::LdkWallet::stopped)). Of a `kind` that is not known, either of the
    /// two that can be swept will do: a recovery looks for both.
    pub fn record(&self, kind: ChannelKind) -> Option<ChannelRecord> {
        Some(ChannelRecord {
            counterparty: self.counterparty,
            ids: ChannelIds {
                short_channel_id: self.buried_short_channel_id(),
                funding_outpoint: Some(self.funding_outpoint?),
                channel_id: Some(self.channel_id),
            },
            update_id: 0,
            phase: self.phase(),
            restored: false,
            kind,
            channel_keys_id: None,
            value_sat: Some(self.value_sat),
        })
    }

    /// The place of the funding output in the chain, once a reorganisation will not change it. Until
    /// then, and for channels used without a confirmation, the funding output names the channel.
    pub(super) fn buried_short_channel_id(&self) -> Option<u64> {
        let buried = self.confirmations? >= ANTI_REORG_DELAY;
        self.short_channel_id.filter(|_| buried)
    }

    /// A channel that is shutting down stays ready until it is closed: payments may still be in flight,
    /// and its state still matters.
    pub(super) fn phase(&self) -> ChannelPhase {
        use ChannelShutdownState::*;
        if self.is_ready {
            return ChannelPhase::Ready;
        }
        match self.shutdown {
            Some(ShutdownComplete) => ChannelPhase::Closing,
            Some(NotShuttingDown) => ChannelPhase::Opening,
            Some(ShutdownInitiated | ResolvingHTLCs | NegotiatingClosingFee) | None => {
                match self.short_channel_id {
                    Some(_) => ChannelPhase::Ready,
                    None => ChannelPhase::Opening,
                }
            }
        }
    }
}

impl From<&ChannelDetails> for ListedChannel {
    fn from(details: &ChannelDetails) -> Self {
        let inbound = details.pending_inbound_htlcs.iter().map(|h| h.cltv_expiry);
        let outbound = details.pending_outbound_htlcs.iter().map(|h| h.cltv_expiry);
        ListedChannel {
            channel_id: details.channel_id,
            counterparty: details.counterparty.node_id,
            funding_outpoint: details.funding_txo.map(|txo| txo.into_bitcoin_outpoint()),
            short_channel_id: details.short_channel_id,
            confirmations: details.confirmations,
            is_ready: details.is_channel_ready,
            shutdown: details.channel_shutdown_state,
            value_sat: details.channel_value_satoshis,
            htlc_expiries: Some(inbound.chain(outbound).collect()),
            funding_redeem_script: details.funding_redeem_script.clone(),
        }
    }
}

impl fmt::Debug for ListedChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListedChannel").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bitcoin::secp256k1::{Secp256k1, SecretKey};
    use ChannelShutdownState::*;

    use super::*;

    /// Confirmed, and not ready.
    fn confirmed(shutdown: Option<ChannelShutdownState>) -> ListedChannel {
        let secret = SecretKey::from_slice(&[1; 32]).unwrap();
        ListedChannel {
            channel_id: ChannelId([1; 32]),
            counterparty: secret.public_key(&Secp256k1::new()),
            funding_outpoint: Some(OutPoint::null()),
            short_channel_id: Some(7),
            confirmations: Some(ANTI_REORG_DELAY),
            is_ready: false,
            shutdown,
            value_sat: 1_000_000,
            htlc_expiries: None,
            funding_redeem_script: None,
        }
    }

    fn unconfirmed(shutdown: Option<ChannelShutdownState>) -> ListedChannel {
        ListedChannel {
            short_channel_id: None,
            confirmations: Some(0),
            ..confirmed(shutdown)
        }
    }

    #[test]
    fn a_channel_that_shuts_down_stays_ready_until_it_is_closed() {
        for shutdown in [ShutdownInitiated, ResolvingHTLCs, NegotiatingClosingFee] {
            let phase = confirmed(Some(shutdown)).phase();
            assert_eq!(phase, ChannelPhase::Ready);
            let phase = unconfirmed(Some(shutdown)).phase();
            assert_eq!(phase, ChannelPhase::Opening);
        }
        let phase = confirmed(Some(ShutdownComplete)).phase();
        assert_eq!(phase, ChannelPhase::Closing);
        let phase = confirmed(Some(NotShuttingDown)).phase();
        assert_eq!(phase, ChannelPhase::Opening);
    }

    #[test]
    fn where_the_list_does_not_tell_of_a_close_a_confirmed_channel_may_be_shutting_down() {
        assert_eq!(confirmed(None).phase(), ChannelPhase::Ready);
        assert_eq!(unconfirmed(None).phase(), ChannelPhase::Opening);
        let ready = ListedChannel {
            is_ready: true,
            ..unconfirmed(None)
        };
        assert_eq!(ready.phase(), ChannelPhase::Ready);
    }

    #[test]
    fn a_place_in_the_chain_is_told_once_it_is_buried() {
        let mut channel = confirmed(None);
        let told = |channel: &ListedChannel| {
            let record = channel.record(ChannelKind::Anchors).unwrap();
            record.ids.short_channel_id
        };
        assert_eq!(told(&channel), Some(7));
        channel.confirmations = Some(ANTI_REORG_DELAY - 1);
        assert_eq!(told(&channel), None);
        channel.confirmations = None;
        assert_eq!(told(&channel), None);
        channel.funding_outpoint = None;
        assert!(channel.record(ChannelKind::Anchors).is_none());
    }
}
