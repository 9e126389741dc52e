//! What came of visits to peers, and what a restore would bring back.

use ldk_peer_storage::exchange;
use ldk_peer_storage::session::{self, PeerReport, SessionReport};

use crate::parse::{count, hex_of};
use crate::status::Revision;
use crate::wallet::{BackedUpChannel, WalletPeer};

/// What came of visits to peers.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct SyncReport {
    /// Each peer once, in the order in which they were given.
    pub peers: Vec<PeerVisit>,
}

/// What came of one peer.
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
pub struct PeerVisit {
    /// The peer's node id, in hex.
    pub node_id: String,
    /// What it gave and was given, or why not.
    pub outcome: VisitOutcome,
}

/// What a peer gave and was given, or why not.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum VisitOutcome {
    /// It was reached.
    Visited {
        /// What it returned.
        returned: ReturnedBackup,
        /// What was pushed to it; none: nothing was due.
        sent: Option<Revision>,
        /// The connection ended in order: the peer has read all that was sent. It may still lose it.
        delivered: bool,
        /// The peer has returned the newest backup there is, on this visit.
        verified: bool,
    },
    /// It was not.
    NotReached {
        /// Why.
        why: NotReached,
    },
}

/// What a peer returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum ReturnedBackup {
    /// A backup of this wallet.
    Backup {
        /// Which one.
        revision: Revision,
    },
    /// Something that does not open.
    Unreadable,
    /// It has nothing.
    Nothing,
    /// The time was over before it said anything. Nothing was pushed.
    NothingInTime,
}

/// Why a peer was not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum NotReached {
    /// The budget ended before the peer's turn, or before all was tried.
    OutOfTime,
    /// No address of it is known. Ask the person, or a directory.
    NoAddress,
    /// It can be reached through Tor alone, and no proxy is configured.
    NeedsTor,
    /// Nobody answers there, or the name is unknown.
    Unreachable,
    /// There was no answer in time.
    TimedOut,
    /// Somebody else answers there, or no Lightning node.
    HandshakeFailed,
    /// Its features, or its network, are not those of this wallet.
    Incompatible,
    /// It hung up, again and again.
    Refused,
}

/// What came of a restore, so far.
#[derive(Clone, uniffi::Record)]
pub struct RestoreResult {
    /// What it would bring back: of this call and all before it.
    pub report: RestoreReport,
    /// What came of each peer that was asked, this time.
    pub peers: Vec<PeerVisit>,
}

/// What a restore would bring back. Every further peer that answers only improves it.
#[derive(Clone, uniffi::Record)]
pub struct RestoreReport {
    /// The newest backup of all peers that answered; none: no one has returned one.
    pub newest: Option<Revision>,
    /// Who gave what, the newest first.
    pub answers: Vec<RestoreAnswer>,
    /// The node ids of peers that were heard and gave nothing that can be read, in hex.
    pub silent: Vec<String>,
    /// Peers named in the backups that have not been heard. One of them may hold a newer one: ask again.
    pub unheard: Vec<WalletPeer>,
    /// The channels of the newest backup.
    pub channels: Vec<BackedUpChannel>,
    /// Channels that only older backups name. The chain tells; they are restored as well.
    pub older_channels: Vec<BackedUpChannel>,
    /// All peers known.
    pub peers: Vec<WalletPeer>,
    /// Outputs on the chain that were ours and not yet swept.
    pub spendable_outputs: u32,
    /// The newest backup names no channel, but an older one does: ask the person.
    pub newest_is_empty_but_older_is_not: bool,
    /// What the app had put into the newest backup that has any (`set_app_data`); empty: nothing.
    pub app_data: Vec<u8>,
    /// For so many channels there is a monitor: payments in flight can come back as well.
    pub monitors: u32,
}

/// What one peer gave.
#[derive(Clone, uniffi::Record)]
pub struct RestoreAnswer {
    /// The peer's node id, in hex.
    pub node_id: String,
    /// Which backup.
    pub revision: Revision,
    /// Which data directory made it: 8 bytes in hex.
    pub installation: String,
    /// How many channels it names.
    pub channels: u32,
    /// It is the newest.
    pub is_newest: bool,
    /// It has the revision of another answer but other content: a second device, or a fault.
    pub conflicts: bool,
}

crate::private::says_nothing!(PeerVisit, RestoreAnswer);

impl From<SessionReport> for SyncReport {
    fn from(report: SessionReport) -> Self {
        SyncReport {
            peers: report.peers.into_iter().map(PeerVisit::from).collect(),
        }
    }
}

impl From<PeerReport> for PeerVisit {
    fn from(report: PeerReport) -> Self {
        PeerVisit {
            node_id: report.peer.to_string(),
            outcome: match report.outcome {
                Ok(visit) => VisitOutcome::Visited {
                    returned: visit.returned.into(),
                    sent: visit.sent.map(Revision::from),
                    delivered: visit.delivered,
                    verified: visit.verified,
                },
                Err(why) => VisitOutcome::NotReached { why: why.into() },
            },
        }
    }
}

impl From<session::Returned> for ReturnedBackup {
    fn from(returned: session::Returned) -> Self {
        match returned {
            session::Returned::Backup(revision) => ReturnedBackup::Backup {
                revision: revision.into(),
            },
            session::Returned::Unreadable => ReturnedBackup::Unreadable,
            session::Returned::Nothing => ReturnedBackup::Nothing,
            session::Returned::NothingInTime => ReturnedBackup::NothingInTime,
        }
    }
}

impl From<session::NotReached> for NotReached {
    fn from(why: session::NotReached) -> Self {
        use session::NotReached as Core;
        match why {
            Core::OutOfTime => NotReached::OutOfTime,
            Core::NoAddress => NotReached::NoAddress,
            Core::NeedsTor => NotReached::NeedsTor,
            Core::Unreachable => NotReached::Unreachable,
            Core::TimedOut => NotReached::TimedOut,
            Core::HandshakeFailed => NotReached::HandshakeFailed,
            Core::Incompatible => NotReached::Incompatible,
            Core::Refused => NotReached::Refused,
        }
    }
}

impl From<session::RestoreOutcome> for RestoreResult {
    fn from(outcome: session::RestoreOutcome) -> Self {
        RestoreResult {
            report: outcome.report.into(),
            peers: outcome.peers.into_iter().map(PeerVisit::from).collect(),
        }
    }
}

impl From<exchange::RestoreReport> for RestoreReport {
    fn from(report: exchange::RestoreReport) -> Self {
        let channels = |records: Vec<_>| records.into_iter().map(BackedUpChannel::from).collect();
        RestoreReport {
            newest: report.newest.map(Revision::from),
            answers: report
                .answers
                .into_iter()
                .map(RestoreAnswer::from)
                .collect(),
            silent: report.silent.iter().map(ToString::to_string).collect(),
            unheard: report.unheard.into_iter().map(WalletPeer::from).collect(),
            channels: channels(report.channels),
            older_channels: channels(report.older_channels),
            peers: report.peers.into_iter().map(WalletPeer::from).collect(),
            spendable_outputs: count(report.spendable_outputs.len()),
            newest_is_empty_but_older_is_not: report.newest_is_empty_but_older_is_not,
            app_data: report.app_data,
            monitors: count(report.monitors.len()),
        }
    }
}

impl From<exchange::Answer> for RestoreAnswer {
    fn from(answer: exchange::Answer) -> Self {
        RestoreAnswer {
            node_id: answer.peer.to_string(),
            revision: answer.revision.into(),
            installation: hex_of(&answer.installation.0),
            channels: count(answer.channels),
            is_newest: answer.newest,
            conflicts: answer.conflicts,
        }
    }
}
