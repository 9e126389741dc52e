//! Eclair 0.14, as its source says.

use std::collections::BTreeSet;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::types::ChannelId;

use super::{reestablishes, Act, Held, Script, Word};
use crate::raw_peer::Outgoing;

/// Returns what it keeps, speaks of its channels and recommends fee rates, in any order. It closes at an
/// `error`, but for some texts; a `channel_reestablish` without numbers says to it that the other side
/// is late, and it stands by.
#[derive(Debug, Default)]
pub struct Eclair {
    connections: usize,
    /// Channels whose other side seemed to know more than it does: up to 0.14.1 stuck for good.
    stuck: BTreeSet<ChannelId>,
}

/// An `error` that says this is ignored.
const IGNORED: [&str; 2] = ["internal error", "link failed to shutdown"];
/// Odd, so that everybody may ignore it.
const RECOMMENDED_FEERATES: u16 = 39_409;

impl Script for Eclair {
    fn connected(&mut self, to: PublicKey, held: &Held) -> Vec<Act> {
        self.connections += 1;
        let kept = held.blob.iter();
        let kept = kept.map(|blob| Act::Say(Outgoing::retrieval(to, blob.clone())));
        let mut acts: Vec<_> = match self.connections % 2 {
            1 => kept.chain(reestablishes(to, held)).collect(),
            _ => reestablishes(to, held).chain(kept).collect(),
        };
        acts.push(Act::Say(Outgoing::Raw {
            to,
            type_id: RECOMMENDED_FEERATES,
            body: vec![0; 40],
        }));
        acts
    }

    fn heard(&mut self, from: PublicKey, word: &Word, held: &Held) -> Vec<Act> {
        match word {
            Word::Error(error) if error.channel_id == ChannelId::new_zero() => {
                let ids = held.ids().into_iter();
                let close = ids.filter(|id| !self.stuck.contains(id)).map(Act::Close);
                close.chain([Act::Say(Outgoing::hang_up(from))]).collect()
            }
            Word::Error(error) if IGNORED.contains(&error.data.as_str()) => Vec::new(),
            Word::Error(error) if self.stuck.contains(&error.channel_id) => Vec::new(),
            Word::Error(error) => vec![Act::Close(error.channel_id)],
            Word::Reestablish(theirs) => {
                let channel = held.channel(&theirs.channel_id);
                if channel.is_some_and(|channel| channel.is_beyond(theirs)) {
                    self.stuck.insert(theirs.channel_id);
                }
                Vec::new()
            }
        }
    }
}
