//! Takes connections, and gives them to LDK's `PeerManager` over a handler that says nothing about
//! channels.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use bitcoin::Network;
use ldk_peer_storage::ldk::{PeerStorageHandler, QuietHandler, WarningLogger};
use ldk_peer_storage::PeerStorage;
use lightning::ln::peer_handler::{IgnoringMessageHandler, MessageHandler, PeerManager};
use lightning::sign::{EntropySource, KeysManager};
use lightning::util::logger::{Logger, Record};
use lightning_net_tokio::{setup_inbound, SocketDescriptor};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{interval, sleep, MissedTickBehavior};

use super::door::Door;
use crate::failure::Failure;
use crate::Outcome;

/// LDK pings this often, and hangs up on who has not answered, or not ended the handshake.
const TICK: Duration = Duration::from_secs(10);
/// Who is not allowed has so many ticks to be given back what is kept for them from an earlier time.
const STRANGERS_TICKS: u32 = 3;
/// After an accept that failed, mostly for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(200);
/// For what LDK has handed over to reach the network.
const LAST_WORDS: Duration = Duration::from_millis(100);

type Ignore = Arc<IgnoringMessageHandler>;
type Peers = PeerManager<
    SocketDescriptor,
    Arc<PeerStorageHandler<Arc<QuietHandler>>>,
    Ignore,
    Ignore,
    Arc<WarningLogger<Arc<NoLog>>>,
    Ignore,
    Arc<KeysManager>,
    Ignore,
>;

pub struct Listener {
    pub storage: PeerStorage,
    pub keys: Arc<KeysManager>,
    pub network: Network,
    pub door: Arc<Door>,
    /// Who else connects is hung up on after a while; none: all may stay.
    pub allowed: Option<BTreeSet<PublicKey>>,
}

impl Listener {
    /// Serves until `ended` turns true. Tells where it listens.
    pub async fn serve(
        self,
        listen: SocketAddr,
        mut ended: watch::Receiver<bool>,
        listening: impl FnOnce(SocketAddr),
    ) -> Outcome {
        let cannot = |error| Failure::Network(format!("cannot listen on {listen}: {error}"));
        let listener = TcpListener::bind(listen).await.map_err(cannot)?;
        let peers = self.peer_manager();
        let weak = Arc::downgrade(&peers);
        self.storage.set_waker(move || {
            if let Some(peers) = weak.upgrade() {
                peers.process_events();
            }
        });
        listening(listener.local_addr().map_err(cannot)?);

        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut strangers = Strangers::default();
        loop {
            tokio::select! {
                // An error: nobody can send a signal any more.
                _ = ended.wait_for(|ended| *ended) => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, from)) => self.admit(&peers, stream, from),
                    Err(error) => {
                        log::warn!("cannot accept a connection: {error}");
                        sleep(PAUSE).await;
                    }
                },
                _ = tick.tick() => {
                    peers.timer_tick_occurred();
                    self.forget_events();
                    if let Some(allowed) = &self.allowed {
                        let connected = peers.list_peers().into_iter();
                        let connected = connected.map(|peer| peer.counterparty_node_id);
                        for stranger in strangers.due(connected, allowed) {
                            peers.disconnect_by_node_id(stranger);
                        }
                    }
                }
            }
        }
        drop(listener);
        peers.disconnect_all_peers();
        sleep(LAST_WORDS).await;
        Ok(())
    }

    fn peer_manager(&self) -> Arc<Peers> {
        let ignore = Arc::new(IgnoringMessageHandler {});
        let quiet = Arc::new(QuietHandler::new(self.network));
        let handlers = MessageHandler {
            chan_handler: Arc::new(self.storage.message_handler(quiet)),
            route_handler: Arc::clone(&ignore),
            onion_message_handler: Arc::clone(&ignore),
            custom_message_handler: Arc::clone(&ignore),
            send_only_message_handler: ignore,
        };
        let random = self.keys.get_secure_random_bytes();
        let logger = Arc::new(self.storage.logger(Arc::new(NoLog)));
        Arc::new(PeerManager::new(
            handlers,
            0,
            &random,
            logger,
            self.keys.clone(),
        ))
    }

    fn admit(&self, peers: &Arc<Peers>, stream: TcpStream, from: SocketAddr) {
        let Some(place) = self.door.enter(from.ip()) else {
            log::info!("a connection was turned away: all places are taken");
            return;
        };
        // Without it a small message waits for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        let Ok(stream) = stream.into_std() else {
            return;
        };
        let connection = setup_inbound(peers.clone(), stream);
        tokio::spawn(async move {
            connection.await;
            drop(place);
        });
    }

    /// No person looks at them here, and peers can cause them without end.
    fn forget_events(&self) {
        while let Ok(Some((id, _))) = self.storage.next_event() {
            if self.storage.event_handled(id).is_err() {
                return;
            }
        }
    }
}

/// Connected peers that are not allowed, and for how many ticks.
#[derive(Default)]
struct Strangers {
    seen: BTreeMap<PublicKey, u32>,
}

impl Strangers {
    /// Who has to go.
    fn due(
        &mut self,
        connected: impl IntoIterator<Item = PublicKey>,
        allowed: &BTreeSet<PublicKey>,
    ) -> Vec<PublicKey> {
        let strangers = connected.into_iter().filter(|peer| !allowed.contains(peer));
        let before = std::mem::take(&mut self.seen);
        self.seen = strangers
            .map(|peer| (peer, before.get(&peer).copied().unwrap_or_default() + 1))
            .collect();
        let due = self
            .seen
            .iter()
            .filter(|(_, ticks)| **ticks >= STRANGERS_TICKS);
        due.map(|(peer, _)| *peer).collect()
    }
}

/// LDK's log holds whole messages.
pub struct NoLog;

impl Logger for NoLog {
    fn log(&self, _record: Record) {}
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{Secp256k1, SecretKey};

    use super::*;

    #[test]
    fn strangers_go_after_a_while_and_are_forgotten() {
        let id = |n: u8| {
            let key = SecretKey::from_slice(&[n; 32]);
            key.map(|key| PublicKey::from_secret_key(&Secp256k1::new(), &key))
        };
        let (Ok(friend), Ok(stranger)) = (id(1), id(2)) else {
            return;
        };
        let allowed = BTreeSet::from([friend]);
        let mut strangers = Strangers::default();
        for _ in 1..STRANGERS_TICKS {
            assert!(strangers.due([friend, stranger], &allowed).is_empty());
        }
        assert_eq!(strangers.due([friend, stranger], &allowed), [stranger]);
        assert!(strangers.due([friend], &allowed).is_empty());
        assert!(strangers.seen.is_empty());
        assert!(
            strangers.due([friend, stranger], &allowed).is_empty(),
            "it came again"
        );
    }
}
