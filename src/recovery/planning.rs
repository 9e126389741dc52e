//! From what was read back to a [`Plan`].

use std::collections::BTreeMap;
use std::time::Duration;

use bitcoin::OutPoint;
use lightning::ln::types::ChannelId;

use super::plan::{ChannelState, Claim, KnownBy, LeftOut, Plan, PlannedChannel};
use super::{Recovery, RecoveryError};
use crate::backup::{ChannelIds, ChannelKind, ChannelPhase, ChannelRecord, PeerRecord};
use crate::ldk::SeenReestablish;
use crate::session::{RestoreOutcome, Returned, Session};

/// Of the channels that a peer names and no backup knows, so many are taken into a plan: each costs
/// questions to the chain, and a peer can make them up.
const MOST_NAMED: usize = 32;

impl Recovery {
    /// What could be recovered, from what was read back, what peers have said of their channels (without
    /// a backup it is all there is), and the chain. Closes nothing, changes nothing.
    ///
    /// `asked`: the peers that the person knew of, with their addresses.
    ///
    /// # Errors
    /// Where the chain cannot be seen at all. What it does not tell of a single channel is no error:
    /// [`ChannelState::Unseen`].
    pub fn plan(
        &mut self,
        outcome: &RestoreOutcome,
        asked: &[PeerRecord],
    ) -> Result<Plan, RecoveryError> {
        self.chain.tip()?;
        // Of this plan, not of a round before.
        self.trouble = None;
        self.load_monitors();
        let restored = &outcome.report;
        let peers: Vec<_> = restored.peers.iter().chain(asked).cloned().collect();
        let peers = crate::session::merged(&peers);
        let mut channels = Vec::new();
        let mut called = Vec::new();
        for record in restored.channels.iter().chain(&restored.older_channels) {
            let (channel, by_chain) = self.planned(record, &peers, KnownBy::Backup)?;
            called.push((channel.peer, by_chain));
            channels.push(channel);
        }
        let mut named: BTreeMap<_, usize> = BTreeMap::new();
        let visits = outcome.peers.iter().filter_map(|p| p.outcome.as_ref().ok());
        for seen in visits.flat_map(|visit| &visit.channels) {
            let record = record_of(seen);
            // A peer speaks for its own channels alone.
            let mut of_peer = channels.iter().filter(|c| c.peer == seen.peer);
            if of_peer.any(|channel| channel.ids.matches(&record.ids))
                || called.contains(&(seen.peer, Some(seen.channel_id)))
            {
                continue;
            }
            let named = named.entry(seen.peer).or_default();
            *named += 1;
            if *named <= MOST_NAMED {
                let (channel, _) = self.planned(&record, &peers, KnownBy::Peer)?;
                channels.push(channel);
            }
        }
        let left_out = |(peer, named): (_, usize)| {
            let channels = named.saturating_sub(MOST_NAMED);
            (channels > 0).then_some(LeftOut { peer, channels })
        };
        Ok(Plan {
            wallet: self.identity.node_id(),
            newest: restored.newest,
            channels,
            left_out: named.into_iter().filter_map(left_out).collect(),
            unheard: unheard(outcome, &peers),
            waiting_sat: self.waiting_sat()?,
            trouble: self.trouble.take(),
        })
    }

    /// Reads back once more, from these peers and from those that backups name, and plans with all that
    /// is known by now: also after [`finish_restore`](crate::PeerStorage::finish_restore), and after the
    /// person has agreed. A peer that was away may hold a newer backup that names further channels:
    /// [`agree`](Self::agree) to them as well, and what was agreed to before stays so.
    ///
    /// Where the restore has ended, what is new is merged into the backup, and pushed; and of the peers
    /// heard before only those that answer again count as heard.
    pub fn plan_again(
        &mut self,
        session: &Session,
        asked: &[PeerRecord],
        budget: Duration,
    ) -> Result<Plan, RecoveryError> {
        let outcome = session.read_back(asked, budget);
        self.plan(&outcome, asked)
    }

    /// Also what the chain says that it is called.
    fn planned(
        &mut self,
        record: &ChannelRecord,
        peers: &[PeerRecord],
        known_by: KnownBy,
    ) -> Result<(PlannedChannel, Option<ChannelId>), RecoveryError> {
        let found = self.funding(&record.ids);
        let spent = |funding: Option<OutPoint>| match funding {
            None => Ok(ChannelState::NotFound),
            Some(funding) => Ok(match self.chain.spend_of(&funding)? {
                Some(_) => ChannelState::Closed,
                None => ChannelState::Open,
            }),
        };
        let state = found.clone().and_then(spent);
        let state = match state {
            Ok(state) => state,
            Err(error) => {
                self.troubled(error)?;
                ChannelState::Unseen
            }
        };
        let mut planned = PlannedChannel::new(record, peers, state, known_by);
        if planned.claim == Claim::Balance && state == ChannelState::Open {
            planned.claim = self.claim_by_monitor(&planned.ids).unwrap_or(planned.claim);
        }
        Ok((planned, called(found.ok().flatten())))
    }

    fn claim_by_monitor(&self, channel: &ChannelIds) -> Option<Claim> {
        let restored = self.storage.restored_monitors();
        let monitor = restored.iter().find(|m| m.channel.matches(channel))?;
        let id = monitor.channel.derived_channel_id()?;
        Some(Claim::BalanceAndPayments {
            estimate_sat: self.monitors.estimate_sat(&id)?,
            may_be_stale: monitor.is_outdated(),
        })
    }
}

/// The id of a v1 channel with this funding output (BOLT #2).
pub(super) fn called(funding: Option<OutPoint>) -> Option<ChannelId> {
    let ids = ChannelIds {
        funding_outpoint: funding,
        ..ChannelIds::default()
    };
    ids.derived_channel_id()
}

/// All that is known of a channel that a peer alone names.
fn record_of(seen: &SeenReestablish) -> ChannelRecord {
    ChannelRecord {
        counterparty: seen.peer,
        ids: ChannelIds {
            channel_id: Some(seen.channel_id),
            ..ChannelIds::default()
        },
        update_id: 0,
        phase: ChannelPhase::Ready,
        restored: true,
        kind: ChannelKind::Other,
        channel_keys_id: None,
        value_sat: None,
    }
}

/// The peers that may hold a newer backup: of those that backups name or the person knew of, those that
/// were not reached, or had no time to answer.
fn unheard(outcome: &RestoreOutcome, peers: &[PeerRecord]) -> Vec<PeerRecord> {
    let heard = |peer: &PeerRecord| {
        let mut reports = outcome.peers.iter();
        reports.any(|report| {
            let visit = report.outcome.as_ref();
            report.peer == peer.node_id
                && visit.is_ok_and(|visit| visit.returned != Returned::NothingInTime)
        })
    };
    let answered = |peer: &PeerRecord| {
        let mut answers = outcome.report.answers.iter();
        answers.any(|answer| answer.peer == peer.node_id)
    };
    let silent = |peer: &PeerRecord| outcome.report.silent.contains(&peer.node_id);
    let is_unheard = |peer: &&PeerRecord| !(heard(peer) || answered(peer) || silent(peer));
    peers.iter().filter(is_unheard).cloned().collect()
}
