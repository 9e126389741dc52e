//! The records that the full tier adds to the essential one. Each can be left out on its own.
//!
//! ```text
//! spendable outputs = (length BigSize ‖ descriptor as LDK writes it)*
//! details           = for each channel of the essential record, in its order:
//!                     flags 1 ‖ [funding txid 32 ‖ index BigSize] ‖ [channel id 32] ‖ [value in sat BigSize]
//!                     ‖ [place BigSize in the snapshot's list of channels, where it is another]
//! addresses         = for each listed peer, in its order: count BigSize ‖ address* (as in BOLT #7)
//! monitors          = (channel id 32 ‖ flags 1 ‖ update id BigSize ‖ length BigSize
//!                     ‖ monitor as LDK writes it)*, at most one for each channel
//! flags (monitors)  = bit 0: HTLCs were pending
//! ```
//!
//! Details leave out the id that stands in the essential record. The short channel id always does
//! where it is known.

use std::collections::BTreeSet;
use std::sync::Arc;

use bitcoin::OutPoint;
use lightning::ln::msgs::{DecodeError, SocketAddress};
use lightning::sign::SpendableOutputDescriptor;
use lightning::util::ser::{BigSize, Readable, Writeable};

use super::essential::{carries_channel_id, carries_funding, Group};
use super::snapshot::{ChannelRecord, MonitorRecord, PeerRecord};

const FUNDING: u8 = 1;
const CHANNEL_ID: u8 = 1 << 1;
const VALUE: u8 = 1 << 2;
const PLACE: u8 = 1 << 3;

const PENDING_HTLCS: u8 = 1;

/// `None` without outputs.
pub(super) fn write_outputs(outputs: &[SpendableOutputDescriptor]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for output in outputs {
        let output = output.encode();
        out.extend(BigSize(output.len() as u64).encode());
        out.extend(output);
    }
    (!out.is_empty()).then_some(out)
}

pub(super) fn read_outputs(
    mut bytes: &[u8],
) -> Result<Vec<SpendableOutputDescriptor>, DecodeError> {
    let mut outputs = Vec::new();
    while !bytes.is_empty() {
        let mut output = read_counted(&mut bytes)?;
        let descriptor = Readable::read(&mut output)?;
        ensure_empty(output)?;
        ensure_writeable(&descriptor)?;
        outputs.push(descriptor);
    }
    Ok(outputs)
}

/// LDK reads a channel type with optional bits, which no channel has (BOLT #2, `channel_type`), and asserts
/// that there is none when it writes.
fn ensure_writeable(output: &SpendableOutputDescriptor) -> Result<(), DecodeError> {
    let parameters = match output {
        SpendableOutputDescriptor::StaticOutput { .. } => &None,
        SpendableOutputDescriptor::DelayedPaymentOutput(output) => {
            &output.channel_transaction_parameters
        }
        SpendableOutputDescriptor::StaticPaymentOutput(output) => {
            &output.channel_transaction_parameters
        }
    };
    match parameters {
        Some(parameters)
            if parameters
                .channel_type_features
                .supports_any_optional_bits() =>
        {
            Err(DecodeError::InvalidValue)
        }
        _ => Ok(()),
    }
}

/// `None` where there is nothing to add to the essential record.
pub(super) fn write_details(groups: &[Group], channels: &[ChannelRecord]) -> Option<Vec<u8>> {
    let written: Vec<usize> = groups.iter().flat_map(|g| &g.channels).copied().collect();
    let mut in_snapshot = written.clone();
    in_snapshot.sort_unstable();

    let mut out = Vec::new();
    let mut any = false;
    for (place_here, channel) in written.iter().enumerate() {
        let place = in_snapshot.partition_point(|other| other < channel);
        let place = (place != place_here).then_some(place as u64);
        any |= write_channel_details(&channels[*channel], place, &mut out);
    }
    any.then_some(out)
}

/// Whether there is anything but an empty entry.
fn write_channel_details(channel: &ChannelRecord, place: Option<u64>, out: &mut Vec<u8>) -> bool {
    let ids = &channel.ids;
    let funding = ids.funding_outpoint.filter(|_| !carries_funding(ids));
    let channel_id = ids.channel_id.filter(|_| !carries_channel_id(ids));
    let value = channel.value_sat;

    let flags = funding.map_or(0, |_| FUNDING)
        | channel_id.map_or(0, |_| CHANNEL_ID)
        | value.map_or(0, |_| VALUE)
        | place.map_or(0, |_| PLACE);
    out.push(flags);
    if let Some(funding) = funding {
        out.extend(funding.txid.encode());
        out.extend(BigSize(funding.vout.into()).encode());
    }
    if let Some(channel_id) = channel_id {
        out.extend(channel_id.encode());
    }
    for number in value.into_iter().chain(place) {
        out.extend(BigSize(number).encode());
    }
    flags != 0
}

/// Completes the channels of the essential record, and puts them into the order of the snapshot.
pub(super) fn read_details(
    mut bytes: &[u8],
    mut channels: Vec<ChannelRecord>,
) -> Result<Vec<ChannelRecord>, DecodeError> {
    let mut places = Vec::with_capacity(channels.len());
    for (place_here, channel) in channels.iter_mut().enumerate() {
        let place = read_channel_details(&mut bytes, channel)?;
        places.push(place.unwrap_or(place_here as u64));
    }
    ensure_empty(bytes)?;

    let mut placed: Vec<_> = places.into_iter().zip(channels).collect();
    placed.sort_by_key(|(place, _)| *place);
    if placed.iter().zip(0..).any(|((place, _), i)| *place != i) {
        return Err(DecodeError::InvalidValue);
    }
    Ok(placed.into_iter().map(|(_, channel)| channel).collect())
}

/// The channel's place in the snapshot, where it is not that in the essential record.
fn read_channel_details(
    bytes: &mut &[u8],
    channel: &mut ChannelRecord,
) -> Result<Option<u64>, DecodeError> {
    let flags: u8 = Readable::read(bytes)?;
    if flags & !(FUNDING | CHANNEL_ID | VALUE | PLACE) != 0 {
        return Err(DecodeError::UnknownRequiredFeature);
    }
    if flags & FUNDING != 0 {
        let txid = Readable::read(bytes)?;
        let index = u32::try_from(BigSize::read(bytes)?.0);
        let index = index.map_err(|_| DecodeError::InvalidValue)?;
        set(
            &mut channel.ids.funding_outpoint,
            OutPoint::new(txid, index),
        )?;
    }
    if flags & CHANNEL_ID != 0 {
        set(&mut channel.ids.channel_id, Readable::read(bytes)?)?;
    }
    if flags & VALUE != 0 {
        channel.value_sat = Some(BigSize::read(bytes)?.0);
    }
    if flags & PLACE != 0 {
        return Ok(Some(BigSize::read(bytes)?.0));
    }
    Ok(None)
}

/// An id that stands in two records could differ between them.
fn set<T>(id: &mut Option<T>, value: T) -> Result<(), DecodeError> {
    match id.replace(value) {
        None => Ok(()),
        Some(_) => Err(DecodeError::InvalidValue),
    }
}

/// All addresses but the first of each peer. `None` without any.
pub(super) fn write_addresses(groups: &[Group]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut any = false;
    for peer in groups.iter().filter_map(|group| group.peer) {
        let further = peer.addresses.get(1..).unwrap_or_default();
        out.extend(BigSize(further.len() as u64).encode());
        for address in further {
            out.extend(address.encode());
            any = true;
        }
    }
    any.then_some(out)
}

pub(super) fn read_addresses(
    mut bytes: &[u8],
    peers: &mut [PeerRecord],
) -> Result<(), DecodeError> {
    for peer in peers {
        for _ in 0..BigSize::read(&mut bytes)?.0 {
            peer.addresses.push(SocketAddress::read(&mut bytes)?);
        }
    }
    ensure_empty(bytes)
}

/// The bytes that the monitor takes in its record.
pub(super) fn monitor_size(monitor: &MonitorRecord) -> usize {
    let numbers = [monitor.update_id, monitor.bytes.len() as u64];
    let numbers = numbers.map(|number| BigSize(number).serialized_length());
    32 + 1 + numbers.iter().sum::<usize>() + monitor.bytes.len()
}

/// `None` without monitors.
pub(super) fn write_monitors(monitors: &[&MonitorRecord]) -> Option<Vec<u8>> {
    let size = monitors.iter().map(|monitor| monitor_size(monitor)).sum();
    // All at once: growing would leave copies behind.
    let mut out = Vec::with_capacity(size);
    for monitor in monitors {
        out.extend(monitor.channel.0);
        out.push(if monitor.pending_htlcs {
            PENDING_HTLCS
        } else {
            0
        });
        out.extend(BigSize(monitor.update_id).encode());
        out.extend(BigSize(monitor.bytes.len() as u64).encode());
        out.extend_from_slice(&monitor.bytes);
    }
    (!out.is_empty()).then_some(out)
}

pub(super) fn read_monitors(mut bytes: &[u8]) -> Result<Vec<MonitorRecord>, DecodeError> {
    let mut monitors = Vec::new();
    let mut seen = BTreeSet::new();
    while !bytes.is_empty() {
        let channel = Readable::read(&mut bytes)?;
        let flags: u8 = Readable::read(&mut bytes)?;
        if flags & !PENDING_HTLCS != 0 {
            return Err(DecodeError::UnknownRequiredFeature);
        }
        let update_id = BigSize::read(&mut bytes)?.0;
        let monitor = read_counted(&mut bytes)?;
        // Which of two would count?
        if !seen.insert(channel) {
            return Err(DecodeError::InvalidValue);
        }
        monitors.push(MonitorRecord {
            channel,
            update_id,
            pending_htlcs: flags & PENDING_HTLCS != 0,
            bytes: Arc::new(monitor.to_vec().into()),
        });
    }
    Ok(monitors)
}

/// Bytes after their length.
fn read_counted<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let length = usize::try_from(BigSize::read(bytes)?.0);
    let length = length.map_err(|_| DecodeError::ShortRead)?;
    let (counted, rest) = bytes
        .split_at_checked(length)
        .ok_or(DecodeError::ShortRead)?;
    *bytes = rest;
    Ok(counted)
}

fn ensure_empty(bytes: &[u8]) -> Result<(), DecodeError> {
    if bytes.is_empty() {
        Ok(())
    } else {
        Err(DecodeError::InvalidValue)
    }
}
