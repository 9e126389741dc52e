//! [`ldk_peer_storage`] for Kotlin and Swift, by UniFFI: the app's lifecycle in, backups at its peers out.
//!
//! Conversions and nothing else: what happens is in the core ([`ldk_peer_storage::lifecycle`]). The
//! documentation of each item becomes that of the Kotlin and Swift ones, so it names no Rust.
//!
//! * `opening` the way to `peer_storage`, the object that an app has; `secret` from the seed to its identity; `config`;
//! * `wallet`, `monitors` what the app reports; `status`, `alarms`, `events`, `reports`, `visits` what it is told;
//! * `recovery` (with `recovery_plan`, `recovery_progress`, `recovery_events`, `recovery_errors`), `chain` from a
//!   restored backup to swept coins: the feature `recovery`, and with `esplora` also through a server;
//! * `relay` for a node whose messages can be hooked;
//! * `runtime` on which threads work is done; `callbacks`, `subscriptions`, `logging` on which the app is called;
//! * `errors`; `parse` what is checked before anything behind it sees it; `private` what is not printed.
//!
//! `bindings/api.txt` lists all of it; `cargo xtask bindings` generates Kotlin and Swift.

// UniFFI's scaffolding is full of it; nothing written here is.
#![allow(unsafe_code)]
// With all features every private item has its use; with fewer some wait for the others.
#![cfg_attr(not(feature = "esplora"), allow(dead_code))]

pub mod alarms;
pub mod callbacks;
#[cfg(feature = "recovery")]
pub mod chain;
pub mod config;
#[cfg(all(test, feature = "recovery"))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod converted;
pub mod errors;
pub mod events;
pub mod logging;
#[cfg(feature = "monitors")]
pub mod monitors;
pub mod opening;
mod parse;
pub mod peer_storage;
mod private;
#[cfg(feature = "recovery")]
pub mod recovery;
#[cfg(feature = "recovery")]
mod recovery_errors;
#[cfg(feature = "recovery")]
pub mod recovery_events;
#[cfg(feature = "recovery")]
pub mod recovery_plan;
#[cfg(feature = "recovery")]
pub mod recovery_progress;
pub mod relay;
pub mod reports;
mod runtime;
pub mod secret;
pub mod status;
pub mod subscriptions;
pub mod visits;
pub mod wallet;

pub use callbacks::CallbackError;
pub use peer_storage::PeerStorage;

uniffi::setup_scaffolding!("peer_storage");
