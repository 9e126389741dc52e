//! Real LDK nodes with peer storage in them, for the end-to-end tests and the example.
//!
//! [`Wallet`] is a test kit node with everything wrapped as an integrator would do it, and
//! [`QuietNode`] one that only reads back.

// Each user needs a part of it, and test code fails by panicking.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

mod chain_source;
mod clock;
mod hook;
mod quiet_node;
mod remote_source;
mod wallet;
mod watch;

pub use chain_source::{OwnChainSource, SUBMITTER};
pub use clock::ManualClock;
pub(crate) use hook::for_each_message;
pub use hook::{batch_messages, deliver, event, no_updates, on_the_wire, raw, read, Hook, Want};
pub use quiet_node::QuietNode;
pub use remote_source::RemoteSource;
pub use wallet::{keys, Begin, Built, Wallet, WalletConfig};
pub use watch::{
    assert_quiet, backup_key, kept_for, of_peer, read_monitor, take_events, wait_pushes_arrived,
    QUIET,
};
