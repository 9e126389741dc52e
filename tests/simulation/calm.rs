//! The end of a run: the faults stop, everyone connects a few times, and then all must be well.

use std::collections::BTreeMap;

use ldk_peer_storage::backup::{self, Revision, Tier};
use ldk_peer_storage::exchange::{Health, RestoreReport};

use super::blob::Meta;
use super::device::MonitorHost;
use super::names::{channel_of, node_id};
use super::storer::Kind;
use super::world::World;

/// Long enough for Eclair to write, for a capacity to be learned, for all retries.
const ROUND: u64 = 150_000;
const ROUNDS: usize = 5;
const MOST_ROUNDS: usize = 9;

impl World {
    pub fn calm_down(&mut self) {
        self.calm = true;
        self.note(|_| "calm".to_owned());
        for device in 0..self.devices.len() {
            if !self.devices[device].up {
                self.start(device);
            }
            self.decide_the_past(device);
        }
        for round in 0..MOST_ROUNDS {
            // A snapshot that waited for a large storer comes as soon as one is known.
            let before = self.newest_revisions();
            for link in 0..self.links.len() {
                self.disconnect(link, true);
            }
            for device in 0..self.devices.len() {
                let node = self.devices[device].node;
                for peer in 0..self.nodes.len() {
                    let known = self.known_channels(device, peer) != 0;
                    let connected = self.link_between(node, peer).is_some();
                    if peer != node && known && !connected {
                        self.connect_device(device, peer);
                    }
                }
            }
            self.run_until(self.now + ROUND);
            if round + 1 >= ROUNDS && self.newest_revisions() == before {
                break;
            }
        }
        self.check_liveness();
    }

    fn newest_revisions(&self) -> Vec<Option<Revision>> {
        let devices = self.devices.iter();
        devices
            .map(|d| d.exchange.snapshot().map(|s| s.revision))
            .collect()
    }

    fn check_liveness(&mut self) {
        for device in 0..self.devices.len() {
            let d = &self.devices[device];
            let alone = self.nodes[d.node].devices.len() == 1;
            let well = d.up && d.knows_its_past() && !d.exchange.holding();
            if !alone || !well || d.wallet.is_none() {
                continue;
            }
            for peer in 0..self.nodes.len() {
                let kind = self.nodes[peer].kind;
                let honest = kind != Kind::Liar && self.nodes[peer].offers_storage;
                let sees = self.device_sees_open_channel(device, peer);
                let mutual = self.nodes[peer].devices.len() <= 1
                    && self.nodes[peer].devices.iter().all(|other| {
                        // One that holds its 136 and has nothing to return lets no one push.
                        !self.devices[*other].exchange.holding()
                            && self.device_sees_open_channel(*other, self.devices[device].node)
                    });
                let node = self.devices[device].node;
                if peer != node
                    && honest
                    && sees
                    && mutual
                    && self.has_ready_channel(node, peer)
                    && self.link_between(node, peer).is_some()
                {
                    self.liveness_an_honest_storer_holds_the_newest(device, peer);
                }
            }
        }
    }

    fn liveness_an_honest_storer_holds_the_newest(&mut self, device: usize, peer: usize) {
        let d = &self.devices[device];
        let kind = self.nodes[peer].kind;
        let Some(snapshot) = d.exchange.snapshot() else {
            self.violated("liveness: a wallet with channels has no snapshot");
        };
        let kept = match kind {
            Kind::Ours => {
                let storer = self.nodes[peer].devices[0];
                self.newest_slot(storer, d.node)
            }
            _ => self.nodes[peer].keeper.kept(d.node),
        };
        let Some(kept) = kept.map(|blob| self.meta(&blob).clone()) else {
            self.violated(&format!("liveness: {kind:?} {peer} keeps nothing"));
        };
        if kept.revision != snapshot.revision {
            self.violated(&format!(
                "liveness: {kind:?} {peer} keeps {} instead of {}",
                kept.revision, snapshot.revision
            ));
        }
        let small = kind == Kind::Ldk && !backup::fits(snapshot, 1024);
        let tier = match small {
            true => Tier::Essential,
            false => Tier::Full,
        };
        if kept.tier != tier {
            self.violated(&format!("liveness: {kind:?} {peer} keeps {:?}", kept.tier));
        }
        let status = d.exchange.status();
        let id = node_id(peer);
        let Some(peer_status) = status.peers.iter().find(|p| p.node_id == id) else {
            self.violated("liveness: the status does not know a storer");
        };
        let verified = peer_status.verified.map(|v| (v.revision, v.tier));
        if verified != Some((snapshot.revision, tier)) || peer_status.health != Health::Verified {
            self.violated(&format!(
                "liveness: the status of {kind:?} {peer} says {:?} {verified:?}",
                peer_status.health
            ));
        }
        self.counts.add("storers that held the newest in the end");
        if kind != Kind::Ldk && self.devices[device].monitor_host == MonitorHost::Small {
            self.liveness_the_newest_monitors_are_there(device, &kept);
        }
    }

    /// Small ones always fit.
    fn liveness_the_newest_monitors_are_there(&mut self, device: usize, kept: &Meta) {
        for (channel, local) in self.devices[device].wallet.iter().flatten() {
            if !kept.monitors.contains(&(*channel, local.stamp)) {
                self.violated(&format!("liveness: the monitor of {channel} is not there"));
            }
        }
        self.counts
            .add("storers that held the newest monitors in the end");
    }

    /// The newest of all that were heard, whichever backup had it, and how far their channels had come.
    fn rule_8_a_restore_takes_the_newest_monitors(
        &mut self,
        device: usize,
        report: &RestoreReport,
    ) {
        let d = &self.devices[device];
        let mut newest: BTreeMap<usize, u64> = BTreeMap::new();
        let mut stamps: BTreeMap<usize, u64> = BTreeMap::new();
        for (_, blob) in &d.heard {
            for (all, heard) in [
                (&mut newest, &self.blobs[*blob].monitors),
                (&mut stamps, &self.blobs[*blob].stamps),
            ] {
                for (channel, state) in heard {
                    let known = all.entry(*channel).or_default();
                    *known = (*known).max(*state);
                }
            }
        }
        newest.retain(|channel, _| !self.channels[*channel].resolved);
        let told = report.monitors.iter();
        let told: BTreeMap<_, _> = told
            .map(|m| {
                (
                    channel_of(&m.channel),
                    (m.update_id, m.newest_known_update_id),
                )
            })
            .filter(|(channel, _)| !self.channels[*channel].resolved)
            .collect();
        let expected = newest.iter().map(|(c, state)| (*c, (*state, stamps[c])));
        if told != expected.collect() {
            self.violated(&format!("rule 8: {newest:?} were heard, and {told:?} told"));
        }
        if !newest.is_empty() {
            self.counts.add("restores with monitors");
        }
        self.devices[device].restored_monitors = newest;
    }

    pub fn rule_8_a_restore_takes_the_newest(&mut self, device: usize, report: &RestoreReport) {
        let heard = &self.devices[device].heard;
        let newest = heard
            .iter()
            .map(|(_, blob)| self.blobs[*blob].revision)
            .max();
        if report.newest != newest {
            self.violated(&format!(
                "rule 8: {:?} was taken and {newest:?} was heard",
                report.newest
            ));
        }
        let told = report.channels.iter().chain(&report.older_channels);
        let told = super::blob::channel_bits(told.map(|c| channel_of(&c.ids)));
        let mut lost = heard
            .iter()
            .fold(0, |all, (_, blob)| all | self.blobs[*blob].channels)
            & !told;
        for channel in 0..self.channels.len() {
            if self.channels[channel].resolved {
                lost &= !(1 << channel);
            }
        }
        if lost != 0 {
            self.violated("rule 8: a restore left out a channel that it had heard of");
        }
        self.rule_8_a_restore_takes_the_newest_monitors(device, report);
    }
}
