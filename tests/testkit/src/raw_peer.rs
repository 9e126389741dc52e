//! A Lightning peer without channels and without rules.
//!
//! It does the Noise handshake, `init`, ping and pong; beyond that it sends what a test tells it to
//! send, and notes what it receives. With it a test plays a storer that lies, a peer that forgets,
//! or one that sends each kind of channel message to a node that must stay quiet.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use bitcoin::hashes::{sha256, Hash};
use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{
    ChannelReestablish, ErrorAction, ErrorMessage, Init, MessageSendEvent, PeerStorage,
    PeerStorageRetrieval, WarningMessage,
};
use lightning::ln::peer_handler::{IgnoringMessageHandler, MessageHandler, PeerManager};
use lightning::ln::types::ChannelId;
use lightning::sign::{EntropySource, KeysManager, NodeSigner, Recipient};
use lightning::types::features::InitFeatures;
use lightning::util::logger::Logger;
use lightning::util::ser::{LengthReadable, Writeable};
use lightning_net_tokio::SocketDescriptor;

use crate::lock::lock;
use crate::net::Net;
use crate::panics::ThreadTag;
use crate::wait::{wait_until, DEADLINE};
use crate::wire::{MemoryLog, WireTap};
use handlers::{ChannelHandler, OtherHandler};

mod handlers;
mod samples;

pub use samples::channel_messages;

type RawPeerManager = PeerManager<
    SocketDescriptor,
    Arc<ChannelHandler>,
    Arc<OtherHandler>,
    Arc<OtherHandler>,
    Arc<WireTap>,
    Arc<OtherHandler>,
    Arc<KeysManager>,
    Arc<IgnoringMessageHandler>,
>;

/// What [`RawPeer::start`] needs.
#[derive(Clone)]
pub struct RawPeerConfig {
    /// For messages.
    pub name: String,
    /// Gives the node id, the same as a [`crate::Node`] with this seed has.
    pub seed: [u8; 32],
    /// What it claims to support.
    pub features: InitFeatures,
    /// The port on 127.0.0.1; a free one if `None`.
    pub listen: Option<u16>,
}

impl RawPeerConfig {
    /// A peer with all usual features, `option_provide_storage` among them. The seed is made from
    /// the name.
    pub fn new(name: &str) -> RawPeerConfig {
        let mut features = InitFeatures::empty();
        features.set_data_loss_protect_optional();
        features.set_upfront_shutdown_script_optional();
        features.set_variable_length_onion_optional();
        features.set_static_remote_key_optional();
        features.set_payment_secret_optional();
        features.set_basic_mpp_optional();
        features.set_wumbo_optional();
        features.set_anchors_zero_fee_htlc_tx_optional();
        features.set_shutdown_any_segwit_optional();
        features.set_channel_type_optional();
        features.set_scid_privacy_optional();
        features.set_zero_conf_optional();
        features.set_provide_storage_optional();
        RawPeerConfig {
            name: name.to_owned(),
            seed: sha256::Hash::hash(name.as_bytes()).to_byte_array(),
            features,
            listen: None,
        }
    }
}

/// A message that a [`RawPeer`] received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Who sent it.
    pub from: PublicKey,
    /// Its number on the wire.
    pub type_id: u16,
    /// LDK's name of the type, as in [`crate::WireMessage`]; `Unknown(..)` if it has none.
    pub name: String,
    /// The message without its number.
    pub body: Vec<u8>,
}

impl Received {
    /// The message as one of LDK's types.
    pub fn read<M: LengthReadable>(&self) -> M {
        let read = M::read_from_fixed_length_buffer(&mut &self.body[..]);
        read.unwrap_or_else(|e| panic!("{} is no such message: {e:?}", self.name))
    }

    /// The blob in a `peer_storage` or a `peer_storage_retrieval`.
    pub fn blob(&self) -> Vec<u8> {
        match self.type_id {
            7 => self.read::<PeerStorage>().data,
            9 => self.read::<PeerStorageRetrieval>().data,
            _ => panic!("{} has no blob", self.name),
        }
    }
}

/// A message for a [`RawPeer`] to send.
#[derive(Clone, Debug)]
// Few exist at a time, and tests write them out.
#[allow(clippy::large_enum_variant)]
pub enum Outgoing {
    /// Anything that LDK knows how to send.
    Event(MessageSendEvent),
    /// Any bytes under any number. Where both kinds wait, LDK sends all events first.
    Raw {
        /// To whom.
        to: PublicKey,
        /// The number on the wire.
        type_id: u16,
        /// What follows it.
        body: Vec<u8>,
    },
}

impl Outgoing {
    /// A `peer_storage`.
    pub fn storage(to: PublicKey, blob: Vec<u8>) -> Outgoing {
        let msg = PeerStorage { data: blob };
        Outgoing::Event(MessageSendEvent::SendPeerStorage { node_id: to, msg })
    }

    /// A `peer_storage_retrieval`.
    pub fn retrieval(to: PublicKey, blob: Vec<u8>) -> Outgoing {
        let msg = PeerStorageRetrieval { data: blob };
        Outgoing::Event(MessageSendEvent::SendPeerStorageRetrieval { node_id: to, msg })
    }

    /// A `channel_reestablish`.
    pub fn reestablish(to: PublicKey, msg: ChannelReestablish) -> Outgoing {
        Outgoing::Event(MessageSendEvent::SendChannelReestablish { node_id: to, msg })
    }

    /// An `error`.
    pub fn error(to: PublicKey, channel_id: ChannelId, text: &str) -> Outgoing {
        let msg = ErrorMessage {
            channel_id,
            data: text.to_owned(),
        };
        let action = ErrorAction::SendErrorMessage { msg };
        Outgoing::Event(MessageSendEvent::HandleError {
            node_id: to,
            action,
        })
    }

    /// A `warning`.
    pub fn warning(to: PublicKey, text: &str) -> Outgoing {
        let channel_id = ChannelId::new_zero();
        let msg = WarningMessage {
            channel_id,
            data: text.to_owned(),
        };
        let log_level = lightning::util::logger::Level::Debug;
        let action = ErrorAction::SendWarningMessage { msg, log_level };
        Outgoing::Event(MessageSendEvent::HandleError {
            node_id: to,
            action,
        })
    }

    /// The end of the connection, after what was said before.
    pub fn hang_up(to: PublicKey) -> Outgoing {
        Outgoing::Event(MessageSendEvent::HandleError {
            node_id: to,
            action: ErrorAction::DisconnectPeer { msg: None },
        })
    }

    /// A message of LDK's, as bytes.
    pub fn raw(to: PublicKey, type_id: u16, message: &impl Writeable) -> Outgoing {
        Outgoing::Raw {
            to,
            type_id,
            body: message.encode(),
        }
    }
}

/// A peer under the test's control. Dropping it closes its sockets.
pub struct RawPeer {
    id: PublicKey,
    peer_manager: Arc<RawPeerManager>,
    desk: Arc<Desk>,
    wire: Arc<WireTap>,
    tag: ThreadTag,
    addr: SocketAddr,
    net: Option<Net>,
}

/// What is answered when somebody connects.
type OnConnect = dyn Fn(PublicKey, &Init) -> Vec<Outgoing> + Send + Sync;
/// What is answered to a message.
type OnMessage = dyn Fn(&Received) -> Vec<Outgoing> + Send + Sync;

/// What is done when a connection has ended.
type OnDisconnect = dyn Fn(PublicKey) + Send + Sync;

/// Where the handlers put what comes, and find what is to go.
#[derive(Default)]
struct Desk {
    received: Mutex<Vec<Received>>,
    more: Condvar,
    events: Mutex<Vec<MessageSendEvent>>,
    raw: Mutex<Vec<(PublicKey, RawMessage)>>,
    on_connect: Mutex<Option<Arc<OnConnect>>>,
    on_message: Mutex<Option<Arc<OnMessage>>>,
    on_disconnect: Mutex<Option<Arc<OnDisconnect>>>,
}

/// A message that LDK does not look into.
#[derive(Clone, Debug)]
struct RawMessage {
    type_id: u16,
    body: Vec<u8>,
}

impl RawPeer {
    /// Starts a peer with the usual features.
    pub fn new(name: &str) -> RawPeer {
        RawPeer::start(RawPeerConfig::new(name))
    }

    /// Starts a peer.
    pub fn start(config: RawPeerConfig) -> RawPeer {
        let keys = Arc::new(KeysManager::new(&config.seed, 0, 0, true));
        let desk = Arc::new(Desk::default());
        let log: Arc<dyn Logger + Send + Sync> = Arc::new(MemoryLog::default());
        let wire = Arc::new(WireTap::new(log));
        let others = Arc::new(OtherHandler::new(&desk));
        let peer_manager = Arc::new(PeerManager::new(
            MessageHandler {
                chan_handler: Arc::new(ChannelHandler::new(&desk, config.features)),
                route_handler: Arc::clone(&others),
                onion_message_handler: Arc::clone(&others),
                custom_message_handler: others,
                send_only_message_handler: Arc::new(IgnoringMessageHandler {}),
            },
            0,
            &keys.get_secure_random_bytes(),
            Arc::clone(&wire),
            Arc::clone(&keys),
        ));
        let tag = ThreadTag::new(&config.name);
        let net = Net::start(&tag, config.listen, Arc::clone(&peer_manager));
        RawPeer {
            id: keys
                .get_node_id(Recipient::Node)
                .expect("a seed has a node id"),
            peer_manager,
            desk,
            wire,
            tag,
            addr: net.addr(),
            net: Some(net),
        }
    }

    /// Its public key.
    pub fn id(&self) -> PublicKey {
        self.id
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// All messages received and sent, with the warnings, which no handler gets to see.
    pub fn wire(&self) -> &WireTap {
        &self.wire
    }

    /// What the first panic on one of its threads said, if there was one.
    pub fn panicked(&self) -> Option<String> {
        self.tag.panics().into_iter().next()
    }

    /// What it sends, before anything else, whenever a peer has sent `init`.
    pub fn on_connect(
        &self,
        answer: impl Fn(PublicKey, &Init) -> Vec<Outgoing> + Send + Sync + 'static,
    ) {
        *lock(&self.desk.on_connect) = Some(Arc::new(answer));
    }

    /// What it answers to each message (`init`, ping, pong, warnings apart).
    pub fn on_message(&self, answer: impl Fn(&Received) -> Vec<Outgoing> + Send + Sync + 'static) {
        *lock(&self.desk.on_message) = Some(Arc::new(answer));
    }

    /// What it does when a connection has ended. It must not send anything.
    pub fn on_disconnect(&self, then: impl Fn(PublicKey) + Send + Sync + 'static) {
        *lock(&self.desk.on_disconnect) = Some(Arc::new(then));
    }

    /// Connects, and waits for the other side's `init`. Panics after the deadline.
    #[track_caller]
    pub fn connect(&self, peer: &PublicKey, addr: SocketAddr) {
        wait_until("a connection", DEADLINE, || self.try_connect(peer, addr));
    }

    /// Tries once to connect; false if nobody listens, or the connection ends at once.
    pub fn try_connect(&self, peer: &PublicKey, addr: SocketAddr) -> bool {
        let connected = || self.is_connected(peer);
        let net = self.net.as_ref().expect("it runs");
        let manager = Arc::clone(&self.peer_manager);
        connected() || net.dial(manager, *peer, addr, connected)
    }

    /// Ends the connection to a peer.
    pub fn disconnect(&self, peer: &PublicKey) {
        self.peer_manager.disconnect_by_node_id(*peer);
    }

    /// Whether `init` messages have been exchanged with a peer.
    pub fn is_connected(&self, peer: &PublicKey) -> bool {
        self.peer_manager.peer_by_node_id(peer).is_some()
    }

    /// Waits for somebody else to connect.
    #[track_caller]
    pub fn wait_connected(&self, peer: &PublicKey) {
        wait_until("a connection", DEADLINE, || self.is_connected(peer));
    }

    /// Sends a message; nothing happens if its addressee is not connected.
    pub fn send(&self, message: Outgoing) {
        self.desk.put(vec![message]);
        self.peer_manager.process_events();
    }

    /// Sends several at once.
    pub fn send_all(&self, messages: Vec<Outgoing>) {
        self.desk.put(messages);
        self.peer_manager.process_events();
    }

    /// Sends an event of LDK's.
    pub fn send_event(&self, event: MessageSendEvent) {
        self.send(Outgoing::Event(event));
    }

    /// Sends a `peer_storage`: the peer is to keep this blob.
    pub fn push_storage(&self, to: &PublicKey, blob: &[u8]) {
        self.send(Outgoing::storage(*to, blob.to_vec()));
    }

    /// Sends a `peer_storage_retrieval`: here is what the peer gave us to keep.
    pub fn send_retrieval(&self, to: &PublicKey, blob: &[u8]) {
        self.send(Outgoing::retrieval(*to, blob.to_vec()));
    }

    /// Everything received (`init` with number 16 among it), in order.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.desk.received).clone()
    }

    /// The blobs that a peer pushed, in order.
    pub fn pushed_by(&self, peer: &PublicKey) -> Vec<Vec<u8>> {
        self.blobs(peer, 7)
    }

    /// The blobs that a peer returned, in order.
    pub fn returned_by(&self, peer: &PublicKey) -> Vec<Vec<u8>> {
        self.blobs(peer, 9)
    }

    /// Sends one of every kind of channel message ([`channel_messages`]).
    pub fn send_every_channel_message(&self, to: &PublicKey, channel_id: ChannelId) {
        let raw = |(type_id, body)| Outgoing::Raw {
            to: *to,
            type_id,
            body,
        };
        let samples = channel_messages(channel_id);
        self.send_all(samples.into_iter().map(raw).collect());
    }

    /// Waits until something satisfies `wanted`, from the `mark`th message on (0: since the start).
    #[track_caller]
    pub fn wait_received(
        &self,
        what: &str,
        mark: usize,
        wanted: impl Fn(&Received) -> bool,
    ) -> Received {
        let end = Instant::now() + DEADLINE;
        let mut received = lock(&self.desk.received);
        loop {
            if let Some(found) = received.iter().skip(mark).find(|m| wanted(m)) {
                return found.clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "waited in vain for: {what}; received: {:?}",
                received
                    .iter()
                    .skip(mark)
                    .map(|m| &m.name)
                    .collect::<Vec<_>>()
            );
            let waited = self.desk.more.wait_timeout(received, left);
            received = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }

    fn blobs(&self, peer: &PublicKey, type_id: u16) -> Vec<Vec<u8>> {
        let wanted = |m: &&Received| m.from == *peer && m.type_id == type_id;
        lock(&self.desk.received)
            .iter()
            .filter(wanted)
            .map(Received::blob)
            .collect()
    }
}

impl Drop for RawPeer {
    fn drop(&mut self) {
        if let Some(net) = self.net.take() {
            net.cut();
        }
    }
}

impl std::fmt::Debug for RawPeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RawPeer({})", self.id)
    }
}

impl Desk {
    fn put(&self, messages: Vec<Outgoing>) {
        for message in messages {
            match message {
                Outgoing::Event(event) => lock(&self.events).push(event),
                Outgoing::Raw { to, type_id, body } => {
                    lock(&self.raw).push((to, RawMessage { type_id, body }));
                }
            }
        }
    }

    fn note(&self, message: Received) {
        let answer = lock(&self.on_message).clone();
        let answer = answer.filter(|_| message.type_id != 16);
        let answers = answer.map(|answer| answer(&message));
        lock(&self.received).push(message);
        self.more.notify_all();
        self.put(answers.unwrap_or_default());
    }

    fn disconnected(&self, from: PublicKey) {
        let then = lock(&self.on_disconnect).clone();
        if let Some(then) = then {
            then(from);
        }
    }

    fn connected(&self, from: PublicKey, init: &Init) {
        let answer = lock(&self.on_connect).clone();
        let answers = answer.map(|answer| answer(from, init));
        self.note(Received {
            from,
            type_id: 16,
            name: "Init".to_owned(),
            body: init.encode(),
        });
        self.put(answers.unwrap_or_default());
    }
}
