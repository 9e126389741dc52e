//! From our outputs to the person's address.

use bitcoin::{FeeRate, OutPoint, ScriptBuf, Transaction, TxOut};
use lightning::sign::{OutputSpender, SpendableOutputDescriptor};

use super::chain::{Place, Tip};
use super::journal::Sweep;
use super::keys::PaymentKeys;

/// A transaction with one input of ours and one output weighs less than this, in weight units.
const LONE_WEIGHT: u64 = 500;
/// No output that is smaller than this is relayed, in sat.
const DUST: u64 = 330;
/// A sweep that is not in the chain after so many blocks is replaced by one that pays more ...
const PATIENCE_BLOCKS: u32 = 6;
/// ... by so much, in percent, and at least ...
const RAISE_PERCENT: u64 = 150;
/// ... by this, in sat per 1000 weight units. Bitcoin Core relays a replacement only if it pays more by
/// what its own size costs at 1 sat per vbyte.
const LEAST_RAISE: u64 = 250;

/// By so many weight units a signature may be smaller than LDK reckons.
const SIGNATURE_SLACK: u64 = 8;
/// LDK's claims pay so much at least (BOLT #3), in sat per 1000 weight units.
const LEAST_OF_LDK: u64 = 253;

/// What can be spent now.
#[derive(Clone)]
pub(super) struct Coin {
    pub outpoint: OutPoint,
    pub output: TxOut,
    /// Where its transaction is confirmed.
    pub place: Option<Place>,
    pub descriptor: SpendableOutputDescriptor,
}

impl Coin {
    /// Of a descriptor that LDK gave.
    pub fn of(descriptor: SpendableOutputDescriptor, place: Option<Place>) -> Coin {
        let output = match &descriptor {
            SpendableOutputDescriptor::StaticOutput { output, .. } => output.clone(),
            SpendableOutputDescriptor::DelayedPaymentOutput(d) => d.output.clone(),
            SpendableOutputDescriptor::StaticPaymentOutput(d) => d.output.clone(),
        };
        Coin {
            outpoint: descriptor.spendable_outpoint().into_bitcoin_outpoint(),
            output,
            place,
            descriptor,
        }
    }

    pub fn sat(&self) -> u64 {
        self.output.value.to_sat()
    }

    /// Whether the next block may hold a transaction that spends it.
    pub fn is_mature(&self, tip: &Tip) -> bool {
        let needed = match &self.descriptor {
            SpendableOutputDescriptor::DelayedPaymentOutput(d) => u32::from(d.to_self_delay),
            _ => 1,
        };
        self.place
            .is_some_and(|place| place.confirmations(tip) >= needed.max(1))
    }
}

/// Whether an output of so many sat can be swept on its own.
pub(super) fn pays_for_itself(sat: u64, fee_rate: u64) -> bool {
    sat > DUST.saturating_add(fee_rate.saturating_mul(LONE_WEIGHT) / 1000)
}

/// From this fee rate on the fee eats an output of so many sat, in sat per 1000 weight units.
pub(super) fn eaten_at(sat: u64) -> u64 {
    sat.saturating_sub(DUST).saturating_mul(1000) / LONE_WEIGHT
}

/// One transaction that sends all of them to `to`. None: what is left after the fee would be too small
/// for the network, or the keys do not fit.
pub(super) fn build(
    keys: &PaymentKeys,
    coins: &[Coin],
    to: &ScriptBuf,
    fee_rate: u64,
    tip: &Tip,
) -> Option<Sweep> {
    let descriptors: Vec<_> = coins.iter().map(|coin| &coin.descriptor).collect();
    let tx = keys
        .signer()
        .spend_spendable_outputs(
            &descriptors,
            Vec::new(),
            to.clone(),
            u32::try_from(fee_rate).ok()?,
            None,
            keys.secp(),
        )
        .ok()?;
    // LDK makes one without an output where that would be dust.
    if tx.output.is_empty() {
        return None;
    }
    Some(Sweep {
        tx,
        input_sat: coins.iter().map(Coin::sat).sum(),
        fee_rate,
        height: tip.height,
    })
}

/// Whether a transaction with inputs of so many sat pays no more than this, in sat per 1000 weight units.
/// LDK reckons with signatures of the greatest size, and pays for it.
pub(super) fn is_within(tx: &Transaction, input_sat: u64, highest: u64) -> bool {
    let output_sat: u64 = tx.output.iter().map(|o| o.value.to_sat()).sum();
    let slack = SIGNATURE_SLACK.saturating_mul(tx.input.len() as u64);
    let weight = tx.weight().to_wu().saturating_add(slack);
    let fee = highest.max(LEAST_OF_LDK).saturating_mul(weight) / 1000;
    input_sat.saturating_sub(output_sat) <= fee
}

/// Whether a sweep should be in the chain by now.
pub(super) fn is_overdue(sweep: &Sweep, tip: &Tip) -> bool {
    tip.height >= sweep.height.saturating_add(PATIENCE_BLOCKS)
}

/// A replacement of a sweep that pays less is not relayed.
pub(super) fn least_to_replace(sweep: &Sweep) -> FeeRate {
    FeeRate::from_sat_per_kwu(sweep.fee_rate.saturating_add(LEAST_RAISE))
}

/// The fee rate for the replacement of a sweep; none: it pays as much already as the person allows.
/// `wanted`: what would confirm soon, if anyone knows.
pub(super) fn raised(sweep: &Sweep, wanted: Option<FeeRate>, highest: FeeRate) -> Option<u64> {
    let relayed = least_to_replace(sweep).to_sat_per_kwu();
    let raised = sweep.fee_rate.saturating_mul(RAISE_PERCENT) / 100;
    let wanted = wanted.map_or(0, FeeRate::to_sat_per_kwu);
    let rate = raised
        .max(relayed)
        .max(wanted)
        .min(highest.to_sat_per_kwu());
    (rate >= relayed).then_some(rate)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bitcoin::absolute::LockTime;
    use bitcoin::hashes::Hash;
    use bitcoin::transaction::Version;
    use bitcoin::BlockHash;

    use super::*;

    fn sweep(fee_rate: u64) -> Sweep {
        Sweep {
            tx: Transaction {
                version: Version::TWO,
                lock_time: LockTime::ZERO,
                input: Vec::new(),
                output: Vec::new(),
            },
            input_sat: 0,
            fee_rate,
            height: 100,
        }
    }

    fn tip(height: u32) -> Tip {
        Tip {
            height,
            hash: BlockHash::all_zeros(),
        }
    }

    #[test]
    fn below_the_rate_that_eats_it_an_output_pays_for_itself() {
        for sat in [500, 15_000, 1_000_000] {
            let eaten_at = eaten_at(sat);
            assert!(pays_for_itself(sat, eaten_at - 1));
            assert!(!pays_for_itself(sat, eaten_at + 2));
        }
    }

    #[test]
    fn a_sweep_is_raised_after_six_blocks_up_to_what_the_person_allows() {
        let rate = FeeRate::from_sat_per_kwu;
        let highest = rate(5_000);
        assert!(!is_overdue(&sweep(1_000), &tip(105)));
        assert!(is_overdue(&sweep(1_000), &tip(106)));
        let raised = |by: u64, wanted| raised(&sweep(by), wanted, highest);
        assert_eq!(raised(1_000, None), Some(1_500));
        assert_eq!(raised(253, None), Some(503));
        assert_eq!(raised(1_000, Some(rate(4_000))), Some(4_000));
        assert_eq!(raised(1_000, Some(rate(90_000))), Some(5_000));
        assert_eq!(raised(4_900, None), None, "too little to be relayed");
        assert_eq!(raised(5_000, Some(rate(90_000))), None);
    }
}
