//! What the tests of this workspace run against: a regtest chain that judges like Bitcoin Core, and
//! complete LDK nodes that talk to each other over real sockets.
//!
//! * [`Chain`]: blocks, a mempool, a faucet, reorganisations. It accepts nothing that Bitcoin Core's
//!   consensus rules refuse, and writes every chain to a file so that another crate can replay it
//!   in Bitcoin Core's own code.
//! * [`EsploraServer`]: that chain behind the HTTP API of Esplora, with faults on demand.
//! * [`Node`]: an LDK node with its data on disk. A test puts code of its own into it through
//!   [`Extension`]; without one it is a stock node.
//! * [`RawPeer`]: a Lightning peer with no channels and no rules, which says what it is told to say.
//! * [`ScriptedPeer`]: Core Lightning, LND or Eclair, as a node sees them that has lost its channels.
//! * [`WireTap`]: every message that a node received and sent, in order.
//! * [`logs`]: a watch on what the crates under test log.
//! * [`wait_until`]: the one way to wait.
//!
//! This crate knows nothing of the crate under test.

// Test code fails by panicking, with a message that says what was expected.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod chain;
pub mod esplora;
mod lock;
pub mod logs;
mod net;
pub mod node;
mod panics;
pub mod raw_peer;
pub mod scripted;
pub mod wait;
pub mod wire;

pub use chain::{Chain, ChainAccess, ChainServer, Position, Rejected, RemoteChain, Spend};
pub use esplora::{EsploraServer, Fault};
pub use node::{
    copy_dir, open_channel, open_channel_pushing, pay, pay_hold, pay_request, request_payment,
    start_payment, wipe, ChannelType, DynBroadcaster, DynFeeEstimator, DynFilter, DynHandler,
    DynLogger, DynPersist, Extension, HeldPayment, KeyDerivation, Node, NodeConfig, NodeParts,
    PaymentRequest, StockNode, TestChainMonitor, TestChannelManager, TestPeerManager,
};
pub use raw_peer::{Outgoing, RawPeer, RawPeerConfig, Received};
pub use scripted::ScriptedPeer;
pub use wait::{wait_until, DEADLINE};
pub use wire::{Direction, WireMessage, WireTap};
