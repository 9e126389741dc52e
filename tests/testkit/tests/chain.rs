//! What the chain accepts and what it refuses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bitcoin::script::Builder;
use bitcoin::{
    absolute, opcodes, transaction, Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn,
    TxOut, Witness,
};
use testkit::chain::{anyone_can_spend, anyone_can_spend_witness, file};
use testkit::{Chain, ChainAccess, ChainServer, Rejected, RemoteChain};

const COIN: Amount = Amount::from_sat(100_000);

/// Spends `from` with this witness, to anyone, for this fee.
fn spend(from: &Transaction, witness: Witness, fee: u64) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(from.compute_txid(), 0),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            witness,
        }],
        output: vec![TxOut {
            value: from.output[0].value - Amount::from_sat(fee),
            script_pubkey: anyone_can_spend(b"test"),
        }],
    }
}

fn ours() -> Witness {
    anyone_can_spend_witness(b"test")
}

fn coin(chain: &Chain) -> Transaction {
    let tx = chain.pay(&anyone_can_spend(b"test"), COIN);
    chain.mine(1);
    tx
}

#[test]
fn a_valid_spend_is_mined() {
    let chain = Chain::new();
    let coin = coin(&chain);
    let tx = spend(&coin, ours(), 500);
    let txid = chain.submit(&tx).unwrap();
    assert_eq!(chain.submit(&tx), Ok(txid), "again");
    assert_eq!(chain.mempool(), vec![tx.clone()]);
    let outpoint = tx.input[0].previous_output;
    assert_eq!(chain.spender(outpoint).unwrap().height, None);
    chain.mine_empty(1);
    assert_eq!(chain.mempool().len(), 1);
    chain.mine(1);
    assert_eq!(
        chain.spender(outpoint).unwrap().height,
        Some(chain.height())
    );
    assert_eq!(chain.transaction(txid).unwrap().tx, tx);
    assert_eq!(chain.submit(&tx), Err(Rejected::AlreadyMined));
    assert_eq!(chain.submitted_by("test").len(), 3);
}

#[test]
fn an_invalid_script_is_refused() {
    let chain = Chain::new();
    let coin = coin(&chain);
    let wrong = spend(&coin, anyone_can_spend_witness(b"other"), 500);
    assert!(matches!(
        chain.submit(&wrong),
        Err(Rejected::Script { input: 0, .. })
    ));

    let falls = Builder::new()
        .push_opcode(opcodes::all::OP_RETURN)
        .into_script();
    let tx = chain.pay(&falls.to_p2wsh(), COIN);
    let witness = Witness::from_slice(&[falls.as_bytes()]);
    assert!(matches!(
        chain.submit(&spend(&tx, witness, 500)),
        Err(Rejected::Script { .. })
    ));
    assert_eq!(
        chain
            .submissions()
            .iter()
            .filter(|s| s.outcome.is_err())
            .count(),
        2,
        "on record"
    );
}

#[test]
fn an_immature_coinbase_is_refused() {
    let chain = Chain::new();
    let anyone = anyone_can_spend_witness(&[]);
    let young = chain.block(chain.height() - 98).unwrap().txdata[0].clone();
    let tx = spend(&young, anyone, 500);
    assert!(matches!(
        chain.submit(&tx),
        Err(Rejected::ImmatureCoinbase(_))
    ));
    chain.mine(1);
    assert!(chain.submit(&tx).is_ok());
}

#[test]
fn a_locktime_must_have_passed() {
    let chain = Chain::new();
    let coin = coin(&chain);
    let mut tx = spend(&coin, ours(), 500);
    tx.lock_time = absolute::LockTime::from_height(chain.height() + 1).unwrap();
    assert!(matches!(chain.submit(&tx), Err(Rejected::NotFinal(_))));
    chain.mine(1);
    assert!(chain.submit(&tx).is_ok());

    let later = chain.block(chain.height()).unwrap().header.time + 10;
    tx.lock_time = absolute::LockTime::from_time(later).unwrap();
    tx.output[0].value -= Amount::from_sat(500);
    assert!(matches!(chain.submit(&tx), Err(Rejected::NotFinal(_))));
    chain.mine_empty(30);
    assert!(chain.submit(&tx).is_ok());
}

#[test]
fn a_relative_locktime_must_have_passed() {
    let chain = Chain::new();
    let coin = coin(&chain);
    let mut tx = spend(&coin, ours(), 500);
    tx.input[0].sequence = Sequence::from_height(3);
    for _ in 0..2 {
        assert!(matches!(chain.submit(&tx), Err(Rejected::RelativeLock(_))));
        chain.mine(1);
    }
    assert!(chain.submit(&tx).is_ok());
    let mut child = spend(&tx, ours(), 500);
    child.input[0].sequence = Sequence::from_height(1);
    assert!(matches!(
        chain.submit(&child),
        Err(Rejected::RelativeLock(_))
    ));

    // An opcode that asks for a lock which the input does not have.
    let csv = Builder::new()
        .push_int(5)
        .push_opcode(opcodes::all::OP_CSV)
        .into_script();
    let locked = chain.pay(&csv.to_p2wsh(), COIN);
    chain.mine(10);
    let witness = Witness::from_slice(&[csv.as_bytes()]);
    let mut tx = spend(&locked, witness, 500);
    tx.input[0].sequence = Sequence::from_height(4);
    assert!(matches!(chain.submit(&tx), Err(Rejected::Script { .. })));
    tx.input[0].sequence = Sequence::from_height(5);
    assert!(chain.submit(&tx).is_ok());
}

#[test]
fn money_cannot_be_made_or_spent_twice() {
    let chain = Chain::new();
    let coin = coin(&chain);
    let mut rich = spend(&coin, ours(), 500);
    rich.output[0].value = COIN + Amount::ONE_SAT;
    assert_eq!(chain.submit(&rich), Err(Rejected::MoreOutThanIn));

    let first = spend(&coin, ours(), 500);
    chain.submit(&first).unwrap();
    chain.mine(1);
    let second = spend(&coin, ours(), 600);
    let by = first.compute_txid();
    let outpoint = second.input[0].previous_output;
    assert_eq!(
        chain.submit(&second),
        Err(Rejected::DoubleSpend { outpoint, by })
    );

    let orphan = spend(&second, ours(), 500);
    assert!(matches!(
        chain.submit(&orphan),
        Err(Rejected::MissingInput(_))
    ));
}

#[test]
fn a_higher_fee_replaces_what_is_in_the_mempool_and_its_children() {
    let chain = Chain::new();
    let coin = coin(&chain);
    let cheap = spend(&coin, ours(), 500);
    let child = spend(&cheap, ours(), 700);
    chain.submit(&cheap).unwrap();
    chain.submit(&child).unwrap();
    let equal = spend(&coin, ours(), 1_200);
    assert!(matches!(
        chain.submit(&equal),
        Err(Rejected::FeeTooLow { .. })
    ));
    let dear = spend(&coin, ours(), 1_201);
    chain.submit(&dear).unwrap();
    assert_eq!(chain.mempool(), [dear]);

    // A miner may still prefer the other.
    chain.mine_with(std::slice::from_ref(&cheap));
    assert_eq!(chain.mempool(), []);
    assert!(chain
        .transaction(cheap.compute_txid())
        .unwrap()
        .height
        .is_some());
}

#[test]
fn a_reorg_returns_transactions_to_the_mempool() {
    let chain = Chain::new();
    let coin = coin(&chain);
    let old_tip = chain.tip();
    let tx = spend(&coin, ours(), 500);
    chain.submit(&tx).unwrap();
    chain.mine(2);
    let gone = chain.tip();

    chain.reorg(2);
    assert_eq!(chain.tip(), old_tip);
    assert_eq!(chain.fork_point(gone.block_hash), old_tip);
    assert_eq!(chain.mempool(), vec![tx.clone()]);
    chain.mine_empty(1);
    chain.mine(2);
    assert_ne!(
        chain.block(gone.height).unwrap().block_hash(),
        gone.block_hash
    );
    assert_eq!(
        chain.transaction(tx.compute_txid()).unwrap().height,
        Some(old_tip.height + 2)
    );
}

#[test]
fn the_file_has_every_block_and_the_height_of_the_longest_branch() {
    let chain = Chain::new();
    chain.reorg(3);
    chain.mine(2);
    let saved = file::read(&chain.save());
    assert_eq!(saved.height, 110, "the new branch is still shorter");
    assert_eq!(saved.blocks.len(), 112);
    assert_eq!(saved.blocks[109].block_hash(), saved.tip);
    chain.mine(2);
    let path = chain.save();
    let tip = chain.tip();
    drop(chain);
    let saved = file::read(&path);
    assert_eq!((saved.height, saved.tip), (tip.height, tip.block_hash));
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    assert!(name.starts_with("the_file_has_every_block"), "{name}");
}

#[test]
fn the_subsidy_halves() {
    let chain = Chain::new();
    chain.mine(40);
    let reward = |height| chain.block(height).unwrap().txdata[0].output[0].value;
    assert_eq!(reward(149), Amount::from_btc(50.0).unwrap());
    assert_eq!(reward(150), Amount::from_btc(25.0).unwrap());
}

#[test]
fn a_remote_chain_is_the_same_chain() {
    let chain = Chain::new();
    let server = ChainServer::start(&chain);
    let remote = RemoteChain::connect(server.addr()).unwrap();
    assert_eq!(remote.tip(), chain.tip());
    assert_eq!(remote.block(7), chain.block(7));
    assert_eq!(remote.block(1_000), None);
    assert_eq!(remote.fork_point(chain.tip().block_hash), chain.tip());

    let paid = remote.pay(&anyone_can_spend(b"test"), &[COIN, COIN]);
    chain.mine(1);
    assert_eq!(remote.coins(&anyone_can_spend(b"test")).len(), 2);
    let tx = spend(&paid, ours(), 500);
    let txid = remote.submit_as("far away", &tx).unwrap();
    assert_eq!(chain.submitted_by("far away"), vec![tx.clone()]);
    assert_eq!(remote.transaction(txid), chain.transaction(txid));
    assert_eq!(remote.spender(tx.input[0].previous_output).unwrap().tx, tx);
    let refused = remote
        .submit_as("far away", &spend(&tx, Witness::new(), 500))
        .unwrap_err();
    assert!(refused.contains("script"), "{refused}");
}
