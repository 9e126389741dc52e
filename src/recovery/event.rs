//! What a recovery tells while it goes on.

use std::fmt;

use bitcoin::secp256k1::PublicKey;
use bitcoin::Txid;

use super::journal::Way;
use crate::backup::ChannelIds;

/// Something has happened in a recovery.
///
/// | event | what is then true, and what the app does |
/// |---|---|
/// | `Asked` | the peer was reached and asked to close; the chain will show whether it did |
/// | `NotReached` | nobody answered; tried again by itself. After days: find another address of the peer |
/// | `Closing`, `Closed` | the close is in the mempool, in the chain; sat: what of it is ours |
/// | `NothingOfOurs` | the close is buried, and nothing in it can be swept: not recognised, or too small for the fee rate. Its backup stays, and it can be agreed to again |
/// | `Sweeping` | a sweep was handed to the network |
/// | `SweepStuck` | it pays as much as the person allows, and is not in the chain |
/// | `SweepRefused` | the network does not take it; tried again by itself |
/// | `Over` | what was ours is at the person's address and buried |
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// A reorganisation has taken a close out of the chain again.
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
    /// A channel is over: what was ours is swept and buried.
    Over {
        /// The channel.
        channel: ChannelIds,
    },
}

// For logs: no channel ids.
impl fmt::Display for RecoveryEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecoveryEvent::Asked { peer, way } => write!(f, "asked {peer} to close ({way:?})"),
            RecoveryEvent::NotReached { peer, times, why } => {
                write!(f, "{peer} was not reached, {times} times in a row: {why}")
            }
            RecoveryEvent::Closing { txid, .. } => write!(f, "a channel closes with {txid}"),
            RecoveryEvent::Closed { txid, ours_sat, .. } => {
                write!(f, "{txid} closed a channel; {ours_sat} sat of it are ours")
            }
            RecoveryEvent::Reopened { .. } => write!(f, "a close has left the chain"),
            RecoveryEvent::Sweeping {
                txid, sat, fee_sat, ..
            } => write!(f, "{txid} sweeps {sat} sat for a fee of {fee_sat} sat"),
            RecoveryEvent::SweepStuck { txid } => write!(f, "{txid} does not confirm"),
            RecoveryEvent::SweepRefused { txid, reason } => {
                write!(f, "the network refused {txid}: {reason}")
            }
            RecoveryEvent::NothingOfOurs { .. } => write!(f, "a channel closed without us"),
            RecoveryEvent::Over { .. } => write!(f, "a channel is over"),
        }
    }
}
