//! The state of the world, and its clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use ldk_peer_storage::backup::ContentHash;
use ldk_peer_storage::backup::{ChannelPhase, InstallationId, Revision};

use super::blob::{Bytes, Meta};
use super::device::Device;
use super::random::Random;
use super::storer::{Keeper, Kind};
use super::wire::{Link, Message};

/// What is the case about a channel, whatever anybody knows of it.
pub struct Channel {
    /// The wallet that this run watches, and its peer (which may be one of ours, too).
    pub nodes: [usize; 2],
    pub phase: ChannelPhase,
    /// How many commitments were made and revoked.
    pub commitments: u64,
    /// The highest state stamp of the device of each side.
    pub stamps: [u64; 2],
    /// Its outputs are swept and buried.
    pub resolved: bool,
    /// The connection on which it was opened: no 136 is due on it.
    pub opened_on: usize,
    pub value_sat: u64,
}

impl Channel {
    pub fn side_of(&self, node: usize) -> usize {
        usize::from(self.nodes[1] == node)
    }

    pub fn is_open(&self) -> bool {
        self.phase != ChannelPhase::Closing
    }

    pub fn has(&self, node: usize) -> bool {
        self.nodes.contains(&node)
    }
}

pub struct Node {
    pub kind: Kind,
    pub keeper: Keeper,
    /// Sends its 136 only after having got the other one, as lightning-kmp does.
    pub waits_for_reestablish: bool,
    pub devices: Vec<usize>,
    pub offers_storage: bool,
    pub is_phone: bool,
}

/// What can go wrong in a run.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    pub liars: bool,
    pub wipes: bool,
    pub second_devices: bool,
    pub put_back: bool,
    /// Only what happens in the best of worlds: crashes, disconnects, delays.
    pub healthy: bool,
}

/// What has happened, over all runs.
#[derive(Clone, Debug, Default)]
pub struct Counts(pub BTreeMap<&'static str, u64>);

impl Counts {
    pub fn add(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub fn merge(&mut self, other: Counts) {
        for (what, count) in other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }
}

#[derive(Debug)]
pub enum Event {
    /// The next message of a connection arrives at one of its ends.
    Deliver { link: usize, end: usize },
    /// A device's group commit.
    Commit { device: usize, boot: u32 },
    /// A device's host has read the monitors.
    Monitors { device: usize, boot: u32 },
    /// The time that the exchange asked for.
    Wake {
        device: usize,
        boot: u32,
        number: u64,
    },
}

/// The order of events: by time, then as they were planned.
pub struct Planned {
    at: u64,
    number: u64,
    event: Event,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl Eq for Planned {}
impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

pub struct World {
    pub now: u64,
    pub random: Random,
    pub faults: Faults,
    pub counts: Counts,
    pub nodes: Vec<Node>,
    pub devices: Vec<Device>,
    pub channels: Vec<Channel>,
    pub links: Vec<Link>,
    pub newest_link: BTreeMap<(usize, usize), usize>,
    pub blobs: Vec<Meta>,
    /// Every revision that was ever sent by a directory, and what it said.
    pub sent: BTreeMap<(usize, InstallationId, Revision), ContentHash>,
    /// Channels of each node that were ever in a durable snapshot and are not lost by a fault that
    /// no protocol can help against.
    pub protected: Vec<u128>,
    /// The last height at which two nodes had an open channel.
    pub funded_at: BTreeMap<(usize, usize), u32>,
    pub height: u32,
    /// An unavoidable loss is under way: a wiped disk, a crashed storer.
    pub losing: bool,
    /// The last phase: no more faults.
    pub calm: bool,
    pub logs_warnings: bool,
    events: BinaryHeap<Reverse<Planned>>,
    planned: u64,
    pub steps: u64,
    pub trace: Option<Vec<String>>,
}

impl World {
    pub fn empty(seed: u64, traced: bool, faults: Faults) -> Self {
        World {
            now: 1_700_000_000_000,
            random: Random::new(seed),
            faults,
            counts: Counts::default(),
            nodes: Vec::new(),
            devices: Vec::new(),
            channels: Vec::new(),
            links: Vec::new(),
            newest_link: BTreeMap::new(),
            blobs: Vec::new(),
            sent: BTreeMap::new(),
            protected: Vec::new(),
            funded_at: BTreeMap::new(),
            height: 800_000,
            losing: false,
            calm: false,
            logs_warnings: false,
            events: BinaryHeap::new(),
            planned: 0,
            steps: 0,
            trace: traced.then(Vec::new),
        }
    }

    pub fn plan(&mut self, at: u64, event: Event) {
        self.planned += 1;
        self.events.push(Reverse(Planned {
            at,
            number: self.planned,
            event,
        }));
    }

    /// Runs until this time.
    pub fn run_until(&mut self, end: u64) {
        while self.events.peek().is_some_and(|Reverse(p)| p.at <= end) {
            let Some(Reverse(planned)) = self.events.pop() else {
                break;
            };
            self.now = self.now.max(planned.at);
            self.steps += 1;
            match planned.event {
                Event::Deliver { link, end } => self.deliver(link, end),
                Event::Commit { device, boot } => self.commit(device, boot),
                Event::Monitors { device, boot } => self.monitors_read(device, boot),
                Event::Wake {
                    device,
                    boot,
                    number,
                } => self.wake(device, boot, number),
            }
            self.check_rules();
        }
        self.now = self.now.max(end);
    }

    pub fn note(&mut self, text: impl FnOnce(&World) -> String) {
        if self.trace.is_some() {
            let line = format!("{:>12} {}", self.now - 1_700_000_000_000, text(self));
            if let Some(trace) = &mut self.trace {
                trace.push(line);
            }
        }
    }

    /// The open connection between two nodes.
    pub fn link_between(&self, a: usize, b: usize) -> Option<usize> {
        let newest = self.newest_link.get(&(a.min(b), a.max(b))).copied();
        newest.filter(|link| self.links[*link].open)
    }

    pub fn open_channels(&self, a: usize, b: usize) -> Vec<usize> {
        let open = |c: &Channel| c.is_open() && c.has(a) && c.has(b);
        (0..self.channels.len())
            .filter(|c| open(&self.channels[*c]))
            .collect()
    }

    pub fn has_ready_channel(&self, a: usize, b: usize) -> bool {
        let open = self.open_channels(a, b);
        open.iter()
            .any(|c| self.channels[*c].phase == ChannelPhase::Ready)
    }

    pub fn meta(&self, blob: &Bytes) -> &Meta {
        &self.blobs[super::blob::number_of(blob)]
    }

    /// Sends a message over a connection; it arrives in order, some time later.
    pub fn send(&mut self, link: usize, from: usize, message: Message) {
        if !self.links[link].open {
            return;
        }
        let delay = match self.random.below(10) {
            0 => self.random.between(200, 3_000),
            _ => self.random.between(1, 150),
        };
        let to = 1 - from;
        let at = (self.now + delay).max(self.links[link].arrives[to]);
        self.links[link].arrives[to] = at;
        self.links[link].inbox[to].push_back(message);
        self.plan(at, Event::Deliver { link, end: to });
    }
}
