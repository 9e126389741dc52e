//! What a recovery tells while it goes on.

use std::fmt;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{FeeRate, Txid};

use super::journal::Way;
use crate::backup::ChannelIds;

/// Something has happened in a recovery.
///
/// | event | what is then true, and what the app does |
/// |---|---|
/// | `Asked` | the peer was reached and asked to close; the chain will show whether it did |
/// | `NotReached` | nobody answered; tried again by itself. After days: find another address of the peer |
/// | `NotNamed` | the peer answered, but names no channel by which it may be asked for those that were agreed to: it has forgotten them, or names others beside them that only the chain could tell apart. Tried again by itself; [`plan_again`](super::Recovery::plan_again) shows what it names |
/// | `Closing`, `Closed` | the close is in the mempool, in the chain; sat: what of it is ours |
/// | `Reopened` | a reorganisation, or a better look, has taken a close away again: the peer is asked again by itself |
/// | `NothingOfOurs` | the close is buried, and nothing in it can be swept: not recognised, or too small for any fee rate. Its backup stays, and it can be agreed to again |
/// | `Sweeping` | a sweep was handed to the network |
/// | `SweepToOldAddress` | the person has changed the address, and the sweep to the one before pays as much as the person allows: it may confirm there. Agree again, with a highest fee rate of `needs` or more: then it is replaced |
/// | `SweepStuck` | it pays as much as the person allows, and is not in the chain |
/// | `SweepRefused` | the network does not take it; tried again by itself |
/// | `TooDear` | an output waits because the first fee rate would eat it. Agree again, with one below `below` |
/// | `Left` | an output is not swept, and nobody waits for it any more |
/// | `Over` | what was ours is at the person's address and buried |
/// | `OverByScript` | the same, of what was found by our scripts; nothing proves that it was this channel's. Its backup stays: keep the data directory |
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecoveryEvent {
    /// A peer was asked to close its channels.
    Asked {
        /// The peer.
        peer: PublicKey,
        /// How.
        way: Way,
    },
    /// A peer could not be asked.
    NotReached {
        /// The peer.
        peer: PublicKey,
        /// How often in a row.
        times: u32,
        /// Why.
        why: String,
    },
    /// A peer was reached and not asked: by the channels that it names it may be asked for none.
    NotNamed {
        /// The peer.
        peer: PublicKey,
        /// How often in a row it was not asked, or not reached.
        times: u32,
    },
    /// The close of a channel is in the mempool.
    Closing {
        /// The channel.
        channel: ChannelIds,
        /// The transaction.
        txid: Txid,
    },
    /// The close of a channel is in the chain.
    Closed {
        /// The channel.
        channel: ChannelIds,
        /// The transaction.
        txid: Txid,
        /// What of it is ours, in sat.
        ours_sat: u64,
    },
    /// A reorganisation has taken a close out of the chain again, or what was found by our scripts is no
    /// longer taken for this channel's.
    Reopened {
        /// The channel.
        channel: ChannelIds,
    },
    /// A sweep was handed to the network.
    Sweeping {
        /// The transaction.
        txid: Txid,
        /// What it brings to the person's address, in sat.
        sat: u64,
        /// What it costs, in sat.
        fee_sat: u64,
        /// It replaces one that paid less.
        raised: bool,
    },
    /// A sweep waits although it pays as much as the person allows.
    SweepStuck {
        /// The transaction.
        txid: Txid,
    },
    /// A sweep waits that goes to an address agreed to before, and cannot be replaced at the fee rate that
    /// the person allows.
    SweepToOldAddress {
        /// The transaction.
        txid: Txid,
        /// The highest fee rate has to be this at least.
        needs: FeeRate,
    },
    /// The network did not take a sweep.
    SweepRefused {
        /// The transaction.
        txid: Txid,
        /// In the words of the chain source.
        reason: String,
    },
    /// A channel has ended, and nothing in its close can be swept, as far as is known.
    NothingOfOurs {
        /// The channel.
        channel: ChannelIds,
    },
    /// An output of ours is in the chain, and is not swept because the fee would eat it. Told once after
    /// each consent.
    TooDear {
        /// What it is worth, in sat.
        sat: u64,
        /// Below this fee rate it is swept.
        below: FeeRate,
    },
    /// An output of ours is not swept, and does not keep the recovery from being done. Told once in a run.
    Left {
        /// What it is worth, in sat.
        sat: u64,
        /// Why.
        why: WhyLeft,
    },
    /// A channel is over: what was ours is swept and buried.
    Over {
        /// The channel.
        channel: ChannelIds,
    },
    /// What was found by our scripts and taken for a channel's close is swept and buried, and the peer
    /// does not name the channel any more.
    OverByScript {
        /// The channel.
        channel: ChannelIds,
    },
}

/// Why an output of ours is left where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyLeft {
    /// It costs more than it brings at any fee rate that the network relays.
    TooSmall,
    /// The backup names it, and the chain has not had its transaction for a day (144 blocks).
    NotInChain,
    /// No key of this wallet can sign for it.
    NoKey,
}

// For logs: nothing that names a peer, a channel or a transaction.
impl fmt::Display for RecoveryEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecoveryEvent::Asked { way, .. } => write!(f, "a peer was asked to close ({way:?})"),
            RecoveryEvent::NotReached { times, why, .. } => {
                write!(f, "a peer was not reached, {times} times in a row: {why}")
            }
            RecoveryEvent::NotNamed { times, .. } => {
                write!(
                    f,
                    "a peer named no channel to ask for, {times} times in a row"
                )
            }
            RecoveryEvent::Closing { .. } => write!(f, "a channel closes"),
            RecoveryEvent::Closed { ours_sat, .. } => {
                write!(f, "a channel was closed; {ours_sat} sat of it are ours")
            }
            RecoveryEvent::Reopened { .. } => write!(f, "a close has left the chain"),
            RecoveryEvent::Sweeping { sat, fee_sat, .. } => {
                write!(f, "{sat} sat are swept for a fee of {fee_sat} sat")
            }
            RecoveryEvent::SweepStuck { .. } => write!(f, "a sweep does not confirm"),
            RecoveryEvent::SweepToOldAddress { needs, .. } => {
                let needs = needs.to_sat_per_kwu();
                write!(
                    f,
                    "a sweep to the address before cannot be replaced below {needs} sat per kwu"
                )
            }
            RecoveryEvent::SweepRefused { reason, .. } => {
                write!(f, "the network refused a sweep: {reason}")
            }
            RecoveryEvent::NothingOfOurs { .. } => {
                write!(f, "a channel closed, and nothing in it can be swept")
            }
            RecoveryEvent::TooDear { sat, below } => {
                let below = below.to_sat_per_kwu();
                write!(
                    f,
                    "{sat} sat wait for a first fee rate below {below} sat per kwu"
                )
            }
            RecoveryEvent::Left { sat, why } => write!(f, "{sat} sat are left: {why}"),
            RecoveryEvent::Over { .. } => write!(f, "a channel is over"),
            RecoveryEvent::OverByScript { .. } => {
                write!(f, "what was found of a channel is swept; its backup stays")
            }
        }
    }
}

impl fmt::Debug for RecoveryEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecoveryEvent({self})")
    }
}

impl fmt::Display for WhyLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WhyLeft::TooSmall => "too small for any fee rate",
            WhyLeft::NotInChain => "the chain does not have it",
            WhyLeft::NoKey => "no key of this wallet signs for it",
        })
    }
}
