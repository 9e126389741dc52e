//! The relay for nodes that are not in Rust: real LDK nodes whose messages all go through it as bytes.
//!
//! In these tests each wallet has an app's hooks and a relay where the wallets of `end_to_end` have
//! decorators, and lives through the same stories.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../end_to_end"]
mod end_to_end {
    mod everyday;
    mod lost_and_found;
    mod monitors;
    mod ordering;
    mod quiet;
    mod stale_state;
    mod stock_peer;
}
mod mixed;
#[path = "../support/mod.rs"]
mod support;
