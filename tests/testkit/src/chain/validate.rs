//! Whether a transaction may be in the next block.

use std::collections::{HashMap, HashSet};
use std::fmt;

use bitcoin::consensus::encode::serialize;
use bitcoin::{absolute, relative, Amount, Block, OutPoint, Sequence, Transaction, TxOut, Txid};

use super::block::median_time_past;

/// After so many blocks a coinbase may be spent.
const COINBASE_MATURITY: u32 = 100;
/// A transaction without witnesses may have so many bytes.
const MAX_BASE_SIZE: usize = 1_000_000;

/// Why a transaction was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// It breaks a rule that needs no chain to check.
    Malformed(&'static str),
    /// It is in a block already.
    AlreadyMined,
    /// There is no such output, confirmed or not.
    MissingInput(OutPoint),
    /// A block has spent this output already.
    DoubleSpend {
        /// The output in question.
        outpoint: OutPoint,
        /// Who spent it.
        by: Txid,
    },
    /// It conflicts with the mempool and does not pay more.
    FeeTooLow {
        /// What it pays.
        fee: Amount,
        /// What it had to exceed.
        needed: Amount,
    },
    /// It spends a coinbase that is not yet 100 blocks deep.
    ImmatureCoinbase(OutPoint),
    /// It spends more than it has.
    MoreOutThanIn,
    /// `nLockTime` lies in the future.
    NotFinal(absolute::LockTime),
    /// An input's relative locktime (BIP68) has not passed.
    RelativeLock(OutPoint),
    /// A script says no. The script code does not say why.
    Script {
        /// The index of the input.
        input: usize,
        /// What it spends.
        outpoint: OutPoint,
    },
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejected::Malformed(why) => write!(f, "malformed: {why}"),
            Rejected::AlreadyMined => write!(f, "already in a block"),
            Rejected::MissingInput(o) => write!(f, "no such output: {o}"),
            Rejected::DoubleSpend { outpoint, by } => write!(f, "{outpoint} was spent by {by}"),
            Rejected::FeeTooLow { fee, needed } => {
                write!(f, "replaces transactions that pay {needed} with only {fee}")
            }
            Rejected::ImmatureCoinbase(o) => write!(f, "immature coinbase: {o}"),
            Rejected::MoreOutThanIn => write!(f, "spends more than it has"),
            Rejected::NotFinal(locktime) => write!(f, "not final before {locktime}"),
            Rejected::RelativeLock(o) => write!(f, "{o} is still locked (BIP68)"),
            Rejected::Script { input, outpoint } => {
                write!(f, "the script of input {input} ({outpoint}) fails")
            }
        }
    }
}

impl std::error::Error for Rejected {}

/// An unspent output.
#[derive(Clone, Debug)]
pub(super) struct Coin {
    pub output: TxOut,
    pub height: u32,
    pub coinbase: bool,
}

impl Coin {
    pub fn mature_at(&self, height: u32) -> bool {
        !self.coinbase || height >= self.height + COINBASE_MATURITY
    }
}

/// What the next block could spend, and the rules for doing so.
pub(super) struct View<'a> {
    blocks: &'a [Block],
    coins: &'a HashMap<OutPoint, Coin>,
    spent: &'a HashMap<OutPoint, Txid>,
    unconfirmed: HashMap<Txid, &'a Transaction>,
    unconfirmed_spends: HashSet<OutPoint>,
}

impl<'a> View<'a> {
    pub fn new(
        blocks: &'a [Block],
        coins: &'a HashMap<OutPoint, Coin>,
        spent: &'a HashMap<OutPoint, Txid>,
        unconfirmed: &'a [Transaction],
    ) -> Self {
        let inputs = unconfirmed.iter().flat_map(|tx| &tx.input);
        View {
            blocks,
            coins,
            spent,
            unconfirmed: unconfirmed
                .iter()
                .map(|tx| (tx.compute_txid(), tx))
                .collect(),
            unconfirmed_spends: inputs.map(|input| input.previous_output).collect(),
        }
    }

    /// Checks everything; returns the fee.
    pub fn check(&self, tx: &Transaction) -> Result<Amount, Rejected> {
        check_form(tx)?;
        self.check_final(tx)?;
        let mut coins = Vec::new();
        for input in &tx.input {
            let coin = self.unspent(input.previous_output)?;
            if !coin.mature_at(self.next_height()) {
                return Err(Rejected::ImmatureCoinbase(input.previous_output));
            }
            coins.push(coin);
        }
        self.check_relative_locks(tx, &coins)?;
        let fee = fee(tx, &coins)?;
        check_scripts(tx, &coins)?;
        Ok(fee)
    }

    /// The fee of a transaction that has been accepted before.
    pub fn fee(&self, tx: &Transaction) -> Amount {
        let coins: Vec<_> = tx
            .input
            .iter()
            .filter_map(|i| self.coin(i.previous_output))
            .collect();
        fee(tx, &coins).unwrap_or(Amount::ZERO)
    }

    fn next_height(&self) -> u32 {
        self.blocks.len() as u32
    }

    fn coin(&self, outpoint: OutPoint) -> Option<Coin> {
        if let Some(coin) = self.coins.get(&outpoint) {
            return Some(coin.clone());
        }
        let parent = self.unconfirmed.get(&outpoint.txid)?;
        let output = parent.output.get(outpoint.vout as usize)?;
        Some(Coin {
            output: output.clone(),
            height: self.next_height(),
            coinbase: false,
        })
    }

    fn unspent(&self, outpoint: OutPoint) -> Result<Coin, Rejected> {
        if let Some(&by) = self.spent.get(&outpoint) {
            return Err(Rejected::DoubleSpend { outpoint, by });
        }
        if self.unconfirmed_spends.contains(&outpoint) {
            return Err(Rejected::MissingInput(outpoint));
        }
        self.coin(outpoint).ok_or(Rejected::MissingInput(outpoint))
    }

    /// BIP113: a time is compared with the median time of the blocks before.
    fn check_final(&self, tx: &Transaction) -> Result<(), Rejected> {
        let all_final = tx.input.iter().all(|input| input.sequence == Sequence::MAX);
        let passed = match tx.lock_time {
            absolute::LockTime::Blocks(height) => height.to_consensus_u32() < self.next_height(),
            absolute::LockTime::Seconds(time) => {
                time.to_consensus_u32() < median_time_past(self.blocks)
            }
        };
        if all_final || passed {
            Ok(())
        } else {
            Err(Rejected::NotFinal(tx.lock_time))
        }
    }

    /// BIP68.
    fn check_relative_locks(&self, tx: &Transaction, coins: &[Coin]) -> Result<(), Rejected> {
        if (tx.version.0 as u32) < 2 {
            return Ok(());
        }
        for (input, coin) in tx.input.iter().zip(coins) {
            let passed = match input.sequence.to_relative_lock_time() {
                None => true,
                Some(relative::LockTime::Blocks(blocks)) => {
                    self.next_height() >= coin.height + u32::from(blocks.value())
                }
                Some(relative::LockTime::Time(time)) => {
                    // Measured from the median time before the block that has the coin.
                    let before = &self.blocks[..(coin.height as usize).min(self.blocks.len())];
                    let since = median_time_past(before);
                    median_time_past(self.blocks) >= since + u32::from(time.value()) * 512
                }
            };
            if !passed {
                return Err(Rejected::RelativeLock(input.previous_output));
            }
        }
        Ok(())
    }
}

fn check_form(tx: &Transaction) -> Result<(), Rejected> {
    if tx.input.is_empty() || tx.output.is_empty() {
        return Err(Rejected::Malformed("no inputs or no outputs"));
    }
    if tx.base_size() > MAX_BASE_SIZE {
        return Err(Rejected::Malformed("too large"));
    }
    if tx.input.iter().any(|input| input.previous_output.is_null()) {
        return Err(Rejected::Malformed("a null input outside a coinbase"));
    }
    let distinct: HashSet<_> = tx.input.iter().map(|input| input.previous_output).collect();
    if distinct.len() != tx.input.len() {
        return Err(Rejected::Malformed("the same input twice"));
    }
    let total = tx
        .output
        .iter()
        .try_fold(Amount::ZERO, |sum, o| sum.checked_add(o.value));
    if total.is_none_or(|total| total > Amount::MAX_MONEY) {
        return Err(Rejected::Malformed("outputs above 21 million"));
    }
    Ok(())
}

fn fee(tx: &Transaction, coins: &[Coin]) -> Result<Amount, Rejected> {
    let received: Amount = coins.iter().map(|coin| coin.output.value).sum();
    let sent: Amount = tx.output.iter().map(|output| output.value).sum();
    received.checked_sub(sent).ok_or(Rejected::MoreOutThanIn)
}

fn check_scripts(tx: &Transaction, coins: &[Coin]) -> Result<(), Rejected> {
    let raw = serialize(tx);
    let outputs: Vec<_> = coins
        .iter()
        .map(|coin| bitcoinconsensus::Utxo {
            script_pubkey: coin.output.script_pubkey.as_bytes().as_ptr(),
            script_pubkey_len: coin.output.script_pubkey.len() as u32,
            value: coin.output.value.to_sat() as i64,
        })
        .collect();
    for (input, coin) in coins.iter().enumerate() {
        let script = coin.output.script_pubkey.as_bytes();
        let value = coin.output.value.to_sat();
        bitcoinconsensus::verify(script, value, &raw, Some(&outputs), input).map_err(|_| {
            let outpoint = tx.input[input].previous_output;
            Rejected::Script { input, outpoint }
        })?;
    }
    Ok(())
}
