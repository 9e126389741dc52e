//! A quiet Lightning node, for as long as it takes: connects to peers, reads back what they keep,
//! pushes what is due, and hangs up. Also what restores a lost wallet.
//!
//! ```text
//!  Session::run, ::restore          a thread of its own, one tokio runtime
//!        │                   ┌──────────────────────────────────────────────────┐
//!        └──▶ visit, each ──▶│ dial ─▶ handshake ─▶ read back ─▶ push ─▶ hang up │──▶ peers
//!             peer at once   └──────────────────────────────────────────────────┘   (TCP, Tor)
//! ```
//!
//! For wallets whose node cannot be extended (it has no place for a
//! [`PeerStorageHandler`](crate::ldk::PeerStorageHandler)), and for phones that have lost everything:
//!
//! * while the wallet's own node is stopped, [`Session::run`] connects with the same identity. **Never
//!   beside a running node**: two connections of one identity throw each other out;
//! * with nothing but the seed, [`Session::restore`] reads back and learns of further peers from what
//!   it reads. Nothing is pushed; the person decides with
//!   [`PeerStorage::finish_restore`](crate::PeerStorage::finish_restore).
//!
//! Nothing leaves but `init`, `peer_storage`, `peer_storage_retrieval`, ping and pong. A peer keeps a
//! connected node that says nothing about its channels, and closes none (safety rule 10). The one
//! exception is a close request of a [`recovery`](crate::recovery) that the person has agreed to.
//!
//! What is kept for peers is returned to them in a session too. What they want kept anew is refused,
//! silently, unless they have a slot or the app's [`StoragePolicy`](crate::exchange::StoragePolicy)
//! takes guests.
//!
//! # Threads
//!
//! All calls block until they are done or their budget is over, and may be made from any thread, also
//! one of another tokio runtime (which they block). Several may run at once; no peer is visited twice
//! at a time. Between calls no connection is open.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use std::time::Duration;
//! # use bitcoin::Network;
//! # use ldk_peer_storage::backup::PeerRecord;
//! # use ldk_peer_storage::service::{Config, PeerStorage};
//! # use ldk_peer_storage::session::{Session, SessionConfig};
//! # use lightning::sign::KeysManager;
//! # fn restore(keys: Arc<KeysManager>, known: &[PeerRecord]) -> Result<(), Box<dyn std::error::Error>> {
//! let storage = PeerStorage::open(Config::new("/data/peer-storage", Network::Bitcoin), &*keys)?;
//! let session = Session::open(storage.clone(), keys, SessionConfig::default())?;
//! let outcome = session.restore(known, Duration::from_secs(60))?;
//! // Show outcome.report; ask again for who was not heard, or take what is there:
//! storage.finish_restore()?;
//! let everyone = &outcome.report.peers;
//! session.run(everyone, Default::default(), Duration::from_secs(60));
//! # Ok(()) }
//! ```

mod close;
mod config;
mod dial;
mod observer;
mod quiet_node;
mod report;
mod restore;
mod runtime;
mod socket;
mod socks;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
mod visit;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::sign::{EntropySource, NodeSigner, Recipient};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{timeout_at, Instant};

pub(crate) use close::{CloseAttempt, CloseOutcome, MayAsk, NotAsked};
pub use config::{SessionConfig, Times, Work};
pub use report::{NotReached, PeerReport, RestoreOutcome, Returned, SessionReport, Visit};

use crate::backup::PeerRecord;
use crate::exchange::{Past, PastError};
use crate::ldk::QuietHandler;
use crate::service::PeerStorage;
use dial::Dialler;
use quiet_node::QuietNode;
use runtime::Runtime;
use visit::{Budget, Visitor};

/// Why a [`Session`] was not opened.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The signer has no node id.
    #[error("the signer does not tell its node id")]
    NoNodeId,
    /// The keys are those of another node than the storage.
    #[error("the storage belongs to another node than the keys")]
    OtherNode,
    /// No thread could be started, or no runtime on it.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// A quiet node. See the [module](self).
///
/// It makes itself the message handler and the waker of the [`PeerStorage`]: while it lives, there
/// must be no other, and a node that is attached after it has to call
/// [`PeerStorage::set_waker`] again. Dropping it ends its thread.
pub struct Session {
    storage: PeerStorage,
    visitor: Visitor,
    node_id: PublicKey,
    runtime: Runtime,
}

impl Session {
    /// Starts the thread; no connection is made yet. The past of the storage may be known or not.
    pub fn open<K>(
        storage: PeerStorage,
        keys: Arc<K>,
        config: SessionConfig,
    ) -> Result<Session, SessionError>
    where
        K: NodeSigner + EntropySource + Send + Sync + 'static,
    {
        let node_id = keys
            .get_node_id(Recipient::Node)
            .map_err(|()| SessionError::NoNodeId)?;
        if node_id != storage.owner().node_id {
            return Err(SessionError::OtherNode);
        }
        let network = storage.owner().network;
        let handler = config.handler.unwrap_or_else(|| QuietHandler::new(network));
        let node = QuietNode::new(&storage, keys, handler, config.logger);
        let ticking = node.clone();
        let runtime = Runtime::start(config.times.ping, move || ticking.tick())?;
        let dialler = Dialler {
            node,
            times: config.times,
            tor_proxy: config.tor_proxy,
        };
        let visitor = Visitor {
            storage: storage.clone(),
            dialler,
            times: config.times,
            settles: false,
            places: Arc::new(Semaphore::new(config.at_once.max(1))),
        };
        Ok(Session {
            storage,
            visitor,
            node_id,
            runtime,
        })
    }

    /// Connects to these peers, reads back, pushes what is due as
    /// [`PeerStorage::on_background`] does, and hangs up. A directory that does not know its past
    /// pushes nothing.
    ///
    /// A peer that hangs up is dialled again as long as there is time, for it may believe in an older
    /// connection; one that does not answer is not.
    pub fn run(&self, peers: &[PeerRecord], work: Work, budget: Duration) -> SessionReport {
        let times = Budget::new(budget, self.visitor.times.linger);
        let peers = merged(peers);
        let order: Vec<_> = peers.iter().map(|peer| peer.node_id).collect();
        self.storage.take_what_changed_for(&order, budget / 4);
        let left = times.over.saturating_duration_since(Instant::now());
        let run = run(self.visitor.clone(), peers, work, times);
        let mut reports = self.runtime.run(left, run).unwrap_or_default();
        let report = |peer: &PublicKey| {
            let at = reports.iter().position(|report| report.peer == *peer);
            at.map_or_else(
                || PeerReport::out_of_time(*peer),
                |at| reports.swap_remove(at),
            )
        };
        SessionReport {
            peers: order.iter().map(report).collect(),
        }
    }

    /// Reads back from these peers, and from those that their backups name, until no new one answers.
    /// Nothing is pushed, and nothing is decided: that is
    /// [`PeerStorage::finish_restore`]. Calling it again asks those that were not heard, and only
    /// improves the result.
    ///
    /// An error where the directory knows its past: then [`run`](Self::run) reads back, and merges.
    pub fn restore(
        &self,
        first: &[PeerRecord],
        budget: Duration,
    ) -> Result<RestoreOutcome, PastError> {
        if self.storage.past() == Past::Known {
            return Err(PastError::Known);
        }
        Ok(self.read_back(first, budget))
    }

    /// The same, also where the directory knows its past: then what is new is merged, and pushed.
    pub(crate) fn read_back(&self, first: &[PeerRecord], budget: Duration) -> RestoreOutcome {
        let times = Budget::new(budget, self.visitor.times.linger);
        let first = merged(first);
        let asked: Vec<_> = first.iter().map(|peer| peer.node_id).collect();
        let mut visitor = self.visitor.clone();
        visitor.settles = true;
        let restore = restore::restore(visitor, first, times);
        let outcome = self.runtime.run(budget, restore);
        outcome.unwrap_or_else(|| RestoreOutcome {
            report: self.storage.restore_report(),
            peers: asked.into_iter().map(PeerReport::out_of_time).collect(),
        })
    }

    pub(crate) fn node_id(&self) -> PublicKey {
        self.node_id
    }

    /// Ends all calls under way as soon as each connection can be left in order, at most
    /// [`Times::linger`] later, and every later call at once: peers not reached by then are reported as
    /// [`NotReached::OutOfTime`]. For good; open another session after it. Returns at once.
    ///
    /// For an app that goes to background, and before the wallet's own node starts.
    pub fn stop(&self) {
        self.visitor.dialler.node.observer.stop();
    }

    /// The same without good manners: connections are cut, and what calls had to tell is lost.
    pub(crate) fn cut(&self) {
        self.stop();
        self.runtime.cut();
    }

    /// Asks a peer to close channels. Only on the order of the person: it costs the channels.
    ///
    /// Takes as long as it takes to connect, plus `stay`, or less where the peer hangs up. `may_ask`
    /// narrows the attempt to what may be asked for of a peer that has named these channels.
    pub(crate) fn request_close(
        &self,
        peer: &PeerRecord,
        attempt: CloseAttempt,
        may_ask: Box<MayAsk>,
        stay: Duration,
    ) -> CloseOutcome {
        let dialler = self.visitor.dialler.clone();
        let budget = close::longest(&self.visitor.times, stay);
        let request = close::request(dialler, peer.clone(), attempt, may_ask, stay, self.node_id);
        let outcome = self.runtime.run(budget, request);
        outcome.unwrap_or_else(|| CloseOutcome {
            asked: Err(NotReached::OutOfTime.into()),
            seen: Vec::new(),
            errors: Vec::new(),
            hung_up: false,
        })
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

async fn run(
    visitor: Visitor,
    peers: Vec<PeerRecord>,
    work: Work,
    budget: Budget,
) -> Vec<PeerReport> {
    let mut visits = JoinSet::new();
    for peer in peers {
        visits.spawn(visitor.clone().visit(peer, work, budget));
    }
    let mut reports = Vec::new();
    while let Ok(Some(visit)) = timeout_at(budget.over, visits.join_next()).await {
        reports.extend(visit);
    }
    reports
}

/// Each peer once, with all its addresses.
pub(crate) fn merged(peers: &[PeerRecord]) -> Vec<PeerRecord> {
    let mut merged: Vec<PeerRecord> = Vec::new();
    for peer in peers {
        match merged
            .iter_mut()
            .find(|known| known.node_id == peer.node_id)
        {
            Some(known) => {
                for address in &peer.addresses {
                    if !known.addresses.contains(address) {
                        known.addresses.push(address.clone());
                    }
                }
            }
            None => merged.push(peer.clone()),
        }
    }
    merged
}
