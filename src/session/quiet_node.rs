//! LDK's `PeerManager` over a handler that says nothing about channels (safety rule 10).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::peer_handler::{
    IgnoringMessageHandler, MessageHandler, PeerManager, SocketDescriptor,
};
use lightning::sign::{EntropySource, NodeSigner};
use lightning::util::logger::Logger;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{timeout_at, Instant};

use super::observer::{Claim, Observer};
use super::socket::{drive, EndedBy, Manager, Socket};
use crate::ldk::{NoLog, QuietHandler};
use crate::locks::lock;
use crate::service::PeerStorage;

type Ignore = Arc<IgnoringMessageHandler>;
type Keys = Arc<dyn NodeSigner + Send + Sync>;
type Log = Arc<dyn Logger + Send + Sync>;
type Peers = PeerManager<Socket, Arc<Observer>, Ignore, Ignore, Log, Ignore, Keys, Ignore>;

pub(super) struct QuietNode {
    peers: Peers,
    pub observer: Arc<Observer>,
    /// Held while events are processed: then whoever has processed them himself knows that LDK has
    /// all that was waiting before.
    processing: Mutex<()>,
}

impl QuietNode {
    pub fn new<K>(
        storage: &PeerStorage,
        keys: Arc<K>,
        handler: QuietHandler,
        logger: Option<Log>,
    ) -> Arc<QuietNode>
    where
        K: NodeSigner + EntropySource + Send + Sync + 'static,
    {
        let observer = Arc::new(Observer::new(storage, handler));
        let ignore = Arc::new(IgnoringMessageHandler {});
        let handlers = MessageHandler {
            chan_handler: observer.clone(),
            route_handler: Arc::clone(&ignore),
            onion_message_handler: Arc::clone(&ignore),
            custom_message_handler: Arc::clone(&ignore),
            send_only_message_handler: ignore,
        };
        let random = keys.get_secure_random_bytes();
        let logger = storage.logger(logger.unwrap_or_else(|| Arc::new(NoLog)));
        let node = Arc::new(QuietNode {
            peers: PeerManager::new(handlers, 0, &random, Arc::new(logger), keys),
            observer,
            processing: Mutex::default(),
        });
        let weak = Arc::downgrade(&node);
        storage.set_waker(move || {
            if let Some(node) = weak.upgrade() {
                node.process();
            }
        });
        node
    }

    /// Has LDK ask for messages and send them.
    pub fn process(&self) {
        let in_turn = lock(&self.processing);
        self.peers.process_events();
        drop(in_turn);
        self.observer.stir();
    }

    /// Pings, and hangs up on who has not answered. Every ten seconds.
    pub fn tick(&self) {
        self.peers.timer_tick_occurred();
    }

    /// Begins a connection to a peer on a fresh stream: none where LDK does not take it.
    pub fn begin(
        self: &Arc<Self>,
        claim: Arc<Claim>,
        peer: PublicKey,
        stream: TcpStream,
        linger: Duration,
    ) -> Option<Connection> {
        self.observer.begin(&peer);
        let mut socket = Socket::new();
        let act_one = self
            .peers
            .new_outbound_connection(peer, socket.clone(), None)
            .ok()?;
        socket.send_data(&act_one, true);
        let driver = drive(socket.clone(), stream, self.clone(), linger);
        Some(Connection {
            node: self.clone(),
            socket,
            driver: tokio::spawn(driver),
            _claim: claim,
        })
    }
}

impl Manager for QuietNode {
    fn read(&self, socket: &mut Socket, bytes: &[u8]) -> bool {
        let read = self.peers.read_event(socket, bytes);
        // What follows is sent, and reading is paused where it is too much.
        self.process();
        read.is_ok()
    }

    fn space(&self, socket: &mut Socket) {
        // An error means that LDK has ended the connection, which the socket knows already.
        let _ = self.peers.write_buffer_space_avail(socket);
    }

    fn ended(&self, socket: &Socket) {
        self.peers.socket_disconnected(socket);
        self.process();
    }
}

/// A connection that was dialled. Dropping it cuts it.
pub(super) struct Connection {
    node: Arc<QuietNode>,
    socket: Socket,
    driver: JoinHandle<bool>,
    /// The peer is nobody else's until the driver has gone.
    _claim: Arc<Claim>,
}

impl Connection {
    /// Why it ends, if it does.
    pub fn ended_by(&self) -> Option<EndedBy> {
        self.socket.ended_by()
    }

    /// Sends all that waits, and ends the connection in order, as far as there is time. Whether the
    /// peer has read everything.
    pub async fn hang_up(mut self, end: Instant) -> bool {
        self.node.process();
        let drained = timeout_at(end, self.socket.drained()).await.is_ok();
        self.node.peers.socket_disconnected(&self.socket);
        self.socket.end(EndedBy::Us);
        let in_order = timeout_at(end, &mut self.driver).await;
        drained && matches!(in_order, Ok(Ok(true)))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.node.peers.socket_disconnected(&self.socket);
        self.socket.end(EndedBy::Us);
        self.driver.abort();
    }
}
