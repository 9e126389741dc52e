//! A device that runs the exchange: its host, as thin as the real one, and its wallet.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bitcoin::{Amount, ScriptBuf, TxOut};
use ldk_peer_storage::backup::{
    ChannelKind, ChannelPhase, ChannelRecord, MonitorRecord, PeerRecord, Revision,
};
use ldk_peer_storage::exchange::{
    Action, Exchange, Inbound, Numbers, Past, PeerFeatures, Proof, Record, StoragePolicy, Time,
    Verdict, WalletState,
};
use lightning::ln::msgs::SocketAddress;
use lightning::ln::types::ChannelId;
use lightning::sign::SpendableOutputDescriptor;

use super::blob::{self, Bytes};
use super::disk::Disk;
use super::names::{channel_id, channel_ids, node_id, node_of, output_of};
use super::rules::OracleBucket;
use super::wire::Message;
use super::world::{Event, World};

/// What a wallet knows of one of its channels. Durable at once.
#[derive(Clone, Copy, Debug)]
pub struct Local {
    pub stamp: u64,
    pub commitments: u64,
}

pub type Wallet = BTreeMap<usize, Local>;

/// How the host of a device is with monitors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MonitorHost {
    /// It wants none in its backups.
    Off,
    /// It is asked and has none to give.
    Empty,
    Small,
    /// Two fit into a blob, at most.
    Big,
}

/// What the exchange is doing about the states of channels.
#[derive(Clone, Debug, Default)]
pub struct StatePushes {
    /// When the monitors were last asked for, or given.
    pub asked_at: Option<u64>,
    /// The app has just gone to background.
    pub hurry: bool,
    /// The present input can lead to snapshots for states alone.
    pub judged: bool,
    /// The snapshot that the present input has led to, for states alone.
    pub made: Option<Revision>,
    /// When such a one was last sent to a peer.
    pub sent_at: BTreeMap<usize, u64>,
    /// On which connection each peer was last sent anything.
    pub sent_on: BTreeMap<usize, usize>,
}

pub struct Device {
    pub node: usize,
    pub up: bool,
    pub boot: u32,
    /// Added to the time of the world.
    pub clock: i64,
    pub exchange: Exchange,
    pub disk: Disk,
    /// None: nothing but the SDK runs here (a restore).
    pub wallet: Option<Wallet>,
    /// Actions that wait for the group commit, with the connection that they were made on.
    pub queue: VecDeque<(Option<usize>, Action)>,
    commit_planned: bool,
    wake_planned: Option<u64>,
    wake_number: u64,
    pub links: BTreeMap<usize, usize>,
    /// What a backup of the OS holds.
    pub history: Vec<(Option<Wallet>, Disk)>,
    /// Its disk was put back once: revisions may stand twice.
    pub disk_put_back: bool,
    /// A peer sent it numbers that are not true, and it could not tell.
    pub lied_to: bool,
    /// Channels whose numbers the person has declared wrong, since the last boot.
    pub disputed: BTreeSet<ChannelId>,
    pub buckets: BTreeMap<usize, OracleBucket>,
    /// The last blob accepted from each peer since the process started.
    pub accepted: BTreeMap<usize, Bytes>,
    pub app_data: Vec<u8>,
    /// The wallet was reported since the last start.
    pub reported: bool,
    /// What a device that does not know its past has read back: by whom, and what.
    pub heard: Vec<(usize, usize)>,
    pub monitor_host: MonitorHost,
    pub state_pushes: StatePushes,
    /// The monitors that a restore or a merge has brought this directory.
    pub restored_monitors: BTreeMap<usize, u64>,
}

impl Device {
    pub fn new(node: usize, now: u64, installation: u64, wallet: Option<Wallet>) -> Self {
        let disk = Disk::new(installation);
        Device {
            node,
            up: false,
            boot: 0,
            clock: 0,
            exchange: Exchange::new(Time(now), disk.saved.clone(), StoragePolicy::default()),
            disk,
            wallet,
            queue: VecDeque::new(),
            commit_planned: false,
            wake_planned: None,
            wake_number: 0,
            links: BTreeMap::new(),
            history: Vec::new(),
            disk_put_back: false,
            lied_to: false,
            disputed: BTreeSet::new(),
            buckets: BTreeMap::new(),
            accepted: BTreeMap::new(),
            app_data: Vec::new(),
            reported: false,
            heard: Vec::new(),
            monitor_host: MonitorHost::Off,
            state_pushes: StatePushes::default(),
            restored_monitors: BTreeMap::new(),
        }
    }

    pub fn knows_its_past(&self) -> bool {
        self.exchange.past() == Past::Known
    }
}

impl World {
    pub fn clock_of(&self, device: usize) -> Time {
        Time(self.now.saturating_add_signed(self.devices[device].clock))
    }

    /// One input to the exchange of a device, and everything that follows from it at once.
    pub fn ask<R>(&mut self, device: usize, input: impl FnOnce(&mut Exchange, Time) -> R) -> R {
        let now = self.clock_of(device);
        let result = input(&mut self.devices[device].exchange, now);
        self.after_input(device);
        result
    }

    // ---- life and death ---------------------------------------------------------------------

    /// Starts the process: everything that is not on the disk is gone.
    pub fn start(&mut self, device: usize) {
        let now = self.clock_of(device);
        let d = &mut self.devices[device];
        // What was accepted and not yet written died with the process.
        d.accepted
            .retain(|peer, blob| d.disk.slots.get(&node_id(*peer)) == Some(blob));
        d.exchange = Exchange::new(now, d.disk.saved.clone(), StoragePolicy::default());
        d.exchange
            .carry_monitors(d.monitor_host != MonitorHost::Off);
        d.state_pushes = StatePushes::default();
        d.up = true;
        d.boot += 1;
        d.disputed.clear();
        d.queue.clear();
        d.commit_planned = false;
        d.wake_planned = None;
        d.buckets.clear();
        d.accepted.clear();
        d.heard.clear();
        d.reported = false;
        let node = d.node;
        self.note(|_| format!("device {device} of {node} starts"));
        let foreign: Vec<_> = self.devices[device]
            .disk
            .foreign
            .iter()
            .map(|((peer, _), (_, blob))| (*peer, blob.clone()))
            .collect();
        for (peer, bytes) in foreign {
            if let Ok(contents) = blob::open(node, &bytes) {
                self.ask(device, |x, _| x.returned_before(peer, contents));
                let heard = (node_of(&peer), blob::number_of(&bytes));
                self.devices[device].heard.push(heard);
            }
        }
        for channel in 0..self.channels.len() {
            if self.channels[channel].has(node) && self.channels[channel].resolved {
                self.tell_resolved(device, channel);
            }
        }
        self.report_wallet(device);
        let data = self.devices[device].app_data.clone();
        self.ask(device, |x, now| x.app_data_changed(now, data));
        let height = self.height;
        self.ask(device, |x, _| x.height_changed(height));
    }

    /// The process ends at any point; what was not durable is lost.
    pub fn crash(&mut self, device: usize) {
        self.counts.add("crashes of ours");
        self.note(|_| format!("device {device} crashes"));
        self.devices[device].up = false;
        self.devices[device].boot += 1;
        let written = self.random.below(4);
        for _ in 0..written {
            match self.devices[device].queue.front() {
                Some((_, Action::Persist(_))) => self.do_next(device),
                _ => break,
            }
        }
        self.devices[device].queue.clear();
        let links: Vec<_> = self.devices[device].links.values().copied().collect();
        for link in links {
            // The system still sends what the process had written.
            self.disconnect(link, true);
        }
        self.devices[device].links.clear();
    }

    // ---- the wallet -------------------------------------------------------------------------

    pub fn wallet_state(&self, device: usize) -> Option<WalletState> {
        let d = &self.devices[device];
        let wallet = d.wallet.as_ref()?;
        let mut state = WalletState::default();
        let mut peers = BTreeSet::new();
        for (channel, local) in wallet {
            let c = &self.channels[*channel];
            let peer = c.nodes[1 - c.side_of(d.node)];
            peers.insert(peer);
            state.channels.push(ChannelRecord {
                counterparty: node_id(peer),
                ids: channel_ids(*channel, c.phase != ChannelPhase::Opening),
                update_id: local.stamp,
                phase: c.phase,
                restored: false,
                kind: ChannelKind::Anchors,
                channel_keys_id: (channel % 3 == 0).then_some([9; 32]),
                value_sat: Some(c.value_sat),
            });
            if c.phase == ChannelPhase::Closing {
                state.spendable_outputs.push(spendable_output(*channel));
            }
        }
        state.peers = peers
            .into_iter()
            .map(|peer| PeerRecord {
                node_id: node_id(peer),
                addresses: vec![SocketAddress::TcpIpV4 {
                    addr: [10, 0, 0, peer as u8],
                    port: 9735,
                }],
            })
            .collect();
        Some(state)
    }

    pub fn report_wallet(&mut self, device: usize) {
        if !self.devices[device].up {
            return;
        }
        if let Some(state) = self.wallet_state(device) {
            self.devices[device].reported = true;
            self.ask(device, |x, now| x.wallet_changed(now, state));
        }
    }

    /// The host has read the monitors that it was asked for, and after them the live state.
    pub fn monitors_read(&mut self, device: usize, boot: u32) {
        if self.devices[device].boot != boot {
            return;
        }
        let monitors = self.live_monitors(device);
        self.report_wallet(device);
        let hurry = std::mem::take(&mut self.devices[device].state_pushes.hurry);
        self.devices[device].state_pushes.judged = !hurry;
        self.counts.add("readings of monitors");
        self.note(|_| format!("device {device} has read {} monitors", monitors.len()));
        self.ask(device, |x, now| x.monitors_read(now, monitors));
        self.devices[device].state_pushes.judged = false;
        self.devices[device].state_pushes.made = None;
    }

    fn live_monitors(&self, device: usize) -> Vec<MonitorRecord> {
        let d = &self.devices[device];
        let len = match d.monitor_host {
            MonitorHost::Off | MonitorHost::Empty => return Vec::new(),
            // None fits into the small blob, as no real one does.
            MonitorHost::Small => 1_100,
            MonitorHost::Big => 25_000,
        };
        let wallet = d.wallet.iter().flatten();
        let monitor = |(channel, local): (&usize, &Local)| MonitorRecord {
            channel: channel_id(*channel),
            update_id: local.stamp,
            pending_htlcs: local.stamp % 3 == 1,
            bytes: monitor_bytes(d.node, *channel, local.stamp, len),
        };
        wallet.map(monitor).collect()
    }

    fn monitors_wanted(&mut self, device: usize) {
        self.rule_monitors_are_read_once_a_minute(device);
        let at = self.now + self.random.between(0, 200);
        let boot = self.devices[device].boot;
        self.plan(at, Event::Monitors { device, boot });
    }

    pub fn tell_resolved(&mut self, device: usize, channel: usize) {
        if let Some(wallet) = &mut self.devices[device].wallet {
            wallet.remove(&channel);
        }
        if self.devices[device].up {
            let ids = channel_ids(channel, true);
            self.ask(device, |x, now| x.channel_resolved(now, ids));
        }
    }

    /// Whether the wallet's state of a channel is behind that of its peer.
    pub fn is_stale(&self, device: usize, channel: usize) -> bool {
        let local = self.devices[device]
            .wallet
            .as_ref()
            .and_then(|w| w.get(&channel));
        local.is_some_and(|l| l.commitments < self.channels[channel].commitments)
    }

    // ---- connections ------------------------------------------------------------------------

    pub fn device_connected(&mut self, device: usize, link: usize, end: usize) {
        let now = self.clock_of(device);
        let peer = self.links[link].ends[1 - end].node;
        let node = self.devices[device].node;
        let known_before = self.known_channels(device, peer);
        self.links[link].ends[end].connected_at = now.0;
        self.links[link].ends[end].known_before = known_before;
        self.devices[device].links.insert(peer, link);
        self.rule_12_the_last_blob_is_returned(device, peer);
        if let Some(blob) = self.newest_slot(device, peer) {
            self.send(link, end, Message::Return(blob));
        }
        let features = PeerFeatures {
            provides_storage: self.nodes[peer].offers_storage,
            hash: 7,
        };
        // The node's own handler queues its 136 in `peer_connected`, and the decorator drains it
        // before anything else can happen.
        if let Some(wallet) = &self.devices[device].wallet {
            for (channel, local) in wallet {
                let c = &self.channels[*channel];
                if c.is_open() && c.has(peer) && c.has(node) {
                    let numbers = Numbers {
                        next_local: local.commitments + 1,
                        next_remote: local.commitments,
                    };
                    let message = Message::Reestablish(*channel, numbers);
                    let outbound = World::describe_outbound(&message);
                    self.links[link].ends[end]
                        .held
                        .push_back((outbound, message));
                }
            }
        }
        self.ask(device, |x, now| x.connected(now, node_id(peer), features));
    }

    pub fn device_disconnected(&mut self, device: usize, link: usize, end: usize) {
        let peer = self.links[link].ends[1 - end].node;
        let held = self.links[link].ends[end].held.len();
        if held > 0 {
            self.counts.add("disconnects with something held");
        }
        self.links[link].ends[end].held.clear();
        self.links[link].ends[end].kept.clear();
        if self.devices[device].links.get(&peer) == Some(&link) {
            self.devices[device].links.remove(&peer);
        }
        if self.devices[device].up {
            self.ask(device, |x, now| x.disconnected(now, node_id(peer)));
            self.rule_11_the_last_one_is_written_in_the_end(device, peer);
        }
    }

    pub fn device_got(&mut self, device: usize, link: usize, end: usize, message: Message) {
        if !self.devices[device].up {
            return;
        }
        let peer = self.links[link].ends[1 - end].node;
        match message {
            Message::Store(blob) => self.store_for(device, peer, blob),
            Message::Return(blob) => self.returned(device, link, end, blob),
            Message::Warning(text) => {
                if self.logs_warnings {
                    self.ask(device, |x, now| {
                        x.warning_received(now, node_id(peer), text)
                    });
                }
            }
            message => {
                if matches!(message, Message::Reestablish(..)) {
                    self.links[link].ends[end].heard = true;
                }
                self.offer(device, link, end, message);
                self.after_input(device);
            }
        }
    }

    fn store_for(&mut self, device: usize, peer: usize, blob: Bytes) {
        let now = self.clock_of(device);
        let funded = self.device_sees_open_channel(device, peer);
        let bucket = self.devices[device].buckets.entry(peer);
        let at_once = funded && bucket.or_insert_with(|| OracleBucket::new(now)).take(now);
        if funded {
            self.devices[device].accepted.insert(peer, blob.clone());
        } else {
            self.devices[device].accepted.remove(&peer);
        }
        let queued = self.devices[device].queue.len();
        self.ask(device, |x, now| {
            x.storage_received(now, node_id(peer), blob.clone())
        });
        if at_once {
            self.rule_11_within_the_tokens_it_is_written_at_once(device, peer, &blob, queued);
        } else if funded {
            self.counts.add("blobs that waited for a token");
        }
    }

    fn returned(&mut self, device: usize, link: usize, end: usize, bytes: Bytes) {
        let peer = self.links[link].ends[1 - end].node;
        let first = !std::mem::replace(&mut self.links[link].ends[end].heard, true);
        let opened = blob::open(self.devices[device].node, &bytes);
        if opened.is_err() {
            self.counts.add("returned blobs that did not open");
        }
        let contents = opened.as_ref().ok().cloned();
        self.report_wallet(device);
        self.ask(device, |x, now| {
            x.retrieval_received(now, node_id(peer), &bytes, opened)
        });
        if let (Some(contents), true) = (contents, first) {
            let heard = (peer, blob::number_of(&bytes));
            self.devices[device].heard.push(heard);
            self.rule_6_a_backup_ahead_of_the_wallet_holds(device, link, end, &contents);
        }
    }

    /// Offers a message of the peer to the node's own handler, through the gate.
    fn offer(&mut self, device: usize, link: usize, end: usize, message: Message) -> bool {
        let peer = self.links[link].ends[1 - end].node;
        let inbound = match &message {
            Message::Reestablish(channel, n) => Inbound::Reestablish(channel_id(*channel), *n),
            Message::Error(channel) => Inbound::Error(channel.map(channel_id)),
            Message::Channel(channel) => Inbound::Channel(channel_id(*channel)),
            _ => Inbound::Other,
        };
        let now = self.clock_of(device);
        let held_before = self.devices[device].exchange.holding();
        let proof = self.proof(device, &message);
        let exchange = &mut self.devices[device].exchange;
        let verdict = match inbound {
            Inbound::Reestablish(id, theirs) => {
                exchange.reestablish(now, node_id(peer), id, theirs, proof)
            }
            _ => exchange.inbound(now, node_id(peer), inbound),
        };
        if let (Message::Reestablish(channel, _), Proof::Invalid) = (&message, proof) {
            self.rule_6_a_lie_never_freezes(device, held_before);
            self.links[link].ends[end].lied_about |= 1 << channel;
        } else {
            self.rule_6_a_stale_136_holds(device, &message);
        }
        match verdict {
            Verdict::Forward => {
                self.forwarded(device, link, end, message);
                true
            }
            Verdict::Keep => {
                self.counts.add("messages of peers that were kept");
                self.links[link].ends[end].kept.push_back(message);
                false
            }
            Verdict::Drop => {
                self.counts.add("messages of peers that were dropped");
                true
            }
        }
    }

    /// What the wallet of a device can say of the secret in a 136.
    fn proof(&self, device: usize, message: &Message) -> Proof {
        match message {
            Message::Reestablish(channel, theirs) if World::checks_proofs(device) => {
                match theirs.next_remote > self.channels[*channel].commitments {
                    true => Proof::Invalid,
                    false => Proof::Valid,
                }
            }
            _ => Proof::Unchecked,
        }
    }

    /// Some wallets cannot tell.
    pub fn checks_proofs(device: usize) -> bool {
        device % 4 != 3
    }

    /// The node's own handler sees a message.
    fn forwarded(&mut self, device: usize, link: usize, end: usize, message: Message) {
        self.note(|_| format!("device {device} handles: {}", message.name()));
        self.rule_6_what_ldk_must_not_see(device, link, end, &message);
        if let Message::Reestablish(channel, _) = message {
            self.links[link].ends[end].reestablished |= 1 << channel;
        }
    }

    // ---- what the exchange asks for ---------------------------------------------------------

    /// Takes the new actions, asks again for all that waits at a gate, and plans what comes later.
    fn after_input(&mut self, device: usize) {
        if !self.devices[device].up {
            self.devices[device].exchange.take_actions();
            return;
        }
        loop {
            let actions = self.devices[device].exchange.take_actions();
            let mut changed = !actions.is_empty();
            for action in actions {
                self.enqueue(device, action);
            }
            let links: Vec<_> = self.devices[device].links.values().copied().collect();
            for link in links {
                let end = self.links[link].end_of(self.devices[device].node);
                changed |= self.ask_for_held(device, link, end);
                changed |= self.ask_for_kept(device, link, end);
            }
            if !changed {
                break;
            }
        }
        self.rule_6_our_136_leaves_after_two_seconds(device);
        self.plan_wake(device);
    }

    fn enqueue(&mut self, device: usize, action: Action) {
        let link = match &action {
            Action::Push { peer, .. } | Action::Warn { peer, .. } => {
                self.devices[device].links.get(&node_of(peer)).copied()
            }
            Action::Persist(_) => None,
            Action::ReadMonitors => return self.monitors_wanted(device),
        };
        match &action {
            Action::Persist(record) => self.judge_record(device, record),
            Action::Push { peer, snapshot, .. } => {
                self.rule_1_nothing_leaves_before_reading(device, node_of(peer), link, snapshot);
                self.rule_6_nothing_is_overwritten_under_an_alarm(device);
                self.rule_states_are_pushed_once_a_minute(device, node_of(peer), link, snapshot);
            }
            Action::ReadMonitors => {}
            Action::Warn { peer, .. } => {
                self.rule_11_a_funded_peer_is_never_refused(device, node_of(peer));
            }
        }
        self.devices[device].queue.push_back((link, action));
        if !self.devices[device].commit_planned {
            self.devices[device].commit_planned = true;
            let at = self.now + self.random.between(0, 100);
            let boot = self.devices[device].boot;
            self.plan(at, Event::Commit { device, boot });
        }
    }

    pub fn commit(&mut self, device: usize, boot: u32) {
        if self.devices[device].boot != boot {
            return;
        }
        self.devices[device].commit_planned = false;
        while !self.devices[device].queue.is_empty() {
            self.do_next(device);
        }
    }

    /// Does the first action of the queue.
    fn do_next(&mut self, device: usize) {
        let Some((link, action)) = self.devices[device].queue.pop_front() else {
            return;
        };
        match action {
            Action::Persist(record) => {
                let snapshot = matches!(record, Record::Snapshot(_));
                // Retention is over: the last copy may go.
                self.losing |= matches!(record, Record::SlotExpired(_));
                self.devices[device].disk.apply(record);
                if snapshot {
                    let node = self.devices[device].node;
                    self.protected[node] |= self.devices[device].disk.channels;
                }
            }
            Action::Push {
                peer,
                snapshot,
                tier,
                capacity,
                ..
            } => {
                let Some(link) = link.filter(|link| self.links[*link].open) else {
                    self.counts.add("pushes that outlived their connection");
                    return;
                };
                let node = self.devices[device].node;
                let end = self.links[link].end_of(node);
                let sealed = blob::seal(node, self.blobs.len(), &snapshot, tier, capacity);
                self.rule_4_a_push_is_never_empty(&snapshot, sealed.as_ref().map(|(_, m)| m));
                self.rule_5_only_what_is_durable_leaves(device, &snapshot);
                self.note(|_| {
                    format!(
                        "device {device} pushes {} {tier:?} to {}",
                        snapshot.revision,
                        node_of(&peer)
                    )
                });
                if let Some((blob, meta)) = sealed {
                    self.blobs.push(meta);
                    self.counts.add("pushes");
                    self.send(link, end, Message::Store(blob));
                }
            }
            Action::Warn { .. } => self.counts.add("warnings to peers"),
            Action::ReadMonitors => {}
        }
    }

    fn ask_for_held(&mut self, device: usize, link: usize, end: usize) -> bool {
        if self.links[link].ends[end].held.is_empty() {
            return false;
        }
        let now = self.clock_of(device);
        let peer = node_id(self.links[link].ends[1 - end].node);
        let held = std::mem::take(&mut self.links[link].ends[end].held);
        let mut any = false;
        for (outbound, message) in held {
            let may = self.devices[device].exchange.may_leave(now, peer, outbound);
            if !may {
                self.links[link].ends[end]
                    .held
                    .push_back((outbound, message));
                continue;
            }
            any = true;
            if let Message::Reestablish(channel, _) = message {
                self.rule_6_a_proven_stale_136_never_leaves(device, link, end, channel);
                self.links[link].ends[end].sent_reestablish |= 1 << channel;
            }
            self.send(link, end, message);
        }
        any
    }

    fn ask_for_kept(&mut self, device: usize, link: usize, end: usize) -> bool {
        let kept = std::mem::take(&mut self.links[link].ends[end].kept);
        let mut any = false;
        for message in kept {
            any |= self.offer(device, link, end, message);
        }
        any
    }

    fn plan_wake(&mut self, device: usize) {
        let now = self.clock_of(device);
        let wanted = self.devices[device].exchange.wake_at(now);
        if self.devices[device].wake_planned == wanted.map(|at| at.0) {
            return;
        }
        let d = &mut self.devices[device];
        d.wake_planned = wanted.map(|at| at.0);
        d.wake_number += 1;
        let (number, boot) = (d.wake_number, d.boot);
        if let Some(at) = wanted {
            let at = self.now + at.0.saturating_sub(now.0);
            self.plan(
                at,
                Event::Wake {
                    device,
                    boot,
                    number,
                },
            );
        }
    }

    pub fn wake(&mut self, device: usize, boot: u32, number: u64) {
        let d = &mut self.devices[device];
        if d.boot != boot || d.wake_number != number {
            return;
        }
        d.wake_planned = None;
        d.state_pushes.judged = true;
        self.ask(device, |x, now| x.tick(now));
        self.devices[device].state_pushes.judged = false;
        self.devices[device].state_pushes.made = None;
    }

    // ---- views ------------------------------------------------------------------------------

    /// What this device keeps for a peer, what waits for a token or the group commit included.
    pub fn newest_slot(&self, device: usize, peer: usize) -> Option<Bytes> {
        let id = node_id(peer);
        let pending = self.devices[device].exchange.pending_slot(&id);
        let queued = self.devices[device].queue.iter().rev();
        let mut queued = queued.filter_map(|(_, action)| match action {
            Action::Persist(Record::Slot { peer, blob }) if *peer == id => Some(blob.clone()),
            _ => None,
        });
        let disk = || self.devices[device].disk.slots.get(&id).cloned();
        pending.or_else(|| queued.next()).or_else(disk)
    }

    /// The channels with a peer that this device has, or knows from backups, as bits.
    pub fn known_channels(&self, device: usize, peer: usize) -> u128 {
        let d = &self.devices[device];
        let live = d.wallet.iter().flat_map(|w| w.keys().copied());
        let snapshot = d.exchange.snapshot().into_iter();
        let recorded = snapshot
            .flat_map(|s| s.channels.iter())
            .map(|c| super::names::channel_of(&c.ids));
        let with_peer = |c: &usize| self.channels[*c].has(peer);
        blob::channel_bits(live.chain(recorded).filter(with_peer))
    }

    /// What the device was last told of: its wallet has an open channel with the peer.
    pub fn device_sees_open_channel(&self, device: usize, peer: usize) -> bool {
        let wallet = self.devices[device].wallet.as_ref();
        wallet.is_some_and(|wallet| {
            let open = |c: &usize| self.channels[*c].is_open() && self.channels[*c].has(peer);
            wallet.keys().any(open)
        })
    }
}

/// What stands for a monitor says whose it is, of which channel and state.
pub fn monitor_bytes(
    node: usize,
    channel: usize,
    stamp: u64,
    len: usize,
) -> Arc<zeroize::Zeroizing<Vec<u8>>> {
    let mut bytes = vec![node as u8, channel as u8];
    bytes.extend(stamp.to_be_bytes());
    bytes.resize(len, 0);
    Arc::new(bytes.into())
}

fn spendable_output(channel: usize) -> SpendableOutputDescriptor {
    let output = output_of(channel);
    SpendableOutputDescriptor::StaticOutput {
        outpoint: lightning::chain::transaction::OutPoint {
            txid: output.txid,
            index: output.vout as u16,
        },
        output: TxOut {
            value: Amount::from_sat(5_000),
            script_pubkey: ScriptBuf::from_bytes(vec![0; 22]),
        },
        channel_keys_id: None,
    }
}
