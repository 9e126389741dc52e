//! The safety rules, as checks on the world. Each name begins with the rule's number.

use ldk_peer_storage::backup::{ChannelPhase, Contents, Snapshot};
use ldk_peer_storage::exchange::{
    Action, AlarmKind, Capacity, Event, Evidence, Record, StorerState, Time, RETENTION_BLOCKS,
};

use super::blob::{channel_bits, Bytes, Meta};
use super::device::{monitor_bytes, MonitorHost};
use super::names::{channel_id, channel_of, node_id, node_of};
use super::storer::Kind;
use super::wire::Message;
use super::world::World;

/// The writes that a peer may cause: six at once, then one a minute. Reckoned apart from the code.
pub struct OracleBucket {
    tokens: f64,
    at: Time,
}

impl OracleBucket {
    pub fn new(now: Time) -> Self {
        OracleBucket {
            tokens: 6.0,
            at: now,
        }
    }

    pub fn take(&mut self, now: Time) -> bool {
        let minutes = now.since(self.at).as_millis() as f64 / 60_000.0;
        self.tokens = (self.tokens + minutes).min(6.0);
        self.at = now;
        // Pending blobs take tokens as they come; only what is sure is claimed here.
        let sure = self.tokens >= 2.0;
        self.tokens = (self.tokens - 1.0).max(0.0);
        sure
    }
}

impl World {
    pub fn check_rules(&mut self) {
        self.rule_2_no_channel_disappears();
        if self.steps.is_multiple_of(16) {
            for device in 0..self.devices.len() {
                self.rule_6_our_136_leaves_after_two_seconds(device);
            }
        }
    }

    pub fn violated(&self, rule: &str) -> ! {
        panic!("{rule}, at {}", self.now - 1_700_000_000_000);
    }

    // ---- rule 1 -----------------------------------------------------------------------------

    pub fn rule_1_nothing_leaves_before_reading(
        &self,
        device: usize,
        peer: usize,
        link: Option<usize>,
        snapshot: &Snapshot,
    ) {
        if !self.devices[device].knows_its_past() {
            self.violated("rule 1: a push from a directory that does not know its past");
        }
        let Some(link) = link else {
            self.violated("rule 1: a push to a peer that is not connected");
        };
        let end = &self.links[link].ends[self.links[link].end_of(self.devices[device].node)];
        if end.heard {
            return;
        }
        let named = snapshot.channels.iter().map(|c| channel_of(&c.ids));
        let known = end.known_before | channel_bits(named);
        let old = (0..self.channels.len()).any(|channel| {
            let c = &self.channels[channel];
            known & (1 << channel) != 0 && c.has(peer) && c.opened_on != link
        });
        if old {
            self.violated("rule 1: a push before the 9 or the 136 of a peer with a channel");
        }
        if self.clock_of(device).0 < end.connected_at + 30_000 {
            self.violated("rule 1: a push before the 9 and before 30 s");
        }
    }

    // ---- rules 2 and 3 ----------------------------------------------------------------------

    /// The union of all slots and local stores has every channel that was ever backed up, until it
    /// is resolved; unless a fault took the last copy.
    fn rule_2_no_channel_disappears(&mut self) {
        let losing = std::mem::take(&mut self.losing);
        for node in 0..self.nodes.len() {
            let protected = self.protected[node];
            if protected == 0 {
                continue;
            }
            let mut held = 0;
            for device in &self.nodes[node].devices {
                let disk = &self.devices[*device].disk;
                held |= disk.channels;
                for (_, blob) in disk.foreign.values() {
                    held |= self.meta(blob).channels;
                }
            }
            let mut lost = protected & !held;
            if lost != 0 {
                lost &= !self.held_by_storers(node);
            }
            if lost != 0 {
                for channel in 0..self.channels.len() {
                    if self.channels[channel].resolved {
                        lost &= !(1 << channel);
                    }
                }
            }
            if lost != 0 && !losing {
                self.violated(&format!("rule 2: channels {lost:b} of {node} are lost"));
            }
            self.protected[node] &= !lost;
        }
    }

    fn held_by_storers(&self, owner: usize) -> u128 {
        let mut held = 0;
        for (node, storer) in self.nodes.iter().enumerate() {
            if storer.kind == Kind::Liar || node == owner {
                continue;
            }
            if let Some(blob) = storer.keeper.kept(owner) {
                held |= self.meta(&blob).channels;
            }
            for device in &storer.devices {
                // What waited in the memory of a process that has ended is gone.
                if !self.devices[*device].up {
                    let slot = self.devices[*device].disk.slots.get(&node_id(owner));
                    held |= slot.map_or(0, |blob| self.meta(blob).channels);
                    continue;
                }
                if let Some(blob) = self.newest_slot(*device, owner) {
                    held |= self.meta(&blob).channels;
                }
                if let Some(blob) = self.devices[*device].exchange.pending_slot(&node_id(owner)) {
                    held |= self.meta(&blob).channels;
                }
            }
        }
        held
    }

    fn rule_3_a_snapshot_has_every_unresolved_channel(&self, device: usize, snapshot: &Snapshot) {
        if !self.devices[device].reported {
            return;
        }
        let named = channel_bits(snapshot.channels.iter().map(|c| channel_of(&c.ids)));
        for channel in self.devices[device].wallet.iter().flat_map(|w| w.keys()) {
            let resolved = self.channels[*channel].resolved;
            if named & (1 << channel) == 0 && !resolved {
                self.violated(&format!("rule 3: channel {channel} is not in the snapshot"));
            }
        }
    }

    // ---- rule 4 -----------------------------------------------------------------------------

    pub fn rule_4_a_push_is_never_empty(&self, snapshot: &Snapshot, sealed: Option<&Meta>) {
        let Some(sealed) = sealed else {
            self.violated("rule 4: a push that cannot be built");
        };
        if sealed.channels == 0 && !snapshot.channels.is_empty() {
            self.violated("rule 4: a push without any of the channels");
        }
        // Open before closing.
        let left_out = |c: usize| sealed.channels & (1 << c) == 0;
        let channels = || snapshot.channels.iter();
        let open_left_out =
            channels().any(|c| c.phase != ChannelPhase::Closing && left_out(channel_of(&c.ids)));
        let sizes_alike = channels().all(|c| c.channel_keys_id.is_none());
        let closing_kept =
            channels().any(|c| c.phase == ChannelPhase::Closing && !left_out(channel_of(&c.ids)));
        if open_left_out && closing_kept && sizes_alike {
            self.violated("rule 4: an open channel was dropped before a closing one");
        }
    }

    // ---- rule 5 -----------------------------------------------------------------------------

    pub fn rule_5_only_what_is_durable_leaves(&mut self, device: usize, snapshot: &Snapshot) {
        let d = &self.devices[device];
        let content = snapshot.content_hash();
        if !d.disk.knows_its_past() {
            self.violated("rule 5: the past is not durable");
        }
        if !d.disk.made.contains(&(snapshot.revision, content)) {
            self.violated("rule 5: a revision was sent that is not durable");
        }
        let recorded = d.disk.saved.snapshot.as_ref().map(|s| s.revision);
        if recorded < Some(snapshot.revision) {
            self.violated("rule 5: a revision was sent that is above the durable one");
        }
        if !d.disk_put_back {
            let key = (d.node, snapshot.installation, snapshot.revision);
            let sent = *self.sent.entry(key).or_insert(content);
            if sent != content {
                self.violated("rule 5: a revision was sent twice with different content");
            }
        }
    }

    // ---- rule 6 -----------------------------------------------------------------------------

    pub fn rule_6_a_backup_ahead_of_the_wallet_holds(
        &mut self,
        device: usize,
        link: usize,
        end: usize,
        contents: &Contents,
    ) {
        let d = &self.devices[device];
        let Some(wallet) = &d.wallet else { return };
        let ahead = contents.snapshot.channels.iter().any(|record| {
            let channel = channel_of(&record.ids);
            let behind = wallet
                .get(&channel)
                .is_some_and(|l| l.stamp < record.update_id);
            behind && !self.channels[channel].resolved
        });
        if ahead {
            self.links[link].ends[end].proved_stale = true;
            if !self.devices[device].exchange.holding() {
                self.violated("rule 6: a backup is ahead of the wallet and nothing is held");
            }
            self.counts.add("backups that were ahead of the wallet");
        }
    }

    pub fn rule_6_nothing_is_overwritten_under_an_alarm(&self, device: usize) {
        if self.devices[device].exchange.holding() {
            self.violated("rule 6: a push under an alarm");
        }
    }

    pub fn rule_6_the_stamps_decide(&self, device: usize, evidence: &Evidence) {
        let Evidence::StampAhead {
            channel, backup, ..
        } = evidence
        else {
            return;
        };
        let channel = channel_of(channel);
        let wallet = self.devices[device].wallet.as_ref();
        let local = wallet.and_then(|w| w.get(&channel));
        let behind = local.is_none_or(|local| local.stamp < *backup);
        if behind && !self.channels[channel].resolved {
            self.violated("rule 6: a stale device was declared current");
        }
    }

    pub fn rule_6_a_stale_136_holds(&mut self, device: usize, message: &Message) {
        let Message::Reestablish(channel, theirs) = message else {
            return;
        };
        let local = self.devices[device]
            .wallet
            .as_ref()
            .and_then(|w| w.get(channel));
        if local.is_some_and(|local| theirs.next_remote > local.commitments) {
            if !self.devices[device].exchange.holding() && !self.devices[device].lied_to {
                self.violated("rule 6: a 136 proves this device stale and nothing is held");
            }
            self.counts.add("136 that proved a device stale");
        }
    }

    pub fn rule_6_a_lie_never_freezes(&mut self, device: usize, held_before: bool) {
        if self.devices[device].exchange.holding() && !held_before {
            self.violated("rule 6: numbers that are not true froze the wallet");
        }
        self.counts.add("lies that were found out");
    }

    pub fn rule_6_what_ldk_must_not_see(
        &mut self,
        device: usize,
        link: usize,
        end: usize,
        message: &Message,
    ) {
        let peer = self.links[link].ends[1 - end].node;
        let Some(wallet) = &self.devices[device].wallet else {
            match message {
                Message::Reestablish(..) | Message::Channel(_) => {
                    self.violated("rule 10: a channel message reached a node without channels")
                }
                _ => return,
            }
        };
        match message {
            Message::Reestablish(channel, theirs) => match wallet.get(channel) {
                None if self.channels[*channel].resolved => {}
                None => self.violated("rule 10: a 136 of an unknown channel reached the node"),
                Some(local) if theirs.next_remote > local.commitments => {
                    self.violated("rule 6: LDK panics at a 136 that proves it stale")
                }
                Some(_) => {}
            },
            Message::Error(named) => {
                for channel in wallet.keys() {
                    let c = &self.channels[*channel];
                    let concerned = named.map_or(c.has(peer), |named| named == *channel);
                    if concerned && self.is_stale(device, *channel) {
                        self.violated("rule 6: an error makes LDK publish a revoked commitment");
                    }
                }
                self.counts.add("errors that were forwarded");
            }
            Message::Channel(channel) => {
                let ready = self.links[link].ends[end].reestablished & (1 << channel) != 0;
                let fresh = self.channels[*channel].opened_on == link;
                if wallet.contains_key(channel) && !ready && !fresh {
                    self.violated("rule 6: LDK closes at a message before the 136");
                }
            }
            _ => {}
        }
    }

    pub fn rule_6_a_proven_stale_136_never_leaves(
        &mut self,
        device: usize,
        link: usize,
        end: usize,
        _channel: usize,
    ) {
        if self.links[link].ends[end].proved_stale {
            self.violated("rule 6: a 136 left although the 9 before had proved it stale");
        }
        let waited = self.clock_of(device).0 >= self.links[link].ends[end].connected_at + 2_000;
        if waited {
            self.counts.add("136 of ours that left after two seconds");
        }
    }

    pub fn rule_6_our_136_leaves_after_two_seconds(&self, device: usize) {
        let d = &self.devices[device];
        if !d.up || d.exchange.holding() {
            return;
        }
        let now = self.clock_of(device).0;
        for link in d.links.values().map(|link| &self.links[*link]) {
            let end = &link.ends[link.end_of(d.node)];
            let held = end.held.iter().any(|(_, message)| {
                let Message::Reestablish(channel, _) = message else {
                    return false;
                };
                let lied_about = end.lied_about & (1 << channel) != 0;
                !lied_about && !d.disputed.contains(&channel_id(*channel))
            });
            if held && now > end.connected_at + 2_001 {
                self.violated("rule 6: two nodes that both wait would wait forever");
            }
        }
    }

    /// An alarm says that the wallet is older than something else: is it?
    fn rule_6_no_false_alarm(&mut self, device: usize) {
        self.counts.add("alarms: stale state");
        let d = &self.devices[device];
        let Some(wallet) = &d.wallet else {
            self.violated("rule 6: an alarm without a wallet");
        };
        let behind = wallet.iter().any(|(channel, local)| {
            let c = &self.channels[*channel];
            local.stamp < c.stamps[c.side_of(d.node)] || local.commitments < c.commitments
        });
        let lacks = (0..self.channels.len()).any(|channel| {
            let c = &self.channels[channel];
            c.has(d.node) && !c.resolved && !wallet.contains_key(&channel)
        });
        if self.faults.healthy || !(behind || lacks || d.lied_to) {
            self.violated("rule 6: an alarm although this device has the newest state");
        }
    }

    // ---- rule 7 -----------------------------------------------------------------------------

    fn rule_7_only_our_own_content_is_verified(&self, device: usize, state: &StorerState) {
        let Some(verified) = state.verified else {
            return;
        };
        let d = &self.devices[device];
        // Of what a storer returns late, this directory remembers the revision alone.
        let late = state
            .sent
            .is_some_and(|sent| verified.revision < sent.revision);
        if late && d.disk_put_back {
            return;
        }
        let queued = d.queue.iter().any(|(_, action)| match action {
            Action::Persist(Record::Snapshot(s)) => {
                s.revision == verified.revision && s.content_hash() == verified.content
            }
            _ => false,
        });
        if !queued && !d.disk.made.contains(&(verified.revision, verified.content)) {
            self.violated("rule 7: verified something that this directory never made");
        }
    }

    // ---- rule 8 is checked where a restore ends, in the script -------------------------------

    // ---- rule 11 ----------------------------------------------------------------------------

    pub fn rule_11_within_the_tokens_it_is_written_at_once(
        &self,
        device: usize,
        peer: usize,
        blob: &Bytes,
        queued_before: usize,
    ) {
        let id = node_id(peer);
        let new = self.devices[device].queue.iter().skip(queued_before);
        let mut slots = new.filter_map(|(_, action)| match action {
            Action::Persist(Record::Slot { peer, blob }) if *peer == id => Some(blob),
            _ => None,
        });
        if slots.next() != Some(blob) {
            self.violated("rule 11: a blob within the tokens was not handed out for writing");
        }
    }

    pub fn rule_11_the_last_one_is_written_in_the_end(&mut self, device: usize, peer: usize) {
        let Some(accepted) = self.devices[device].accepted.get(&peer).cloned() else {
            return;
        };
        if !self.device_sees_open_channel(device, peer) {
            self.devices[device].accepted.remove(&peer);
        } else if self.newest_slot(device, peer) != Some(accepted) {
            self.violated("rule 11: the last blob of a peer was not written");
        }
    }

    pub fn rule_11_a_funded_peer_is_never_refused(&self, device: usize, peer: usize) {
        if self.device_sees_open_channel(device, peer) {
            self.violated("rule 11: a peer with a channel was refused");
        }
    }

    fn rule_11_expired_only_after_its_time(&mut self, device: usize, peer: usize) {
        self.counts.add("slots that expired");
        self.devices[device].accepted.remove(&peer);
        let node = self.devices[device].node;
        let pair = (node.min(peer), node.max(peer));
        let funded_at = self.funded_at.get(&pair).copied();
        let open = !self.open_channels(node, peer).is_empty();
        let early = funded_at.is_some_and(|at| self.height.saturating_sub(at) <= RETENTION_BLOCKS);
        // With its own records put back as well, nothing here knows of the channel.
        if (open || early) && !self.devices[device].disk_put_back {
            self.violated("rule 11: a slot expired too early");
        }
    }

    // ---- rule 12 ----------------------------------------------------------------------------

    pub fn rule_12_the_last_blob_is_returned(&self, device: usize, peer: usize) {
        let accepted = self.devices[device].accepted.get(&peer);
        if accepted.is_some() && accepted != self.newest_slot(device, peer).as_ref() {
            self.violated("rule 12: at a connection an older blob is returned");
        }
    }

    // ---- monitors ---------------------------------------------------------------------------

    /// Neither ahead of their stamps, nor of another channel or state, and at most one each.
    fn monitors_are_what_they_say(&self, device: usize, snapshot: &Snapshot) {
        let node = self.devices[device].node;
        let mut seen = 0_u128;
        for monitor in &snapshot.monitors {
            let channel = channel_of(&monitor.ids());
            let record = snapshot
                .channels
                .iter()
                .find(|c| c.ids.matches(&monitor.ids()));
            let Some(record) = record else {
                self.violated("monitors: one without its channel");
            };
            if monitor.update_id > record.update_id {
                self.violated("monitors: one is ahead of the stamp beside it");
            }
            let (stamp, len) = (monitor.update_id, monitor.bytes.len());
            if monitor.bytes != monitor_bytes(node, channel, stamp, len) {
                self.violated("monitors: one is not what it says");
            }
            if seen & (1 << channel) != 0 {
                self.violated("monitors: two of one channel");
            }
            seen |= 1 << channel;
        }
    }

    /// What only peers knew is in each snapshot until its channel is resolved.
    fn rule_2_restored_monitors_stay(&mut self, device: usize, snapshot: &Snapshot) {
        let d = &self.devices[device];
        for (channel, stamp) in &d.restored_monitors {
            let lives = d.wallet.as_ref().is_some_and(|w| w.contains_key(channel));
            let mut monitors = snapshot.monitors.iter();
            let stays = monitors.any(|m| channel_of(&m.ids()) == *channel && m.update_id >= *stamp);
            if !stays && !lives && !self.channels[*channel].resolved {
                self.violated(&format!("rule 2: the monitor of channel {channel} is lost"));
            }
        }
        if !self.devices[device].restored_monitors.is_empty() {
            self.counts.add("snapshots with restored monitors");
        }
    }

    pub fn rule_monitors_are_read_once_a_minute(&mut self, device: usize) {
        let now = self.now;
        let d = &mut self.devices[device];
        let before = d.state_pushes.asked_at.replace(now);
        let soon = before.is_some_and(|before| now < before + 60_000);
        if d.monitor_host == MonitorHost::Off {
            self.violated("monitors: asked for although the host wants none");
        }
        if soon && !self.devices[device].state_pushes.hurry {
            self.violated("monitors: asked for twice within a minute");
        }
    }

    pub fn rule_states_are_pushed_once_a_minute(
        &mut self,
        device: usize,
        peer: usize,
        link: Option<usize>,
        snapshot: &Snapshot,
    ) {
        let now = self.now;
        let Some(link) = link else { return };
        let pushes = &mut self.devices[device].state_pushes;
        let same_link = pushes.sent_on.insert(peer, link) == Some(link);
        if !pushes.judged || !same_link || pushes.made != Some(snapshot.revision) {
            return;
        }
        // A small one and a large one go out together.
        let before = pushes.sent_at.insert(peer, now);
        if before.is_some_and(|before| before != now && now < before + 60_000) {
            self.violated("states: pushed twice within a minute");
        }
        let status = self.devices[device].exchange.status();
        let of_peer = status.peers.iter().find(|p| p.node_id == node_id(peer));
        if of_peer.is_some_and(|p| matches!(p.capacity, Capacity::Small { .. })) {
            self.violated("states: pushed to a peer that keeps 1024 bytes");
        }
        self.counts.add("pushes of states");
    }

    // ---- records ----------------------------------------------------------------------------

    pub fn judge_record(&mut self, device: usize, record: &Record) {
        match record {
            Record::Snapshot(snapshot) => {
                self.counts.add("snapshots");
                self.note(|_| format!("device {device} makes {snapshot:?}"));
                self.rule_3_a_snapshot_has_every_unresolved_channel(device, snapshot);
                self.monitors_are_what_they_say(device, snapshot);
                self.rule_2_restored_monitors_stay(device, snapshot);
                let pushes = &mut self.devices[device].state_pushes;
                if pushes.judged {
                    pushes.made = Some(snapshot.revision);
                }
            }
            Record::Storer(_, state) => self.rule_7_only_our_own_content_is_verified(device, state),
            Record::Foreign { .. } => self.counts.add("foreign blobs kept"),
            Record::SlotExpired(peer) => {
                self.rule_11_expired_only_after_its_time(device, node_of(peer));
                self.devices[device].accepted.remove(&node_of(peer));
            }
            Record::Event(event) => self.judge_event(device, event),
            _ => {}
        }
    }

    fn judge_event(&mut self, device: usize, event: &Event) {
        self.note(|_| format!("device {device} reports {event:?}"));
        match event {
            Event::AlarmRaised(alarm) => match &alarm.kind {
                AlarmKind::StaleState { .. } => self.rule_6_no_false_alarm(device),
                AlarmKind::StorerRolledBack { peer, .. } => {
                    self.counts.add("alarms: rolled back");
                    self.no_alarm_about_an_honest_storer(node_of(peer));
                }
                AlarmKind::StorerLostBackup { peer } => {
                    self.counts.add("alarms: lost backup");
                    self.no_alarm_about_an_honest_storer(node_of(peer));
                }
            },
            Event::AlarmOver(_) => self.counts.add("alarms that ended"),
            Event::OtherInstallation { .. } => {
                self.counts.add("other installations");
                if self.faults.healthy {
                    self.violated("rule 6: another installation in a healthy world");
                }
            }
            Event::ChannelsMerged { .. } => self.counts.add("merges"),
            Event::Conflict { .. } => {
                self.counts.add("conflicts");
                if self.faults.healthy {
                    self.violated("rule 7: a conflict in a healthy world");
                }
            }
            Event::Unreadable { .. } => self.counts.add("unreadable"),
            Event::CapacityLearned { bytes: 1024, .. } => self.counts.add("capacity: small"),
            Event::CapacityLearned { .. } => self.counts.add("capacity: large"),
            Event::Refused { .. } => self.counts.add("refusals"),
            Event::Omitted { .. } | Event::PartsOmitted { .. } => self.counts.add("omissions"),
            Event::FalseNumbers { peer, .. } => {
                self.counts.add("false numbers");
                if self.nodes[node_of(peer)].kind != Kind::Liar {
                    self.violated("rule 6: an honest peer is taken for a liar");
                }
            }
            Event::UnknownChannel { .. } => self.counts.add("unknown channels"),
            Event::NotBackedUp { .. } | Event::SlotExpired { .. } => {}
        }
    }

    fn no_alarm_about_an_honest_storer(&self, peer: usize) {
        let kind = self.nodes[peer].kind;
        // A phone that was wiped or put back did lose what it kept.
        let lost_it = self.nodes[peer].is_phone && !self.faults.healthy;
        if kind != Kind::Liar && !lost_it {
            self.violated(&format!("an alarm about an honest storer: {kind:?}"));
        }
    }
}
