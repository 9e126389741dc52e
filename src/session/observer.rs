//! The outermost handler of the quiet node: notes what peers say, and passes everything on.
//!
//! ```text
//! PeerManager ─▶ Observer ─▶ PeerStorageHandler ─▶ QuietHandler
//!                   ▲
//!     CloseOrders ──┘ the one thing that leaves beside 7 and 9, and only for `close`
//! ```

use std::collections::BTreeMap;
use std::future::{poll_fn, Future};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{self, *};
use lightning::ln::types::ChannelId;
use lightning::types::features::{InitFeatures, NodeFeatures};
use tokio::sync::Notify;
use tokio::time::{timeout_at, Instant};

use super::close::CloseOrders;
use crate::exchange::{Numbers, Progress};
use crate::ldk::{for_each_channel_message, PeerStorageHandler, QuietHandler, SeenReestablish};
use crate::locks::lock;
use crate::service::{Engine, PeerStorage};

/// So much of what one peer says on one connection is remembered.
const MOST_CHANNELS: usize = 256;
const MOST_ERRORS: usize = 8;
const MOST_CHARS: usize = 200;
/// No budget is longer.
const FAR: Duration = Duration::from_secs(400 * 24 * 60 * 60);

pub(super) struct Observer {
    inner: PeerStorageHandler<Arc<QuietHandler>>,
    engine: Arc<Engine>,
    /// Of the peers that are being visited. Never held while `inner` is called.
    heard: Mutex<BTreeMap<PublicKey, Heard>>,
    changed: Notify,
    /// The session ends: nobody waits for anything more.
    stopped: AtomicBool,
    pub orders: CloseOrders,
}

/// What a peer has said on its present connection.
#[derive(Clone, Default)]
pub(super) struct Heard {
    /// It has proved that it is the node that was dialled (BOLT #8).
    pub is_authenticated: bool,
    /// When its `init` came.
    pub connected_at: Option<Instant>,
    /// How far it was read back when it last said something about it: it may have hung up since.
    pub progress: Option<Progress>,
    /// Its `channel_reestablish`s, the newest of each channel.
    pub reestablished: Vec<SeenReestablish>,
    /// When the last of these came.
    pub reestablished_at: Option<Instant>,
    /// A backup was handed to LDK for it.
    pub was_pushed_to: bool,
    /// The texts of its `error`s.
    pub errors: Vec<String>,
}

impl Observer {
    pub fn new(storage: &PeerStorage, handler: QuietHandler) -> Self {
        Observer {
            inner: storage.message_handler(Arc::new(handler)),
            engine: storage.engine().clone(),
            heard: Mutex::default(),
            changed: Notify::new(),
            stopped: AtomicBool::new(false),
            orders: CloseOrders::default(),
        }
    }

    /// Waits until nobody else visits the peer, and has it to oneself from then on. None: the time is
    /// over.
    pub async fn claim(self: &Arc<Self>, peer: PublicKey, end: Instant) -> Option<Claim> {
        let take = || {
            let mut heard = lock(&self.heard);
            let is_free = !heard.contains_key(&peer);
            heard.entry(peer).or_default();
            is_free.then(|| Claim {
                observer: self.clone(),
                peer,
            })
        };
        self.until(end, take).await
    }

    /// What the peer has said since its present connection was dialled.
    pub fn heard(&self, peer: &PublicKey) -> Heard {
        lock(&self.heard).get(peer).cloned().unwrap_or_default()
    }

    /// A new connection is dialled.
    pub fn begin(&self, peer: &PublicKey) {
        self.note(peer, |heard| *heard = Heard::default());
    }

    /// Ends all waiting, now and from now on.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.stir();
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Runs a future until the time is over, or the session is stopped.
    pub async fn within<T>(&self, end: Instant, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(timeout_at(end, future));
        let never = || None::<()>;
        let far = Instant::now() + FAR;
        let mut stopped = pin!(self.until(far, never));
        poll_fn(|context| {
            if self.is_stopped() || stopped.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            future.as_mut().poll(context).map(Result::ok)
        })
        .await
    }

    /// Looks whenever something may have changed, until there is a result, the time is over, or the
    /// session is stopped.
    pub async fn until<T>(&self, end: Instant, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        loop {
            // Made before the look, so that no change is missed.
            let changed = self.changed.notified();
            if let Some(found) = look() {
                return Some(found);
            }
            if self.is_stopped() {
                return None;
            }
            if timeout_at(end, changed).await.is_err() {
                return look();
            }
        }
    }

    /// Something may have changed.
    pub fn stir(&self) {
        self.changed.notify_waiters();
    }

    fn note(&self, peer: &PublicKey, note: impl FnOnce(&mut Heard)) {
        if let Some(heard) = lock(&self.heard).get_mut(peer) {
            note(heard);
        }
        self.stir();
    }

    fn reestablished(&self, peer: PublicKey, message: &ChannelReestablish) {
        self.read_back(peer);
        let seen = SeenReestablish {
            peer,
            channel_id: message.channel_id,
            numbers: Numbers {
                next_local: message.next_local_commitment_number,
                next_remote: message.next_remote_commitment_number,
            },
        };
        self.note(&peer, |heard| {
            heard.reestablished_at = Some(Instant::now());
            let all = &mut heard.reestablished;
            all.retain(|s| s.channel_id != seen.channel_id);
            if all.len() < MOST_CHANNELS {
                all.push(seen);
            }
        });
    }

    fn read_back(&self, peer: PublicKey) {
        let progress = self.engine.look(|exchange| exchange.progress(&peer));
        self.note(&peer, |heard| heard.progress = progress);
    }

    fn failed(&self, peer: PublicKey, message: &ErrorMessage) {
        self.note(&peer, |heard| {
            if heard.errors.len() < MOST_ERRORS {
                let text = message.data.chars().take(MOST_CHARS);
                heard.errors.push(text.collect());
            }
        });
    }
}

/// What may leave by itself (safety rule 10). Not the `warning` to a peer whose blob is refused, either:
/// Core Lightning offers one on every connection, and a warning may end it.
fn is_quiet(event: &MessageSendEvent) -> bool {
    use MessageSendEvent::*;
    let hangs_up =
        |action: &ErrorAction| matches!(action, ErrorAction::DisconnectPeer { msg: None });
    match event {
        SendPeerStorage { .. } | SendPeerStorageRetrieval { .. } => true,
        HandleError { action, .. } => hangs_up(action),
        _ => false,
    }
}

/// While it lives, nobody else visits this peer.
pub(super) struct Claim {
    observer: Arc<Observer>,
    peer: PublicKey,
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.observer.heard).remove(&self.peer);
        self.observer.stir();
    }
}

impl BaseMessageHandler for Observer {
    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        let mut events = self.inner.get_and_clear_pending_msg_events();
        events.retain(is_quiet);
        for event in &events {
            if let MessageSendEvent::SendPeerStorage { node_id, .. } = event {
                self.note(node_id, |heard| heard.was_pushed_to = true);
            }
        }
        events.extend(self.orders.take());
        events
    }

    fn peer_disconnected(&self, peer: PublicKey) {
        self.inner.peer_disconnected(peer);
        self.stir();
    }

    fn provided_node_features(&self) -> NodeFeatures {
        self.inner.provided_node_features()
    }

    /// LDK asks for them as soon as the handshake of BOLT #8 is through.
    fn provided_init_features(&self, peer: PublicKey) -> InitFeatures {
        self.note(&peer, |heard| heard.is_authenticated = true);
        self.inner.provided_init_features(peer)
    }

    fn peer_connected(&self, peer: PublicKey, init: &Init, inbound: bool) -> Result<(), ()> {
        self.inner.peer_connected(peer, init, inbound)?;
        self.note(&peer, |heard| heard.connected_at = Some(Instant::now()));
        Ok(())
    }
}

macro_rules! pass_on {
    ($([$kind:ident $name:ident $method:ident |$m:ident| $inbound:expr])*) => {
        impl ChannelMessageHandler for Observer {
            $(pass_one_on!($kind $name $method);)*

            fn handle_commitment_signed_batch(
                &self,
                peer: PublicKey,
                channel_id: ChannelId,
                batch: Vec<CommitmentSigned>,
            ) {
                self.inner.handle_commitment_signed_batch(peer, channel_id, batch);
            }

            fn handle_peer_storage(&self, peer: PublicKey, message: msgs::PeerStorage) {
                self.inner.handle_peer_storage(peer, message);
            }

            fn handle_peer_storage_retrieval(&self, peer: PublicKey, message: PeerStorageRetrieval) {
                self.inner.handle_peer_storage_retrieval(peer, message);
                self.read_back(peer);
            }

            fn get_chain_hashes(&self) -> Option<Vec<ChainHash>> {
                self.inner.get_chain_hashes()
            }

            fn message_received(&self) {
                self.inner.message_received();
            }
        }
    };
}

macro_rules! pass_one_on {
    (owned $name:ident $method:ident) => {
        fn $method(&self, peer: PublicKey, message: $name) {
            self.inner.$method(peer, message);
        }
    };
    ($kind:ident $name:ident $method:ident) => {
        fn $method(&self, peer: PublicKey, message: &$name) {
            self.inner.$method(peer, message);
            note!($name self peer message);
        }
    };
}

macro_rules! note {
    (ChannelReestablish $observer:ident $peer:ident $message:ident) => {
        $observer.reestablished($peer, $message)
    };
    (ErrorMessage $observer:ident $peer:ident $message:ident) => {
        $observer.failed($peer, $message)
    };
    ($other:ident $observer:ident $peer:ident $message:ident) => {};
}

for_each_channel_message!(pass_on);
