//! Nothing that was accepted is lost: power cuts, disks that fail at any write, `kill -9`, and files of
//! earlier schemas.
//!
//! `PEER_STORAGE_CRASHES=N` (`cargo xtask crash --times N`) has each of the random tests do it N times
//! instead of a few. A failure names its seed; `PEER_STORAGE_SEED=N` begins with that one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod after_loss;
#[path = "../support/clock.rs"]
mod clock;
mod faults;
mod faulty_disk;
mod kills;
mod node;
mod opening;
mod power_loss;
#[path = "../simulation/random.rs"]
mod random;
#[path = "../store_support/mod.rs"]
mod store_support;
mod times;
mod upgrade;
