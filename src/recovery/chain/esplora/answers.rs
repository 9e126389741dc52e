//! The server's answers, one request each, with what can be checked of each by itself.

use std::collections::BTreeMap;
use std::str::{self, FromStr};

use bitcoin::block::Header;
use bitcoin::consensus::{deserialize, Decodable};
use bitcoin::hashes::{sha256, Hash};
use bitcoin::hex::FromHex;
use bitcoin::{BlockHash, MerkleBlock, OutPoint, Script, Transaction, Txid};
use esplora_client::{BlockStatus, EsploraTx, OutputStatus, TxStatus};
use serde::de::DeserializeOwned;

use super::call::Call;
use super::ChainError;

/// Enough for every answer but transactions.
const SMALL: u64 = 64 * 1024;
/// No block has more, so no transaction.
const TRANSACTION: u64 = 4_000_000;
/// 75 transactions in JSON, which takes more than twice their bytes. One in whose witnesses somebody has
/// put a whole block still has room.
const PAGE: u64 = 16 * 1024 * 1024;

impl Call<'_> {
    pub fn tip_hash(&self) -> Result<BlockHash, ChainError> {
        let hash = self.text("/blocks/tip/hash")?;
        hash.ok_or(ChainError::invalid("there is no best block"))
    }

    /// The hash of the best chain's block at this height.
    pub fn block_hash(&self, height: u32) -> Result<Option<BlockHash>, ChainError> {
        self.text(&format!("/block-height/{height}"))
    }

    pub fn block_status(&self, hash: &BlockHash) -> Result<Option<BlockStatus>, ChainError> {
        self.json(&format!("/block/{hash}/status"), SMALL)
    }

    /// A header, which has this hash.
    pub fn header(&self, hash: &BlockHash) -> Result<Option<Header>, ChainError> {
        let header: Option<Header> = self.hex(&format!("/block/{hash}/header"))?;
        match header {
            Some(header) if header.block_hash() != *hash => {
                Err(ChainError::invalid("a header with another hash"))
            }
            header => Ok(header),
        }
    }

    pub fn txid_in_block(&self, hash: &BlockHash, index: u32) -> Result<Option<Txid>, ChainError> {
        self.text(&format!("/block/{hash}/txid/{index}"))
    }

    /// A transaction, which has this id.
    pub fn raw_transaction(&self, txid: &Txid) -> Result<Option<Transaction>, ChainError> {
        let Some(bytes) = self.get(&format!("/tx/{txid}/raw"), TRANSACTION)? else {
            return Ok(None);
        };
        let tx: Transaction = deserialize(&bytes).map_err(|_| junk("a transaction"))?;
        if tx.compute_txid() != *txid {
            return Err(ChainError::invalid("another transaction than asked for"));
        }
        Ok(Some(tx))
    }

    pub fn transaction_status(&self, txid: &Txid) -> Result<Option<TxStatus>, ChainError> {
        self.json(&format!("/tx/{txid}/status"), SMALL)
    }

    pub fn merkle_block(&self, txid: &Txid) -> Result<Option<MerkleBlock>, ChainError> {
        self.hex(&format!("/tx/{txid}/merkleblock-proof"))
    }

    pub fn output_status(&self, output: &OutPoint) -> Result<Option<OutputStatus>, ChainError> {
        let OutPoint { txid, vout } = output;
        self.json(&format!("/tx/{txid}/outspend/{vout}"), SMALL)
    }

    /// Up to 50 unconfirmed transactions and the first page of the confirmed ones, newest first; after
    /// one of these, the next page of confirmed ones. Each has the id that the server says it has.
    pub fn history(
        &self,
        script: &Script,
        after: Option<Txid>,
    ) -> Result<Vec<EsploraTx>, ChainError> {
        let hash = sha256::Hash::hash(script.as_bytes());
        let path = match after {
            None => format!("/scripthash/{hash}/txs"),
            Some(last) => format!("/scripthash/{hash}/txs/chain/{last}"),
        };
        let page: Option<Vec<EsploraTx>> = self.json(&path, PAGE)?;
        let page = page.unwrap_or_default();
        if page.iter().any(|tx| tx.to_tx().compute_txid() != tx.txid) {
            return Err(ChainError::invalid("a transaction with another id"));
        }
        Ok(page)
    }

    /// In satoshi for a virtual byte, each with the number of blocks it is expected to take.
    pub fn fee_estimates(&self) -> Result<Vec<(u16, f64)>, ChainError> {
        let estimates: Option<BTreeMap<u16, f64>> = self.json("/fee-estimates", SMALL)?;
        Ok(estimates.unwrap_or_default().into_iter().collect())
    }

    fn text<T: FromStr>(&self, path: &str) -> Result<Option<T>, ChainError> {
        let Some(bytes) = self.get(path, SMALL)? else {
            return Ok(None);
        };
        parse(&bytes).map(Some)
    }

    fn hex<T: Decodable>(&self, path: &str) -> Result<Option<T>, ChainError> {
        let Some(bytes) = self.get(path, SMALL)? else {
            return Ok(None);
        };
        let text = str::from_utf8(&bytes).map_err(|_| junk("hex"))?;
        let bytes = Vec::from_hex(text.trim()).map_err(|_| junk("hex"))?;
        deserialize(&bytes)
            .map(Some)
            .map_err(|_| junk("a header or proof"))
    }

    fn json<T>(&self, path: &str, max_bytes: u64) -> Result<Option<T>, ChainError>
    where
        T: DeserializeOwned,
    {
        let Some(bytes) = self.get(path, max_bytes)? else {
            return Ok(None);
        };
        // `null` stands for a thing that is not there, too.
        serde_json::from_slice(&bytes).map_err(|_| junk("the JSON that was due"))
    }
}

/// A hash, in text.
pub(super) fn parse<T: FromStr>(bytes: &[u8]) -> Result<T, ChainError> {
    let text = str::from_utf8(bytes).map_err(|_| junk("text"))?;
    text.trim().parse().map_err(|_| junk("a hash"))
}

fn junk(instead_of: &str) -> ChainError {
    ChainError::invalid(format!("an answer that is not {instead_of}"))
}
