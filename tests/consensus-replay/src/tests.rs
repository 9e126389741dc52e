//! Tiny chains made by hand, right ones and wrong ones.

#![allow(clippy::unwrap_used, clippy::panic)]

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::consensus::encode::serialize;
use bitcoin::constants::genesis_block;
use bitcoin::hashes::Hash;
use bitcoin::opcodes::OP_TRUE;
use bitcoin::script::Builder;
use bitcoin::transaction;
use bitcoin::{
    Amount, Block, BlockHash, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn,
    TxMerkleNode, TxOut, Witness,
};

use crate::{replay, Accepted, ChainFile, FormatError, Refusal};

const SUBSIDY: Amount = Amount::from_sat(50_0000_0000);
const ONE_SAT: Amount = Amount::from_sat(1);

#[test]
fn a_chain_of_empty_blocks_is_accepted() {
    let blocks = mine(genesis(), 3);
    assert_eq!(
        replay(&file(&blocks, 3)).unwrap(),
        Accepted {
            height: 3,
            blocks: 3
        }
    );
}

#[test]
fn a_coinbase_is_spent_when_it_is_mature() {
    let mut blocks = mine(genesis(), 100);
    let spend = spend_coinbase_of(&blocks[0]);
    blocks.push(block(tip(&blocks), SUBSIDY, vec![spend]));
    assert_eq!(
        replay(&file(&blocks, 101)).unwrap(),
        Accepted {
            height: 101,
            blocks: 101
        }
    );
}

#[test]
fn one_block_too_early_it_is_not() {
    let mut blocks = mine(genesis(), 99);
    let spend = spend_coinbase_of(&blocks[0]);
    blocks.push(block(tip(&blocks), SUBSIDY, vec![spend]));
    assert_refused(
        &file(&blocks, 100),
        99,
        "bad-txns-premature-spend-of-coinbase",
    );
}

#[test]
fn one_sat_too_much_is_refused() {
    let mut blocks = mine(genesis(), 2);
    blocks.push(block(tip(&blocks), SUBSIDY + ONE_SAT, vec![]));
    assert_refused(&file(&blocks, 3), 2, "bad-cb-amount");
}

#[test]
fn the_longer_branch_wins() {
    let old = mine(genesis(), 4);
    let fork = tip(&old[..2]);
    // A second later, for the first block of both branches not to be the same.
    let new = mine(
        At {
            time: fork.time + 1,
            ..fork
        },
        3,
    );
    let blocks = [old, new].concat();
    let accepted = replay(&file(&blocks, 5)).unwrap();
    assert_eq!(
        accepted,
        Accepted {
            height: 5,
            blocks: 7
        }
    );
    assert_eq!(accepted.reorganised(), 2);
}

/// Core checks the scripts and amounts of a side branch only when it overtakes.
#[test]
fn a_bad_block_in_a_branch_that_overtakes_is_refused() {
    let mut blocks = mine(genesis(), 2);
    let bad = block(genesis(), SUBSIDY + ONE_SAT, vec![]);
    let second = mine(tip(std::slice::from_ref(&bad)), 2);
    blocks.push(bad);
    blocks.extend(second);
    assert_refused(&file(&blocks, 3), 4, "bad-cb-amount");
}

#[test]
fn a_block_without_its_parent_is_refused() {
    let blocks = mine(genesis(), 2);
    assert_refused(&file(&blocks[1..], 1), 0, "prev-blk-not-found");
}

#[test]
fn bytes_that_are_no_block_are_refused() {
    let chain = ChainFile {
        height: 1,
        tip: [0; 32],
        blocks: vec![vec![7; 90]],
    };
    assert!(matches!(
        replay(&chain),
        Err(Refusal::Block { index: 0, .. })
    ));
}

#[test]
fn another_height_than_stated_is_refused() {
    let blocks = mine(genesis(), 3);
    for stated in [2, 4] {
        match replay(&file(&blocks, stated)) {
            Err(Refusal::Tip {
                stated: s,
                reached: 3,
            }) => assert_eq!(s, stated),
            other => panic!("{other:?}"),
        }
    }
}

/// Of two branches of one height Core keeps the first.
#[test]
fn another_tip_than_stated_is_refused() {
    let first = mine(genesis(), 2);
    let second = mine(
        At {
            time: genesis().time + 1,
            ..genesis()
        },
        2,
    );
    let mut chain = file(&[first.clone(), second].concat(), 2);
    assert!(matches!(
        replay(&chain),
        Err(Refusal::Tip {
            stated: 2,
            reached: 2
        })
    ));
    chain.tip = tip(&first).hash.to_byte_array();
    assert_eq!(
        replay(&chain).unwrap(),
        Accepted {
            height: 2,
            blocks: 4
        }
    );
}

#[test]
fn the_format() {
    let mut whole = b"TKCHAIN1\x39\x01\0\0".to_vec();
    whole.extend([0xab; 32]);
    whole.extend(b"\x02\0\0\0\x03\0\0\0abc\0\0\0\0");
    let chain = ChainFile {
        height: 313,
        tip: [0xab; 32],
        blocks: vec![b"abc".to_vec(), vec![]],
    };
    assert_eq!(ChainFile::parse(&whole), Ok(chain));

    for end in 8..whole.len() {
        assert_eq!(
            ChainFile::parse(&whole[..end]),
            Err(FormatError::CutShort),
            "{end}"
        );
    }
    assert_eq!(
        ChainFile::parse(&whole[..7]),
        Err(FormatError::NotAChainFile)
    );
    assert_eq!(
        ChainFile::parse(b"TKCHAIN2"),
        Err(FormatError::NotAChainFile)
    );
    let longer = [&whole, b"x".as_slice()].concat();
    assert_eq!(
        ChainFile::parse(&longer),
        Err(FormatError::TrailingBytes(1))
    );
    whole[51] = 0xff; // a block of 4 GB
    assert_eq!(ChainFile::parse(&whole), Err(FormatError::CutShort));
}

fn assert_refused(chain: &ChainFile, at: usize, why: &str) {
    match replay(chain) {
        Err(Refusal::Block { index, reason }) => {
            assert_eq!(index, at);
            assert!(reason.contains(why), "{reason}");
        }
        other => panic!("expected a refusal of block {at} with {why}, got {other:?}"),
    }
}

/// Says that the last block is the tip.
fn file(blocks: &[Block], height: u32) -> ChainFile {
    ChainFile {
        height,
        tip: tip(blocks).hash.to_byte_array(),
        blocks: blocks.iter().map(serialize).collect(),
    }
}

/// What the next block is built on.
#[derive(Clone, Copy)]
struct At {
    hash: BlockHash,
    height: u32,
    time: u32,
}

fn genesis() -> At {
    let header = genesis_block(Network::Regtest).header;
    At {
        hash: header.block_hash(),
        height: 0,
        time: header.time,
    }
}

/// The tip of a chain that starts right above genesis.
fn tip(blocks: &[Block]) -> At {
    blocks.last().map_or_else(genesis, |block| At {
        hash: block.block_hash(),
        height: u32::try_from(blocks.len()).unwrap(),
        time: block.header.time,
    })
}

fn mine(mut at: At, count: u32) -> Vec<Block> {
    let mut blocks = Vec::new();
    for _ in 0..count {
        let block = block(at, SUBSIDY, vec![]);
        at = At {
            hash: block.block_hash(),
            height: at.height + 1,
            time: block.header.time,
        };
        blocks.push(block);
    }
    blocks
}

fn block(at: At, claimed: Amount, transactions: Vec<Transaction>) -> Block {
    let mut block = Block {
        header: Header {
            version: Version::from_consensus(0x2000_0000),
            prev_blockhash: at.hash,
            merkle_root: TxMerkleNode::all_zeros(),
            time: at.time + 600,
            bits: genesis_block(Network::Regtest).header.bits,
            nonce: 0,
        },
        txdata: [vec![coinbase(at.height + 1, claimed)], transactions].concat(),
    };
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    while block.header.validate_pow(block.header.target()).is_err() {
        block.header.nonce += 1;
    }
    block
}

fn coinbase(height: u32, claimed: Amount) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            // The height (BIP 34), and a push to reach the least length of two bytes.
            script_sig: Builder::new()
                .push_int(height.into())
                .push_int(1)
                .into_script(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![anyone_can_spend(claimed)],
    }
}

fn spend_coinbase_of(block: &Block) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(block.txdata[0].compute_txid(), 0),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![anyone_can_spend(SUBSIDY - ONE_SAT)],
    }
}

fn anyone_can_spend(value: Amount) -> TxOut {
    TxOut {
        value,
        script_pubkey: Builder::new().push_opcode(OP_TRUE).into_script(),
    }
}
