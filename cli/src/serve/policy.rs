//! From the command line to the quotas.

use ldk_peer_storage::exchange::{Guests, StoragePolicy};

use super::Args;

/// For so many nodes, unless said otherwise.
const PEERS: usize = 100;

/// All of them are guests: there are no channels here.
pub fn storage(args: &Args) -> StoragePolicy {
    let peers = args.peers.unwrap_or(PEERS.max(args.allow.len()));
    StoragePolicy {
        guests: match args.anyone {
            true => Guests::Anyone,
            false => Guests::Listed(args.allow.iter().copied().collect()),
        },
        guest_blob_bytes: args.backup_bytes,
        guest_count: peers,
        guest_total_bytes: args
            .total_bytes
            .unwrap_or(peers.saturating_mul(args.backup_bytes)),
        ..StoragePolicy::default()
    }
}
