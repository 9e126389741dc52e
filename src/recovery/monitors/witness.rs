//! The form that BOLT #3 gives to the witnesses of HTLC spends.

use bitcoin::hashes::{hash160, Hash};
use bitcoin::{Transaction, Witness};
use lightning::ln::chan_utils::{
    MAX_ACCEPTED_HTLC_SCRIPT_WEIGHT, OFFERED_HTLC_SCRIPT_WEIGHT,
    OFFERED_HTLC_SCRIPT_WEIGHT_KEYED_ANCHORS,
};

/// `OP_DUP OP_HASH160 <20 bytes>`: how both HTLC scripts begin. The hash is that of the revocation key.
const BEGINNING: [u8; 3] = [0x76, 0xa9, 20];
const REVOCATION_KEY: std::ops::Range<usize> = 3..23;
/// In bytes.
const PREIMAGE: usize = 32;

/// LDK knows HTLC spends by the form that BOLT #3 gives them; scripts and signatures leave some of it
/// open. Gives them that form. The id of the transaction stays the same.
pub(super) fn as_in_bolt_3(mut tx: Transaction) -> Transaction {
    for input in &mut tx.input {
        if let Some(witness) = timeout_as_in_bolt_3(&input.witness) {
            input.witness = witness;
        }
    }
    tx
}

/// The item before the script says which of its branches is taken: the revocation key, a preimage, or
/// else the timeout, where BOLT #3 has an empty item: `0 <sig> <sig> <> <script>` on what the owner of
/// the commitment offers, `<sig> <> <script>` on what it is offered. (The other items are signatures,
/// and the number of items is fixed by consensus.) None: it has that form, or is no timeout.
fn timeout_as_in_bolt_3(witness: &Witness) -> Option<Witness> {
    let (script, branch) = (witness.last()?, witness.second_to_last()?);
    let is_timeout = matches!(witness.len(), 3 | 5)
        && is_htlc_script(script)
        && branch.len() != PREIMAGE
        && script.get(REVOCATION_KEY) != Some(hash160::Hash::hash(branch).as_byte_array());
    if !is_timeout || branch.is_empty() {
        return None;
    }
    let mut items = witness.to_vec();
    let branch = items.len().checked_sub(2)?;
    items.get_mut(branch)?.clear();
    Some(Witness::from_slice(&items))
}

/// With and without anchors; that of what is offered to the owner holds a height, whose length varies.
fn is_htlc_script(script: &[u8]) -> bool {
    let with_anchors = OFFERED_HTLC_SCRIPT_WEIGHT_KEYED_ANCHORS..=MAX_ACCEPTED_HTLC_SCRIPT_WEIGHT;
    script.starts_with(&BEGINNING)
        && (script.len() == OFFERED_HTLC_SCRIPT_WEIGHT || with_anchors.contains(&script.len()))
}

#[cfg(test)]
mod tests {
    use lightning::ln::chan_utils::HTLCClaim;

    use super::*;

    const KEY: [u8; 33] = [2; 33];
    const OFFERED: [usize; 2] = [133, 136];
    const ACCEPTED: [usize; 4] = [136, 139, 140, 143];

    fn script(len: usize) -> Vec<u8> {
        let mut script = BEGINNING.to_vec();
        script.extend(hash160::Hash::hash(&KEY).as_byte_array());
        script.resize(len, 0x51);
        script
    }

    /// What LDK takes it for, after it was given its form.
    fn shown(before: &[&[u8]], branch: &[u8], script: &[u8]) -> Option<HTLCClaim> {
        let mut witness = Witness::from_slice(before);
        witness.push(branch);
        witness.push(script);
        let input = bitcoin::TxIn {
            witness,
            ..bitcoin::TxIn::default()
        };
        let tx = Transaction {
            version: bitcoin::transaction::Version::TWO,
            lock_time: bitcoin::absolute::LockTime::ZERO,
            input: vec![input],
            output: Vec::new(),
        };
        let shown = as_in_bolt_3(tx.clone());
        assert_eq!(shown.compute_txid(), tx.compute_txid());
        HTLCClaim::from_witness(&shown.input[0].witness)
    }

    #[test]
    fn a_timeout_is_known_whatever_stands_in_the_place_of_the_preimage() {
        let sig = [7; 71];
        for len in (0..=520).filter(|len| *len != PREIMAGE) {
            let branch = vec![1; len];
            for script in OFFERED.map(script) {
                let claim = shown(&[&[], &sig, &sig], &branch, &script);
                assert_eq!(claim, Some(HTLCClaim::OfferedTimeout), "{len}");
            }
            for script in ACCEPTED.map(script) {
                let claim = shown(&[&sig], &branch, &script);
                assert_eq!(claim, Some(HTLCClaim::AcceptedTimeout), "{len}");
            }
        }
    }

    #[test]
    fn preimages_and_revocation_keys_stay_as_they_are() {
        let (sig, preimage) = ([7; 71], [1; PREIMAGE]);
        for script in OFFERED.map(script) {
            let claim = shown(&[&sig], &preimage, &script);
            assert_eq!(claim, Some(HTLCClaim::OfferedPreimage));
            let claim = shown(&[&sig], &KEY, &script);
            assert_eq!(claim, Some(HTLCClaim::Revocation));
        }
        for script in ACCEPTED.map(script) {
            let claim = shown(&[&[], &sig, &sig], &preimage, &script);
            assert_eq!(claim, Some(HTLCClaim::AcceptedPreimage));
            let claim = shown(&[&sig], &KEY, &script);
            assert_eq!(claim, Some(HTLCClaim::Revocation));
        }
    }

    #[test]
    fn witnesses_of_other_scripts_stay_as_they_are() {
        let mut other = script(139);
        other[0] = 0x51;
        let witnesses = [
            Witness::new(),
            Witness::from_slice(&[[1; 33].as_slice()]),
            Witness::from_slice(&[[1; 71].as_slice(), &[1; 33], &other]),
            Witness::from_slice(&[[1; 71].as_slice(), &[1; 33], &script(135)]),
            Witness::from_slice(&[[].as_slice(), &[1; 71], &[1; 33], &script(133)]),
        ];
        for witness in witnesses {
            assert_eq!(timeout_as_in_bolt_3(&witness), None);
        }
    }
}
