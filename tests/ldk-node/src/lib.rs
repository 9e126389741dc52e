//! What an app with an ldk-node wallet writes to have it backed up at its peers.
//!
//! ldk-node has no place for a message handler, so the backup is made by a session while the node is
//! stopped: [`stopped`] is what the wallet tells then, and [`back_up`](back_up()) is the session.

mod back_up;
pub mod stopped;

pub use back_up::back_up;
