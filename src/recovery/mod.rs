//! From a restored snapshot to swept coins.
//!
//! [`chain`] is how a recovery sees the chain.

pub mod chain;
