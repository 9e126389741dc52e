//! Lightning peers keep each other's encrypted backups (BOLT #1 peer storage), for LDK wallets.
//!
//! A wallet's channels live on one device; the seed words alone bring no channel back. BOLT #1 lets
//! peers keep a small encrypted blob for each other: `peer_storage` (type 7) hands it over,
//! `peer_storage_retrieval` (type 9) returns it at the start of each connection. Every node is both
//! *owner* (its backup lies at its peers) and *storer* (it keeps theirs). This crate does both inside
//! a node built on LDK 0.2.
//!
//! ```text
//! owner:   wallet state ─▶ ldk::LdkWallet ─▶ backup (tiers, seal) ─▶ exchange ─▶ ldk::handler ─▶ peer
//! storer:  peer ─▶ ldk::handler ─▶ exchange ─▶ store ... at the next connection: store ─▶ peer
//! restore: peer ─▶ session ─▶ backup (open) ─▶ the newest of all that answer ─▶ recovery ─▶ chain
//! phone:   facts of the app ─▶ lifecycle ─▶ storage and session, open or not at all
//! ```
//!
//! Start at [`PeerStorage`], and at [`ldk`] for how it is put round a node; at [`Session`] where the node
//! cannot be extended; at [`Lifecycle`] in an app on a phone; at [`Recovery`] where all is lost. The other
//! modules are the parts it is made of, and can be used without it:
//!
//! * [`backup`]: what is backed up, and how it stands on the wire. Pure.
//! * [`exchange`]: the protocol, both sides, as a state machine without I/O or clock.
//! * [`store`]: the SQLite database. The only SQL.
//! * [`ldk`]: the decorators of an LDK node.
//! * [`service`]: [`PeerStorage`], which ties them together.
//! * [`session`]: a quiet node over TCP, where no node of the wallet runs: reads back, restores, pushes.
//! * [`lifecycle`]: an app's comings and goings, for wallets on phones. What the bindings for Kotlin and Swift
//!   are made of.
//! * [`recovery`]: from a restored backup to swept coins. With the feature `esplora` (off by default) it
//!   sees the chain through an Esplora server.
//!
//! # What the app has to say
//!
//! A data directory that is opened for the first time does not know its past, and pushes nothing to
//! anyone: what it does not know could be overwritten. So the app says, once, what it is:
//!
//! * [`PeerStorage::declare_new`]: the wallet was just created, no backup of it exists;
//! * [`PeerStorage::adopt`]: the wallet is alive on this device, only the directory is new;
//! * [`PeerStorage::finish_restore`]: everything was lost, and what the peers returned
//!   ([`PeerStorage::restore_report`]) is taken.
//!
//! With a peer that it has no channel with, a node waits up to 30 seconds for an old backup before it
//! pushes; with one that it has a channel with, for the peer's 9 or `channel_reestablish`. So the
//! first backup after opening a first channel leaves half a minute after the connection was made, or
//! at the next connection.
//!
//! # What the app is told
//!
//! [`PeerStorage::status`] is what a wallet can show. [`Event`](exchange::Event)s are durable and told
//! until they are acknowledged. An [`Alarm`](exchange::Alarm) stands until it is resolved; one of stale
//! channel state holds all channels, since using old state can cost all funds of a channel.

// The tests of the session use what the tests outside of the crate use.
#[cfg(test)]
extern crate self as ldk_peer_storage;

pub mod backup;
pub mod exchange;
pub mod ldk;
pub mod lifecycle;
mod locks;
pub mod recovery;
pub mod service;
pub mod session;
pub mod store;

pub use lifecycle::Lifecycle;
pub use recovery::Recovery;
pub use service::PeerStorage;
pub use session::Session;
