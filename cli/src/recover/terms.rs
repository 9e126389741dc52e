//! Where the coins go and what that may cost: by the flags, else as agreed before, else by default.

use bitcoin::{Address, FeeRate, Network};
use ldk_peer_storage::recovery::chain::ChainSource;
use ldk_peer_storage::recovery::{Agreed, Recovery};

use super::Args;
use crate::failure::Failure;
use crate::Outcome;

/// A sweep is to be in the chain within so many blocks.
const TARGET_BLOCKS: u16 = 6;
/// In sat per vbyte.
const HIGHEST_BY_DEFAULT: u64 = 100;

/// The address for the coins; none: nobody has named one.
pub fn address(
    by_flag: Option<Address>,
    agreed: Option<&Agreed>,
    network: Network,
) -> Option<Address> {
    let before = || Address::from_script(&agreed?.sweep_to, network).ok();
    by_flag.or_else(before)
}

/// The rate at first, and the highest.
pub fn fee_rates(
    args: &Args,
    agreed: Option<&Agreed>,
    chain: &dyn ChainSource,
) -> Outcome<(FeeRate, FeeRate)> {
    let rate = |sat: u64| {
        let rate = FeeRate::from_sat_per_vb(sat).filter(|rate| *rate > FeeRate::ZERO);
        rate.ok_or_else(|| Failure::Usage("a fee rate is a number of sat per vbyte".to_owned()))
    };
    let highest = match (args.highest_fee_rate, agreed) {
        (Some(sat), _) => rate(sat)?,
        (None, Some(agreed)) => agreed.highest_fee_rate,
        (None, None) => rate(HIGHEST_BY_DEFAULT)?,
    };
    let first = match (args.fee_rate, agreed) {
        (Some(sat), _) => rate(sat)?,
        (None, Some(agreed)) => agreed.fee_rate,
        // The server's opinion may be wild.
        (None, None) => {
            let expected = chain.fee_rate(TARGET_BLOCKS)?;
            let least = FeeRate::BROADCAST_MIN;
            expected.unwrap_or(least).max(least).min(highest)
        }
    };
    Ok((first, highest))
}

/// A command that asks for something else than what was agreed to is not carried out as if it had been.
pub fn are_those_agreed(args: &Args, sweep_to: Option<&Address>, recovery: &Recovery) -> Outcome {
    let Some(agreed) = recovery.agreed() else {
        return Ok(());
    };
    let differs = |what| {
        let words = format!("{what} is not what was agreed to: add --plan-again to change it");
        Err(Failure::Usage(words))
    };
    let is_rate = |sat: Option<u64>, agreed| {
        sat.is_none_or(|sat| FeeRate::from_sat_per_vb(sat) == Some(agreed))
    };
    if sweep_to.is_some_and(|to| to.script_pubkey() != agreed.sweep_to) {
        return differs("--sweep-to");
    }
    if !is_rate(args.fee_rate, agreed.fee_rate) {
        return differs("--fee-rate");
    }
    match is_rate(args.highest_fee_rate, agreed.highest_fee_rate) {
        true => Ok(()),
        false => differs("--highest-fee-rate"),
    }
}
