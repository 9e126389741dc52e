//! Where the key of a channel's `to_remote` output comes from, found out while the channel lives.
//!
//! LDK 0.2 derives it in one of two ways. A v2 key is one of 1000 that the seed alone gives. A v1 key
//! needs the channel's `channel_keys_id`, 32 bytes that no one could guess; no accessor tells it. But
//! a monitor tells, for any transaction, which outputs the wallet could spend and with which
//! `channel_keys_id`: so it is shown one that pays to all the scripts in question. A node that
//! switched to v2 keys has channels of both kinds, so this is decided for each channel.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use bitcoin::absolute::LockTime;
use bitcoin::secp256k1::{All, PublicKey, Secp256k1, SecretKey};
use bitcoin::transaction::Version;
use bitcoin::{Amount, Script, ScriptBuf, Transaction, TxOut, Txid};
use lightning::chain::transaction::OutPoint;
use lightning::ln::types::ChannelId;
use lightning::sign::{
    ChannelSigner, KeysManager, SignerProvider, SpendableOutputDescriptor,
    StaticPaymentOutputDescriptor,
};

use super::monitors::Monitor;
use crate::locks::lock;

/// The index of a channel's first state (BOLT #3).
const FIRST_INDEX: u64 = (1 << 48) - 1;

/// The keys of the node's channels: LDK's `KeysManager`, or a signer like it.
pub trait ChannelKeys: Send + Sync {
    /// The scripts of `to_remote` outputs that can be found with the seed alone
    /// (`KeysManager::possible_v2_counterparty_closed_balance_spks`).
    fn v2_scripts(&self) -> Vec<ScriptBuf>;

    /// The script that monitors send on-chain claims to, if all channels have the same.
    fn destination_script(&self) -> Option<ScriptBuf>;

    /// Our key in the funding output of a channel, for checking; `splice_parent`: of a spliced one.
    fn funding_key(&self, channel_keys_id: [u8; 32], splice_parent: Option<Txid>) -> PublicKey;

    /// Our per-commitment point with this index, which counts down from 2^48 - 1
    /// (`ChannelSigner::get_per_commitment_point`). None: the proof that a peer gives of our state being
    /// old cannot be checked. Must take none of LDK's locks.
    fn per_commitment_point(&self, channel_keys_id: [u8; 32], index: u64) -> Option<PublicKey> {
        let _ = (channel_keys_id, index);
        None
    }
}

impl ChannelKeys for KeysManager {
    fn v2_scripts(&self) -> Vec<ScriptBuf> {
        self.possible_v2_counterparty_closed_balance_spks(secp())
    }

    fn destination_script(&self) -> Option<ScriptBuf> {
        self.get_destination_script([0; 32]).ok()
    }

    fn funding_key(&self, channel_keys_id: [u8; 32], splice_parent: Option<Txid>) -> PublicKey {
        let signer = self.derive_channel_keys(&channel_keys_id);
        match splice_parent {
            Some(txid) => signer.new_funding_pubkey(txid, secp()),
            None => signer.pubkeys(secp()).funding_pubkey,
        }
    }

    fn per_commitment_point(&self, channel_keys_id: [u8; 32], index: u64) -> Option<PublicKey> {
        let signer = self.derive_channel_keys(&channel_keys_id);
        signer.get_per_commitment_point(index, secp()).ok()
    }
}

/// Where the key of a `to_remote` output comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyPlace {
    /// The seed alone.
    V2List,
    /// The seed and this.
    ChannelKeysId([u8; 32]),
    /// It could not be found out.
    Unknown,
}

/// What was found out about a channel.
#[derive(Clone, Copy)]
pub(super) struct FoundKeys {
    pub place: KeyPlace,
    /// Checked against the funding key.
    pub channel_keys_id: Option<[u8; 32]>,
    /// The channel's capacity, told by the way.
    pub channel_value_sat: Option<u64>,
}

/// Finds the keys of channels, each once.
pub(super) struct KeyFinder {
    keys: Arc<dyn ChannelKeys>,
    /// Pays to all v2 scripts and to the destination.
    probe: OnceLock<Transaction>,
    /// A splice may give a channel other keys.
    found: Mutex<BTreeMap<(ChannelId, OutPoint), FoundKeys>>,
}

impl KeyFinder {
    pub fn new(keys: Arc<dyn ChannelKeys>) -> Self {
        KeyFinder {
            keys,
            probe: OnceLock::new(),
            found: Mutex::default(),
        }
    }

    /// Derives once what all channels are compared with.
    pub fn prepare(&self) {
        self.probe();
    }

    /// `redeem_script`: the funding output's, where it is known.
    pub fn find(&self, monitor: &dyn Monitor, redeem_script: Option<&Script>) -> FoundKeys {
        let channel = (monitor.channel_id(), monitor.funding_outpoint());
        let known = self.found().get(&channel).copied();
        known.unwrap_or_else(|| {
            let found = self.look(monitor, redeem_script);
            self.found().insert(channel, found);
            found
        })
    }

    fn found(&self) -> std::sync::MutexGuard<'_, BTreeMap<(ChannelId, OutPoint), FoundKeys>> {
        lock(&self.found)
    }

    fn look(&self, monitor: &dyn Monitor, redeem_script: Option<&Script>) -> FoundKeys {
        let mut claimed_with = None;
        for output in monitor.spendable_outputs(self.probe()) {
            match output {
                SpendableOutputDescriptor::StaticPaymentOutput(payment) => {
                    return FoundKeys {
                        place: KeyPlace::V2List,
                        channel_keys_id: self.checked_id(&payment),
                        channel_value_sat: Some(payment.channel_value_satoshis),
                    };
                }
                SpendableOutputDescriptor::StaticOutput {
                    channel_keys_id: id,
                    ..
                } => claimed_with = id,
                SpendableOutputDescriptor::DelayedPaymentOutput(_) => {}
            }
        }
        if let (Some(id), Some(script)) = (claimed_with, redeem_script) {
            let key = self.keys.funding_key(id, None).serialize();
            if script.as_bytes().windows(key.len()).any(|part| part == key) {
                return FoundKeys {
                    place: KeyPlace::ChannelKeysId(id),
                    channel_keys_id: Some(id),
                    channel_value_sat: None,
                };
            }
        }
        self.look_inside(monitor).unwrap_or(FoundKeys {
            place: KeyPlace::Unknown,
            channel_keys_id: None,
            channel_value_sat: None,
        })
    }

    /// Reads the `to_remote` script out of the serialised monitor, has LDK name its
    /// `channel_keys_id`, and checks that against the funding key.
    fn look_inside(&self, monitor: &dyn Monitor) -> Option<FoundKeys> {
        let script = counterparty_payment_script(&monitor.encoded())?;
        let outputs = monitor.spendable_outputs(&paying_to([script]));
        outputs.into_iter().find_map(|output| {
            let SpendableOutputDescriptor::StaticPaymentOutput(payment) = output else {
                return None;
            };
            let id = self.checked_id(&payment)?;
            Some(FoundKeys {
                place: KeyPlace::ChannelKeysId(id),
                channel_keys_id: Some(id),
                channel_value_sat: Some(payment.channel_value_satoshis),
            })
        })
    }

    /// The `channel_keys_id` that LDK names, if it gives the channel's funding key.
    fn checked_id(&self, payment: &StaticPaymentOutputDescriptor) -> Option<[u8; 32]> {
        let parameters = payment.channel_transaction_parameters.as_ref()?;
        let id = payment.channel_keys_id;
        let parent = parameters.splice_parent_funding_txid;
        let funding_key = parameters.holder_pubkeys.funding_pubkey;
        (self.keys.funding_key(id, parent) == funding_key).then_some(id)
    }

    /// What LDK checks before it believes that our state is old. Only for channels that were looked at
    /// before: it takes no lock but its own.
    pub fn holds_secret(
        &self,
        channel: &ChannelId,
        next_revocation_number: u64,
        secret: &[u8; 32],
    ) -> Option<bool> {
        let known = |(at, keys): (&(ChannelId, OutPoint), &FoundKeys)| {
            keys.channel_keys_id.filter(|_| at.0 == *channel)
        };
        let id = self.found().iter().find_map(known)?;
        // The number of a state counts up, its index down; the secret is that of the state before.
        let revoked = next_revocation_number.checked_sub(1)?;
        let Some(index) = FIRST_INDEX.checked_sub(revoked) else {
            return Some(false);
        };
        let point = self.keys.per_commitment_point(id, index)?;
        let given = SecretKey::from_slice(secret);
        Some(given.is_ok_and(|secret| secret.public_key(secp()) == point))
    }

    fn probe(&self) -> &Transaction {
        self.probe.get_or_init(|| {
            let scripts = self.keys.v2_scripts();
            paying_to(scripts.into_iter().chain(self.keys.destination_script()))
        })
    }
}

/// A transaction that was never made.
fn paying_to(scripts: impl IntoIterator<Item = ScriptBuf>) -> Transaction {
    let output = |script_pubkey| TxOut {
        value: Amount::ZERO,
        script_pubkey,
    };
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: Vec::new(),
        output: scripts.into_iter().map(output).collect(),
    }
}

/// The script of our output on the peer's commitment transaction, from the head of a monitor as
/// LDK 0.2 writes it (`write_chanmon_internal`). A guess that is checked afterwards.
fn counterparty_payment_script(encoded: &[u8]) -> Option<ScriptBuf> {
    let mut head = Head(encoded);
    head.take(2 + 8 + 6)?; // versions, latest update id, obscure factor
    head.script()?; // destination
    match head.take(1)? {
        [0] => {
            // our own commitment, if it was broadcast: script and two keys
            head.script()?;
            head.take(33 + 33)?;
        }
        [1] => {}
        _ => return None,
    }
    head.script().map(Script::to_owned)
}

struct Head<'a>(&'a [u8]);

impl<'a> Head<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn script(&mut self) -> Option<&'a Script> {
        let len = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        self.take(len.into()).map(Script::from_bytes)
    }
}

fn secp() -> &'static Secp256k1<All> {
    static SECP: OnceLock<Secp256k1<All>> = OnceLock::new();
    SECP.get_or_init(Secp256k1::new)
}
