//! Whether the wallet's own node may start on the state that it has.

use std::sync::Arc;
use std::time::Duration;

use super::pass::{known_peers, visit};
use super::shared::{OpenStorage, Shared};
use super::WhyUnknown;
use crate::backup::Revision;
use crate::exchange::Alarm;
use crate::recovery::waited_for;
use crate::service::PeerStorage;
use crate::session::{Returned, Work};

/// Those of the alarms that hold all channels.
pub(super) fn holding(mut alarms: Vec<Alarm>) -> Vec<Alarm> {
    alarms.retain(|alarm| alarm.kind.holds());
    alarms
}

/// How many channels were restored here and are not recovered: of those a node would know nothing.
pub(super) fn restored(storage: &PeerStorage) -> u32 {
    let channels = waited_for(storage, storage.restored_channels());
    u32::try_from(channels.len()).unwrap_or(u32::MAX)
}

/// Asks all peers. Ok: at least one has returned a backup that could tell. Whether it raised an alarm is
/// another question.
pub(super) fn ask(
    shared: &Arc<Shared>,
    storage: &OpenStorage,
    budget: Duration,
) -> Result<(), WhyUnknown> {
    if !shared.reported.is_known() {
        return Err(WhyUnknown::NotReported);
    }
    let unavailable = WhyUnknown::Unavailable;
    let obstacle = shared.state().facts.obstacle();
    if let Some(obstacle) = obstacle {
        return Err(unavailable(obstacle.into()));
    }
    let peers = known_peers(shared, storage);
    if peers.is_empty() {
        return Err(WhyUnknown::NoPeers);
    }
    // Who holds an older one says nothing about what came after it.
    let newest = newest_sent(storage);
    let report = visit(shared, storage, &peers, Work::default(), budget).map_err(unavailable)?;
    let visits = || report.peers.iter().flat_map(|peer| &peer.outcome);
    let returned = visits().filter_map(|visit| match visit.returned {
        Returned::Backup(revision) => Some(revision),
        _ => None,
    });
    match returned.max() {
        Some(revision) if Some(revision) >= newest => match shared.reported.lacks_state_stamps() {
            true => Err(WhyUnknown::NoStateStamps),
            false => Ok(()),
        },
        Some(_) => Err(WhyUnknown::OnlyOlder),
        None if visits().next().is_some() => Err(WhyUnknown::NothingReturned),
        None => Err(WhyUnknown::NobodyReached),
    }
}

fn newest_sent(storage: &PeerStorage) -> Option<Revision> {
    let peers = storage.status().backup.peers;
    let sent = peers.iter().filter_map(|peer| peer.sent);
    sent.map(|sent| sent.revision).max()
}
