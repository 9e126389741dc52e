//! Our own outputs on a peer's commitment transaction (BOLT #3, `to_remote`): recognising them, and
//! what LDK needs to spend them.
//!
//! LDK 0.2 has two ways to derive the key. A v1 key needs the channel's `channel_keys_id` from the
//! backup. A v2 key is one of 1000 that the seed alone gives; LDK signs only for a `channel_keys_id`,
//! and one in 1000 leads to that key, so ids are tried.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, OnceLock};

use bitcoin::secp256k1::{All, Secp256k1};
use bitcoin::{OutPoint, Script, ScriptBuf, TxOut};
use lightning::ln::chan_utils::{get_countersigner_payment_script, ChannelTransactionParameters};
use lightning::sign::{
    ChannelSigner, KeysManager, SignerProvider, SpendableOutputDescriptor,
    StaticPaymentOutputDescriptor,
};
use lightning::types::features::ChannelTypeFeatures;

use super::identity::Identity;
use crate::backup::ChannelKind;
use crate::locks::lock;

/// So many ids are tried for a v2 key. One in 1000 fits, so this fails once in e^100 times.
const MOST_TRIES: u64 = 100_000;

/// How one of our outputs is spent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PaymentKey {
    pub kind: ChannelKind,
    pub channel_keys_id: [u8; 32],
}

pub(super) struct PaymentKeys {
    v1: KeysManager,
    v2: KeysManager,
    secp: Secp256k1<All>,
    /// The scripts that the seed alone gives.
    v2_scripts: OnceLock<HashMap<ScriptBuf, ChannelKind>>,
    /// Those of channels whose `channel_keys_id` a backup tells.
    v1_scripts: Mutex<BTreeMap<ScriptBuf, PaymentKey>>,
    /// Ids found by trying.
    found: Mutex<HashMap<ScriptBuf, [u8; 32]>>,
}

impl PaymentKeys {
    pub fn new(identity: &Identity) -> Self {
        PaymentKeys {
            v1: identity.v1_keys(),
            v2: identity.keys(),
            secp: Secp256k1::new(),
            v2_scripts: OnceLock::new(),
            v1_scripts: Mutex::default(),
            found: Mutex::default(),
        }
    }

    /// Signs for both kinds of keys.
    pub fn signer(&self) -> &KeysManager {
        &self.v2
    }

    pub fn secp(&self) -> &Secp256k1<All> {
        &self.secp
    }

    /// A backup tells the `channel_keys_id` of a channel.
    pub fn learn(&self, channel_keys_id: [u8; 32]) {
        let mut known = lock(&self.v1_scripts);
        if known
            .values()
            .any(|key| key.channel_keys_id == channel_keys_id)
        {
            return;
        }
        let point = self.v1.derive_channel_keys(&channel_keys_id);
        let point = point.pubkeys(&self.secp).payment_point;
        known.extend(KINDS.map(|kind| {
            let key = PaymentKey {
                kind,
                channel_keys_id,
            };
            (
                get_countersigner_payment_script(&features(kind), &point),
                key,
            )
        }));
    }

    /// Whether an output with this script is ours.
    pub fn recognise(&self, script: &Script) -> Option<PaymentKey> {
        if let Some(kind) = self.v2_scripts().get(script) {
            let channel_keys_id = self.id_for(script, *kind)?;
            return Some(PaymentKey {
                kind: *kind,
                channel_keys_id,
            });
        }
        lock(&self.v1_scripts).get(script).copied()
    }

    /// All scripts that it recognises, those of known channels first, always in the same order.
    pub fn scripts(&self) -> Vec<ScriptBuf> {
        let mut v2: Vec<_> = self.v2_scripts().keys().cloned().collect();
        v2.sort();
        let v1 = lock(&self.v1_scripts).keys().cloned().collect::<Vec<_>>();
        v1.into_iter().chain(v2).collect()
    }

    /// Whether it is an address of LDK's own keys, to which monitors send what they claim.
    pub fn is_own_address(&self, script: &Script) -> bool {
        let destination = self.v2.get_destination_script([0; 32]);
        let shutdown = self.v2.get_shutdown_scriptpubkey();
        destination.is_ok_and(|own| own.as_script() == script)
            || shutdown.is_ok_and(|own| own.into_inner().as_script() == script)
    }

    /// What LDK's `OutputSpender` needs for one of our outputs. Of the channel's parameters only our own
    /// keys and the type matter.
    pub fn descriptor(
        &self,
        outpoint: OutPoint,
        output: TxOut,
        key: PaymentKey,
    ) -> Option<SpendableOutputDescriptor> {
        let signer = self.v2.derive_channel_keys(&key.channel_keys_id);
        let parameters = ChannelTransactionParameters {
            holder_pubkeys: signer.pubkeys(&self.secp),
            holder_selected_contest_delay: 144,
            is_outbound_from_holder: true,
            counterparty_parameters: None,
            funding_outpoint: None,
            splice_parent_funding_txid: None,
            channel_type_features: features(key.kind),
            channel_value_satoshis: 0,
        };
        let descriptor = StaticPaymentOutputDescriptor {
            outpoint: lightning::chain::transaction::OutPoint {
                txid: outpoint.txid,
                index: u16::try_from(outpoint.vout).ok()?,
            },
            output,
            channel_keys_id: key.channel_keys_id,
            channel_value_satoshis: 0,
            channel_transaction_parameters: Some(parameters),
        };
        Some(SpendableOutputDescriptor::StaticPaymentOutput(descriptor))
    }

    /// The same for an output to an address of LDK's own keys.
    pub fn own_output(
        &self,
        outpoint: OutPoint,
        output: TxOut,
    ) -> Option<SpendableOutputDescriptor> {
        let outpoint = lightning::chain::transaction::OutPoint {
            txid: outpoint.txid,
            index: u16::try_from(outpoint.vout).ok()?,
        };
        Some(SpendableOutputDescriptor::StaticOutput {
            outpoint,
            output,
            channel_keys_id: None,
        })
    }

    /// The scripts of `to_remote` outputs that the seed alone gives.
    fn v2_scripts(&self) -> &HashMap<ScriptBuf, ChannelKind> {
        self.v2_scripts.get_or_init(|| {
            let scripts = self
                .v2
                .possible_v2_counterparty_closed_balance_spks(&self.secp);
            let kind = |script: &ScriptBuf| match script.is_p2wpkh() {
                true => ChannelKind::StaticRemoteKey,
                false => ChannelKind::Anchors,
            };
            scripts.into_iter().map(|s| (s.clone(), kind(&s))).collect()
        })
    }

    /// Some `channel_keys_id` whose v2 key has this script.
    fn id_for(&self, script: &Script, kind: ChannelKind) -> Option<[u8; 32]> {
        if let Some(id) = lock(&self.found).get(script) {
            return Some(*id);
        }
        let features = features(kind);
        let id = (0..MOST_TRIES).find_map(|n| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_be_bytes());
            let point = self.v2.derive_channel_keys(&id);
            let point = point.pubkeys(&self.secp).payment_point;
            let fits = get_countersigner_payment_script(&features, &point).as_script() == script;
            fits.then_some(id)
        })?;
        lock(&self.found).insert(script.to_owned(), id);
        Some(id)
    }
}

/// The forms of a `to_remote` output that LDK 0.2 can spend.
const KINDS: [ChannelKind; 2] = [ChannelKind::StaticRemoteKey, ChannelKind::Anchors];

fn features(kind: ChannelKind) -> ChannelTypeFeatures {
    match kind {
        ChannelKind::Anchors => ChannelTypeFeatures::anchors_zero_htlc_fee_and_dependencies(),
        ChannelKind::StaticRemoteKey | ChannelKind::Other => {
            ChannelTypeFeatures::only_static_remote_key()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bitcoin::Amount;
    use lightning::sign::OutputSpender;

    use super::*;

    #[test]
    fn every_kind_of_output_is_recognised_and_can_be_signed_for() {
        let identity = Identity::from_seed([7; 32]).unwrap();
        let keys = PaymentKeys::new(&identity);
        let id = [9; 32];
        keys.learn(id);
        for manager in [identity.keys(), identity.v1_keys()] {
            let point = manager
                .derive_channel_keys(&id)
                .pubkeys(keys.secp())
                .payment_point;
            for kind in KINDS {
                let script = get_countersigner_payment_script(&features(kind), &point);
                let key = keys.recognise(&script).unwrap();
                assert_eq!(key.kind, kind);
                let output = TxOut {
                    value: Amount::from_sat(100_000),
                    script_pubkey: script,
                };
                let descriptor = keys.descriptor(OutPoint::null(), output, key);
                // An outpoint with that index does not exist on a chain.
                assert!(descriptor.is_none());
                let output = TxOut {
                    value: Amount::from_sat(100_000),
                    script_pubkey: get_countersigner_payment_script(&features(kind), &point),
                };
                let outpoint = OutPoint::new(OutPoint::null().txid, 3);
                let descriptor = keys.descriptor(outpoint, output, key).unwrap();
                let to = ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_raw_hash(
                    bitcoin::hashes::Hash::all_zeros(),
                ));
                keys.signer()
                    .spend_spendable_outputs(&[&descriptor], vec![], to, 253, None, keys.secp())
                    .unwrap();
            }
        }
    }

    #[test]
    fn an_output_of_somebody_else_is_not_ours() {
        let keys = PaymentKeys::new(&Identity::from_seed([7; 32]).unwrap());
        keys.learn([9; 32]);
        let other = Identity::from_seed([8; 32]).unwrap();
        let scripts = other
            .keys()
            .possible_v2_counterparty_closed_balance_spks(keys.secp());
        assert!(scripts.iter().all(|s| keys.recognise(s).is_none()));
    }
}
