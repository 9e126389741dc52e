//! A phone is lost, and its coins come back over what the app itself knows of the chain.

use std::str::FromStr;
use std::sync::{Arc, Mutex};

use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::{Address, Network, OutPoint, ScriptBuf, Transaction, Txid};
use peer_storage_ffi::callbacks::CallbackError;
use peer_storage_ffi::chain::{
    ChainAccess, ChainOutput, ChainPlace, ChainSource, ChainSourceError, ChainTip, ChainTransaction,
};
use peer_storage_ffi::config::OpenConfig;
use peer_storage_ffi::errors::{PeerStorageError, Refusal};
use peer_storage_ffi::recovery::{Recovery, RecoveryConsent, RecoverySettings};
use peer_storage_ffi::recovery_events::{RecoveryEvent, RecoveryListener};
use peer_storage_ffi::recovery_plan::{ChannelClaim, ChannelState, KnownBy};
use peer_storage_ffi::recovery_progress::ChannelStage;
use peer_storage_ffi::status::BackupHealth;
use peer_storage_ffi::wallet::WalletPeer;
use testkit::{open_channel, pay, Chain, Node, NodeConfig, Rejected, DEADLINE};

use crate::support::{config, open_with, wait, wait_until, ENOUGH};
use crate::wallet::Wallet;

/// What an app has: here the chain of the tests.
struct OwnChain {
    chain: Arc<Chain>,
    /// Whether it can be reached.
    is_away: Mutex<bool>,
}

type Answer<T> = Result<T, ChainSourceError>;

impl OwnChain {
    fn is_there(&self) -> Answer<()> {
        match *self.is_away.lock().unwrap() {
            true => Err(ChainSourceError::Unreachable {
                reason: "no signal".to_owned(),
            }),
            false => Ok(()),
        }
    }

    fn place(&self, txid: Txid) -> Option<ChainPlace> {
        let position = self.chain.position(txid)?;
        Some(ChainPlace {
            height: position.height,
            block_hash: position.block.to_string(),
            index: position.index,
        })
    }

    fn found(&self, tx: &Transaction) -> ChainTransaction {
        ChainTransaction {
            transaction: serialize(tx),
            place: self.place(tx.compute_txid()),
        }
    }
}

impl ChainSource for OwnChain {
    fn tip(&self) -> Answer<ChainTip> {
        self.is_there()?;
        let best = self.chain.tip();
        Ok(ChainTip {
            height: best.height,
            block_hash: best.block_hash.to_string(),
        })
    }

    fn header_at(&self, height: u32) -> Answer<Option<Vec<u8>>> {
        let block = self.chain.block(height);
        Ok(block.map(|block| serialize(&block.header)))
    }

    fn transaction(&self, txid: String) -> Answer<Option<ChainTransaction>> {
        let found = self.chain.transaction(Txid::from_str(&txid).unwrap());
        Ok(found.map(|found| self.found(&found.tx)))
    }

    fn txid_at(&self, height: u32, index: u32) -> Answer<Option<String>> {
        let block = self.chain.block(height);
        let tx = block.and_then(|block| block.txdata.into_iter().nth(index as usize));
        Ok(tx.map(|tx| tx.compute_txid().to_string()))
    }

    fn spend_of(&self, outpoint: String) -> Answer<Option<ChainTransaction>> {
        let spend = self.chain.spender(OutPoint::from_str(&outpoint).unwrap());
        Ok(spend.map(|spend| self.found(&spend.tx)))
    }

    fn outputs_to(&self, script: Vec<u8>) -> Answer<Vec<ChainOutput>> {
        let script = ScriptBuf::from_bytes(script);
        let mut outputs = Vec::new();
        for paid in self.chain.history(|other| other == script.as_script()) {
            let txid = paid.tx.compute_txid();
            for (vout, output) in (0u32..).zip(&paid.tx.output) {
                if output.script_pubkey == script {
                    outputs.push(ChainOutput {
                        outpoint: OutPoint { txid, vout }.to_string(),
                        value_sat: output.value.to_sat(),
                        script: output.script_pubkey.to_bytes(),
                        place: self.place(txid),
                    });
                }
            }
        }
        Ok(outputs)
    }

    fn broadcast(&self, transaction: Vec<u8>) -> Answer<()> {
        let tx: Transaction = deserialize(&transaction).unwrap();
        match self.chain.submit_as("the app", &tx) {
            Ok(_) | Err(Rejected::AlreadyMined) => Ok(()),
            Err(why) => Err(ChainSourceError::Rejected {
                reason: why.to_string(),
            }),
        }
    }

    fn fee_rate(&self, _blocks: u16) -> Answer<Option<u64>> {
        Ok(None)
    }
}

/// What a recovery tells its listener.
#[derive(Default)]
struct Told(Mutex<Vec<RecoveryEvent>>);

impl RecoveryListener for Told {
    fn on_event(&self, event: RecoveryEvent) -> Result<(), CallbackError> {
        self.0.lock().unwrap().push(event);
        Ok(())
    }
}

impl Told {
    fn any(&self, is_it: impl Fn(&RecoveryEvent) -> bool) -> bool {
        self.0.lock().unwrap().iter().any(is_it)
    }
}

/// A channel with a peer that knows nothing of this project, half of it the phone's, and a backup there.
fn phone_with_a_channel(chain: &Arc<Chain>, dir: &std::path::Path) -> (Wallet, Node) {
    let config = |name: &str| NodeConfig::new(name, dir.join(name), chain.clone());
    let peer = Node::start(config("peer"));
    let phone = Wallet::start(config("phone"), &dir.join("phone-storage"));
    phone.node.connect_to(&peer);
    open_channel(chain, &peer, &phone.node, 1_000_000);
    pay(&phone.node, &peer, 10_000_000);
    phone.know_node(&peer);
    phone.report();
    wait_until("the backup to be at the peer", || {
        phone.node.disconnect_from(&peer);
        phone.node.connect_to(&peer);
        let status = phone.storage.status().unwrap();
        let mut peers = status.peers.into_iter();
        status.channels == 1 && peers.any(|peer| peer.health == BackupHealth::Verified)
    });
    (phone, peer)
}

fn consent(recovery: &Recovery, peers: &[WalletPeer], sweep_to: &Address) -> RecoveryConsent {
    let plan = wait(recovery.plan(peers.to_vec(), ENOUGH)).unwrap();
    let [channel] = &plan.channels[..] else {
        panic!("{} channels", plan.channels.len())
    };
    assert_eq!(channel.known_by, KnownBy::Backup);
    assert_eq!(channel.state, ChannelState::Open);
    assert!(matches!(
        channel.claim,
        ChannelClaim::Balance | ChannelClaim::BalanceAndPayments { .. }
    ));
    assert!(plan.trouble.is_none() && plan.unheard.is_empty());
    let consent = RecoveryConsent {
        channels: vec![channel.ids.clone()],
        sweep_to: sweep_to.to_string(),
        fee_rate_sat_per_kwu: 1_000,
        highest_fee_rate_sat_per_kwu: 5_000,
        old_device_is_gone: false,
        closes_channels_without_keys: false,
        goes_on_without_unheard_peers: false,
    };
    let refused = |consent: &RecoveryConsent| wait(recovery.agree(plan.id, consent.clone()));
    match refused(&consent) {
        Err(PeerStorageError::NotAllowed { why, .. }) => assert_eq!(why, Refusal::OldDeviceMayLive),
        other => panic!("{other:?}"),
    }
    let consent = RecoveryConsent {
        old_device_is_gone: true,
        ..consent
    };
    match wait(recovery.agree(plan.id + 1, consent.clone())) {
        Err(PeerStorageError::NotAllowed { why, .. }) => assert_eq!(why, Refusal::NoSuchPlan),
        other => panic!("{other:?}"),
    }
    wait(recovery.agree(plan.id, consent.clone())).unwrap();
    consent
}

#[test]
fn coins_come_back_over_the_apps_own_chain_source() {
    let dir = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let (phone, peer) = phone_with_a_channel(&chain, dir.path());
    let funding = phone.node.funding_outpoints()[0];
    let (secret, peers) = (phone.secret.clone(), phone.peers());
    phone.lose();

    let dir_of_new = dir.path().join("new-phone");
    let open = || {
        let config = OpenConfig {
            network_available: true,
            ..config(&dir_of_new)
        };
        open_with(config, secret.clone()).unwrap()
    };
    let storage = open();
    let restored = wait(storage.restore(peers.clone(), ENOUGH)).unwrap();
    let report = restored.report;
    assert_eq!((report.channels.len(), report.answers.len()), (1, 1));
    let outpoint = Some(funding.to_string());
    assert_eq!(report.channels[0].ids.funding_outpoint, outpoint);
    wait(storage.finish_restore()).unwrap();

    let source = Arc::new(OwnChain {
        chain: chain.clone(),
        is_away: Mutex::default(),
    });
    let begin = |storage: &peer_storage_ffi::PeerStorage, told: &Arc<Told>| {
        let chain = ChainAccess::Host {
            source: source.clone(),
        };
        let settings = RecoverySettings { stay_ms: 1_000 };
        let recovery = storage.start_recovery(chain, settings, Some(told.clone()));
        recovery.unwrap()
    };
    let told = Arc::<Told>::default();
    let recovery = begin(&storage, &told);
    assert!(!wait(recovery.is_begun()).unwrap());
    let destination = ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_raw_hash(
        bitcoin::hashes::Hash::from_byte_array([7; 20]),
    ));
    let sweep_to = Address::from_script(&destination, Network::Regtest).unwrap();
    let agreed = consent(&recovery, &peers, &sweep_to);
    assert!(chain.spender(funding).is_none(), "agreed, not asked");
    let terms = wait(recovery.agreed()).unwrap().unwrap();
    assert!(terms.channels == agreed.channels && terms.given_up.is_empty());
    assert_eq!(terms.sweep_to, agreed.sweep_to);
    let rates = (
        terms.fee_rate_sat_per_kwu,
        terms.highest_fee_rate_sat_per_kwu,
    );
    assert_eq!(rates, (1_000, 5_000));

    *source.is_away.lock().unwrap() = true;
    match wait(recovery.step()) {
        Err(PeerStorageError::Chain { may_pass, reason }) => {
            assert!(may_pass && reason.contains("no signal"), "{reason}");
        }
        other => panic!("{}", other.is_ok()),
    }
    *source.is_away.lock().unwrap() = false;
    let progress = wait(recovery.step()).unwrap();
    assert!(!progress.done);
    assert_eq!(progress.channels[0].peer, peer.id().to_string());
    wait_until("the peer to close", || chain.spender(funding).is_some());
    wait_until("the app to be told of it", || {
        told.any(|event| matches!(event, RecoveryEvent::Asked { .. }))
    });

    // The app is closed and opened again: what was agreed to is in the directory.
    drop(recovery);
    wait(storage.shutdown(ENOUGH)).unwrap();
    let storage = open();
    let told = Arc::<Told>::default();
    let recovery = begin(&storage, &told);
    assert!(wait(recovery.is_begun()).unwrap());
    let mut last = None;
    testkit::wait_until("the coins", DEADLINE, || {
        let progress = wait(recovery.step()).unwrap();
        chain.mine(1);
        peer.sync();
        last.insert(progress).done
    });
    let progress = last.unwrap();
    assert_eq!(progress.found_sat, 490_000);
    assert_eq!(progress.recovered_sat + progress.fees_sat, 490_000);
    assert!(progress.kept.is_empty() && progress.trouble.is_none());
    assert_eq!((progress.left_sat, progress.too_dear_sat), (0, 0));
    let stage = &progress.channels[0].stage;
    assert!(matches!(
        stage,
        ChannelStage::Swept { .. } | ChannelStage::Over
    ));
    let coins = chain.coins(&destination);
    let arrived: u64 = coins.iter().map(|(_, coin)| coin.value.to_sat()).sum();
    assert_eq!(arrived, progress.recovered_sat);
    wait_until("the listener to be told", || {
        told.any(|event| matches!(event, RecoveryEvent::Over { .. }))
    });
    assert!(told.any(|event| matches!(event, RecoveryEvent::Sweeping { .. })));
    drop(recovery);
    wait(storage.shutdown(ENOUGH)).unwrap();
    peer.stop();
}
