//! Asking a peer to close, over a session.

use std::time::Duration;

use super::journal::Way;
use super::naming::Naming;
use crate::backup::PeerRecord;
use crate::session::{CloseAttempt, NotAsked, Session};

/// How peers are reached.
pub(super) struct Asker<'a> {
    pub session: &'a Session,
    /// How long a connection stays open after the question: some peers drop what they have not read
    /// when we leave first.
    pub stay: Duration,
}

impl Asker<'_> {
    /// Connects, asks in this one way for what the peer may be asked for, and stays for a while.
    pub fn ask(&self, peer: &PeerRecord, naming: Naming, way: Way) -> Result<(), NotAsked> {
        let channels = naming.candidates();
        let attempt = match way {
            Way::Error => CloseAttempt::Error { channels },
            Way::BogusReestablish => CloseAttempt::BogusReestablish { channels },
        };
        let may_ask = Box::new(move |id: &_, named: &[_]| naming.may_ask(id, named));
        let outcome = self
            .session
            .request_close(peer, attempt, may_ask, self.stay);
        outcome.asked
    }
}
