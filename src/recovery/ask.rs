//! Asking a peer to close, over a session.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lightning::ln::types::ChannelId;

use super::journal::Way;
use super::naming::Naming;
use crate::backup::PeerRecord;
use crate::locks::lock;
use crate::session::{CloseAttempt, NotAsked, Session};

/// How peers are reached.
pub(super) struct Asker<'a> {
    pub session: &'a Session,
    /// How long a connection stays open after the question: some peers drop what they have not read
    /// when we leave first.
    pub stay: Duration,
}

/// What came of it.
pub(super) struct Answer {
    pub asked: Result<(), NotAsked>,
    /// The channels that the peer named before it was asked; none: it was not heard to its end.
    pub named: Option<Vec<ChannelId>>,
}

impl Asker<'_> {
    /// Connects, asks in this one way for what the peer may be asked for, and stays for a while.
    pub fn ask(&self, peer: &PeerRecord, naming: Naming, way: Way) -> Answer {
        let channels = naming.candidates();
        let attempt = match way {
            Way::Error => CloseAttempt::Error { channels },
            Way::BogusReestablish => CloseAttempt::BogusReestablish { channels },
        };
        // What a peer says once it was asked does not count: some answer for channels long closed.
        let heard = Arc::new(Mutex::new(None));
        let named_before = Arc::clone(&heard);
        let may_ask = Box::new(move |id: &_, named: &[_]| {
            *lock(&named_before) = Some(named.to_vec());
            naming.may_ask(id, named)
        });
        let outcome = self
            .session
            .request_close(peer, attempt, may_ask, self.stay);
        let named = lock(&heard).take();
        Answer {
            asked: outcome.asked,
            named,
        }
    }
}
