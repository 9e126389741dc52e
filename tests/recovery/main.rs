//! From a lost phone to coins in the wallet, with real nodes, real peers and a real chain.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_chain;
mod consent;
mod everything;
mod implementations;
mod kills;
mod late;
mod limits;
mod naming;
mod odd_source;
mod listened;
mod payments;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod trouble;
