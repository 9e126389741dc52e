//! Which peers are asked to close, in this round and in the next.

use std::collections::BTreeMap;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;

use super::{Seen, View, POLL};
use crate::backup::PeerRecord;
use crate::exchange::Known;
use crate::recovery::ask::Asker;
use crate::recovery::journal::{Step, Target};
use crate::recovery::naming::Naming;
use crate::recovery::planning::called;
use crate::recovery::schedule;
use crate::recovery::{Recovery, RecoveryError, RecoveryEvent};
use crate::session::{NotAsked, Session};

impl Recovery {
    /// Asks each peer with an open channel that is due, all at the same time.
    pub(super) fn ask_peers(
        &mut self,
        view: &View,
        known: &Known,
        session: &Session,
    ) -> Result<(), RecoveryError> {
        let stay = self.stay;
        let asker = Asker { session, stay };
        let now = self.clock.now();
        let mut due = Vec::new();
        for (peer, open) in self.open_channels(view) {
            let (way, at) = schedule::next(&self.journal.attempts(&peer.node_id));
            let naming = self.naming(&peer.node_id, &open, known);
            if at.is_some_and(|at| now < at) || naming.candidates().is_empty() {
                continue;
            }
            self.take(Step::Asking {
                peer: peer.node_id,
                way,
                at: now,
            })?;
            due.push((peer, naming, way));
        }
        let answers: Vec<_> = std::thread::scope(|scope| {
            let asked: Vec<_> = due
                .iter()
                .map(|(peer, naming, way)| scope.spawn(|| asker.ask(peer, naming.clone(), *way)))
                .collect();
            // One that has panicked was not reached.
            asked.into_iter().map(|thread| thread.join().ok()).collect()
        });
        for ((peer, _, way), answer) in due.into_iter().zip(answers) {
            let peer = peer.node_id;
            let not_asked = match answer {
                Some(Ok(())) => {
                    if self.journal.attempts(&peer).unreached.is_some() {
                        self.take(Step::Reached { peer })?;
                    }
                    self.tell(RecoveryEvent::Asked { peer, way });
                    continue;
                }
                Some(Err(why)) => Some(why),
                None => None,
            };
            let at = self.clock.now();
            self.take(Step::NotReached { peer, at })?;
            let unreached = self.journal.attempts(&peer).unreached;
            let times = unreached.map_or(1, |(times, _)| times);
            self.tell(match not_asked {
                Some(NotAsked::NotNamed) => RecoveryEvent::NotNamed { peer, times },
                Some(why) => {
                    let why = why.to_string();
                    RecoveryEvent::NotReached { peer, times, why }
                }
                None => {
                    let why = "the attempt failed".to_owned();
                    RecoveryEvent::NotReached { peer, times, why }
                }
            });
        }
        Ok(())
    }

    /// What a peer's channels are called, as far as it matters for asking for these.
    fn naming(&self, peer: &PublicKey, open: &[&Seen], known: &Known) -> Naming {
        let mut naming = Naming::default();
        let of_peer = |target: &&Target| target.peer == *peer;
        for target in self.journal.targets.iter().filter(of_peer) {
            naming.add(&target.ids, !self.journal.is_given_up(&target.ids));
        }
        for channel in known.channels.iter().filter(|c| c.counterparty == *peer) {
            let mut targets = self.journal.targets.iter().filter(of_peer);
            if !targets.any(|target| target.ids.matches(&channel.ids)) {
                naming.add(&channel.ids, false);
            }
        }
        for seen in open {
            naming.ask_for(&seen.target.ids, called(seen.funding));
        }
        naming
    }

    /// The channels that are still open, by peer.
    fn open_channels<'a>(&self, view: &'a View) -> Vec<(PeerRecord, Vec<&'a Seen>)> {
        let mut by_peer: BTreeMap<PublicKey, (PeerRecord, Vec<&Seen>)> = BTreeMap::new();
        let open = view.channels.iter().filter(|seen| {
            seen.in_view && seen.close.is_none() && !self.has_ended(&seen.target.ids)
        });
        for seen in open {
            let record = seen.target.peer_record();
            let entry = by_peer.entry(record.node_id);
            let (_, channels) = entry.or_insert_with(|| (record, Vec::new()));
            channels.push(seen);
        }
        by_peer.into_values().collect()
    }

    pub(super) fn next_round_in(&self, view: &View) -> Duration {
        let now = self.clock.now();
        let due = self.open_channels(view).into_iter().map(|(peer, _)| {
            let (_, at) = schedule::next(&self.journal.attempts(&peer.node_id));
            at.map_or(Duration::ZERO, |at| at.since(now))
        });
        due.min().unwrap_or(POLL).min(POLL)
    }
}
