//! What a disk may hold after its power was cut.
//!
//! Everything that was synced is there. Of what was not synced since, any part is: each sector of 512
//! bytes of each write by itself (SQLite counts on no more than that bytes beside a write stay as they
//! are), each change of a length, and each new, changed or deleted name up to some point. They arrive in
//! any order. After a sync that failed, what it should have made durable may never become so.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::faulty_disk::{FileId, Op};
use crate::random::Random;

const SECTOR: usize = 512;

/// A disk while the record is played back.
#[derive(Clone, Default)]
pub struct Platter {
    files: BTreeMap<FileId, Content>,
    names: BTreeMap<String, FileId>,
    unsynced_names: Vec<NameChange>,
}

#[derive(Clone, Default)]
struct Content {
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { at: usize, bytes: Arc<[u8]> },
    Truncate(usize),
}

#[derive(Clone)]
enum NameChange {
    Is(String, FileId),
    Moves(String, String),
    Goes(String),
}

impl Platter {
    /// The next thing that happened.
    pub fn play(&mut self, op: &Op, random: &mut Random) {
        match op {
            Op::Note => {}
            Op::Found { file, name, bytes } => {
                self.names.insert(name.clone(), *file);
                let content = self.files.entry(*file).or_default();
                content.durable = bytes.clone();
            }
            Op::Create { file, name } => {
                self.files.insert(*file, Content::default());
                let change = NameChange::Is(name.clone(), *file);
                self.unsynced_names.push(change);
            }
            Op::Rename { from, to } => {
                let change = NameChange::Moves(from.clone(), to.clone());
                self.unsynced_names.push(change);
            }
            Op::Delete { name, durable } => {
                self.unsynced_names.push(NameChange::Goes(name.clone()));
                if *durable {
                    self.sync_names();
                }
            }
            Op::Write { file, at, bytes } => self.change(
                *file,
                Change::Write {
                    at: *at,
                    bytes: bytes.clone(),
                },
            ),
            Op::Truncate { file, len } => self.change(*file, Change::Truncate(*len)),
            Op::Sync {
                file,
                worked,
                directory,
            } => {
                let content = self.files.entry(*file).or_default();
                for change in std::mem::take(&mut content.unsynced) {
                    if *worked || random.percent(50) {
                        change.apply(&mut content.durable);
                    }
                }
                if *directory {
                    self.sync_names();
                }
            }
        }
    }

    fn change(&mut self, file: FileId, change: Change) {
        self.files.entry(file).or_default().unsynced.push(change);
    }

    fn sync_names(&mut self) {
        for change in std::mem::take(&mut self.unsynced_names) {
            change.apply(&mut self.names);
        }
    }

    /// What is there when the power comes back: each file by its name.
    pub fn after_loss(&self, random: &mut Random) -> BTreeMap<String, Vec<u8>> {
        // All of it, nothing of it, and anything between.
        let kept = [0, 100, 50, random.between(1, 99), random.between(1, 99)];
        let kept = random.pick(&kept).unwrap_or(50);
        let mut names = self.names.clone();
        let mut lost = Vec::new();
        for change in &self.unsynced_names {
            // What follows for a name that has lost a change is lost too.
            let after_a_lost_one = change.names().any(|name| lost.contains(&name));
            if after_a_lost_one || !random.percent(kept) {
                lost.extend(change.names());
            } else {
                change.clone().apply(&mut names);
            }
        }
        let file = |(name, file): (String, FileId)| {
            let content = self.files.get(&file).cloned().unwrap_or_default();
            (name, content.after_loss(kept, random))
        };
        names.into_iter().map(file).collect()
    }
}

impl Content {
    fn after_loss(self, kept: u64, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.durable;
        let pieces = self.unsynced.into_iter().flat_map(Change::torn);
        let mut pieces: Vec<_> = pieces.filter(|_| random.percent(kept)).collect();
        // Half of the time in their order, where a lost one is more likely to matter.
        if random.percent(50) {
            for place in (1..pieces.len()).rev() {
                pieces.swap(place, random.below(place + 1));
            }
        }
        for piece in pieces {
            piece.apply(&mut bytes);
        }
        bytes
    }
}

impl Change {
    fn torn(self) -> Vec<Change> {
        let Change::Write { mut at, bytes } = self else {
            return vec![self];
        };
        let mut left = &bytes[..];
        let mut pieces = Vec::new();
        while !left.is_empty() {
            let (piece, rest) = left.split_at((SECTOR - at % SECTOR).min(left.len()));
            let bytes = piece.into();
            pieces.push(Change::Write { at, bytes });
            (at, left) = (at + piece.len(), rest);
        }
        pieces
    }

    fn apply(self, to: &mut Vec<u8>) {
        match self {
            Change::Truncate(len) => to.resize(len, 0),
            Change::Write { at, bytes } => {
                let end = at + bytes.len();
                to.resize(to.len().max(end), 0);
                to[at..end].copy_from_slice(&bytes);
            }
        }
    }
}

impl NameChange {
    fn names(&self) -> impl Iterator<Item = String> {
        match self.clone() {
            NameChange::Is(name, _) | NameChange::Goes(name) => vec![name],
            NameChange::Moves(from, to) => vec![from, to],
        }
        .into_iter()
    }

    fn apply(self, names: &mut BTreeMap<String, FileId>) {
        match self {
            NameChange::Is(name, file) => {
                names.insert(name, file);
            }
            NameChange::Goes(name) => {
                names.remove(&name);
            }
            NameChange::Moves(from, to) => {
                if let Some(file) = names.remove(&from) {
                    names.insert(to, file);
                }
            }
        }
    }
}

/// A directory that holds this, and perhaps an index of the log with anything in it, which no sync ever
/// covers.
pub fn write_to(dir: &Path, files: &BTreeMap<String, Vec<u8>>, random: &mut Random) {
    std::fs::create_dir_all(dir).unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.join(name), bytes).unwrap();
        let is_database = !name.ends_with("-wal") && !name.ends_with("-journal");
        if is_database && random.percent(50) {
            let garbage: Vec<_> = (0..32 * 1024).map(|_| random.next() as u8).collect();
            std::fs::write(dir.join(format!("{name}-shm")), garbage).unwrap();
        }
    }
}
