//! How a recovery sees the chain: through an Esplora server, or through what the app has.

use std::sync::Arc;

use bitcoin::block::Header;
use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::{Amount, BlockHash, FeeRate, OutPoint, Script, ScriptBuf, Transaction, TxOut, Txid};
#[cfg(feature = "esplora")]
use ldk_peer_storage::recovery::chain::esplora::{EsploraConfig, EsploraSource};
use ldk_peer_storage::recovery::chain::{
    self, ChainError, ChainSource as CoreSource, FoundOutput, FoundTransaction, Place, Tip,
};

use crate::config::BitcoinNetwork;
use crate::errors::PeerStorageError;
#[cfg(feature = "esplora")]
use crate::parse;

/// How a recovery sees the chain.
#[derive(Clone, uniffi::Enum)]
pub enum ChainAccess {
    /// Through an Esplora server of the wallet's network. It learns which channels and addresses are the
    /// wallet's, and cannot make up confirmations.
    #[cfg(feature = "esplora")]
    Esplora {
        /// As `https://blockstream.info/api`.
        url: String,
        /// "socks5h://host:port" or "http://host:port"; none: it is asked directly.
        proxy: Option<String>,
    },
    /// Through what the app has.
    Host {
        /// The app's object.
        source: Arc<dyn ChainSource>,
    },
}

/// The chain as the app sees it. An app mostly has something for this already.
///
/// All calls block, and each has to end by itself: one that asks over the network sets itself a time limit and
/// throws `Unreachable`. Calls come from threads of the SDK, with nothing locked, and may come from several at
/// once. No call may call the recovery that it is made for.
///
/// Transactions and headers are bytes in Bitcoin's own serialisation. What the bytes say is checked: a
/// transaction has to have the id, the output or the input that was asked for.
#[uniffi::export(foreign)]
pub trait ChainSource: Send + Sync {
    /// The best block.
    fn tip(&self) -> Result<ChainTip, ChainSourceError>;
    /// The header of the block at this height, 80 bytes; none: there is no such block yet.
    fn header_at(&self, height: u32) -> Result<Option<Vec<u8>>, ChainSourceError>;
    /// A transaction, confirmed or in the mempool; none: it is not known.
    fn transaction(&self, txid: String) -> Result<Option<ChainTransaction>, ChainSourceError>;
    /// The id of the transaction with this index (the coinbase is 0) in the block at this height; none:
    /// there is none.
    fn txid_at(&self, height: u32, index: u32) -> Result<Option<String>, ChainSourceError>;
    /// The transaction that spends this output ("txid:index"), confirmed or in the mempool; none: it is
    /// unspent, or not known.
    fn spend_of(&self, outpoint: String) -> Result<Option<ChainTransaction>, ChainSourceError>;
    /// All outputs that were ever paid to this script, spent or not, confirmed or not, each once. A list that
    /// is not whole is an error (`TooMany`), not an answer.
    fn outputs_to(&self, script: Vec<u8>) -> Result<Vec<ChainOutput>, ChainSourceError>;
    /// Hands a transaction to the network. No error also where it is known already.
    fn broadcast(&self, transaction: Vec<u8>) -> Result<(), ChainSourceError>;
    /// The fee rate that is expected to confirm within so many blocks, in sat per 1000 weight units; none:
    /// not known.
    fn fee_rate(&self, blocks: u16) -> Result<Option<u64>, ChainSourceError>;
}

/// The last block of the best chain.
#[derive(Clone, Debug, uniffi::Record)]
pub struct ChainTip {
    /// Its height; genesis is 0.
    pub height: u32,
    /// Its hash, as it is commonly shown.
    pub block_hash: String,
}

/// A transaction that was found.
#[derive(Clone, uniffi::Record)]
pub struct ChainTransaction {
    /// The whole of it, with its witnesses.
    pub transaction: Vec<u8>,
    /// Where it is confirmed; none: it is in the mempool.
    pub place: Option<ChainPlace>,
}

/// An output that was found.
#[derive(Clone, uniffi::Record)]
pub struct ChainOutput {
    /// Its name, as "txid:index".
    pub outpoint: String,
    /// Its value, in sat.
    pub value_sat: u64,
    /// Its script.
    pub script: Vec<u8>,
    /// Where its transaction is confirmed; none: it is in the mempool.
    pub place: Option<ChainPlace>,
}

/// Where in the chain a transaction is confirmed.
#[derive(Clone, Debug, uniffi::Record)]
pub struct ChainPlace {
    /// The height of its block.
    pub height: u32,
    /// The hash of its block, as it is commonly shown.
    pub block_hash: String,
    /// Its index in the block; the coinbase is 0.
    pub index: u32,
}

/// Why a question about the chain was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum ChainSourceError {
    /// The source cannot be reached, or does not answer in time. Whatever else the app's object throws
    /// counts as this, too.
    #[error("the chain source cannot be reached: {reason}")]
    Unreachable {
        /// For logs.
        reason: String,
    },
    /// The network does not take this transaction.
    #[error("the transaction was refused: {reason}")]
    Rejected {
        /// For logs.
        reason: String,
    },
    /// The source said something that cannot be true.
    #[error("the chain source cannot be trusted: {reason}")]
    Untrue {
        /// For logs.
        reason: String,
    },
    /// The answer has more parts than the source is ready to collect.
    #[error("the answer has more than {limit} parts")]
    TooMany {
        /// The limit of the source.
        limit: u32,
    },
    /// The source is of another network.
    #[error("the chain source is of another network")]
    WrongChain,
}

impl From<uniffi::UnexpectedUniFFICallbackError> for ChainSourceError {
    // Its text is the app's, and may say anything.
    fn from(_: uniffi::UnexpectedUniFFICallbackError) -> Self {
        ChainSourceError::Unreachable {
            reason: "the app's chain source has failed".to_owned(),
        }
    }
}

impl From<ChainSourceError> for ChainError {
    fn from(error: ChainSourceError) -> Self {
        match error {
            ChainSourceError::Unreachable { reason } => ChainError::unreachable(reason),
            ChainSourceError::Rejected { reason } => ChainError::rejected(reason),
            ChainSourceError::Untrue { reason } => ChainError::invalid(reason),
            ChainSourceError::TooMany { limit } => ChainError::TooMany { limit },
            ChainSourceError::WrongChain => ChainError::WrongChain,
        }
    }
}

/// No address is longer.
#[cfg(feature = "esplora")]
const LONGEST_URL: usize = 2048;

impl ChainAccess {
    pub(crate) fn source(
        self,
        // The app's own says itself where it is of another (`WrongChain`).
        #[cfg_attr(not(feature = "esplora"), allow(unused_variables))] network: BitcoinNetwork,
    ) -> Result<Arc<dyn CoreSource>, PeerStorageError> {
        match self {
            ChainAccess::Host { source } => Ok(Arc::new(HostSource(source))),
            #[cfg(feature = "esplora")]
            ChainAccess::Esplora { url, proxy } => {
                parse::limit("url", url.len(), LONGEST_URL)?;
                parse::limit("proxy", proxy.as_deref().map_or(0, str::len), LONGEST_URL)?;
                let config = EsploraConfig {
                    proxy,
                    ..EsploraConfig::new(url, network.into())
                };
                Ok(Arc::new(EsploraSource::new(config)?))
            }
        }
    }
}

/// The app's own source, checked where it can be.
struct HostSource(Arc<dyn ChainSource>);

type Answer<T> = Result<T, ChainError>;

impl CoreSource for HostSource {
    fn tip(&self) -> Answer<Tip> {
        let tip = self.0.tip()?;
        Ok(Tip {
            height: tip.height,
            hash: block_hash(&tip.block_hash)?,
        })
    }

    fn header_at(&self, height: u32) -> Answer<Option<Header>> {
        let header = self.0.header_at(height)?;
        let header = header.map(|bytes| deserialize(&bytes)).transpose();
        header.map_err(|_| ChainError::invalid("a header does not read"))
    }

    fn transaction(&self, txid: &Txid) -> Answer<Option<FoundTransaction>> {
        let found = self.0.transaction(txid.to_string())?;
        let found = found.map(found_transaction).transpose()?;
        match &found {
            Some(found) if found.tx.compute_txid() != *txid => {
                Err(ChainError::invalid("a transaction has another id"))
            }
            _ => Ok(found),
        }
    }

    fn txid_at(&self, height: u32, index: u32) -> Answer<Option<Txid>> {
        let txid = self.0.txid_at(height, index)?;
        let txid = txid.map(|text| text.parse()).transpose();
        txid.map_err(|_| ChainError::invalid("a transaction id does not read"))
    }

    fn spend_of(&self, output: &OutPoint) -> Answer<Option<FoundTransaction>> {
        let found = self.0.spend_of(output.to_string())?;
        let found = found.map(found_transaction).transpose()?;
        let spends = |found: &FoundTransaction| {
            let mut inputs = found.tx.input.iter();
            inputs.any(|input| input.previous_output == *output)
        };
        match &found {
            Some(found) if !spends(found) => Err(ChainError::invalid(
                "a transaction does not spend the output",
            )),
            _ => Ok(found),
        }
    }

    fn outputs_to(&self, script: &Script) -> Answer<Vec<FoundOutput>> {
        let found = self.0.outputs_to(script.to_bytes())?;
        all_can_be(found.iter().map(|output| output.value_sat))?;
        let outputs = found.into_iter().map(|output| {
            if output.script != script.as_bytes() {
                return Err(ChainError::invalid("an output has another script"));
            }
            let outpoint = output.outpoint.parse();
            Ok(FoundOutput {
                outpoint: outpoint
                    .map_err(|_| ChainError::invalid("the name of an output does not read"))?,
                output: TxOut {
                    value: Amount::from_sat(output.value_sat),
                    script_pubkey: ScriptBuf::from_bytes(output.script),
                },
                place: output.place.map(place).transpose()?,
            })
        });
        outputs.collect()
    }

    fn broadcast(&self, tx: &Transaction) -> Answer<()> {
        Ok(self.0.broadcast(serialize(tx))?)
    }

    fn fee_rate(&self, blocks: u16) -> Answer<Option<FeeRate>> {
        let rate = self.0.fee_rate(blocks)?;
        Ok(rate.map(FeeRate::from_sat_per_kwu))
    }
}

/// Nobody has more than there will ever be. What the core adds up cannot overflow then.
fn all_can_be(mut values: impl Iterator<Item = u64>) -> Answer<()> {
    let sum = values.try_fold(0, u64::checked_add);
    match sum {
        Some(sum) if sum <= Amount::MAX_MONEY.to_sat() => Ok(()),
        _ => Err(ChainError::invalid("more coins than there are")),
    }
}

fn found_transaction(found: ChainTransaction) -> Answer<FoundTransaction> {
    let tx: Result<Transaction, _> = deserialize(&found.transaction);
    let tx = tx.map_err(|_| ChainError::invalid("a transaction does not read"))?;
    all_can_be(tx.output.iter().map(|output| output.value.to_sat()))?;
    Ok(FoundTransaction {
        tx,
        place: found.place.map(place).transpose()?,
    })
}

fn place(place: ChainPlace) -> Answer<Place> {
    Ok(chain::Place {
        height: place.height,
        block: block_hash(&place.block_hash)?,
        index: place.index,
    })
}

fn block_hash(text: &str) -> Answer<BlockHash> {
    text.parse()
        .map_err(|_| ChainError::invalid("a block hash does not read"))
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;
    use bitcoin::transaction::Version;
    use bitcoin::{absolute::LockTime, Sequence, TxIn, Witness};

    use super::*;

    /// Spends `OutPoint::null` to an empty script.
    fn transaction() -> Transaction {
        Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::null(),
                script_sig: ScriptBuf::new(),
                sequence: Sequence::MAX,
                witness: Witness::new(),
            }],
            output: vec![TxOut {
                value: Amount::from_sat(7),
                script_pubkey: ScriptBuf::new(),
            }],
        }
    }

    /// Answers every question with that transaction, or with whatever else a test puts here.
    struct Source {
        transaction: Vec<u8>,
        hash: String,
        script: Vec<u8>,
        values: Vec<u64>,
        fails: bool,
    }

    impl Default for Source {
        fn default() -> Self {
            Source {
                transaction: serialize(&transaction()),
                hash: BlockHash::all_zeros().to_string(),
                script: Vec::new(),
                values: vec![7],
                fails: false,
            }
        }
    }

    impl Source {
        fn place(&self) -> Option<ChainPlace> {
            Some(ChainPlace {
                height: 5,
                block_hash: self.hash.clone(),
                index: 0,
            })
        }

        fn found(&self) -> Result<Option<ChainTransaction>, ChainSourceError> {
            Ok(Some(ChainTransaction {
                transaction: self.transaction.clone(),
                place: self.place(),
            }))
        }
    }

    impl ChainSource for Source {
        fn tip(&self) -> Result<ChainTip, ChainSourceError> {
            if self.fails {
                let unexpected = uniffi::UnexpectedUniFFICallbackError::new("of https://a.b");
                return Err(unexpected.into());
            }
            Ok(ChainTip {
                height: 9,
                block_hash: self.hash.clone(),
            })
        }
        fn header_at(&self, _height: u32) -> Result<Option<Vec<u8>>, ChainSourceError> {
            Ok(Some(vec![0; 79]))
        }
        fn transaction(&self, _txid: String) -> Result<Option<ChainTransaction>, ChainSourceError> {
            self.found()
        }
        fn txid_at(&self, _height: u32, _index: u32) -> Result<Option<String>, ChainSourceError> {
            Ok(Some(self.hash.clone()))
        }
        fn spend_of(&self, _output: String) -> Result<Option<ChainTransaction>, ChainSourceError> {
            self.found()
        }
        fn outputs_to(&self, _script: Vec<u8>) -> Result<Vec<ChainOutput>, ChainSourceError> {
            let output = |value: &u64| ChainOutput {
                outpoint: format!("{}:0", transaction().compute_txid()),
                value_sat: *value,
                script: self.script.clone(),
                place: self.place(),
            };
            Ok(self.values.iter().map(output).collect())
        }
        fn broadcast(&self, _transaction: Vec<u8>) -> Result<(), ChainSourceError> {
            Err(ChainSourceError::TooMany { limit: 3 })
        }
        fn fee_rate(&self, blocks: u16) -> Result<Option<u64>, ChainSourceError> {
            Ok(Some(blocks.into()))
        }
    }

    fn is_untrue<T>(answer: Answer<T>) -> bool {
        matches!(answer, Err(ChainError::Invalid(_)))
    }

    #[test]
    fn true_answers_reach_the_recovery_as_they_are() {
        let source = HostSource(Arc::new(Source::default()));
        let found = source
            .transaction(&transaction().compute_txid())
            .unwrap()
            .unwrap();
        assert_eq!(
            (&found.tx, found.place.unwrap().height),
            (&transaction(), 5)
        );
        assert!(source.spend_of(&OutPoint::null()).unwrap().is_some());
        let outputs = source.outputs_to(&ScriptBuf::new()).unwrap();
        assert_eq!(outputs[0].output, transaction().output[0]);
        assert_eq!(source.tip().unwrap().height, 9);
        assert_eq!(
            source.fee_rate(6).unwrap(),
            Some(FeeRate::from_sat_per_kwu(6))
        );
        let refused = source.broadcast(&transaction());
        assert_eq!(refused, Err(ChainError::TooMany { limit: 3 }));
    }

    #[test]
    fn what_the_app_says_of_the_chain_is_checked() {
        let source = HostSource(Arc::new(Source::default()));
        assert!(is_untrue(source.transaction(&Txid::all_zeros())));
        let other = OutPoint::new(Txid::all_zeros(), 0);
        assert!(is_untrue(source.spend_of(&other)));
        assert!(is_untrue(source.outputs_to(Script::from_bytes(&[0x51]))));
        assert!(is_untrue(source.header_at(1)), "79 bytes");

        let no_hash = HostSource(Arc::new(Source {
            hash: "beef".to_owned(),
            ..Source::default()
        }));
        assert!(is_untrue(no_hash.tip()));
        assert!(is_untrue(no_hash.txid_at(1, 1)));
        assert!(is_untrue(no_hash.outputs_to(&ScriptBuf::new())));
        let cut = HostSource(Arc::new(Source {
            transaction: vec![2, 0],
            ..Source::default()
        }));
        assert!(is_untrue(cut.transaction(&Txid::all_zeros())));
    }

    #[test]
    fn more_coins_than_there_are_are_not_believed() {
        let all = Amount::MAX_MONEY.to_sat();
        let outputs = |values: &[u64]| {
            let source = HostSource(Arc::new(Source {
                values: values.to_vec(),
                ..Source::default()
            }));
            source
                .outputs_to(&ScriptBuf::new())
                .map(|outputs| outputs.len())
        };
        assert_eq!(outputs(&[all - 1, 1]), Ok(2));
        assert!(is_untrue(outputs(&[all, 1])));
        assert!(
            is_untrue(outputs(&[u64::MAX, 1])),
            "nor does the sum overflow"
        );

        let mut rich = transaction();
        rich.output[0].value = Amount::from_sat(all + 1);
        let source = HostSource(Arc::new(Source {
            transaction: serialize(&rich),
            ..Source::default()
        }));
        assert!(is_untrue(source.transaction(&rich.compute_txid())));
        assert!(is_untrue(source.spend_of(&OutPoint::null())));
    }

    #[test]
    fn whatever_the_app_throws_is_a_source_that_cannot_be_reached() {
        let source = HostSource(Arc::new(Source {
            fails: true,
            ..Source::default()
        }));
        let Err(ChainError::Unreachable(reason)) = source.tip() else {
            panic!("an answer");
        };
        assert!(!reason.contains("a.b"), "{reason}");
    }
}
