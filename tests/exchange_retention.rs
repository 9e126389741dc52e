//! What is kept for peers over a year: channels that close and open again, reorgs round the line of 2016
//! blocks, quotas that shrink, hosts that tell no height, restarts and kills. A small model says what has
//! to be there.
//!
//! `PEER_STORAGE_CRASHES=N` takes N years; a failure names its seed, `PEER_STORAGE_SEED=N` begins with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "simulation/example.rs"]
mod example;
#[path = "simulation/random.rs"]
mod random;
#[path = "durability/times.rs"]
mod times;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use example::*;
use ldk_peer_storage::backup::ChannelPhase::{Closing, Ready};
use ldk_peer_storage::exchange::{
    Action, Exchange, Guests, PeerFeatures, Record, SavedState, StoragePolicy, Time,
    RETENTION_BLOCKS,
};
use random::Random;
use times::{first_seed, times};

const PEERS: usize = 12;
const YEAR: u32 = 52_560;

struct Year {
    random: Random,
    exchange: Exchange,
    now: Time,
    policy: StoragePolicy,
    /// The peers with an open channel, as the wallet says.
    open: BTreeSet<usize>,
    /// None: this host never tells one.
    height: Option<u32>,
    saved: SavedState,
    /// What is durable.
    disk: BTreeMap<usize, Arc<[u8]>>,
    model: BTreeMap<usize, Kept>,
    number: u64,
    done: Done,
}

/// The model: what is kept for a peer.
#[derive(Clone)]
struct Kept {
    blob: Arc<[u8]>,
    /// The largest that may be on the disk now or later.
    largest: usize,
    /// At which height it was first without a channel.
    unfunded_since: Option<u32>,
}

/// So that nobody believes in a test that does nothing.
#[derive(Default, Debug)]
struct Done {
    accepted: u64,
    refused: u64,
    waited: u64,
    expired: u64,
    reorgs_at_the_line: u64,
    reorgs_at_the_close: u64,
    reopened: u64,
    shrunk: u64,
    kills: u64,
}

impl Year {
    fn begin(seed: u64) -> Year {
        let mut random = Random::new(seed);
        let now = Time(1_700_000_000_000);
        let policy = a_policy(&mut random);
        let saved = SavedState::default();
        let exchange = Exchange::new(now, saved.clone(), policy.clone());
        let height = (!random.percent(15)).then_some(800_000);
        let mut year = Year {
            random,
            exchange,
            now,
            policy,
            open: (1..=PEERS / 2).collect(),
            height,
            saved,
            disk: BTreeMap::new(),
            model: BTreeMap::new(),
            number: 0,
            done: Done::default(),
        };
        year.tell_channels();
        year.tell_height();
        year.exchange.declare_new(year.now).unwrap();
        year.act();
        year
    }

    fn is_guest(&self, peer: usize) -> bool {
        match &self.policy.guests {
            Guests::None => false,
            Guests::Listed(listed) => listed.contains(&node_id(peer)),
            Guests::Anyone => true,
        }
    }

    /// Does what the exchange asks for.
    fn act(&mut self) {
        for action in self.exchange.take_actions() {
            let Action::Persist(record) = action else {
                continue;
            };
            match record {
                Record::Slot { peer, blob } => {
                    self.saved.slots.entry(peer).or_default().len = blob.len();
                    self.disk.insert(number_of(&peer), blob);
                }
                Record::SlotUnfunded { peer, since_height } => {
                    let slot = self.saved.slots.get_mut(&peer);
                    slot.expect("of a slot").unfunded_since = since_height;
                }
                Record::SlotExpired(peer) => {
                    self.saved.slots.remove(&peer);
                    self.disk.remove(&number_of(&peer));
                }
                Record::Past(past) => self.saved.past = past,
                Record::Snapshot(snapshot) => self.saved.snapshot = Some(snapshot),
                Record::HighestSeen(revision) => self.saved.highest_seen = revision,
                _ => {}
            }
        }
    }

    // ---- what the host tells ----------------------------------------------------------------

    fn tell_channels(&mut self) {
        // Every peer has a channel by its own number; all others are closing.
        let phase = |peer| match self.open.contains(&peer) {
            true => Ready,
            false => Closing,
        };
        let channels: Vec<_> = (1..=PEERS)
            .map(|peer| (peer, peer, 5, phase(peer)))
            .collect();
        self.exchange.wallet_changed(self.now, state(&channels));
        self.observed();
    }

    fn tell_height(&mut self) {
        if let Some(height) = self.height {
            self.exchange.height_changed(height);
            self.observed();
        }
    }

    fn observed(&mut self) {
        let on_disk: BTreeSet<_> = self.disk.keys().copied().collect();
        self.act();
        let Some(height) = self.height else { return };
        for peer in 1..=PEERS {
            let is_guest = self.is_guest(peer);
            let Some(kept) = self.model.get_mut(&peer) else {
                continue;
            };
            if self.open.contains(&peer) {
                kept.unfunded_since = None;
                continue;
            }
            if !on_disk.contains(&peer) {
                continue;
            }
            let since = *kept.unfunded_since.get_or_insert(height);
            if height > since + RETENTION_BLOCKS && !is_guest {
                self.model.remove(&peer);
                self.done.expired += 1;
            }
        }
    }

    // ---- what happens -----------------------------------------------------------------------

    fn blocks_pass(&mut self) {
        let blocks = self.random.between(1, 300) as u32;
        self.now = self.now.after(Duration::from_secs(600) * blocks);
        self.exchange.tick(self.now);
        self.act();
        self.height = self.height.map(|height| height + blocks);
        self.tell_height();
        // Onto the line of one of them, back over it, and forth.
        let sinces = self.model.values().filter_map(|kept| kept.unfunded_since);
        let lines: Vec<_> = sinces.map(|since| since + RETENTION_BLOCKS).collect();
        let near = |line: &&u32| self.height.is_some_and(|h| **line > h && **line - h < 300);
        let Some(line) = lines.iter().find(near).copied() else {
            return;
        };
        self.done.reorgs_at_the_line += 1;
        let back = self.random.between(1, 6) as u32;
        for height in [
            line,
            line - back,
            line,
            line - 1,
            line + 1,
            line - back,
            line + 2,
        ] {
            self.height = Some(height);
            self.tell_height();
            self.check();
        }
    }

    fn a_channel_closes_or_opens(&mut self) {
        let peer = self.random.below(PEERS) + 1;
        if !self.open.remove(&peer) {
            self.open.insert(peer);
            self.done.reopened += u64::from(self.model.contains_key(&peer));
        }
        self.tell_channels();
        if self.random.percent(30) {
            self.a_reorg_at_the_close();
        }
        if self.random.percent(20) {
            // Closed and opened again within a block.
            self.open.remove(&peer);
            self.tell_channels();
            self.open.insert(peer);
            self.tell_channels();
        }
    }

    /// Back before the height that the count has begun at, and forth.
    fn a_reorg_at_the_close(&mut self) {
        let Some(height) = self.height else { return };
        self.done.reorgs_at_the_close += 1;
        for height in [height - self.random.between(1, 6) as u32, height] {
            self.height = Some(height);
            self.tell_height();
            self.check();
        }
    }

    fn quotas_change(&mut self) {
        let policy = a_policy(&mut self.random);
        let shrinks = policy.guest_total_bytes < self.policy.guest_total_bytes;
        self.done.shrunk += u64::from(shrinks);
        self.policy = policy.clone();
        self.exchange.storage_policy_changed(policy);
    }

    fn restarts(&mut self) {
        if self.random.percent(50) {
            self.exchange.background(self.now);
            self.act();
        } else {
            self.done.kills += 1;
        }
        // What waited for a token and was not written is as if it had never come.
        self.model.retain(|peer, _| self.disk.contains_key(peer));
        for (peer, blob) in &self.disk {
            if let Some(kept) = self.model.get_mut(peer) {
                (kept.blob, kept.largest) = (blob.clone(), blob.len());
            }
        }
        self.exchange = Exchange::new(self.now, self.saved.clone(), self.policy.clone());
        self.tell_channels();
        self.tell_height();
    }

    fn peers_push(&mut self) {
        for _ in 0..self.random.between(1, 4) {
            let peer = self.random.below(PEERS) + 1;
            let features = PeerFeatures {
                provides_storage: true,
                hash: 1,
            };
            self.exchange.connected(self.now, node_id(peer), features);
            for _ in 0..self.random.between(1, 10) {
                self.push(peer);
            }
            if self.random.percent(70) {
                self.exchange.disconnected(self.now, node_id(peer));
                self.act();
            }
        }
    }

    fn push(&mut self, peer: usize) {
        let most = *self.random.pick(&[100, 1000, 65_531]).as_ref().unwrap();
        let len = match self.random.percent(5) {
            true => 0,
            false => self.random.between(8, most) as usize,
        };
        self.number += 1;
        let bytes = self.number.to_le_bytes().into_iter().cycle().take(len);
        let blob: Arc<[u8]> = bytes.collect();
        self.settle();
        let wanted = self.admits(peer, len);
        self.exchange
            .storage_received(self.now, node_id(peer), blob.clone());
        self.act();
        let waits = self.exchange.pending_slot(&node_id(peer));
        self.done.waited += u64::from(waits.is_some());
        if !wanted {
            self.done.refused += 1;
            return;
        }
        self.done.accepted += 1;
        if len == 0 && !self.open.contains(&peer) && waits.is_none() {
            self.model.remove(&peer);
            return;
        }
        let largest = self.disk.get(&peer).map_or(0, |on_disk| on_disk.len());
        let kept = self.model.entry(peer).or_insert(Kept {
            blob: blob.clone(),
            largest: 0,
            unfunded_since: None,
        });
        kept.blob = blob;
        kept.largest = largest.max(len);
    }

    /// Peers with a channel always; guests within the quotas of all without a channel together.
    fn admits(&self, peer: usize, len: usize) -> bool {
        if self.open.contains(&peer) {
            return true;
        }
        let others = self.model.iter();
        let others = others.filter(|(other, _)| **other != peer && !self.open.contains(other));
        let others: Vec<_> = others.map(|(_, kept)| kept.largest).collect();
        let policy = &self.policy;
        self.is_guest(peer)
            && len <= policy.guest_blob_bytes
            && others.len() < policy.guest_count
            && others.iter().sum::<usize>() + len <= policy.guest_total_bytes
    }

    // ---- what must be true ------------------------------------------------------------------

    /// What waited for a token may have been written meanwhile.
    fn settle(&mut self) {
        for peer in 1..=PEERS {
            let waits = self.exchange.pending_slot(&node_id(peer)).is_some();
            let Some(kept) = self.model.get_mut(&peer).filter(|_| !waits) else {
                continue;
            };
            kept.largest = kept.blob.len();
            // A peer without a channel that has emptied its slot is forgotten.
            if kept.blob.is_empty() && !self.disk.contains_key(&peer) {
                self.model.remove(&peer);
            }
        }
    }

    /// What the model says is there, on the disk or waiting for a token, and nothing else.
    fn check(&mut self) {
        self.settle();
        for peer in 1..=PEERS {
            let waiting = self.exchange.pending_slot(&node_id(peer));
            let there = waiting.as_ref().or(self.disk.get(&peer));
            let wanted = self.model.get(&peer).map(|kept| &kept.blob);
            let len = |blob: Option<&Arc<[u8]>>| blob.map(|blob| blob.len());
            assert!(
                there == wanted,
                "peer {peer}, open: {}, there: {:?}, wanted: {:?}, at {:?}",
                self.open.contains(&peer),
                len(there),
                len(wanted),
                self.height
            );
        }
        let told: BTreeSet<_> = self.exchange.slots().keys().map(number_of).collect();
        let on_disk: BTreeSet<_> = self.disk.keys().copied().collect();
        assert_eq!(told, on_disk);
    }
}

fn a_policy(random: &mut Random) -> StoragePolicy {
    let some = || (PEERS / 2..=PEERS).map(node_id).collect();
    let guests = match random.below(4) {
        0 => Guests::None,
        1 => Guests::Listed(some()),
        _ => Guests::Anyone,
    };
    StoragePolicy {
        guests,
        guest_blob_bytes: random.pick(&[500, 20_000, 65_531]).unwrap(),
        guest_count: random.between(0, 6) as usize,
        guest_total_bytes: random.pick(&[0, 2000, 60_000, 300_000]).unwrap(),
        pending_bytes: random.pick(&[0, 50_000, 1 << 20]).unwrap(),
    }
}

fn number_of(peer: &PublicKey) -> usize {
    names::node_of(peer)
}

#[test]
fn over_a_year_the_right_blobs_are_there_and_quotas_hold() {
    let years = times();
    let mut done = Done::default();
    for seed in first_seed()..first_seed() + years {
        let named = NameSeed(seed);
        let mut year = Year::begin(seed);
        let end = year.now.after(Duration::from_secs(600) * YEAR);
        while year.now < end {
            match year.random.below(10) {
                0..=2 => year.blocks_pass(),
                3..=6 => year.peers_push(),
                7 => year.a_channel_closes_or_opens(),
                8 if year.random.percent(30) => year.quotas_change(),
                9 if year.random.percent(20) => year.restarts(),
                _ => {}
            }
            year.check();
        }
        done.add(&year.done);
        std::mem::forget(named);
    }
    println!("{years} years: {done:?}");
    let all = [
        done.accepted,
        done.refused,
        done.waited,
        done.expired,
        done.reorgs_at_the_line,
        done.reorgs_at_the_close,
        done.reopened,
        done.shrunk,
        done.kills,
    ];
    assert!(all.into_iter().all(|n| n > years / 2), "too little happens");
}

impl Done {
    fn add(&mut self, other: &Done) {
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.waited += other.waited;
        self.expired += other.expired;
        self.reorgs_at_the_line += other.reorgs_at_the_line;
        self.reorgs_at_the_close += other.reorgs_at_the_close;
        self.reopened += other.reopened;
        self.shrunk += other.shrunk;
        self.kills += other.kills;
    }
}

struct NameSeed(u64);

impl Drop for NameSeed {
    fn drop(&mut self) {
        eprintln!("failed with PEER_STORAGE_SEED={}", self.0);
    }
}
