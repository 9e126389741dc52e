//! Where code under test enters a node.

use std::path::PathBuf;
use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use bitcoin::Network;
use lightning::events::Event;
use lightning::sign::KeysManager;

use super::types::{
    DynBroadcaster, DynFeeEstimator, DynHandler, DynLogger, DynPersist, TestChainMonitor,
    TestChannelManager, TestPeerManager,
};
use crate::chain::ChainAccess;

/// How a test inserts code under test into a node. The default methods make a stock LDK node.
pub trait Extension: Send + Sync {
    /// Wraps the logger. The node's wire tap is in front of whatever is returned here.
    fn logger(&self, inner: Arc<DynLogger>) -> Arc<DynLogger> {
        inner
    }

    /// Wraps the broadcaster.
    fn broadcaster(&self, inner: Arc<DynBroadcaster>) -> Arc<DynBroadcaster> {
        inner
    }

    /// Wraps the persister of channel monitors.
    fn persister(&self, inner: Arc<DynPersist>) -> Arc<DynPersist> {
        inner
    }

    /// Gives the handler of channel messages. Called once at each start, when the state has been
    /// loaded and before there is a connection.
    fn message_handler(&self, parts: &NodeParts) -> Arc<DynHandler> {
        Arc::clone(&parts.channel_manager) as Arc<DynHandler>
    }

    /// The node is about to accept connections; `peer_manager.process_events()` sends what the
    /// handler has queued.
    fn started(&self, _node: &NodeParts, _peer_manager: Arc<TestPeerManager>) {}

    /// Each event of the `ChannelManager` and the `ChainMonitor`, before the node handles it.
    fn event(&self, _event: &Event) {}

    /// The node has seen the chain up to `height`.
    fn block(&self, _height: u32) {}

    /// Each turn of the node's pump, at least every few milliseconds.
    fn tick(&self) {}

    /// The node stops in good order: no more turns, but peers are still connected. Not called when
    /// it is killed or has panicked.
    fn stopping(&self) {}
}

/// The extension that changes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct StockNode;

impl Extension for StockNode {}

/// The LDK objects of a node.
#[derive(Clone)]
pub struct NodeParts {
    /// The node's name.
    pub name: String,
    /// The node's public key.
    pub node_id: PublicKey,
    /// Always regtest.
    pub network: Network,
    /// The node's data directory; extensions may keep their own below it.
    pub dir: PathBuf,
    /// The chain.
    pub chain: Arc<dyn ChainAccess>,
    /// Entropy source, node signer and signer provider in one.
    pub keys: Arc<KeysManager>,
    /// The logger, with the wire tap.
    pub logger: Arc<DynLogger>,
    /// The broadcaster, as the extension wrapped it.
    pub broadcaster: Arc<DynBroadcaster>,
    /// The fee estimator.
    pub fee_estimator: Arc<DynFeeEstimator>,
    /// The persister, as the extension wrapped it.
    pub persister: Arc<DynPersist>,
    /// The chain monitor.
    pub chain_monitor: Arc<TestChainMonitor>,
    /// The channel manager.
    pub channel_manager: Arc<TestChannelManager>,
}
