//! Keys that cannot sign our own commitment: the first guard of safety rule 9.
//!
//! A restored monitor may be older than the channel was. LDK publishes a monitor's commitment by itself
//! when an HTLC in it runs out; if the peer has been given its revocation, everything is lost. With
//! these keys that signature does not come to be. All else a monitor signs, claims on the peer's
//! commitment and the penalty for a revoked one, goes through.

use bitcoin::secp256k1::ecdsa::Signature;
use bitcoin::secp256k1::{All, Message, PublicKey, Secp256k1, SecretKey};
use bitcoin::{ScriptBuf, Transaction, Txid};
use lightning::ln::chan_utils::{
    ChannelPublicKeys, ChannelTransactionParameters, ClosingTransaction, CommitmentTransaction,
    HTLCOutputInCommitment, HolderCommitmentTransaction,
};
use lightning::ln::msgs::UnsignedChannelAnnouncement;
use lightning::ln::script::ShutdownScript;
use lightning::sign::ecdsa::EcdsaChannelSigner;
use lightning::sign::{ChannelSigner, HTLCDescriptor, InMemorySigner, KeysManager, SignerProvider};
use lightning::types::payment::PaymentPreimage;

/// Makes [`RecoverySigner`]s.
pub(super) struct RecoveryKeys(pub KeysManager);

/// Refuses whatever would close a channel with our own state.
pub(super) struct RecoverySigner(InMemorySigner);

impl SignerProvider for RecoveryKeys {
    type EcdsaSigner = RecoverySigner;

    fn generate_channel_keys_id(&self, inbound: bool, user_channel_id: u128) -> [u8; 32] {
        self.0.generate_channel_keys_id(inbound, user_channel_id)
    }

    fn derive_channel_signer(&self, channel_keys_id: [u8; 32]) -> RecoverySigner {
        RecoverySigner(self.0.derive_channel_signer(channel_keys_id))
    }

    fn get_destination_script(&self, channel_keys_id: [u8; 32]) -> Result<ScriptBuf, ()> {
        self.0.get_destination_script(channel_keys_id)
    }

    fn get_shutdown_scriptpubkey(&self) -> Result<ShutdownScript, ()> {
        self.0.get_shutdown_scriptpubkey()
    }
}

impl ChannelSigner for RecoverySigner {
    fn get_per_commitment_point(&self, idx: u64, secp: &Secp256k1<All>) -> Result<PublicKey, ()> {
        self.0.get_per_commitment_point(idx, secp)
    }

    /// Nothing is revoked in a recovery.
    fn release_commitment_secret(&self, _idx: u64) -> Result<[u8; 32], ()> {
        Err(())
    }

    fn validate_holder_commitment(
        &self,
        holder_tx: &HolderCommitmentTransaction,
        preimages: Vec<PaymentPreimage>,
    ) -> Result<(), ()> {
        self.0.validate_holder_commitment(holder_tx, preimages)
    }

    fn validate_counterparty_revocation(&self, idx: u64, secret: &SecretKey) -> Result<(), ()> {
        self.0.validate_counterparty_revocation(idx, secret)
    }

    fn pubkeys(&self, secp: &Secp256k1<All>) -> ChannelPublicKeys {
        self.0.pubkeys(secp)
    }

    fn new_funding_pubkey(&self, splice_parent: Txid, secp: &Secp256k1<All>) -> PublicKey {
        self.0.new_funding_pubkey(splice_parent, secp)
    }

    fn channel_keys_id(&self) -> [u8; 32] {
        self.0.channel_keys_id()
    }
}

impl EcdsaChannelSigner for RecoverySigner {
    // ---- refused: what spends a funding output ---------------------------------------------

    fn sign_holder_commitment(
        &self,
        _: &ChannelTransactionParameters,
        _: &HolderCommitmentTransaction,
        _: &Secp256k1<All>,
    ) -> Result<Signature, ()> {
        Err(())
    }

    fn sign_holder_keyed_anchor_input(
        &self,
        _: &ChannelTransactionParameters,
        _: &Transaction,
        _: usize,
        _: &Secp256k1<All>,
    ) -> Result<Signature, ()> {
        Err(())
    }

    fn sign_closing_transaction(
        &self,
        _: &ChannelTransactionParameters,
        _: &ClosingTransaction,
        _: &Secp256k1<All>,
    ) -> Result<Signature, ()> {
        Err(())
    }

    fn sign_counterparty_commitment(
        &self,
        _: &ChannelTransactionParameters,
        _: &CommitmentTransaction,
        _: Vec<PaymentPreimage>,
        _: Vec<PaymentPreimage>,
        _: &Secp256k1<All>,
    ) -> Result<(Signature, Vec<Signature>), ()> {
        Err(())
    }

    fn sign_channel_announcement_with_funding_key(
        &self,
        _: &ChannelTransactionParameters,
        _: &UnsignedChannelAnnouncement,
        _: &Secp256k1<All>,
    ) -> Result<Signature, ()> {
        Err(())
    }

    /// LDK asks for it in a live splice alone, and it cannot be refused: so it is of no transaction,
    /// and by another key.
    fn sign_splice_shared_input(
        &self,
        _: &ChannelTransactionParameters,
        _: &Transaction,
        _: usize,
        secp: &Secp256k1<All>,
    ) -> Signature {
        secp.sign_ecdsa(&Message::from_digest([0; 32]), &self.0.htlc_base_key)
    }

    // ---- signed: claims of what is ours on a commitment that is in the chain -------------------

    fn sign_justice_revoked_output(
        &self,
        parameters: &ChannelTransactionParameters,
        justice_tx: &Transaction,
        input: usize,
        amount: u64,
        per_commitment_key: &SecretKey,
        secp: &Secp256k1<All>,
    ) -> Result<Signature, ()> {
        self.0.sign_justice_revoked_output(
            parameters,
            justice_tx,
            input,
            amount,
            per_commitment_key,
            secp,
        )
    }

    fn sign_justice_revoked_htlc(
        &self,
        parameters: &ChannelTransactionParameters,
        justice_tx: &Transaction,
        input: usize,
        amount: u64,
        per_commitment_key: &SecretKey,
        htlc: &HTLCOutputInCommitment,
        secp: &Secp256k1<All>,
    ) -> Result<Signature, ()> {
        self.0.sign_justice_revoked_htlc(
            parameters,
            justice_tx,
            input,
            amount,
            per_commitment_key,
            htlc,
            secp,
        )
    }

    fn sign_holder_htlc_transaction(
        &self,
        htlc_tx: &Transaction,
        input: usize,
        descriptor: &HTLCDescriptor,
        secp: &Secp256k1<All>,
    ) -> Result<Signature, ()> {
        self.0
            .sign_holder_htlc_transaction(htlc_tx, input, descriptor, secp)
    }

    fn sign_counterparty_htlc_transaction(
        &self,
        parameters: &ChannelTransactionParameters,
        htlc_tx: &Transaction,
        input: usize,
        amount: u64,
        per_commitment_point: &PublicKey,
        htlc: &HTLCOutputInCommitment,
        secp: &Secp256k1<All>,
    ) -> Result<Signature, ()> {
        self.0.sign_counterparty_htlc_transaction(
            parameters,
            htlc_tx,
            input,
            amount,
            per_commitment_point,
            htlc,
            secp,
        )
    }
}
