//! One node under test, and its peers as a test plays them.

#![allow(dead_code)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use ldk_peer_storage::backup::{
    self, ChannelKind, ChannelPhase, ChannelRecord, Contents, InstallationId, MonitorRecord,
    OpenError, PeerRecord, Revision, Snapshot, Tier, MAX_BLOB,
};
use ldk_peer_storage::exchange::{
    Action, Event, Exchange, Health, Inbound, Numbers, Outbound, Past, PeerFeatures, PeerStatus,
    Proof, Record, SavedState, StoragePolicy, StorerState, Time, Verdict, WalletState,
};

#[path = "names.rs"]
pub mod names;
pub use names::{channel_id, channel_ids, node_id};

pub const MINUTE: u64 = 60;
pub const DAY: u64 = 24 * 3600;

pub struct Example {
    pub exchange: Exchange,
    pub now: Time,
    pub pushes: Vec<Push>,
    pub events: Vec<Event>,
    pub warnings: Vec<(PublicKey, String)>,
    /// What would be durable.
    pub saved: SavedState,
    pub foreign: Vec<(PublicKey, Arc<[u8]>)>,
    pub written: Vec<(PublicKey, Arc<[u8]>)>,
    pub features: u64,
    /// How often the monitors were asked for.
    pub asked: usize,
}

#[derive(Clone, Debug)]
pub struct Push {
    pub peer: PublicKey,
    pub snapshot: Arc<Snapshot>,
    pub tier: Tier,
    pub capacity: usize,
}

/// (peer, channel, state stamp, phase)
pub type LiveChannel = (usize, usize, u64, ChannelPhase);

impl Example {
    /// A data directory that does not know its past.
    pub fn unknown() -> Self {
        Self::with_policy(StoragePolicy::default())
    }

    pub fn with_policy(policy: StoragePolicy) -> Self {
        let now = Time(1_700_000_000_000);
        let saved = SavedState {
            installation: InstallationId([1; 8]),
            ..SavedState::default()
        };
        Example {
            exchange: Exchange::new(now, saved.clone(), policy),
            now,
            pushes: Vec::new(),
            events: Vec::new(),
            warnings: Vec::new(),
            saved,
            foreign: Vec::new(),
            written: Vec::new(),
            features: 1,
            asked: 0,
        }
    }

    /// A new wallet with these channels.
    pub fn wallet(channels: &[LiveChannel]) -> Self {
        let mut example = Self::unknown();
        example.live(channels);
        example.exchange.declare_new(example.now).unwrap();
        example.take();
        example
    }

    /// The process ends, and starts again from what was durable.
    pub fn restart(&mut self) {
        self.take();
        self.exchange = Exchange::new(self.now, self.saved.clone(), StoragePolicy::default());
    }

    pub fn take(&mut self) -> &mut Self {
        for action in self.exchange.take_actions() {
            match action {
                Action::Persist(record) => self.persist(record),
                Action::Push {
                    peer,
                    snapshot,
                    tier,
                    capacity,
                    ..
                } => self.pushes.push(Push {
                    peer,
                    snapshot,
                    tier,
                    capacity,
                }),
                Action::ReadMonitors => self.asked += 1,
                Action::Warn { peer, text } => self.warnings.push((peer, text)),
            }
        }
        self
    }

    fn persist(&mut self, record: Record) {
        let saved = &mut self.saved;
        match record {
            Record::Past(past) => saved.past = past,
            Record::LostBefore(epoch) => saved.lost_before_epoch = epoch,
            Record::Restored => saved.was_restored = true,
            Record::HighestSeen(revision) => saved.highest_seen = revision,
            Record::Snapshot(snapshot) => saved.snapshot = Some(snapshot),
            Record::Storer(peer, state) => {
                saved.storers.insert(peer, state);
            }
            Record::Foreign { peer, blob, .. } => self.foreign.push((peer, blob)),
            Record::Resolved(ids) => saved.resolved.push(ids),
            Record::Alarm(alarm) => {
                saved.alarms.retain(|a| a.id != alarm.id);
                saved.alarms.push(alarm);
            }
            Record::AlarmOver(id) => saved.alarms.retain(|a| a.id != id),
            Record::Event(event) => self.events.push(event),
            Record::Slot { peer, blob } => {
                saved.slots.entry(peer).or_default().len = blob.len();
                self.written.push((peer, blob));
            }
            Record::SlotUnfunded { peer, since_height } => {
                saved.slots.entry(peer).or_default().unfunded_since = since_height;
            }
            Record::SlotExpired(peer) => {
                saved.slots.remove(&peer);
            }
        }
    }

    pub fn pass(&mut self, seconds: u64) -> &mut Self {
        self.now = self.now.after(Duration::from_secs(seconds));
        self.exchange.tick(self.now);
        self.take()
    }

    pub fn live(&mut self, channels: &[LiveChannel]) -> &mut Self {
        self.exchange.wallet_changed(self.now, state(channels));
        self.take()
    }

    /// The host has read these monitors.
    pub fn monitors(&mut self, monitors: &[LiveMonitor]) -> &mut Self {
        let monitors = monitors.iter().map(|m| monitor(*m)).collect();
        self.exchange.monitors_read(self.now, monitors);
        self.take()
    }

    /// Makes snapshots too large for 1024 bytes.
    pub fn large(&mut self) -> &mut Self {
        self.exchange.app_data_changed(self.now, vec![5; 3000]);
        self.take()
    }

    pub fn connect(&mut self, peer: usize) -> &mut Self {
        let features = PeerFeatures {
            provides_storage: true,
            hash: self.features,
        };
        self.exchange.connected(self.now, node_id(peer), features);
        self.take()
    }

    pub fn disconnect(&mut self, peer: usize) -> &mut Self {
        self.exchange.disconnected(self.now, node_id(peer));
        self.take()
    }

    /// A connection on which the peer returns this, and which stands for a while.
    pub fn meet(&mut self, peer: usize, returned: Option<(&Snapshot, Tier)>) -> &mut Self {
        self.connect(peer);
        match returned {
            Some((snapshot, tier)) => self.returns(peer, snapshot, tier),
            None => self.returns_nothing(peer),
        };
        self.pass(2 * MINUTE).disconnect(peer).pass(15 * MINUTE)
    }

    pub fn returns(&mut self, peer: usize, snapshot: &Snapshot, tier: Tier) -> &mut Self {
        let (bytes, contents) = sealed(snapshot, tier);
        let id = node_id(peer);
        let blob = vec![0; bytes];
        self.exchange
            .retrieval_received(self.now, id, &blob, Ok(contents));
        self.take()
    }

    pub fn returns_garbage(&mut self, peer: usize, error: OpenError) -> &mut Self {
        let id = node_id(peer);
        self.exchange
            .retrieval_received(self.now, id, &[7; 1024], Err(error));
        self.take()
    }

    /// Its 136 comes first.
    pub fn returns_nothing(&mut self, peer: usize) -> &mut Self {
        self.reestablish(peer, 99, (1, 0));
        self
    }

    pub fn reestablish(&mut self, peer: usize, channel: usize, numbers: (u64, u64)) -> Verdict {
        let message = Inbound::Reestablish(channel_id(channel), self::numbers(numbers));
        self.inbound(peer, message)
    }

    /// The same where the host has looked at the proof.
    pub fn proves(
        &mut self,
        peer: usize,
        channel: usize,
        numbers: (u64, u64),
        proof: Proof,
    ) -> Verdict {
        let (id, theirs) = (channel_id(channel), self::numbers(numbers));
        let verdict = self
            .exchange
            .reestablish(self.now, node_id(peer), id, theirs, proof);
        self.take();
        verdict
    }

    pub fn inbound(&mut self, peer: usize, message: Inbound) -> Verdict {
        let verdict = self.exchange.inbound(self.now, node_id(peer), message);
        self.take();
        verdict
    }

    pub fn may_leave(&mut self, peer: usize, message: Outbound) -> bool {
        self.exchange.may_leave(self.now, node_id(peer), message)
    }

    pub fn our_136(&mut self, peer: usize, channel: usize, numbers: (u64, u64)) -> bool {
        let message = Outbound::Reestablish(channel_id(channel), self::numbers(numbers));
        self.may_leave(peer, message)
    }

    pub fn warning(&mut self, peer: usize, text: &str) -> &mut Self {
        self.exchange
            .warning_received(self.now, node_id(peer), text);
        self.take()
    }

    pub fn store(&mut self, peer: usize, byte: u8, len: usize) -> &mut Self {
        let blob = Arc::from(vec![byte; len]);
        self.exchange
            .storage_received(self.now, node_id(peer), blob);
        self.take()
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot::clone(self.exchange.snapshot().unwrap())
    }

    /// What was pushed since the last look: to whom, which tier, which generation.
    pub fn pushed(&mut self) -> Vec<(usize, Tier, u64)> {
        let pushes = std::mem::take(&mut self.pushes).into_iter();
        pushes
            .map(|p| {
                (
                    names::node_of(&p.peer),
                    p.tier,
                    p.snapshot.revision.generation,
                )
            })
            .collect()
    }

    pub fn storer(&self, peer: usize) -> StorerState {
        self.saved.storers[&node_id(peer)].clone()
    }

    pub fn peer(&self, peer: usize) -> PeerStatus {
        let peers = self.exchange.status().peers;
        peers
            .into_iter()
            .find(|p| p.node_id == node_id(peer))
            .unwrap()
    }

    pub fn health(&self, peer: usize) -> Health {
        self.peer(peer).health
    }

    pub fn knows_its_past(&self) -> bool {
        self.exchange.past() == Past::Known
    }

    pub fn has_event(&self, is: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(is)
    }
}

pub fn numbers((next_local, next_remote): (u64, u64)) -> Numbers {
    Numbers {
        next_local,
        next_remote,
    }
}

pub fn state(channels: &[LiveChannel]) -> WalletState {
    let peers: BTreeMap<_, _> = channels.iter().map(|c| (c.0, ())).collect();
    WalletState {
        channels: channels.iter().map(|c| record(*c)).collect(),
        peers: peers
            .into_keys()
            .map(|peer| PeerRecord {
                node_id: node_id(peer),
                addresses: Vec::new(),
            })
            .collect(),
        ..WalletState::default()
    }
}

/// (channel, update id, bytes)
pub type LiveMonitor = (usize, u64, usize);

pub fn monitor((channel, update_id, len): LiveMonitor) -> MonitorRecord {
    MonitorRecord {
        channel: channel_id(channel),
        update_id,
        pending_htlcs: false,
        bytes: Arc::new(vec![update_id as u8; len].into()),
    }
}

pub fn record((peer, channel, update_id, phase): LiveChannel) -> ChannelRecord {
    ChannelRecord {
        counterparty: node_id(peer),
        ids: channel_ids(channel, true),
        update_id,
        phase,
        restored: false,
        kind: ChannelKind::Anchors,
        channel_keys_id: None,
        value_sat: Some(10_000),
    }
}

/// A backup by another data directory.
pub fn foreign(revision: (u32, u64), channels: &[LiveChannel]) -> Snapshot {
    let WalletState {
        channels, peers, ..
    } = state(channels);
    Snapshot {
        revision: Revision {
            epoch: revision.0,
            generation: revision.1,
        },
        installation: InstallationId([2; 8]),
        peers,
        channels,
        spendable_outputs: Vec::new(),
        app_data: Vec::new(),
        monitors: Vec::new(),
    }
}

/// How large the blob is, and what opening it gives.
pub fn sealed(snapshot: &Snapshot, tier: Tier) -> (usize, Contents) {
    let capacity = match tier {
        Tier::Essential => 1024,
        Tier::Full => MAX_BLOB,
    };
    let encoded = backup::encode(snapshot, tier, capacity).unwrap();
    let sizes = [1024, 4096, 16384, MAX_BLOB];
    let needed = encoded.plaintext.len() + backup::OVERHEAD;
    let size = sizes.into_iter().find(|size| *size >= needed).unwrap();
    (size, backup::decode(&encoded.plaintext).unwrap())
}
