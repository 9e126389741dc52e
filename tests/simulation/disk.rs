//! What survives on a device: the records of the exchange, applied in order.

use std::collections::BTreeMap;

use bitcoin::secp256k1::PublicKey;
use ldk_peer_storage::backup::{ContentHash, InstallationId, Revision};
use ldk_peer_storage::exchange::{Past, Record, SavedState};

use super::blob::{channel_bits, Bytes};
use super::names::channel_of;

#[derive(Clone)]
pub struct Disk {
    pub saved: SavedState,
    pub slots: BTreeMap<PublicKey, Bytes>,
    pub foreign: BTreeMap<(PublicKey, InstallationId), (Revision, Bytes)>,
    /// The channels of our newest snapshot, as bits.
    pub channels: u128,
    /// Every snapshot that this directory has made.
    pub made: Vec<(Revision, ContentHash)>,
}

impl Disk {
    pub fn new(installation: u64) -> Self {
        let saved = SavedState {
            installation: InstallationId(installation.to_be_bytes()),
            ..SavedState::default()
        };
        Disk {
            saved,
            slots: BTreeMap::new(),
            foreign: BTreeMap::new(),
            channels: 0,
            made: Vec::new(),
        }
    }

    pub fn knows_its_past(&self) -> bool {
        self.saved.past == Past::Known
    }

    pub fn apply(&mut self, record: Record) {
        let saved = &mut self.saved;
        match record {
            Record::Past(past) => saved.past = past,
            Record::LostBefore(epoch) => saved.lost_before_epoch = epoch,
            Record::Restored => saved.was_restored = true,
            Record::HighestSeen(revision) => saved.highest_seen = revision,
            Record::Snapshot(snapshot) => {
                let channels = snapshot.channels.iter();
                self.channels = channel_bits(channels.map(|c| channel_of(&c.ids)));
                self.made.push((snapshot.revision, snapshot.content_hash()));
                saved.snapshot = Some(snapshot);
            }
            Record::Storer(peer, state) => {
                saved.storers.insert(peer, state);
            }
            Record::Foreign {
                peer,
                installation,
                revision,
                blob,
            } => {
                let kept = self.foreign.entry((peer, installation));
                let kept = kept.or_insert_with(|| (revision, blob.clone()));
                if kept.0 <= revision {
                    *kept = (revision, blob);
                }
            }
            Record::Resolved(ids) => saved.resolved.push(ids),
            Record::Alarm(alarm) => {
                saved.alarms.retain(|known| known.id != alarm.id);
                saved.alarms.push(alarm);
            }
            Record::AlarmOver(id) => saved.alarms.retain(|known| known.id != id),
            Record::Event(_) => {}
            Record::Slot { peer, blob } if blob.is_empty() => {
                saved.slots.remove(&peer);
                self.slots.remove(&peer);
            }
            Record::Slot { peer, blob } => {
                saved.slots.entry(peer).or_default().len = blob.len();
                self.slots.insert(peer, blob);
            }
            Record::SlotUnfunded { peer, since_height } => {
                if let Some(slot) = saved.slots.get_mut(&peer) {
                    slot.unfunded_since = since_height;
                }
            }
            Record::SlotExpired(peer) => {
                saved.slots.remove(&peer);
                self.slots.remove(&peer);
            }
        }
    }
}
