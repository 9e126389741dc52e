//! Which peers are asked to close, in this round and in the next.

use std::collections::BTreeMap;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::types::ChannelId;

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
            due.push((peer, open, naming, way));
        }
        let answers: Vec<_> = std::thread::scope(|scope| {
            let asked: Vec<_> = due
                .iter()
                .map(|(peer, _, naming, way)| scope.spawn(|| asker.ask(peer, naming.clone(), *way)))
                .collect();
            // One that has panicked was not reached.
            asked.into_iter().map(|thread| thread.join().ok()).collect()
        });
        for ((peer, open, _, way), answer) in due.into_iter().zip(answers) {
            let peer = peer.node_id;
            let named = answer.as_ref().and_then(|answer| answer.named.as_ref());
            if let Some(named) = named {
                self.hear(&open, named, known);
            }
            match answer.map(|answer| answer.asked) {
                Some(Ok(())) => {
                    if self.journal.attempts(&peer).unreached.is_some() {
                        self.take(Step::Reached { peer })?;
                    }
                    self.tell(RecoveryEvent::Asked { peer, way });
                }
                Some(Err(why)) => self.not_asked(peer, Some(why))?,
                None => self.not_asked(peer, None)?,
            }
        }
        Ok(())
    }

    fn not_asked(&mut self, peer: PublicKey, why: Option<NotAsked>) -> Result<(), RecoveryError> {
        let at = self.clock.now();
        self.take(Step::NotReached { peer, at })?;
        let unreached = self.journal.attempts(&peer).unreached;
        let times = unreached.map_or(1, |(times, _)| times);
        let why = match why {
            Some(NotAsked::NotNamed) => {
                self.tell(RecoveryEvent::NotNamed { peer, times });
                return Ok(());
            }
            Some(why) => why.to_string(),
            None => "the attempt failed".to_owned(),
        };
        self.tell(RecoveryEvent::NotReached { peer, times, why });
        Ok(())
    }

    /// A peer has named its channels. One of which something was found that may be its close, and that it
    /// does not name any more, it is believed to have closed.
    fn hear(&mut self, open: &[&Seen], named: &[ChannelId], known: &Known) {
        for seen in open.iter().filter(|seen| seen.by_script()) {
            let Some(close) = &seen.close else {
                continue;
            };
            let heard = (seen.target.peer, close.tx.compute_txid());
            match may_be_among(&seen.target, named, known) {
                true => self.unnamed.remove(&heard),
                false => self.unnamed.insert(heard),
            };
        }
    }

    /// Whether a close that was found by our scripts may end its channel: the peer was heard since and no
    /// longer names it, or there is nothing by which it could be asked for it.
    pub(super) fn may_end(&self, seen: &Seen, view: &View, known: &Known) -> bool {
        if !seen.by_script() || seen.given_up || self.is_unnamed(seen) {
            return true;
        }
        let peer = seen.target.peer;
        let open = self.open_channels(view);
        let mut open = open.iter();
        let asked = open.find(|(record, _)| record.node_id == peer);
        asked.is_none_or(|(_, open)| self.naming(&peer, open, known).candidates().is_empty())
    }

    fn is_unnamed(&self, seen: &Seen) -> bool {
        let close = seen.close.as_ref().map(|close| close.tx.compute_txid());
        close.is_some_and(|txid| self.unnamed.contains(&(seen.target.peer, txid)))
    }

    /// What a peer's channels are called, as far as it matters for asking for these.
    fn naming(&self, peer: &PublicKey, open: &[&Seen], known: &Known) -> Naming {
        let mut naming = Naming::default();
        let of_peer = |target: &&Target| target.peer == *peer;
        for target in self.journal.targets.iter().filter(of_peer) {
            naming.add(&target.ids, !self.journal.is_given_up(target));
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

    /// The channels that are still open, by peer, and those that may be: of which there is no more than
    /// something that was found by our scripts.
    fn open_channels<'a>(&self, view: &'a View) -> Vec<(PeerRecord, Vec<&'a Seen>)> {
        let mut by_peer: BTreeMap<PublicKey, (PeerRecord, Vec<&Seen>)> = BTreeMap::new();
        let open = view.channels.iter().filter(|seen| {
            let is_open = seen.close.is_none() || seen.by_script() && !self.is_unnamed(seen);
            seen.in_view && is_open && !seen.given_up && !self.journal.has_ended(&seen.target)
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

/// Whether a channel may be one of those that its peer has named. One that is known by no id may be any
/// that the backup does not know as another.
fn may_be_among(target: &Target, named: &[ChannelId], known: &Known) -> bool {
    if let Some(id) = target.ids.derived_channel_id() {
        return named.contains(&id);
    }
    let others = known.channels.iter();
    let others = others.filter(|channel| channel.counterparty == target.peer);
    let others: Vec<_> = others.filter_map(|c| c.ids.derived_channel_id()).collect();
    named.iter().any(|id| !others.contains(id))
}
