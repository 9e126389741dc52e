//! Which peers are asked to close, in this round and in the next.

use std::collections::BTreeMap;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::types::ChannelId;

use super::{Recovery, RecoveryError, RecoveryEvent, Seen, POLL};
use crate::backup::PeerRecord;
use crate::recovery::ask::Asker;
use crate::recovery::journal::Step;
use crate::recovery::schedule;

impl Recovery {
    /// Asks each peer with an open channel that is due, all at the same time.
    pub(super) fn ask_peers(
        &mut self,
        seen: &[Seen],
        asker: &Asker<'_>,
    ) -> Result<(), RecoveryError> {
        let now = self.clock.now();
        let mut due = Vec::new();
        for (peer, channels) in self.open_channels(seen) {
            let (way, at) = schedule::next(&self.journal.attempts(&peer.node_id));
            if at.is_some_and(|at| now < at) {
                continue;
            }
            self.take(Step::Asking {
                peer: peer.node_id,
                way,
                at: now,
            })?;
            due.push((peer, channels, way));
        }
        let answers: Vec<_> = std::thread::scope(|scope| {
            let asked: Vec<_> = due
                .iter()
                .map(|(peer, channels, way)| scope.spawn(|| asker.ask(peer, channels, *way)))
                .collect();
            let failed = || Err("the attempt failed".to_owned());
            asked
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| failed()))
                .collect()
        });
        for ((peer, _, way), answer) in due.into_iter().zip(answers) {
            let peer = peer.node_id;
            match answer {
                Ok(()) => {
                    if self.journal.attempts(&peer).unreached.is_some() {
                        self.take(Step::Reached { peer })?;
                    }
                    self.tell(RecoveryEvent::Asked { peer, way });
                }
                Err(why) => {
                    let at = self.clock.now();
                    self.take(Step::NotReached { peer, at })?;
                    let unreached = self.journal.attempts(&peer).unreached;
                    let times = unreached.map_or(1, |(times, _)| times);
                    self.tell(RecoveryEvent::NotReached { peer, times, why });
                }
            }
        }
        Ok(())
    }

    /// The channels that are still open, by peer.
    fn open_channels(&self, seen: &[Seen]) -> Vec<(PeerRecord, Vec<ChannelId>)> {
        let mut by_peer: BTreeMap<PublicKey, (PeerRecord, Vec<ChannelId>)> = BTreeMap::new();
        let open = seen
            .iter()
            .filter(|seen| seen.close.is_none() && !self.has_ended(&seen.target.ids));
        for seen in open {
            let mut ids = seen.target.ids;
            ids.funding_outpoint = ids.funding_outpoint.or(seen.funding);
            let record = seen.target.peer_record();
            let (_, channels) = by_peer
                .entry(record.node_id)
                .or_insert_with(|| (record, Vec::new()));
            channels.extend(ids.derived_channel_id());
        }
        // Known by nothing that a peer could be asked with.
        by_peer.retain(|_, (_, channels)| !channels.is_empty());
        by_peer.into_values().collect()
    }

    pub(super) fn next_round_in(&self, seen: &[Seen]) -> Duration {
        let now = self.clock.now();
        let due = self.open_channels(seen).into_iter().map(|(peer, _)| {
            let (_, at) = schedule::next(&self.journal.attempts(&peer.node_id));
            at.map_or(Duration::ZERO, |at| at.since(now))
        });
        due.min().unwrap_or(POLL).min(POLL)
    }
}
