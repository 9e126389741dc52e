//! What a node needs of a chain, in this process or in another.

use bitcoin::{Amount, Block, BlockHash, OutPoint, Script, Transaction, TxOut, Txid};
use lightning::chain::BestBlock;

use super::{Chain, Spend};

/// A chain as a node sees it. See the methods of [`Chain`].
pub trait ChainAccess: Send + Sync {
    /// The last block's hash and height.
    fn tip(&self) -> BestBlock;
    /// The height of the last block.
    fn height(&self) -> u32 {
        self.tip().height
    }
    /// The block at a height.
    fn block(&self, height: u32) -> Option<Block>;
    /// Where the branch that ends in this block leaves the chain of now.
    fn fork_point(&self, hash: BlockHash) -> BestBlock;
    /// Offers a transaction in the name of `by`; an error says why it was refused.
    fn submit_as(&self, by: &str, tx: &Transaction) -> Result<Txid, String>;
    /// The transaction that spends an output, in the chain or the mempool.
    fn spender(&self, outpoint: OutPoint) -> Option<Spend>;
    /// Finds a transaction in the chain or the mempool.
    fn transaction(&self, txid: Txid) -> Option<Spend>;
    /// The confirmed outputs of a script that no block has spent.
    fn coins(&self, script: &Script) -> Vec<(OutPoint, TxOut)>;
    /// Sends from the faucet, with one output for each amount, numbered from 0.
    fn pay(&self, script: &Script, amounts: &[Amount]) -> Transaction;
}

impl ChainAccess for Chain {
    fn tip(&self) -> BestBlock {
        Chain::tip(self)
    }

    fn block(&self, height: u32) -> Option<Block> {
        Chain::block(self, height)
    }

    fn fork_point(&self, hash: BlockHash) -> BestBlock {
        Chain::fork_point(self, hash)
    }

    fn submit_as(&self, by: &str, tx: &Transaction) -> Result<Txid, String> {
        Chain::submit_as(self, by, tx).map_err(|e| e.to_string())
    }

    fn spender(&self, outpoint: OutPoint) -> Option<Spend> {
        Chain::spender(self, outpoint)
    }

    fn transaction(&self, txid: Txid) -> Option<Spend> {
        Chain::transaction(self, txid)
    }

    fn coins(&self, script: &Script) -> Vec<(OutPoint, TxOut)> {
        Chain::coins(self, script)
    }

    fn pay(&self, script: &Script, amounts: &[Amount]) -> Transaction {
        self.pay_many(script, amounts)
    }
}
