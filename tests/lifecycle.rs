//! The lifecycle: what is alive when, against real storers over TCP and a real clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "lifecycle/background.rs"]
mod background;
#[allow(dead_code)] // The tests of the session use the rest of it.
#[path = "session/cable.rs"]
mod cable;
#[path = "lifecycle/calls.rs"]
mod calls;
#[path = "lifecycle/children.rs"]
mod children;
#[path = "lifecycle/node_start.rs"]
mod node_start;
#[path = "lifecycle/random.rs"]
mod random;
#[path = "lifecycle/resume.rs"]
mod resume;
#[path = "lifecycle/stage.rs"]
mod stage;
#[path = "support/mod.rs"]
mod support;
