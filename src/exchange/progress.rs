//! How far the present connection with a peer has come, as the owner sees it.

use bitcoin::secp256k1::PublicKey;

use super::connection::ReadBack;
use super::{Exchange, Health};
use crate::backup::Revision;

/// What the present connection with a peer has brought so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The peer was read back, or has nothing: pushes may go out (safety rule 1).
    pub read_back: bool,
    /// Its 9 came.
    pub answered: bool,
    /// The backup that it returned.
    pub returned: Option<Revision>,
    /// What it returned does not open.
    pub unreadable: bool,
    /// What it returned is the last that it was sent.
    pub verified: bool,
    /// What was last pushed on this connection. It may still be on its way to the disk.
    pub pushed: Option<Revision>,
}

impl Exchange {
    /// How far the present connection with a peer has come; none: it is not connected.
    pub fn progress(&self, peer: &PublicKey) -> Option<Progress> {
        let connection = self.connections.get(peer)?;
        let answered = connection.read_back == Some(ReadBack::Returned);
        let sent = self.storers.get(peer).and_then(|storer| storer.sent);
        let pushed = connection.pushed_at.and(sent);
        Some(Progress {
            read_back: connection.read_back.is_some(),
            answered,
            returned: connection.returned.map(|(revision, _)| revision),
            unreadable: answered && self.health.get(peer) == Some(&Health::Unreadable),
            verified: connection.returned_latest,
            pushed: pushed.map(|sent| sent.revision),
        })
    }
}
