//! What goes into a blob that is too small for all of it.
//!
//! Channels come first: open before closing, then large before small. A channel of unknown value
//! counts as large, since nothing shows that it is small: the records that a restore brought back
//! have no values. Each channel brings its peer along. Peers without channels follow in their
//! order. What does not fit is passed over, and what comes after it may still fit.
//!
//! Monitors take the room that everything else leaves: first those with HTLCs pending, then those of
//! large channels; of two that are alike in this, the one that is up to its channel's state stamp.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::types::ChannelId;

use super::essential::{channel_size, groups, Group, EMPTY_SIZE};
use super::full::monitor_size;
use super::snapshot::{ChannelIds, ChannelPhase, ChannelRecord, MonitorRecord, Snapshot};

/// The essentials that fit.
pub(super) struct Fitting<'a> {
    pub(super) groups: Vec<Group<'a>>,
    pub(super) omitted_channels: Vec<ChannelIds>,
    pub(super) omitted_peers: Vec<PublicKey>,
}

/// Chooses what goes into an essential record of at most `room` bytes.
pub(super) fn fit(snapshot: &Snapshot, room: usize) -> Fitting<'_> {
    let mut groups = groups(snapshot);
    let mut group_of = vec![0; snapshot.channels.len()];
    for (place, group) in groups.iter().enumerate() {
        for channel in &group.channels {
            group_of[*channel] = place;
        }
    }

    let mut left = room.saturating_sub(EMPTY_SIZE);
    let mut taken: Vec<Option<usize>> = vec![None; groups.len()];
    let mut omitted = Vec::new();
    for channel in by_priority(&snapshot.channels) {
        let (group, count) = (&groups[group_of[channel]], &mut taken[group_of[channel]]);
        let before = count.map_or(0, |count| group.head_size(count));
        let with_it = count.unwrap_or(0) + 1;
        let size = group.head_size(with_it) - before + channel_size(&snapshot.channels[channel]);
        if size <= left {
            left -= size;
            *count = Some(with_it);
        } else {
            omitted.push(channel);
        }
    }

    let mut omitted_peers = Vec::new();
    for (group, count) in groups.iter().zip(&mut taken) {
        if count.is_some() || group.peer.is_none() {
            continue;
        }
        let size = group.head_size(0);
        if size <= left {
            left -= size;
            *count = Some(0);
        } else {
            omitted_peers.push(group.node_id);
        }
    }

    let mut is_omitted = vec![false; snapshot.channels.len()];
    for channel in &omitted {
        is_omitted[*channel] = true;
    }
    for group in &mut groups {
        group.channels.retain(|channel| !is_omitted[*channel]);
    }
    let mut taken = taken.into_iter();
    groups.retain(|_| taken.next().flatten().is_some());
    Fitting {
        groups,
        omitted_channels: omitted.iter().map(|c| snapshot.channels[*c].ids).collect(),
        omitted_peers,
    }
}

/// Places in `channels`, the most important first.
fn by_priority(channels: &[ChannelRecord]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..channels.len()).collect();
    order.sort_by_key(|place| {
        let channel = &channels[*place];
        let closing = channel.phase == ChannelPhase::Closing;
        (closing, Reverse(channel.value_sat.unwrap_or(u64::MAX)))
    });
    order
}

/// The monitors that fit.
pub(super) struct FittingMonitors<'a> {
    /// In their order.
    pub(super) kept: Vec<&'a MonitorRecord>,
    /// The most important first.
    pub(super) dropped: Vec<ChannelId>,
}

/// Chooses what goes into a record of monitors of at most `room` bytes. `omitted`: channels that the
/// blob does not name, so that it cannot have their monitors.
pub(super) fn fit_monitors<'a>(
    snapshot: &'a Snapshot,
    omitted: &[ChannelIds],
    room: usize,
) -> FittingMonitors<'a> {
    let monitors = one_for_each_channel(&snapshot.monitors);
    let channel_of = |monitor: &MonitorRecord| {
        let ids = monitor.ids();
        let mut channels = snapshot.channels.iter();
        channels.find(|channel| channel.ids.matches(&ids))
    };
    let mut order: Vec<usize> = (0..monitors.len()).collect();
    order.sort_by_key(|place| {
        let monitor = monitors[*place];
        let channel = channel_of(monitor);
        let value = channel.map_or(0, |channel| channel.value_sat.unwrap_or(u64::MAX));
        let is_behind = channel.is_none_or(|channel| monitor.update_id < channel.update_id);
        (!monitor.pending_htlcs, Reverse(value), is_behind)
    });

    let mut left = room;
    let mut is_kept = vec![false; monitors.len()];
    let mut dropped = Vec::new();
    for place in order {
        let (monitor, ids) = (monitors[place], monitors[place].ids());
        let size = monitor_size(monitor);
        if size <= left && !omitted.iter().any(|omitted| omitted.matches(&ids)) {
            left -= size;
            is_kept[place] = true;
        } else {
            dropped.push(monitor.channel);
        }
    }
    let places = monitors.into_iter().zip(is_kept);
    FittingMonitors {
        kept: places.filter_map(|(m, kept)| kept.then_some(m)).collect(),
        dropped,
    }
}

/// The newest of each channel: a record with two could not be read back.
fn one_for_each_channel(monitors: &[MonitorRecord]) -> Vec<&MonitorRecord> {
    let mut newest: BTreeMap<ChannelId, usize> = BTreeMap::new();
    for (place, monitor) in monitors.iter().enumerate() {
        let known = newest.entry(monitor.channel).or_insert(place);
        if monitors[*known].update_id < monitor.update_id {
            *known = place;
        }
    }
    let is_newest = |(place, monitor): &(usize, &MonitorRecord)| newest[&monitor.channel] == *place;
    let places = monitors.iter().enumerate().filter(is_newest);
    places.map(|(_, monitor)| monitor).collect()
}
