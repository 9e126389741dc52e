//! Who sends what to whom, and when: the whole peer storage protocol, both sides, as a state machine.
//! Pure: no I/O, no clock, no randomness of its own, so it runs in a simulator as it runs in a wallet.
//!
//! ```text
//!                    ┌───────────────── Exchange ──────────────────┐
//!   wallet_changed ─▶│ book      what is known of our channels     │
//!                    │ snapshots when one is made, and of what     │──▶ Action::ReadMonitors
//!   connected ──────▶│ push      gate, plan (owner)                │──▶ Action::Push   (type 7)
//!   retrieval ──────▶│ returned  compare, merge (owner)            │──▶ Action::Persist
//!   reestablish ────▶│ gate      may channel messages pass?        │──▶ Verdict
//!                    │ stale     what shows old state; alarms      │──▶ Event
//!   storage ────────▶│ storer    admit, token bucket, retention    │──▶ Action::Warn
//!   tick ───────────▶│                                             │──▶ wake_at
//!                    └─────────────────────────────────────────────┘
//! ```
//!
//! Every input carries the time. After each one the host takes [`Exchange::take_actions`] and does
//! them in order; at [`Exchange::wake_at`] it calls [`Exchange::tick`].

mod action;
mod alarm;
mod alarms;
mod book;
mod bucket;
mod capacity;
mod compare;
mod connection;
mod current;
mod due;
mod event;
mod gate;
mod monitors;
mod progress;
mod push;
mod recent;
mod record;
mod restore;
mod returned;
mod snapshots;
mod stale;
mod status;
mod storer;
mod time;
mod wallet;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::types::ChannelId;

pub use action::Action;
pub use alarm::{Alarm, AlarmId, AlarmKind, Evidence, Resolution, ResolveError};
pub use connection::{ConnectionId, PeerFeatures};
pub use event::Event;
pub use gate::{Inbound, Numbers, Outbound, Proof, Verdict, OWN_REESTABLISH_WAIT};
pub use progress::Progress;
pub use record::{Capacity, Past, Record, SavedState, Sent, SlotState, StorerState};
pub use restore::{Answer, Known, PastError, RestoreReport, RestoredMonitor};
pub use status::{Health, PeerStatus, Status};
pub use storer::{Guests, StoragePolicy, RETENTION_BLOCKS};
pub use time::Time;
pub use wallet::WalletState;

use crate::backup::{ChannelIds, ChannelPhase, InstallationId, MonitorRecord, Revision, Snapshot};
use alarms::Alarms;
use book::Book;
use connection::{Connection, ReadBack};
use current::Current;
use due::Due;
use restore::Candidates;
use storer::Storer;

/// The peer storage protocol of one node, as owner and as storer.
pub struct Exchange {
    installation: InstallationId,
    past: Past,
    /// No revision above this was ever seen, here or in a returned blob.
    highest_seen: Revision,
    /// Every snapshot from now on has this epoch.
    epoch: u32,
    /// Backups of epochs below this may be older than the loss that a restore has made good.
    lost_before_epoch: u32,
    /// A restore has ended here.
    was_restored: bool,
    snapshot: Option<Current>,
    live: Option<WalletState>,
    /// The app has said what the past is since the start: what is known then is all there is.
    past_told: bool,
    app_data: Vec<u8>,
    /// The backup carries monitors of live channels.
    carries_monitors: bool,
    /// The live channels' monitors were read since one of them last moved on.
    monitors_are_read: bool,
    /// Monitors that the app was told do not fit.
    told_monitors: BTreeSet<ChannelId>,
    book: Book,
    due: Due,
    storers: BTreeMap<PublicKey, StorerState>,
    health: BTreeMap<PublicKey, Health>,
    /// Peers that the app wants backups at, with or without a channel.
    listed: BTreeSet<PublicKey>,
    alarms: Alarms,
    /// Channels whose numbers nobody could check and the person has declared wrong: a 136 that repeats
    /// them stays out, without an alarm.
    disputed: BTreeSet<ChannelId>,
    candidates: Candidates,
    connections: BTreeMap<PublicKey, Connection>,
    last_connection: ConnectionId,
    /// Peers whose connection ended so soon after a push that it may never have arrived.
    undelivered: BTreeSet<PublicKey>,
    storer: Storer,
    actions: Vec<Action>,
}

impl Exchange {
    /// Continues from what was durable. Times from the future (the clock was set back) become now.
    pub fn new(now: Time, saved: SavedState, policy: StoragePolicy) -> Self {
        let mut storers = saved.storers;
        storers
            .values_mut()
            .for_each(|storer| storer.forget_the_future(now));
        let snapshot = saved.snapshot.as_deref();
        let highest_seen = saved
            .highest_seen
            .max(snapshot.map(|s| s.revision).unwrap_or_default());
        // A foreign backup that was seen last may have an epoch of its own: always go above.
        let epoch = match snapshot {
            Some(own) if own.revision.epoch == highest_seen.epoch => own.revision.epoch,
            _ => highest_seen.epoch.saturating_add(1),
        };
        let current = saved.snapshot.map(Current::loaded);
        let book = Book::new(current.as_ref().map(|c| &*c.snapshot), saved.resolved);
        let omitted = current.iter().flat_map(|c| c.omitted_monitors());
        Exchange {
            carries_monitors: false,
            monitors_are_read: false,
            told_monitors: omitted.collect(),
            installation: saved.installation,
            past: saved.past,
            highest_seen,
            epoch,
            lost_before_epoch: saved.lost_before_epoch,
            was_restored: saved.was_restored,
            app_data: current
                .as_ref()
                .map(|c| c.snapshot.app_data.clone())
                .unwrap_or_default(),
            book,
            snapshot: current,
            live: None,
            past_told: false,
            due: Due::default(),
            storers,
            health: BTreeMap::new(),
            listed: BTreeSet::new(),
            alarms: Alarms::new(saved.alarms, saved.last_alarm),
            disputed: BTreeSet::new(),
            candidates: Candidates::default(),
            connections: BTreeMap::new(),
            last_connection: ConnectionId::default(),
            undelivered: BTreeSet::new(),
            storer: Storer::new(policy, saved.slots),
            actions: Vec::new(),
        }
    }

    /// What is to be done now, in this order.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// When [`tick`](Self::tick) is due, whatever else happens.
    pub fn wake_at(&self, now: Time) -> Option<Time> {
        let connections = self.connections.values().filter_map(|c| c.wake_at(now));
        connections
            .chain(self.storer.wake_at())
            .chain(self.next_push_at(now))
            .min()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Time) {
        self.storer.tick(now, &mut self.actions);
        let over = |(peer, c): (&PublicKey, &mut Connection)| c.grace_over(now).then_some(*peer);
        let over: Vec<_> = self.connections.iter_mut().filter_map(over).collect();
        for peer in over {
            self.nothing_returned(now, peer);
        }
        self.push_states_if_due(now);
        self.push_what_is_due(now);
    }

    // ---- connections ------------------------------------------------------------------------

    /// A peer has connected. Call before the node's own handler hears of it.
    pub fn connected(&mut self, now: Time, peer: PublicKey, features: PeerFeatures) {
        self.connection_over(now, &peer);
        let channel_known = self.book.knows_channel_with(&peer);
        self.last_connection.0 += 1;
        let id = self.last_connection;
        self.connections
            .insert(peer, Connection::new(id, now, features, channel_known));
        if let Some(storer) = self.storers.get_mut(&peer) {
            if storer.features != features.hash && storer.capacity.is_known() {
                storer.capacity = Capacity::Unknown;
            }
            storer.features = features.hash;
        }
    }

    /// The connection just reported was made by us. Then the peer's 136 is awaited longer.
    pub fn dialled(&mut self, peer: &PublicKey) {
        if let Some(connection) = self.connections.get_mut(peer) {
            connection.gate.dialled();
        }
    }

    /// The present connection to a peer.
    pub fn connection(&self, peer: &PublicKey) -> Option<ConnectionId> {
        self.connections.get(peer).map(|connection| connection.id)
    }

    /// Whether the first 9 of the present connection to a peer is still to come: only that one counts.
    pub fn awaits_retrieval(&self, peer: &PublicKey) -> bool {
        let connection = self.connections.get(peer);
        connection.is_some_and(|c| c.read_back != Some(ReadBack::Returned))
    }

    /// A peer has gone, or its connection was refused.
    pub fn disconnected(&mut self, now: Time, peer: PublicKey) {
        self.connection_over(now, &peer);
        self.storer.disconnected(now, &peer, &mut self.actions);
    }

    fn connection_over(&mut self, now: Time, peer: &PublicKey) {
        let Some(connection) = self.connections.remove(peer) else {
            return;
        };
        if !self.has_to_do_with_our_backup(peer) {
            self.health.remove(peer);
        }
        self.actions.retain(|action| match action {
            Action::Push { peer: to, .. } | Action::Warn { peer: to, .. } => to != peer,
            Action::Persist(_) | Action::ReadMonitors => true,
        });
        if connection.may_have_lost_a_push(now) {
            self.undelivered.insert(*peer);
        } else if connection.pushed_at.is_some() {
            self.undelivered.remove(peer);
        }
    }

    // ---- the reestablish gate ---------------------------------------------------------------

    /// Whether a message of the node's own handler may leave now; if not, it is held, in order.
    pub fn may_leave(&mut self, now: Time, peer: PublicKey, message: Outbound) -> bool {
        // The peer of a disputed channel would only learn from our 136 that we are behind.
        let disputed =
            matches!(message, Outbound::Reestablish(id, _) if self.disputed.contains(&id));
        let holding = self.alarms.holding() || disputed;
        match self.connections.get_mut(&peer) {
            Some(connection) => connection.gate.may_leave(now, holding, message),
            None => true,
        }
    }

    /// Whether the node's own handler may see a message of the peer. A 136 is taken at its word; better
    /// is [`reestablish`](Self::reestablish).
    pub fn inbound(&mut self, now: Time, peer: PublicKey, message: Inbound) -> Verdict {
        if let Inbound::Reestablish(id, theirs) = message {
            return self.reestablish(now, peer, id, theirs, Proof::Unchecked);
        }
        let holding = self.alarms.holding();
        let live = self.live.as_ref();
        let expects_136 = live.is_some_and(|live| live.has_open_channel_with(&peer));
        let Some(connection) = self.connections.get_mut(&peer) else {
            return Verdict::Drop;
        };
        match message {
            // LDK may answer with an `error`, at which the peer closes the channel of that name.
            Inbound::Opening(id) if self.book.names(&id) || connection.has_named(&id) => {
                Verdict::Drop
            }
            _ => connection.gate.inbound(holding, expects_136, message),
        }
    }

    /// Whether something depends on the proof that a 136 with these numbers carries. If so, our own 136
    /// waits for what [`reestablish`](Self::reestablish) makes of it.
    pub fn wants_proof(&mut self, peer: &PublicKey, id: &ChannelId, theirs: &Numbers) -> bool {
        let connection = self.connections.get_mut(peer);
        !self.alarms.holding() && connection.is_some_and(|c| c.gate.suspects(id, theirs))
    }

    /// Whether the node's own handler may see a 136 of the peer.
    pub fn reestablish(
        &mut self,
        now: Time,
        peer: PublicKey,
        id: ChannelId,
        theirs: Numbers,
        proof: Proof,
    ) -> Verdict {
        let Some(connection) = self.connections.get_mut(&peer) else {
            return Verdict::Drop;
        };
        let nothing_before = connection.read_back.is_none();
        if nothing_before {
            connection.read_back = Some(ReadBack::Nothing);
            self.nothing_returned(now, peer);
        }
        let verdict = self.check_reestablish(now, peer, id, theirs, proof);
        // After the check: a state that it proves stale overwrites nothing.
        if nothing_before {
            self.push_what_is_due(now);
        }
        verdict
    }

    // ---- the wallet -------------------------------------------------------------------------

    /// The live state has changed, or is known for the first time.
    pub fn wallet_changed(&mut self, now: Time, mut state: WalletState) {
        // A closed channel has lost its place in the chain; a small backup names it by that alone.
        self.book.complete(&mut state);
        let funded = self.peers_with_open_channels(&state);
        self.storer.observe(None, Some(funded), &mut self.actions);
        self.push_again_where_a_channel_became_ready(&state);
        if self.live.is_none() {
            // These channels are older than the connections, whichever the host told of first.
            for (peer, connection) in &mut self.connections {
                if state.channels.iter().any(|c| c.counterparty == *peer) {
                    connection.channel_came_to_light();
                }
            }
        }
        self.ignore_progress_while_held(&state);
        self.live = Some(state);
        self.check_own_records(now);
        self.end_alarms_of_channels_that_are_over();
        self.update_book(now);
        self.push_what_is_due(now);
    }

    /// Whether backups carry the monitors of live channels, once [`Action::ReadMonitors`] has them read.
    /// If not, only those stay that a backup has brought. Off at first; say it before anything else.
    pub fn carry_monitors(&mut self, carry: bool) {
        self.carries_monitors = carry;
    }

    /// The monitors of the live channels, as [`Action::ReadMonitors`] asks for them. They go out at once.
    /// One that is ahead of its channel's state stamp is passed over.
    pub fn monitors_read(&mut self, now: Time, monitors: Vec<MonitorRecord>) {
        self.take_monitors(now, monitors);
    }

    /// Whose blobs are kept in any case. A channel that the wallet lacks and that is not resolved may
    /// well be open: the wallet may have been put back, or restored.
    fn peers_with_open_channels(&self, live: &WalletState) -> BTreeSet<PublicKey> {
        let lacking = self.book.channels.iter();
        let lacking = lacking.filter(|channel| live.channel(&channel.ids).is_none());
        let channels = live.channels.iter().chain(lacking);
        channels
            .filter(|channel| channel.phase != ChannelPhase::Closing)
            .map(|channel| channel.counterparty)
            .collect()
    }

    /// The chain has this height now, in blocks.
    pub fn height_changed(&mut self, height: u32) {
        self.storer.observe(Some(height), None, &mut self.actions);
    }

    /// The app has other data to keep in the full tier.
    pub fn app_data_changed(&mut self, now: Time, data: Vec<u8>) {
        if self.app_data != data {
            self.app_data = data;
            self.due.structure();
            self.push_what_is_due(now);
        }
    }

    /// The outputs of a channel are swept and buried: it leaves the backup. Outputs that a restore
    /// brought back leave it in the same way, each named by its outpoint in place of the funding's.
    pub fn channel_resolved(&mut self, now: Time, ids: ChannelIds) {
        if let Some(ids) = self.book.resolve(ids) {
            self.actions.push(Action::Persist(Record::Resolved(ids)));
            self.end_alarms_of_channels_that_are_over();
            self.due.structure();
            self.update_book(now);
            self.push_what_is_due(now);
        }
    }

    /// The app wants backups at these peers, with or without a channel.
    pub fn list_peers(&mut self, now: Time, peers: BTreeSet<PublicKey>) {
        self.listed = peers;
        self.push_what_is_due(now);
    }

    // ---- the storer -------------------------------------------------------------------------

    /// A peer wants us to keep a blob (`peer_storage`, type 7).
    pub fn storage_received(&mut self, now: Time, peer: PublicKey, blob: Arc<[u8]>) {
        self.storer.received(now, peer, blob, &mut self.actions);
    }

    /// LDK's own `ChannelManager` had kept a blob for the peer, and we have none.
    pub fn take_over_slot(&mut self, peer: PublicKey, blob: Arc<[u8]>) {
        self.storer.take_over(peer, blob, &mut self.actions);
    }

    /// A blob that was accepted from this peer and waits for its turn to be written.
    pub fn pending_slot(&self, peer: &PublicKey) -> Option<Arc<[u8]>> {
        self.storer.pending(peer)
    }

    /// What we keep for peers, without the blobs.
    pub fn slots(&self) -> &BTreeMap<PublicKey, SlotState> {
        self.storer.slots()
    }

    /// Whom we keep blobs for.
    pub fn storage_policy_changed(&mut self, policy: StoragePolicy) {
        self.storer.set_policy(policy);
    }

    // ---- state ------------------------------------------------------------------------------

    /// Our newest snapshot.
    pub fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.snapshot.as_ref().map(|current| &current.snapshot)
    }

    /// Whether this data directory knows its past.
    pub fn past(&self) -> Past {
        self.past
    }

    fn report(&mut self, event: Event) {
        self.actions.push(Action::Persist(Record::Event(event)));
    }

    fn persist_storer(&mut self, peer: PublicKey) {
        if let Some(storer) = self.storers.get(&peer) {
            self.actions
                .push(Action::Persist(Record::Storer(peer, storer.clone())));
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("past", &self.past)
            .field("snapshot", &self.snapshot())
            .field("connections", &self.connections.len())
            .field("alarms", &self.alarms.all())
            .finish_non_exhaustive()
    }
}
