//! LND, as its source says.

use std::collections::BTreeSet;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{ChannelUpdate, MessageSendEvent};
use lightning::ln::types::ChannelId;
use lightning::util::ser::LengthReadable;

use super::{reestablishes, Act, Held, Script, Word};
use crate::raw_peer::{channel_messages, Outgoing};

/// Keeps no blobs, and says other things before it speaks of its channels. It closes at a
/// `channel_reestablish` without numbers, if that is the first it hears of a channel on a connection: at an
/// `error` it gives the channel up for this connection, answers, and stays. What it has not come to
/// when the other side leaves, it drops.
#[derive(Debug)]
pub struct Lnd {
    digestion: Duration,
    older: bool,
    /// Channels whose link has failed, on this connection.
    failed: BTreeSet<ChannelId>,
    /// Channels that it will never close: somebody seemed to know more of them than it does itself.
    borked: BTreeSet<ChannelId>,
}

impl Lnd {
    /// What it answers to an `error`.
    pub const RECOVERY_REQUIRED: &'static str = "unable to resume channel, recovery required";

    /// It acts on a message only so long after it came.
    pub fn new(digestion: Duration) -> Lnd {
        Lnd {
            digestion,
            older: false,
            failed: BTreeSet::new(),
            borked: BTreeSet::new(),
        }
    }

    /// One that sends `channel_ready` and `announcement_signatures` before `channel_reestablish`.
    pub fn older(mut self) -> Lnd {
        self.older = true;
        self
    }
}

impl Script for Lnd {
    fn connected(&mut self, to: PublicKey, held: &Held) -> Vec<Act> {
        self.failed.clear();
        let mut acts = vec![Act::Say(gossip(to))];
        if self.older {
            let early = |id| channel_messages(id).into_iter();
            for id in held.ids() {
                // LDK sends raw messages last, so these come as its own events.
                let mut samples = early(id).filter(|(type_id, _)| [36, 259].contains(type_id));
                acts.extend(samples.by_ref().map(|(type_id, body)| {
                    Act::Say(Outgoing::Event(match type_id {
                        36 => MessageSendEvent::SendChannelReady {
                            node_id: to,
                            msg: read(&body),
                        },
                        _ => MessageSendEvent::SendAnnouncementSignatures {
                            node_id: to,
                            msg: read(&body),
                        },
                    }))
                }));
            }
        }
        acts.extend(reestablishes(to, held));
        // In truth after a minute.
        let ping = Act::Later(self.digestion * 2, vec![Act::Say(ping(to))]);
        acts.extend([Act::Say(self::ping(to)), ping]);
        acts
    }

    fn heard(&mut self, from: PublicKey, word: &Word, held: &Held) -> Vec<Act> {
        match word {
            Word::Error(error) => {
                let id = error.channel_id;
                if held.channel(&id).is_none() || !self.failed.insert(id) {
                    return Vec::new();
                }
                let answer = Outgoing::error(from, id, Lnd::RECOVERY_REQUIRED);
                vec![Act::Later(self.digestion, vec![Act::Say(answer)])]
            }
            Word::Reestablish(theirs) => {
                let id = theirs.channel_id;
                let Some(channel) = held.channel(&id).filter(|_| !self.failed.contains(&id)) else {
                    return Vec::new();
                };
                if channel.is_beyond(theirs) {
                    self.borked.insert(id);
                }
                if theirs.next_local_commitment_number != 0 || self.borked.contains(&id) {
                    return Vec::new();
                }
                vec![Act::Later(self.digestion, vec![Act::Close(id)])]
            }
        }
    }
}

/// A `channel_update` of somebody's.
fn gossip(to: PublicKey) -> Outgoing {
    let samples = channel_messages(ChannelId([7; 32]));
    let update = samples.into_iter().find(|(type_id, _)| *type_id == 258);
    let msg: ChannelUpdate = read(&update.expect("one of each").1);
    Outgoing::Event(MessageSendEvent::SendChannelUpdate { node_id: to, msg })
}

fn read<M: LengthReadable>(body: &[u8]) -> M {
    M::read_from_fixed_length_buffer(&mut &body[..]).expect("a sample that LDK reads")
}

/// Wants a pong of 16 bytes.
fn ping(to: PublicKey) -> Outgoing {
    Outgoing::Raw {
        to,
        type_id: 18,
        body: vec![0, 16, 0, 0],
    }
}
