//! A phone that is lost, its peers, and the one who recovers with nothing but the seed.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{Address, Amount, FeeRate, Network, OutPoint};
use ldk_peer_storage::backup::PeerRecord;
use ldk_peer_storage::recovery::chain::ChainSource;
use ldk_peer_storage::recovery::{Consent, Identity, Plan, Progress, Recovery, RecoveryEvent};
use ldk_peer_storage::service::{Config, PeerStorage};
use ldk_peer_storage::session::{Session, SessionConfig, Times};
use testkit::{wipe, Chain, ChannelType, KeyDerivation, Node, NodeConfig, DEADLINE};

use crate::support::{
    wait_pushes_arrived, ManualClock, OwnChainSource, Wallet, WalletConfig, SUBMITTER,
};

pub const BUDGET: Duration = Duration::from_secs(20);
pub const FEE_RATE: FeeRate = FeeRate::from_sat_per_kwu(1_000);
pub const HIGHEST_FEE_RATE: FeeRate = FeeRate::from_sat_per_kwu(5_000);

/// Where everything takes place.
pub struct Stage {
    pub home: tempfile::TempDir,
    pub chain: Arc<Chain>,
    pub channel_type: ChannelType,
    pub keys: KeyDerivation,
}

impl Stage {
    pub fn new(channel_type: ChannelType, keys: KeyDerivation) -> Stage {
        Stage {
            home: tempfile::tempdir().unwrap(),
            chain: Chain::new(),
            channel_type,
            keys,
        }
    }

    pub fn config(&self, name: &str) -> NodeConfig {
        let config = NodeConfig::new(name, self.home.path().join(name), self.chain.clone());
        config.keys(self.keys).channel_type(self.channel_type)
    }

    pub fn stock(&self, name: &str) -> Node {
        Node::start(self.config(name))
    }

    pub fn wallet(&self, name: &str) -> Wallet {
        Wallet::start(WalletConfig::new(self.config(name)))
    }

    /// The peer opens the channel and so pays for its commitment: what the phone owns stands in it to the
    /// satoshi. Half of it is the phone's. Returns when the phone's backup at the peer names it.
    pub fn fund(&self, phone: &Wallet, peer: &Node) {
        phone.connect_to(peer);
        testkit::open_channel(&self.chain, peer, &phone.node, 1_000_000);
        phone.reconnect(peer);
    }

    /// The phone's backup leaves for its peers.
    pub fn back_up(&self, phone: &Wallet, peers: &[&Node]) {
        assert!(phone.storage.on_background(DEADLINE).complete);
        for peer in peers {
            wait_pushes_arrived(&phone.node.id(), phone.node.wire(), peer);
        }
    }

    /// The phone is gone, with all that it had.
    pub fn lose(&self, phone: Wallet) -> Lost {
        let funding = phone.node.funding_outpoints();
        let config = phone.kill();
        wipe(&config.node.dir);
        wipe(&config.storage_dir);
        Lost {
            seed: config.node.seed,
            dir: config.storage_dir,
            funding,
        }
    }

    /// What the claims of monitors pay that the recovery has published, without the first `skip` of all
    /// that it has, in sat per 1000 weight units.
    pub fn rates_of_claims(&self, skip: usize) -> BTreeSet<u64> {
        let output = |o: OutPoint| {
            let tx = self.chain.transaction(o.txid).unwrap().tx;
            tx.output[o.vout as usize].value.to_sat()
        };
        let published = self.chain.submitted_by(SUBMITTER).into_iter().skip(skip);
        // A claim of a monitor's goes to the wallet's own address first.
        let claims =
            published.filter(|tx| tx.output[0].script_pubkey != destination().script_pubkey());
        let rate = |tx: bitcoin::Transaction| {
            let inputs: u64 = tx.input.iter().map(|i| output(i.previous_output)).sum();
            let outputs: u64 = tx.output.iter().map(|o| o.value.to_sat()).sum();
            (inputs - outputs) * 1_000 / tx.weight().to_wu()
        };
        claims.map(rate).collect()
    }

    pub fn rescuer(&self, lost: &Lost) -> Rescuer {
        Rescuer::start(self.chain.clone(), lost.seed, lost.dir.clone())
    }
}

/// What remains of a phone.
pub struct Lost {
    pub seed: [u8; 32],
    /// Where the new phone keeps its data.
    pub dir: PathBuf,
    pub funding: Vec<OutPoint>,
}

/// The new phone.
pub struct Rescuer {
    pub chain: Arc<Chain>,
    pub storage: PeerStorage,
    pub session: Session,
    pub recovery: Recovery,
    pub clock: Arc<ManualClock>,
    pub events: Arc<Mutex<Vec<RecoveryEvent>>>,
}

impl Rescuer {
    pub fn start(chain: Arc<Chain>, seed: [u8; 32], dir: PathBuf) -> Rescuer {
        let source = Arc::new(OwnChainSource::new(&chain));
        Rescuer::start_with(chain, seed, dir, source)
    }

    /// With a chain source of its own.
    pub fn start_with(
        chain: Arc<Chain>,
        seed: [u8; 32],
        dir: PathBuf,
        source: Arc<dyn ChainSource>,
    ) -> Rescuer {
        testkit::logs::watch();
        let identity = Identity::from_seed(seed).unwrap();
        let (storage, session) = open_quietly(&identity, dir);
        let clock = ManualClock::new();
        let recovery = Recovery::open(storage.clone(), &identity, Network::Regtest, source);
        let mut recovery = recovery
            .unwrap()
            .clock(clock.clone())
            .stay(Duration::from_secs(2));
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = events.clone();
        recovery.on_event(move |event| heard.lock().unwrap().push(event.clone()));
        Rescuer {
            chain,
            storage,
            session,
            recovery,
            clock,
            events,
        }
    }

    /// Reads back, starting at these peers.
    pub fn plan(&mut self, first: &[&Node]) -> Plan {
        let first: Vec<_> = first.iter().map(|node| record(node)).collect();
        let outcome = self.session.restore(&first, BUDGET).unwrap();
        self.recovery.plan(&outcome, &first).unwrap()
    }

    /// Reads back, and agrees to everything.
    pub fn agree(&mut self, first: &[&Node]) -> Plan {
        let plan = self.plan(first);
        let consent = consent(&plan);
        self.recovery.agree(&plan, &consent).unwrap();
        plan
    }

    pub fn step(&mut self) -> Progress {
        self.recovery.step(&self.session).unwrap()
    }

    /// Steps, and mines a block after each, until all is over.
    pub fn finish(&mut self) -> Progress {
        self.finish_within(60)
    }

    pub fn finish_within(&mut self, blocks: u32) -> Progress {
        let mut last = None;
        for _ in 0..blocks {
            let progress = self.step();
            if progress.done {
                return progress;
            }
            last = Some(progress);
            self.chain.mine(1);
            self.clock.advance(Duration::from_secs(600));
        }
        panic!("not done after {blocks} blocks: {last:?}");
    }

    /// What has arrived at the person's address.
    pub fn arrived(&self) -> Amount {
        let coins = self.chain.coins(&destination().script_pubkey());
        coins.iter().map(|(_, output)| output.value).sum()
    }

    pub fn stop(self) {
        drop(self.session);
        self.storage.close(Duration::from_secs(5));
    }
}

/// The data directory of a node, and a session on it.
pub fn open_quietly(identity: &Identity, dir: PathBuf) -> (PeerStorage, Session) {
    let keys = Arc::new(identity.keys());
    let storage = PeerStorage::open(Config::new(dir, Network::Regtest), &*keys).unwrap();
    let config = SessionConfig {
        times: quick(),
        ..SessionConfig::default()
    };
    let session = Session::open(storage.clone(), keys, config).unwrap();
    (storage, session)
}

/// Agrees to everything.
pub fn consent(plan: &Plan) -> Consent {
    Consent {
        channels: plan.recoverable().map(|channel| channel.ids).collect(),
        sweep_to: destination().into_unchecked(),
        fee_rate: FEE_RATE,
        highest_fee_rate: HIGHEST_FEE_RATE,
        old_device_is_gone: true,
        closes_channels_without_keys: true,
        goes_on_without_unheard_peers: true,
    }
}

/// Where the person wants the coins.
pub fn destination() -> Address {
    let script = testkit::chain::anyone_can_spend(b"the person");
    Address::from_script(&script, Network::Regtest).unwrap()
}

pub fn record(node: &Node) -> PeerRecord {
    peer_record(node.id(), node.addr())
}

pub fn peer_record(node_id: PublicKey, addr: std::net::SocketAddr) -> PeerRecord {
    PeerRecord {
        node_id,
        addresses: vec![addr.into()],
    }
}

/// What spends a funding output, as far as the chain and the mempool know.
pub fn closes(chain: &Chain, funding: &[OutPoint]) -> usize {
    let spent = funding.iter().filter(|f| chain.spender(**f).is_some());
    spent.count()
}

/// On loopback nothing takes long.
fn quick() -> Times {
    Times {
        connect: Duration::from_secs(2),
        after_reestablish: Duration::from_millis(200),
        first_reestablish: Duration::from_secs(1),
        linger: Duration::from_secs(1),
        ..Times::default()
    }
}
