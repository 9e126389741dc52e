//! What an app with an ldk-node wallet writes to have it backed up at its peers.
//!
//! ldk-node has no place for a message handler, so the backup is made by a session while the node is
//! stopped: [`phone`] is the wallet, [`stopped`] is what it tells of its channels then, and [`beside`]
//! is the session.

pub mod beside;
pub mod phone;
pub mod stopped;

pub use beside::{record, Beside};
pub use phone::{Phone, PhoneConfig};
pub use stopped::Stopped;
