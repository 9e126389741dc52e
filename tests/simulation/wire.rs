//! Connections, and what the peers that run other software do with them.

use std::collections::VecDeque;

use ldk_peer_storage::backup::ChannelPhase;
use ldk_peer_storage::exchange::{Numbers, Outbound};

use super::blob::Bytes;
use super::names::channel_id;
use super::storer::Kind;
use super::world::World;

#[derive(Clone, Debug)]
pub enum Message {
    /// `peer_storage` (7).
    Store(Bytes),
    /// `peer_storage_retrieval` (9).
    Return(Bytes),
    /// `channel_reestablish` (136).
    Reestablish(usize, Numbers),
    Error(Option<usize>),
    Warning(&'static str),
    /// Any other message about a channel.
    Channel(usize),
}

impl Message {
    pub fn name(&self) -> String {
        match self {
            Message::Store(blob) => format!("7 of {} bytes", blob.len()),
            Message::Return(blob) => format!("9 of {} bytes", blob.len()),
            Message::Reestablish(channel, n) => {
                format!("136 for {channel} ({}, {})", n.next_local, n.next_remote)
            }
            Message::Error(channel) => format!("error for {channel:?}"),
            Message::Warning(text) => format!("warning: {text}"),
            Message::Channel(channel) => format!("a message for {channel}"),
        }
    }
}

/// One side of a connection.
#[derive(Default)]
pub struct End {
    pub node: usize,
    /// The device that stands for the node, where it is one of ours.
    pub device: Option<usize>,
    /// When the connection was made, by the device's clock.
    pub connected_at: u64,
    /// A 9 or a 136 has come.
    pub heard: bool,
    /// The 9 of this connection proved that this side is stale.
    pub proved_stale: bool,
    /// What the node's own handler wants to send, and may not yet.
    pub held: VecDeque<(Outbound, Message)>,
    /// What the other side sent, and the handler may not see yet.
    pub kept: VecDeque<Message>,
    /// Channels whose 136 this side has got (forwarded to the handler), as bits.
    pub reestablished: u128,
    /// Channels whose 136 this side has sent, as bits.
    pub sent_reestablish: u128,
    /// Channels whose numbers were found false here, as bits.
    pub lied_about: u128,
    /// Channels that were known with the peer when it connected, as bits.
    pub known_before: u128,
}

pub struct Link {
    pub open: bool,
    pub ends: [End; 2],
    pub inbox: [VecDeque<Message>; 2],
    pub arrives: [u64; 2],
}

impl Link {
    pub fn has(&self, node: usize) -> bool {
        self.ends.iter().any(|end| end.node == node)
    }

    pub fn end_of(&self, node: usize) -> usize {
        usize::from(self.ends[1].node == node)
    }
}

impl World {
    /// Connects two nodes; each is a device of ours or not.
    pub fn connect(&mut self, sides: [(usize, Option<usize>); 2]) {
        let (a, b) = (sides[0].0, sides[1].0);
        if let Some(old) = self.link_between(a, b) {
            self.disconnect(old, false);
        }
        let link = self.links.len();
        self.newest_link.insert((a.min(b), a.max(b)), link);
        let end = |(node, device)| End {
            node,
            device,
            ..End::default()
        };
        self.links.push(Link {
            open: true,
            ends: sides.map(end),
            inbox: Default::default(),
            arrives: [self.now; 2],
        });
        self.note(|_| format!("connection {link} between {a} and {b}"));
        self.counts.add("connections");
        for (end, (_, device)) in sides.into_iter().enumerate() {
            match device {
                Some(device) => self.device_connected(device, link, end),
                None => self.other_connected(link, end),
            }
        }
    }

    /// Ends a connection. `flush`: what is under way still arrives, as when a process dies; else it
    /// is lost with the network.
    pub fn disconnect(&mut self, link: usize, flush: bool) {
        if !self.links[link].open {
            return;
        }
        while flush && (0..2).any(|end| !self.links[link].inbox[end].is_empty()) {
            for end in 0..2 {
                self.deliver(link, end);
            }
        }
        if !self.links[link].open {
            return;
        }
        self.links[link].open = false;
        self.note(|_| format!("connection {link} ends"));
        for end in 0..2 {
            if let Some(device) = self.links[link].ends[end].device {
                self.device_disconnected(device, link, end);
            }
        }
        self.links[link].inbox = Default::default();
    }

    pub fn deliver(&mut self, link: usize, end: usize) {
        if !self.links[link].open {
            return;
        }
        let Some(message) = self.links[link].inbox[end].pop_front() else {
            return;
        };
        let (from, to) = (
            self.links[link].ends[1 - end].node,
            self.links[link].ends[end].node,
        );
        self.note(|_| format!("{to} gets from {from}: {}", message.name()));
        match self.links[link].ends[end].device {
            Some(device) => self.device_got(device, link, end, message),
            None => self.other_got(link, end, message),
        }
    }

    fn other_connected(&mut self, link: usize, end: usize) {
        let (node, owner) = (
            self.links[link].ends[end].node,
            self.links[link].ends[1 - end].node,
        );
        let kind = self.nodes[node].kind;
        let strangers = (0..self.nodes.len()).find_map(|other| {
            (other != owner)
                .then(|| self.nodes[node].keeper.kept(other))
                .flatten()
        });
        let returned =
            self.nodes[node]
                .keeper
                .returned(self.now, kind, owner, strangers, &mut self.random);
        if kind == Kind::Liar && self.random.percent(5) {
            self.counts.add("errors of liars");
            self.send(link, end, Message::Error(None));
        }
        if kind == Kind::Liar && self.random.percent(5) {
            for channel in self.open_channels(node, owner) {
                self.send(link, end, Message::Channel(channel));
            }
        }
        // Some repeat the error of a channel that they gave up, as soon as they are connected.
        if let Some(device) = self.links[link].ends[1 - end].device {
            for channel in self.open_channels(node, owner) {
                if self.is_stale(device, channel) && self.random.percent(30) {
                    let named = self.random.percent(50).then_some(channel);
                    self.counts.add("errors before the 136 of a stale device");
                    self.send(link, end, Message::Error(named));
                }
            }
        }
        if let Some(blob) = returned {
            let floods = kind == Kind::Liar && self.random.percent(10);
            for _ in 0..if floods { 20 } else { 1 } {
                self.send(link, end, Message::Return(blob.clone()));
            }
        }
        if !self.nodes[node].waits_for_reestablish {
            self.other_reestablishes(link, end, None);
        }
    }

    fn other_reestablishes(&mut self, link: usize, end: usize, only: Option<usize>) {
        let (node, owner) = (
            self.links[link].ends[end].node,
            self.links[link].ends[1 - end].node,
        );
        for channel in self.open_channels(node, owner) {
            let bit = 1 << channel;
            let done = self.links[link].ends[end].sent_reestablish & bit != 0;
            if done || only.is_some_and(|only| only != channel) {
                continue;
            }
            self.links[link].ends[end].sent_reestablish |= bit;
            let made = self.channels[channel].commitments;
            // It may have got a commitment whose revocation never arrived.
            let ahead = u64::from(self.random.percent(20));
            let lie = self.nodes[node].kind == Kind::Liar && self.random.percent(3);
            if let (true, Some(device)) = (lie, self.links[link].ends[1 - end].device) {
                self.devices[device].lied_to |= !World::checks_proofs(device);
                self.counts.add("numbers that are not true");
            }
            let numbers = Numbers {
                next_local: made + 1 + ahead,
                next_remote: made + if lie { 5 } else { 0 },
            };
            self.send(link, end, Message::Reestablish(channel, numbers));
        }
    }

    fn other_got(&mut self, link: usize, end: usize, message: Message) {
        let (node, owner) = (
            self.links[link].ends[end].node,
            self.links[link].ends[1 - end].node,
        );
        match message {
            Message::Store(blob) => {
                let funded = !self.open_channels(node, owner).is_empty();
                let kind = self.nodes[node].kind;
                let keeper = &mut self.nodes[node].keeper;
                if let Some(text) = keeper.store(self.now, kind, owner, funded, blob) {
                    self.send(link, end, Message::Warning(text));
                }
            }
            Message::Reestablish(channel, numbers) => {
                if self.nodes[node].waits_for_reestablish {
                    self.other_reestablishes(link, end, Some(channel));
                }
                let made = self.channels[channel].commitments;
                if numbers.next_remote < made {
                    self.counts.add("stale 136 that reached a peer");
                    self.send(link, end, Message::Error(Some(channel)));
                } else {
                    self.links[link].ends[end].reestablished |= 1 << channel;
                }
            }
            Message::Return(_) | Message::Error(_) | Message::Warning(_) => {}
            Message::Channel(_) => {}
        }
    }

    /// Whether payments can go over this channel now.
    pub fn is_live(&self, channel: usize) -> Option<usize> {
        let c = &self.channels[channel];
        let link = self.link_between(c.nodes[0], c.nodes[1])?;
        let bit = 1 << channel;
        let both = |end: &End| end.reestablished & bit != 0;
        let live = c.opened_on == link || self.links[link].ends.iter().all(both);
        (live && c.phase == ChannelPhase::Ready).then_some(link)
    }

    pub fn describe_outbound(message: &Message) -> Outbound {
        match message {
            Message::Reestablish(channel, numbers) => {
                Outbound::Reestablish(channel_id(*channel), *numbers)
            }
            Message::Channel(channel) => Outbound::Channel(channel_id(*channel)),
            Message::Error(channel) => Outbound::Error(channel.map(channel_id)),
            _ => Outbound::Other,
        }
    }
}
