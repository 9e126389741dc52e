//! The chains that the tests build, checked by Bitcoin Core's own consensus code.
//!
//! The test kit's chain is quick, and believes much of what it is told. So each test that uses it
//! leaves a file with every block, and here Bitcoin Core replays them: scripts, amounts, relative
//! and absolute locktimes, coinbase maturity. What Core would not accept on a real chain did not
//! pass the test either.
//!
//! This stands apart from the test kit, and reads files, because the consensus library takes
//! minutes to build and cannot be linked together with `bitcoinconsensus`.

mod chain_file;
mod core_log;
mod replay;

pub use chain_file::{ChainFile, FormatError, EXTENSION};
pub use replay::{replay, Accepted, Refusal};

#[cfg(test)]
mod tests;
