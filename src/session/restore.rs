//! Asking peers for backups, and those that the backups name as well.

use std::collections::BTreeMap;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::SocketAddress;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::report::{PeerReport, RestoreOutcome};
use super::visit::{Budget, Visitor};
use super::Work;
use crate::backup::PeerRecord;

/// Asks until no new peer answers, or the budget ends.
pub(super) async fn restore(
    visitor: Visitor,
    first: Vec<PeerRecord>,
    budget: Budget,
) -> RestoreOutcome {
    let storage = visitor.storage.clone();
    let mut asked = Asked::default();
    let mut visits = JoinSet::new();
    let mut to_ask = first;
    loop {
        // From an earlier call, or an earlier run of the process, peers may be known as well.
        to_ask.extend(storage.restore_report().unheard);
        for peer in std::mem::take(&mut to_ask) {
            if let Some(peer) = asked.untried(peer) {
                visits.spawn(visitor.clone().visit(peer, Work::default(), budget));
            }
        }
        match timeout_at(budget.over, visits.join_next()).await {
            Ok(Some(Ok(report))) => asked.note(report),
            Ok(Some(Err(_))) => {}
            Ok(None) | Err(_) => break,
        }
    }
    RestoreOutcome {
        peers: asked.reports(),
        report: storage.restore_report(),
    }
}

/// Who was asked, at which addresses, and what came of it; none: it is being asked.
#[derive(Default)]
struct Asked {
    peers: BTreeMap<PublicKey, (Vec<SocketAddress>, Option<PeerReport>)>,
}

impl Asked {
    /// What of this is worth a try: a peer never asked, or one not reached, at new addresses.
    fn untried(&mut self, peer: PeerRecord) -> Option<PeerRecord> {
        let is_new = !self.peers.contains_key(&peer.node_id);
        let (tried, report) = self.peers.entry(peer.node_id).or_default();
        let has_failed = report
            .as_ref()
            .is_some_and(|report| report.outcome.is_err());
        if !is_new && !has_failed {
            return None;
        }
        let addresses = peer.addresses.into_iter();
        let fresh: Vec<_> = addresses.filter(|a| !tried.contains(a)).collect();
        tried.extend(fresh.iter().cloned());
        (is_new || !fresh.is_empty()).then_some(PeerRecord {
            node_id: peer.node_id,
            addresses: fresh,
        })
    }

    fn note(&mut self, report: PeerReport) {
        let (_, known) = self.peers.entry(report.peer).or_default();
        let is_better = match (&*known, &report.outcome) {
            (None, _) | (_, Ok(_)) => true,
            (Some(known), Err(new)) => known.outcome.as_ref().is_err_and(|old| new > old),
        };
        if is_better {
            *known = Some(report);
        }
    }

    fn reports(self) -> Vec<PeerReport> {
        let peers = self.peers.into_iter();
        peers
            .map(|(peer, (_, report))| report.unwrap_or_else(|| PeerReport::out_of_time(peer)))
            .collect()
    }
}
