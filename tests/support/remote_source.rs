//! A chain source over whatever a node of the test kit follows, in this process or in another.

use std::sync::Arc;

use bitcoin::block::Header;
use bitcoin::{OutPoint, Script, Transaction, Txid};
use ldk_peer_storage::recovery::chain::{
    ChainError, ChainSource, FoundOutput, FoundTransaction, Place, Tip,
};
use testkit::{ChainAccess, Spend};

use super::SUBMITTER;

/// A [`ChainAccess`] as a [`ChainSource`]. Of the outputs to a script it knows the unspent ones alone.
pub struct RemoteSource(pub Arc<dyn ChainAccess>);

impl RemoteSource {
    fn found(&self, spend: Spend) -> FoundTransaction {
        let txid = spend.tx.compute_txid();
        let place = spend.height.and_then(|height| self.place(txid, height));
        FoundTransaction {
            tx: spend.tx,
            place,
        }
    }

    fn place(&self, txid: Txid, height: u32) -> Option<Place> {
        let block = self.0.block(height)?;
        let mut txs = (0..).zip(&block.txdata);
        let (index, _) = txs.find(|(_, tx)| tx.compute_txid() == txid)?;
        Some(Place {
            height,
            block: block.block_hash(),
            index,
        })
    }
}

impl ChainSource for RemoteSource {
    fn tip(&self) -> Result<Tip, ChainError> {
        let best = self.0.tip();
        Ok(Tip {
            height: best.height,
            hash: best.block_hash,
        })
    }

    fn header_at(&self, height: u32) -> Result<Option<Header>, ChainError> {
        Ok(self.0.block(height).map(|block| block.header))
    }

    fn transaction(&self, txid: &Txid) -> Result<Option<FoundTransaction>, ChainError> {
        Ok(self.0.transaction(*txid).map(|found| self.found(found)))
    }

    fn txid_at(&self, height: u32, index: u32) -> Result<Option<Txid>, ChainError> {
        let block = self.0.block(height);
        let tx = block.and_then(|block| block.txdata.into_iter().nth(index as usize));
        Ok(tx.map(|tx| tx.compute_txid()))
    }

    fn spend_of(&self, output: &OutPoint) -> Result<Option<FoundTransaction>, ChainError> {
        Ok(self.0.spender(*output).map(|found| self.found(found)))
    }

    fn outputs_to(&self, script: &Script) -> Result<Vec<FoundOutput>, ChainError> {
        let coins = self.0.coins(script).into_iter();
        let found = coins.map(|(outpoint, output)| {
            let paid = self.transaction(&outpoint.txid)?;
            Ok(FoundOutput {
                outpoint,
                output,
                place: paid.and_then(|paid| paid.place),
            })
        });
        found.collect()
    }

    fn broadcast(&self, tx: &Transaction) -> Result<(), ChainError> {
        match self.0.submit_as(SUBMITTER, tx) {
            Ok(_) => Ok(()),
            // Known already, in a block.
            Err(_) if self.0.transaction(tx.compute_txid()).is_some() => Ok(()),
            Err(why) => Err(ChainError::rejected(why)),
        }
    }
}
