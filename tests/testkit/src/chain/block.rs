//! Making a block that Bitcoin Core accepts on regtest.

use std::time::{SystemTime, UNIX_EPOCH};

use bitcoin::block::{Header, Version};
use bitcoin::hashes::{sha256d, Hash};
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::{
    absolute, transaction, Amount, Block, CompactTarget, Network, OutPoint, ScriptBuf, Sequence,
    Transaction, TxIn, TxMerkleNode, TxOut, Witness, WitnessMerkleNode,
};

use super::anyone_can_spend;

/// On regtest the subsidy halves so often.
const HALVING: u32 = 150;
/// The easiest target there is: every second hash meets it.
const REGTEST_BITS: u32 = 0x207f_ffff;
/// The value that the coinbase commits to beside the witness root; its content is free.
const WITNESS_RESERVED: [u8; 32] = [0; 32];

pub(super) fn genesis() -> Block {
    bitcoin::constants::genesis_block(Network::Regtest)
}

/// The block after the last of `blocks`. `serial` makes it differ from a block of the same height
/// on another branch.
pub(super) fn assemble(
    blocks: &[Block],
    serial: u64,
    fees: Amount,
    txs: Vec<Transaction>,
) -> Block {
    let parent = &blocks[blocks.len() - 1];
    let height = blocks.len() as u32;
    let reward = Amount::from_sat(5_000_000_000 >> (height / HALVING).min(63)) + fees;
    let mut block = Block {
        header: Header {
            version: Version::from_consensus(0x2000_0000),
            prev_blockhash: parent.block_hash(),
            merkle_root: TxMerkleNode::all_zeros(),
            time: time_after(height, parent.header.time),
            bits: CompactTarget::from_consensus(REGTEST_BITS),
            nonce: 0,
        },
        txdata: vec![coinbase(height, serial, reward)],
    };
    block.txdata.extend(txs);
    commit_to_witnesses(&mut block);
    block.header.merkle_root = block.compute_merkle_root().expect("there is a coinbase");
    while block.header.validate_pow(block.header.target()).is_err() {
        block.header.nonce += 1;
    }
    block
}

/// The median of the last eleven blocks' times, which is what time locks are measured against.
pub(super) fn median_time_past(blocks: &[Block]) -> u32 {
    let mut times: Vec<u32> = blocks
        .iter()
        .rev()
        .take(11)
        .map(|b| b.header.time)
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn coinbase(height: u32, serial: u64, reward: Amount) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: Builder::new()
                .push_int(i64::from(height))
                .push_slice(serial.to_le_bytes())
                .into_script(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[WITNESS_RESERVED]),
        }],
        output: vec![TxOut {
            value: reward,
            script_pubkey: anyone_can_spend(&[]),
        }],
    }
}

/// Adds the BIP141 commitment. A coinbase counts with a zero hash in the witness root, so adding
/// the output does not change what it commits to.
fn commit_to_witnesses(block: &mut Block) {
    let root: WitnessMerkleNode = block.witness_root().expect("there is a coinbase");
    let mut preimage = root.to_byte_array().to_vec();
    preimage.extend_from_slice(&WITNESS_RESERVED);
    let commitment = sha256d::Hash::hash(&preimage);
    let mut push = PushBytesBuf::from([0xaa, 0x21, 0xa9, 0xed]);
    push.extend_from_slice(commitment.as_byte_array())
        .expect("36 bytes");
    block.txdata[0].output.push(TxOut {
        value: Amount::ZERO,
        script_pubkey: ScriptBuf::new_op_return(push),
    });
}

/// The first block is a day old, and each comes a second after the one before. So even a chain of
/// many thousand blocks does not reach into the future, where Bitcoin Core would refuse it.
fn time_after(height: u32, parent: u32) -> u32 {
    if height > 1 {
        return parent + 1;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock after 1970").as_secs() as u32 - 24 * 60 * 60
}
