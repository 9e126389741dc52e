//! A relay with nothing around it, and messages to put in.

use std::sync::Arc;

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use bitcoin::{Network, OutPoint, Txid};
use ldk_peer_storage::backup::{ChannelIds, ChannelKind, ChannelPhase, ChannelRecord};
use ldk_peer_storage::exchange::WalletState;
use ldk_peer_storage::ldk::{MessageRelay, RawMessage, RelayStep};
use ldk_peer_storage::service::{Config, PeerStorage, WalletSource};
use lightning::ln::types::ChannelId;
use lightning::sign::KeysManager;
use lightning::types::features::InitFeatures;
use lightning::util::ser::Writeable;
use testkit::raw_peer::channel_messages;

use crate::support::ManualClock;

/// The channel that the wallet has, with [`peer`].
pub const CHANNEL: ChannelId = ChannelId([1; 32]);
/// One that it does not have.
pub const UNKNOWN: ChannelId = ChannelId([2; 32]);

pub struct Bench {
    pub storage: PeerStorage,
    pub relay: MessageRelay,
    pub clock: Arc<ManualClock>,
    _dir: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Bench {
        let (storage, clock, dir) = storage();
        Bench {
            relay: storage.message_relay(),
            storage,
            clock,
            _dir: dir,
        }
    }

    pub fn connect(&self, peer: PublicKey, node_says: Vec<RawMessage>) {
        let connected = self
            .relay
            .peer_connected(peer, &features(), true, node_says);
        connected.unwrap();
    }

    /// What is to be done now, without what we push of our own.
    pub fn steps(&self) -> Vec<RelayStep> {
        let steps = self.relay.take_steps().into_iter();
        let pushed =
            |step: &RelayStep| matches!(step, RelayStep::Send { message, .. } if message.kind == 7);
        steps.filter(|step| !pushed(step)).collect()
    }

    /// The peer says this.
    pub fn hear(&self, message: RawMessage) {
        self.relay.message_received(peer(), message).unwrap();
    }

    /// The node says this.
    pub fn say(&self, message: RawMessage) {
        self.relay.node_sends(peer(), message).unwrap();
    }
}

/// Of a wallet with one channel.
pub fn storage() -> (PeerStorage, Arc<ManualClock>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::new();
    clock.stop();
    let config = Config {
        clock: Some(clock.clone()),
        ..Config::new(dir.path(), Network::Regtest)
    };
    let storage = PeerStorage::open(config, &KeysManager::new(&[7; 32], 0, 0, true)).unwrap();
    storage.declare_new().unwrap();
    storage.attach(Arc::new(OneChannel));
    (storage, clock, dir)
}

struct OneChannel;

impl WalletSource for OneChannel {
    fn wallet_state(&self) -> WalletState {
        let record = ChannelRecord {
            counterparty: peer(),
            ids: ChannelIds {
                channel_id: Some(CHANNEL),
                funding_outpoint: Some(funding()),
                short_channel_id: None,
            },
            update_id: 1,
            phase: ChannelPhase::Ready,
            restored: false,
            kind: ChannelKind::Anchors,
            channel_keys_id: None,
            value_sat: None,
        };
        WalletState {
            channels: vec![record],
            ..WalletState::default()
        }
    }
}

pub fn funding() -> OutPoint {
    OutPoint::new(Txid::from_byte_array([1; 32]), 0)
}

pub fn key(byte: u8) -> PublicKey {
    let secret = SecretKey::from_slice(&[byte; 32]).unwrap();
    PublicKey::from_secret_key(&Secp256k1::new(), &secret)
}

pub fn peer() -> PublicKey {
    key(1)
}

pub fn stranger() -> PublicKey {
    key(2)
}

pub fn features() -> Vec<u8> {
    let mut features = InitFeatures::empty();
    features.set_provide_storage_optional();
    features.encode()
}

/// One of this type, about this channel.
pub fn sample(kind: u16, channel: ChannelId) -> RawMessage {
    let mut samples = channel_messages(channel).into_iter();
    let (kind, payload) = samples.find(|(known, _)| *known == kind).unwrap();
    RawMessage { kind, payload }
}

/// A 136 with these numbers.
pub fn reestablish(channel: ChannelId, next_local: u64, next_remote: u64) -> RawMessage {
    let mut message = sample(136, channel);
    message.payload[32..40].copy_from_slice(&next_local.to_be_bytes());
    message.payload[40..48].copy_from_slice(&next_remote.to_be_bytes());
    message
}

/// `peer_storage` or `peer_storage_retrieval`.
pub fn blob(kind: u16, data: &[u8]) -> RawMessage {
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    RawMessage {
        kind,
        payload: [&length, data].concat(),
    }
}

/// The same with a TLV record at its end that nobody knows.
pub fn with_unknown_record(mut message: RawMessage, number: u32) -> RawMessage {
    // An odd type beyond all that are known, and four bytes.
    message.payload.extend([0xfe, 0x7f, 0xff, 0xff, 0xff, 4]);
    message.payload.extend(number.to_be_bytes());
    message
}

pub fn send(message: RawMessage) -> RelayStep {
    let peer = peer();
    RelayStep::Send { peer, message }
}

pub fn deliver(message: RawMessage) -> RelayStep {
    let peer = peer();
    RelayStep::Deliver { peer, message }
}
