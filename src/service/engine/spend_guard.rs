//! Which outputs must not be spent now: what the guarded broadcaster asks (safety rule 6).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::RwLock;

use bitcoin::OutPoint;

use crate::backup::ChannelRecord;
use crate::exchange::Exchange;
use crate::locks::{read, write};

/// A copy of what the exchange thinks of spending, for a broadcaster that must not wait for its lock.
#[derive(Default)]
pub(super) struct SpendGuard {
    /// A copy of [`Exchange::holding`].
    holding: AtomicBool,
    /// The live state was compared with our records. Until then nobody knows whether it is stale.
    compared: AtomicBool,
    /// Funding outputs of all channels ever seen here.
    funding: RwLock<BTreeSet<OutPoint>>,
    /// Of these, those of disputed channels: not to be spent, alarm or no alarm.
    disputed: RwLock<BTreeSet<OutPoint>>,
}

impl SpendGuard {
    pub fn new(exchange: &Exchange) -> Self {
        let guard = SpendGuard::default();
        guard.follow(exchange);
        if let Some(snapshot) = exchange.snapshot() {
            guard.learn(&snapshot.channels);
        }
        guard
    }

    /// | compared | alarm | not to be spent |
    /// |---|---|---|
    /// | no | no | funding outputs: LDK may want to go on chain while it loads, with a state that was not compared with our records yet |
    /// | no | yes | anything: the alarm may be about a channel that no record of ours names |
    /// | yes | yes | funding outputs |
    /// | yes | no | those of disputed channels |
    pub fn forbids(&self, outpoint: &OutPoint) -> bool {
        let compared = self.compared.load(Ordering::SeqCst);
        match (compared, self.holding()) {
            (false, true) => true,
            (false, false) | (true, true) => read(&self.funding).contains(outpoint),
            (true, false) => read(&self.disputed).contains(outpoint),
        }
    }

    pub fn holding(&self) -> bool {
        self.holding.load(Ordering::SeqCst)
    }

    /// Takes over what the exchange thinks now. Whether it has just ceased to hold.
    pub fn follow(&self, exchange: &Exchange) -> bool {
        // First, so that before an alarm ends its channel is guarded by itself.
        let disputed = exchange.disputed_funding();
        if *read(&self.disputed) != disputed {
            *write(&self.disputed) = disputed;
        }
        let holding = exchange.holding();
        self.holding.swap(holding, Ordering::SeqCst) && !holding
    }

    pub fn live_state_was_compared(&self) {
        self.compared.store(true, Ordering::SeqCst);
    }

    /// The node is let go of: nothing will be compared any more, and what was known to be stale stays
    /// held.
    pub fn node_has_gone(&self) {
        if !self.holding() {
            self.live_state_was_compared();
        }
    }

    pub fn learn(&self, channels: &[ChannelRecord]) {
        let outpoints = channels.iter().filter_map(|c| c.ids.funding_outpoint);
        write(&self.funding).extend(outpoints);
    }

    pub fn learn_outpoint(&self, outpoint: OutPoint) {
        write(&self.funding).insert(outpoint);
    }
}
