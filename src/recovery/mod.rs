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
//! Start at [`Recovery`]. It needs no [`finish_restore`](crate::PeerStorage::finish_restore): call that
//! when this device is to keep the backup, and push it. A plan is made of what a restore has heard in this
//! run of the program: of [`Session::restore`](crate::Session::restore) while the directory does not know
//! its past, of [`Recovery::plan_again`] at any time.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use std::time::Duration;
//! # use bitcoin::address::NetworkUnchecked;
//! # use bitcoin::{Address, FeeRate, Network};
//! # use ldk_peer_storage::backup::PeerRecord;
//! # use ldk_peer_storage::recovery::chain::ChainSource;
//! # use ldk_peer_storage::recovery::{Consent, Identity, Recovery};
//! # use ldk_peer_storage::{PeerStorage, Session};
//! # fn recover(
//! #     storage: PeerStorage,
//! #     session: Session,
//! #     identity: Identity,
//! #     chain: Arc<dyn ChainSource>,
//! #     known_peers: &[PeerRecord],
//! #     sweep_to: Address<NetworkUnchecked>,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let mut recovery = Recovery::open(storage, &identity, Network::Bitcoin, chain)?;
//! if !recovery.is_begun() {
//!     let outcome = session.restore(known_peers, Duration::from_secs(60))?;
//!     let plan = recovery.plan(&outcome, known_peers)?;
//!     // Show the plan, and ask the person each of these things.
//!     let consent = Consent {
//!         channels: plan.recoverable().map(|channel| channel.ids).collect(),
//!         sweep_to,
//!         fee_rate: FeeRate::from_sat_per_vb(5).expect("no overflow"),
//!         highest_fee_rate: FeeRate::from_sat_per_vb(50).expect("no overflow"),
//!         old_device_is_gone: true,
//!         closes_channels_without_keys: false,
//!         goes_on_without_unheard_peers: false,
//!     };
//!     recovery.agree(&plan, &consent)?;
//! }
//! // Now, and every minute or so for as long as it takes, also after a restart:
//! let progress = recovery.step(&session)?;
//! println!("{} sat have arrived", progress.recovered_sat);
//! # Ok(()) }
//! ```
//!
//! * `plan`, `planning` what could come back; `consent` what the person decides; `journal` what was
//!   decided and done;
//! * `round` one look at everything, and what follows from it; `schedule` when a peer is asked next;
//!   `naming` by which ids;
//! * `whereabouts` where a channel's funding output is; `funding` how it was spent; `scan` the search
//!   where that is not known; `keys` which outputs are ours; `sweep` the transactions; `monitors` what
//!   LDK's restored monitors bring;
//! * [`chain`] how it sees the chain; [`Identity`] from the seed to the keys.

mod ask;
pub mod chain;
mod consent;
mod event;
mod funding;
mod identity;
mod journal;
mod keys;
mod monitors;
mod naming;
mod plan;
mod planning;
mod round;
mod scan;
mod schedule;
mod signer;
mod sweep;
mod whereabouts;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{Network, OutPoint, Txid};

use self::chain::{ChainError, ChainSource};
use self::journal::{Journal, Step};
use self::keys::PaymentKeys;
use self::monitors::Monitors;
use self::scan::Scan;
use self::whereabouts::Whereabouts;
use crate::backup::{ChannelIds, ChannelRecord};
use crate::service::{Clock, PeerStorage, SystemClock};
use crate::store::StoreError;

pub use consent::{Agreed, Consent, ConsentError};
pub use event::{RecoveryEvent, WhyLeft};
pub use identity::{Identity, IdentityError};
pub use journal::Way;
pub use plan::{ChannelState, Claim, KnownBy, LeftOut, Plan, PlannedChannel};
pub use round::{ChannelProgress, KeptChannel, Progress, Stage, WhyKept};

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
    stages: Vec<(ChannelIds, PublicKey, Stage)>,
    /// Sweeps of which trouble was told.
    complained: BTreeSet<Txid>,
    /// Outputs of which it was told that they are not swept.
    told_of: BTreeSet<OutPoint>,
    /// Outputs that no key of this wallet can sign for.
    unsignable: BTreeSet<OutPoint>,
    /// Peers that have been heard since a transaction was taken for the close of a channel of theirs, and
    /// have not named that channel.
    unnamed: BTreeSet<(PublicKey, Txid)>,
    whereabouts: Whereabouts,
    scan: Scan,
    /// Sweeps that will not change any more, and whether they are in the chain.
    settled: BTreeMap<Txid, bool>,
    /// What the chain did not tell in this round, if anything: the first of it.
    trouble: Option<ChainError>,
    listener: Option<Listener>,
    after_step: Option<Box<dyn FnMut() + Send>>,
}

type Listener = Box<dyn FnMut(&RecoveryEvent) + Send>;

/// Why a recovery cannot go on at present. Nothing is lost. Whether the same call may go through later,
/// with nothing changed, [`may_pass`](Self::may_pass) tells.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// The chain cannot be seen. Where it does not pass ([`ChainError::may_pass`]), give another source.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The data directory. Which of these pass, their own docs say.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The data directory, or the session, is that of another node or network than the keys. Nothing was
    /// done. Permanent: give those that belong together.
    #[error("the data directory or the session belongs to another node or network than the keys")]
    OtherNode,
    /// A step in the data directory does not read: it was made by a newer version, or is damaged.
    /// Permanent: use the newer version, or read the backup back into another directory.
    #[error("the journal of the recovery does not read: made by a newer version, or damaged")]
    Journal,
    /// No such channel was agreed to. Nothing was done. Permanent, until it is agreed to.
    #[error("no such channel was agreed to")]
    UnknownChannel,
}

impl RecoveryError {
    /// Whether the same call may go through later, with nothing changed: try again, with pauses that grow.
    /// All others are the caller's to mend first.
    pub fn may_pass(&self) -> bool {
        match self {
            RecoveryError::Chain(error) => error.may_pass(),
            RecoveryError::Store(error) => matches!(
                error,
                StoreError::Locked
                    | StoreError::Inaccessible(_)
                    | StoreError::DiskFull
                    | StoreError::Io(_)
            ),
            RecoveryError::OtherNode | RecoveryError::Journal | RecoveryError::UnknownChannel => {
                false
            }
        }
    }
}

/// Which of these restored channels the person still waits for: neither their close is buried, nor were
/// they given up. Where that cannot be read it is all.
pub(crate) fn waited_for(
    storage: &PeerStorage,
    mut channels: Vec<ChannelRecord>,
) -> Vec<ChannelRecord> {
    if channels.is_empty() {
        return channels;
    }
    match Journal::load(storage, SystemClock::new().now()) {
        Ok(journal) => channels.retain(|channel| {
            let mut targets = journal.targets_of(&channel.ids, Some(channel.counterparty));
            !targets.any(|target| journal.has_ended(target) || journal.is_given_up(target))
        }),
        Err(error) => log::warn!("cannot tell which channels are recovered: {error}"),
    }
    channels
}

impl Recovery {
    /// Opens the recovery that was begun in this data directory, or a new one.
    ///
    /// `chain` has to be of `network`.
    ///
    /// # Errors
    /// [`RecoveryError::OtherNode`] where `storage` was not opened with the keys of `identity` and for
    /// `network`: what other keys find is nothing, and the peers would have closed for it.
    pub fn open(
        storage: PeerStorage,
        identity: &Identity,
        network: Network,
        chain: Arc<dyn ChainSource>,
    ) -> Result<Recovery, RecoveryError> {
        let owner = storage.owner();
        if owner.node_id != identity.node_id() || owner.network != network {
            return Err(RecoveryError::OtherNode);
        }
        let clock = Arc::new(SystemClock::new());
        let journal = Journal::load(&storage, clock.now())?;
        for target in &journal.targets {
            // Killed between the two, perhaps.
            if journal.is_over(&target.ids) {
                storage.channel_resolved(target.ids);
            }
        }
        let recovery = Recovery {
            storage,
            network,
            chain,
            keys: PaymentKeys::new(identity),
            monitors: Monitors::new(identity),
            identity: identity.clone(),
            clock,
            journal,
            stay: STAY,
            stages: Vec::new(),
            complained: BTreeSet::new(),
            told_of: BTreeSet::new(),
            unsignable: BTreeSet::new(),
            unnamed: BTreeSet::new(),
            whereabouts: Whereabouts::default(),
            scan: Scan::default(),
            settled: BTreeMap::new(),
            trouble: None,
            listener: None,
            after_step: None,
        };
        recovery.learn_keys();
        Ok(recovery)
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

    /// What was read back since the last time may hold newer ones. Once the person has agreed to some
    /// channels, those of all others stay out: monitors publish claims.
    fn load_monitors(&mut self) {
        let mut restored = self.storage.restored_monitors();
        if self.is_begun() {
            let targets = &self.journal.targets;
            restored.retain(|m| targets.iter().any(|t| t.ids.matches(&m.channel)));
        }
        self.monitors.load(&restored);
    }

    /// Our outputs are looked for with the keys of all channels that are known.
    fn learn_keys(&self) {
        let agreed = self.journal.targets.iter().map(|t| t.channel_keys_id);
        let known = self.storage.known().channels;
        let known = known.iter().map(|channel| channel.channel_keys_id);
        agreed
            .chain(known)
            .flatten()
            .for_each(|id| self.keys.learn(id));
    }

    fn funding(&mut self, ids: &ChannelIds) -> Result<Option<OutPoint>, ChainError> {
        let now = self.clock.now();
        self.whereabouts.funding(&*self.chain, ids, now)
    }

    /// The chain has not told something. That must not hold back what it does tell: it is noted, and
    /// nothing is over before a round without it. A source of another chain tells nothing of use.
    fn troubled(&mut self, error: ChainError) -> Result<(), RecoveryError> {
        if error == ChainError::WrongChain {
            return Err(error.into());
        }
        log::debug!("recovery: {error}");
        self.trouble.get_or_insert(error);
        Ok(())
    }

    /// What the chain has told; none: it is noted that it has not.
    fn told<T>(&mut self, answer: Result<T, ChainError>) -> Result<Option<T>, RecoveryError> {
        match answer {
            Ok(told) => Ok(Some(told)),
            Err(error) => self.troubled(error).map(|()| None),
        }
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
