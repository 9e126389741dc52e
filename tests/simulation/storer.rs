//! Peers that run other software, as keepers of blobs.

use std::collections::BTreeMap;

use super::blob::{corrupt, Bytes};
use super::random::Random;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// This project: owner and storer.
    Ours,
    /// Core Lightning: stores at once from the moment when its channel is usable; drops silently
    /// before; never deletes.
    Cln,
    /// Eclair: writes after a minute, returns what it has in memory; a crash loses the minute.
    Eclair,
    /// LDK 0.2.7: 1024 bytes, in memory until something else makes it write.
    Ldk,
    /// Returns whatever it likes.
    Liar,
}

pub const TOO_LARGE: &str = "Supports only data up to 1024 bytes in peer storage.";
pub const NO_CHANNEL: &str = "Ignoring peer_storage message, as peer storage is currently \
                              supported only for peers with an active funded channel.";

/// Eclair's delay, and the longest that LDK goes without writing (a block comes in between).
const ECLAIR_DELAY: u64 = 60_000;
const LDK_DELAY: u64 = 9 * 60_000;

#[derive(Default)]
pub struct Slot {
    written: Option<Bytes>,
    /// What is newer than what is written, and since when.
    in_memory: Option<(u64, Bytes)>,
    /// Core Lightning makes room from this time on.
    open_at: Option<u64>,
    /// All that ever came.
    history: Vec<Bytes>,
}

#[derive(Default)]
pub struct Keeper {
    slots: BTreeMap<usize, Slot>,
    /// Its last crash lost something. Losing the same twice is what the alarms are for.
    lost: bool,
}

impl Keeper {
    /// A channel with the owner became usable here.
    pub fn channel_ready(&mut self, owner: usize, at: u64) {
        self.slots
            .entry(owner)
            .or_default()
            .open_at
            .get_or_insert(at);
    }

    /// Takes a `peer_storage`; answers with a warning, or not.
    pub fn store(
        &mut self,
        now: u64,
        kind: Kind,
        owner: usize,
        funded: bool,
        blob: Bytes,
    ) -> Option<&'static str> {
        self.settle(now, kind);
        let slot = self.slots.entry(owner).or_default();
        match kind {
            Kind::Cln if slot.open_at.is_some_and(|at| at <= now) => slot.written = Some(blob),
            Kind::Cln => {}
            Kind::Eclair if funded => {
                let since = slot.in_memory.as_ref().map_or(now, |(since, _)| *since);
                slot.in_memory = Some((since, blob));
            }
            Kind::Eclair => {}
            Kind::Ldk if !funded => return Some(NO_CHANNEL),
            Kind::Ldk if blob.len() > 1024 => return Some(TOO_LARGE),
            Kind::Ldk => {
                let since = slot.in_memory.as_ref().map_or(now, |(since, _)| *since);
                slot.in_memory = Some((since, blob));
            }
            Kind::Liar | Kind::Ours => {
                slot.history.push(blob.clone());
                slot.written = Some(blob);
            }
        }
        None
    }

    /// What it returns at a connection.
    pub fn returned(
        &mut self,
        now: u64,
        kind: Kind,
        owner: usize,
        strangers_blob: Option<Bytes>,
        random: &mut Random,
    ) -> Option<Bytes> {
        self.settle(now, kind);
        if kind == Kind::Liar {
            return self.lie(owner, strangers_blob, random);
        }
        self.kept(owner)
    }

    /// What it holds now.
    pub fn kept(&self, owner: usize) -> Option<Bytes> {
        let slot = self.slots.get(&owner)?;
        let in_memory = slot.in_memory.as_ref().map(|(_, blob)| blob.clone());
        in_memory.or_else(|| slot.written.clone())
    }

    /// Something else makes the node write everything.
    pub fn write_all(&mut self) {
        for slot in self.slots.values_mut() {
            if let Some((_, blob)) = slot.in_memory.take() {
                slot.written = Some(blob);
            }
        }
    }

    pub fn crash(&mut self, now: u64, kind: Kind) {
        self.settle(now, kind);
        if self.lost {
            self.write_all();
        }
        let waiting = |slot: &mut Slot| slot.in_memory.take().is_some();
        self.lost = self
            .slots
            .values_mut()
            .filter_map(|s| waiting(s).then_some(()))
            .count()
            > 0;
    }

    fn settle(&mut self, now: u64, kind: Kind) {
        let delay = match kind {
            Kind::Eclair => ECLAIR_DELAY,
            _ => LDK_DELAY,
        };
        for slot in self.slots.values_mut() {
            if let Some((_, blob)) = slot.in_memory.take_if(|(since, _)| *since + delay <= now) {
                slot.written = Some(blob);
            }
        }
    }

    fn lie(
        &mut self,
        owner: usize,
        strangers: Option<Bytes>,
        random: &mut Random,
    ) -> Option<Bytes> {
        let slot = self.slots.get(&owner)?;
        let newest = slot.history.last()?;
        match random.below(8) {
            0 => None,
            1 => Some(corrupt(newest, false)),
            2 => Some(corrupt(newest, true)),
            3 => strangers.or_else(|| Some(newest.clone())),
            4 | 5 => Some(slot.history[random.below(slot.history.len())].clone()),
            _ => Some(newest.clone()),
        }
    }
}
