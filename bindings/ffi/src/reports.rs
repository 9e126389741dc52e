//! What the bounded calls tell.

use ldk_peer_storage::lifecycle::{self, LifeState, Unavailable};

use crate::alarms::StorageAlarm;
use crate::errors::{Obstacle, PeerStorageError};
use crate::status::{Activity, StorageStatus};
use crate::visits::SyncReport;

/// What came of `on_background`.
#[derive(Clone, Debug, uniffi::Record)]
pub struct BackgroundReport {
    /// What was due is durable, and was handed to peers or cannot be now (see `obstacle` and `status`).
    pub drained: bool,
    /// Nothing runs and nothing is open any more: the system may suspend the process.
    pub suspended: bool,
    /// The app came back meanwhile, and all is open again.
    pub visible_again: bool,
    /// Why no peer was visited at the end, although something may be due.
    pub obstacle: Option<Obstacle>,
    /// How things stand.
    pub status: StorageStatus,
}

/// What came of `run_background_pass`.
#[derive(Clone, Debug, uniffi::Record)]
pub struct PassReport {
    /// What came of each peer; none: none was visited, for `hindrance`.
    pub visits: Option<SyncReport>,
    /// Why no peer was visited.
    pub hindrance: Option<Hindrance>,
    /// What was due is durable here.
    pub drained: bool,
    /// Nothing runs and nothing is open any more. False where the app is visible.
    pub suspended: bool,
    /// How things stand.
    pub status: StorageStatus,
}

/// What came of `shutdown`.
#[derive(Clone, Debug, uniffi::Record)]
pub struct ShutdownReport {
    /// What was due is durable, and was handed to peers or cannot be now.
    pub drained: bool,
    /// Everything is closed. False: the disk did not answer in time; it is closed as soon as it does.
    pub closed: bool,
    /// How things stood.
    pub status: StorageStatus,
}

/// Whether the wallet's own node may start.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum NodeStart {
    /// At least one peer returned a backup that is no older than any that this device knows to have sent, no
    /// ready channel that it names is missing here, and no state stamp is behind one in any backup. No connection
    /// is left. It proves nothing: peers may all hold, or give, something old.
    NothingKnownAgainst,
    /// The channel state of this device is old, or may be: a node that runs on it can lose all funds of its
    /// channels. Ask the person, and call `resolve_alarm`.
    DoNotStart {
        /// What is known; each of these holds all channels.
        alarms: Vec<StorageAlarm>,
    },
    /// The wallet was restored here from its peers' backups, and is not recovered yet: start no Lightning node on
    /// this seed. A node that knows no channel answers a peer's `channel_reestablish` with one at which the peer
    /// closes: nobody has agreed to that, and payments in flight may be lost. It ends as the channels are
    /// recovered or given up (`start_recovery`), or named in `channel_swept`.
    Restored {
        /// How many of its channels may still be open.
        channels: u32,
    },
    /// Nobody has said anything. The wallet decides: usually it starts, as it would have without this check.
    Unknown {
        /// Why.
        why: WhyUnknown,
    },
}

/// Why it is not known whether the wallet's state is current.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum WhyUnknown {
    /// The wallet was not reported, so there is nothing to compare with: call `report_wallet` before.
    NotReported,
    /// No peer is known.
    NoPeers,
    /// No peer could be visited.
    Hindered {
        /// Why.
        hindrance: Hindrance,
    },
    /// No peer was reached in time.
    NobodyReached,
    /// Peers were reached, but none returned a backup that opens.
    NothingReturned,
    /// Peers returned only backups that are older than what this device has sent: they cannot tell.
    OnlyOlder,
    /// All that was reported is in the backups, but a ready channel was reported without a state stamp (zero):
    /// how old its state is could not be compared. So it is with every list of ldk-node's, and with a channel
    /// that nothing was paid through.
    NoStateStamps,
    /// A connection did not end in time. The peers may take the node's for a second one.
    StillConnected,
}

/// Why something was not done, as part of an answer. The same as a `PeerStorageError`, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Hindrance {
    /// The app is in background.
    Suspended,
    /// It was shut down.
    Closed,
    /// The device has no network.
    NoNetwork,
    /// The wallet's own node runs.
    HostNodeRuns,
    /// A payment is in flight, or expected.
    PaymentInFlight,
    /// Too many calls are under way.
    Busy,
    /// The device was not unlocked since it started, so that files cannot be read.
    Locked,
    /// Another process, or another object of this one, has the data directory open.
    InUse,
    /// The data directory belongs to another wallet.
    WrongWallet,
    /// The data directory was written by a newer version.
    NewerVersion,
    /// The data directory is damaged.
    Damaged,
    /// The storage failed: no space, read-only, or a fault below.
    StorageFailed,
    /// Something else; the log tells.
    Failed,
}

impl From<Unavailable> for PeerStorageError {
    fn from(unavailable: Unavailable) -> Self {
        let reason = unavailable.to_string();
        match unavailable {
            Unavailable::Suspended => PeerStorageError::Suspended,
            Unavailable::Busy => PeerStorageError::not_now(Obstacle::Busy),
            Unavailable::Closed => PeerStorageError::Closed,
            Unavailable::Obstacle(obstacle) => PeerStorageError::not_now(obstacle.into()),
            Unavailable::Past(error) => error.into(),
            Unavailable::Storage(error) => error.into(),
            Unavailable::NotDurable(failure) => PeerStorageError::NotDurable {
                failure: failure.as_ref().map(Into::into),
                reason,
            },
            Unavailable::Failed(reason) => PeerStorageError::internal(reason),
        }
    }
}

impl From<Unavailable> for Hindrance {
    fn from(unavailable: Unavailable) -> Self {
        Hindrance::from(&PeerStorageError::from(unavailable))
    }
}

impl From<&PeerStorageError> for Hindrance {
    fn from(error: &PeerStorageError) -> Self {
        use PeerStorageError as E;
        match error {
            E::Suspended => Hindrance::Suspended,
            E::Closed => Hindrance::Closed,
            E::NotNow { obstacle } => (*obstacle).into(),
            E::Locked { .. } => Hindrance::Locked,
            E::InUse => Hindrance::InUse,
            E::WrongWallet => Hindrance::WrongWallet,
            E::NewerVersion { .. } => Hindrance::NewerVersion,
            E::Corrupt { .. } => Hindrance::Damaged,
            E::Storage { .. } | E::NotDurable { .. } => Hindrance::StorageFailed,
            E::InvalidInput { .. }
            | E::NotAllowed { .. }
            | E::Chain { .. }
            | E::Internal { .. } => Hindrance::Failed,
        }
    }
}

impl From<Obstacle> for Hindrance {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::NoNetwork => Hindrance::NoNetwork,
            Obstacle::HostNodeRuns => Hindrance::HostNodeRuns,
            Obstacle::PaymentInFlight => Hindrance::PaymentInFlight,
            Obstacle::Busy => Hindrance::Busy,
        }
    }
}

impl From<lifecycle::Obstacle> for Obstacle {
    fn from(obstacle: lifecycle::Obstacle) -> Self {
        match obstacle {
            lifecycle::Obstacle::NoNetwork => Obstacle::NoNetwork,
            lifecycle::Obstacle::HostNodeRuns => Obstacle::HostNodeRuns,
            lifecycle::Obstacle::PaymentInFlight => Obstacle::PaymentInFlight,
        }
    }
}

impl From<LifeState> for Activity {
    fn from(state: LifeState) -> Self {
        match state {
            LifeState::Active => Activity::Active,
            LifeState::Draining => Activity::Draining,
            LifeState::Suspended => Activity::Suspended,
            LifeState::Closed => Activity::Closed,
        }
    }
}

impl From<lifecycle::BackgroundReport> for BackgroundReport {
    fn from(report: lifecycle::BackgroundReport) -> Self {
        BackgroundReport {
            drained: report.drained,
            suspended: report.suspended,
            visible_again: report.visible_again,
            obstacle: report.obstacle.map(Obstacle::from),
            status: report.status.into(),
        }
    }
}

impl From<lifecycle::PassReport> for PassReport {
    fn from(report: lifecycle::PassReport) -> Self {
        let (visits, hindrance) = match report.session {
            Ok(session) => (Some(session.into()), None),
            Err(unavailable) => (None, Some(unavailable.into())),
        };
        PassReport {
            visits,
            hindrance,
            drained: report.drained,
            suspended: report.suspended,
            status: report.status.into(),
        }
    }
}

impl From<lifecycle::ShutdownReport> for ShutdownReport {
    fn from(report: lifecycle::ShutdownReport) -> Self {
        ShutdownReport {
            drained: report.drained,
            closed: report.closed,
            status: report.status.into(),
        }
    }
}

impl From<lifecycle::NodeStart> for NodeStart {
    fn from(start: lifecycle::NodeStart) -> Self {
        match start {
            lifecycle::NodeStart::NothingKnownAgainst => NodeStart::NothingKnownAgainst,
            lifecycle::NodeStart::DoNotStart { alarms } => NodeStart::DoNotStart {
                alarms: alarms.into_iter().map(StorageAlarm::from).collect(),
            },
            lifecycle::NodeStart::Restored { channels } => NodeStart::Restored { channels },
            lifecycle::NodeStart::Unknown(why) => NodeStart::Unknown { why: why.into() },
        }
    }
}

impl From<lifecycle::WhyUnknown> for WhyUnknown {
    fn from(why: lifecycle::WhyUnknown) -> Self {
        use lifecycle::WhyUnknown as Core;
        match why {
            Core::NotReported => WhyUnknown::NotReported,
            Core::NoPeers => WhyUnknown::NoPeers,
            Core::Unavailable(unavailable) => WhyUnknown::Hindered {
                hindrance: unavailable.into(),
            },
            Core::NobodyReached => WhyUnknown::NobodyReached,
            Core::NothingReturned => WhyUnknown::NothingReturned,
            Core::OnlyOlder => WhyUnknown::OnlyOlder,
            Core::NoStateStamps => WhyUnknown::NoStateStamps,
            Core::StillConnected => WhyUnknown::StillConnected,
        }
    }
}
