//! Transactions and blocks in Esplora's JSON.

use bitcoin::address::Address;
use bitcoin::hex::DisplayHex;
use bitcoin::{Block, Network, OutPoint, Script, Transaction, TxIn, TxOut, Txid};
use serde_json::{json, Value};

use crate::chain::{Chain, Position};

/// Whether and where a transaction is confirmed. One that nobody knows is not.
pub(super) fn status(chain: &Chain, position: Option<Position>) -> Value {
    let Some(Position { height, block, .. }) = position else {
        return json!({ "confirmed": false });
    };
    let header = chain.block(height).map(|block| block.header);
    json!({
        "confirmed": true,
        "block_height": height,
        "block_hash": block,
        "block_time": header.map_or(0, |header| header.time),
    })
}

pub(super) fn transaction(chain: &Chain, tx: &Transaction) -> Value {
    let txid = tx.compute_txid();
    let spent: Vec<Option<TxOut>> = tx.input.iter().map(|i| prevout(chain, i)).collect();
    let received: u64 = spent.iter().flatten().map(|o| o.value.to_sat()).sum();
    let sent: u64 = tx.output.iter().map(|o| o.value.to_sat()).sum();
    let inputs = tx.input.iter().zip(&spent);
    json!({
        "txid": txid,
        "version": tx.version.0,
        "locktime": tx.lock_time.to_consensus_u32(),
        "vin": inputs.map(|(input, spent)| vin(input, spent.as_ref())).collect::<Vec<_>>(),
        "vout": tx.output.iter().map(vout).collect::<Vec<_>>(),
        "size": tx.total_size(),
        "weight": tx.weight().to_wu(),
        "fee": if tx.is_coinbase() { 0 } else { received - sent },
        "status": status(chain, chain.position(txid)),
    })
}

pub(super) fn spend(chain: &Chain, output: OutPoint) -> Value {
    let Some(by) = chain.spender(output) else {
        return json!({ "spent": false });
    };
    let mut inputs = by.tx.input.iter();
    spent_by(
        chain,
        by.tx.compute_txid(),
        inputs.position(|input| input.previous_output == output),
    )
}

pub(super) fn spent_by(chain: &Chain, txid: Txid, vin: Option<usize>) -> Value {
    json!({
        "spent": true,
        "txid": txid,
        "vin": vin,
        "status": status(chain, chain.position(txid)),
    })
}

pub(super) fn block(chain: &Chain, height: u32, block: &Block) -> Value {
    json!({
        "id": block.block_hash(),
        "height": height,
        "version": block.header.version.to_consensus(),
        "timestamp": block.header.time,
        "tx_count": block.txdata.len(),
        "size": block.total_size(),
        "weight": block.weight().to_wu(),
        "merkle_root": block.header.merkle_root,
        "previousblockhash": (height > 0).then_some(block.header.prev_blockhash),
        "mediantime": chain.median_time_past(height),
        "nonce": block.header.nonce,
        "bits": block.header.bits.to_consensus(),
        "difficulty": block.header.difficulty_float(),
    })
}

fn prevout(chain: &Chain, input: &TxIn) -> Option<TxOut> {
    let OutPoint { txid, vout } = input.previous_output;
    let parent = chain.transaction(txid)?;
    parent.tx.output.get(vout as usize).cloned()
}

fn vin(input: &TxIn, spent: Option<&TxOut>) -> Value {
    let witness = input.witness.iter().map(|item| item.to_lower_hex_string());
    json!({
        "txid": input.previous_output.txid,
        "vout": input.previous_output.vout,
        "prevout": spent.map(vout),
        "scriptsig": input.script_sig.to_hex_string(),
        "scriptsig_asm": input.script_sig.to_asm_string(),
        "witness": witness.collect::<Vec<_>>(),
        "is_coinbase": input.previous_output.is_null(),
        "sequence": input.sequence.0,
    })
}

fn vout(output: &TxOut) -> Value {
    let script = &output.script_pubkey;
    let mut vout = json!({
        "scriptpubkey": script.to_hex_string(),
        "scriptpubkey_asm": script.to_asm_string(),
        "scriptpubkey_type": kind(script),
        "value": output.value.to_sat(),
    });
    if let Ok(address) = Address::from_script(script, Network::Regtest) {
        vout["scriptpubkey_address"] = address.to_string().into();
    }
    vout
}

fn kind(script: &Script) -> &'static str {
    if script.is_p2wpkh() {
        "v0_p2wpkh"
    } else if script.is_p2wsh() {
        "v0_p2wsh"
    } else if script.is_p2tr() {
        "v1_p2tr"
    } else if script.is_op_return() {
        "op_return"
    } else if script.is_p2pkh() {
        "p2pkh"
    } else if script.is_p2sh() {
        "p2sh"
    } else if script.is_p2pk() {
        "p2pk"
    } else {
        "unknown"
    }
}
