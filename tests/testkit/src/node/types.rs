//! One set of concrete LDK types for all nodes, whatever is put into them.

use std::sync::Arc;

use bitcoin::secp256k1::{PublicKey, Secp256k1, Signing, Verification};
use lightning::blinded_path::message::{BlindedMessagePath, MessageContext, MessageForwardNode};
use lightning::blinded_path::payment::{BlindedPaymentPath, ReceiveTlvs};
use lightning::chain::chaininterface::{BroadcasterInterface, ConfirmationTarget, FeeEstimator};
use lightning::chain::chainmonitor::{ChainMonitor, Persist};
use lightning::chain::Filter;
use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::channelmanager::ChannelManager;
use lightning::ln::msgs::ChannelMessageHandler;
use lightning::ln::peer_handler::{IgnoringMessageHandler, PeerManager};
use lightning::onion_message::messenger::{Destination, MessageRouter, OnionMessagePath};
use lightning::routing::router::{InFlightHtlcs, Route, RouteParameters, Router};
use lightning::sign::{InMemorySigner, KeysManager, ReceiveAuthKey};
use lightning::util::logger::Logger;
use lightning_net_tokio::SocketDescriptor;

/// Any logger.
pub type DynLogger = dyn Logger + Send + Sync;
/// Any broadcaster.
pub type DynBroadcaster = dyn BroadcasterInterface + Send + Sync;
/// Any fee estimator.
pub type DynFeeEstimator = dyn FeeEstimator + Send + Sync;
/// Any transaction filter.
pub type DynFilter = dyn Filter + Send + Sync;
/// Any monitor persister.
pub type DynPersist = dyn Persist<InMemorySigner> + Send + Sync;
/// Any handler of channel messages.
pub type DynHandler = dyn ChannelMessageHandler + Send + Sync;

/// The nodes' `ChainMonitor`.
pub type TestChainMonitor = ChainMonitor<
    InMemorySigner,
    Arc<DynFilter>,
    Arc<DynBroadcaster>,
    Arc<DynFeeEstimator>,
    Arc<DynLogger>,
    Arc<DynPersist>,
    Arc<KeysManager>,
>;

/// The nodes' `ChannelManager`.
pub type TestChannelManager = ChannelManager<
    Arc<TestChainMonitor>,
    Arc<DynBroadcaster>,
    Arc<KeysManager>,
    Arc<KeysManager>,
    Arc<KeysManager>,
    Arc<DynFeeEstimator>,
    Arc<NoRouter>,
    Arc<NoMessageRouter>,
    Arc<DynLogger>,
>;

/// The nodes' `PeerManager`.
pub type TestPeerManager = PeerManager<
    SocketDescriptor,
    Arc<DynHandler>,
    Arc<IgnoringMessageHandler>,
    Arc<IgnoringMessageHandler>,
    Arc<DynLogger>,
    Arc<IgnoringMessageHandler>,
    Arc<KeysManager>,
    Arc<TestChainMonitor>,
>;

/// Finds no route: tests pay over one hop and say which.
#[derive(Debug)]
pub struct NoRouter;

impl Router for NoRouter {
    fn find_route(
        &self,
        _payer: &PublicKey,
        _params: &RouteParameters,
        _first_hops: Option<&[&ChannelDetails]>,
        _inflight: InFlightHtlcs,
    ) -> Result<Route, &'static str> {
        Err("the test names the route")
    }

    fn create_blinded_payment_paths<T: Signing + Verification>(
        &self,
        _recipient: PublicKey,
        _first_hops: Vec<ChannelDetails>,
        _tlvs: ReceiveTlvs,
        _amount_msats: Option<u64>,
        _secp: &Secp256k1<T>,
    ) -> Result<Vec<BlindedPaymentPath>, ()> {
        Err(())
    }
}

/// Finds no path for onion messages: tests send none.
#[derive(Debug)]
pub struct NoMessageRouter;

impl MessageRouter for NoMessageRouter {
    fn find_path(
        &self,
        _sender: PublicKey,
        _peers: Vec<PublicKey>,
        _destination: Destination,
    ) -> Result<OnionMessagePath, ()> {
        Err(())
    }

    fn create_blinded_paths<T: Signing + Verification>(
        &self,
        _recipient: PublicKey,
        _key: ReceiveAuthKey,
        _context: MessageContext,
        _peers: Vec<MessageForwardNode>,
        _secp: &Secp256k1<T>,
    ) -> Result<Vec<BlindedMessagePath>, ()> {
        Err(())
    }
}

/// The same fees always: channels never close over them.
pub(super) struct FixedFees;

impl FeeEstimator for FixedFees {
    fn get_est_sat_per_1000_weight(&self, target: ConfirmationTarget) -> u32 {
        match target {
            ConfirmationTarget::MaximumFeeEstimate | ConfirmationTarget::UrgentOnChainSweep => {
                2_000
            }
            ConfirmationTarget::NonAnchorChannelFee | ConfirmationTarget::OutputSpendingFee => {
                1_000
            }
            ConfirmationTarget::MinAllowedAnchorChannelRemoteFee
            | ConfirmationTarget::MinAllowedNonAnchorChannelRemoteFee
            | ConfirmationTarget::AnchorChannelFee
            | ConfirmationTarget::ChannelCloseMinimum => 253,
        }
    }
}
