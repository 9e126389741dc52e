//! The one place from which anything but `init`, 7, 9, ping and pong leaves: asking a peer to close
//! channels, on the order of the person (safety rule 10).
//!
//! Only [`request`] can fill [`CloseOrders`]: what fills it is private to this file.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{ChannelReestablish, ErrorAction, ErrorMessage, MessageSendEvent};
use lightning::ln::types::ChannelId;
use tokio::time::Instant;

use super::dial::{Dialler, Insistence};
use super::quiet_node::Connection;
use super::report::NotReached;
use super::Times;
use crate::backup::PeerRecord;
use crate::ldk::SeenReestablish;
use crate::locks::lock;

/// No text that a known implementation ignores.
const TEXT: &str = "force close requested: channel state lost";

/// How to ask. One attempt a connection, and never both on one: Core Lightning then loses the first,
/// LND the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CloseAttempt {
    /// An `error` for each channel: closes Core Lightning, stock LDK and Eclair. A node of this project
    /// keeps it from its LDK until it has seen a 136.
    Error {
        /// The channels. Zeros alone mean all channels, and are refused.
        channels: Vec<ChannelId>,
    },
    /// A `channel_reestablish` with numbers of zero for each channel: closes LND, LDK and nodes of this
    /// project.
    BogusReestablish {
        /// The channels.
        channels: Vec<ChannelId>,
    },
}

/// What was seen. Whether a channel closes, the chain alone tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CloseOutcome {
    /// Whether the peer was asked.
    pub asked: Result<(), NotAsked>,
    /// Its `channel_reestablish`s on this connection.
    pub seen: Vec<SeenReestablish>,
    /// The texts of its `error`s: a hint, and nothing more.
    pub errors: Vec<String>,
    /// It hung up before we did.
    pub hung_up: bool,
}

/// Why a peer was not asked to close. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAsked {
    /// No channel was named.
    #[error("no channel was named")]
    NoChannel,
    /// The id of zeros means all channels: some peers then hang up and close nothing.
    #[error("a channel id of zeros means all channels")]
    AllChannels,
    /// It was not reached.
    #[error(transparent)]
    NotReached(#[from] NotReached),
    /// It hung up before it was asked, or never came to rest.
    #[error("it hung up, or went on talking of its channels")]
    NoRest,
    /// By what it named on this connection, it must be asked for none of them.
    #[error("it names no channel that it may be asked to close")]
    NotNamed,
}

/// Decides, by the channels that the peer has named on this connection, which of an attempt's channels
/// it is asked for.
pub(crate) type MayAsk = dyn Fn(&ChannelId, &[ChannelId]) -> bool + Send + Sync;

impl CloseAttempt {
    fn messages(&self, node_id: PublicKey, point: PublicKey) -> Vec<MessageSendEvent> {
        let error = |channel_id: &ChannelId| MessageSendEvent::HandleError {
            node_id,
            action: ErrorAction::SendErrorMessage {
                msg: ErrorMessage {
                    channel_id: *channel_id,
                    data: TEXT.to_owned(),
                },
            },
        };
        let bogus = |channel_id: &ChannelId| MessageSendEvent::SendChannelReestablish {
            node_id,
            msg: ChannelReestablish {
                channel_id: *channel_id,
                next_local_commitment_number: 0,
                next_remote_commitment_number: 0,
                your_last_per_commitment_secret: [1; 32],
                my_current_per_commitment_point: point,
                next_funding: None,
                my_current_funding_locked: None,
            },
        };
        match self {
            CloseAttempt::Error { channels } => channels.iter().map(error).collect(),
            CloseAttempt::BogusReestablish { channels } => channels.iter().map(bogus).collect(),
        }
    }

    fn channels(&self) -> &Vec<ChannelId> {
        let (CloseAttempt::Error { channels } | CloseAttempt::BogusReestablish { channels }) = self;
        channels
    }

    /// What of it is left for a peer that has named these channels.
    fn narrowed(mut self, named: &[ChannelId], may_ask: &MayAsk) -> Result<Self, NotAsked> {
        let (CloseAttempt::Error { channels } | CloseAttempt::BogusReestablish { channels }) =
            &mut self;
        channels.retain(|id| may_ask(id, named));
        match channels.is_empty() {
            true => Err(NotAsked::NotNamed),
            false => Ok(self),
        }
    }

    fn check(&self) -> Result<(), NotAsked> {
        let channels = self.channels();
        if channels.iter().any(|id| *id == ChannelId::new_zero()) {
            Err(NotAsked::AllChannels)
        } else if channels.is_empty() {
            Err(NotAsked::NoChannel)
        } else {
            Ok(())
        }
    }
}

/// Messages that LDK takes at once. It drops those to a peer that has gone; and while a peer is being
/// asked nobody else connects to it, so none can leave on another connection.
#[derive(Default)]
pub(super) struct CloseOrders(Mutex<Vec<MessageSendEvent>>);

impl CloseOrders {
    fn put(&self, messages: Vec<MessageSendEvent>) {
        lock(&self.0).extend(messages);
    }

    pub fn take(&self) -> Vec<MessageSendEvent> {
        std::mem::take(&mut *lock(&self.0))
    }
}

/// Connects, waits until the peer has said what it has to say, asks, and stays for a while. `point`
/// is any valid one.
pub(super) async fn request(
    dialler: Dialler,
    peer: PeerRecord,
    attempt: CloseAttempt,
    may_ask: Box<MayAsk>,
    stay: Duration,
    point: PublicKey,
) -> CloseOutcome {
    let mut outcome = CloseOutcome {
        asked: attempt.check(),
        seen: Vec::new(),
        errors: Vec::new(),
        hung_up: false,
    };
    if outcome.asked.is_ok() {
        let messages = |named: &[ChannelId]| {
            let attempt = attempt.narrowed(named, &*may_ask)?;
            Ok(attempt.messages(peer.node_id, point))
        };
        outcome.asked = ask(&dialler, &peer, messages, stay, &mut outcome).await;
    }
    outcome
}

async fn ask(
    dialler: &Dialler,
    peer: &PeerRecord,
    messages: impl FnOnce(&[ChannelId]) -> Result<Vec<MessageSendEvent>, NotAsked>,
    stay: Duration,
    outcome: &mut CloseOutcome,
) -> Result<(), NotAsked> {
    let Dialler { node, times, .. } = dialler;
    let observer = &node.observer;
    let reached_by = Instant::now() + longest_dialling(times, stay);
    let claim = observer.claim(peer.node_id, reached_by).await;
    let claim = Arc::new(claim.ok_or(NotReached::OutOfTime)?);
    let mut insistence = Insistence::new(dialler, reached_by);
    let connection = loop {
        match dialler.connect(&claim, peer, reached_by).await {
            Ok(connection) => break connection,
            Err(error) => insistence.after(error).await?,
        }
    };

    let rest = come_to_rest(dialler, peer.node_id, &connection, stay).await;
    let named = observer.heard(&peer.node_id).reestablished;
    let named: Vec<_> = named.iter().map(|seen| seen.channel_id).collect();
    let asked = rest.and_then(|()| {
        observer.orders.put(messages(&named)?);
        Ok(())
    });
    if asked.is_ok() {
        node.process();
        let gone = || connection.ended_by();
        observer.until(Instant::now() + stay, gone).await;
    }
    let heard = observer.heard(&peer.node_id);
    outcome.seen = heard.reestablished;
    outcome.errors = heard.errors;
    outcome.hung_up = connection.ended_by().is_some();
    connection.hang_up(Instant::now() + times.linger).await;
    asked
}

/// Waits until the peer has been silent about channels for long enough: what is said while it still
/// prepares may be lost.
async fn come_to_rest(
    dialler: &Dialler,
    peer: PublicKey,
    connection: &Connection,
    patience: Duration,
) -> Result<(), NotAsked> {
    let Dialler { node, times, .. } = dialler;
    let connected = Instant::now();
    let give_up = connected + times.first_reestablish + patience;
    loop {
        let last = node.observer.heard(&peer).reestablished_at;
        let at = match last {
            Some(last) => last + times.after_reestablish,
            None => connected + times.first_reestablish,
        };
        let is_over = connection.ended_by().is_some() || node.observer.is_stopped();
        if is_over || at > give_up {
            return Err(NotAsked::NoRest);
        }
        if Instant::now() >= at {
            return Ok(());
        }
        let news = || {
            let heard = node.observer.heard(&peer);
            let changed = heard.reestablished_at != last;
            (changed || connection.ended_by().is_some()).then_some(())
        };
        node.observer.until(at, news).await;
    }
}

fn longest_dialling(times: &Times, stay: Duration) -> Duration {
    stay.max(times.connect).max(times.connect_through_tor)
}

/// How long [`request`] may take at most.
pub(super) fn longest(times: &Times, stay: Duration) -> Duration {
    longest_dialling(times, stay) + times.first_reestablish + stay + stay + times.linger
}
