//! Any sequence of inputs: the exchange never panics, pushes to no one before it has read back
//! (safety rule 1), and sends only what it has asked to make durable before (rule 5).
//!
//! Each input is one byte that says what happens, and one or two that say to whom and how.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use ldk_peer_storage::backup::{
    self, ChannelIds, ChannelKind, ChannelPhase, ChannelRecord, ContentHash, Contents,
    InstallationId, MonitorRecord, OpenError, PeerRecord, Revision, Snapshot, Tier, MAX_BLOB,
};
use ldk_peer_storage::exchange::{
    Action, Exchange, Inbound, Numbers, Outbound, Past, PeerFeatures, Record, Resolution,
    SavedState, StoragePolicy, Time, Verdict, WalletState,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut host = Host::new();
    let mut bytes = bytes.iter().copied();
    while let Some(what) = bytes.next() {
        let mut byte = || bytes.next().unwrap_or(0);
        host.input(what, byte(), byte());
        host.take_actions();
    }
});

/// The state of a connection, as far as rule 1 goes.
struct Link {
    connected_at: Time,
    heard: bool,
    /// A channel with the peer was known when it connected.
    channel_known: bool,
}

struct Host {
    exchange: Exchange,
    saved: SavedState,
    now: Time,
    live: WalletState,
    links: BTreeMap<PublicKey, Link>,
    /// What was ever asked to be made durable.
    durable: BTreeSet<Revision>,
    contents: BTreeMap<Revision, ContentHash>,
}

impl Host {
    fn new() -> Self {
        let now = Time(1_700_000_000_000);
        let saved = SavedState {
            installation: InstallationId([1; 8]),
            ..SavedState::default()
        };
        let mut exchange = Exchange::new(now, saved.clone(), StoragePolicy::default());
        exchange.carry_monitors(true);
        Host {
            exchange,
            saved,
            now,
            live: WalletState::default(),
            links: BTreeMap::new(),
            durable: BTreeSet::new(),
            contents: BTreeMap::new(),
        }
    }

    fn input(&mut self, what: u8, a: u8, b: u8) {
        let (now, peer) = (self.now, peer(a));
        let id = channel_ids(b % 8).channel_id.unwrap();
        let x = &mut self.exchange;
        match what % 25 {
            0 => self.connect(peer, b),
            1 => {
                self.links.remove(&peer);
                self.exchange.disconnected(now, peer);
            }
            2 => {
                let contents = returned(b);
                self.heard(peer);
                let blob = vec![0; if b & 8 == 0 { 1024 } else { 4096 }];
                self.exchange
                    .retrieval_received(now, peer, &blob, Ok(contents));
            }
            3 => {
                self.heard(peer);
                let error = match b % 3 {
                    0 => OpenError::Unreadable,
                    1 => OpenError::NewerFormat,
                    _ => OpenError::UnknownVersion(b),
                };
                self.exchange
                    .retrieval_received(now, peer, &[b; 99], Err(error));
            }
            4 => {
                self.heard(peer);
                let message = Inbound::Reestablish(id, numbers(b));
                let verdict = self.exchange.inbound(now, peer, message);
                assert!(verdict != Verdict::Forward || !self.exchange.holding());
            }
            5 => {
                let message = match a % 5 {
                    0 => Inbound::Opening(id),
                    1 => Inbound::Channel(id),
                    2 => Inbound::Error(Some(id)),
                    3 => Inbound::Error(None),
                    _ => Inbound::Other,
                };
                let verdict = x.inbound(now, peer, message);
                let is_error = matches!(message, Inbound::Error(_));
                assert!(!is_error || !x.holding() || verdict != Verdict::Forward);
            }
            6 => {
                x.may_leave(now, peer, Outbound::Reestablish(id, numbers(a)));
            }
            7 => {
                let message = match a % 4 {
                    0 => Outbound::Channel(id),
                    1 => Outbound::Error(Some(id)),
                    2 => Outbound::Error(None),
                    _ => Outbound::Other,
                };
                x.may_leave(now, peer, message);
            }
            8 => self.channel_changes(a, b),
            9 => {
                self.live.channels.retain(|c| c.ids != channel_ids(b % 8));
                x.channel_resolved(now, channel_ids(b % 8));
            }
            10 => x.app_data_changed(now, vec![b; usize::from(b) * 20]),
            11 => x.height_changed(u32::from(a) << 8 | u32::from(b)),
            12 => x.list_peers(now, [peer].into()),
            13 => x.storage_received(now, peer, Arc::from(vec![b; usize::from(b)])),
            14 => x.warning_received(now, peer, WARNINGS[usize::from(b) % WARNINGS.len()]),
            15 => {
                let _ = x.declare_new(now);
            }
            16 => {
                let _ = x.adopt(now);
            }
            17 => {
                let _ = x.finish_restore(now);
            }
            18 => x.background(now),
            19 => x.push_now(now),
            20 => self.decide(a, b),
            21 => self.restart(b),
            24 => self.monitors_read(a, b),
            22 => {
                x.status();
                x.restored_monitors();
                x.restore_report();
                x.take_over_slot(peer, Arc::from(vec![b; 9]));
            }
            _ => {
                let span = Duration::from_millis(u64::from(a) << (b % 24));
                self.now = now.after(span);
                x.tick(self.now);
                assert!(x
                    .wake_at(self.now)
                    .is_none_or(|at| at > self.now || x.holding()));
            }
        }
    }

    fn connect(&mut self, peer: PublicKey, b: u8) {
        let snapshot = self.exchange.snapshot();
        // A channel that is resolved stands in the snapshot until the next one is made.
        let is_over = |ids: &ChannelIds| self.saved.resolved.iter().any(|r| r.matches(ids));
        let mut known = snapshot.iter().flat_map(|s| &s.channels);
        let link = Link {
            connected_at: self.now,
            heard: false,
            channel_known: known.any(|c| c.counterparty == peer && !is_over(&c.ids)),
        };
        self.links.insert(peer, link);
        let features = PeerFeatures {
            provides_storage: b & 1 == 0,
            hash: u64::from(b >> 4),
        };
        self.exchange.connected(self.now, peer, features);
    }

    fn heard(&mut self, peer: PublicKey) {
        if let Some(link) = self.links.get_mut(&peer) {
            link.heard = true;
        }
    }

    fn channel_changes(&mut self, a: u8, b: u8) {
        let ids = channel_ids(b % 8);
        self.live.channels.retain(|c| c.ids != ids);
        if b & 0x80 == 0 {
            self.live.channels.push(record(a, b));
        }
        let peers = self.live.channels.iter().map(|c| c.counterparty);
        let peers: BTreeSet<_> = peers.collect();
        self.live.peers = peers
            .into_iter()
            .map(|node_id| PeerRecord {
                node_id,
                addresses: Vec::new(),
            })
            .collect();
        self.exchange.wallet_changed(self.now, self.live.clone());
    }

    fn decide(&mut self, a: u8, b: u8) {
        let alarms = self.exchange.alarms();
        let Some(alarm) = alarms.get(usize::from(a) % alarms.len().max(1)) else {
            return;
        };
        let (id, now) = (alarm.id, self.now);
        let resolution = match b % 3 {
            0 => Resolution::Recover,
            1 => Resolution::StayHeld,
            _ => Resolution::ThisDeviceIsCurrent,
        };
        let _ = self.exchange.resolve_alarm(now, id, resolution);
    }

    /// The process ends and starts again, perhaps with another time.
    fn restart(&mut self, b: u8) {
        self.now.0 -= u64::from(b) << 20;
        self.links.clear();
        let policy = StoragePolicy::default();
        self.exchange = Exchange::new(self.now, self.saved.clone(), policy);
        self.exchange.carry_monitors(b & 1 == 0);
    }

    fn take_actions(&mut self) {
        for action in self.exchange.take_actions() {
            match action {
                Action::Persist(record) => self.persist(record),
                Action::Push {
                    peer,
                    snapshot,
                    tier,
                    capacity,
                    ..
                } => self.check_push(peer, &snapshot, tier, capacity),
                Action::ReadMonitors | Action::Warn { .. } => {}
            }
        }
    }

    /// Some hosts have none; and one that is ahead of its channel's stamp is not to be taken.
    fn monitors_read(&mut self, a: u8, b: u8) {
        let channels = self.live.channels.iter().take(usize::from(a % 4));
        let monitors = channels.map(|channel| MonitorRecord {
            channel: channel.ids.channel_id.unwrap(),
            update_id: (channel.update_id + u64::from(b & 1)).saturating_sub(u64::from(b >> 7)),
            pending_htlcs: b & 2 != 0,
            bytes: Arc::new(vec![b; usize::from(a) * 300].into()),
        });
        let monitors = monitors.collect();
        self.exchange.monitors_read(self.now, monitors);
    }

    fn check_push(&self, peer: PublicKey, snapshot: &Snapshot, tier: Tier, capacity: usize) {
        assert_eq!(self.saved.past, Past::Known, "rule 1");
        let link = self.links.get(&peer).expect("rule 1: not connected");
        let grace = self.now.since(link.connected_at) >= Duration::from_secs(30);
        assert!(link.heard || (grace && !link.channel_known), "rule 1");
        assert!(self.durable.contains(&snapshot.revision), "rule 5");
        let content = self.contents.get(&snapshot.revision);
        assert_eq!(content, Some(&snapshot.content_hash()), "rule 5");
        assert!(backup::encode(snapshot, tier, capacity).is_ok(), "rule 4");
        for monitor in &snapshot.monitors {
            let named = |c: &&ChannelRecord| c.ids.matches(&monitor.ids());
            let channel = snapshot.channels.iter().find(named).unwrap();
            assert!(monitor.update_id <= channel.update_id, "ahead of its stamp");
        }
        assert!(!self.exchange.holding(), "rule 6");
    }

    fn persist(&mut self, record: Record) {
        let saved = &mut self.saved;
        match record {
            Record::Past(past) => saved.past = past,
            Record::HighestSeen(revision) => saved.highest_seen = revision,
            Record::Snapshot(snapshot) => {
                let (revision, content) = (snapshot.revision, snapshot.content_hash());
                let before = self.contents.insert(revision, content);
                assert!(before.is_none_or(|before| before == content), "rule 5");
                self.durable.insert(revision);
                saved.snapshot = Some(snapshot);
            }
            Record::Storer(peer, state) => {
                saved.storers.insert(peer, state);
            }
            Record::Resolved(ids) => saved.resolved.push(ids),
            Record::Alarm(alarm) => {
                saved.alarms.retain(|known| known.id != alarm.id);
                saved.alarms.push(alarm);
            }
            Record::AlarmOver(id) => saved.alarms.retain(|known| known.id != id),
            Record::Slot { peer, blob } => {
                saved.slots.entry(peer).or_default().len = blob.len();
            }
            Record::SlotUnfunded { peer, since_height } => {
                saved.slots.entry(peer).or_default().unfunded_since = since_height;
            }
            Record::SlotExpired(peer) => {
                saved.slots.remove(&peer);
            }
            _ => {}
        }
    }
}

const WARNINGS: [&str; 3] = [
    "Supports only data up to 1024 bytes in peer storage.",
    "Ignoring peer_storage message",
    "",
];

fn peer(n: u8) -> PublicKey {
    static PEERS: OnceLock<Vec<PublicKey>> = OnceLock::new();
    let peers = PEERS.get_or_init(|| {
        let secp = Secp256k1::new();
        let key = |n: u8| SecretKey::from_slice(&[n; 32]).unwrap();
        (1..=4).map(|n| key(n).public_key(&secp)).collect()
    });
    peers[usize::from(n) % 4]
}

fn channel_ids(n: u8) -> ChannelIds {
    ChannelIds {
        short_channel_id: Some(u64::from(n) + 1),
        funding_outpoint: None,
        channel_id: Some(lightning::ln::types::ChannelId([n; 32])),
    }
}

fn record(a: u8, b: u8) -> ChannelRecord {
    ChannelRecord {
        counterparty: peer(a),
        ids: channel_ids(b % 8),
        update_id: u64::from(a >> 4),
        phase: match (b >> 3) % 3 {
            0 => ChannelPhase::Opening,
            1 => ChannelPhase::Ready,
            _ => ChannelPhase::Closing,
        },
        restored: false,
        kind: ChannelKind::Anchors,
        channel_keys_id: None,
        value_sat: Some(u64::from(a)),
    }
}

fn numbers(b: u8) -> Numbers {
    Numbers {
        next_local: u64::from(b >> 6) + 1,
        next_remote: u64::from(b >> 4 & 3),
    }
}

/// A backup by this directory or another one.
fn returned(b: u8) -> Contents {
    let tier = match b & 8 {
        0 => Tier::Essential,
        _ => Tier::Full,
    };
    let snapshot = Snapshot {
        revision: Revision {
            epoch: u32::from(b >> 6),
            generation: u64::from(b >> 4 & 3),
        },
        installation: InstallationId([1 + (b & 1); 8]),
        peers: Vec::new(),
        channels: vec![record(b, b)],
        spendable_outputs: Vec::new(),
        app_data: Vec::new(),
        monitors: Vec::new(),
    };
    let encoded = backup::encode(&snapshot, tier, MAX_BLOB).expect("it fits");
    backup::decode(&encoded.plaintext).expect("it was just encoded")
}
