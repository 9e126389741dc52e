//! A broadcaster that publishes no stale state.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use bitcoin::Transaction;
use lightning::chain::chaininterface::BroadcasterInterface;

use crate::service::Engine;

/// Passes transactions on, but while an alarm stands none that spends the funding output of a
/// channel, and no package with such a one: it could be a revoked commitment (safety rule 6). The same
/// before [`attach`](crate::service::PeerStorage::attach), so a wallet that never attaches cannot go on
/// chain, and for a channel of which the person has said that its peer is wrong, until that peer
/// agrees.
///
/// Made by [`PeerStorage::broadcaster`](crate::service::PeerStorage::broadcaster) around the node's
/// own, and given to `ChannelManager`, `ChainMonitor` and bump handlers in its place. What it drops
/// of a force close LDK offers again by itself, at the latest with the next blocks; a cooperative close
/// it hands over once, and the peer has the transaction as well.
pub struct GuardedBroadcaster<B: Deref>
where
    B::Target: BroadcasterInterface,
{
    inner: B,
    engine: Arc<Engine>,
    dropped: AtomicU64,
}

impl<B: Deref> GuardedBroadcaster<B>
where
    B::Target: BroadcasterInterface,
{
    pub(crate) fn new(engine: Arc<Engine>, inner: B) -> Self {
        GuardedBroadcaster {
            inner,
            engine,
            dropped: AtomicU64::new(0),
        }
    }

    /// How many transactions were not published because of an alarm.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl<B: Deref> BroadcasterInterface for GuardedBroadcaster<B>
where
    B::Target: BroadcasterInterface,
{
    fn broadcast_transactions(&self, txs: &[&Transaction]) {
        if spends_what_is_held(&self.engine, txs.iter().copied()) {
            self.dropped.fetch_add(txs.len() as u64, Ordering::Relaxed);
            log::warn!(
                "{} transactions that spend a funding output are held back",
                txs.len()
            );
            return;
        }
        self.inner.broadcast_transactions(txs);
    }
}

/// Whether a package spends an output that must not be spent now.
pub(super) fn spends_what_is_held<'a>(
    engine: &Engine,
    package: impl Iterator<Item = &'a Transaction>,
) -> bool {
    let mut inputs = package.flat_map(|tx| &tx.input);
    inputs.any(|input| engine.forbids_spend_of(&input.previous_output))
}

impl<B: Deref> fmt::Debug for GuardedBroadcaster<B>
where
    B::Target: BroadcasterInterface,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedBroadcaster")
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}
