//! Inside an LDK node: the parts that are put round its own.
//!
//! ```text
//! PeerManager ──▶ PeerStorageHandler ──▶ ChannelManager      7, 9, the reestablish gate
//! PeerManager ──▶ WarningLogger ───────▶ the node's logger   warnings of peers
//! ChainMonitor ─▶ PersistHook ─────────▶ the node's persister what has changed
//! both ─────────▶ GuardedBroadcaster ──▶ the node's own      no stale state under an alarm
//! PeerStorage ──▶ LdkWallet ───────────▶ ChannelManager, ChainMonitor, addresses
//! ```
//!
//! A node that is not in Rust has a [`MessageRelay`] instead of the first of these: see [`relay`].
//!
//! Nothing here decides anything: all decisions are those of the [`exchange`](crate::exchange).
//!
//! # Order
//!
//! 1. Open [`PeerStorage`]. It needs the keys alone.
//! 2. Wrap logger, broadcaster and persister, and build or load `ChainMonitor` and `ChannelManager`
//!    with what comes back.
//! 3. [`attach`](PeerStorage::attach) an [`LdkWallet`] before any peer connects.
//! 4. Give the [`PeerStorageHandler`] to the `PeerManager` as its `chan_handler`, and have
//!    [`set_waker`](PeerStorage::set_waker) call `process_events`.
//! 5. Report events ([`wallet_changed`](PeerStorage::wallet_changed)) and block heights
//!    ([`height_changed`](PeerStorage::height_changed)).
//!
//! `lightning-background-processor` gets the plain `ChannelManager` and `ChainMonitor`, and the
//! `PeerManager` with the decorated handler.
//!
//! ```no_run
//! use std::sync::Arc;
//! use bitcoin::Network;
//! # use bitcoin::secp256k1::PublicKey;
//! use ldk_peer_storage::ldk::LdkWallet;
//! use ldk_peer_storage::service::{Config, PeerStorage};
//! use lightning::chain::chainmonitor::ChainMonitor;
//! use lightning::ln::channelmanager::ChannelManager;
//! use lightning::ln::peer_handler::{IgnoringMessageHandler, MessageHandler, PeerManager};
//! # use lightning::chain::chaininterface::{BroadcasterInterface, FeeEstimator};
//! # use lightning::chain::chainmonitor::Persist;
//! # use lightning::ln::channelmanager::ChainParameters;
//! # use lightning::ln::msgs::SocketAddress;
//! # use lightning::onion_message::messenger::MessageRouter;
//! # use lightning::routing::router::Router;
//! use lightning::sign::{KeysManager, NodeSigner};
//! # use lightning::sign::{EntropySource, InMemorySigner, SpendableOutputDescriptor};
//! # use lightning::util::logger::Logger;
//! # use lightning_net_tokio::SocketDescriptor;
//! # #[allow(clippy::too_many_arguments)]
//! # fn start(
//! #     keys: Arc<KeysManager>,
//! #     fees: Arc<dyn FeeEstimator + Send + Sync>,
//! #     my_logger: Arc<dyn Logger + Send + Sync>,
//! #     my_broadcaster: Arc<dyn BroadcasterInterface + Send + Sync>,
//! #     my_persister: Arc<dyn Persist<InMemorySigner> + Send + Sync>,
//! #     router: Arc<impl Router + Send + Sync + 'static>,
//! #     message_router: Arc<impl MessageRouter + Send + Sync + 'static>,
//! #     chain: ChainParameters,
//! #     addresses_of: impl Fn(&PublicKey) -> Vec<SocketAddress> + Send + Sync + 'static,
//! #     unswept: impl Fn() -> Vec<SpendableOutputDescriptor> + Send + Sync + 'static,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! # type NoFilter = Arc<dyn lightning::chain::Filter + Send + Sync>;
//! let config = Config::new("/var/lib/wallet/peer-storage", Network::Bitcoin);
//! let storage = PeerStorage::open(config, &*keys)?;
//!
//! let logger = Arc::new(storage.logger(my_logger));
//! let broadcaster = Arc::new(storage.broadcaster(my_broadcaster));
//! let persister = Arc::new(storage.persister(my_persister));
//! let chain_monitor = Arc::new(ChainMonitor::new(
//!     None::<NoFilter>, broadcaster.clone(), logger.clone(), fees.clone(), persister,
//!     keys.clone(), keys.get_peer_storage_key(),
//! ));
//! # let (settings, now) = (Default::default(), 0);
//! let channel_manager = Arc::new(ChannelManager::new( // or read it
//!     fees, chain_monitor.clone(), broadcaster, router, message_router, logger.clone(),
//!     keys.clone(), keys.clone(), keys.clone(), settings, chain, now,
//! ));
//!
//! let wallet = LdkWallet::new(
//!     channel_manager.clone(), chain_monitor.clone(), keys.clone(), addresses_of,
//! );
//! storage.attach(Arc::new(wallet.spendable_outputs(unswept)));
//!
//! let ignore = Arc::new(IgnoringMessageHandler {});
//! let handlers = MessageHandler {
//!     chan_handler: Arc::new(storage.message_handler(channel_manager.clone())),
//!     route_handler: Arc::clone(&ignore),
//!     onion_message_handler: Arc::clone(&ignore),
//!     custom_message_handler: ignore,
//!     send_only_message_handler: chain_monitor,
//! };
//! # let random = keys.get_secure_random_bytes();
//! let peer_manager = Arc::new(PeerManager::new(handlers, now, &random, logger, keys));
//! # type Peers<CM, RM, OM, L, C, K, S> = PeerManager<SocketDescriptor, CM, RM, OM, L, C, K, S>;
//! # let peer_manager: Arc<Peers<_, _, _, _, _, _, _>> = peer_manager;
//! let peers = Arc::downgrade(&peer_manager);
//! storage.set_waker(move || {
//!     if let Some(peer_manager) = peers.upgrade() {
//!         peer_manager.process_events();
//!     }
//! });
//! # Ok(()) }
//! ```

mod broadcaster;
mod classify;
mod forward;
mod handler;
mod held;
mod kept;
mod logger;
mod openings;
mod persist;
mod quiet;
pub mod relay;
mod seen;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
mod wallet;

use std::ops::Deref;

use lightning::chain::chaininterface::BroadcasterInterface;
use lightning::ln::msgs::ChannelMessageHandler;

pub use broadcaster::GuardedBroadcaster;
pub(crate) use forward::for_each_channel_message;
pub use handler::PeerStorageHandler;
pub(crate) use logger::NoLog;
pub use logger::WarningLogger;
pub use persist::PersistHook;
pub use quiet::QuietHandler;
pub use relay::{MessageRelay, RawMessage, RelayError, RelayStep};
pub use seen::SeenReestablish;
pub use wallet::{AddressBook, ChannelKeys, LdkWallet, ListedChannel, Monitor, Monitors};

use crate::service::PeerStorage;

/// The parts of a node, wrapped. Each may be made at any time and in any number, but there must be
/// one message handler alone.
impl PeerStorage {
    /// Wraps the node's channel message handler, usually its `ChannelManager`.
    pub fn message_handler<H: Deref>(&self, inner: H) -> PeerStorageHandler<H>
    where
        H::Target: ChannelMessageHandler,
    {
        PeerStorageHandler::new(self.engine().clone(), inner)
    }

    /// Wraps the node's broadcaster.
    pub fn broadcaster<B: Deref>(&self, inner: B) -> GuardedBroadcaster<B>
    where
        B::Target: BroadcasterInterface,
    {
        GuardedBroadcaster::new(self.engine().clone(), inner)
    }

    /// Wraps the persister of the node's channel monitors.
    pub fn persister<P>(&self, inner: P) -> PersistHook<P> {
        PersistHook::new(self.engine().clone(), inner)
    }

    /// Wraps the node's logger.
    pub fn logger<L>(&self, inner: L) -> WarningLogger<L> {
        WarningLogger::new(self.engine().clone(), inner)
    }
}
