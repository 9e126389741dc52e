//! By which ids a peer is asked to close channels (safety rule 10; `docs/adr/0016`). Pure.
//!
//! A small backup knows a channel by its place in the chain alone, and only a chain source tells which
//! id that is. If it lies, that is the id of another channel with the same peer. So what the chain says
//! is never enough:
//!
//! * an id that stands in the backup, or that the person agreed to as it is, names the channel that it
//!   names;
//! * one that the chain has told is used only if the peer itself names it on this very connection, no
//!   other channel is known by it, and whatever channel it may be in truth is one that the person has
//!   agreed to: all channels with the peer that are known by their place alone are agreed to, and the
//!   peer names no more unknown ids than there are of them.

use std::collections::BTreeSet;

use lightning::ln::types::ChannelId;

use crate::backup::ChannelIds;

/// What is known of the names of the channels with one peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Naming {
    /// Of the channels to ask for: ids that need no chain.
    own: BTreeSet<ChannelId>,
    /// Of the channels to ask for: what the chain says that they are called.
    told_by_chain: BTreeSet<ChannelId>,
    /// The ids of all channels that are known by one, agreed to or not.
    known: BTreeSet<ChannelId>,
    /// So many channels are agreed to that are known by their place alone.
    agreed_by_place: usize,
    /// Such a channel was not agreed to.
    beyond_consent: bool,
}

impl Naming {
    /// A channel with the peer.
    pub fn add(&mut self, ids: &ChannelIds, is_agreed: bool) {
        match ids.derived_channel_id() {
            Some(id) => {
                self.known.insert(id);
            }
            None if is_agreed => self.agreed_by_place += 1,
            None => self.beyond_consent = true,
        }
    }

    /// A channel with the peer that was agreed to and is to be asked for. `by_chain`: what the chain says
    /// that it is called.
    pub fn ask_for(&mut self, ids: &ChannelIds, by_chain: Option<ChannelId>) {
        match ids.derived_channel_id() {
            Some(id) => self.own.insert(id),
            None => by_chain.is_some_and(|id| self.told_by_chain.insert(id)),
        };
    }

    /// All that the peer may be asked for, if it names it.
    pub fn candidates(&self) -> Vec<ChannelId> {
        let told = self.told_by_chain.difference(&self.known);
        self.own.iter().chain(told).copied().collect()
    }

    /// Whether the peer may be asked for a channel by this id, when it has named these.
    pub fn may_ask(&self, id: &ChannelId, named: &[ChannelId]) -> bool {
        let unknown = named.iter().filter(|id| !self.known.contains(*id));
        let is_surely_agreed = !self.beyond_consent && unknown.count() <= self.agreed_by_place;
        let by_chain = || self.told_by_chain.contains(id) && !self.known.contains(id);
        self.own.contains(id) || by_chain() && named.contains(id) && is_surely_agreed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(n: u8) -> ChannelId {
        ChannelId([n; 32])
    }

    fn by_place(place: u64) -> ChannelIds {
        ChannelIds {
            short_channel_id: Some(place),
            ..ChannelIds::default()
        }
    }

    fn by_id(n: u8) -> ChannelIds {
        ChannelIds {
            channel_id: Some(id(n)),
            ..ChannelIds::default()
        }
    }

    /// One channel that is known by its place, agreed to; the chain says that it is the first.
    fn one() -> Naming {
        let mut naming = Naming::default();
        naming.add(&by_place(7), true);
        naming.ask_for(&by_place(7), Some(id(1)));
        naming
    }

    #[test]
    fn an_id_of_the_backup_needs_no_chain_and_no_word_of_the_peer() {
        let mut naming = Naming::default();
        naming.add(&by_id(1), true);
        naming.add(&by_id(2), false);
        naming.ask_for(&by_id(1), None);
        assert_eq!(naming.candidates(), [id(1)]);
        assert!(naming.may_ask(&id(1), &[]));
        assert!(!naming.may_ask(&id(2), &[id(1), id(2)]));
    }

    #[test]
    fn an_id_that_the_chain_told_is_used_only_if_the_peer_names_it() {
        let naming = one();
        assert!(naming.may_ask(&id(1), &[id(1)]));
        assert!(!naming.may_ask(&id(1), &[]));
        assert!(!naming.may_ask(&id(1), &[id(2)]));
        assert!(!naming.may_ask(&id(2), &[id(2)]));
    }

    #[test]
    fn what_the_chain_mixes_up_stays_within_the_consent() {
        // The peer names two, one was agreed to: only the chain says which it is.
        assert!(!one().may_ask(&id(1), &[id(1), id(2)]));
        // The other is known by its id, so the two cannot be mixed up.
        let mut naming = one();
        naming.add(&by_id(2), false);
        assert!(naming.may_ask(&id(1), &[id(1), id(2)]));
        // Nor can the chain say that the one is the other.
        let mut naming = one();
        naming.add(&by_id(1), false);
        assert!(naming.candidates().is_empty());
        assert!(!naming.may_ask(&id(1), &[id(1)]));
        // Another that is known by its place alone was not agreed to.
        let mut naming = one();
        naming.add(&by_place(8), false);
        assert!(!naming.may_ask(&id(1), &[id(1)]));
        // It was.
        let mut naming = one();
        naming.add(&by_place(8), true);
        assert!(naming.may_ask(&id(1), &[id(1), id(2)]));
    }
}
