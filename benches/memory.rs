//! What storage costs a node in memory: 1,000 connected peers, each with a blob of 64 KiB kept for it,
//! against the same node, connections and traffic with storage off. At most 8 MiB, at rest and at
//! any time before.
//!
//! The node is a process of its own, so that its memory is its own: the resident set (`VmRSS`, and
//! `VmHWM` for the highest ever), without asking the allocator to give anything back. The peers live
//! in this process. They push in groups; then, for information, all at once. That measures LDK,
//! which holds a buffer for each message that has begun to arrive, and what the allocator makes of
//! so many: there the figures say little about storage.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use bitcoin::Network;
use ldk_peer_storage::backup::MAX_BLOB;
use ldk_peer_storage::exchange::{Guests, StoragePolicy};
use ldk_peer_storage::ldk::QuietHandler;
use ldk_peer_storage::service::{Config, PeerStorage};
use lightning::io;
use lightning::ln::msgs::{ChannelMessageHandler, DecodeError, Init, LightningError};
use lightning::ln::peer_handler::{
    CustomMessageHandler, IgnoringMessageHandler, MessageHandler, PeerManager,
};
use lightning::ln::wire::{CustomMessageReader, Type};
use lightning::sign::{EntropySource, KeysManager, NodeSigner, Recipient};
use lightning::types::features::{InitFeatures, NodeFeatures};
use lightning::util::logger::{Logger, Record};
use lightning::util::ser::{LengthLimitedRead, Writeable, Writer};
use lightning_net_tokio::SocketDescriptor;
use tokio::runtime::Runtime;

const PEERS: usize = 1000;
const LIMIT_MIB: f64 = 8.0;
/// The allocator has luck or not, by a MiB or two: the median of so many runs counts.
const ROUNDS: usize = 5;
const DEADLINE: Duration = Duration::from_secs(60);
/// So many peers connect, or push, at a time.
const GROUP: usize = 50;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, role, storage, dir] = &args[..] {
        if role == "--node" {
            return node(storage == "on", Path::new(dir));
        }
    }
    let measured: Vec<_> = (0..ROUNDS)
        .map(|_| (measure("off"), measure("on")))
        .collect();
    let (off, on): (Vec<_>, Vec<_>) = measured.into_iter().unzip();
    let (off, on) = (Memory::median(&off), Memory::median(&on));
    println!(
        "all at once: at the most {:.1} MiB with storage off, {:.1} MiB with it on",
        off.peak_of_all_at_once, on.peak_of_all_at_once
    );
    let difference = on.at_rest - off.at_rest;
    let peak_difference = on.peak - off.peak;
    println!(
        "highest: storage off {:.1} MiB, on {:.1} MiB, difference {peak_difference:.1} MiB (limit {LIMIT_MIB})",
        off.peak, on.peak
    );
    println!(
        "memory: {PEERS} peers, storage off {:.1} MiB, on {:.1} MiB, difference {difference:.1} MiB (limit {LIMIT_MIB})",
        off.at_rest, on.at_rest
    );
    if difference.max(peak_difference) > LIMIT_MIB {
        eprintln!("storage takes too much memory");
        std::process::exit(1);
    }
}

/// The node's memory in MiB.
struct Memory {
    at_rest: f64,
    peak: f64,
    peak_of_all_at_once: f64,
}

impl Memory {
    fn median(all: &[Memory]) -> Memory {
        let median = |of: fn(&Memory) -> f64| {
            let mut sorted: Vec<_> = all.iter().map(of).collect();
            sorted.sort_by(f64::total_cmp);
            sorted[sorted.len() / 2]
        };
        Memory {
            at_rest: median(|m| m.at_rest),
            peak: median(|m| m.peak),
            peak_of_all_at_once: median(|m| m.peak_of_all_at_once),
        }
    }
}

fn measure(storage: &str) -> Memory {
    let dir = tempfile::tempdir().unwrap();
    let mut node = NodeProcess::start(storage, dir.path());
    let runtime = runtime();
    let peers = connect(&runtime, node.id, node.addr);
    node.ask("connected", PEERS);
    for (at, group) in peers.chunks(GROUP).enumerate() {
        group.iter().for_each(|peer| peer.push(node.id));
        node.ask("taken", at * GROUP + group.len());
    }
    if storage == "on" {
        assert_eq!(durable_blobs(dir.path()), PEERS);
    }
    let (at_rest, peak) = (node.memory("VmRSS"), node.memory("VmHWM"));
    peers.iter().for_each(|peer| peer.push(node.id));
    node.ask("taken", 2 * PEERS);
    Memory {
        at_rest,
        peak,
        peak_of_all_at_once: node.memory("VmHWM"),
    }
}

/// How many whole blobs stand in the node's database.
fn durable_blobs(dir: &Path) -> usize {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let path = dir.join("peer-storage.sqlite");
    let database = rusqlite::Connection::open_with_flags(path, flags).unwrap();
    let count = "SELECT count(*) FROM slots JOIN slot_blobs USING (id) WHERE len = ?";
    let count: i64 = database
        .query_row(count, [MAX_BLOB as i64], |row| row.get(0))
        .unwrap();
    count as usize
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

// ---- the node, in the process that is measured ----------------------------------------------

/// Answers the questions that come on standard input, until that ends.
fn node(storage: bool, dir: &Path) {
    let keys = Arc::new(KeysManager::new(&[1; 32], 0, 0, true));
    let quiet = Arc::new(QuietHandler::new(Network::Regtest));
    if !storage {
        return serve(keys, quiet, |_| {}, || {});
    }
    let config = Config {
        storage: StoragePolicy {
            guests: Guests::Anyone,
            guest_count: PEERS,
            guest_total_bytes: PEERS * MAX_BLOB,
            ..StoragePolicy::default()
        },
        ..Config::new(dir, Network::Regtest)
    };
    let storage = PeerStorage::open(config, &*keys).unwrap();
    let handler = Arc::new(storage.message_handler(quiet));
    let set_waker = |peers: Arc<Peers<_>>| {
        let peers = Arc::downgrade(&peers);
        storage.set_waker(move || {
            if let Some(peers) = peers.upgrade() {
                peers.process_events();
            }
        });
    };
    let settle = || assert!(storage.flush(DEADLINE));
    serve(keys, handler, set_waker, settle);
}

fn serve<H: ChannelMessageHandler + Send + Sync + 'static>(
    keys: Arc<KeysManager>,
    handler: Arc<H>,
    started: impl FnOnce(Arc<Peers<Arc<H>>>),
    settle: impl Fn(),
) {
    let marks = Arc::new(Marks::default());
    let peers = peer_manager(keys.clone(), handler, marks.clone());
    started(peers.clone());
    let runtime = runtime();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let id = keys.get_node_id(Recipient::Node).unwrap();
    println!("{id} {}", listener.local_addr().unwrap());
    let accepting = peers.clone();
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            let stream = stream.into_std().unwrap();
            let connection = lightning_net_tokio::setup_inbound(accepting.clone(), stream);
            tokio::spawn(connection);
        }
    });
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let (what, count) = line.split_once(' ').unwrap();
        let count: usize = count.parse().unwrap();
        wait_until(|| match what {
            "connected" => peers.list_peers().len() == count,
            _ => marks.received.load(Ordering::SeqCst) == count,
        });
        settle();
        println!("yes");
    }
}

/// The node as its parent sees it. Killed when dropped.
struct NodeProcess {
    child: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
    id: PublicKey,
    addr: SocketAddr,
}

impl NodeProcess {
    fn start(storage: &str, dir: &Path) -> NodeProcess {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--node", storage])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let to = child.stdin.take().unwrap();
        let mut from = BufReader::new(child.stdout.take().unwrap()).lines();
        let hello = from.next().unwrap().unwrap();
        let (id, addr) = hello.split_once(' ').unwrap();
        NodeProcess {
            id: id.parse().unwrap(),
            addr: addr.parse().unwrap(),
            child,
            to,
            from,
        }
    }

    /// Waits until so many peers are connected, or so many blobs taken and durable.
    fn ask(&mut self, what: &str, count: usize) {
        writeln!(self.to, "{what} {count}").unwrap();
        assert_eq!(self.from.next().expect("the node lives").unwrap(), "yes");
    }

    /// A line of the system's report on the process, in MiB.
    fn memory(&self, line: &str) -> f64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).expect("a system that has /proc");
        let line = status.lines().find_map(|l| l.strip_prefix(line)).unwrap();
        let kib: f64 = line
            .trim_matches([':', '\t', ' ', 'k', 'B'])
            .parse()
            .unwrap();
        kib / 1024.0
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// ---- the peers ------------------------------------------------------------------------------

struct Peer {
    manager: Arc<Peers<Arc<QuietHandler>>>,
    marks: Arc<Marks>,
}

impl Peer {
    fn new(number: usize) -> Peer {
        let mut seed = [2; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        let keys = Arc::new(KeysManager::new(&seed, 0, 0, true));
        let marks = Arc::new(Marks::default());
        let quiet = Arc::new(QuietHandler::new(Network::Regtest));
        let manager = peer_manager(keys, quiet, marks.clone());
        Peer { manager, marks }
    }

    /// Sends a blob, and a mark after it.
    fn push(&self, to: PublicKey) {
        let mut storage = (MAX_BLOB as u16).to_be_bytes().to_vec();
        storage.resize(2 + MAX_BLOB, 7);
        let messages = [(7, storage), (MARK, Vec::new())];
        let messages = messages.map(|(type_id, body)| (to, Raw { type_id, body }));
        self.marks.waiting.lock().unwrap().extend(messages);
        self.manager.process_events();
    }
}

fn connect(runtime: &Runtime, node: PublicKey, addr: SocketAddr) -> Vec<Peer> {
    let peers: Vec<_> = (0..PEERS).map(Peer::new).collect();
    for some in peers.chunks(GROUP) {
        for peer in some {
            let manager = peer.manager.clone();
            runtime.spawn(async move {
                let dial = lightning_net_tokio::connect_outbound(manager, node, addr);
                dial.await.expect("the node listens").await;
            });
        }
        wait_until(|| {
            let connected = |peer: &Peer| peer.manager.peer_by_node_id(&node).is_some();
            some.iter().all(connected)
        });
    }
    peers
}

// ---- both sides -----------------------------------------------------------------------------

type Peers<H> = PeerManager<
    SocketDescriptor,
    H,
    Arc<IgnoringMessageHandler>,
    Arc<IgnoringMessageHandler>,
    Arc<Silent>,
    Arc<Marks>,
    Arc<KeysManager>,
    Arc<IgnoringMessageHandler>,
>;

fn peer_manager<H: ChannelMessageHandler>(
    keys: Arc<KeysManager>,
    handler: Arc<H>,
    marks: Arc<Marks>,
) -> Arc<Peers<Arc<H>>> {
    let ignore = Arc::new(IgnoringMessageHandler {});
    let handlers = MessageHandler {
        chan_handler: handler,
        route_handler: Arc::clone(&ignore),
        onion_message_handler: Arc::clone(&ignore),
        custom_message_handler: marks,
        send_only_message_handler: ignore,
    };
    let random = keys.get_secure_random_bytes();
    Arc::new(PeerManager::new(
        handlers,
        1,
        &random,
        Arc::new(Silent),
        keys,
    ))
}

fn wait_until(condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < DEADLINE, "waited in vain");
        std::thread::sleep(Duration::from_millis(2));
    }
}

struct Silent;

impl Logger for Silent {
    fn log(&self, _record: Record) {}
}

/// A type of our own that says: all before this has arrived.
const MARK: u16 = 40_001;

#[derive(Debug)]
struct Raw {
    type_id: u16,
    body: Vec<u8>,
}

/// Sends whatever waits, and counts the marks that come.
#[derive(Default)]
struct Marks {
    waiting: Mutex<Vec<(PublicKey, Raw)>>,
    received: AtomicUsize,
}

impl CustomMessageReader for Marks {
    type CustomMessage = Raw;

    fn read<R: LengthLimitedRead>(
        &self,
        type_id: u16,
        _buffer: &mut R,
    ) -> Result<Option<Raw>, DecodeError> {
        let body = Vec::new();
        Ok((type_id == MARK).then_some(Raw { type_id, body }))
    }
}

impl CustomMessageHandler for Marks {
    fn handle_custom_message(&self, _: Raw, _: PublicKey) -> Result<(), LightningError> {
        self.received.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn get_and_clear_pending_msg(&self) -> Vec<(PublicKey, Raw)> {
        std::mem::take(&mut *self.waiting.lock().unwrap())
    }

    fn peer_disconnected(&self, _: PublicKey) {}

    fn peer_connected(&self, _: PublicKey, _: &Init, _: bool) -> Result<(), ()> {
        Ok(())
    }

    fn provided_node_features(&self) -> NodeFeatures {
        NodeFeatures::empty()
    }

    fn provided_init_features(&self, _: PublicKey) -> InitFeatures {
        InitFeatures::empty()
    }
}

impl Type for Raw {
    fn type_id(&self) -> u16 {
        self.type_id
    }
}

impl Writeable for Raw {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        writer.write_all(&self.body)
    }
}
