//! From a lost phone to coins in the wallet, with real nodes, real peers and a real chain.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_chain;
mod bad_input;
mod by_script;
mod consent;
mod contained;
#[cfg(feature = "esplora")]
mod esplora;
mod everything;
mod given_up;
mod implementations;
mod kills;
mod late;
mod left;
mod limits;
mod listened;
mod naming;
mod odd_peers;
mod odd_source;
mod payments;
mod splices;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod trouble;
