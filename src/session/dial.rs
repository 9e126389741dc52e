//! From a peer's addresses to a connection with it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::SocketAddress;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::observer::{Claim, Observer};
use super::quiet_node::{Connection, QuietNode};
use super::report::NotReached;
use super::socket::EndedBy;
use super::Times;
use crate::backup::PeerRecord;

/// The longest pause before a peer that hangs up is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Who fails the handshake so often is another node. (One that has too many connections looks the
/// same.)
const MOST_HANDSHAKES: usize = 3;

/// How connections are made.
#[derive(Clone)]
pub(super) struct Dialler {
    pub node: Arc<QuietNode>,
    pub times: Times,
    pub tor_proxy: Option<SocketAddr>,
}

/// Tries again, with pauses, where the peer hangs up on us: it may believe in an older connection for
/// a while.
pub(super) struct Insistence {
    observer: Arc<Observer>,
    end: Instant,
    pause: Duration,
    handshakes: usize,
}

impl Insistence {
    pub fn new(dialler: &Dialler, end: Instant) -> Self {
        Insistence {
            observer: dialler.node.observer.clone(),
            end,
            pause: dialler.times.retry,
            handshakes: 0,
        }
    }

    /// Waits where it is worth to try again; else the error is the result.
    pub async fn after(&mut self, error: NotReached) -> Result<(), NotReached> {
        self.handshakes += usize::from(error == NotReached::HandshakeFailed);
        let may_pass = match error {
            NotReached::Refused => true,
            NotReached::HandshakeFailed => self.handshakes < MOST_HANDSHAKES,
            _ => false,
        };
        if !may_pass || Instant::now() + self.pause >= self.end {
            return Err(error);
        }
        let end = Instant::now() + self.pause;
        self.observer
            .within(end, std::future::pending::<()>())
            .await;
        if self.observer.is_stopped() {
            return Err(NotReached::OutOfTime);
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

impl Dialler {
    /// Connects to a peer at the first of its addresses that works, up to both `init`s.
    pub async fn connect(
        &self,
        claim: &Arc<Claim>,
        peer: &PeerRecord,
        end: Instant,
    ) -> Result<Connection, NotReached> {
        let mut most_telling = NotReached::NoAddress;
        for address in &peer.addresses {
            let patience = match address {
                SocketAddress::OnionV3 { .. } => self.times.connect_through_tor,
                _ => self.times.connect,
            };
            let until = end.min(Instant::now() + patience);
            let observer = &self.node.observer;
            let connected = match observer.within(until, self.reach(address)).await {
                Some(Ok(stream)) => self.shake_hands(claim, peer.node_id, stream, until).await,
                Some(Err(error)) => Err(error),
                None => Err(NotReached::TimedOut),
            };
            match connected {
                Ok(connection) => return Ok(connection),
                Err(error) => most_telling = most_telling.max(error),
            }
            if observer.is_stopped() {
                return Err(NotReached::OutOfTime);
            }
            if Instant::now() >= end {
                break;
            }
        }
        Err(most_telling)
    }

    async fn reach(&self, address: &SocketAddress) -> Result<TcpStream, NotReached> {
        let reached = match address {
            SocketAddress::TcpIpV4 { addr, port } => {
                TcpStream::connect((IpAddr::from(*addr), *port)).await
            }
            SocketAddress::TcpIpV6 { addr, port } => {
                TcpStream::connect((IpAddr::from(*addr), *port)).await
            }
            SocketAddress::Hostname { hostname, port } => {
                TcpStream::connect((hostname.as_str(), *port)).await
            }
            // The Tor network does not carry them any more.
            SocketAddress::OnionV2(_) => return Err(NotReached::Unreachable),
            SocketAddress::OnionV3 { port, .. } => {
                let proxy = self.tor_proxy.ok_or(NotReached::NeedsTor)?;
                through_tor(proxy, &address.to_string(), *port).await
            }
        };
        reached.map_err(|_| NotReached::Unreachable)
    }

    /// BOLT #8, and `init` both ways.
    async fn shake_hands(
        &self,
        claim: &Arc<Claim>,
        peer: PublicKey,
        stream: TcpStream,
        until: Instant,
    ) -> Result<Connection, NotReached> {
        let node = &self.node;
        let begun = node.begin(claim.clone(), peer, stream, self.times.linger);
        let connection = begun.ok_or(NotReached::Unreachable)?;
        let done = || {
            let heard = node.observer.heard(&peer);
            if heard.connected_at.is_some() {
                return Some(Ok(()));
            }
            let error = match connection.ended_by()? {
                _ if !heard.is_authenticated => NotReached::HandshakeFailed,
                EndedBy::Protocol => NotReached::Incompatible,
                EndedBy::Us | EndedBy::Peer => NotReached::Refused,
            };
            Some(Err(error))
        };
        let done = node.observer.until(until, done).await;
        done.unwrap_or(Err(NotReached::TimedOut))?;
        Ok(connection)
    }
}

/// `address` is a host and a port.
async fn through_tor(proxy: SocketAddr, address: &str, port: u16) -> io::Result<TcpStream> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let mut stream = TcpStream::connect(proxy).await?;
    super::socks::connect(&mut stream, host, port).await?;
    Ok(stream)
}
