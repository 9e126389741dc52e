//! What a recovery tells while it goes on.

use ldk_peer_storage::recovery as core;

use crate::callbacks::CallbackError;
use crate::wallet::ChannelIds;

/// Is told what happens in a recovery.
///
/// Called by the thread of the SDK that calls all listeners, in the order of what happens, with nothing locked.
/// It may call the SDK. After a restart some is told again.
#[uniffi::export(foreign)]
pub trait RecoveryListener: Send + Sync {
    /// Something has happened, and is durable.
    fn on_event(&self, event: RecoveryEvent) -> Result<(), CallbackError>;
}

/// Something has happened in a recovery.
#[derive(Clone, PartialEq, Eq, uniffi::Enum)]
#[non_exhaustive]
pub enum RecoveryEvent {
    /// A peer was reached and asked to close its channels. The chain will show whether it does.
    Asked {
        /// The peer's node id, in hex.
        peer: String,
    },
    /// A peer could not be asked. Tried again by itself; after days: find another address of the peer.
    NotReached {
        /// The peer's node id, in hex.
        peer: String,
        /// How often in a row.
        times: u32,
        /// Why, for logs.
        reason: String,
    },
    /// A peer was reached and not asked: by the channels that it names it may be asked for none. Tried again by
    /// itself; `plan` shows what it names.
    NotNamed {
        /// The peer's node id, in hex.
        peer: String,
        /// How often in a row it was not asked, or not reached.
        times: u32,
    },
    /// The close of a channel is in the mempool.
    Closing {
        /// The channel.
        channel: ChannelIds,
        /// The id of the transaction.
        txid: String,
    },
    /// The close of a channel is in the chain.
    Closed {
        /// The channel.
        channel: ChannelIds,
        /// The id of the transaction.
        txid: String,
        /// What of it is ours, in sat.
        ours_sat: u64,
    },
    /// A reorganisation, or a better look, has taken a close away again. The peer is asked again by itself.
    Reopened {
        /// The channel.
        channel: ChannelIds,
    },
    /// A sweep was handed to the network.
    Sweeping {
        /// The id of the transaction.
        txid: String,
        /// What it brings to the person's address, in sat.
        amount_sat: u64,
        /// What it costs, in sat.
        fee_sat: u64,
        /// It replaces one that paid less.
        raised: bool,
    },
    /// A sweep waits although it pays as much as the person allows.
    SweepStuck {
        /// The id of the transaction.
        txid: String,
    },
    /// A sweep waits that goes to an address agreed to before. Agree again with a highest fee rate of
    /// `needs_sat_per_kwu` or more: then it is replaced.
    SweepToOldAddress {
        /// The id of the transaction.
        txid: String,
        /// In sat per 1000 weight units.
        needs_sat_per_kwu: u64,
    },
    /// The network did not take a sweep. Tried again by itself.
    SweepRefused {
        /// The id of the transaction.
        txid: String,
        /// In the words of the chain source, for logs.
        reason: String,
    },
    /// A channel has ended, and nothing in its close can be swept, as far as is known. Its backup stays.
    NothingOfOurs {
        /// The channel.
        channel: ChannelIds,
    },
    /// An output of ours is not swept because the fee would eat it. Agree again, with a first fee rate below.
    TooDear {
        /// What it is worth, in sat.
        amount_sat: u64,
        /// Below this fee rate it is swept, in sat per 1000 weight units.
        below_sat_per_kwu: u64,
    },
    /// An output of ours is not swept, and nobody waits for it any more.
    Left {
        /// What it is worth, in sat.
        amount_sat: u64,
        /// Why.
        why: WhyLeft,
    },
    /// A channel is over: what was ours is at the person's address and buried.
    Over {
        /// The channel.
        channel: ChannelIds,
    },
    /// The same, of what was found by our scripts; nothing proves that it was this channel's. Its backup stays:
    /// keep the data directory.
    OverByScript {
        /// The channel.
        channel: ChannelIds,
    },
}

/// Why an output of ours is left where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum WhyLeft {
    /// It costs more than it brings at any fee rate that the network relays.
    TooSmall,
    /// The backup names it, and the chain has not had its transaction for a day (144 blocks).
    NotInChain,
    /// No key of this wallet can sign for it.
    NoKey,
    /// For a reason that this version of the bindings does not name.
    Other,
}

/// None: an event that this version of the bindings does not know.
pub(crate) fn event(event: &core::RecoveryEvent) -> Option<RecoveryEvent> {
    use core::RecoveryEvent as Core;
    use RecoveryEvent as E;
    Some(match event.clone() {
        Core::Asked { peer, .. } => E::Asked {
            peer: peer.to_string(),
        },
        Core::NotReached { peer, times, why } => E::NotReached {
            peer: peer.to_string(),
            times,
            reason: why,
        },
        Core::NotNamed { peer, times } => E::NotNamed {
            peer: peer.to_string(),
            times,
        },
        Core::Closing { channel, txid } => E::Closing {
            channel: channel.into(),
            txid: txid.to_string(),
        },
        Core::Closed {
            channel,
            txid,
            ours_sat,
        } => E::Closed {
            channel: channel.into(),
            txid: txid.to_string(),
            ours_sat,
        },
        Core::Reopened { channel } => E::Reopened {
            channel: channel.into(),
        },
        Core::Sweeping {
            txid,
            sat,
            fee_sat,
            raised,
        } => E::Sweeping {
            txid: txid.to_string(),
            amount_sat: sat,
            fee_sat,
            raised,
        },
        Core::SweepStuck { txid } => E::SweepStuck {
            txid: txid.to_string(),
        },
        Core::SweepToOldAddress { txid, needs } => E::SweepToOldAddress {
            txid: txid.to_string(),
            needs_sat_per_kwu: needs.to_sat_per_kwu(),
        },
        Core::SweepRefused { txid, reason } => E::SweepRefused {
            txid: txid.to_string(),
            reason,
        },
        Core::NothingOfOurs { channel } => E::NothingOfOurs {
            channel: channel.into(),
        },
        Core::TooDear { sat, below } => E::TooDear {
            amount_sat: sat,
            below_sat_per_kwu: below.to_sat_per_kwu(),
        },
        Core::Left { sat, why } => E::Left {
            amount_sat: sat,
            why: match why {
                core::WhyLeft::TooSmall => WhyLeft::TooSmall,
                core::WhyLeft::NotInChain => WhyLeft::NotInChain,
                core::WhyLeft::NoKey => WhyLeft::NoKey,
                _ => WhyLeft::Other,
            },
        },
        Core::Over { channel } => E::Over {
            channel: channel.into(),
        },
        Core::OverByScript { channel } => E::OverByScript {
            channel: channel.into(),
        },
        _ => return None,
    })
}
