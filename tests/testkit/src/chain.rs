//! A regtest chain that lives in memory and judges transactions as Bitcoin Core does.
//!
//! Every transaction is checked twice, when it is submitted and when it is mined: inputs, amounts,
//! scripts (by Bitcoin Core's own script code, through `bitcoinconsensus`), locktimes, relative
//! locktimes and coinbase maturity. Blocks are complete: proof of work, BIP34 heights, subsidy,
//! witness commitment. So whatever happens here could have happened on a real regtest network, and
//! [the file](mod@file) that each chain leaves behind lets Bitcoin Core's code confirm that.
//!
//! There are no policy rules (no minimum fee, no dust limit, no standard scripts): tests are about
//! what is valid, not about what is relayed.

mod access;
mod block;
mod faucet;
pub mod file;
mod lookup;
mod remote;
mod state;
mod validate;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bitcoin::{Amount, Block, BlockHash, OutPoint, Script, Transaction, TxOut, Txid};
use lightning::chain::BestBlock;

pub use access::ChainAccess;
pub use faucet::{anyone_can_spend, anyone_can_spend_witness};
pub use lookup::Position;
pub use remote::{ChainServer, RemoteChain};
pub use validate::Rejected;

use crate::lock::lock;
use state::State;

/// How many blocks a new chain has: ten coinbases of 50 BTC are spendable.
const FIRST_BLOCKS: u32 = 110;
/// The submitter's name of what the faucet sends.
const FAUCET: &str = "faucet";
/// The submitter's name of what the test itself submits.
const TEST: &str = "test";

/// A regtest chain. Share it with `Arc`.
pub struct Chain {
    state: Mutex<State>,
    file: PathBuf,
}

/// A transaction that spends an output, or simply a known transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spend {
    /// The transaction.
    pub tx: Transaction,
    /// The height of its block; `None` while it is in the mempool.
    pub height: Option<u32>,
}

/// One call of [`Chain::submit`], with its outcome.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Who submitted: a node's name, `"faucet"`, or `"test"`.
    pub by: String,
    /// What was submitted.
    pub tx: Transaction,
    /// Whether the chain took it.
    pub outcome: Result<Txid, Rejected>,
    /// The height of the chain at that moment.
    pub at_height: u32,
}

impl Chain {
    /// A chain of 110 blocks, named after the current test (the thread's name).
    #[allow(clippy::new_ret_no_self)]
    pub fn new() -> Arc<Chain> {
        Chain::named(&file::test_name())
    }

    /// A chain whose file gets this name.
    pub fn named(name: &str) -> Arc<Chain> {
        let chain = Chain {
            state: Mutex::new(State::genesis()),
            file: file::path_for(name),
        };
        chain.mine(FIRST_BLOCKS);
        Arc::new(chain)
    }

    /// Offers a transaction to the mempool, in the test's own name.
    pub fn submit(&self, tx: &Transaction) -> Result<Txid, Rejected> {
        self.submit_as(TEST, tx)
    }

    /// Offers a transaction to the mempool. A conflict with transactions there is decided for the
    /// newcomer if its fee is higher than all that it displaces. What is already in the mempool is
    /// accepted again.
    pub fn submit_as(&self, by: &str, tx: &Transaction) -> Result<Txid, Rejected> {
        let mut state = lock(&self.state);
        let outcome = state.submit(tx);
        let at_height = state.height();
        state.submissions.push(Submission {
            by: by.to_owned(),
            tx: tx.clone(),
            outcome: outcome.clone(),
            at_height,
        });
        outcome
    }

    /// Mines `count` blocks; the first takes the whole mempool.
    pub fn mine(&self, count: u32) {
        let mut state = lock(&self.state);
        for _ in 0..count {
            let txs = std::mem::take(&mut state.mempool);
            state.connect(txs);
        }
    }

    /// Mines `count` blocks that leave the mempool alone.
    pub fn mine_empty(&self, count: u32) {
        let mut state = lock(&self.state);
        for _ in 0..count {
            state.connect(Vec::new());
        }
        state.revalidate_mempool();
    }

    /// Mines one block with exactly these transactions, as a miner who got them from elsewhere
    /// would. Whatever in the mempool conflicts with them is dropped. Panics if one is invalid.
    pub fn mine_with(&self, txs: &[Transaction]) {
        let mut state = lock(&self.state);
        state.connect(txs.to_vec());
        state.revalidate_mempool();
    }

    /// Disconnects the last `depth` blocks. Their transactions return to the mempool where they are
    /// still valid. Bitcoin Core sees the change only once the new branch is longer than the old.
    pub fn reorg(&self, depth: u32) {
        let mut state = lock(&self.state);
        state.disconnect(depth);
    }

    /// The height of the last block.
    pub fn height(&self) -> u32 {
        lock(&self.state).height()
    }

    /// The last block's hash and height.
    pub fn tip(&self) -> BestBlock {
        lock(&self.state).tip()
    }

    /// The block at `height`.
    pub fn block(&self, height: u32) -> Option<Block> {
        lock(&self.state).blocks.get(height as usize).cloned()
    }

    /// The last block that the branch ending in `hash` has in common with the chain as it is now.
    /// Panics for a block that this chain never had.
    pub fn fork_point(&self, hash: BlockHash) -> BestBlock {
        lock(&self.state).fork_point(hash)
    }

    /// All unconfirmed transactions, parents first.
    pub fn mempool(&self) -> Vec<Transaction> {
        lock(&self.state).mempool.clone()
    }

    /// Finds a transaction in the chain or the mempool.
    pub fn transaction(&self, txid: Txid) -> Option<Spend> {
        lock(&self.state).transaction(txid)
    }

    /// The transaction that spends an output, in the chain or the mempool.
    pub fn spender(&self, outpoint: OutPoint) -> Option<Spend> {
        lock(&self.state).spender(outpoint)
    }

    /// The confirmed outputs of a script that no block has spent, coinbases only when mature.
    /// Spends in the mempool do not count: they may be replaced.
    pub fn coins(&self, script: &Script) -> Vec<(OutPoint, TxOut)> {
        lock(&self.state).coins(script)
    }

    /// Sends `amount` to `script` from the faucet; it is in the mempool until the next block. The
    /// output is number 0.
    pub fn pay(&self, script: &Script, amount: Amount) -> Transaction {
        self.pay_many(script, &[amount])
    }

    /// Like [`Chain::pay`], with one output for each amount.
    pub fn pay_many(&self, script: &Script, amounts: &[Amount]) -> Transaction {
        let tx = self.prepare(script, amounts);
        self.submit_as(FAUCET, &tx)
            .expect("the faucet makes valid transactions");
        tx
    }

    /// A payment from the faucet that is not submitted: somebody else will. Until then the faucet
    /// leaves its coins alone.
    pub fn prepare_payment(&self, script: &Script, amount: Amount) -> Transaction {
        self.prepare(script, &[amount])
    }

    fn prepare(&self, script: &Script, amounts: &[Amount]) -> Transaction {
        let outputs = amounts.iter().map(|&value| TxOut {
            value,
            script_pubkey: script.to_owned(),
        });
        lock(&self.state).faucet(outputs.collect())
    }

    /// Everything that was ever submitted, in order, whether it was accepted or not.
    pub fn submissions(&self) -> Vec<Submission> {
        lock(&self.state).submissions.clone()
    }

    /// Everything that `name` ever submitted, in order, whether it was accepted or not.
    pub fn submitted_by(&self, name: &str) -> Vec<Transaction> {
        let state = lock(&self.state);
        let by_name = state.submissions.iter().filter(|s| s.by == name);
        by_name.map(|s| s.tx.clone()).collect()
    }

    /// Writes the chain's [file](mod@file) now; it is also written when the chain is dropped.
    pub fn save(&self) -> PathBuf {
        file::write(&self.file, &lock(&self.state).connected);
        self.file.clone()
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.save();
    }
}
