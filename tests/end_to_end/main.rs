//! Real LDK nodes over TCP, with a real chain and real databases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod everyday;
mod lost_and_found;
mod monitors;
mod ordering;
mod quiet;
mod stale_state;
mod stock_peer;
#[path = "../support/mod.rs"]
mod support;
