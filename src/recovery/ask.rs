//! Asking a peer to close, over a session.

use std::time::Duration;

use lightning::ln::types::ChannelId;

use super::journal::Way;
use crate::backup::PeerRecord;
use crate::session::{CloseAttempt, Session};

/// How peers are reached.
pub(super) struct Asker<'a> {
    pub session: &'a Session,
    /// How long a connection stays open after the question: some peers drop what they have not read
    /// when we leave first.
    pub stay: Duration,
}

impl Asker<'_> {
    /// Connects, asks in this one way, and stays for a while. An error says why nothing was asked.
    pub fn ask(&self, peer: &PeerRecord, channels: &[ChannelId], way: Way) -> Result<(), String> {
        let channels = channels.to_vec();
        let attempt = match way {
            Way::Error => CloseAttempt::Error { channels },
            Way::BogusReestablish => CloseAttempt::BogusReestablish { channels },
        };
        let outcome = self.session.request_close(peer, attempt, self.stay);
        outcome.asked.map_err(|why| why.to_string())
    }
}
