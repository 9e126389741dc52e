//! The relay, call by call: what goes in, and the steps that come out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod bench;
mod gates;
mod originals;
mod same_order;
#[path = "../support/mod.rs"]
mod support;
