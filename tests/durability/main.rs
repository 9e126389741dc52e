//! Nothing that was accepted is lost: power cuts, disks that fail at any write, `kill -9`, and files of
//! earlier schemas.
//!
//! Each of the random tests does it a hundred times, with `PEER_STORAGE_CRASHES=N` (`cargo xtask crash --times N`) N
//! times. A failure names its seed; `PEER_STORAGE_SEED=N` begins with that one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod after_loss;
#[path = "../support/clock.rs"]
mod clock;
mod faults;
mod faulty_disk;
mod killing;
mod kills;
mod node;
mod notices;
mod opening;
mod power_loss;
#[path = "../simulation/random.rs"]
mod random;
#[path = "../store_support/mod.rs"]
mod store_support;
mod times;
mod upgrade;
