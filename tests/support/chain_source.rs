//! A chain source of a host's own: the test kit's chain, asked directly.

use std::sync::Arc;

use bitcoin::block::Header;
use bitcoin::{FeeRate, OutPoint, Script, Transaction, Txid};
use ldk_peer_storage::recovery::chain::{
    ChainError, ChainSource, FoundOutput, FoundTransaction, Place, Tip,
};
use testkit::{Chain, Rejected};

/// In whose name it submits transactions.
pub const SUBMITTER: &str = "own chain source";

/// A [`Chain`] as a [`ChainSource`]. It has no opinion on fee rates unless it is given one.
pub struct OwnChainSource {
    pub chain: Arc<Chain>,
    pub fee_rate: Option<FeeRate>,
}

impl OwnChainSource {
    pub fn new(chain: &Arc<Chain>) -> OwnChainSource {
        OwnChainSource {
            chain: Arc::clone(chain),
            fee_rate: None,
        }
    }

    fn place(&self, txid: Txid) -> Option<Place> {
        let position = self.chain.position(txid)?;
        Some(Place {
            height: position.height,
            block: position.block,
            index: position.index,
        })
    }

    fn found(&self, tx: Transaction) -> FoundTransaction {
        let place = self.place(tx.compute_txid());
        FoundTransaction { tx, place }
    }
}

impl ChainSource for OwnChainSource {
    fn tip(&self) -> Result<Tip, ChainError> {
        let best = self.chain.tip();
        Ok(Tip {
            height: best.height,
            hash: best.block_hash,
        })
    }

    fn header_at(&self, height: u32) -> Result<Option<Header>, ChainError> {
        Ok(self.chain.block(height).map(|block| block.header))
    }

    fn transaction(&self, txid: &Txid) -> Result<Option<FoundTransaction>, ChainError> {
        let found = self.chain.transaction(*txid);
        Ok(found.map(|found| self.found(found.tx)))
    }

    fn txid_at(&self, height: u32, index: u32) -> Result<Option<Txid>, ChainError> {
        let block = self.chain.block(height);
        let tx = block.and_then(|block| block.txdata.into_iter().nth(index as usize));
        Ok(tx.map(|tx| tx.compute_txid()))
    }

    fn spend_of(&self, output: &OutPoint) -> Result<Option<FoundTransaction>, ChainError> {
        let found = self.chain.spender(*output);
        Ok(found.map(|found| self.found(found.tx)))
    }

    fn outputs_to(&self, script: &Script) -> Result<Vec<FoundOutput>, ChainError> {
        let mut outputs = Vec::new();
        for paid in self.chain.history(|other| other == script) {
            let txid = paid.tx.compute_txid();
            let place = self.place(txid);
            let numbered = (0u32..).zip(paid.tx.output);
            let ours = numbered.filter(|(_, output)| *output.script_pubkey == *script);
            outputs.extend(ours.map(|(vout, output)| FoundOutput {
                outpoint: OutPoint { txid, vout },
                output,
                place,
            }));
        }
        Ok(outputs)
    }

    fn broadcast(&self, tx: &Transaction) -> Result<(), ChainError> {
        match self.chain.submit_as(SUBMITTER, tx) {
            Ok(_) | Err(Rejected::AlreadyMined) => Ok(()),
            Err(why) => Err(ChainError::rejected(why.to_string())),
        }
    }

    fn fee_rate(&self, _blocks: u16) -> Result<Option<FeeRate>, ChainError> {
        Ok(self.fee_rate)
    }
}
