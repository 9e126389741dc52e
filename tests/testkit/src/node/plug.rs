//! A node's connection to the chain, which can be pulled.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bitcoin::{Amount, Block, BlockHash, OutPoint, Script, Transaction, TxOut, Txid};
use lightning::chain::BestBlock;

use crate::chain::{ChainAccess, Spend};
use crate::lock::lock;

/// The chain, until the node ends. LDK objects may live on in an extension, even in a cycle of
/// references; they must neither broadcast nor keep the chain from being dropped and saved.
pub(super) struct Plug {
    chain: Mutex<Option<Arc<dyn ChainAccess>>>,
    silent: AtomicBool,
}

impl Plug {
    pub fn new(chain: &Arc<dyn ChainAccess>) -> Plug {
        Plug {
            chain: Mutex::new(Some(Arc::clone(chain))),
            silent: AtomicBool::new(false),
        }
    }

    /// From now on nothing is broadcast; the chain can still be read.
    pub fn silence(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    /// From now on there is no chain.
    pub fn pull(&self) {
        *lock(&self.chain) = None;
    }

    fn chain(&self) -> Arc<dyn ChainAccess> {
        let chain = lock(&self.chain).clone();
        chain.expect("the node has ended, and with it its access to the chain")
    }
}

impl ChainAccess for Plug {
    fn tip(&self) -> BestBlock {
        self.chain().tip()
    }

    fn block(&self, height: u32) -> Option<Block> {
        self.chain().block(height)
    }

    fn fork_point(&self, hash: BlockHash) -> BestBlock {
        self.chain().fork_point(hash)
    }

    fn submit_as(&self, by: &str, tx: &Transaction) -> Result<Txid, String> {
        let chain = lock(&self.chain).clone();
        match chain.filter(|_| !self.silent.load(Ordering::SeqCst)) {
            Some(chain) => chain.submit_as(by, tx),
            None => Err("the node has ended".to_owned()),
        }
    }

    fn spender(&self, outpoint: OutPoint) -> Option<Spend> {
        self.chain().spender(outpoint)
    }

    fn transaction(&self, txid: Txid) -> Option<Spend> {
        self.chain().transaction(txid)
    }

    fn coins(&self, script: &Script) -> Vec<(OutPoint, TxOut)> {
        self.chain().coins(script)
    }

    fn pay(&self, script: &Script, amounts: &[Amount]) -> Transaction {
        self.chain().pay(script, amounts)
    }
}
