//! What came of a session.

use std::fmt;

use bitcoin::secp256k1::PublicKey;

use crate::backup::Revision;
use crate::exchange::RestoreReport;
use crate::ldk::SeenReestablish;

/// What came of [`Session::run`](super::Session::run).
#[derive(Clone, Debug)]
pub struct SessionReport {
    /// Each peer once, in the order in which they were given.
    pub peers: Vec<PeerReport>,
}

/// What came of [`Session::restore`](super::Session::restore).
#[derive(Clone, Debug)]
pub struct RestoreOutcome {
    /// What a restore would bring back so far, this call and all before it.
    pub report: RestoreReport,
    /// What came of each peer that was asked, this time.
    pub peers: Vec<PeerReport>,
}

/// What came of one peer.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerReport {
    /// The peer.
    pub peer: PublicKey,
    /// What it gave and was given, or why not.
    pub outcome: Result<Visit, NotReached>,
}

impl PeerReport {
    pub(super) fn out_of_time(peer: PublicKey) -> Self {
        PeerReport {
            peer,
            outcome: Err(NotReached::OutOfTime),
        }
    }
}

// Whom a wallet has channels with is private.
impl fmt::Debug for PeerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerReport")
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

/// One connection with a peer, or two where the first was to be verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// What the peer returned, on the first connection.
    pub returned: Returned,
    /// What was pushed and handed to the network.
    pub sent: Option<Revision>,
    /// The connection ended in order: the peer has read all that was sent. It may still lose it.
    pub delivered: bool,
    /// The peer has returned the newest backup there is, on this visit.
    pub verified: bool,
    /// The channels that the peer spoke of before we hung up, at most 256.
    pub channels: Vec<SeenReestablish>,
}

/// What a peer returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    /// A backup of this node.
    Backup(Revision),
    /// Something that does not open.
    Unreadable,
    /// It spoke of its channels without returning anything, or had its time: it has nothing.
    Nothing,
    /// The time was over before it said anything. Nothing was pushed.
    NothingInTime,
}

/// Why a peer was not reached. Where there are several addresses, the most telling reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum NotReached {
    /// The budget ended before the peer's turn, or before all was tried.
    #[error("the time was over")]
    OutOfTime,
    /// No address is known. Ask the person, or a directory.
    #[error("no address is known")]
    NoAddress,
    /// It has onion addresses alone: configure a proxy.
    #[error("it can be reached through Tor alone, and no proxy is configured")]
    NeedsTor,
    /// Nobody answers there, or the name is unknown.
    #[error("nobody answers there")]
    Unreachable,
    /// There was no answer, or none to the end of the handshake, in time.
    #[error("there was no answer in time")]
    TimedOut,
    /// Somebody answers who is another node, or no Lightning node.
    #[error("somebody else answers there")]
    HandshakeFailed,
    /// Its features, or its network, are not those of this node.
    #[error("its features or its network do not fit")]
    Incompatible,
    /// It hung up before it was read back, again and again: it may believe in an older connection, or
    /// want none.
    #[error("it hung up")]
    Refused,
}
