//! From a restored backup to swept coins.

use std::sync::Arc;

use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, FeeRate, Network};
use ldk_peer_storage::lifecycle::OpenStorage;
use ldk_peer_storage::recovery::chain::ChainSource as CoreSource;
use ldk_peer_storage::recovery::{self as core, Plan};
use ldk_peer_storage::service::PeerStorage as CoreStorage;
use ldk_peer_storage::session::Session;
use tokio::sync::Mutex;

use crate::callbacks::{note, Inbox};
use crate::chain::ChainAccess;
use crate::errors::{PeerStorageError, Refusal};
use crate::parse::{self, millis};
use crate::peer_storage::{Inner, PeerStorage};
use crate::recovery_events::{event, RecoveryEvent, RecoveryListener};
use crate::recovery_plan::RecoveryPlan;
use crate::recovery_progress::RecoveryProgress;
use crate::runtime::{contained, run_alone, Lane};
use crate::wallet::{ChannelIds, WalletPeer};

type Outcome<T> = Result<T, PeerStorageError>;

/// No address is longer.
const LONGEST_ADDRESS: usize = 100;

/// How a recovery goes about it.
#[derive(Clone, Debug, uniffi::Record)]
pub struct RecoverySettings {
    /// How long a connection stays open after a peer was asked to close, in milliseconds. Less than the default
    /// makes some peers miss the question.
    #[uniffi(default = 30000)]
    pub stay_ms: u64,
}

/// What the person agrees to. There is no default: each of these costs money if it is wrong.
#[derive(Clone, uniffi::Record)]
pub struct RecoveryConsent {
    /// The channels to close and sweep, out of the plan.
    pub channels: Vec<ChannelIds>,
    /// The address that the coins go to: one of another wallet of the person's. What monitors claim (payments in
    /// flight, penalties) may go to an address of the lost wallet first, which its seed opens.
    pub sweep_to: String,
    /// What the sweeps pay at first, in sat per 1000 weight units (250 are 1 sat per vbyte).
    pub fee_rate_sat_per_kwu: u64,
    /// How far that is raised where a sweep does not confirm, in sat per 1000 weight units.
    pub highest_fee_rate_sat_per_kwu: u64,
    /// The person is sure that no other device runs this wallet. If one does, it loses its channels to a force
    /// close.
    pub old_device_is_gone: bool,
    /// The person knows that what is in channels of which the keys are unknown may be lost by closing them.
    pub closes_channels_without_keys: bool,
    /// The person does not want to wait for the peers that were not heard, one of which may hold a newer
    /// backup.
    pub goes_on_without_unheard_peers: bool,
}

/// What the person has agreed to, as it stands in the data directory.
#[derive(Clone, uniffi::Record)]
pub struct RecoveryTerms {
    /// The channels, also those that are over or were given up.
    pub channels: Vec<ChannelIds>,
    /// Of these, the ones that were given up.
    pub given_up: Vec<ChannelIds>,
    /// The address that the coins go to.
    pub sweep_to: String,
    /// What the sweeps pay at first, in sat per 1000 weight units.
    pub fee_rate_sat_per_kwu: u64,
    /// How far that is raised, in sat per 1000 weight units.
    pub highest_fee_rate_sat_per_kwu: u64,
}

/// Brings back what was in the channels of a wallet that has lost everything but its seed: `plan`, show the plan
/// to the person, `agree`, and then `step` every minute or so for as long as it takes, days if need be, also
/// after a restart of the app. Everything that was agreed to and done is durable: it can be killed anywhere.
///
/// It works while the storage is open and nothing stands in the way of visiting peers. Threads: any; one call
/// runs at a time, the others wait for their turn.
#[derive(uniffi::Object)]
pub struct Recovery {
    inner: Arc<Inner>,
    chain: Arc<dyn CoreSource>,
    settings: RecoverySettings,
    events: Option<Arc<Inbox<RecoveryEvent>>>,
    at_work: Arc<Mutex<AtWork>>,
}

/// What only one call at a time works with.
#[derive(Default)]
struct AtWork {
    /// The core's recovery, over the storage of this opening. Made anew after each suspension, and after a
    /// panic: all that counts is in its journal.
    open: Option<(u64, core::Recovery)>,
    /// The last plan: a consent is for what the person has seen.
    plan: Option<(u64, Plan)>,
    plans: u64,
}

/// What is needed to open the core's recovery.
#[derive(Clone)]
struct Opener {
    inner: Arc<Inner>,
    chain: Arc<dyn CoreSource>,
    stay_ms: u64,
    events: Option<Arc<Inbox<RecoveryEvent>>>,
}

impl Opener {
    /// Does something with the recovery over this storage.
    fn with<T>(
        &self,
        at_work: &mut AtWork,
        storage: &OpenStorage,
        work: impl FnOnce(&mut core::Recovery, &mut Plans<'_>) -> Outcome<T>,
    ) -> Outcome<T> {
        // That of this storage: meanwhile another may have been opened.
        let opening = storage.opening();
        // Taken out: a panic loses it, and the next call makes it anew.
        let mut recovery = match at_work.open.take() {
            Some((of, recovery)) if of == opening => recovery,
            _ => self.open(storage)?,
        };
        let mut plans = Plans {
            last: &mut at_work.plan,
            count: &mut at_work.plans,
        };
        let result = work(&mut recovery, &mut plans);
        at_work.open = Some((opening, recovery));
        result
    }

    fn open(&self, storage: &CoreStorage) -> Outcome<core::Recovery> {
        let network: Network = self.inner.network.into();
        let (identity, chain) = (&self.inner.identity, Arc::clone(&self.chain));
        let recovery = core::Recovery::open(storage.clone(), identity, network, chain)?;
        let mut recovery = recovery.stay(millis(self.stay_ms));
        if let Some(events) = &self.events {
            let events = Arc::clone(events);
            recovery.on_event(move |happened| {
                if let Some(event) = event(happened) {
                    events.put(event);
                }
            });
        }
        Ok(recovery)
    }

    /// The same with the storage alone: nothing is asked of peers.
    fn over_storage<T>(
        &self,
        at_work: &mut AtWork,
        work: impl FnOnce(&mut core::Recovery, &mut Plans<'_>) -> Outcome<T>,
    ) -> Outcome<T> {
        let storage = self.inner.storage()?;
        self.with(at_work, &storage, work)
    }

    /// The same with a session, which ends where something comes to stand in the way.
    fn over_session<T>(
        &self,
        at_work: &mut AtWork,
        work: impl FnOnce(&mut core::Recovery, &mut Plans<'_>, &Session) -> Outcome<T>,
    ) -> Outcome<T> {
        self.inner.require_open()?;
        self.inner.lifecycle.with_session(|storage, session| {
            self.with(at_work, storage, |recovery, plans| {
                work(recovery, plans, session)
            })
        })?
    }
}

/// The plans that were made, of which the last counts.
struct Plans<'a> {
    last: &'a mut Option<(u64, Plan)>,
    count: &'a mut u64,
}

impl Plans<'_> {
    fn note(&mut self, plan: Plan) -> RecoveryPlan {
        *self.count += 1;
        let (id, plan) = &*self.last.insert((*self.count, plan));
        RecoveryPlan::new(*id, plan)
    }

    fn get(&self, id: u64) -> Outcome<&Plan> {
        let last = self.last.as_ref().filter(|(last, _)| *last == id);
        let plan = last.map(|(_, plan)| plan);
        plan.ok_or_else(|| {
            PeerStorageError::not_allowed(Refusal::NoSuchPlan, "this is not the last plan")
        })
    }
}

impl Recovery {
    pub(crate) fn new(
        inner: &Arc<Inner>,
        chain: ChainAccess,
        settings: RecoverySettings,
        listener: Option<Arc<dyn RecoveryListener>>,
    ) -> Outcome<Arc<Self>> {
        let tell = |listener: Arc<dyn RecoveryListener>| {
            Inbox::new(move |event| note(listener.on_event(event)))
        };
        Ok(Arc::new(Recovery {
            inner: Arc::clone(inner),
            chain: chain.source(inner.network)?,
            settings,
            events: listener.map(tell).map(Arc::new),
            at_work: Arc::default(),
        }))
    }

    async fn alone<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce(&Opener, &mut AtWork) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let opener = Opener {
            inner: Arc::clone(&self.inner),
            chain: Arc::clone(&self.chain),
            stay_ms: self.settings.stay_ms,
            events: self.events.clone(),
        };
        let at_work = Arc::clone(&self.at_work);
        run_alone(lane, at_work, move |at_work| work(&opener, at_work)).await
    }
}

#[uniffi::export]
impl PeerStorage {
    /// The recovery of what was in the channels of a wallet that has lost everything else: a new one, or the
    /// one that was begun in this data directory. Nothing is read, asked or closed by this; what is wrong with
    /// the one that was begun shows at its first call. There should be one alone for each data directory. The
    /// listener is told what happens, when it is durable.
    ///
    /// Throws `InvalidInput`.
    pub fn start_recovery(
        &self,
        chain: ChainAccess,
        settings: RecoverySettings,
        listener: Option<Arc<dyn RecoveryListener>>,
    ) -> Outcome<Arc<Recovery>> {
        contained(|| {
            self.inner.require_open()?;
            Recovery::new(&self.inner, chain, settings, listener)
        })
    }
}

#[uniffi::export]
impl Recovery {
    /// Whether the person has agreed to something before, in this run of the app or an earlier one.
    ///
    /// Throws `NotAllowed` (`JournalUnreadable`), as every call here then does; `Suspended`.
    pub async fn is_begun(&self) -> Outcome<bool> {
        self.alone(Lane::Long, |opener, at_work| {
            opener.over_storage(at_work, |recovery, _| Ok(recovery.is_begun()))
        })
        .await
    }

    /// What could come back: reads back once more from these peers and from those that backups name, and asks
    /// the chain. Nothing is closed. Call it again for peers that were away; `agree` takes the last plan alone.
    /// The budget, in milliseconds, is that of the visits; the chain takes its own time.
    ///
    /// Throws `Chain`, `NotNow`, `Suspended`, `InvalidInput`.
    pub async fn plan(&self, peers: Vec<WalletPeer>, budget_ms: u64) -> Outcome<RecoveryPlan> {
        let peers = parse::peers("peers", peers)?;
        self.alone(Lane::Long, move |opener, at_work| {
            opener.over_session(at_work, |recovery, plans, session| {
                let plan = recovery.plan_again(session, &peers, millis(budget_ms))?;
                Ok(plans.note(plan))
            })
        })
        .await
    }

    /// The person agrees to this plan. Durable on return; `step` then does it. Can be called again with a plan
    /// that has become better: its channels are added, and its address and fee rates are used from then on.
    ///
    /// Throws `NotAllowed`, which says what is missing; `InvalidInput`, `Suspended`.
    pub async fn agree(&self, plan_id: u64, consent: RecoveryConsent) -> Outcome<()> {
        let network: Network = self.inner.network.into();
        let consent = consent.parsed(network)?;
        self.alone(Lane::Long, move |opener, at_work| {
            opener.over_storage(at_work, |recovery, plans| {
                Ok(recovery.agree(plans.get(plan_id)?, &consent)?)
            })
        })
        .await
    }

    /// One round: looks at the chain, asks peers who have not closed yet, sweeps what is ours. Takes seconds, or
    /// minutes where peers are asked. Call it again after `next_round_in_ms`, until `done`.
    ///
    /// Throws `Chain` (where `may_pass`: call again, with pauses that grow), `NotNow`, `Suspended`.
    pub async fn step(&self) -> Outcome<RecoveryProgress> {
        self.alone(Lane::Long, |opener, at_work| {
            opener.over_session(at_work, |recovery, _, session| {
                Ok(recovery.step(session)?.into())
            })
        })
        .await
    }

    /// The person no longer waits for a channel that was agreed to. It is not asked for any more; if the peer
    /// closes it after all, what is ours is swept. Where several peers say that it is theirs, `peer` (a node id
    /// in hex) tells which; none: all. Durable on return.
    ///
    /// Throws `NotAllowed` (`NoSuchChannel`), `Suspended`.
    pub async fn give_up(&self, channel: ChannelIds, peer: Option<String>) -> Outcome<()> {
        let ids = channel.parsed("channel")?;
        let peer = peer.map(|peer| parse::node_id("peer", &peer)).transpose()?;
        self.alone(Lane::Long, move |opener, at_work| {
            opener.over_storage(at_work, |recovery, _| Ok(recovery.give_up(ids, peer)?))
        })
        .await
    }

    /// What the person has agreed to last; none: nothing yet.
    ///
    /// Throws `Suspended`.
    pub async fn agreed(&self) -> Outcome<Option<RecoveryTerms>> {
        let network: Network = self.inner.network.into();
        self.alone(Lane::Long, move |opener, at_work| {
            opener.over_storage(at_work, |recovery, _| {
                Ok(recovery.agreed().map(|agreed| terms(agreed, network)))
            })
        })
        .await
    }
}

fn terms(agreed: core::Agreed, network: Network) -> RecoveryTerms {
    let ids = |ids: Vec<_>| ids.into_iter().map(ChannelIds::from).collect();
    let address = Address::from_script(&agreed.sweep_to, network);
    RecoveryTerms {
        channels: ids(agreed.channels),
        given_up: ids(agreed.given_up),
        // It was agreed to as an address.
        sweep_to: address.map(|a| a.to_string()).unwrap_or_default(),
        fee_rate_sat_per_kwu: agreed.fee_rate.to_sat_per_kwu(),
        highest_fee_rate_sat_per_kwu: agreed.highest_fee_rate.to_sat_per_kwu(),
    }
}

impl RecoveryConsent {
    fn parsed(&self, network: Network) -> Outcome<core::Consent> {
        parse::limit("channels", self.channels.len(), parse::MOST_IN_A_LIST)?;
        parse::limit("sweep_to", self.sweep_to.len(), LONGEST_ADDRESS)?;
        let channels = self.channels.iter().map(|ids| ids.parsed("channels"));
        let sweep_to: Address<NetworkUnchecked> = self
            .sweep_to
            .parse()
            .map_err(|_| PeerStorageError::invalid("sweep_to", "is no address"))?;
        if !sweep_to.is_valid_for_network(network) {
            let reason = "is an address of another network";
            return Err(PeerStorageError::invalid("sweep_to", reason));
        }
        Ok(core::Consent {
            channels: channels.collect::<Outcome<_>>()?,
            sweep_to,
            fee_rate: FeeRate::from_sat_per_kwu(self.fee_rate_sat_per_kwu),
            highest_fee_rate: FeeRate::from_sat_per_kwu(self.highest_fee_rate_sat_per_kwu),
            old_device_is_gone: self.old_device_is_gone,
            closes_channels_without_keys: self.closes_channels_without_keys,
            goes_on_without_unheard_peers: self.goes_on_without_unheard_peers,
        })
    }
}
