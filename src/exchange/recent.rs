//! What is remembered of peers for a while. Identities cost a stranger nothing, so whatever has aged out
//! has to go.

use std::collections::btree_map::{BTreeMap, Entry};

use bitcoin::secp256k1::PublicKey;

/// Below this nothing is looked through.
const FEW: usize = 64;

/// A value for each peer that came lately. There are at most twice as many as have not aged out, and
/// each insertion costs little on average.
#[derive(Debug)]
pub(super) struct Recent<V> {
    entries: BTreeMap<PublicKey, V>,
    /// With so many entries, those that have aged out are dropped.
    prune_at: usize,
}

impl<V> Recent<V> {
    pub fn new() -> Self {
        Recent {
            entries: BTreeMap::new(),
            prune_at: FEW,
        }
    }

    pub fn get(&self, peer: &PublicKey) -> Option<&V> {
        self.entries.get(peer)
    }

    pub fn get_mut(&mut self, peer: &PublicKey) -> Option<&mut V> {
        self.entries.get_mut(peer)
    }

    /// Adds or replaces. `is_recent`: whether a value still says something.
    pub fn insert(
        &mut self,
        peer: PublicKey,
        value: V,
        mut is_recent: impl FnMut(&PublicKey, &mut V) -> bool,
    ) -> &mut V {
        if self.entries.len() >= self.prune_at {
            self.entries.retain(|peer, value| is_recent(peer, value));
            self.prune_at = FEW.max(2 * self.entries.len());
        }
        match self.entries.entry(peer) {
            Entry::Occupied(mut entry) => {
                entry.insert(value);
                entry.into_mut()
            }
            Entry::Vacant(entry) => entry.insert(value),
        }
    }
}
