//! The storer's side: what we keep for peers, and for how long (safety rules 11 and 12).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;

use super::action::Action;
use super::bucket::TokenBucket;
use super::event::Event;
use super::recent::Recent;
use super::record::{Record, SlotState};
use super::time::Time;
use crate::backup::MAX_BLOB;

/// A blob is kept until so many blocks after the last channel with its owner closed (BOLT #1).
pub const RETENTION_BLOCKS: u32 = 2016;
/// A refusal is said at most this often to a peer.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// A peer that disconnects causes a write without a token at most this often.
const TOKENLESS_INTERVAL: Duration = Duration::from_secs(60);

/// Whom we keep blobs for besides peers with a channel, who are always served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Guests {
    /// No one.
    #[default]
    None,
    /// These peers.
    Listed(BTreeSet<PublicKey>),
    /// Anyone.
    Anyone,
}

/// What the host is willing to keep for peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoragePolicy {
    /// Whom besides peers with a channel.
    pub guests: Guests,
    /// The largest blob of a guest, in bytes.
    pub guest_blob_bytes: usize,
    /// How many guests.
    pub guest_count: usize,
    /// All blobs of guests together, in bytes.
    pub guest_total_bytes: usize,
    /// Blobs that wait for a token of their peer, together, in bytes. Beyond it they are written
    /// at once.
    pub pending_bytes: usize,
}

impl Default for StoragePolicy {
    fn default() -> Self {
        StoragePolicy {
            guests: Guests::None,
            guest_blob_bytes: MAX_BLOB,
            guest_count: 100,
            guest_total_bytes: 100 * MAX_BLOB,
            pending_bytes: 1 << 20,
        }
    }
}

pub(super) struct Storer {
    policy: StoragePolicy,
    slots: BTreeMap<PublicKey, SlotState>,
    /// None: a full one.
    buckets: Recent<TokenBucket>,
    /// The last blob of peers that are out of tokens.
    pending: BTreeMap<PublicKey, Arc<[u8]>>,
    warned_at: Recent<Time>,
    /// When a peer that went last caused a write without a token.
    tokenless_at: Recent<Time>,
    /// Peers with an open channel; none while no node has reported.
    funded: Option<BTreeSet<PublicKey>>,
    height: Option<u32>,
}

impl Storer {
    pub fn new(policy: StoragePolicy, slots: BTreeMap<PublicKey, SlotState>) -> Self {
        Storer {
            policy,
            slots,
            buckets: Recent::new(),
            pending: BTreeMap::new(),
            warned_at: Recent::new(),
            tokenless_at: Recent::new(),
            funded: None,
            height: None,
        }
    }

    pub fn slots(&self) -> &BTreeMap<PublicKey, SlotState> {
        &self.slots
    }

    pub fn set_policy(&mut self, policy: StoragePolicy) {
        self.policy = policy;
    }

    /// The peer wants this blob kept in place of the one before.
    pub fn received(&mut self, now: Time, peer: PublicKey, blob: Arc<[u8]>, out: &mut Vec<Action>) {
        if let Err(reason) = self.admit(&peer, blob.len()) {
            self.refuse(now, peer, reason, out);
            return;
        }
        if blob.is_empty() && self.is_unknown_guest(&peer) {
            return;
        }
        if self.take_token(now, peer) {
            self.pending.remove(&peer);
            self.write(peer, blob, out);
            return;
        }
        self.pending.insert(peer, blob);
        while self.pending.values().map(|blob| blob.len()).sum::<usize>()
            > self.policy.pending_bytes
        {
            // The largest one frees the most memory; it is written early, never lost.
            let largest = self.pending.iter().max_by_key(|(_, blob)| blob.len());
            let Some(peer) = largest.map(|(peer, _)| *peer) else {
                break;
            };
            self.write_pending(&peer, out);
        }
    }

    /// Takes over a blob that LDK's own `ChannelManager` had kept for the peer.
    pub fn take_over(&mut self, peer: PublicKey, blob: Arc<[u8]>, out: &mut Vec<Action>) {
        if !self.slots.contains_key(&peer) && !blob.is_empty() {
            self.write(peer, blob, out);
        }
    }

    /// The blob of this peer that is accepted but not yet handed out for writing.
    pub fn pending(&self, peer: &PublicKey) -> Option<Arc<[u8]>> {
        self.pending.get(peer).cloned()
    }

    /// Writes what waits, but not at each end of a connection: or going and coming would get a peer
    /// around its tokens. What goes on waiting is returned at the next connection all the same.
    pub fn disconnected(&mut self, now: Time, peer: &PublicKey, out: &mut Vec<Action>) {
        if !self.pending.contains_key(peer) {
            return;
        }
        let bucket = self.buckets.get_mut(peer);
        let has_token = bucket.is_none_or(|bucket| bucket.take(now));
        if has_token || first_within(TOKENLESS_INTERVAL, now, *peer, &mut self.tokenless_at) {
            self.write_pending(peer, out);
        }
    }

    /// Writes what waits, whatever the tokens say: the process may not live much longer.
    pub fn write_all_pending(&mut self, out: &mut Vec<Action>) {
        for peer in self.pending.keys().copied().collect::<Vec<_>>() {
            self.write_pending(&peer, out);
        }
    }

    pub fn tick(&mut self, now: Time, out: &mut Vec<Action>) {
        for peer in self.pending.keys().copied().collect::<Vec<_>>() {
            if self
                .buckets
                .get_mut(&peer)
                .is_none_or(|bucket| bucket.take(now))
            {
                self.write_pending(&peer, out);
            }
        }
    }

    pub fn wake_at(&self) -> Option<Time> {
        let waiting = self
            .pending
            .keys()
            .filter_map(|peer| self.buckets.get(peer));
        waiting.map(|bucket| bucket.next_token_at()).min()
    }

    /// The chain's height, or the peers with open channels, have changed.
    pub fn observe(
        &mut self,
        height: Option<u32>,
        funded: Option<BTreeSet<PublicKey>>,
        out: &mut Vec<Action>,
    ) {
        self.height = height.or(self.height);
        self.funded = funded.or(self.funded.take());
        let (Some(height), Some(funded)) = (self.height, &self.funded) else {
            return;
        };
        let mut expired = Vec::new();
        for (peer, slot) in &mut self.slots {
            // A reorg lowers the height: the count then goes on from where it was.
            let since = match slot.unfunded_since {
                _ if funded.contains(peer) => None,
                Some(since) => Some(since),
                None => Some(height),
            };
            if since != slot.unfunded_since {
                slot.unfunded_since = since;
                out.push(Action::Persist(Record::SlotUnfunded {
                    peer: *peer,
                    since_height: since,
                }));
            }
            if since.is_some_and(|since| height.saturating_sub(since) > RETENTION_BLOCKS) {
                expired.push(*peer);
            }
        }
        for peer in expired {
            if self.is_guest(&peer) {
                continue;
            }
            self.slots.remove(&peer);
            self.pending.remove(&peer);
            out.push(Action::Persist(Record::SlotExpired(peer)));
            out.push(Action::Persist(Record::Event(Event::SlotExpired { peer })));
        }
    }

    /// Peers with a channel: never refused. Whether one has a channel may be unknown (no node has
    /// reported yet): then whoever has a slot keeps it.
    fn admit(&self, peer: &PublicKey, len: usize) -> Result<(), &'static str> {
        let funded = match &self.funded {
            Some(funded) => funded.contains(peer),
            None => self.slots.contains_key(peer),
        };
        if funded {
            return Ok(());
        }
        if !self.is_guest(peer) {
            return Err("peer_storage is kept for peers with a channel only");
        }
        let (count, bytes) = self.other_guests(peer);
        if len > self.policy.guest_blob_bytes {
            Err("peer_storage is too large for a peer without a channel")
        } else if count >= self.policy.guest_count {
            Err("peer_storage is kept for no more peers without a channel")
        } else if bytes + len > self.policy.guest_total_bytes {
            Err("no space is left for peer_storage of peers without a channel")
        } else {
            Ok(())
        }
    }

    /// How many others without a channel have something here, and how many bytes that is: what is kept
    /// or what waits to be, whichever is more.
    fn other_guests(&self, peer: &PublicKey) -> (usize, usize) {
        let is_funded = |other: &PublicKey| self.funded.as_ref().is_some_and(|f| f.contains(other));
        let waiting = |other: &PublicKey| self.pending.get(other).map_or(0, |blob| blob.len());
        let kept = self.slots.iter();
        let kept = kept.map(|(other, slot)| (other, slot.len.max(waiting(other))));
        let new = self.pending.iter();
        let new = new.filter(|(other, _)| !self.slots.contains_key(other));
        let all = kept.chain(new.map(|(other, blob)| (other, blob.len())));
        all.filter(|(other, _)| *other != peer && !is_funded(other))
            .fold((0, 0), |(n, sum), (_, len)| (n + 1, sum + len))
    }

    fn is_guest(&self, peer: &PublicKey) -> bool {
        match &self.policy.guests {
            Guests::None => false,
            Guests::Listed(listed) => listed.contains(peer),
            Guests::Anyone => true,
        }
    }

    /// Whether nothing can be kept for the peer but what it sends now, so that to empty its slot says
    /// nothing: it must cost nothing either.
    fn is_unknown_guest(&self, peer: &PublicKey) -> bool {
        let has_any = self.slots.contains_key(peer) || self.pending.contains_key(peer);
        !has_any && !self.may_have_a_channel(peer)
    }

    fn may_have_a_channel(&self, peer: &PublicKey) -> bool {
        self.funded.as_ref().is_none_or(|f| f.contains(peer))
    }

    fn take_token(&mut self, now: Time, peer: PublicKey) -> bool {
        if let Some(bucket) = self.buckets.get_mut(&peer) {
            return bucket.take(now);
        }
        let pending = &self.pending;
        // What waits is woken by its bucket.
        let has_news = |peer: &PublicKey, bucket: &mut TokenBucket| {
            pending.contains_key(peer) || !bucket.is_full(now)
        };
        self.buckets
            .insert(peer, TokenBucket::full(now), has_news)
            .take(now)
    }

    fn refuse(&mut self, now: Time, peer: PublicKey, reason: &str, out: &mut Vec<Action>) {
        if first_within(WARNING_INTERVAL, now, peer, &mut self.warned_at) {
            out.push(Action::Warn {
                peer,
                text: reason.to_owned(),
            });
        }
    }

    fn write_pending(&mut self, peer: &PublicKey, out: &mut Vec<Action>) {
        if let Some(blob) = self.pending.remove(peer) {
            self.write(*peer, blob, out);
        }
    }

    fn write(&mut self, peer: PublicKey, blob: Arc<[u8]>, out: &mut Vec<Action>) {
        if blob.is_empty() && !self.may_have_a_channel(&peer) {
            self.slots.remove(&peer);
            out.push(Action::Persist(Record::SlotExpired(peer)));
            return;
        }
        // One that was emptied is remembered, or what LDK had once kept would be taken over again.
        self.slots.entry(peer).or_default().len = blob.len();
        out.push(Action::Persist(Record::Slot { peer, blob }));
    }
}

/// Whether the peer has not been here for so long. If so, it has been now.
fn first_within(span: Duration, now: Time, peer: PublicKey, seen: &mut Recent<Time>) -> bool {
    let is_recent = |_: &PublicKey, at: &mut Time| {
        // The clock may have been set back.
        *at = (*at).min(now);
        now.since(*at) < span
    };
    if seen.get_mut(&peer).is_some_and(|at| is_recent(&peer, at)) {
        return false;
    }
    seen.insert(peer, now, is_recent);
    true
}
