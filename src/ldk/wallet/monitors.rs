//! What is read of LDK's monitors: in a `ChainMonitor`, whatever it is made of, or as they are stored.

use std::ops::Deref;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{BlockHash, Transaction};
use lightning::chain::chaininterface::{BroadcasterInterface, FeeEstimator};
use lightning::chain::chainmonitor::{ChainMonitor, Persist};
use lightning::chain::channelmonitor::{Balance, ChannelMonitor};
use lightning::chain::transaction::OutPoint;
use lightning::chain::Filter;
use lightning::ln::types::ChannelId;
use lightning::sign::ecdsa::EcdsaChannelSigner;
use lightning::sign::{EntropySource, SpendableOutputDescriptor};
use lightning::types::features::ChannelTypeFeatures;
use lightning::util::logger::Logger;
use lightning::util::ser::Writeable;

/// A set of channel monitors: LDK's `ChainMonitor`, or what LDK reads from a store.
pub trait Monitors {
    /// The channels that have one.
    fn ids(&self) -> Vec<ChannelId>;

    /// Looks at one, if it is still there. LDK's set stays locked meanwhile.
    fn look(&self, id: ChannelId, look: &mut dyn FnMut(&dyn Monitor));
}

/// A channel monitor, of whatever signer.
pub trait Monitor {
    /// The channel's id.
    fn channel_id(&self) -> ChannelId;
    /// The other side.
    fn counterparty(&self) -> PublicKey;
    /// The state stamp.
    fn latest_update_id(&self) -> u64;
    /// The funding output.
    fn funding_outpoint(&self) -> OutPoint;
    /// The channel's type.
    fn channel_type(&self) -> ChannelTypeFeatures;
    /// Which outputs of a transaction the wallet can spend.
    fn spendable_outputs(&self, tx: &Transaction) -> Vec<SpendableOutputDescriptor>;
    /// The serialised monitor. Dear.
    fn encoded(&self) -> Vec<u8>;
    /// The heights at which pending HTLCs expire.
    fn htlc_expiries(&self) -> Vec<u32>;
}

impl<S, C, T, F, L, P, E> Monitors for ChainMonitor<S, C, T, F, L, P, E>
where
    S: EcdsaChannelSigner,
    C: Deref,
    C::Target: Filter,
    T: Deref,
    T::Target: BroadcasterInterface,
    F: Deref,
    F::Target: FeeEstimator,
    L: Deref,
    L::Target: Logger,
    P: Deref,
    P::Target: Persist<S>,
    E: Deref,
    E::Target: EntropySource,
{
    fn ids(&self) -> Vec<ChannelId> {
        self.list_monitors()
    }

    fn look(&self, id: ChannelId, look: &mut dyn FnMut(&dyn Monitor)) {
        if let Ok(monitor) = self.get_monitor(id) {
            look(&*monitor);
        }
    }
}

impl<S: EcdsaChannelSigner> Monitors for [(BlockHash, ChannelMonitor<S>)] {
    fn ids(&self) -> Vec<ChannelId> {
        let ids = self.iter().map(|(_, monitor)| monitor.channel_id());
        ids.collect()
    }

    fn look(&self, id: ChannelId, look: &mut dyn FnMut(&dyn Monitor)) {
        let mut monitors = self.iter().map(|(_, monitor)| monitor);
        if let Some(monitor) = monitors.find(|monitor| monitor.channel_id() == id) {
            look(monitor);
        }
    }
}

impl<S: EcdsaChannelSigner> Monitor for ChannelMonitor<S> {
    fn channel_id(&self) -> ChannelId {
        self.channel_id()
    }

    fn counterparty(&self) -> PublicKey {
        self.get_counterparty_node_id()
    }

    fn latest_update_id(&self) -> u64 {
        self.get_latest_update_id()
    }

    fn funding_outpoint(&self) -> OutPoint {
        self.get_funding_txo()
    }

    fn channel_type(&self) -> ChannelTypeFeatures {
        self.channel_type_features()
    }

    fn spendable_outputs(&self, tx: &Transaction) -> Vec<SpendableOutputDescriptor> {
        self.get_spendable_outputs(tx, 0)
    }

    fn encoded(&self) -> Vec<u8> {
        self.encode()
    }

    fn htlc_expiries(&self) -> Vec<u32> {
        let expiry = |balance| match balance {
            Balance::ContentiousClaimable { timeout_height, .. } => Some(timeout_height),
            Balance::MaybeTimeoutClaimableHTLC {
                claimable_height, ..
            } => Some(claimable_height),
            Balance::MaybePreimageClaimableHTLC { expiry_height, .. } => Some(expiry_height),
            Balance::ClaimableOnChannelClose { .. }
            | Balance::ClaimableAwaitingConfirmations { .. }
            | Balance::CounterpartyRevokedOutputClaimable { .. } => None,
        };
        let balances = self.get_claimable_balances();
        balances.into_iter().filter_map(expiry).collect()
    }
}

/// Monitors behind a pointer of the host's.
pub(super) struct Shared<M>(pub M);

impl<M: Deref> Monitors for Shared<M>
where
    M::Target: Monitors,
{
    fn ids(&self) -> Vec<ChannelId> {
        self.0.ids()
    }

    fn look(&self, id: ChannelId, look: &mut dyn FnMut(&dyn Monitor)) {
        self.0.look(id, look);
    }
}
