//! A complete LDK node for tests.
//!
//! It is what a wallet has: `ChannelManager`, `ChainMonitor`, `KeysManager` and `PeerManager`, data
//! in a directory, TCP connections with Noise, and one thread, the pump, that does what
//! `lightning-background-processor` does for a wallet. A node takes exactly the data from its
//! directory that a process after a crash would find there, so stopping, killing, restarting and
//! putting an old copy of the directory back behave as they do for a person.

mod config;
mod disk;
mod extension;
mod payments;
mod plug;
mod pump;
mod start;
mod types;
mod wallet;

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use bitcoin::{OutPoint, ScriptBuf, Transaction};
use lightning::events::{ClosureReason, Event};
use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::types::ChannelId;
use lightning::sign::SpendableOutputDescriptor;

pub use config::{ChannelType, KeyDerivation, NodeConfig};
pub use disk::{copy_dir, wipe};
pub use extension::{Extension, NodeParts, StockNode};
pub use payments::{
    open_channel, open_channel_pushing, pay, pay_hold, pay_request, request_payment, start_payment,
    HeldPayment, PaymentRequest,
};
pub use types::{
    DynBroadcaster, DynFeeEstimator, DynFilter, DynHandler, DynLogger, DynPersist, NoMessageRouter,
    NoRouter, TestChainMonitor, TestChannelManager, TestPeerManager,
};

use crate::lock::lock;
use crate::net::Net;
use crate::panics::ThreadTag;
use crate::wait::{wait_until, DEADLINE};
use crate::wire::{MemoryLog, WireTap};
use disk::Disk;
use plug::Plug;
use wallet::Wallet;

/// So much of its log a node prints when the test fails.
const LINES_ON_FAILURE: usize = 25;
/// And as much of each.
const CHARS_ON_FAILURE: usize = 160;

/// A running node. Dropping it stops it.
pub struct Node {
    config: NodeConfig,
    parts: NodeParts,
    peer_manager: Arc<TestPeerManager>,
    shared: Arc<Shared>,
    tag: ThreadTag,
    log: Arc<MemoryLog>,
    wire: Arc<WireTap>,
    wallet: Arc<Wallet>,
    plug: Arc<Plug>,
    addr: SocketAddr,
    net: Option<Net>,
    threads: Vec<JoinHandle<()>>,
}

/// What the node, its pump and its handlers have in common.
struct Shared {
    stop: AtomicBool,
    disk: Arc<Disk>,
    events: Mutex<Vec<Event>>,
    more_events: Condvar,
    spendable: Mutex<Vec<SpendableOutputDescriptor>>,
}

impl Node {
    /// Starts a node with the data in its directory, or a new one if there is none. Panics if the
    /// data cannot be read.
    pub fn start(config: NodeConfig) -> Node {
        let name = config.name.clone();
        Node::try_start(config).unwrap_or_else(|e| panic!("{name} does not start: {e}"))
    }

    /// Like [`Node::start`], for data that may not be readable.
    pub fn try_start(config: NodeConfig) -> Result<Node, String> {
        start::start(config)
    }

    /// Disconnects, persists, and ends all threads.
    pub fn stop(mut self) {
        self.end(true);
    }

    /// Ends all threads at once, as the operating system kills a process: nothing more is written
    /// and no more is sent.
    pub fn kill(mut self) {
        self.end(false);
    }

    /// Stops the node and starts it again with the same configuration.
    pub fn restart(self) -> Node {
        let config = self.config.clone();
        self.stop();
        Node::start(config)
    }

    /// Its configuration.
    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Its public key.
    pub fn id(&self) -> PublicKey {
        self.parts.node_id
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The LDK objects in it.
    pub fn parts(&self) -> &NodeParts {
        &self.parts
    }

    /// LDK's `ChannelManager`.
    pub fn channel_manager(&self) -> &Arc<TestChannelManager> {
        &self.parts.channel_manager
    }

    /// LDK's `PeerManager`.
    pub fn peer_manager(&self) -> &Arc<TestPeerManager> {
        &self.peer_manager
    }

    /// All messages received and sent since the start.
    pub fn wire(&self) -> &WireTap {
        &self.wire
    }

    /// The last lines of the log, up to DEBUG.
    pub fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    /// What the first panic on one of the node's threads said, if there was one.
    pub fn panicked(&self) -> Option<String> {
        self.tag.panics().into_iter().next()
    }

    /// Connects, and waits until both sides have exchanged `init`. Panics after the deadline.
    #[track_caller]
    pub fn connect(&self, peer: &PublicKey, addr: SocketAddr) {
        let deadline = Instant::now() + DEADLINE;
        while !self.try_connect(peer, addr) {
            assert!(
                Instant::now() < deadline && self.panicked().is_none(),
                "{} cannot connect to {peer} at {addr} ({:?})",
                self.name(),
                self.panicked(),
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Tries once to connect; false if nobody listens, or the handshake does not end within 5 s, or
    /// the connection ends at once.
    pub fn try_connect(&self, peer: &PublicKey, addr: SocketAddr) -> bool {
        if self.is_connected(peer) {
            return true;
        }
        let connected = || self.is_connected(peer);
        let manager = Arc::clone(&self.peer_manager);
        self.net().dial(manager, *peer, addr, connected)
    }

    /// Connects to another node, and waits until it agrees. One of the two may still believe in an
    /// older connection that the other has lost; so this is tried until both are of one mind.
    #[track_caller]
    pub fn connect_to(&self, other: &Node) {
        wait_until("a connection on both sides", DEADLINE, || {
            let dead = self.panicked().or(other.panicked());
            assert_eq!(
                dead,
                None,
                "{} cannot connect to {}",
                self.name(),
                other.name()
            );
            self.try_connect(&other.id(), other.addr()) && other.is_connected(&self.id())
        });
    }

    /// Ends the connection to a peer; the peer notices a moment later.
    pub fn disconnect(&self, peer: &PublicKey) {
        self.peer_manager.disconnect_by_node_id(*peer);
    }

    /// Ends the connection to another node, and waits until both have noticed.
    #[track_caller]
    pub fn disconnect_from(&self, other: &Node) {
        self.disconnect(&other.id());
        wait_until("both sides to disconnect", DEADLINE, || {
            !self.is_connected(&other.id()) && !other.is_connected(&self.id())
        });
    }

    /// Whether `init` messages have been exchanged with a peer. Each side of a connection knows it
    /// at its own time.
    pub fn is_connected(&self, peer: &PublicKey) -> bool {
        self.peer_manager.peer_by_node_id(peer).is_some()
    }

    /// All open channels.
    pub fn channels(&self) -> Vec<ChannelDetails> {
        self.parts.channel_manager.list_channels()
    }

    /// The open channels with a peer.
    pub fn channels_with(&self, peer: &PublicKey) -> Vec<ChannelDetails> {
        self.parts
            .channel_manager
            .list_channels_with_counterparty(peer)
    }

    /// Whether there is a channel with the peer, and all of them can carry payments.
    pub fn is_usable_with(&self, peer: &PublicKey) -> bool {
        let channels = self.channels_with(peer);
        !channels.is_empty() && channels.iter().all(|c| c.is_usable)
    }

    /// The funding outputs of all channels that have monitors, closed ones included.
    pub fn funding_outpoints(&self) -> Vec<OutPoint> {
        let monitors = &self.parts.chain_monitor;
        let outpoint = |id| {
            monitors
                .get_monitor(id)
                .map(|m| m.get_funding_txo().into_bitcoin_outpoint())
        };
        monitors
            .list_monitors()
            .into_iter()
            .filter_map(|id| outpoint(id).ok())
            .collect()
    }

    /// Every event since the start, in order.
    pub fn events(&self) -> Vec<Event> {
        lock(&self.shared.events).clone()
    }

    /// Waits for an event, from the `mark`th on (0 for the first since the start).
    #[track_caller]
    pub fn wait_event<T>(&self, what: &str, mark: usize, find: impl Fn(&Event) -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        let mut events = lock(&self.shared.events);
        loop {
            if let Some(found) = events.iter().skip(mark).find_map(&find) {
                return found;
            }
            assert!(
                Instant::now() < end && self.panicked().is_none(),
                "{} waited in vain for: {what}; panicked: {:?}; events: {:#?}",
                self.name(),
                self.panicked(),
                events.iter().skip(mark).collect::<Vec<_>>(),
            );
            let slice = Duration::from_millis(100);
            let waited = self.shared.more_events.wait_timeout(events, slice);
            events = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }

    /// The channels closed since the start, and why.
    pub fn closed_channels(&self) -> Vec<(ChannelId, ClosureReason)> {
        let closed = |event| match event {
            Event::ChannelClosed {
                channel_id, reason, ..
            } => Some((channel_id, reason)),
            _ => None,
        };
        self.events().into_iter().filter_map(closed).collect()
    }

    /// Waits until a channel is closed; returns the reason.
    #[track_caller]
    pub fn wait_closed(&self, channel: &ChannelId) -> ClosureReason {
        self.wait_event("the channel to close", 0, |event| match event {
            Event::ChannelClosed {
                channel_id, reason, ..
            } if channel_id == channel => Some(reason.clone()),
            _ => None,
        })
    }

    /// Proposes a cooperative close; connect both and mine to see it through.
    pub fn close_cooperatively(&self, channel: &ChannelId) {
        let peer = self.counterparty(channel);
        let closed = self.parts.channel_manager.close_channel(channel, &peer);
        closed.unwrap_or_else(|e| panic!("{} cannot close: {e:?}", self.name()));
    }

    /// Publishes the last commitment transaction.
    pub fn force_close(&self, channel: &ChannelId) {
        let peer = self.counterparty(channel);
        let text = "closed by the test".to_owned();
        let manager = &self.parts.channel_manager;
        let closed = manager.force_close_broadcasting_latest_txn(channel, &peer, text);
        closed.unwrap_or_else(|e| panic!("{} cannot force close: {e:?}", self.name()));
    }

    /// The outputs of closed channels that are the node's to spend, until swept.
    pub fn spendable_outputs(&self) -> Vec<SpendableOutputDescriptor> {
        lock(&self.shared.spendable).clone()
    }

    /// Spends all [`Node::spendable_outputs`] to the node's wallet. `None` if there are none.
    pub fn sweep(&self) -> Option<Transaction> {
        let outputs = self.spendable_outputs();
        if outputs.is_empty() {
            return None;
        }
        let tx = self.wallet.sweep(&self.parts.keys, &outputs);
        let submitted = self.config.chain.submit_as(self.name(), &tx);
        submitted.unwrap_or_else(|e| panic!("{}'s sweep is refused: {e}", self.name()));
        lock(&self.shared.spendable).retain(|output| !outputs.contains(output));
        self.shared.disk.write_spendable(&self.spendable_outputs());
        Some(tx)
    }

    /// Where the node's own coins are, and where [`Node::sweep`] pays.
    pub fn wallet_script(&self) -> ScriptBuf {
        self.wallet.script()
    }

    /// Waits until the node has seen the chain's last block.
    #[track_caller]
    pub fn sync(&self) {
        wait_until("the node to see the last block", DEADLINE, || {
            let tip = self.config.chain.tip();
            self.panicked().is_some() || self.parts.channel_manager.current_best_block() == tip
        });
    }

    /// Writes the `ChannelManager` now. The pump does so by itself whenever LDK asks for it.
    pub fn persist(&self) {
        self.shared.disk.write_manager(&self.parts.channel_manager);
    }

    /// What the minute timer of a wallet does. The pump does it only every half minute.
    pub fn tick(&self) {
        self.parts.channel_manager.timer_tick_occurred();
        self.peer_manager.timer_tick_occurred();
        self.parts.chain_monitor.rebroadcast_pending_claims();
    }

    fn counterparty(&self, channel: &ChannelId) -> PublicKey {
        let channels = self.channels();
        let found = channels.iter().find(|c| c.channel_id == *channel);
        let found = found.unwrap_or_else(|| panic!("{} has no channel {channel}", self.name()));
        found.counterparty.node_id
    }

    fn net(&self) -> &Net {
        self.net.as_ref().expect("the node runs")
    }

    /// Once; later calls do nothing.
    fn end(&mut self, gracefully: bool) {
        let Some(net) = self.net.take() else { return };
        if !gracefully {
            self.shared.disk.freeze();
            self.plug.silence();
        }
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            join(thread);
        }
        if gracefully && self.panicked().is_none() {
            self.config.extension.stopping();
            let tidy = AssertUnwindSafe(|| {
                self.peer_manager.disconnect_all_peers();
                self.persist();
            });
            let _ = std::panic::catch_unwind(tidy);
        }
        net.cut();
        self.shared.disk.freeze();
        self.plug.pull();
    }
}

/// Waits for a thread, but not for ever: a deadlock in the code under test must not hide the
/// message of the test that found it.
fn join(thread: JoinHandle<()>) {
    let deadline = Instant::now() + DEADLINE;
    while !thread.is_finished() {
        if Instant::now() > deadline {
            eprintln!("{:?} does not end; left behind", thread.thread().name());
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = thread.join();
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = self.log();
            let from = lines.len().saturating_sub(LINES_ON_FAILURE);
            eprintln!("--- the last of {}'s log", self.name());
            for line in &lines[from..] {
                let line: String = line.chars().take(CHARS_ON_FAILURE).collect();
                eprintln!("{line}");
            }
        }
        // A failed test has perhaps removed the directory: a second panic would hide the first one's words.
        self.end(!std::thread::panicking());
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", self.name())
    }
}
