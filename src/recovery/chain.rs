//! How a recovery sees the chain: [`ChainSource`], which a host implements over what it has.
//!
//! A wallet mostly has a chain source of its own; it implements the trait and is done. The one that
//! comes with this crate asks an Esplora server (feature `esplora`).
//!
//! # What holds between calls
//!
//! Nothing: each call looks at the chain as it is at that moment, and no two calls need to see the
//! same. A block may come, or leave in a reorganisation, between a question and the next, and a
//! transaction may leave the mempool for another. So the caller takes every answer for a hint about
//! where to look, checks again before it acts, and calls a [`Place`] buried only after it has seen
//! that [`header_at`](ChainSource::header_at) its height still is its block.
//!
//! # What a caller relies on
//!
//! Money is moved by what a source says, but never lost by it: a source that lies can hide a
//! transaction or make up an unconfirmed one, and so delay a recovery; it cannot make one sign
//! anything that is of use elsewhere. A confirmation that does not exist would end the watch over a
//! channel too early. So a source that asks others has to check what it can (that the bytes have the
//! id, the script or the input that was asked for, and that a confirmation is in the block), and
//! answer [`ChainError::Invalid`] where that fails.

#[cfg(feature = "esplora")]
pub mod esplora;
mod for_logs;

use bitcoin::block::Header;
use bitcoin::{BlockHash, FeeRate, OutPoint, Script, Transaction, TxOut, Txid};

use for_logs::for_logs;

/// The chain as one source sees it.
///
/// All calls block, and each has to end by itself: a source that asks over the network sets itself a
/// time limit, and gives up with [`ChainError::Unreachable`]. Calls come from threads of a
/// recovery, never from within an asynchronous runtime, and may come from several at once. No call may
/// call back into this crate.
pub trait ChainSource: Send + Sync {
    /// The best block.
    fn tip(&self) -> Result<Tip, ChainError>;

    /// The header of the block at this height of the best chain; `None` where there is no such block
    /// yet.
    fn header_at(&self, height: u32) -> Result<Option<Header>, ChainError>;

    /// A transaction, confirmed or in the mempool; `None` where the source does not know it.
    fn transaction(&self, txid: &Txid) -> Result<Option<FoundTransaction>, ChainError>;

    /// The id of the transaction with this index (the coinbase is 0) in the block at this height of
    /// the best chain; `None` where there is none. This is what a short channel id names (BOLT #7).
    fn txid_at(&self, height: u32, index: u32) -> Result<Option<Txid>, ChainError>;

    /// The transaction that spends an output, confirmed or in the mempool; `None` where it is unspent,
    /// and where the source does not know the output.
    fn spend_of(&self, output: &OutPoint) -> Result<Option<FoundTransaction>, ChainError>;

    /// All outputs that were ever paid to this script, spent or not, confirmed or not, each once, in
    /// any order. A list that is not whole is an error ([`ChainError::TooMany`]), not an answer; only of
    /// unconfirmed ones may some be left out where there are dozens, so that nobody can stop a
    /// recovery with dust.
    fn outputs_to(&self, script: &Script) -> Result<Vec<FoundOutput>, ChainError>;

    /// Hands a transaction to the network. `Ok` also where it is known already, in the mempool or in a
    /// block. `Ok` says that the source took it, not that it will confirm.
    fn broadcast(&self, tx: &Transaction) -> Result<(), ChainError>;

    /// The fee rate that is expected to confirm within so many blocks (at least 1); `None` where the
    /// source cannot tell. The caller sets bounds of its own: this is an opinion, and may be wild.
    fn fee_rate(&self, blocks: u16) -> Result<Option<FeeRate>, ChainError> {
        let _ = blocks;
        Ok(None)
    }
}

/// The last block of the best chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Its height; genesis is 0.
    pub height: u32,
    /// Its hash.
    pub hash: BlockHash,
}

/// A transaction that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundTransaction {
    /// The whole of it, with its witnesses. The id says nothing about these: take nothing from them that
    /// is not checked (as a preimage against its hash).
    pub tx: Transaction,
    /// Where it is confirmed; `None` while it is in the mempool.
    pub place: Option<Place>,
}

/// An output that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundOutput {
    /// Its name.
    pub outpoint: OutPoint,
    /// Its value and script.
    pub output: TxOut,
    /// Where its transaction is confirmed; `None` while that is in the mempool.
    pub place: Option<Place>,
}

/// Where in the chain a transaction is confirmed, as seen when the source was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The height of its block.
    pub height: u32,
    /// The hash of its block.
    pub block: BlockHash,
    /// The index in its block; the coinbase is 0.
    pub index: u32,
}

impl Place {
    /// How many confirmations it has below this tip: 1 in the tip itself; 0 where the tip is below it,
    /// as after a reorganisation.
    pub fn confirmations(&self, tip: &Tip) -> u32 {
        tip.height.saturating_add(1).saturating_sub(self.height)
    }
}

/// Why a question was not answered, grouped by what the caller can do.
///
/// Texts are for logs and say nothing that is private: no key, no script, no address of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The source cannot be reached, is overloaded, or does not answer in time. Try again later, with
    /// pauses that grow.
    #[error("the chain source cannot be reached: {0}")]
    Unreachable(String),
    /// The network does not take this transaction. The same transaction is refused again until
    /// something else changes (a parent arrives, a time lock ends, the fee rate falls); a conflict in
    /// the mempool or the chain is one of the reasons. Make one with
    /// [`rejected`](ChainError::rejected).
    #[error("the transaction was refused: {reason}")]
    Rejected {
        /// The words of the source. For logs: no two sources use the same, so decide nothing by it.
        reason: String,
    },
    /// The source said something that cannot be true. Do not trust it: ask another one. (A
    /// reorganisation between two questions can look like this once; a source asks again before it
    /// says so.)
    #[error("the chain source cannot be trusted: {0}")]
    Invalid(String),
    /// The answer has more parts than the source is ready to collect, and a part of it is no answer.
    /// Ask another source, or one with a higher limit.
    #[error("the answer has more than {limit} parts")]
    TooMany {
        /// The limit of the source.
        limit: u32,
    },
    /// The source is of another network. Nothing it says is of use.
    #[error("the chain source is of another network")]
    WrongChain,
}

impl ChainError {
    /// Whether the same question may be answered later, with nothing changed but time. If not, another
    /// source is needed: this one is of the wrong network, cannot be trusted, or gives no whole answer.
    pub fn may_pass(&self) -> bool {
        match self {
            ChainError::Unreachable(_) | ChainError::Rejected { .. } => true,
            ChainError::Invalid(_) | ChainError::TooMany { .. } | ChainError::WrongChain => false,
        }
    }

    /// The longest text that an error made here holds, in characters.
    pub const MAX_TEXT: usize = 200;

    /// [`Unreachable`](ChainError::Unreachable), with a text that was made fit for logs.
    pub fn unreachable(why: impl AsRef<str>) -> ChainError {
        ChainError::Unreachable(for_logs(why.as_ref()))
    }

    /// [`Rejected`](ChainError::Rejected), with a reason that was made fit for logs.
    pub fn rejected(reason: impl AsRef<str>) -> ChainError {
        ChainError::Rejected {
            reason: for_logs(reason.as_ref()),
        }
    }

    /// [`Invalid`](ChainError::Invalid), with a text that was made fit for logs.
    pub fn invalid(what: impl AsRef<str>) -> ChainError {
        ChainError::Invalid(for_logs(what.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;

    use super::*;

    #[test]
    fn confirmations_count_from_one_and_never_below_zero() {
        let block = BlockHash::all_zeros();
        let place = Place {
            height: 100,
            block,
            index: 3,
        };
        let at = |height| {
            let hash = block;
            place.confirmations(&Tip { height, hash })
        };
        assert_eq!((at(100), at(105), at(99), at(0)), (1, 6, 0, 0));
        assert_eq!(at(u32::MAX), u32::MAX - 100, "a height that no chain has");
    }
}
