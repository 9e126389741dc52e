//! A chain source that lies, fails, or moves, where a test wants it to.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bitcoin::block::Header;
use bitcoin::{FeeRate, OutPoint, Script, ScriptBuf, Transaction, Txid};
use ldk_peer_storage::recovery::chain::{
    ChainError, ChainSource, FoundOutput, FoundTransaction, Place, Tip,
};
use testkit::Chain;

use crate::support::OwnChainSource;

type OnCall = dyn FnMut(usize) + Send;
type OnSpendOf = dyn FnMut(&OutPoint) + Send;

/// The test kit's chain, but for what is said here.
pub struct OddSource {
    own: OwnChainSource,
    /// What it says of these places: in both directions, so that no answer contradicts another ...
    pub lies: Mutex<HashMap<(u32, u32), Txid>>,
    /// ... but not where it has to prove where a transaction is.
    pub proves_places: AtomicBool,
    /// Transactions that it claims not to know.
    pub hidden: Mutex<HashSet<Txid>>,
    /// Transactions of which it says nothing.
    pub failing: Mutex<HashSet<Txid>>,
    /// What it says that spends these outputs.
    pub spends: Mutex<HashMap<OutPoint, FoundTransaction>>,
    /// Of so many of the scripts, the first that it was asked for, it says what cannot be true.
    pub wrong_scripts: AtomicUsize,
    asked_for: Mutex<Vec<ScriptBuf>>,
    /// Whether it knows nothing that is not in a block.
    pub forgets_mempool: AtomicBool,
    /// Whether it takes no transaction.
    pub refuses: AtomicBool,
    /// What it was given to publish, taken or not.
    pub given: Mutex<Vec<Transaction>>,
    /// What it expects to confirm soon.
    pub wanted_fee_rate: Mutex<Option<FeeRate>>,
    /// Transactions that it gives without their witnesses.
    pub stripped: Mutex<HashSet<Txid>>,
    /// How often it was asked.
    pub calls: AtomicUsize,
    /// Called before each answer, with its number.
    on_call: Mutex<Option<Box<OnCall>>>,
    /// Called before it says what spends an output.
    on_spend_of: Mutex<Option<Box<OnSpendOf>>>,
}

impl OddSource {
    pub fn new(chain: &Arc<Chain>) -> Arc<OddSource> {
        Arc::new(OddSource {
            own: OwnChainSource::new(chain),
            lies: Mutex::default(),
            proves_places: AtomicBool::new(false),
            hidden: Mutex::default(),
            failing: Mutex::default(),
            spends: Mutex::default(),
            wrong_scripts: AtomicUsize::new(0),
            asked_for: Mutex::default(),
            forgets_mempool: AtomicBool::new(false),
            refuses: AtomicBool::new(false),
            given: Mutex::default(),
            wanted_fee_rate: Mutex::default(),
            stripped: Mutex::default(),
            calls: AtomicUsize::new(0),
            on_call: Mutex::default(),
            on_spend_of: Mutex::default(),
        })
    }

    pub fn on_call(&self, f: impl FnMut(usize) + Send + 'static) {
        *self.on_call.lock().unwrap() = Some(Box::new(f));
    }

    pub fn on_spend_of(&self, f: impl FnMut(&OutPoint) + Send + 'static) {
        *self.on_spend_of.lock().unwrap() = Some(Box::new(f));
    }

    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn call(&self) {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        if let Some(on_call) = &mut *self.on_call.lock().unwrap() {
            on_call(number);
        }
    }

    /// Whether it knows a transaction.
    fn knows(&self, txid: &Txid) -> Result<bool, ChainError> {
        if self.failing.lock().unwrap().contains(txid) {
            return Err(ChainError::unreachable("a test"));
        }
        Ok(!self.hidden.lock().unwrap().contains(txid))
    }

    fn strip(&self, found: &mut FoundTransaction) {
        let stripped = self.stripped.lock().unwrap();
        if stripped.contains(&found.tx.compute_txid()) {
            for input in &mut found.tx.input {
                input.witness.clear();
            }
        }
    }
}

impl ChainSource for OddSource {
    fn tip(&self) -> Result<Tip, ChainError> {
        self.call();
        self.own.tip()
    }

    fn header_at(&self, height: u32) -> Result<Option<Header>, ChainError> {
        self.call();
        self.own.header_at(height)
    }

    fn transaction(&self, txid: &Txid) -> Result<Option<FoundTransaction>, ChainError> {
        self.call();
        if !self.knows(txid)? {
            return Ok(None);
        }
        let mut found = self.own.transaction(txid)?;
        if let Some(found) = &mut found {
            self.strip(found);
        }
        if self.proves_places.load(Ordering::SeqCst) {
            return Ok(found);
        }
        let lies = self.lies.lock().unwrap();
        if let Some((place, _)) = lies.iter().find(|(_, lie)| *lie == txid) {
            let (height, index) = *place;
            if let Some(found) = &mut found {
                let block = self.own.header_at(height)?.unwrap().block_hash();
                found.place = Some(Place {
                    height,
                    block,
                    index,
                });
            }
        }
        Ok(found)
    }

    fn txid_at(&self, height: u32, index: u32) -> Result<Option<Txid>, ChainError> {
        self.call();
        if let Some(lie) = self.lies.lock().unwrap().get(&(height, index)) {
            return Ok(Some(*lie));
        }
        let txid = self.own.txid_at(height, index)?;
        match txid {
            Some(txid) if self.knows(&txid)? => Ok(Some(txid)),
            _ => Ok(None),
        }
    }

    fn spend_of(&self, output: &OutPoint) -> Result<Option<FoundTransaction>, ChainError> {
        self.call();
        if let Some(on_spend_of) = &mut *self.on_spend_of.lock().unwrap() {
            on_spend_of(output);
        }
        if let Some(found) = self.spends.lock().unwrap().get(output) {
            return Ok(Some(found.clone()));
        }
        if !self.knows(&output.txid)? {
            return Ok(None);
        }
        let found = self.own.spend_of(output)?;
        let forgets = self.forgets_mempool.load(Ordering::SeqCst);
        let mut found = found.filter(|found| found.place.is_some() || !forgets);
        if let Some(found) = &mut found {
            self.strip(found);
        }
        Ok(found)
    }

    fn outputs_to(&self, script: &Script) -> Result<Vec<FoundOutput>, ChainError> {
        self.call();
        let mut asked_for = self.asked_for.lock().unwrap();
        let known = asked_for.iter().position(|asked| **asked == *script);
        let number = known.unwrap_or_else(|| {
            asked_for.push(script.to_owned());
            asked_for.len() - 1
        });
        if number < self.wrong_scripts.load(Ordering::SeqCst) {
            return Err(ChainError::invalid("a test"));
        }
        self.own.outputs_to(script)
    }

    fn broadcast(&self, tx: &Transaction) -> Result<(), ChainError> {
        self.call();
        self.given.lock().unwrap().push(tx.clone());
        match self.refuses.load(Ordering::SeqCst) {
            true => Err(ChainError::rejected("a test")),
            false => self.own.broadcast(tx),
        }
    }

    fn fee_rate(&self, _blocks: u16) -> Result<Option<FeeRate>, ChainError> {
        self.call();
        Ok(*self.wanted_fee_rate.lock().unwrap())
    }
}
