//! A wallet core as `docs/rust.md` shows it, in a node of the test kit. What stands between the marks is in
//! the guide, word for word.

use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::address::NetworkUnchecked;
use bitcoin::secp256k1::PublicKey;
use bitcoin::{Address, FeeRate, Network};
use ldk_peer_storage::backup::PeerRecord;
use ldk_peer_storage::exchange::{self, Past, Status};
use ldk_peer_storage::ldk::LdkWallet;
use ldk_peer_storage::recovery::chain::ChainSource;
use ldk_peer_storage::recovery::{Consent, Identity, Progress};
use ldk_peer_storage::service::Config;
use ldk_peer_storage::session::{RestoreOutcome, SessionConfig};
use ldk_peer_storage::{PeerStorage, Recovery, Session};
use lightning::events::Event;
use lightning::sign::{KeysManager, SpendableOutputDescriptor};
use testkit::{
    DynBroadcaster, DynHandler, DynLogger, DynPersist, Extension, NodeParts, TestPeerManager,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

pub fn open(
    data_dir: &Path,
    network: Network,
    keys: &KeysManager,
    wallet_is_new: bool,
) -> Outcome<PeerStorage> {
    // guide: open
    let storage = PeerStorage::open(Config::new(data_dir, network), keys)?;
    if storage.past() == Past::Unknown && wallet_is_new {
        storage.declare_new()?; // no backup of it exists anywhere
    }
    // guide: end
    Ok(storage)
}

/// What an app has beside its node.
pub struct GuideWallet {
    storage: PeerStorage,
    peers: Vec<PeerRecord>,
    unswept: Arc<Mutex<Vec<SpendableOutputDescriptor>>>,
}

impl GuideWallet {
    pub fn new(storage: PeerStorage, peer: PeerRecord) -> GuideWallet {
        GuideWallet {
            storage,
            peers: vec![peer],
            unswept: Arc::default(),
        }
    }
}

impl Extension for GuideWallet {
    fn logger(&self, logger: Arc<DynLogger>) -> Arc<DynLogger> {
        let storage = &self.storage;
        // guide: wrap
        let logger = Arc::new(storage.logger(logger)); // hears the warnings of peers
                                                       // guide: end
        logger
    }

    fn broadcaster(&self, broadcaster: Arc<DynBroadcaster>) -> Arc<DynBroadcaster> {
        let storage = &self.storage;
        // guide: wrap
        let broadcaster = Arc::new(storage.broadcaster(broadcaster)); // publishes no old state
                                                                      // guide: end
        broadcaster
    }

    fn persister(&self, persister: Arc<DynPersist>) -> Arc<DynPersist> {
        let storage = &self.storage;
        // guide: wrap
        let persister = Arc::new(storage.persister(persister)); // sees what has become durable
                                                                // guide: end
        persister
    }

    fn message_handler(&self, parts: &NodeParts) -> Arc<DynHandler> {
        let (storage, peers) = (&self.storage, self.peers.clone());
        let unswept = self.unswept.clone();
        let (channel_manager, chain_monitor) = (&parts.channel_manager, &parts.chain_monitor);
        let keys = &parts.keys;
        // guide: attach
        let addresses = move |peer: &PublicKey| {
            let known = peers.iter().find(|known| known.node_id == *peer);
            known
                .map(|known| known.addresses.clone())
                .unwrap_or_default()
        };
        let unswept = move || unswept.lock().unwrap().clone();
        let wallet = LdkWallet::new(
            channel_manager.clone(),
            chain_monitor.clone(),
            keys.clone(),
            addresses,
        );
        storage.attach(Arc::new(wallet.spendable_outputs(unswept)));
        if storage.past() == Past::Unknown {
            let _ = storage.adopt(); // this wallet was alive before it had peer storage
        }
        let chan_handler = Arc::new(storage.message_handler(channel_manager.clone()));
        // guide: end
        chan_handler
    }

    fn started(&self, _parts: &NodeParts, peer_manager: Arc<TestPeerManager>) {
        let storage = &self.storage;
        // guide: waker
        let peers = Arc::downgrade(&peer_manager);
        storage.set_waker(move || {
            if let Some(peers) = peers.upgrade() {
                peers.process_events();
            }
        });
        // guide: end
    }

    fn event(&self, event: &Event) {
        let (storage, unswept) = (&self.storage, &self.unswept);
        // guide: events
        match event {
            Event::SpendableOutputs { outputs, .. } => {
                unswept.lock().unwrap().extend(outputs.iter().cloned());
                storage.wallet_changed();
            }
            Event::ChannelPending { .. }
            | Event::ChannelReady { .. }
            | Event::ChannelClosed { .. } => storage.wallet_changed(),
            _ => {}
        }
        // guide: end
    }

    fn block(&self, height: u32) {
        let storage = &self.storage;
        // guide: block
        storage.height_changed(height);
        // guide: end
    }
}

pub fn to_background(storage: &PeerStorage, budget: Duration) -> Status {
    // guide: background
    let report = storage.on_background(budget);
    if !report.complete {
        log::info!("the newest backup has not left yet");
    }
    // guide: end
    report.status.backup
}

pub fn summary(storage: &PeerStorage) -> String {
    // guide: status
    let health = storage.status().backup;
    let line = match health {
        _ if health.held => "on hold: ask the person (see docs/for-wallet-designers.md)".into(),
        _ if health.channels == 0 => "nothing to back up but the words".into(),
        _ if health.verified_by > 0 => format!("shown by {} peers", health.verified_by),
        _ => format!("sent to {} peers, shown by none yet", health.sent_to),
    };
    // guide: end
    line
}

pub fn handle_events(
    storage: &PeerStorage,
    mut show: impl FnMut(&exchange::Event, &PeerStorage),
) -> Outcome<()> {
    // guide: told
    while let Some((id, event)) = storage.next_event()? {
        show(&event, storage);
        storage.event_handled(id)?; // else it comes again at the next start
    }
    // guide: end
    Ok(())
}

pub fn restore(
    seed: [u8; 32],
    data_dir: &Path,
    network: Network,
    known_peers: &[PeerRecord],
) -> Outcome<(PeerStorage, Session, RestoreOutcome)> {
    // guide: restore
    let identity = Identity::from_seed(seed)?; // or from_ldk_node_mnemonic, from_ldk_node_seed
    let keys = Arc::new(identity.keys());
    let storage = PeerStorage::open(Config::new(data_dir, network), &*keys)?;
    let session = Session::open(storage.clone(), keys, SessionConfig::default())?;
    let outcome = session.restore(known_peers, Duration::from_secs(60))?;
    for answer in &outcome.report.answers {
        println!(
            "a peer has returned a backup of {} channels",
            answer.channels
        );
    }
    // guide: end
    Ok((storage, session, outcome))
}

/// What is left of a phone, and what the person wants.
pub struct Lost {
    pub storage: PeerStorage,
    pub session: Session,
    pub outcome: RestoreOutcome,
    pub seed: [u8; 32],
    pub network: Network,
    pub known_peers: Vec<PeerRecord>,
    pub sweep_to: Address<NetworkUnchecked>,
}

pub fn recover(
    lost: Lost,
    chain_source: Arc<dyn ChainSource>,
    wait: impl Fn(Duration),
) -> Outcome<Progress> {
    let Lost {
        storage,
        session,
        outcome,
        network,
        sweep_to,
        ..
    } = lost;
    let (known_peers, identity) = (&lost.known_peers[..], Identity::from_seed(lost.seed)?);
    // guide: recover
    let mut recovery = Recovery::open(storage, &identity, network, chain_source)?;
    // guide: end
    recovery = recovery.stay(Duration::from_secs(1));
    // guide: recover
    if !recovery.is_begun() {
        let plan = recovery.plan(&outcome, known_peers)?; // show it; nothing is closed yet
        let consent = Consent {
            channels: plan.recoverable().map(|channel| channel.ids).collect(),
            sweep_to,
            fee_rate: FeeRate::from_sat_per_kwu(1_000),
            highest_fee_rate: FeeRate::from_sat_per_kwu(5_000),
            old_device_is_gone: true, // ask the person: if it lives, it loses its channels
            closes_channels_without_keys: false,
            goes_on_without_unheard_peers: false,
        };
        recovery.agree(&plan, &consent)?;
    }
    let progress = loop {
        match recovery.step(&session) {
            Ok(progress) if progress.done => break progress,
            Ok(progress) => wait(progress.next_round_in),
            Err(error) if error.may_pass() => wait(Duration::from_secs(60)),
            Err(error) => return Err(error.into()),
        }
    };
    // guide: end
    Ok(progress)
}
