//! What goes into a blob that is too small for all of it.
//!
//! Channels come first: open before closing, then large before small. A channel of unknown value
//! counts as large, since nothing shows that it is small: the records that a restore brought back
//! have no values. Each channel brings its peer along. Peers without channels follow in their
//! order. What does not fit is passed over, and what comes after it may still fit.

use std::cmp::Reverse;

use bitcoin::secp256k1::PublicKey;

use super::essential::{channel_size, groups, Group, EMPTY_SIZE};
use super::snapshot::{ChannelIds, ChannelPhase, ChannelRecord, Snapshot};

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
