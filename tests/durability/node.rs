//! A whole `PeerStorage`, as owner and as storer, and its peers as a test plays them: the messages are
//! real, and pass through a relay.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use bitcoin::Network;
use ldk_peer_storage::backup::{
    BackupKey, ChannelKind, ChannelPhase, ChannelRecord, ContentHash, Revision,
};
use ldk_peer_storage::exchange::{Event, Guests, Past, StoragePolicy, WalletState};
use ldk_peer_storage::ldk::{MessageRelay, RawMessage, RelayStep};
use ldk_peer_storage::service::{Config, OpenError, PeerStorage, WalletSource};
use lightning::sign::{KeysManager, NodeSigner, Recipient};
use lightning::types::features::InitFeatures;
use lightning::util::ser::Writeable;

use crate::clock::ManualClock;
use crate::random::Random;
use crate::store_support::{channel, node};

/// Whose backups are kept here.
pub const GUESTS: std::ops::RangeInclusive<u64> = 1..=4;
/// Who keeps ours.
pub const KEEPERS: std::ops::RangeInclusive<u64> = 11..=12;
/// Longer than anything takes that works.
pub const LONG: Duration = Duration::from_secs(60);

const STORAGE: u16 = 7;
const RETRIEVAL: u16 = 9;

/// What the world outside of the node remembers, whatever becomes of the node.
#[derive(Clone, Default)]
pub struct World {
    /// How many blobs each guest has sent. The last one that was taken off the wire.
    pub offered: BTreeMap<u64, u64>,
    /// What each keeper was last sent.
    pub kept: BTreeMap<u64, Vec<u8>>,
    /// All backups that have left the device, in order.
    pub left: Vec<Left>,
    pub numbers: u64,
}

/// A backup that has left.
#[derive(Clone)]
pub struct Left {
    pub keeper: u64,
    pub revision: Revision,
    pub content: ContentHash,
    pub blob: Vec<u8>,
}

impl World {
    /// No revision stands for two contents.
    #[track_caller]
    pub fn assert_no_generation_was_used_twice(&self) {
        let mut seen = BTreeMap::new();
        for Left {
            revision, content, ..
        } in &self.left
        {
            let before = seen.insert(*revision, content.0);
            let same = before.is_none_or(|before| before == content.0);
            assert!(same, "{revision} stands for two backups");
        }
    }

    /// A keeper has received this.
    pub fn has_left(&mut self, key: &BackupKey, keeper: u64, blob: Vec<u8>) {
        let contents = key.open_snapshot(&blob).unwrap();
        self.kept.insert(keeper, blob.clone());
        self.left.push(Left {
            keeper,
            revision: contents.snapshot.revision,
            content: contents.content,
            blob,
        });
    }

    pub fn highest(&self) -> Revision {
        let all = self.left.iter().map(|left| left.revision);
        all.max().unwrap_or_default()
    }
}

/// The wallet round it, whose own database loses nothing.
struct Wallet {
    stamp: Arc<AtomicU64>,
}

impl WalletSource for Wallet {
    fn wallet_state(&self) -> WalletState {
        let record = |number: u8| ChannelRecord {
            counterparty: node(21),
            ids: channel(number),
            update_id: self.stamp.load(Ordering::SeqCst),
            phase: ChannelPhase::Ready,
            restored: false,
            kind: ChannelKind::Anchors,
            channel_keys_id: None,
            value_sat: Some(100_000),
        };
        WalletState {
            channels: (1..=3).map(record).collect(),
            ..WalletState::default()
        }
    }
}

/// What lasts from one life to the next beside the directory.
#[derive(Clone)]
pub struct Around {
    pub clock: Arc<ManualClock>,
    stamp: Arc<AtomicU64>,
}

impl Around {
    pub fn new() -> Around {
        Around::with_stamp(1)
    }

    /// The channels have come so far.
    pub fn with_stamp(stamp: u64) -> Around {
        let clock = ManualClock::new();
        clock.stop();
        Around {
            clock,
            stamp: Arc::new(stamp.into()),
        }
    }
}

pub struct Node {
    pub storage: PeerStorage,
    relay: MessageRelay,
    around: Around,
    key: BackupKey,
    /// What was returned to the guests.
    pub returned: BTreeMap<u64, Vec<u8>>,
    places: BTreeMap<PublicKey, u64>,
}

impl Node {
    /// Opens it, and connects all peers.
    pub fn start(dir: &Path, around: &Around, world: &World) -> Result<Node, OpenError> {
        let keys = keys();
        let config = Config {
            clock: Some(around.clock.clone()),
            storage: StoragePolicy {
                guests: Guests::Anyone,
                ..StoragePolicy::default()
            },
            monitors: false,
            ..Config::new(dir, Network::Regtest)
        };
        let storage = PeerStorage::open(config, &keys)?;
        if storage.past() == Past::Unknown {
            assert!(world.left.is_empty(), "it has forgotten its past");
            storage.declare_new().unwrap();
        }
        storage.attach(Arc::new(Wallet {
            stamp: around.stamp.clone(),
        }));
        storage.list_peers(KEEPERS.map(node).collect());
        let mut this = Node {
            relay: storage.message_relay(),
            storage,
            around: around.clone(),
            key: key(),
            returned: BTreeMap::new(),
            places: GUESTS.chain(KEEPERS).map(|n| (node(n), n)).collect(),
        };
        for peer in GUESTS.chain(KEEPERS) {
            this.connect(peer, world);
        }
        Ok(this)
    }

    fn connect(&mut self, peer: u64, world: &World) {
        let mut features = InitFeatures::empty();
        features.set_provide_storage_optional();
        let connected = self
            .relay
            .peer_connected(node(peer), &features.encode(), true, Vec::new());
        connected.unwrap();
        if let Some(blob) = world.kept.get(&peer) {
            self.hears(peer, RETRIEVAL, blob);
        }
    }

    fn hears(&self, peer: u64, kind: u16, blob: &[u8]) {
        let len = u16::try_from(blob.len()).unwrap().to_be_bytes();
        let payload = [&len, blob].concat();
        let message = RawMessage { kind, payload };
        self.relay.message_received(node(peer), message).unwrap();
    }

    /// A guest sends the next blob. Which: it has been taken off the wire.
    pub fn guest_sends(&self, guest: u64, world: &mut World) -> u64 {
        world.numbers += 1;
        let number = world.numbers;
        self.hears(guest, STORAGE, &blob_of(number));
        world.offered.insert(guest, number);
        number
    }

    /// Something of our own has changed.
    pub fn changes(&self, random: &mut Random) {
        let len = random.below(3000) + 1;
        let data = (0..len).map(|_| random.next() as u8).collect();
        self.storage.set_app_data(data);
    }

    /// Whatever may happen to a node. Which guest has sent something, if any.
    pub fn lives_on(&mut self, random: &mut Random, world: &mut World) -> Option<u64> {
        let mut sent = None;
        match random.below(20) {
            0..=11 => {
                let guest = random.between(*GUESTS.start(), *GUESTS.end());
                self.guest_sends(guest, world);
                sent = Some(guest);
            }
            12..=15 => self.changes(random),
            16 | 17 => {
                let stamp = 1 + self.around.stamp.fetch_add(1, Ordering::SeqCst);
                for number in 1..=3 {
                    let id = channel(number).channel_id.unwrap();
                    self.storage.monitor_written(id, stamp);
                }
            }
            18 => {
                let all: Vec<_> = GUESTS.chain(KEEPERS).collect();
                let peer = random.pick(&all).unwrap();
                self.relay.peer_disconnected(node(peer));
                self.connect(peer, world);
            }
            _ => {
                if let Ok(Some((id, _))) = self.storage.next_event() {
                    let _ = self.storage.event_handled(id);
                }
            }
        }
        // Each guest has a token again, and the keepers' time to return something is over.
        self.time_passes(Duration::from_secs(61));
        sent
    }

    pub fn time_passes(&self, span: Duration) {
        self.around.clock.advance(span);
        self.storage.clock_moved();
    }

    /// What leaves now. How many of our own backups.
    pub fn sends(&mut self, world: &mut World) -> usize {
        let before = world.left.len();
        for step in self.relay.take_steps() {
            let RelayStep::Send { peer, message } = step else {
                continue;
            };
            let peer = self.places[&peer];
            match message.kind {
                STORAGE => {
                    let blob = message.payload[2..].to_vec();
                    world.has_left(&self.key, peer, blob);
                }
                RETRIEVAL => {
                    self.returned.insert(peer, message.payload[2..].to_vec());
                }
                kind => panic!("it sends a message of type {kind}"),
            }
        }
        world.left.len() - before
    }

    /// Waits until all is durable and has left, at most so long. Whether it is.
    pub fn flush(&mut self, world: &mut World, budget: Duration) -> bool {
        let end = Instant::now() + budget;
        loop {
            let flushed = self.storage.flush(Duration::from_millis(2));
            self.sends(world);
            if flushed || Instant::now() > end {
                return flushed;
            }
        }
    }

    /// What is kept for the guests is what they have sent: no earlier one than these.
    #[track_caller]
    pub fn assert_kept(&mut self, at_least: &BTreeMap<u64, u64>, world: &mut World) {
        // Returned at the start of each connection.
        for guest in GUESTS {
            self.relay.peer_disconnected(node(guest));
            self.connect(guest, world);
        }
        self.sends(world);
        for guest in GUESTS {
            let wanted = at_least.get(&guest).copied().unwrap_or(0);
            let Some(blob) = self.returned.get(&guest).filter(|blob| !blob.is_empty()) else {
                assert_eq!(wanted, 0, "nothing is kept for guest {guest}");
                continue;
            };
            let number = u64::from_le_bytes(blob[..8].try_into().unwrap());
            assert!(blob == &blob_of(number), "guest {guest}: wrong bytes");
            assert!(number >= wanted, "guest {guest}: {number} after {wanted}");
            let offered = world.offered.get(&guest).copied().unwrap_or(0);
            assert!(number <= offered, "guest {guest} never sent {number}");
        }
    }

    /// Nothing looks as if something had been lost.
    #[track_caller]
    pub fn assert_no_alarm(&self) {
        assert!(self.storage.alarms().is_empty());
        let mut told = BTreeSet::new();
        while let Some((id, event)) = self.storage.next_event().unwrap() {
            let bad = matches!(
                event,
                Event::OtherInstallation { .. } | Event::Conflict { .. } | Event::AlarmRaised(_)
            );
            assert!(!bad, "{event:?}");
            assert!(told.insert(id));
            self.storage.event_handled(id).unwrap();
        }
    }

    /// The next backup comes after all that have ever left.
    #[track_caller]
    pub fn assert_goes_on(&mut self, random: &mut Random, world: &mut World) {
        let before = world.highest();
        assert!(self.flush(world, LONG));
        self.changes(random);
        self.time_passes(Duration::from_secs(61));
        let end = Instant::now() + LONG;
        while world.highest() <= before {
            assert!(Instant::now() < end, "nothing new has left");
            self.flush(world, Duration::from_millis(5));
        }
        assert!(self.flush(world, LONG));
        world.assert_no_generation_was_used_twice();
    }

    /// Ends in order. Whether all was written, and has left.
    pub fn close(mut self, world: &mut World) -> bool {
        // What is pushed at the end has to be taken, or the end waits for it.
        let end = Instant::now() + LONG;
        while Instant::now() < end {
            let report = self.storage.on_background(Duration::from_millis(20));
            self.sends(world);
            if report.complete {
                break;
            }
        }
        self.storage.close(LONG).complete
    }
}

fn keys() -> KeysManager {
    KeysManager::new(&[9; 32], 0, 0, true)
}

/// What its backups are sealed with.
pub fn key() -> BackupKey {
    let node_id = keys().get_node_id(Recipient::Node).unwrap();
    let secret = keys().get_peer_storage_key().inner;
    BackupKey::derive(&secret, Network::Regtest, &node_id)
}

/// The blob of this number, of a length of its own.
pub fn blob_of(number: u64) -> Vec<u8> {
    let len = 8
        + (number * 7919
            % if number.is_multiple_of(5) {
                60_000
            } else {
                4_000
            }) as usize;
    crate::store_support::blob(number, len).to_vec()
}
