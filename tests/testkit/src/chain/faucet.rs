//! Where coins come from: outputs that anyone may spend.

use bitcoin::script::Builder;
use bitcoin::{
    absolute, opcodes, transaction, Amount, OutPoint, Script, ScriptBuf, Sequence, Transaction,
    TxIn, TxOut, Witness,
};

use super::state::State;

const FAUCET_FEE: Amount = Amount::from_sat(1_000);

/// The script of coins that anyone may spend: coinbases, the faucet's change, and with a tag of
/// its own for each, the coins of the nodes' wallets.
pub fn anyone_can_spend(tag: &[u8]) -> ScriptBuf {
    anyone_can_spend_witness_script(tag).to_p2wsh()
}

/// The witness that spends [`anyone_can_spend`].
pub fn anyone_can_spend_witness(tag: &[u8]) -> Witness {
    Witness::from_slice(&[anyone_can_spend_witness_script(tag).as_bytes()])
}

fn anyone_can_spend_witness_script(tag: &[u8]) -> ScriptBuf {
    if tag.is_empty() {
        return Builder::new().push_opcode(opcodes::OP_TRUE).into_script();
    }
    let tag: &bitcoin::script::PushBytes = tag.try_into().expect("a short tag");
    Builder::new()
        .push_slice(tag)
        .push_opcode(opcodes::all::OP_DROP)
        .push_opcode(opcodes::OP_TRUE)
        .into_script()
}

impl State {
    /// A transaction with these outputs, paid from coinbases and earlier change.
    pub fn faucet(&mut self, mut outputs: Vec<TxOut>) -> Transaction {
        let script = anyone_can_spend(&[]);
        let needed = outputs.iter().map(|o| o.value).sum::<Amount>() + FAUCET_FEE;
        let mut coins = self.coins(&script);
        coins.extend(self.unconfirmed_change(&script));
        coins.retain(|(outpoint, _)| !self.given.contains(outpoint));
        let mut found = Amount::ZERO;
        let mut input = Vec::new();
        for (previous_output, output) in coins {
            if found >= needed {
                break;
            }
            found += output.value;
            input.push(TxIn {
                previous_output,
                script_sig: ScriptBuf::new(),
                sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
                witness: anyone_can_spend_witness(&[]),
            });
        }
        assert!(
            found >= needed,
            "the faucet has {found}, {needed} are wanted: mine more blocks"
        );
        self.given
            .extend(input.iter().map(|input| input.previous_output));
        outputs.push(TxOut {
            value: found - needed,
            script_pubkey: script,
        });
        Transaction {
            version: transaction::Version::TWO,
            lock_time: absolute::LockTime::ZERO,
            input,
            output: outputs,
        }
    }

    fn unconfirmed_change(&self, script: &Script) -> Vec<(OutPoint, TxOut)> {
        let outputs = self.mempool.iter().flat_map(|tx| {
            let txid = tx.compute_txid();
            let numbered = tx.output.iter().enumerate();
            numbered.map(move |(vout, output)| (OutPoint::new(txid, vout as u32), output.clone()))
        });
        outputs
            .filter(|(_, output)| *output.script_pubkey == *script)
            .collect()
    }
}
