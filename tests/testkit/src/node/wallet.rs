//! The node's way to the chain: its broadcaster, and the coins for the fees of anchor channels.

use std::sync::Arc;

use bitcoin::secp256k1::Secp256k1;
use bitcoin::{Amount, Psbt, ScriptBuf, Transaction};
use lightning::chain::chaininterface::BroadcasterInterface;
use lightning::events::bump_transaction::sync::WalletSourceSync;
use lightning::events::bump_transaction::Utxo;
use lightning::sign::{KeysManager, OutputSpender, SpendableOutputDescriptor};

use crate::chain::{anyone_can_spend, anyone_can_spend_witness, ChainAccess};

/// A few coins, so that several claims can be bumped in one block.
const COINS: [Amount; 10] = [Amount::from_sat(100_000); 10];
const SWEEP_FEE_RATE: u32 = 1_000;

/// Coins that anyone could spend, under a script that only this node uses.
pub(super) struct Wallet {
    name: String,
    chain: Arc<dyn ChainAccess>,
}

impl Wallet {
    pub fn new(name: &str, chain: Arc<dyn ChainAccess>) -> Wallet {
        Wallet {
            name: name.to_owned(),
            chain,
        }
    }

    /// Asks the faucet for coins if there are none; they come with the next block.
    pub fn fill(&self) {
        if self.chain.coins(&self.script()).is_empty() {
            self.chain.pay(&self.script(), &COINS);
        }
    }

    pub fn sweep(&self, keys: &KeysManager, outputs: &[SpendableOutputDescriptor]) -> Transaction {
        let outputs: Vec<_> = outputs.iter().collect();
        let to = self.script();
        let secp = Secp256k1::new();
        let tx = keys.spend_spendable_outputs(&outputs, vec![], to, SWEEP_FEE_RATE, None, &secp);
        tx.unwrap_or_else(|()| panic!("{} cannot spend {outputs:?}", self.name))
    }

    fn tag(&self) -> &[u8] {
        self.name.as_bytes()
    }

    pub fn script(&self) -> ScriptBuf {
        anyone_can_spend(self.tag())
    }
}

impl WalletSourceSync for Wallet {
    fn list_confirmed_utxos(&self) -> Result<Vec<Utxo>, ()> {
        let coins = self.chain.coins(&self.script());
        let witness = anyone_can_spend_witness(self.tag()).size() as u64;
        let utxo = |(outpoint, output)| Utxo {
            outpoint,
            output,
            // An empty script_sig is one byte of weight four.
            satisfaction_weight: 4 + witness,
        };
        Ok(coins.into_iter().map(utxo).collect())
    }

    fn get_change_script(&self) -> Result<ScriptBuf, ()> {
        Ok(self.script())
    }

    fn sign_psbt(&self, psbt: Psbt) -> Result<Transaction, ()> {
        let ours: Vec<bool> = (psbt.inputs.iter())
            .map(|i| {
                i.witness_utxo
                    .as_ref()
                    .is_some_and(|o| o.script_pubkey == self.script())
            })
            .collect();
        let mut tx = psbt.extract_tx_unchecked_fee_rate();
        for (input, ours) in tx.input.iter_mut().zip(ours) {
            if ours {
                input.witness = anyone_can_spend_witness(self.tag());
            }
        }
        Ok(tx)
    }
}

impl BroadcasterInterface for Wallet {
    /// Submits in the order parents first: LDK promises none.
    fn broadcast_transactions(&self, txs: &[&Transaction]) {
        let mut left: Vec<&Transaction> = txs.to_vec();
        while !left.is_empty() {
            let ids: Vec<_> = left.iter().map(|tx| tx.compute_txid()).collect();
            let waits = |tx: &&Transaction| {
                tx.input
                    .iter()
                    .any(|input| ids.contains(&input.previous_output.txid))
            };
            let (children, parents): (Vec<_>, Vec<_>) = left.into_iter().partition(waits);
            for tx in parents {
                // A refusal is on record at the chain; LDK copes with it.
                let _ = self.chain.submit_as(&self.name, tx);
            }
            left = children;
        }
    }
}
