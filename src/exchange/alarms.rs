//! The alarms that stand: raising, merging, resolving.

use lightning::ln::types::ChannelId;

use super::alarm::{Alarm, AlarmId, AlarmKind, Evidence, Resolution, ResolveError};
use super::book::Book;
use super::gate::Numbers;
use super::time::Time;
use super::wallet::WalletState;
use crate::backup::{ChannelIds, ChannelRecord};

#[derive(Debug, Default)]
pub(super) struct Alarms {
    standing: Vec<Alarm>,
    last_id: u64,
}

impl Alarms {
    /// `last`: no alarm of this data directory has had a higher id.
    pub fn new(standing: Vec<Alarm>, last: AlarmId) -> Self {
        let last_id = standing
            .iter()
            .map(|alarm| alarm.id)
            .max()
            .unwrap_or_default()
            .max(last)
            .0;
        Alarms { standing, last_id }
    }

    pub fn all(&self) -> &[Alarm] {
        &self.standing
    }

    /// Whether channels are held.
    pub fn holding(&self) -> bool {
        self.standing.iter().any(|alarm| alarm.kind.holds())
    }

    /// Raises an alarm, or gives a standing one of the same matter stronger evidence.
    /// None: nothing new.
    pub fn raise(&mut self, now: Time, kind: AlarmKind, expiry: Option<u32>) -> Option<Alarm> {
        if let Some(known) = self
            .standing
            .iter_mut()
            .find(|alarm| same_matter(&alarm.kind, &kind))
        {
            if strength(&kind) <= strength(&known.kind) {
                return None;
            }
            known.kind = kind;
            return Some(known.clone());
        }
        self.last_id += 1;
        let alarm = Alarm {
            id: AlarmId(self.last_id),
            raised_at: now,
            kind,
            earliest_htlc_expiry: expiry,
            recovering: false,
        };
        self.standing.push(alarm.clone());
        Some(alarm)
    }

    /// Raises both stamps of the alarms that say that this live record is behind a backup, by so much.
    pub fn raise_evidence_ahead_of(&mut self, record: &ChannelRecord, by: u64) -> Vec<Alarm> {
        let mut raised = Vec::new();
        for alarm in &mut self.standing {
            if let AlarmKind::StaleState {
                evidence:
                    Evidence::StampAhead {
                        channel,
                        backup,
                        live,
                    },
                ..
            } = &mut alarm.kind
            {
                if channel.matches(&record.ids) && *backup > record.update_id {
                    *live = record.update_id.saturating_add(by);
                    *backup = backup.saturating_add(by);
                    raised.push(alarm.clone());
                }
            }
        }
        raised
    }

    /// Takes down the alarms that `over` says are over.
    pub fn end(&mut self, over: impl Fn(&AlarmKind) -> bool) -> Vec<AlarmId> {
        let ended = self
            .standing
            .iter()
            .filter(|alarm| over(&alarm.kind))
            .map(|a| a.id)
            .collect();
        self.standing.retain(|alarm| !over(&alarm.kind));
        ended
    }

    /// Carries out what the person decided. Returns the alarm as it then is, and whether it is over.
    pub fn resolve(
        &mut self,
        id: AlarmId,
        resolution: Resolution,
        live: Option<&WalletState>,
        book: &Book,
        ours: impl Fn(&ChannelId) -> Option<Numbers>,
    ) -> Result<(Alarm, bool), ResolveError> {
        let position = self.standing.iter().position(|alarm| alarm.id == id);
        let position = position.ok_or(ResolveError::Unknown)?;
        let alarm = &mut self.standing[position];
        match resolution {
            Resolution::Recover => alarm.recovering = true,
            Resolution::StayHeld => alarm.recovering = false,
            Resolution::ThisDeviceIsCurrent
                if stamps_prove_stale(&alarm.kind, live, book)
                    || secret_proves_stale(&alarm.kind, book, ours) =>
            {
                return Err(ResolveError::ProvedStale);
            }
            Resolution::ThisDeviceIsCurrent => return Ok((self.standing.remove(position), true)),
        }
        Ok((alarm.clone(), false))
    }
}

/// Whether a state stamp of a backup is still ahead of the live state. That of a channel which is
/// resolved does not matter any more.
fn stamps_prove_stale(kind: &AlarmKind, live: Option<&WalletState>, book: &Book) -> bool {
    if kind.holds() && live.is_some_and(|live| book.stamp_ahead_of(live).is_some()) {
        return true;
    }
    let AlarmKind::StaleState {
        evidence: Evidence::StampAhead {
            channel, backup, ..
        },
        ..
    } = kind
    else {
        return false;
    };
    let here = live.and_then(|live| live.channel(channel));
    !book.is_resolved(channel) && here.is_none_or(|here| here.update_id < *backup)
}

/// Whether the peer has proved that it holds a revocation of a state beyond ours. `ours`: our own numbers
/// of a channel, if they are known by now.
fn secret_proves_stale(
    kind: &AlarmKind,
    book: &Book,
    ours: impl Fn(&ChannelId) -> Option<Numbers>,
) -> bool {
    let AlarmKind::StaleState {
        evidence:
            Evidence::Numbers {
                channel_id,
                proved: Some(next_remote),
            },
        ..
    } = kind
    else {
        return false;
    };
    let ids = ChannelIds {
        channel_id: Some(*channel_id),
        ..ChannelIds::default()
    };
    let behind = |ours: Numbers| ours.revoked_later(*next_remote);
    !book.is_resolved(&ids) && ours(channel_id).is_none_or(behind)
}

fn same_matter(a: &AlarmKind, b: &AlarmKind) -> bool {
    use AlarmKind::*;
    match (a, b) {
        // One matter is also what several peers, or a peer and our own records, know of one channel.
        (
            StaleState {
                peer: a,
                evidence: of_a,
            },
            StaleState {
                peer: b,
                evidence: of_b,
            },
        ) => a == b || channel_of(of_a).matches(&channel_of(of_b)),
        (StorerRolledBack { peer: a, .. }, StorerRolledBack { peer: b, .. }) => a == b,
        (StorerLostBackup { peer: a }, StorerLostBackup { peer: b }) => a == b,
        _ => false,
    }
}

fn channel_of(evidence: &Evidence) -> ChannelIds {
    match evidence {
        Evidence::StampAhead { channel, .. } | Evidence::ChannelMissing { channel } => *channel,
        Evidence::Numbers { channel_id, .. } => ChannelIds {
            channel_id: Some(*channel_id),
            ..ChannelIds::default()
        },
    }
}

fn strength(kind: &AlarmKind) -> u8 {
    match kind {
        AlarmKind::StaleState {
            evidence: Evidence::StampAhead { .. },
            ..
        } => 4,
        AlarmKind::StaleState {
            evidence: Evidence::Numbers {
                proved: Some(_), ..
            },
            ..
        } => 3,
        AlarmKind::StaleState {
            evidence: Evidence::Numbers { proved: None, .. },
            ..
        } => 2,
        AlarmKind::StaleState {
            evidence: Evidence::ChannelMissing { .. },
            ..
        } => 1,
        _ => 0,
    }
}
