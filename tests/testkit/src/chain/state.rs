//! The chain's present state, and how blocks and transactions change it.

use std::collections::{HashMap, HashSet};

use bitcoin::{Amount, Block, BlockHash, OutPoint, Script, Transaction, TxOut, Txid};
use lightning::chain::BestBlock;

use super::block;
use super::validate::{Coin, Rejected, View};
use super::{Spend, Submission};

pub(super) struct State {
    /// The chain as it is now; the index is the height.
    pub blocks: Vec<Block>,
    /// Every block ever connected but genesis, in that order, with its height.
    pub connected: Vec<(u32, Block)>,
    /// Hash to height of every block ever connected.
    heights: HashMap<BlockHash, u32>,
    /// Unspent outputs of the chain.
    coins: HashMap<OutPoint, Coin>,
    /// Where each confirmed transaction is.
    confirmed: HashMap<Txid, (u32, usize)>,
    /// The confirmed spender of each spent output.
    spent: HashMap<OutPoint, Txid>,
    /// Unconfirmed transactions, parents before children.
    pub mempool: Vec<Transaction>,
    pub submissions: Vec<Submission>,
    /// What the faucet has spent in transactions that it made.
    pub given: HashSet<OutPoint>,
}

impl State {
    pub fn genesis() -> State {
        let genesis = block::genesis();
        State {
            heights: HashMap::from([(genesis.block_hash(), 0)]),
            blocks: vec![genesis],
            connected: Vec::new(),
            coins: HashMap::new(),
            confirmed: HashMap::new(),
            spent: HashMap::new(),
            mempool: Vec::new(),
            submissions: Vec::new(),
            given: HashSet::new(),
        }
    }

    pub fn height(&self) -> u32 {
        self.blocks.len() as u32 - 1
    }

    pub fn tip(&self) -> BestBlock {
        let last = self.blocks.last().expect("there is always genesis");
        BestBlock::new(last.block_hash(), self.height())
    }

    pub fn fork_point(&self, hash: BlockHash) -> BestBlock {
        let mut hash = hash;
        loop {
            let height = *self
                .heights
                .get(&hash)
                .unwrap_or_else(|| panic!("block {hash} was never part of this chain"));
            let here = self.blocks.get(height as usize);
            if here.is_some_and(|block| block.block_hash() == hash) {
                return BestBlock::new(hash, height);
            }
            let gone = self.connected.iter().find(|(_, b)| b.block_hash() == hash);
            hash = gone.expect("known by its height").1.header.prev_blockhash;
        }
    }

    pub fn height_of(&self, hash: BlockHash) -> Option<u32> {
        let height = *self.heights.get(&hash)?;
        let here = self.blocks.get(height as usize);
        here.is_some_and(|block| block.block_hash() == hash)
            .then_some(height)
    }

    pub fn position(&self, txid: Txid) -> Option<(u32, usize)> {
        self.confirmed.get(&txid).copied()
    }

    pub fn transaction(&self, txid: Txid) -> Option<Spend> {
        if let Some(&(height, index)) = self.confirmed.get(&txid) {
            let tx = self.blocks[height as usize].txdata[index].clone();
            return Some(Spend {
                tx,
                height: Some(height),
            });
        }
        let tx = self.mempool.iter().find(|tx| tx.compute_txid() == txid)?;
        Some(Spend {
            tx: tx.clone(),
            height: None,
        })
    }

    pub fn spender(&self, outpoint: OutPoint) -> Option<Spend> {
        if let Some(&txid) = self.spent.get(&outpoint) {
            return self.transaction(txid);
        }
        let tx = self.mempool.iter().find(|tx| spends(tx, outpoint))?;
        Some(Spend {
            tx: tx.clone(),
            height: None,
        })
    }

    pub fn coins(&self, script: &Script) -> Vec<(OutPoint, TxOut)> {
        let next = self.height() + 1;
        let mut coins: Vec<_> = self
            .coins
            .iter()
            .filter(|(_, coin)| *coin.output.script_pubkey == *script && coin.mature_at(next))
            .map(|(outpoint, coin)| (*outpoint, coin.output.clone()))
            .collect();
        coins.sort_by_key(|(outpoint, output)| (std::cmp::Reverse(output.value), *outpoint));
        coins
    }

    pub fn submit(&mut self, tx: &Transaction) -> Result<Txid, Rejected> {
        let txid = tx.compute_txid();
        if self.confirmed.contains_key(&txid) {
            return Err(Rejected::AlreadyMined);
        }
        if self
            .mempool
            .iter()
            .any(|other| other.compute_txid() == txid)
        {
            return Ok(txid);
        }
        let displaced = self.displaced_by(tx);
        let kept: Vec<_> = (self.mempool.iter().enumerate())
            .filter(|(index, _)| !displaced.contains(index))
            .map(|(_, tx)| tx.clone())
            .collect();
        let fee = self.view(&kept).check(tx)?;
        if !displaced.is_empty() {
            let everything = self.view(&self.mempool);
            let theirs: Amount = displaced
                .iter()
                .map(|&i| everything.fee(&self.mempool[i]))
                .sum();
            if fee <= theirs {
                return Err(Rejected::FeeTooLow {
                    fee,
                    needed: theirs,
                });
            }
        }
        self.mempool = kept;
        self.mempool.push(tx.clone());
        Ok(txid)
    }

    /// The mempool transactions (by index) that could not stay beside `tx`: those that spend the
    /// same outputs, and their descendants.
    fn displaced_by(&self, tx: &Transaction) -> Vec<usize> {
        let mut gone: Vec<usize> = Vec::new();
        let mut gone_ids: Vec<Txid> = Vec::new();
        for (index, other) in self.mempool.iter().enumerate() {
            let conflict = tx
                .input
                .iter()
                .any(|input| spends(other, input.previous_output));
            let orphan = other
                .input
                .iter()
                .any(|i| gone_ids.contains(&i.previous_output.txid));
            if conflict || orphan {
                gone.push(index);
                gone_ids.push(other.compute_txid());
            }
        }
        gone
    }

    /// What a transaction in the next block could spend, if `unconfirmed` were mined before it.
    fn view<'a>(&'a self, unconfirmed: &'a [Transaction]) -> View<'a> {
        View::new(&self.blocks, &self.coins, &self.spent, unconfirmed)
    }

    pub fn connect(&mut self, txs: Vec<Transaction>) {
        let height = self.height() + 1;
        let mut fees = Amount::ZERO;
        for (index, tx) in txs.iter().enumerate() {
            let checked = self.view(&txs[..index]).check(tx);
            fees += checked.unwrap_or_else(|e| panic!("block {height}: invalid transaction: {e}"));
        }
        let serial = self.connected.len() as u64;
        let block = block::assemble(&self.blocks, serial, fees, txs);
        self.heights.insert(block.block_hash(), height);
        self.connected.push((height, block.clone()));
        self.index(height, &block);
        self.blocks.push(block);
    }

    fn index(&mut self, height: u32, block: &Block) {
        for (index, tx) in block.txdata.iter().enumerate() {
            let txid = tx.compute_txid();
            self.confirmed.insert(txid, (height, index));
            if index > 0 {
                for input in &tx.input {
                    self.coins.remove(&input.previous_output);
                    self.spent.insert(input.previous_output, txid);
                }
            }
            for (vout, output) in tx.output.iter().enumerate() {
                if output.script_pubkey.is_op_return() {
                    continue;
                }
                let coin = Coin {
                    output: output.clone(),
                    height,
                    coinbase: index == 0,
                };
                self.coins.insert(OutPoint::new(txid, vout as u32), coin);
            }
        }
    }

    pub fn disconnect(&mut self, depth: u32) {
        assert!(depth <= self.height(), "a reorg deeper than the chain");
        let keep = self.blocks.len() - depth as usize;
        let gone = self.blocks.split_off(keep);
        self.coins.clear();
        self.confirmed.clear();
        self.spent.clear();
        let blocks = std::mem::take(&mut self.blocks);
        for (height, block) in blocks.iter().enumerate().skip(1) {
            self.index(height as u32, block);
        }
        self.blocks = blocks;
        let returned = gone
            .into_iter()
            .flat_map(|block| block.txdata.into_iter().skip(1));
        let pending = std::mem::take(&mut self.mempool);
        self.mempool = returned.chain(pending).collect();
        self.revalidate_mempool();
    }

    /// Drops what has become invalid, now that the chain is another.
    pub fn revalidate_mempool(&mut self) {
        let mut kept: Vec<Transaction> = Vec::new();
        for tx in std::mem::take(&mut self.mempool) {
            let mined = self.confirmed.contains_key(&tx.compute_txid());
            if !mined && self.view(&kept).check(&tx).is_ok() {
                kept.push(tx);
            }
        }
        self.mempool = kept;
    }
}

fn spends(tx: &Transaction, outpoint: OutPoint) -> bool {
    tx.input
        .iter()
        .any(|input| input.previous_output == outpoint)
}
