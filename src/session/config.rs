//! How a session connects, and what it does at each peer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lightning::util::logger::Logger;

use crate::ldk::QuietHandler;

/// How a [`Session`](super::Session) connects.
#[derive(Clone)]
pub struct SessionConfig {
    /// What the node says of itself in `init`; none: a [`QuietHandler::new`] for the network. Give the
    /// features of the wallet's own node where it has others.
    pub handler: Option<QuietHandler>,
    /// A SOCKS5 proxy for onion addresses, usually that of Tor. All other addresses are dialled
    /// directly. None: onion addresses are not tried.
    pub tor_proxy: Option<SocketAddr>,
    /// So many peers are visited at once.
    pub at_once: usize,
    /// LDK's log. It holds peers' ids, and at TRACE whole messages.
    pub logger: Option<Arc<dyn Logger + Send + Sync>>,
    /// How long what may take.
    pub times: Times,
}

impl Default for SessionConfig {
    fn default() -> Self {
        SessionConfig {
            handler: None,
            tor_proxy: None,
            at_once: 32,
            logger: None,
            times: Times::default(),
        }
    }
}

/// How long what may take. The budget of a call ends everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// From dialling an address to the peer's `init`.
    pub connect: Duration,
    /// The same, through Tor.
    pub connect_through_tor: Duration,
    /// From `init` to the peer's 9 or 136. Less than 30 s leaves no time to find that a peer without
    /// a channel has nothing.
    pub read_back: Duration,
    /// In a restore, after the 9 for a first 136, or the other way round. A node of this project waits two
    /// seconds with its 136.
    pub settle: Duration,
    /// For what was sent to be read by the peer, at the end of a connection.
    pub linger: Duration,
    /// The first pause before a peer that hung up is dialled again. It doubles, up to 5 s.
    pub retry: Duration,
    /// From one ping to the next; who has not answered by then is hung up on.
    pub ping: Duration,
    /// Before a close is asked for: after the last 136.
    pub after_reestablish: Duration,
    /// The same, where none comes: after `init`.
    pub first_reestablish: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Times {
            connect: Duration::from_secs(5),
            connect_through_tor: Duration::from_secs(30),
            read_back: Duration::from_secs(35),
            settle: Duration::from_secs(3),
            linger: Duration::from_secs(5),
            retry: Duration::from_millis(250),
            ping: Duration::from_secs(10),
            after_reestablish: Duration::from_secs(1),
            first_reestablish: Duration::from_secs(5),
        }
    }
}

/// What to do at each peer, beside reading back and pushing what is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Connect a second time where the newest backup was only sent, and see whether it comes back.
    pub verify: bool,
}
