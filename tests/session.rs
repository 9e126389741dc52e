//! The session: a quiet node over TCP, against real nodes and against bad ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "session/bad_peers.rs"]
mod bad_peers;
#[path = "session/cable.rs"]
mod cable;
#[path = "session/delivery.rs"]
mod delivery;
#[path = "session/reading.rs"]
mod reading;
#[path = "session/restore.rs"]
mod restore;
#[path = "session/stage.rs"]
mod stage;
#[path = "support/mod.rs"]
mod support;
#[path = "session/turns.rs"]
mod turns;
