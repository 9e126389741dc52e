//! From a path to an answer.

use std::str::FromStr;

use bitcoin::consensus::encode::{deserialize_hex, serialize, serialize_hex};
use bitcoin::hashes::{sha256, Hash};
use bitcoin::{Block, BlockHash, MerkleBlock, OutPoint, Transaction, TxMerkleNode, Txid};
use hyper::Method;
use serde_json::{json, Value};

use super::json as shape;
use super::{Answer, Fault, Shared, SUBMITTER};
use crate::chain::{Chain, Rejected, Spend};
use crate::lock::lock;

/// How many confirmed transactions a page of a history has.
const PAGE: usize = 25;
/// How many unconfirmed transactions of a history are told.
const UNCONFIRMED: usize = 50;
/// How many blocks `/blocks` lists.
const BLOCKS: u32 = 10;

impl Shared {
    /// The answer of a server that lies like this.
    pub fn answer(&self, method: &Method, path: &str, body: &[u8], lie: Option<Fault>) -> Answer {
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let lied = lie.and_then(|lie| self.lie(&lie, method, &parts, body));
        if let Some(answer) = lied {
            return answer;
        }
        let answer = match (method, &parts[..]) {
            (&Method::POST, ["tx"]) => Some(self.broadcast(body)),
            (&Method::GET, parts) => self.get(parts),
            _ => None,
        };
        answer.unwrap_or_else(not_found)
    }

    pub fn get(&self, parts: &[&str]) -> Option<Answer> {
        let chain = &*self.chain;
        match *parts {
            ["blocks", "tip", "height"] => Some(text(chain.height())),
            ["blocks", "tip", "hash"] => Some(text(chain.tip().block_hash)),
            ["blocks"] => blocks(chain, chain.height()),
            ["blocks", start] => blocks(chain, parse(start)?),
            ["block-height", height] => {
                let block = chain.block(parse(height)?)?;
                Some(text(block.block_hash()))
            }
            ["block", hash, "status"] => Some(block_status(chain, parse(hash)?)),
            ["block", hash, ref rest @ ..] => {
                let height = chain.height_of(parse(hash)?)?;
                block(chain, height, &chain.block(height)?, rest)
            }
            ["tx", txid, "status"] => {
                let position = chain.position(parse(txid)?);
                Some(json(&shape::status(chain, position)))
            }
            ["tx", txid, "outspend", vout] => {
                let output = OutPoint::new(parse(txid)?, parse(vout)?);
                Some(json(&shape::spend(chain, output)))
            }
            ["tx", txid, ref rest @ ..] => {
                let Spend { tx, height } = chain.transaction(parse(txid)?)?;
                transaction(chain, &tx, height, rest)
            }
            ["scripthash", hash, ref rest @ ..] => script(chain, parse(hash)?, rest),
            ["fee-estimates"] => {
                let fees = lock(&self.fees);
                let named = fees
                    .iter()
                    .map(|(blocks, fee)| (blocks.to_string(), json!(fee)));
                Some(json(&Value::Object(named.collect())))
            }
            ["mempool", "recent"] => {
                let txs = chain.mempool();
                let newest = txs.iter().rev().take(10);
                let told: Vec<_> = newest.map(|tx| recent(chain, tx)).collect();
                Some(json(&told.into()))
            }
            _ => None,
        }
    }

    fn broadcast(&self, body: &[u8]) -> Answer {
        let hex = String::from_utf8_lossy(body);
        let Ok(tx) = deserialize_hex::<Transaction>(hex.trim()) else {
            return refusal(-22, "TX decode failed");
        };
        match self.chain.submit_as(SUBMITTER, &tx) {
            Ok(txid) => text(txid),
            Err(Rejected::AlreadyMined) => refusal(-27, "Transaction outputs already in utxo set"),
            Err(Rejected::MissingInput(_) | Rejected::DoubleSpend { .. }) => {
                refusal(-25, "bad-txns-inputs-missingorspent")
            }
            Err(other) => refusal(-26, &other.to_string()),
        }
    }
}

pub(super) fn text(text: impl ToString) -> Answer {
    Answer {
        status: 200,
        body: text.to_string().into_bytes(),
        content_type: "text/plain",
    }
}

pub(super) fn json(value: &Value) -> Answer {
    Answer {
        content_type: "application/json",
        ..text(value)
    }
}

pub(super) fn parse<T: FromStr>(part: &str) -> Option<T> {
    part.parse().ok()
}

/// A script's transactions: the unconfirmed ones, and the confirmed ones with the newest first.
pub(super) fn history(chain: &Chain, script_hash: sha256::Hash) -> [Vec<Transaction>; 2] {
    let all = chain.history(|script| sha256::Hash::hash(script.as_bytes()) == script_hash);
    let (mut confirmed, unconfirmed): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|spend| spend.height.is_some());
    confirmed.reverse();
    [unconfirmed, confirmed].map(|spends| spends.into_iter().map(|spend| spend.tx).collect())
}

fn raw(bytes: Vec<u8>) -> Answer {
    Answer {
        status: 200,
        body: bytes,
        content_type: "application/octet-stream",
    }
}

fn not_found() -> Answer {
    Answer {
        status: 404,
        ..text("Not found")
    }
}

fn refusal(code: i32, message: &str) -> Answer {
    let error = json!({ "code": code, "message": message });
    Answer {
        status: 400,
        ..text(format!("sendrawtransaction RPC error: {error}"))
    }
}

fn blocks(chain: &Chain, start: u32) -> Option<Answer> {
    let last = start.saturating_sub(BLOCKS - 1);
    let told: Option<Vec<Value>> = (last..=start)
        .rev()
        .map(|height| Some(shape::block(chain, height, &chain.block(height)?)))
        .collect();
    Some(json(&told?.into()))
}

fn block_status(chain: &Chain, hash: BlockHash) -> Answer {
    let Some(height) = chain.height_of(hash) else {
        return json(&json!({ "in_best_chain": false }));
    };
    let next = chain.block(height + 1).map(|block| block.block_hash());
    json(&json!({ "in_best_chain": true, "height": height, "next_best": next }))
}

fn block(chain: &Chain, height: u32, block: &Block, rest: &[&str]) -> Option<Answer> {
    let txids = || block.txdata.iter().map(Transaction::compute_txid);
    match *rest {
        [] => Some(json(&shape::block(chain, height, block))),
        ["header"] => Some(text(serialize_hex(&block.header))),
        ["raw"] => Some(raw(serialize(block))),
        ["txids"] => Some(json(&txids().map(|txid| json!(txid)).collect())),
        ["txid", index] => txids().nth(parse(index)?).map(text),
        _ => None,
    }
}

fn transaction(
    chain: &Chain,
    tx: &Transaction,
    height: Option<u32>,
    rest: &[&str],
) -> Option<Answer> {
    let txid = tx.compute_txid();
    match *rest {
        [] => Some(json(&shape::transaction(chain, tx))),
        ["raw"] => Some(raw(serialize(tx))),
        ["hex"] => Some(text(serialize_hex(tx))),
        ["outspends"] => {
            let outputs = (0..tx.output.len() as u32).map(|vout| OutPoint { txid, vout });
            Some(json(&outputs.map(|o| shape::spend(chain, o)).collect()))
        }
        ["merkleblock-proof"] => {
            let block = chain.block(height?)?;
            let proof = MerkleBlock::from_block_with_predicate(&block, |id| *id == txid);
            Some(text(serialize_hex(&proof)))
        }
        ["merkle-proof"] => {
            let block = chain.block(height?)?;
            let (merkle, pos) = merkle_branch(&block, txid)?;
            let proof = json!({ "block_height": height, "merkle": merkle, "pos": pos });
            Some(json(&proof))
        }
        _ => None,
    }
}

/// The neighbours of a transaction's hash on the way to the root, lowest first.
fn merkle_branch(block: &Block, txid: Txid) -> Option<(Vec<TxMerkleNode>, usize)> {
    let txids = block.txdata.iter().map(Transaction::compute_txid);
    let mut row: Vec<TxMerkleNode> = txids.map(TxMerkleNode::from).collect();
    let position = row
        .iter()
        .position(|node| *node == TxMerkleNode::from(txid))?;
    let mut branch = Vec::new();
    let mut index = position;
    while row.len() > 1 {
        // The last of an odd number is paired with itself.
        row.extend((row.len() % 2 == 1).then(|| row[row.len() - 1]));
        branch.push(row[index ^ 1]);
        let pairs = row.chunks(2);
        row = pairs
            .map(|pair| {
                let both = [pair[0].to_byte_array(), pair[1].to_byte_array()].concat();
                TxMerkleNode::hash(&both)
            })
            .collect();
        index /= 2;
    }
    Some((branch, position))
}

fn script(chain: &Chain, hash: sha256::Hash, rest: &[&str]) -> Option<Answer> {
    let [mut unconfirmed, confirmed] = history(chain, hash);
    unconfirmed.truncate(UNCONFIRMED);
    let told: Vec<Transaction> = match *rest {
        ["txs"] => {
            let first = confirmed.into_iter().take(PAGE);
            unconfirmed.into_iter().chain(first).collect()
        }
        ["txs", "mempool"] => unconfirmed,
        ["txs", "chain"] => confirmed.into_iter().take(PAGE).collect(),
        ["txs", "chain", last] => {
            let last: Txid = parse(last)?;
            let mut rest = confirmed.into_iter();
            rest.find(|tx| tx.compute_txid() == last)?;
            rest.take(PAGE).collect()
        }
        ["utxo"] => return Some(json(&unspent(chain, hash))),
        _ => return None,
    };
    let shapes: Vec<Value> = told
        .iter()
        .map(|tx| shape::transaction(chain, tx))
        .collect();
    Some(json(&shapes.into()))
}

fn unspent(chain: &Chain, hash: sha256::Hash) -> Value {
    let mut coins = Vec::new();
    for tx in history(chain, hash).concat() {
        let txid = tx.compute_txid();
        for (vout, output) in (0u32..).zip(&tx.output) {
            let ours = sha256::Hash::hash(output.script_pubkey.as_bytes()) == hash;
            if ours && chain.spender(OutPoint { txid, vout }).is_none() {
                coins.push(json!({
                    "txid": txid,
                    "vout": vout,
                    "status": shape::status(chain, chain.position(txid)),
                    "value": output.value.to_sat(),
                }));
            }
        }
    }
    coins.into()
}

fn recent(chain: &Chain, tx: &Transaction) -> Value {
    let whole = shape::transaction(chain, tx);
    let value: u64 = tx.output.iter().map(|output| output.value.to_sat()).sum();
    json!({ "txid": whole["txid"], "fee": whole["fee"], "vsize": tx.vsize(), "value": value })
}
