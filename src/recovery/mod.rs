//! From a restored snapshot to swept coins.
//!
//! A person has lost a phone and read the backup back ([`session`](crate::session)). Their channels
//! live on at the peers; our part of each comes back in three steps, and each can take days:
//!
//! ```text
//! plan ── the person agrees ──▶ ask each peer to close ──▶ watch the chain ──▶ sweep ──▶ buried
//!          (Consent, durable)    error | channel_reestablish   (ChainSource)     fee raised
//!                                one a connection, backoff                       if it is stuck
//! ```
//!
//! What holds, whatever happens:
//!
//! * Nothing is closed before [`Recovery::agree`] (safety rule 10).
//! * Our own commitment is never published (rule 9): no state is ever loaded into a `ChannelManager`.
//! * The chain alone says how far a channel is. What the chain cannot say is in a journal, durable
//!   before it is acted on: a recovery can be killed anywhere, and goes on.
//!
//! Start at [`Recovery`].
//!
//! * `plan` what could come back; `journal` what was decided and done; `schedule` when a peer is asked
//!   next; `funding` where a channel stands; `keys` which outputs are ours; `sweep` the transactions;
//!   `round` one look at everything, and what follows from it;
//! * [`chain`] how it sees the chain; [`Identity`] from the seed to the keys.

mod ask;
pub mod chain;
mod event;
mod funding;
mod identity;
mod journal;
mod keys;
mod monitors;
mod plan;
mod round;
mod schedule;
mod signer;
mod sweep;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, FeeRate, Network, ScriptBuf, Txid};

use self::chain::{ChainError, ChainSource};
use self::journal::{Journal, Step, Terms};
use self::keys::PaymentKeys;
use self::monitors::Monitors;
use crate::backup::{ChannelIds, ChannelKind, ChannelPhase, ChannelRecord, PeerRecord};
use crate::service::{Clock, PeerStorage, SystemClock};
use crate::session::{RestoreOutcome, Returned};
use crate::store::StoreError;

pub use event::RecoveryEvent;
pub use identity::{Identity, IdentityError};
pub use journal::Way;
pub use plan::{ChannelState, Claim, KnownBy, Plan, PlannedChannel};
pub use round::{ChannelProgress, Progress, Stage};

/// Nobody pays more than this for a sweep, in sat per vbyte: a larger rate is a slip of the hand.
const ABSURD_FEE_RATE: u64 = 2_000;

/// How long a connection stays open after a peer was asked.
const STAY: Duration = Duration::from_secs(30);

/// Brings back what was in the channels of a node that has lost everything but its seed.
///
/// Open it over the data directory into which the backup was read back, let the person agree to a
/// [`Plan`], and call [`step`](Recovery::step) until it is done: every minute or so while the app runs,
/// for days if need be. Blocking; one thread at a time.
pub struct Recovery {
    storage: PeerStorage,
    identity: Identity,
    network: Network,
    chain: Arc<dyn ChainSource>,
    keys: PaymentKeys,
    monitors: Monitors,
    clock: Arc<dyn Clock>,
    journal: Journal,
    stay: Duration,
    /// How far each channel was when it was last looked at: what has changed since is told.
    told: Vec<(ChannelIds, Stage)>,
    /// Sweeps of which trouble was told.
    complained: BTreeSet<Txid>,
    listener: Option<Listener>,
    after_step: Option<Box<dyn FnMut() + Send>>,
}

type Listener = Box<dyn FnMut(&RecoveryEvent) + Send>;

/// What the person agrees to. There is no default: each of these costs money if it is wrong.
#[derive(Clone, Debug)]
pub struct Consent {
    /// The channels to close and sweep, out of the plan.
    pub channels: Vec<ChannelIds>,
    /// Where to.
    pub sweep_to: Address<NetworkUnchecked>,
    /// What the sweeps pay at first.
    pub fee_rate: FeeRate,
    /// How far that is raised when a sweep does not confirm.
    pub highest_fee_rate: FeeRate,
    /// The person is sure that no other device runs this wallet. If one does, it loses its channels to
    /// a force close; nothing else.
    pub old_device_is_gone: bool,
    /// The person knows that what is in channels with [`Claim::KeysUnknown`] is lost if the node did not
    /// derive its keys in LDK's second way, and that a backup may still turn up. ldk-node since 0.7
    /// derives them so.
    pub closes_channels_without_keys: bool,
    /// The person does not want to wait for the peers that were not heard, one of which may hold a
    /// newer backup.
    pub goes_on_without_unheard_peers: bool,
}

/// What the person has agreed to, as it stands in the data directory.
#[derive(Clone)]
pub struct Agreed {
    /// The channels, also those that are over or were given up.
    pub channels: Vec<ChannelIds>,
    /// Where the sweeps pay to.
    pub sweep_to: ScriptBuf,
    /// What the sweeps pay at first.
    pub fee_rate: FeeRate,
    /// How far that is raised.
    pub highest_fee_rate: FeeRate,
}

impl fmt::Debug for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agreed")
            .field("channels", &self.channels.len())
            .field("fee_rate", &self.fee_rate)
            .field("highest_fee_rate", &self.highest_fee_rate)
            .finish_non_exhaustive()
    }
}

/// Why a consent was not taken. Nothing has happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsentError {
    /// The old device may still run.
    #[error("the person has not said that the old device is gone")]
    OldDeviceMayLive,
    /// There are peers that were not heard.
    #[error("{0} peers were not heard, and the person has not said to go on without them")]
    PeersUnheard(usize),
    /// It names a channel whose keys no backup tells.
    #[error(
        "the keys of a chosen channel are in no backup, and the person has not said to close it"
    )]
    KeysUnknown,
    /// It names no channel.
    #[error("no channel is chosen")]
    NoChannel,
    /// It names a channel that the plan does not have, or that cannot be recovered.
    #[error("a chosen channel is not in the plan, or cannot be recovered")]
    UnknownChannel,
    /// The address is one of another network.
    #[error("the address is of another network")]
    OtherNetwork,
    /// A fee rate is zero, too low to be relayed, or absurd; or the highest is below the first.
    #[error("a fee rate of {0} sat per 1000 weight units cannot be meant")]
    FeeRate(u64),
    /// It could not be written.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
}

/// Why a recovery cannot go on at present. Nothing is lost; the same call can be made again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// The chain cannot be seen.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The data directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A step in the data directory does not read: it was made by a newer version, or is damaged.
    #[error("the journal of the recovery does not read: made by a newer version, or damaged")]
    Journal,
}

impl Recovery {
    /// Opens the recovery that was begun in this data directory, or a new one.
    ///
    /// `storage` must have been opened with the keys of `identity`. `chain` has to be of `network`.
    pub fn open(
        storage: PeerStorage,
        identity: &Identity,
        network: Network,
        chain: Arc<dyn ChainSource>,
    ) -> Result<Recovery, RecoveryError> {
        let clock = Arc::new(SystemClock::new());
        let journal = Journal::load(&storage, clock.now())?;
        for target in &journal.targets {
            // Killed between the two, perhaps.
            if journal.is_over(&target.ids) {
                storage.channel_resolved(target.ids);
            }
        }
        Ok(Recovery {
            storage,
            network,
            chain,
            keys: PaymentKeys::new(identity),
            monitors: Monitors::new(identity),
            identity: identity.clone(),
            clock,
            journal,
            stay: STAY,
            told: Vec::new(),
            complained: BTreeSet::new(),
            listener: None,
            after_step: None,
        })
    }

    /// Another clock than the system's. It decides only when a peer is asked again.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How long a connection stays open after a peer was asked to close. The default is 30 s, since LND
    /// drops what is queued for it when the other side leaves first; a test that knows its peers takes
    /// less.
    pub fn stay(mut self, stay: Duration) -> Self {
        self.stay = stay;
        self
    }

    /// Calls `listener` with each event, on the thread of the call that it comes from, when what it tells
    /// of is durable. After a restart some are told again.
    pub fn on_event(&mut self, listener: impl FnMut(&RecoveryEvent) + Send + 'static) {
        self.listener = Some(Box::new(listener));
    }

    /// Calls `f` after each step that has become durable, before anything follows from it: where a test
    /// kills the process.
    #[doc(hidden)]
    pub fn after_each_step(&mut self, f: impl FnMut() + Send + 'static) {
        self.after_step = Some(Box::new(f));
    }

    /// Whether the person has agreed to something before.
    pub fn is_begun(&self) -> bool {
        self.journal.terms.is_some()
    }

    /// What the person has agreed to last, in this run or an earlier one; none: nothing yet.
    pub fn agreed(&self) -> Option<Agreed> {
        let terms = self.journal.terms.as_ref()?;
        Some(Agreed {
            channels: self.journal.targets.iter().map(|t| t.ids).collect(),
            sweep_to: terms.sweep_to.clone(),
            fee_rate: FeeRate::from_sat_per_kwu(terms.fee_rate),
            highest_fee_rate: terms.highest(),
        })
    }

    /// What could be recovered, from what was read back, what peers have said of their channels (without
    /// a backup it is all there is), and the chain. Closes nothing, changes nothing.
    ///
    /// `asked`: the peers that the person knew of, with their addresses.
    pub fn plan(
        &mut self,
        outcome: &RestoreOutcome,
        asked: &[PeerRecord],
    ) -> Result<Plan, RecoveryError> {
        self.load_monitors();
        let restored = &outcome.report;
        let peers: Vec<_> = restored.peers.iter().chain(asked).cloned().collect();
        let peers = crate::session::merged(&peers);
        let visits = outcome.peers.iter().filter_map(|p| p.outcome.as_ref().ok());
        let mut channels = Vec::new();
        for record in restored.channels.iter().chain(&restored.older_channels) {
            channels.push(self.planned(record, &peers, KnownBy::Backup)?);
        }
        for seen in visits.flat_map(|visit| &visit.channels) {
            let ids = ChannelIds {
                channel_id: Some(seen.channel_id),
                ..ChannelIds::default()
            };
            // A peer speaks for its own channels alone.
            let mut of_peer = channels.iter_mut().filter(|c| c.peer == seen.peer);
            let same = of_peer.find(|c| c.ids.matches(&ids));
            if let Some(channel) = same {
                // The peer's own name for it is the one that an `error` has to use.
                channel.ids.channel_id = Some(seen.channel_id);
                channel.target.ids.channel_id = Some(seen.channel_id);
                continue;
            }
            let record = ChannelRecord {
                counterparty: seen.peer,
                ids,
                update_id: 0,
                phase: ChannelPhase::Ready,
                restored: true,
                kind: ChannelKind::Other,
                channel_keys_id: None,
                value_sat: None,
            };
            channels.push(self.planned(&record, &peers, KnownBy::Peer)?);
        }
        Ok(Plan {
            newest: restored.newest,
            channels,
            unheard: unheard(outcome, &peers),
            waiting_sat: self.waiting_sat()?,
        })
    }

    /// The person agrees. Durable on return; [`step`](Self::step) then does it.
    ///
    /// Can be called again, with a plan that has become better: its channels are added, and its address
    /// and fee rates are used from then on.
    pub fn agree(&mut self, plan: &Plan, consent: &Consent) -> Result<(), ConsentError> {
        if !consent.old_device_is_gone {
            return Err(ConsentError::OldDeviceMayLive);
        }
        if !plan.unheard.is_empty() && !consent.goes_on_without_unheard_peers {
            return Err(ConsentError::PeersUnheard(plan.unheard.len()));
        }
        let sweep_to = consent.sweep_to.clone().require_network(self.network);
        let sweep_to = sweep_to.map_err(|_| ConsentError::OtherNetwork)?;
        let absurd = FeeRate::from_sat_per_vb(ABSURD_FEE_RATE).unwrap_or(FeeRate::MAX);
        for rate in [consent.fee_rate, consent.highest_fee_rate] {
            if rate < FeeRate::BROADCAST_MIN || rate > absurd || rate < consent.fee_rate {
                return Err(ConsentError::FeeRate(rate.to_sat_per_kwu()));
            }
        }
        let mut targets = Vec::new();
        for ids in &consent.channels {
            let planned = plan.recoverable().find(|c| c.ids.matches(ids));
            let planned = planned.ok_or(ConsentError::UnknownChannel)?;
            if planned.claim == Claim::KeysUnknown && !consent.closes_channels_without_keys {
                return Err(ConsentError::KeysUnknown);
            }
            targets.push(planned.target.clone());
        }
        if targets.is_empty() && plan.waiting_sat == 0 {
            return Err(ConsentError::NoChannel);
        }
        let terms = Terms {
            sweep_to: sweep_to.script_pubkey(),
            fee_rate: consent.fee_rate.to_sat_per_kwu(),
            highest_fee_rate: consent.highest_fee_rate.to_sat_per_kwu(),
        };
        self.take(Step::Agreed { terms, targets })?;
        Ok(())
    }

    /// The person no longer waits for a channel that they had agreed to: its peer is gone for good, or it
    /// never was a channel. It is not asked for any more, and does not keep the recovery from being done.
    /// Its backup stays, and it can be agreed to again.
    pub fn give_up(&mut self, channel: ChannelIds) -> Result<(), RecoveryError> {
        self.take(Step::GivenUp { channel })
    }

    fn planned(
        &self,
        record: &ChannelRecord,
        peers: &[PeerRecord],
        known_by: KnownBy,
    ) -> Result<PlannedChannel, RecoveryError> {
        let funding = funding::outpoint(&*self.chain, &record.ids)?;
        let state = match funding {
            None => ChannelState::NotFound,
            Some(funding) => match self.chain.spend_of(&funding)? {
                Some(_) => ChannelState::Closed,
                None => ChannelState::Open,
            },
        };
        let mut planned = PlannedChannel::new(record, peers, funding, state, known_by);
        if planned.claim == Claim::Balance && state == ChannelState::Open {
            planned.claim = self.claim_by_monitor(&planned.ids).unwrap_or(planned.claim);
        }
        Ok(planned)
    }

    /// What was read back since the last time may hold newer ones. Once the person has agreed to some
    /// channels, those of all others stay out: monitors publish claims.
    fn load_monitors(&mut self) {
        let mut restored = self.storage.restored_monitors();
        if self.is_begun() {
            let targets = &self.journal.targets;
            restored.retain(|m| targets.iter().any(|t| t.ids.matches(&m.channel)));
        }
        if self.monitors.are_outdated(&restored) {
            self.monitors = Monitors::new(&self.identity);
            self.monitors.load(&restored);
        }
    }

    fn claim_by_monitor(&self, channel: &ChannelIds) -> Option<Claim> {
        let restored = self.storage.restored_monitors();
        let monitor = restored.iter().find(|m| m.channel.matches(channel))?;
        let id = monitor.channel.derived_channel_id()?;
        Some(Claim::BalanceAndPayments {
            estimate_sat: self.monitors.estimate_sat(&id)?,
            may_be_stale: monitor.is_outdated(),
        })
    }

    fn take(&mut self, step: Step) -> Result<(), RecoveryError> {
        self.journal.take(&self.storage, step)?;
        if let Some(after_step) = &mut self.after_step {
            after_step();
        }
        Ok(())
    }

    fn tell(&mut self, event: RecoveryEvent) {
        log::info!("recovery: {event}");
        if let Some(listener) = &mut self.listener {
            listener(&event);
        }
    }
}

impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovery")
            .field("channels", &self.journal.targets.len())
            .field("sweeps", &self.journal.sweeps.len())
            .finish_non_exhaustive()
    }
}

/// The peers that may hold a newer backup: those that backups name and nobody has heard, and those
/// that the person knew of and that were not reached, or had no time to answer.
fn unheard(outcome: &RestoreOutcome, peers: &[PeerRecord]) -> Vec<PeerRecord> {
    let named = &outcome.report.unheard;
    let heard = |peer: &PeerRecord| {
        let mut reports = outcome.peers.iter();
        reports.any(|report| {
            let visit = report.outcome.as_ref();
            report.peer == peer.node_id
                && visit.is_ok_and(|visit| visit.returned != Returned::NothingInTime)
        })
    };
    let answered = |peer: &PeerRecord| {
        let mut answers = outcome.report.answers.iter();
        answers.any(|answer| answer.peer == peer.node_id)
    };
    let is_unheard = |peer: &&PeerRecord| {
        named.iter().any(|named| named.node_id == peer.node_id) || !(heard(peer) || answered(peer))
    };
    peers.iter().filter(is_unheard).cloned().collect()
}
