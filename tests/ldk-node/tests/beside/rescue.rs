//! The one who recovers with nothing but the seed words and the address of a peer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::{Address, FeeRate, Network};
use ldk_peer_storage::backup::PeerRecord;
use ldk_peer_storage::recovery::chain::esplora::{EsploraConfig, EsploraSource};
use ldk_peer_storage::recovery::{Consent, Plan, Progress, Recovery};
use testkit::Chain;

use crate::beside::Beside;
use crate::phone::PhoneConfig;
use crate::support::ManualClock;

const BUDGET: Duration = Duration::from_secs(30);
/// More than any of these recoveries takes.
const MOST_STEPS: u32 = 100;

pub struct Rescuer {
    chain: Arc<Chain>,
    clock: Arc<ManualClock>,
    pub beside: Beside,
    pub recovery: Recovery,
}

impl Rescuer {
    /// A new phone: `dir` is empty, and of the old one's configuration the words alone are used.
    pub fn start(chain: &Arc<Chain>, lost: &PhoneConfig, dir: &Path) -> Rescuer {
        let identity = lost.identity();
        let beside = Beside::open(&identity, dir);
        let server = EsploraConfig::new(lost.esplora.clone(), Network::Regtest);
        let source = Arc::new(EsploraSource::new(server).unwrap());
        let storage = beside.storage.clone();
        let recovery = Recovery::open(storage, &identity, Network::Regtest, source).unwrap();
        let clock = ManualClock::new();
        Rescuer {
            chain: Arc::clone(chain),
            recovery: recovery.clock(clock.clone()).stay(Duration::from_secs(2)),
            beside,
            clock,
        }
    }

    /// Reads back, starting at these peers, and agrees to everything.
    pub fn agree(&mut self, first: &[PeerRecord], sweep_to: &Address) -> Plan {
        let outcome = self.beside.session.restore(first, BUDGET).unwrap();
        let plan = self.recovery.plan(&outcome, first).unwrap();
        let consent = Consent {
            channels: plan.recoverable().map(|channel| channel.ids).collect(),
            sweep_to: sweep_to.as_unchecked().clone(),
            fee_rate: FeeRate::from_sat_per_kwu(1_000),
            highest_fee_rate: FeeRate::from_sat_per_kwu(5_000),
            old_device_is_gone: true,
            closes_channels_without_keys: true,
            goes_on_without_unheard_peers: false,
        };
        self.recovery.agree(&plan, &consent).unwrap();
        plan
    }

    /// Steps, and mines so many blocks after each, until all is over.
    pub fn finish(&mut self, blocks: u32) -> Progress {
        for _ in 0..MOST_STEPS {
            let progress = self.recovery.step(&self.beside.session).unwrap();
            if progress.done {
                return progress;
            }
            self.chain.mine(blocks);
            self.clock.advance(Duration::from_secs(600));
        }
        panic!("not done after {MOST_STEPS} steps: {:?}", self.recovery);
    }
}
