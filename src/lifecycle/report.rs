//! What the bounded calls tell.

use super::{Obstacle, Unavailable};
use crate::exchange::{Alarm, Time};
use crate::service;
use crate::session::SessionReport;

/// How things stand, also while nothing is open: then as they stood last.
#[derive(Clone, Debug)]
pub struct Status {
    /// What is alive.
    pub state: LifeState,
    /// Why peers are not visited at present.
    pub obstacle: Option<Obstacle>,
    /// Why nothing is open although the app wants it. It is tried again at the next call, and while the app is
    /// visible with growing pauses, where it may pass by itself.
    pub trouble: Option<Unavailable>,
    /// Peers are being visited.
    pub visiting: bool,
    /// Whether the wallet has been reported since the process started. Until then nothing is compared.
    pub wallet_reported: bool,
    /// When peers were last visited, and what came of each.
    pub last_session: Option<(Time, SessionReport)>,
    /// The health of the backup and of the data directory.
    pub storage: service::Status,
}

/// What is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LifeState {
    /// The database is open, and peers are visited whenever something is due.
    Active,
    /// The same for what is due now; then nothing.
    Draining,
    /// Nothing: no thread, no socket, no open database, no lock.
    Suspended,
    /// For good.
    Closed,
}

/// What came of [`on_background`](super::Lifecycle::on_background).
#[derive(Clone, Debug)]
pub struct BackgroundReport {
    /// What was due is durable, and was handed to peers or cannot be now (see `obstacle`, `status`).
    pub drained: bool,
    /// Nothing runs and nothing is open any more.
    pub suspended: bool,
    /// The app came back meanwhile: nothing was torn down for it, or all is open again.
    pub visible_again: bool,
    /// Why no peer was visited at the end, although something may be due.
    pub obstacle: Option<Obstacle>,
    /// How things stand.
    pub status: Status,
}

/// What came of [`run_background_pass`](super::Lifecycle::run_background_pass).
#[derive(Clone, Debug)]
pub struct PassReport {
    /// What came of each peer, or why none was visited.
    pub session: Result<SessionReport, Unavailable>,
    /// What was due is durable here.
    pub drained: bool,
    /// Nothing runs and nothing is open any more. False where the app is visible.
    pub suspended: bool,
    /// How things stand.
    pub status: Status,
}

/// What came of [`shutdown`](super::Lifecycle::shutdown).
#[derive(Clone, Debug)]
pub struct ShutdownReport {
    /// What was due is durable, and was handed to peers or cannot be now.
    pub drained: bool,
    /// Everything is closed. False: the disk did not answer in time; it is closed as soon as it does.
    pub closed: bool,
    /// How things stood.
    pub status: Status,
}

/// Whether the wallet's own node may start: the answer of
/// [`check_before_node_start`](super::Lifecycle::check_before_node_start).
#[derive(Clone, Debug, PartialEq)]
pub enum NodeStart {
    /// At least one peer returned a backup that is no older than any that this device knows to have sent,
    /// no ready channel that it names is missing here, and no state stamp is behind one in any backup. No
    /// connection is left.
    ///
    /// It proves nothing: peers may all hold, or give, something old.
    NothingKnownAgainst,
    /// The channel state of this device is old, or may be: a node that runs on it can lose all funds of
    /// its channels. The person has to decide
    /// ([`PeerStorage::resolve_alarm`](crate::PeerStorage::resolve_alarm)).
    DoNotStart {
        /// What is known; each of these holds all channels.
        alarms: Vec<Alarm>,
    },
    /// The wallet was restored here from its peers' backups, and is not recovered yet: start no Lightning
    /// node on this seed. A node that knows no channel answers a peer's `channel_reestablish` with one at
    /// which the peer closes: nobody has agreed to that, and payments in flight may be lost. It ends as
    /// the channels are recovered or given up ([`Recovery`](crate::Recovery)), or named in
    /// [`channel_swept`](super::Lifecycle::channel_swept).
    Restored {
        /// How many of its channels may still be open.
        channels: u32,
    },
    /// Nobody has said anything. The wallet decides: usually it starts, as it would have without this
    /// check.
    Unknown(WhyUnknown),
}

/// Why it is not known whether the wallet's state is current.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WhyUnknown {
    /// The wallet was not reported, so there is nothing to compare with.
    #[error("the wallet was not reported")]
    NotReported,
    /// No peer is known.
    #[error("no peer is known")]
    NoPeers,
    /// No peer could be visited.
    #[error(transparent)]
    Unavailable(Unavailable),
    /// No peer was reached in time.
    #[error("no peer was reached in time")]
    NobodyReached,
    /// Peers were reached, but none returned a backup that opens.
    #[error("no peer returned a backup")]
    NothingReturned,
    /// Peers returned only backups that are older than what this device has sent: they cannot tell.
    #[error("no peer returned a backup that is new enough")]
    OnlyOlder,
    /// All that was reported is in the backups, but a ready channel was reported without a state stamp (its
    /// [`update_id`](crate::backup::ChannelRecord::update_id) is zero): how old its state is could not be
    /// compared. So it is with every list of ldk-node's, and with a channel that nothing was paid through.
    #[error("a channel was reported without a state stamp")]
    NoStateStamps,
    /// A connection did not end in time. The peers may take the node's for a second one.
    #[error("a connection did not end in time")]
    StillConnected,
}
