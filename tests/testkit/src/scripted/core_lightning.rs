//! Core Lightning 26.06, as it was seen to behave.

use std::collections::BTreeSet;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::types::ChannelId;

use super::{reestablishes, Act, Held, Script, Word};
use crate::raw_peer::Outgoing;

/// Sends its own `peer_storage` first, then what it keeps, then one `channel_reestablish` for each
/// channel. It closes at an `error`; at a `channel_reestablish` without numbers only while a channel is
/// fresh, else its channel daemon leaves with a warning, and with it an `error` that comes close behind.
/// (Here any later one on that connection; in truth those of the next few milliseconds.)
#[derive(Debug, Default)]
pub struct CoreLightning {
    /// Channels whose daemon has left, on this connection.
    without_daemon: BTreeSet<ChannelId>,
    /// It no longer reads from this connection.
    deaf: bool,
}

/// The size of its own backup with one channel.
const OWN_BACKUP: usize = 344;

impl Script for CoreLightning {
    fn connected(&mut self, to: PublicKey, held: &Held) -> Vec<Act> {
        *self = CoreLightning::default();
        let mut acts = vec![Act::Say(Outgoing::storage(to, vec![0x5c; OWN_BACKUP]))];
        let kept = held.blob.iter();
        acts.extend(kept.map(|blob| Act::Say(Outgoing::retrieval(to, blob.clone()))));
        acts.extend(reestablishes(to, held));
        acts
    }

    fn heard(&mut self, from: PublicKey, word: &Word, held: &Held) -> Vec<Act> {
        if self.deaf {
            return Vec::new();
        }
        match word {
            Word::Error(error) if error.channel_id == ChannelId::new_zero() => {
                vec![Act::Say(Outgoing::hang_up(from))]
            }
            Word::Error(error) if self.without_daemon.contains(&error.channel_id) => Vec::new(),
            Word::Error(error) => vec![Act::Close(error.channel_id)],
            Word::Reestablish(theirs) => {
                let id = theirs.channel_id;
                let Some(channel) = held.channel(&id) else {
                    return Vec::new();
                };
                if self.without_daemon.contains(&id) {
                    // "channel already active": from here on nothing is read.
                    self.deaf = true;
                    return Vec::new();
                }
                // It looks at the revocations before it looks for a zero.
                let ours = channel.reestablish.next_local_commitment_number;
                let revoked = theirs.next_remote_commitment_number;
                if revoked + 2 < ours {
                    self.without_daemon.insert(id);
                    let text = format!("bad reestablish revocation_number: {revoked} vs {ours}");
                    return vec![Act::Say(Outgoing::warning(from, &text))];
                }
                if theirs.next_local_commitment_number == 0 {
                    let text = "bad reestablish commitment_number: 0";
                    return vec![Act::Close(id), Act::Say(Outgoing::error(from, id, text))];
                }
                Vec::new()
            }
        }
    }
}
