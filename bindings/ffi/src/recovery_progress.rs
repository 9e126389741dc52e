//! How far a recovery is.

use ldk_peer_storage::recovery as core;

use crate::parse::count;
use crate::wallet::ChannelIds;

/// How far everything is.
#[derive(Clone, uniffi::Record)]
pub struct RecoveryProgress {
    /// Each channel that the person agreed to; one that was given up only where something of ours was found in
    /// it all the same.
    pub channels: Vec<ChannelProgress>,
    /// Channels that nobody waits for any more although it is not proven that all of ours has come. Their backup
    /// stays: keep the data directory, and tell the person so.
    pub kept: Vec<KeptChannel>,
    /// What was found to be ours so far and is swept, or waits to be, in sat.
    pub found_sat: u64,
    /// What has come to the person's address, in sat: in the chain, though perhaps not buried yet.
    pub recovered_sat: u64,
    /// What that cost, in sat.
    pub fees_sat: u64,
    /// What was found to be ours, is not swept, and is not waited for, in sat.
    pub left_sat: u64,
    /// What waits because the first fee rate would eat it, in sat. Agree again with a lower one.
    pub too_dear_sat: u64,
    /// Closes that were found by our scripts and that no channel here is known to belong to. What is ours in
    /// them is swept all the same.
    pub other_closes: u32,
    /// What the chain did not tell in this round, if anything, for logs. Nothing is done while it lasts.
    pub trouble: Option<String>,
    /// All is over: nothing more will come, but for what `kept` tells of.
    pub done: bool,
    /// When to call `step` again, in milliseconds.
    pub next_round_in_ms: u64,
}

/// How far a channel is.
#[derive(Clone, uniffi::Record)]
pub struct ChannelProgress {
    /// The channel.
    pub ids: ChannelIds,
    /// The node id of the other side, in hex.
    pub peer: String,
    /// How far it is.
    pub stage: ChannelStage,
    /// What was found to be ours, in sat.
    pub ours_sat: u64,
    /// How often the peer was asked to close.
    pub asked: u32,
    /// How often in a row it was not reached, or could not be asked.
    pub unreached: u32,
}

/// How far a channel is on its way to the person's address. It can go back: blocks can be replaced.
#[derive(Clone, PartialEq, Eq, uniffi::Enum)]
pub enum ChannelStage {
    /// The peer has not closed it, as far as the chain tells.
    Open,
    /// The close is in the mempool.
    Closing {
        /// The transaction's id.
        txid: String,
    },
    /// The close is in the chain; what is ours is not swept yet.
    Closed {
        /// The transaction's id.
        txid: String,
    },
    /// All that is ours is swept; the sweep or the close is not buried yet.
    Swept {
        /// The id of the close.
        txid: String,
    },
    /// The close is in the chain, and nothing in it is known to be ours. It is not buried yet.
    NothingOfOurs {
        /// The transaction's id.
        txid: String,
    },
    /// It is over. Whether something has come is in `RecoveryProgress.kept`.
    Over,
}

/// A channel whose end is not proven.
#[derive(Clone, uniffi::Record)]
pub struct KeptChannel {
    /// The channel.
    pub ids: ChannelIds,
    /// The node id of the other side, in hex.
    pub peer: String,
    /// Why it is kept.
    pub why: WhyKept,
}

/// Why a channel's backup stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum WhyKept {
    /// Its close is buried, and nothing in it was recognised, or could be swept at any fee rate.
    NothingFound,
    /// Something that our scripts led to is taken for its close and is swept; nothing proves that it was this
    /// channel's.
    OverByScript,
    /// The person has given it up.
    GivenUp,
    /// For a reason that this version of the bindings does not name.
    Other,
}

impl From<core::Progress> for RecoveryProgress {
    fn from(progress: core::Progress) -> Self {
        let next = progress.next_round_in.as_millis();
        RecoveryProgress {
            channels: progress.channels.into_iter().map(Into::into).collect(),
            kept: progress.kept.into_iter().map(Into::into).collect(),
            found_sat: progress.found_sat,
            recovered_sat: progress.recovered_sat,
            fees_sat: progress.fees_sat,
            left_sat: progress.left_sat,
            too_dear_sat: progress.too_dear_sat,
            other_closes: count(progress.other_closes),
            trouble: progress.trouble.map(|error| error.to_string()),
            done: progress.done,
            next_round_in_ms: u64::try_from(next).unwrap_or(u64::MAX),
        }
    }
}

impl From<core::ChannelProgress> for ChannelProgress {
    fn from(progress: core::ChannelProgress) -> Self {
        ChannelProgress {
            ids: progress.ids.into(),
            peer: progress.peer.to_string(),
            stage: progress.stage.into(),
            ours_sat: progress.ours_sat,
            asked: count(progress.asked),
            unreached: progress.unreached,
        }
    }
}

impl From<core::Stage> for ChannelStage {
    fn from(stage: core::Stage) -> Self {
        match stage {
            core::Stage::Open => ChannelStage::Open,
            core::Stage::Closing(txid) => ChannelStage::Closing {
                txid: txid.to_string(),
            },
            core::Stage::Closed(txid) => ChannelStage::Closed {
                txid: txid.to_string(),
            },
            core::Stage::Swept(txid) => ChannelStage::Swept {
                txid: txid.to_string(),
            },
            core::Stage::NothingOfOurs(txid) => ChannelStage::NothingOfOurs {
                txid: txid.to_string(),
            },
            core::Stage::Over => ChannelStage::Over,
        }
    }
}

impl From<core::KeptChannel> for KeptChannel {
    fn from(kept: core::KeptChannel) -> Self {
        KeptChannel {
            ids: kept.ids.into(),
            peer: kept.peer.to_string(),
            why: match kept.why {
                core::WhyKept::NothingFound => WhyKept::NothingFound,
                core::WhyKept::OverByScript => WhyKept::OverByScript,
                core::WhyKept::GivenUp => WhyKept::GivenUp,
                _ => WhyKept::Other,
            },
        }
    }
}
