//! Between a TCP stream and LDK's `PeerManager`.
//!
//! ```text
//! PeerManager ── send_data ──▶ waiting bytes ──▶ writer ──▶ ┐
//!                                                           │ TCP
//! PeerManager ◀── read_event ─────────────────── reader ◀── ┘
//! ```
//!
//! A backup is often the last thing that is said on a connection, and a socket that is closed with
//! unread bytes in it sends a reset, at which the other side may throw away what it has not read yet.
//! So a connection ends in order, whoever ends it: what LDK has handed over is written, then the
//! sending half is closed, and the reader reads and drops until the peer closes its half, or the time
//! for that is over.

use std::hash::{Hash, Hasher};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lightning::ln::peer_handler::SocketDescriptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::locks::lock;

/// So many bytes wait for the writer, beside as many that are being written.
const MOST_WAITING: usize = 32 * 1024;
/// So many are read at once: LDK asks for no more.
const CHUNK: usize = 4096;

/// What the driver needs of LDK's `PeerManager`.
pub(super) trait Manager: Send + Sync {
    /// Bytes have come. False: LDK ends the connection.
    fn read(&self, socket: &mut Socket, bytes: &[u8]) -> bool;

    /// There is space again, where LDK could not hand over all.
    fn space(&self, socket: &mut Socket);

    /// The connection ends. LDK may know.
    fn ended(&self, socket: &Socket);
}

/// Why a connection ends: whatever came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndedBy {
    /// This side.
    Us,
    /// LDK, by what the peer said.
    Protocol,
    /// The peer, or the network.
    Peer,
}

/// One connection, as LDK holds it. Clones share it.
#[derive(Clone)]
pub(super) struct Socket(Arc<Shared>);

struct Shared {
    id: u64,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// What LDK last wanted to hand over was not taken whole: it waits to be told of space.
    refused: bool,
    /// LDK wants to hear nothing for now: it has too much to say.
    paused: bool,
    ended: Option<EndedBy>,
}

impl Socket {
    pub fn new() -> Socket {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Socket(Arc::new(Shared {
            id: LAST.fetch_add(1, Ordering::Relaxed),
            state: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    /// Ends the connection in order. Only the first reason counts.
    pub fn end(&self, by: EndedBy) {
        lock(&self.0.state).ended.get_or_insert(by);
        self.0.changed.notify_waiters();
    }

    pub fn ended_by(&self) -> Option<EndedBy> {
        lock(&self.0.state).ended
    }

    /// Waits until LDK has handed over all that it had to say.
    pub async fn drained(&self) {
        self.until(|state| (!state.refused || state.ended.is_some()).then_some(()))
            .await
    }

    async fn until<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            // Made before the look, so that no change is missed.
            let changed = self.0.changed.notified();
            if let Some(found) = look(&mut lock(&self.0.state)) {
                return found;
            }
            changed.await;
        }
    }
}

impl SocketDescriptor for Socket {
    fn send_data(&mut self, data: &[u8], continue_read: bool) -> usize {
        let mut state = lock(&self.0.state);
        state.paused = !continue_read;
        let taken = match state.ended {
            Some(_) => 0,
            None => data.len().min(MOST_WAITING - state.waiting.len()),
        };
        state.waiting.extend_from_slice(&data[..taken]);
        state.refused = taken < data.len();
        drop(state);
        self.0.changed.notify_waiters();
        taken
    }

    fn disconnect_socket(&mut self) {
        self.end(EndedBy::Us);
    }
}

/// Drives a connection to its end, which takes no longer than `linger` once it has begun. Whether all
/// that LDK had handed over was written, and the peer has closed its half after that: it has read it.
/// Dropping the future cuts the connection.
pub(super) async fn drive(
    socket: Socket,
    stream: TcpStream,
    manager: Arc<dyn Manager>,
    linger: Duration,
) -> bool {
    // Without it a small message waits for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let (read, write) = stream.into_split();
    let mut halves = JoinSet::new();
    halves.spawn(read_in(socket.clone(), read, manager.clone()));
    halves.spawn(write_out(socket.clone(), write, manager.clone()));
    socket.until(|state| state.ended).await;
    manager.ended(&socket);
    let in_order = async {
        let mut in_order = true;
        while let Some(half) = halves.join_next().await {
            in_order &= matches!(half, Ok(Ok(())));
        }
        in_order
    };
    tokio::time::timeout(linger, in_order)
        .await
        .unwrap_or(false)
}

async fn read_in(
    mut socket: Socket,
    mut read: OwnedReadHalf,
    manager: Arc<dyn Manager>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = match read.read(&mut chunk).await {
            Ok(0) => {
                socket.end(EndedBy::Peer);
                return Ok(());
            }
            Ok(count) => count,
            Err(error) => {
                socket.end(EndedBy::Peer);
                return Err(error);
            }
        };
        let has_ended = |state: &mut State| match state.ended {
            Some(_) => Some(true),
            None => (!state.paused).then_some(false),
        };
        // After the end what comes is dropped.
        if !socket.until(has_ended).await && !manager.read(&mut socket, &chunk[..count]) {
            socket.end(EndedBy::Protocol);
        }
        tokio::task::yield_now().await;
    }
}

async fn write_out(
    mut socket: Socket,
    mut write: OwnedWriteHalf,
    manager: Arc<dyn Manager>,
) -> io::Result<()> {
    loop {
        let next = |state: &mut State| {
            let bytes = std::mem::take(&mut state.waiting);
            (!bytes.is_empty() || state.ended.is_some()).then_some(bytes)
        };
        let bytes = socket.until(next).await;
        if bytes.is_empty() {
            return write.shutdown().await;
        }
        if let Err(error) = write.write_all(&bytes).await {
            socket.end(EndedBy::Peer);
            return Err(error);
        }
        let refused = lock(&socket.0.state).refused;
        if refused {
            manager.space(&mut socket);
        }
    }
}

impl PartialEq for Socket {
    fn eq(&self, other: &Socket) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Socket {}

impl Hash for Socket {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}
