//! A backup holds what is needed to sweep: for each way in which LDK derives keys, and each kind of
//! channel, our output of the peer's commitment transaction is found and spent.

use bitcoin::secp256k1::{All, Secp256k1};
use bitcoin::{OutPoint, ScriptBuf};
use ldk_peer_storage::backup::{ChannelKind, ChannelRecord};
use lightning::ln::chan_utils::{get_countersigner_payment_script, ChannelTransactionParameters};
use lightning::sign::{
    ChannelSigner, EntropySource, KeysManager, OutputSpender, SpendableOutputDescriptor,
    StaticPaymentOutputDescriptor,
};
use lightning::types::features::ChannelTypeFeatures;
use testkit::{
    open_channel, pay, wait_until, wipe, Chain, ChannelType, KeyDerivation, Node, NodeConfig,
    DEADLINE,
};

use super::seed;
use crate::support::{QuietNode, Wallet, WalletConfig};

#[test]
fn a_channel_with_v1_keys_is_swept_by_what_its_backup_tells() {
    lost_and_swept(KeyDerivation::V1, ChannelType::StaticRemoteKey);
}

#[test]
fn an_anchor_channel_with_v1_keys_is_swept_by_what_its_backup_tells() {
    lost_and_swept(KeyDerivation::V1, ChannelType::Anchors);
}

#[test]
fn a_channel_with_v2_keys_is_swept_by_the_seed_alone() {
    lost_and_swept(KeyDerivation::V2, ChannelType::StaticRemoteKey);
}

#[test]
fn an_anchor_channel_with_v2_keys_is_swept_by_the_seed_alone() {
    lost_and_swept(KeyDerivation::V2, ChannelType::Anchors);
}

fn lost_and_swept(derivation: KeyDerivation, channel_type: ChannelType) {
    let home = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let config = |name: &str| {
        let config = NodeConfig::new(name, home.path().join(name), chain.clone());
        config.keys(derivation).channel_type(channel_type)
    };
    let peer = Node::start(config("peer"));
    let phone = Wallet::start(WalletConfig::new(config("phone")));
    phone.connect_to(&peer);
    let channel = open_channel(&chain, &phone.node, &peer, 1_000_000);
    let redeem_script = phone.node.channels()[0].funding_redeem_script.clone();
    phone.reconnect(&peer);
    pay(&phone.node, &peer, 10_000_000);
    assert!(phone.storage.on_background(DEADLINE).complete);
    peer.wire()
        .wait_received(&phone.node.id(), "PeerStorage", DEADLINE);
    let funding = phone.node.funding_outpoints()[0];
    let lost = phone.kill();
    wipe(&lost.node.dir);
    wipe(&lost.storage_dir);

    let quiet = QuietNode::start(seed("phone"), &lost.storage_dir);
    assert!(quiet.connect(peer.id(), peer.addr()));
    quiet.wait_read_back(peer.id());
    let report = quiet.storage.finish_restore().unwrap();
    quiet.stop();
    let record = &report.channels[0];
    let kind = match channel_type {
        ChannelType::StaticRemoteKey => ChannelKind::StaticRemoteKey,
        ChannelType::Anchors => ChannelKind::Anchors,
    };
    assert_eq!(record.kind, kind);
    assert_eq!(
        record.channel_keys_id.is_some(),
        derivation == KeyDerivation::V1
    );

    peer.force_close(&channel);
    wait_until("the peer's commitment", DEADLINE, || {
        chain.spender(funding).is_some()
    });
    chain.mine(1);
    let closing = chain.spender(funding).unwrap().tx;

    let keys = KeysManager::new(&seed("phone"), 1, 1, derivation == KeyDerivation::V2);
    let secp = Secp256k1::new();
    let (keys_id, script) = match record.channel_keys_id {
        Some(id) => {
            let pubkeys = keys.derive_channel_keys(&id).pubkeys(&secp);
            let key = pubkeys.funding_pubkey.serialize();
            let script = redeem_script.unwrap();
            assert!(script.as_bytes().windows(33).any(|part| part == key));
            (id, payment_script(&keys, &secp, record, id))
        }
        None => {
            let scripts = keys.possible_v2_counterparty_closed_balance_spks(&secp);
            let outputs = closing.output.iter().map(|o| o.script_pubkey.clone());
            let ours = outputs.into_iter().find(|script| scripts.contains(script));
            let ours = ours.expect("one of the 2000 scripts of the seed");
            // Signing by LDK's public interface needs some id of this key: one in 1000 has it.
            let ids = std::iter::repeat_with(|| keys.get_secure_random_bytes());
            let mut ids = ids.filter(|id| payment_script(&keys, &secp, record, *id) == ours);
            (ids.next().unwrap(), ours)
        }
    };
    let vout = closing
        .output
        .iter()
        .position(|o| o.script_pubkey == script);
    let vout = vout.expect("our output of the peer's commitment");
    assert!(closing.output[vout].value.to_sat() > 400_000);
    let descriptor =
        SpendableOutputDescriptor::StaticPaymentOutput(StaticPaymentOutputDescriptor {
            outpoint: lightning::chain::transaction::OutPoint {
                txid: closing.compute_txid(),
                index: vout as u16,
            },
            output: closing.output[vout].clone(),
            channel_keys_id: keys_id,
            channel_value_satoshis: 0,
            channel_transaction_parameters: Some(parameters(&keys, &secp, record, keys_id)),
        });
    let to = testkit::chain::anyone_can_spend(b"recovered");
    let sweep = keys
        .spend_spendable_outputs(&[&descriptor], vec![], to, 1_000, None, &secp)
        .unwrap();
    chain.submit(&sweep).unwrap();
    chain.mine(1);
    let spent = chain.spender(OutPoint::new(closing.compute_txid(), vout as u32));
    assert_eq!(spent.unwrap().tx.compute_txid(), sweep.compute_txid());
}

fn features(kind: ChannelKind) -> ChannelTypeFeatures {
    match kind {
        ChannelKind::Anchors => ChannelTypeFeatures::anchors_zero_htlc_fee_and_dependencies(),
        _ => ChannelTypeFeatures::only_static_remote_key(),
    }
}

fn payment_script(
    keys: &KeysManager,
    secp: &Secp256k1<All>,
    record: &ChannelRecord,
    keys_id: [u8; 32],
) -> ScriptBuf {
    let point = keys
        .derive_channel_keys(&keys_id)
        .pubkeys(secp)
        .payment_point;
    get_countersigner_payment_script(&features(record.kind), &point)
}

/// Only our own keys and the channel type matter.
fn parameters(
    keys: &KeysManager,
    secp: &Secp256k1<All>,
    record: &ChannelRecord,
    keys_id: [u8; 32],
) -> ChannelTransactionParameters {
    ChannelTransactionParameters {
        holder_pubkeys: keys.derive_channel_keys(&keys_id).pubkeys(secp),
        holder_selected_contest_delay: 144,
        is_outbound_from_holder: true,
        counterparty_parameters: None,
        funding_outpoint: None,
        splice_parent_funding_txid: None,
        channel_type_features: features(record.kind),
        channel_value_satoshis: 0,
    }
}
