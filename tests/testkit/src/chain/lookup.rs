//! Finding things in the chain, as an index of it would.

use std::collections::HashSet;

use bitcoin::{BlockHash, OutPoint, Script, Transaction, Txid};

use super::{block, Chain, Spend};
use crate::lock::lock;

/// Where a transaction is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The height of its block.
    pub height: u32,
    /// The hash of its block.
    pub block: BlockHash,
    /// Its index in the block.
    pub index: u32,
}

impl Chain {
    /// The height of a block of the chain as it is now.
    pub fn height_of(&self, hash: BlockHash) -> Option<u32> {
        lock(&self.state).height_of(hash)
    }

    /// Where a transaction is confirmed.
    pub fn position(&self, txid: Txid) -> Option<Position> {
        let state = lock(&self.state);
        let (height, index) = state.position(txid)?;
        Some(Position {
            height,
            block: state.blocks[height as usize].block_hash(),
            index: index as u32,
        })
    }

    /// All transactions that pay to scripts like this or spend what these had, oldest first, the
    /// unconfirmed ones last.
    pub fn history(&self, like_this: impl Fn(&Script) -> bool) -> Vec<Spend> {
        let state = lock(&self.state);
        let confirmed = (0u32..).zip(&state.blocks).flat_map(|(height, block)| {
            let txs = block.txdata.iter();
            txs.map(move |tx| (tx, Some(height)))
        });
        let unconfirmed = state.mempool.iter().map(|tx| (tx, None));
        let mut had = HashSet::new();
        let mut found = Vec::new();
        for (tx, height) in confirmed.chain(unconfirmed) {
            if concerns(tx, &like_this, &mut had) {
                found.push(Spend {
                    tx: tx.clone(),
                    height,
                });
            }
        }
        found
    }

    /// The median time that time locks in the block after this height are measured against.
    pub fn median_time_past(&self, height: u32) -> u32 {
        let state = lock(&self.state);
        block::median_time_past(&state.blocks[..=height as usize])
    }
}

/// `had` are the outputs of the scripts so far.
fn concerns(
    tx: &Transaction,
    like_this: &impl Fn(&Script) -> bool,
    had: &mut HashSet<OutPoint>,
) -> bool {
    let mut inputs = tx.input.iter();
    let spends = inputs.any(|input| had.contains(&input.previous_output));
    let outputs = (0u32..).zip(&tx.output);
    let paid: Vec<u32> = outputs
        .filter(|(_, output)| like_this(&output.script_pubkey))
        .map(|(vout, _)| vout)
        .collect();
    if paid.is_empty() {
        return spends;
    }
    let txid = tx.compute_txid();
    had.extend(paid.into_iter().map(|vout| OutPoint { txid, vout }));
    true
}
