//! The program as people and scripts run it: real processes, real peers, a real chain.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// `args!` makes a Vec also where an array would do.
#![allow(clippy::useless_vec)]

mod backups;
mod consent;
mod documented;
mod input;
#[path = "../../../tests/durability/killing.rs"]
mod killing;
mod kills;
mod program;
#[allow(dead_code)]
#[path = "../../../tests/simulation/random.rs"]
mod random;
mod recover;
#[allow(dead_code)]
#[path = "../../../tests/recovery/stage.rs"]
mod stage;
mod storer;
#[path = "../../../tests/support/mod.rs"]
mod support;
mod terminal;
#[path = "../../../tests/durability/times.rs"]
mod times;
