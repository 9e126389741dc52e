//! From a lost phone to coins in the wallet, with real nodes, real peers and a real chain.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod consent;
mod everything;
mod kills;
mod payments;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod trouble;
