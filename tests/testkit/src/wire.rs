//! Every message that a node received and sent, taken from the log of LDK's `PeerManager`.
//!
//! LDK offers no place to see all messages: handlers do not get `init`, `ping`, `warning` or unknown
//! types. But it logs each one, at TRACE, with its whole content. A log record is formatted only
//! when somebody asks, and the tap stops the formatting after the first characters, so a message
//! of 65 kB costs no more than a ping.
//!
//! Not in LDK's log, and so not here: `start_batch` and `gossip_timestamp_filter` on the way in.

use std::fmt::{self, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use lightning::util::logger::{Level, Logger, Record};

use crate::lock::lock;

/// So much of a log line is looked at. Type names are far shorter.
const HEAD: usize = 100;
/// So much of the text of a warning or an error is kept.
const TEXT: usize = 1_000;
/// The module whose log lines are read.
const PEER_HANDLER: &str = "lightning::ln::peer_handler";

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the peer to the node with the tap.
    Received,
    /// From the node with the tap to the peer.
    Sent,
}

/// A message seen.
#[derive(Clone, Debug)]
pub struct WireMessage {
    /// The other side.
    pub peer: PublicKey,
    /// Which way.
    pub direction: Direction,
    /// LDK's name of the type, without "Message" at its end: `Init`, `Ping`, `Warning`, `Error`,
    /// `PeerStorage`, `PeerStorageRetrieval`, `ChannelReestablish`, .. or `Unknown(40001)`.
    pub name: String,
    /// What a received warning or error says.
    pub text: Option<String>,
    /// When.
    pub at: Instant,
}

/// A logger that notes messages and passes every record on.
pub struct WireTap {
    inner: Arc<dyn Logger + Send + Sync>,
    seen: Mutex<Vec<WireMessage>>,
    more: Condvar,
}

impl WireTap {
    /// A tap before `inner`.
    pub fn new(inner: Arc<dyn Logger + Send + Sync>) -> WireTap {
        WireTap {
            inner,
            seen: Mutex::default(),
            more: Condvar::new(),
        }
    }

    /// Everything exchanged with all peers, in order.
    pub fn all(&self) -> Vec<WireMessage> {
        lock(&self.seen).clone()
    }

    /// Everything exchanged with all peers after a mark, in order.
    pub fn since(&self, mark: usize) -> Vec<WireMessage> {
        self.matching(mark, |_| true)
    }

    /// Everything exchanged with `peer`, in order.
    pub fn with(&self, peer: &PublicKey) -> Vec<WireMessage> {
        self.matching(0, |m| m.peer == *peer)
    }

    /// The names of what came from `peer`, in order.
    pub fn received_from(&self, peer: &PublicKey) -> Vec<String> {
        self.received_since(0, peer)
    }

    /// The names of what was sent to `peer`, in order.
    pub fn sent_to(&self, peer: &PublicKey) -> Vec<String> {
        self.sent_since(0, peer)
    }

    /// A position for the methods that end in `since`: they see only what comes after it.
    pub fn mark(&self) -> usize {
        lock(&self.seen).len()
    }

    /// Like [`WireTap::received_from`], after a mark.
    pub fn received_since(&self, mark: usize, peer: &PublicKey) -> Vec<String> {
        self.names(mark, peer, Direction::Received)
    }

    /// Like [`WireTap::sent_to`], after a mark.
    pub fn sent_since(&self, mark: usize, peer: &PublicKey) -> Vec<String> {
        self.names(mark, peer, Direction::Sent)
    }

    /// The texts of the warnings that `peer` sent.
    pub fn warnings_from(&self, peer: &PublicKey) -> Vec<String> {
        let warning = |m: &WireMessage| m.peer == *peer && m.name == "Warning";
        let warnings = self.matching(0, warning);
        warnings.into_iter().filter_map(|m| m.text).collect()
    }

    /// Waits for a message `name` from `peer`; panics after `deadline`.
    #[track_caller]
    pub fn wait_received(&self, peer: &PublicKey, name: &str, deadline: Duration) -> WireMessage {
        self.wait_for(0, peer, Direction::Received, name, deadline)
    }

    /// Waits for a message `name` to `peer`; panics after `deadline`.
    #[track_caller]
    pub fn wait_sent(&self, peer: &PublicKey, name: &str, deadline: Duration) -> WireMessage {
        self.wait_for(0, peer, Direction::Sent, name, deadline)
    }

    /// Waits for a message after a mark; panics after `deadline`.
    #[track_caller]
    pub fn wait_for(
        &self,
        mark: usize,
        peer: &PublicKey,
        direction: Direction,
        name: &str,
        deadline: Duration,
    ) -> WireMessage {
        let end = Instant::now() + deadline;
        let mut seen = lock(&self.seen);
        loop {
            let mut later = seen.iter().skip(mark);
            let wanted =
                |m: &&WireMessage| m.peer == *peer && m.direction == direction && m.name == name;
            if let Some(found) = later.find(wanted) {
                return found.clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "waited {deadline:?} in vain for: {name} {direction:?}, peer {peer}; seen: {:?}",
                seen.iter()
                    .skip(mark)
                    .map(|m| (m.direction, &m.name))
                    .collect::<Vec<_>>()
            );
            let waited = self.more.wait_timeout(seen, left);
            seen = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }

    fn names(&self, mark: usize, peer: &PublicKey, direction: Direction) -> Vec<String> {
        let found = self.matching(mark, |m| m.peer == *peer && m.direction == direction);
        found.into_iter().map(|m| m.name).collect()
    }

    fn matching(&self, mark: usize, wanted: impl Fn(&WireMessage) -> bool) -> Vec<WireMessage> {
        let seen = lock(&self.seen);
        seen.iter()
            .skip(mark)
            .filter(|m| wanted(m))
            .cloned()
            .collect()
    }

    fn note(&self, peer: PublicKey, direction: Direction, name: String) {
        let at = Instant::now();
        lock(&self.seen).push(WireMessage {
            peer,
            direction,
            name,
            text: None,
            at,
        });
        self.more.notify_all();
    }

    /// LDK logs the text of a warning or an error right after the message itself.
    fn note_text(&self, peer: PublicKey, text: &str) {
        let mut seen = lock(&self.seen);
        let last = seen
            .iter_mut()
            .rev()
            .find(|m| m.peer == peer && m.direction == Direction::Received && m.text.is_none());
        if let Some(message) = last.filter(|m| m.name == "Warning" || m.name == "Error") {
            message.text = Some(text.to_owned());
        }
    }

    fn look_at(&self, record: &Record<'_>) {
        if record.module_path != PEER_HANDLER {
            return;
        }
        let Some(peer) = record.peer_id else { return };
        let line = beginning(record.args, HEAD);
        if let Some(rest) = line.strip_prefix("Received message ") {
            self.note(peer, Direction::Received, received_name(rest));
        } else if let Some(rest) = line.strip_prefix("Enqueueing message ") {
            self.note(peer, Direction::Sent, short(identifier(rest)));
        } else if line.starts_with("Received peer Init message") {
            self.note(peer, Direction::Received, "Init".to_owned());
        } else if line.starts_with("Received commitment_signed batch") {
            self.note(peer, Direction::Received, "CommitmentSigned".to_owned());
        } else if line.starts_with("Got warning message") || line.starts_with("Got Err message") {
            let line = beginning(record.args, TEXT);
            self.note_text(peer, line.split_once(": ").map_or("", |(_, text)| text));
        }
    }
}

impl Logger for WireTap {
    fn log(&self, record: Record<'_>) {
        self.look_at(&record);
        self.inner.log(record);
    }
}

impl fmt::Debug for WireTap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireTap")
            .field("seen", &self.mark())
            .finish_non_exhaustive()
    }
}

/// A received message is logged as a variant of LDK's enum of all types: `Ping(Ping { .. })`.
fn received_name(debug: &str) -> String {
    match identifier(debug) {
        "Unknown" => {
            let end = debug.find(')').map_or(debug.len(), |at| at + 1);
            debug[..end].to_owned()
        }
        name => short(name),
    }
}

fn identifier(debug: &str) -> &str {
    let end = debug.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    &debug[..end.unwrap_or(debug.len())]
}

/// The structs are called `ErrorMessage` and `WarningMessage`, the variants `Error` and `Warning`.
pub(crate) fn short(name: &str) -> String {
    match name {
        "ErrorMessage" => "Error".to_owned(),
        "WarningMessage" => "Warning".to_owned(),
        other => other.to_owned(),
    }
}

/// The first `limit` bytes or so of a formatted text; the rest is never formatted.
fn beginning(args: fmt::Arguments<'_>, limit: usize) -> String {
    struct Limited {
        text: String,
        limit: usize,
    }
    impl Write for Limited {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            let left = self.limit.saturating_sub(self.text.len());
            if part.len() <= left {
                self.text.push_str(part);
                return Ok(());
            }
            let cut = (0..=left)
                .rev()
                .find(|&at| part.is_char_boundary(at))
                .unwrap_or(0);
            self.text.push_str(&part[..cut]);
            Err(fmt::Error)
        }
    }
    let mut limited = Limited {
        text: String::new(),
        limit,
    };
    // The error only says that there was more.
    let _ = limited.write_fmt(args);
    limited.text
}

/// The last lines of a node's log, up to DEBUG. Lines of TRACE are dropped unformatted: they hold
/// whole messages.
#[derive(Default)]
pub(crate) struct MemoryLog {
    lines: Mutex<std::collections::VecDeque<String>>,
}

impl MemoryLog {
    const KEEP: usize = 4_000;

    pub fn lines(&self) -> Vec<String> {
        lock(&self.lines).iter().cloned().collect()
    }
}

impl Logger for MemoryLog {
    fn log(&self, record: Record<'_>) {
        if record.level < Level::Debug {
            return;
        }
        let line = format!("{} {} {}", record.level, record.module_path, record.args);
        let mut lines = lock(&self.lines);
        if lines.len() == Self::KEEP {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}
