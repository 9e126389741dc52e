//! What happens in a run: the people, their phones, their peers, the chain.

use ldk_peer_storage::backup::ChannelPhase;
use ldk_peer_storage::exchange::{AlarmId, AlarmKind, Evidence, Inbound, Resolution, Verdict};

use super::device::{Device, Local, MonitorHost, Wallet};
use super::disk::Disk;
use super::names::{channel_id, node_id, MOST_CHANNELS, MOST_NODES};
use super::storer::{Keeper, Kind};
use super::world::{Channel, Faults, Node, World};

impl World {
    pub fn new(seed: u64, traced: bool) -> Self {
        let mut world = World::empty(seed, traced, Faults::none());
        world.faults = Faults::drawn(&mut world);
        world.logs_warnings = world.random.percent(50);
        let crowd = world.random.percent(1);
        let phones = match world.random.below(10) {
            _ if crowd => 10,
            0 => 2,
            _ => 1,
        };
        let peers = match crowd {
            true => MOST_NODES - phones,
            false => 1 + world.random.below(6),
        };
        for node in 0..phones {
            world.add_node(Kind::Ours);
            world.nodes[node].is_phone = true;
        }
        for _ in 0..peers {
            let kind = match world.random.below(10) {
                0 | 1 => Kind::Ours,
                2 | 3 => Kind::Cln,
                4 | 5 => Kind::Eclair,
                9 if world.faults.liars => Kind::Liar,
                8 if world.faults.liars => Kind::Liar,
                _ => Kind::Ldk,
            };
            world.add_node(kind);
        }
        world
    }

    pub fn phones(&self) -> usize {
        self.nodes.iter().filter(|node| node.is_phone).count()
    }

    fn add_node(&mut self, kind: Kind) {
        let node = self.nodes.len();
        let waits = kind != Kind::Ours && self.random.percent(10);
        let offers = kind == Kind::Ours || self.random.percent(95);
        self.nodes.push(Node {
            kind,
            keeper: Keeper::default(),
            waits_for_reestablish: waits,
            devices: Vec::new(),
            offers_storage: offers,
            is_phone: false,
        });
        self.protected.push(0);
        if kind == Kind::Ours {
            let device = self.add_device(node, Some(Wallet::new()));
            self.start(device);
            let new = self.ask(device, |x, now| x.declare_new(now));
            assert_eq!(new, Ok(()));
        }
    }

    fn add_device(&mut self, node: usize, wallet: Option<Wallet>) -> usize {
        let installation = self.random.next();
        let device = self.devices.len();
        self.devices
            .push(Device::new(node, self.now, installation, wallet));
        self.nodes[node].devices.push(device);
        if self.random.percent(30) {
            self.devices[device].app_data = vec![7; self.random.below(3000)];
        }
        self.devices[device].monitor_host = match self.random.below(40) {
            0 => MonitorHost::Big,
            1 | 2 => MonitorHost::Empty,
            3..=23 => MonitorHost::Small,
            _ => MonitorHost::Off,
        };
        device
    }

    /// All that happens before the calm.
    pub fn play(&mut self) {
        let steps = 30 + self.random.below(60);
        for _ in 0..steps {
            let pause = match self.random.below(20) {
                0 => self.random.between(60_000, 3 * 3_600_000),
                1 => self.random.between(3_600_000, 9 * 24 * 3_600_000),
                2..=6 => self.random.between(2_000, 90_000),
                _ => self.random.between(0, 1_500),
            };
            self.run_until(self.now + pause);
            self.happen();
            self.check_rules();
        }
    }

    fn happen(&mut self) {
        match self.random.below(100) {
            0..=24 => self.someone_connects(),
            25..=31 => self.someone_disconnects(),
            32..=40 => self.someone_opens_a_channel(),
            41..=50 => self.a_channel_becomes_ready(),
            51..=66 => self.someone_pays(),
            67..=68 => self.a_channel_closes(),
            69..=71 => self.a_channel_is_buried(),
            72..=75 => self.one_of_ours_crashes(),
            76..=78 => self.a_storer_crashes(),
            79..=80 => self.someone_goes_to_the_background(),
            81..=82 => self.app_data_changes(),
            83..=86 => self.blocks_come(),
            87..=90 => self.the_person_decides(),
            91 => self.the_os_makes_a_backup(),
            92..=93 => self.the_os_puts_a_backup_back(),
            94 => self.a_phone_is_wiped(),
            95 => self.an_sdk_directory_is_lost(),
            96 => self.a_second_device_is_set_up(),
            97 => self.a_disconnect_right_after_a_connect(),
            _ => self.a_storer_writes(),
        }
        // People start their phones again, and come to decisions.
        if self.random.percent(30) {
            self.someone_starts();
        }
        if self.random.percent(15) {
            self.the_person_decides();
        }
    }

    // ---- connections ------------------------------------------------------------------------

    /// A device that is up, and a node that it may connect to.
    fn some_pair(&mut self) -> Option<(usize, usize)> {
        let up: Vec<_> = (0..self.devices.len())
            .filter(|d| self.devices[*d].up)
            .collect();
        let device = self.random.pick(&up)?;
        let node = self.devices[device].node;
        // Mostly those with a channel.
        let mut peers: Vec<_> = (0..self.nodes.len()).filter(|p| *p != node).collect();
        if self.random.percent(70) {
            let with_channel: Vec<_> = peers
                .iter()
                .copied()
                .filter(|peer| !self.open_channels(node, *peer).is_empty())
                .collect();
            if !with_channel.is_empty() {
                peers = with_channel;
            }
        }
        Some((device, self.random.pick(&peers)?))
    }

    fn someone_connects(&mut self) {
        let Some((device, peer)) = self.some_pair() else {
            return;
        };
        self.connect_device(device, peer);
    }

    pub fn connect_device(&mut self, device: usize, peer: usize) {
        let node = self.devices[device].node;
        let other = match self.nodes[peer].kind {
            Kind::Ours => {
                let devices = self.nodes[peer].devices.clone();
                let up: Vec<_> = devices
                    .into_iter()
                    .filter(|d| self.devices[*d].up)
                    .collect();
                let Some(other) = self.random.pick(&up) else {
                    return;
                };
                Some(other)
            }
            _ => None,
        };
        self.connect([(node, Some(device)), (peer, other)]);
    }

    fn someone_disconnects(&mut self) {
        let open: Vec<_> = (0..self.links.len())
            .filter(|link| self.links[*link].open)
            .collect();
        if let Some(link) = self.random.pick(&open) {
            let flush = self.random.percent(50);
            self.disconnect(link, flush);
        }
    }

    fn a_disconnect_right_after_a_connect(&mut self) {
        let Some((device, peer)) = self.some_pair() else {
            return;
        };
        for _ in 0..1 + self.random.below(3) {
            self.connect_device(device, peer);
            let pause = self.random.between(0, 400);
            self.run_until(self.now + pause);
            if !self.devices[device].up {
                return;
            }
        }
    }

    // ---- channels ---------------------------------------------------------------------------

    fn someone_opens_a_channel(&mut self) {
        // Sometimes so many that not all fit into a small blob.
        let count = if self.random.percent(8) { 12 } else { 1 };
        for _ in 0..count {
            self.one_channel_opens();
        }
    }

    fn one_channel_opens(&mut self) {
        let open: Vec<_> = (0..self.links.len())
            .filter(|link| self.links[*link].open)
            .collect();
        let Some(link) = self.random.pick(&open) else {
            return;
        };
        if self.channels.len() >= MOST_CHANNELS {
            return;
        }
        let devices = [0, 1].map(|end| self.links[link].ends[end].device);
        let able = |device: &usize| {
            let d = &self.devices[*device];
            d.up && d.wallet.is_some() && !d.exchange.holding()
        };
        if !devices.iter().flatten().all(able) {
            return;
        }
        let nodes = [0, 1].map(|end| self.links[link].ends[end].node);
        let channel = self.channels.len();
        let value_sat = self.random.between(1, 50) * 10_000;
        self.channels.push(Channel {
            nodes,
            phase: ChannelPhase::Opening,
            commitments: 0,
            stamps: [0; 2],
            resolved: false,
            opened_on: link,
            value_sat,
        });
        self.note(|_| format!("channel {channel} of {nodes:?} opens"));
        self.counts.add("channels");
        let now = devices[1].map(|device| self.clock_of(device));
        if let (Some(device), Some(now)) = (devices[1], now) {
            let opening = Inbound::Opening(channel_id(channel));
            let verdict = self.devices[device]
                .exchange
                .inbound(now, node_id(nodes[0]), opening);
            assert_eq!(verdict, Verdict::Forward, "a channel cannot be opened");
        }
        self.note_funded();
        for device in devices.into_iter().flatten() {
            let local = Local {
                stamp: 0,
                commitments: 0,
            };
            if let Some(wallet) = &mut self.devices[device].wallet {
                wallet.insert(channel, local);
            }
            self.report_wallet(device);
        }
    }

    fn a_channel_becomes_ready(&mut self) {
        let opening: Vec<_> = (0..self.channels.len())
            .filter(|c| self.channels[*c].phase == ChannelPhase::Opening)
            .collect();
        let Some(channel) = self.random.pick(&opening) else {
            return;
        };
        let [a, b] = self.channels[channel].nodes;
        let live = self.link_between(a, b).is_some_and(|link| {
            let bit = 1 << channel;
            let both = self.links[link].ends.iter();
            self.channels[channel].opened_on == link
                || both.into_iter().all(|end| end.reestablished & bit != 0)
        });
        if !live {
            return;
        }
        self.note(|_| format!("channel {channel} is ready"));
        self.channels[channel].phase = ChannelPhase::Ready;
        let late = self.random.below(700) as u64;
        for (node, other) in [(a, b), (b, a)] {
            let at = self.now + late;
            self.nodes[node].keeper.channel_ready(other, at);
        }
        self.report_channel(channel);
    }

    fn someone_pays(&mut self) {
        let ready: Vec<_> = (0..self.channels.len())
            .filter(|c| self.channels[*c].phase == ChannelPhase::Ready)
            .collect();
        let Some(channel) = self.random.pick(&ready) else {
            return;
        };
        for _ in 0..1 + self.random.below(4) {
            self.pay(channel);
            let pause = self.random.between(0, 3_000);
            self.run_until(self.now + pause);
        }
    }

    fn pay(&mut self, channel: usize) {
        let Some(link) = self.is_live(channel) else {
            return;
        };
        let devices = [0, 1].map(|end| self.links[link].ends[end].device);
        let made = self.channels[channel].commitments;
        for device in devices.into_iter().flatten() {
            let d = &self.devices[device];
            let local = d.wallet.as_ref().and_then(|w| w.get(&channel));
            let in_step = local.is_some_and(|l| l.commitments == made);
            if !d.up || d.exchange.holding() || !in_step {
                return;
            }
        }
        self.counts.add("payments");
        self.channels[channel].commitments += 1;
        for device in devices.into_iter().flatten() {
            let moved = self.random.between(1, 3);
            let side = self.channels[channel].side_of(self.devices[device].node);
            let Some(wallet) = &mut self.devices[device].wallet else {
                continue;
            };
            if let Some(local) = wallet.get_mut(&channel) {
                local.commitments += 1;
                local.stamp += moved;
                self.channels[channel].stamps[side] = local.stamp;
            }
            self.report_wallet(device);
        }
        self.note(|_| format!("a payment over {channel}"));
    }

    fn a_channel_closes(&mut self) {
        let open: Vec<_> = (0..self.channels.len())
            .filter(|c| self.channels[*c].is_open())
            .collect();
        let Some(channel) = self.random.pick(&open) else {
            return;
        };
        self.note(|_| format!("channel {channel} closes"));
        self.note_funded();
        self.channels[channel].phase = ChannelPhase::Closing;
        self.report_channel(channel);
    }

    fn a_channel_is_buried(&mut self) {
        let closing: Vec<_> = (0..self.channels.len())
            .filter(|c| !self.channels[*c].resolved && !self.channels[*c].is_open())
            .collect();
        let Some(channel) = self.random.pick(&closing) else {
            return;
        };
        self.note(|_| format!("channel {channel} is buried"));
        self.channels[channel].resolved = true;
        for node in self.channels[channel].nodes {
            for device in self.nodes[node].devices.clone() {
                self.tell_resolved(device, channel);
                self.report_wallet(device);
            }
        }
    }

    fn report_channel(&mut self, channel: usize) {
        for node in self.channels[channel].nodes {
            for device in self.nodes[node].devices.clone() {
                self.report_wallet(device);
            }
        }
    }

    // ---- faults -----------------------------------------------------------------------------

    fn one_of_ours_crashes(&mut self) {
        let up: Vec<_> = (0..self.devices.len())
            .filter(|d| self.devices[*d].up)
            .collect();
        if let Some(device) = self.random.pick(&up) {
            self.losing = true;
            self.crash(device);
        }
    }

    fn someone_starts(&mut self) {
        let down: Vec<_> = (0..self.devices.len())
            .filter(|d| !self.devices[*d].up)
            .collect();
        let Some(device) = self.random.pick(&down) else {
            return;
        };
        if self.random.percent(30) {
            let jump = self.random.between(0, 400 * 24 * 3_600_000) as i64;
            self.devices[device].clock = jump - 30 * 24 * 3_600_000;
            self.counts.add("clock jumps");
        }
        self.start(device);
    }

    fn a_storer_crashes(&mut self) {
        let storers: Vec<_> = (0..self.nodes.len())
            .filter(|n| self.nodes[*n].kind != Kind::Ours)
            .collect();
        let Some(node) = self.random.pick(&storers) else {
            return;
        };
        self.note(|_| format!("storer {node} crashes"));
        self.counts.add("crashes of storers");
        self.losing = true;
        let kind = self.nodes[node].kind;
        self.nodes[node].keeper.crash(self.now, kind);
        for link in 0..self.links.len() {
            if self.links[link].open && self.links[link].has(node) {
                self.disconnect(link, false);
            }
        }
    }

    fn a_storer_writes(&mut self) {
        let node = self.random.below(self.nodes.len());
        if self.nodes[node].kind == Kind::Ldk {
            self.nodes[node].keeper.write_all();
        }
    }

    fn some_phone(&mut self) -> Option<usize> {
        let node = self.random.below(self.phones());
        let devices = self.nodes[node].devices.clone();
        self.random.pick(&devices)
    }

    fn kill(&mut self, device: usize) {
        if self.devices[device].up {
            self.crash(device);
        }
    }

    fn a_phone_is_wiped(&mut self) {
        let Some(device) = self.some_phone().filter(|_| self.faults.wipes) else {
            return;
        };
        self.kill(device);
        self.losing = true;
        self.counts.add("wiped phones");
        self.note(|_| format!("device {device} is wiped"));
        // Some wallets start an empty node beside the restore.
        let wallet = self.random.percent(25).then(Wallet::new);
        self.renew(device, wallet);
        self.start(device);
    }

    fn an_sdk_directory_is_lost(&mut self) {
        let Some(device) = self.some_phone().filter(|_| self.faults.wipes) else {
            return;
        };
        self.kill(device);
        self.losing = true;
        self.counts.add("lost SDK directories");
        self.note(|_| format!("device {device} loses its SDK directory"));
        let wallet = self.devices[device].wallet.clone();
        self.renew(device, wallet);
        self.start(device);
    }

    fn renew(&mut self, device: usize, wallet: Option<Wallet>) {
        let installation = self.random.next();
        let d = &mut self.devices[device];
        d.disk = Disk::new(installation);
        d.wallet = wallet;
        d.history.clear();
        d.disk_put_back = false;
        d.accepted.clear();
        d.app_data.clear();
        d.restored_monitors.clear();
    }

    fn a_second_device_is_set_up(&mut self) {
        if !self.faults.second_devices {
            return;
        }
        let node = self.random.below(self.phones());
        if self.nodes[node].devices.len() > 1 {
            return;
        }
        self.counts.add("second devices");
        let device = self.add_device(node, None);
        self.note(|_| format!("device {device} is a second one of {node}"));
        self.start(device);
    }

    fn the_os_makes_a_backup(&mut self) {
        if let Some(device) = self.some_phone() {
            let d = &mut self.devices[device];
            d.history.push((d.wallet.clone(), d.disk.clone()));
        }
    }

    fn the_os_puts_a_backup_back(&mut self) {
        let Some(device) = self.some_phone().filter(|_| self.faults.put_back) else {
            return;
        };
        let some = self.random.next() as usize;
        let history = &self.devices[device].history;
        let Some((wallet, disk)) = history.get(some % history.len().max(1)).cloned() else {
            return;
        };
        self.kill(device);
        self.losing = true;
        let both = self.random.percent(50);
        self.note(|_| format!("device {device} is put back, its SDK too: {both}"));
        let d = &mut self.devices[device];
        d.wallet = wallet.map(|wallet| {
            let resolved = |c: &usize| self.channels[*c].resolved;
            wallet.into_iter().filter(|(c, _)| !resolved(c)).collect()
        });
        if both {
            d.disk = disk;
            d.disk_put_back = true;
            d.restored_monitors.clear();
            d.accepted.clear();
        }
        self.counts.add(match both {
            true => "put back with the SDK",
            false => "put back without the SDK",
        });
        self.start(device);
    }

    // ---- hosts ------------------------------------------------------------------------------

    fn someone_goes_to_the_background(&mut self) {
        let up: Vec<_> = (0..self.devices.len())
            .filter(|d| self.devices[*d].up)
            .collect();
        if let Some(device) = self.random.pick(&up) {
            self.devices[device].state_pushes.hurry = true;
            match self.random.percent(70) {
                true => self.ask(device, |x, now| x.background(now)),
                false => self.ask(device, |x, now| x.push_now(now)),
            }
        }
    }

    fn app_data_changes(&mut self) {
        let Some(device) = self.some_phone().filter(|d| self.devices[*d].up) else {
            return;
        };
        let data = vec![self.random.next() as u8; self.random.below(2500)];
        self.devices[device].app_data = data.clone();
        self.ask(device, |x, now| x.app_data_changed(now, data));
    }

    fn blocks_come(&mut self) {
        let blocks = match self.random.below(8) {
            0 => self.random.between(1000, 2500) as u32,
            _ => self.random.between(1, 10) as u32,
        };
        self.note_funded();
        self.height += blocks;
        if self.random.percent(10) {
            self.height -= 2;
        }
        self.note_funded();
        let height = self.height;
        for device in 0..self.devices.len() {
            if self.devices[device].up {
                self.ask(device, |x, _| x.height_changed(height));
            }
        }
    }

    /// Notes at which height two nodes had an open channel.
    fn note_funded(&mut self) {
        for channel in self.channels.iter().filter(|c| c.is_open()) {
            let [a, b] = channel.nodes;
            self.funded_at.insert((a.min(b), a.max(b)), self.height);
        }
    }

    // ---- people -----------------------------------------------------------------------------

    fn the_person_decides(&mut self) {
        for device in 0..self.devices.len() {
            if self.devices[device].up && self.random.percent(60) {
                self.decide_the_past(device);
                self.decide_an_alarm(device);
            }
        }
    }

    pub fn decide_the_past(&mut self, device: usize) {
        if self.devices[device].knows_its_past() {
            return;
        }
        let wallet = self.devices[device].wallet.as_ref();
        if wallet.is_some_and(|wallet| !wallet.is_empty()) {
            let adopted = self.ask(device, |x, now| x.adopt(now));
            assert_eq!(adopted, Ok(()));
            self.counts.add("adoptions");
            self.note(|_| format!("device {device} is adopted"));
            return;
        }
        let report = self.ask(device, |x, now| x.finish_restore(now));
        let Ok(report) = report else { return };
        self.note(|_| format!("device {device} is restored"));
        self.counts.add("restores");
        self.rule_8_a_restore_takes_the_newest(device, &report);
        if self.devices[device].wallet.is_none() && self.random.percent(60) {
            self.devices[device].wallet = Some(Wallet::new());
            self.report_wallet(device);
        }
    }

    fn decide_an_alarm(&mut self, device: usize) {
        let alarms = self.devices[device].exchange.alarms().to_vec();
        let Some(alarm) = alarms.iter().find(|alarm| alarm.kind.holds()) else {
            return;
        };
        let behind = self.is_behind(device);
        let AlarmKind::StaleState { evidence, .. } = &alarm.kind else {
            return;
        };
        let proved = match evidence {
            Evidence::StampAhead { .. } => true,
            Evidence::Numbers { proved, .. } => proved.is_some(),
            Evidence::ChannelMissing { .. } => false,
        };
        let resolution = match self.random.below(3) {
            0 => Resolution::Recover,
            1 => Resolution::StayHeld,
            // The person knows whether the device is the one that was used last.
            _ if behind && !proved => Resolution::Recover,
            _ => Resolution::ThisDeviceIsCurrent,
        };
        let mut secret = None;
        if let Evidence::Numbers { channel_id, proved } = evidence {
            let current = resolution == Resolution::ThisDeviceIsCurrent;
            if let Some(proved) = proved {
                let mut channels = 0..self.channels.len();
                let channel = channels.find(|c| self::channel_id(*c) == *channel_id);
                secret = channel.map(|channel| (channel, *proved));
            } else if current {
                self.devices[device].disputed.insert(*channel_id);
            }
        }
        if self.resolve(device, alarm.id, resolution, behind, secret) {
            self.rule_6_the_stamps_decide(device, evidence);
        }
    }

    /// Whether the alarm is over. `secret`: the channel whose peer has proved that it is stale, and up to
    /// which state.
    fn resolve(
        &mut self,
        device: usize,
        id: AlarmId,
        resolution: Resolution,
        behind: bool,
        secret: Option<(usize, u64)>,
    ) -> bool {
        let result = self.ask(device, |x, now| x.resolve_alarm(now, id, resolution));
        self.note(|_| format!("device {device}: {resolution:?}: {result:?}"));
        if resolution != Resolution::ThisDeviceIsCurrent {
            assert_eq!(result, Ok(()));
        } else if result.is_ok() {
            self.counts.add("alarms: this device is current");
            let wallet = self.devices[device].wallet.as_ref();
            let local = |channel| wallet.and_then(|wallet| wallet.get(&channel));
            let behind = |(channel, proved)| local(channel).is_some_and(|l| l.commitments < proved);
            if secret.is_some_and(behind) {
                self.violated("rule 6: the person overrode a proof");
            }
        } else {
            self.counts.add("alarms: refused to go on");
            // With a secret it takes the peer to see that the right database is back.
            assert!(
                behind || secret.is_some(),
                "refused although nothing proves otherwise"
            );
        }
        resolution == Resolution::ThisDeviceIsCurrent && result.is_ok()
    }

    /// Whether some live channel of the device is behind what it has been.
    pub fn is_behind(&self, device: usize) -> bool {
        let d = &self.devices[device];
        d.wallet.iter().flatten().any(|(channel, local)| {
            let c = &self.channels[*channel];
            local.stamp < c.stamps[c.side_of(d.node)] || local.commitments < c.commitments
        })
    }
}

impl Faults {
    fn none() -> Self {
        Faults {
            liars: false,
            wipes: false,
            second_devices: false,
            put_back: false,
            healthy: true,
        }
    }

    fn drawn(world: &mut World) -> Self {
        if world.random.percent(35) {
            return Faults::none();
        }
        let random = &mut world.random;
        Faults {
            liars: random.percent(50),
            wipes: random.percent(60),
            second_devices: random.percent(30),
            put_back: random.percent(50),
            healthy: false,
        }
    }
}
