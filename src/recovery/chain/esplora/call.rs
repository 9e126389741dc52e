//! One call of the trait: the requests it takes, held against each other, within one time.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use bitcoin::block::Header;
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::constants::genesis_block;
use bitcoin::{BlockHash, FeeRate, Network, OutPoint, Script, Transaction, Txid};
use esplora_client::{EsploraTx, Vin};

use super::super::Place;
use super::answers::parse;
use super::http::{Handed, Limits};
use super::{work, ChainError, EsploraSource, FoundOutput, FoundTransaction, Tip};

/// How often answers that contradict each other are asked for, before the server is called a liar. A
/// block that comes in between is the common reason, and the servers of one address may be apart.
const LOOKS: u32 = 3;
/// The pause before each further look, so long again each time.
const PAUSE: Duration = Duration::from_millis(200);
/// No request takes longer, whatever was configured: sums of times do not overflow.
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// Above this (in satoshi for a virtual byte) no estimate is meant.
const ABSURD_FEE_RATE: f64 = 1_000_000.0;

pub(super) struct Call<'a> {
    source: &'a EsploraSource,
    begun: Instant,
}

/// Why a look at the chain came to nothing.
enum Doubt {
    /// It will come to nothing again.
    Settled(ChainError),
    /// Two answers contradict each other: the chain may have changed in between.
    Moved(&'static str),
}

impl From<ChainError> for Doubt {
    fn from(error: ChainError) -> Doubt {
        Doubt::Settled(error)
    }
}

impl<'a> Call<'a> {
    /// Makes sure of the network first; once is enough.
    pub fn begin(source: &'a EsploraSource) -> Result<Call<'a>, ChainError> {
        let begun = Instant::now();
        let call = Call { source, begun };
        if !source.of_our_network.load(Ordering::Relaxed) {
            let ours = genesis_block(source.config.network).block_hash();
            match call.block_hash(0)? {
                Some(genesis) if genesis == ours => {}
                Some(_) => return Err(ChainError::WrongChain),
                None => return Err(ChainError::invalid("there is no genesis block")),
            }
            source.of_our_network.store(true, Ordering::Relaxed);
        }
        Ok(call)
    }

    pub fn tip(&self) -> Result<Tip, ChainError> {
        self.settle(|| {
            let hash = self.tip_hash()?;
            let status = self.block_status(&hash)?;
            let height = status.filter(|status| status.in_best_chain);
            let Some(height) = height.and_then(|status| status.height) else {
                return Err(Doubt::Moved("a best block outside the best chain"));
            };
            let Some(header) = self.header(&hash)? else {
                return Err(Doubt::Moved("a best block without a header"));
            };
            work::check_recent(self.network(), &header, height)?;
            Ok(Tip { height, hash })
        })
    }

    pub fn header_at(&self, height: u32) -> Result<Option<Header>, ChainError> {
        self.settle(|| {
            let Some(hash) = self.block_hash(height)? else {
                return Ok(None);
            };
            let Some(header) = self.header(&hash)? else {
                return Err(Doubt::Moved("a block without a header"));
            };
            work::check(self.network(), &header, height)?;
            Ok(Some(header))
        })
    }

    pub fn transaction(&self, txid: &Txid) -> Result<Option<FoundTransaction>, ChainError> {
        let Some(tx) = self.raw_transaction(txid)? else {
            return Ok(None);
        };
        let place = self.place(txid)?;
        Ok(Some(FoundTransaction { tx, place }))
    }

    pub fn txid_at(&self, height: u32, index: u32) -> Result<Option<Txid>, ChainError> {
        self.settle(|| {
            let Some(block) = self.block_hash(height)? else {
                return Ok(None);
            };
            let Some(txid) = self.txid_in_block(&block, index)? else {
                return Ok(None);
            };
            let asked = Place {
                height,
                block,
                index,
            };
            if self.place(&txid)? != Some(asked) {
                return Err(Doubt::Moved("a transaction that has another place"));
            }
            Ok(Some(txid))
        })
    }

    pub fn spend_of(&self, output: &OutPoint) -> Result<Option<FoundTransaction>, ChainError> {
        self.settle(|| {
            let status = self.output_status(output)?;
            let Some(status) = status.filter(|status| status.spent) else {
                return Ok(None);
            };
            let txid = status
                .txid
                .ok_or(ChainError::invalid("a spend by nothing"))?;
            let Some(found) = self.transaction(&txid)? else {
                return Err(Doubt::Moved("a spend by an unknown transaction"));
            };
            let mut inputs = found.tx.input.iter();
            if !inputs.any(|input| input.previous_output == *output) {
                return Err(ChainError::invalid("a spend without the input").into());
            }
            Ok(Some(found))
        })
    }

    pub fn outputs_to(&self, script: &Script) -> Result<Vec<FoundOutput>, ChainError> {
        let mut outputs = Vec::new();
        for (txid, tx) in self.whole_history(script)? {
            let tx = tx.to_tx();
            let mut paying = (0u32..)
                .zip(tx.output)
                .filter(|(_, output)| *output.script_pubkey == *script)
                .peekable();
            if paying.peek().is_none() {
                continue;
            }
            let place = self.place(&txid)?;
            outputs.extend(paying.map(|(vout, output)| FoundOutput {
                outpoint: OutPoint::new(txid, vout),
                output,
                place,
            }));
        }
        Ok(outputs)
    }

    pub fn broadcast(&self, tx: &Transaction) -> Result<(), ChainError> {
        let txid = tx.compute_txid();
        match self.post("/tx", &serialize_hex(tx))? {
            Handed::Taken(answer) if parse::<Txid>(&answer)? == txid => Ok(()),
            Handed::Taken(_) => Err(ChainError::invalid("another transaction was broadcast")),
            // One that is known is refused in many words, so they are not read.
            Handed::Refused(reason) => match self.raw_transaction(&txid) {
                Ok(Some(_)) => Ok(()),
                _ => Err(ChainError::rejected(reason)),
            },
        }
    }

    pub fn fee_rate(&self, blocks: u16) -> Result<Option<FeeRate>, ChainError> {
        let estimates = self.fee_estimates()?;
        let soon_enough = estimates.iter().rev().find(|(target, _)| *target <= blocks);
        let Some((_, rate)) = soon_enough.or(estimates.first()) else {
            return Ok(None);
        };
        if !(*rate > 0.0 && *rate < ABSURD_FEE_RATE) {
            return Err(ChainError::invalid("an absurd fee rate"));
        }
        // A virtual byte is four weight units.
        Ok(Some(
            FeeRate::from_sat_per_kwu((rate * 250.0).ceil() as u64),
        ))
    }

    /// Where a transaction is confirmed, with proof that it is.
    fn place(&self, txid: &Txid) -> Result<Option<Place>, ChainError> {
        self.settle(|| {
            let status = self.transaction_status(txid)?;
            let Some(status) = status.filter(|status| status.confirmed) else {
                return Ok(None);
            };
            let (Some(height), Some(block)) = (status.block_height, status.block_hash) else {
                return Err(ChainError::invalid("a confirmation in no block").into());
            };
            let Some(proof) = self.merkle_block(txid)? else {
                return Err(Doubt::Moved("a confirmation without a proof"));
            };
            if proof.header.block_hash() != block {
                return Err(Doubt::Moved("a confirmation in two blocks"));
            }
            let index = work::index_of(txid, &proof)?;
            work::check_recent(self.network(), &proof.header, height)?;
            self.check_in_best_chain(&block, height)?;
            Ok(Some(Place {
                height,
                block,
                index,
            }))
        })
    }

    fn check_in_best_chain(&self, block: &BlockHash, height: u32) -> Result<(), Doubt> {
        if self.block_hash(height)? == Some(*block) {
            Ok(())
        } else {
            Err(Doubt::Moved("a confirmation outside the best chain"))
        }
    }

    /// All transactions that pay to a script or spend what it had, each once.
    fn whole_history(&self, script: &Script) -> Result<BTreeMap<Txid, EsploraTx>, ChainError> {
        let limit = self.source.config.max_history;
        let mut found = BTreeMap::new();
        let mut confirmed = 0;
        let mut after = None;
        loop {
            let page = self.history(script, after)?;
            let last = page.iter().rfind(|tx| tx.status.confirmed);
            let last = last.map(|tx| tx.txid);
            let before = found.len();
            for tx in page {
                if !concerns(&tx, script) {
                    return Err(ChainError::invalid("a transaction of another script"));
                }
                confirmed += u32::from(tx.status.confirmed);
                found.insert(tx.txid, tx);
            }
            if last.is_none() {
                return Ok(found);
            }
            if confirmed > limit {
                return Err(ChainError::TooMany { limit });
            }
            if found.len() == before {
                return Err(ChainError::invalid("a history that goes in circles"));
            }
            after = last;
        }
    }

    /// Looks, and looks again where answers contradict each other.
    fn settle<T>(&self, mut look: impl FnMut() -> Result<T, Doubt>) -> Result<T, ChainError> {
        let mut contradiction = "";
        for again in 0..LOOKS {
            thread::sleep(PAUSE * again);
            match look() {
                Ok(seen) => return Ok(seen),
                Err(Doubt::Settled(error)) => return Err(error),
                Err(Doubt::Moved(what)) => contradiction = what,
            }
        }
        Err(ChainError::invalid(contradiction))
    }

    fn network(&self) -> Network {
        self.source.config.network
    }

    pub(super) fn get(&self, path: &str, bytes: u64) -> Result<Option<Vec<u8>>, ChainError> {
        self.source.http.get(path, self.limits(bytes)?)
    }

    fn post(&self, path: &str, text: &str) -> Result<Handed, ChainError> {
        const TXID: u64 = 1024;
        self.source.http.post(path, text, self.limits(TXID)?)
    }

    fn limits(&self, bytes: u64) -> Result<Limits, ChainError> {
        let config = &self.source.config;
        let left = config.call_timeout.saturating_sub(self.begun.elapsed());
        if left.is_zero() {
            return Err(ChainError::unreachable("no end in time"));
        }
        let time = left.min(config.timeout).min(LONGEST);
        Ok(Limits { time, bytes })
    }
}

/// Whether a transaction pays to a script or spends what it had, as far as the server says what its
/// inputs had.
fn concerns(tx: &EsploraTx, script: &Script) -> bool {
    let pays = tx.vout.iter().any(|out| *out.scriptpubkey == *script);
    let spends = |input: &Vin| match &input.prevout {
        Some(had) => *had.scriptpubkey == *script,
        None => !input.is_coinbase,
    };
    pays || tx.vin.iter().any(spends)
}
