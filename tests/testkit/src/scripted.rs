//! Peers that treat a node which has lost its channels as other implementations do.
//!
//! A [`ScriptedPeer`] speaks over real sockets, as a [`RawPeer`] does. What it says, and on which
//! message it closes a channel, a [`Script`] decides: [`CoreLightning`], [`Lnd`] and [`Eclair`] are one
//! each, after what was run against the first and read in the source of the others. They know only
//! what matters once a channel is lost: how a connection begins, and what brings them to close.
//!
//! The closes are real. A stock [`Node`](crate::Node) opens the channels; then a script [takes it
//! over](take_over): with its keys, at its port, with the `channel_reestablish`s and the blob that the
//! node itself would send, and with its signed commitment transactions.

mod core_lightning;
mod eclair;
mod lnd;
mod take_over;

use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use bitcoin::Transaction;
use lightning::ln::msgs::{ChannelReestablish, ErrorMessage};
use lightning::ln::types::ChannelId;

pub use core_lightning::CoreLightning;
pub use eclair::Eclair;
pub use lnd::Lnd;
pub use take_over::{commitments, take_over, Estate};

use crate::chain::Chain;
use crate::lock::lock;
use crate::raw_peer::{Outgoing, RawPeer, RawPeerConfig, Received};

/// What an implementation does. It is called for one other node alone, and once at a time.
pub trait Script: Send + 'static {
    /// The other node has connected: a new connection begins.
    fn connected(&mut self, to: PublicKey, held: &Held) -> Vec<Act>;

    /// The other node says something about a channel.
    fn heard(&mut self, from: PublicKey, word: &Word, held: &Held) -> Vec<Act>;
}

/// Something that a [`Script`] does.
#[derive(Clone, Debug)]
// Few exist at a time.
#[allow(clippy::large_enum_variant)]
pub enum Act {
    /// Sends a message.
    Say(Outgoing),
    /// Publishes the commitment transaction of a channel, if it has such a channel.
    Close(ChannelId),
    /// Does this later, if the connection still stands then.
    Later(Duration, Vec<Act>),
}

/// What can bring a peer to close a channel.
#[derive(Clone, Debug)]
// Looked at one at a time.
#[allow(clippy::large_enum_variant)]
pub enum Word {
    /// An `error`.
    Error(ErrorMessage),
    /// A `channel_reestablish`.
    Reestablish(ChannelReestablish),
}

/// What a peer has of the other node.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// The blob that it keeps for the other node.
    pub blob: Option<Vec<u8>>,
    /// Their channels.
    pub channels: Vec<HeldChannel>,
}

/// A channel with the other node.
#[derive(Clone, Debug)]
pub struct HeldChannel {
    /// What the peer sends of it on each connection.
    pub reestablish: ChannelReestablish,
    /// The signed transaction that closes it.
    pub commitment: Transaction,
}

impl Held {
    /// A channel by its id.
    pub fn channel(&self, id: &ChannelId) -> Option<&HeldChannel> {
        let mut channels = self.channels.iter();
        channels.find(|channel| channel.reestablish.channel_id == *id)
    }

    fn ids(&self) -> Vec<ChannelId> {
        let ids = self.channels.iter().map(|c| c.reestablish.channel_id);
        ids.collect()
    }
}

impl HeldChannel {
    /// Whether numbers are higher than the other side can have, if it is honest.
    fn is_beyond(&self, other: &ChannelReestablish) -> bool {
        let mine = &self.reestablish;
        other.next_local_commitment_number > mine.next_remote_commitment_number + 2
            || other.next_remote_commitment_number > mine.next_local_commitment_number
    }
}

/// One connection of the other node with a [`ScriptedPeer`].
#[derive(Clone, Debug)]
pub struct Talk {
    /// When both had said `init`.
    pub begun: Instant,
    /// When it ended.
    pub ended: Option<Instant>,
    /// When the peer last handed a `channel_reestablish` to its connection.
    pub reestablished: Option<Instant>,
    /// What the other node said, `init`, ping, pong and warnings apart.
    pub heard: Vec<(Instant, Received)>,
}

/// A peer with a [`Script`].
pub struct ScriptedPeer {
    raw: Arc<RawPeer>,
    stage: Arc<Stage>,
}

/// What the connections of a peer have in common.
struct Stage {
    name: String,
    chain: Arc<Chain>,
    other: PublicKey,
    held: Held,
    script: Mutex<Box<dyn Script>>,
    talks: Mutex<Vec<Talk>>,
    raw: Mutex<Weak<RawPeer>>,
}

impl ScriptedPeer {
    /// Plays `script` in the place of the node that was taken over. Its transactions go to `chain`, in
    /// the node's name.
    pub fn start(chain: &Arc<Chain>, estate: Estate, script: impl Script) -> ScriptedPeer {
        let stage = Arc::new(Stage {
            name: estate.name.clone(),
            chain: Arc::clone(chain),
            other: estate.other,
            held: estate.held,
            script: Mutex::new(Box::new(script)),
            talks: Mutex::default(),
            raw: Mutex::default(),
        });
        let raw = Arc::new(RawPeer::start(RawPeerConfig {
            seed: estate.seed,
            listen: estate.port,
            ..RawPeerConfig::new(&estate.name)
        }));
        *lock(&stage.raw) = Arc::downgrade(&raw);
        let (at_first, later, at_last) = (stage.clone(), stage.clone(), stage.clone());
        raw.on_connect(move |peer, _| at_first.connected(peer));
        raw.on_message(move |message| later.heard(message));
        raw.on_disconnect(move |peer| at_last.disconnected(peer));
        ScriptedPeer { raw, stage }
    }

    /// Its connections, its node id and its address.
    pub fn raw(&self) -> &RawPeer {
        &self.raw
    }

    /// All connections of the other node so far.
    pub fn talks(&self) -> Vec<Talk> {
        lock(&self.stage.talks).clone()
    }

    /// Whether it has published this channel's commitment.
    pub fn has_closed(&self, channel: &ChannelId) -> bool {
        let held = self.stage.held.channel(channel);
        let published = self.stage.chain.submitted_by(&self.stage.name);
        held.is_some_and(|channel| published.contains(&channel.commitment))
    }

    /// What it has of the other node.
    pub fn held(&self) -> &Held {
        &self.stage.held
    }
}

impl Stage {
    fn connected(self: &Arc<Self>, peer: PublicKey) -> Vec<Outgoing> {
        if peer != self.other {
            return Vec::new();
        }
        let talk = {
            let mut talks = lock(&self.talks);
            talks.push(Talk {
                begun: Instant::now(),
                ended: None,
                reestablished: None,
                heard: Vec::new(),
            });
            talks.len()
        };
        let acts = lock(&self.script).connected(peer, &self.held);
        self.perform(talk, acts)
    }

    fn heard(self: &Arc<Self>, message: &Received) -> Vec<Outgoing> {
        if message.from != self.other {
            return Vec::new();
        }
        let talk = {
            let mut talks = lock(&self.talks);
            let Some(talk) = talks.last_mut() else {
                return Vec::new();
            };
            talk.heard.push((Instant::now(), message.clone()));
            talks.len()
        };
        let word = match message.type_id {
            17 => Word::Error(message.read()),
            136 => Word::Reestablish(message.read()),
            _ => return Vec::new(),
        };
        let acts = lock(&self.script).heard(message.from, &word, &self.held);
        self.perform(talk, acts)
    }

    fn disconnected(&self, peer: PublicKey) {
        if peer == self.other {
            if let Some(talk) = lock(&self.talks).last_mut() {
                talk.ended = Some(Instant::now());
            }
        }
    }

    /// Returns what is to be sent at once.
    fn perform(self: &Arc<Self>, talk: usize, acts: Vec<Act>) -> Vec<Outgoing> {
        let mut said = Vec::new();
        for act in acts {
            match act {
                Act::Say(message) => {
                    if is_reestablish(&message) {
                        lock(&self.talks)[talk - 1].reestablished = Some(Instant::now());
                    }
                    said.push(message);
                }
                Act::Close(id) => {
                    if let Some(channel) = self.held.channel(&id) {
                        // One that has closed before is refused; that is no matter.
                        let _ = self.chain.submit_as(&self.name, &channel.commitment);
                    }
                }
                Act::Later(pause, acts) => {
                    let stage = Arc::clone(self);
                    std::thread::spawn(move || stage.perform_later(talk, pause, acts));
                }
            }
        }
        said
    }

    fn perform_later(self: Arc<Self>, talk: usize, pause: Duration, acts: Vec<Act>) {
        std::thread::sleep(pause);
        let stands = {
            let talks = lock(&self.talks);
            talks.len() == talk && talks[talk - 1].ended.is_none()
        };
        let raw = lock(&self.raw).upgrade();
        if let (true, Some(raw)) = (stands, raw) {
            raw.send_all(self.perform(talk, acts));
        }
    }
}

fn is_reestablish(message: &Outgoing) -> bool {
    use lightning::ln::msgs::MessageSendEvent::SendChannelReestablish;
    match message {
        Outgoing::Event(event) => matches!(event, SendChannelReestablish { .. }),
        Outgoing::Raw { type_id, .. } => *type_id == 136,
    }
}

fn reestablishes(to: PublicKey, held: &Held) -> impl Iterator<Item = Act> + '_ {
    let all = held.channels.iter().map(|channel| &channel.reestablish);
    all.map(move |msg| Act::Say(Outgoing::reestablish(to, msg.clone())))
}
