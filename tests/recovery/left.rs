//! An output that cannot be swept is told of, and nobody waits for it for ever.

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::Secp256k1;
use bitcoin::{Amount, ScriptBuf, TxOut, Txid};
use ldk_peer_storage::backup::{
    encode, InstallationId, Padding, PeerRecord, Revision, Snapshot, Tier, MAX_BLOB,
};
use ldk_peer_storage::recovery::{Identity, RecoveryEvent, WhyLeft};
use lightning::chain::transaction::OutPoint;
use lightning::ln::chan_utils::get_countersigner_payment_script;
use lightning::sign::{
    ChannelSigner, SignerProvider, SpendableOutputDescriptor, StaticPaymentOutputDescriptor,
};
use lightning::types::features::ChannelTypeFeatures;
use testkit::{ChannelType, KeyDerivation, Outgoing, RawPeer};

use crate::stage::{consent, peer_record, Lost, Stage, BUDGET};
use crate::support::backup_key;

const SEED: [u8; 32] = [9; 32];
const KEYS_ID: [u8; 32] = [1; 32];
const SAT: u64 = 100_000;

fn waiting(txid: Txid, script_pubkey: ScriptBuf) -> SpendableOutputDescriptor {
    SpendableOutputDescriptor::StaticPaymentOutput(StaticPaymentOutputDescriptor {
        outpoint: OutPoint { txid, index: 0 },
        output: TxOut {
            value: Amount::from_sat(SAT),
            script_pubkey,
        },
        channel_keys_id: KEYS_ID,
        channel_value_satoshis: 0,
        channel_transaction_parameters: None,
    })
}

/// A backup that names these outputs, and no channel.
fn backup(spendable_outputs: Vec<SpendableOutputDescriptor>) -> Vec<u8> {
    let snapshot = Snapshot {
        revision: Revision {
            epoch: 1,
            generation: 1,
        },
        installation: InstallationId([7; 8]),
        peers: Vec::<PeerRecord>::new(),
        channels: Vec::new(),
        spendable_outputs,
        app_data: Vec::new(),
        monitors: Vec::new(),
    };
    let encoded = encode(&snapshot, Tier::Full, MAX_BLOB).unwrap();
    let key = backup_key(&SEED);
    key.seal(&encoded.plaintext, Padding::Buckets, MAX_BLOB, [9; 24])
        .unwrap()
}

#[test]
fn outputs_of_a_backup_that_cannot_be_swept_are_left_and_told_of() {
    let stage = Stage::new(ChannelType::StaticRemoteKey, KeyDerivation::V2);
    let keys = Identity::from_seed(SEED).unwrap().keys();
    let signer = keys.derive_channel_signer(KEYS_ID);
    let point = signer.pubkeys(&Secp256k1::new()).payment_point;
    let features = ChannelTypeFeatures::only_static_remote_key();
    let ours = get_countersigner_payment_script(&features, &point);
    let nobodys = testkit::chain::anyone_can_spend(b"nobody");
    let pay = |script| {
        stage
            .chain
            .pay(script, Amount::from_sat(SAT))
            .compute_txid()
    };
    let outputs = vec![
        waiting(pay(&ours), ours.clone()),
        waiting(pay(&nobodys), nobodys.clone()),
        waiting(Txid::from_byte_array([5; 32]), ours),
    ];
    stage.chain.mine(1);
    let peer = RawPeer::new("peer");
    let blob = backup(outputs);
    peer.on_connect(move |to, _| vec![Outgoing::retrieval(to, blob.clone())]);
    let lost = Lost {
        seed: SEED,
        dir: stage.home.path().join("new-phone"),
        funding: Vec::new(),
    };
    let mut rescuer = stage.rescuer(&lost);
    let known = [peer_record(peer.id(), peer.addr())];
    let outcome = rescuer.session.restore(&known, BUDGET).unwrap();
    let plan = rescuer.recovery.plan(&outcome, &known).unwrap();
    assert_eq!((plan.waiting_sat, &plan.trouble), (3 * SAT, &None));
    rescuer.recovery.agree(&plan, &consent(&plan)).unwrap();
    for _ in 0..100 {
        assert!(!rescuer.step().done);
        stage.chain.mine(1);
    }
    // How long it waits already stands in the journal.
    rescuer.stop();
    let mut rescuer = stage.rescuer(&lost);
    let progress = rescuer.finish();
    assert!(stage.chain.height() >= 110 + 144);
    assert_eq!(progress.recovered_sat + progress.fees_sat, SAT);
    assert_eq!((progress.found_sat, progress.left_sat), (SAT, 2 * SAT));
    for why in [WhyLeft::NoKey, WhyLeft::NotInChain] {
        let told = RecoveryEvent::Left { sat: SAT, why };
        let events = rescuer.events.lock().unwrap();
        assert_eq!(events.iter().filter(|event| **event == told).count(), 1);
    }
}
