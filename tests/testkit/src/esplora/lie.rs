//! The answers of a server that lies.

use bitcoin::block::Header;
use bitcoin::consensus::encode::{deserialize_hex, serialize, serialize_hex};
use bitcoin::constants::genesis_block;
use bitcoin::hashes::Hash;
use bitcoin::merkle_tree::PartialMerkleTree;
use bitcoin::{BlockHash, MerkleBlock, Network, Transaction, TxMerkleNode, Txid};
use hyper::Method;
use serde_json::{json, Value};

use super::api::{json, parse, text};
use super::json as shape;
use super::{Answer, Fault, Shared};
use crate::lock::lock;

impl Shared {
    /// `None` where the lie is not about what was asked.
    pub fn lie(&self, lie: &Fault, method: &Method, parts: &[&str], body: &[u8]) -> Option<Answer> {
        let chain = &*self.chain;
        let tip = chain.block(chain.height())?;
        let stranger = &tip.txdata[0];
        match (lie, parts) {
            (Fault::OtherChain, ["block-height", "0"]) => {
                Some(text(genesis_block(Network::Bitcoin).block_hash()))
            }
            (Fault::WrongHeader, ["block", _, "header"]) => {
                let other = chain.block(chain.height() / 2)?;
                Some(text(serialize_hex(&other.header)))
            }
            (Fault::NoWork, parts) => self.without_work(parts),
            (Fault::ShiftedHeights, ["block-height", height]) => {
                let height: u32 = parse(height)?;
                Some(text(chain.block(height.saturating_sub(1))?.block_hash()))
            }
            (Fault::WrongIndex, ["block", hash, "txid", index]) => {
                let block = chain.block(chain.height_of(parse(hash)?)?)?;
                let index = (parse::<usize>(index)? + 1) % block.txdata.len();
                Some(text(block.txdata[index].compute_txid()))
            }
            (Fault::WrongTransaction, ["tx", _, "raw"]) => Some(Answer {
                body: serialize(stranger),
                ..text("")
            }),
            (Fault::WrongTransaction, ["tx", _, "hex"]) => Some(text(serialize_hex(stranger))),
            (Fault::WrongTransaction, ["scripthash", ..]) => self.history(parts, |txs| {
                for tx in txs {
                    let sat = tx["vout"][0]["value"].as_u64().unwrap_or(0);
                    tx["vout"][0]["value"] = json!(sat + 1);
                }
            }),
            (Fault::WrongSpend, ["tx", _, "outspend", _]) => {
                let lie = shape::spent_by(chain, stranger.compute_txid(), Some(0));
                Some(json(&lie))
            }
            (Fault::UnknownSpend, ["tx", txid, "outspend", _]) => {
                let nobody = Txid::hash(txid.as_bytes());
                Some(json(&shape::spent_by(chain, nobody, Some(0))))
            }
            (Fault::ForgedConfirmation, ["tx", txid, rest @ ..]) => {
                self.confirmed_in(&tip.header, parse(txid)?, rest)
            }
            (Fault::ForeignHistory, ["scripthash", ..]) => self.history(parts, |txs| {
                txs.push(shape::transaction(chain, stranger));
            }),
            (Fault::CirclingHistory, ["scripthash", hash, "txs", "chain", _]) => {
                self.get(&["scripthash", hash, "txs", "chain"])
            }
            (Fault::WrongBroadcast, ["tx"]) if method == Method::POST => {
                Some(text(stranger.compute_txid()))
            }
            (Fault::RefusedBroadcast, ["tx"]) if method == Method::POST => Some(Answer {
                status: 400,
                ..text("sendrawtransaction RPC error: min relay fee not met")
            }),
            (Fault::LostBroadcast, ["tx"]) if method == Method::POST => {
                let hex = std::str::from_utf8(body).ok()?;
                let tx: Transaction = deserialize_hex(hex.trim()).ok()?;
                Some(text(tx.compute_txid()))
            }
            (Fault::TipBehind(blocks), ["blocks", "tip", "hash"]) => {
                let below = chain.block(chain.height().saturating_sub(*blocks))?;
                Some(text(below.block_hash()))
            }
            (Fault::HiddenSpend, ["tx", _, "outspend", _]) => {
                Some(json(&json!({ "spent": false })))
            }
            _ => None,
        }
    }

    /// The honest page, changed.
    fn history(&self, parts: &[&str], change: impl FnOnce(&mut Vec<Value>)) -> Option<Answer> {
        let honest = self.get(parts)?;
        let mut page: Vec<Value> = serde_json::from_slice(&honest.body).ok()?;
        change(&mut page);
        Some(json(&page.into()))
    }

    /// A consistent story about a best block that nobody has worked for: everything about it fits, but
    /// its hash is above its target.
    fn without_work(&self, parts: &[&str]) -> Option<Answer> {
        let height = self.chain.height();
        let tip = self.chain.block(height)?.header;
        match *parts {
            ["blocks", "tip", "hash"] => {
                let header = self.forge(tip, tip.merkle_root);
                Some(text(header.block_hash()))
            }
            ["block-height", asked] if parse::<u32>(asked) == Some(height) => {
                let header = lock(&self.forged).last().copied();
                let header = header.unwrap_or_else(|| self.forge(tip, tip.merkle_root));
                Some(text(header.block_hash()))
            }
            ["block", hash, "header"] => Some(text(serialize_hex(&self.forged(parse(hash)?)?))),
            ["block", hash, "status"] => {
                self.forged(parse(hash)?)?;
                Some(json(&json!({ "in_best_chain": true, "height": height })))
            }
            ["tx", txid, ref rest @ ..] => {
                let txid: Txid = parse(txid)?;
                let header = self.forge(tip, txid.into());
                self.confirmed_in(&header, txid, rest)
            }
            _ => None,
        }
    }

    /// A header without work, with this merkle root; the same one each time.
    fn forge(&self, like: Header, merkle_root: TxMerkleNode) -> Header {
        let mut header = Header {
            merkle_root,
            ..like
        };
        while header.validate_pow(header.target()).is_ok() {
            header.nonce = header.nonce.wrapping_add(1);
        }
        lock(&self.forged).push(header);
        header
    }

    fn forged(&self, hash: BlockHash) -> Option<Header> {
        let forged = lock(&self.forged);
        forged.iter().find(|h| h.block_hash() == hash).copied()
    }

    /// Says of any transaction that it is alone in the best block, with this header.
    fn confirmed_in(&self, header: &Header, txid: Txid, rest: &[&str]) -> Option<Answer> {
        match *rest {
            ["status"] => Some(json(&json!({
                "confirmed": true,
                "block_height": self.chain.height(),
                "block_hash": header.block_hash(),
                "block_time": header.time,
            }))),
            ["merkleblock-proof"] => Some(text(serialize_hex(&MerkleBlock {
                header: *header,
                txn: PartialMerkleTree::from_txids(&[txid], &[true]),
            }))),
            _ => None,
        }
    }
}
