//! What the exchange asks of its host.

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;

use super::connection::ConnectionId;
use super::record::Record;
use crate::backup::{Snapshot, Tier};

/// One thing to do. The host does them in the order given, and each [`Action::Persist`] is durable
/// before anything after it is done: a generation leaves the device only after it is durable here
/// (safety rule 5), and a returned blob is stored before it can be overwritten (rule 2).
#[derive(Clone, Debug)]
pub enum Action {
    /// Make it durable.
    Persist(Record),
    /// Seal this part of the snapshot into a blob of at most `capacity` bytes and send it to the
    /// peer as `peer_storage` (type 7), on this connection alone: the next one has to read back first
    /// (safety rule 1). See [`Exchange::connection`](super::Exchange::connection).
    Push {
        /// To whom.
        peer: PublicKey,
        /// On which connection.
        connection: ConnectionId,
        /// What.
        snapshot: Arc<Snapshot>,
        /// How much of it.
        tier: Tier,
        /// The largest size of the sealed blob, in bytes.
        capacity: usize,
    },
    /// Read the monitors of the live channels and after them the live state, and hand both in: the state
    /// with [`Exchange::wallet_changed`](super::Exchange::wallet_changed), then the monitors with
    /// [`Exchange::monitors_read`](super::Exchange::monitors_read), with none where they cannot be read.
    /// A backup waits for it, so it comes soon; but it waits for no record, and nothing waits behind it.
    ReadMonitors,
    /// Send a BOLT #1 `warning`.
    Warn {
        /// To whom.
        peer: PublicKey,
        /// Why.
        text: String,
    },
}
