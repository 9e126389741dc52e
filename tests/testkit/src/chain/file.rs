//! The file in which a chain leaves every block that it ever connected.
//!
//! All numbers are little endian:
//!
//! | bytes | content |
//! |---|---|
//! | 8 | `TKCHAIN1` |
//! | 4 | the height at which Bitcoin Core must end |
//! | 32 | the hash of the block there, in the order of the wire |
//! | 4 | the number of blocks that follow |
//! | then for each block: 4 | its length |
//! | its length | the block, consensus encoded |
//!
//! Blocks come in the order in which they were connected, genesis left out, those of abandoned
//! branches included. Each has the same work, and Bitcoin Core stays with the first of two equals:
//! so it ends at the first block of the greatest height.
//!
//! Files go to the directory that the environment variable `TESTKIT_CHAINS` names, else to
//! `test-chains` in the cargo target directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::{Block, BlockHash};

const MAGIC: &[u8; 8] = b"TKCHAIN1";

/// A file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedChain {
    /// The height at which Bitcoin Core must end.
    pub height: u32,
    /// The hash of the block there.
    pub tip: BlockHash,
    /// All blocks after genesis, in the order in which they were connected.
    pub blocks: Vec<Block>,
}

/// Reads a file back. Panics if it is not one of these.
pub fn read(path: &Path) -> SavedChain {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut rest = &bytes[..];
    let mut take = |count: usize| {
        assert!(rest.len() >= count, "{} is cut short", path.display());
        let (taken, left) = rest.split_at(count);
        rest = left;
        taken
    };
    assert_eq!(take(8), MAGIC, "{} is no chain file", path.display());
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    let height = number(take(4));
    let tip = BlockHash::from_slice(take(32)).expect("32 bytes");
    let count = number(take(4));
    let mut blocks = Vec::new();
    for _ in 0..count {
        let length = number(take(4)) as usize;
        blocks.push(deserialize(take(length)).expect("a block"));
    }
    SavedChain {
        height,
        tip,
        blocks,
    }
}

/// The name of the running test: libtest gives it to the thread.
pub(super) fn test_name() -> String {
    match std::thread::current().name() {
        Some(name) if name != "main" => name.to_owned(),
        _ => {
            let exe = std::env::current_exe().expect("a running program has a path");
            let stem = exe.file_stem().expect("a file name");
            stem.to_string_lossy().into_owned()
        }
    }
}

/// A path that no other chain of this or another process has.
pub(super) fn path_for(name: &str) -> PathBuf {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    };
    let name: String = name.chars().map(plain).collect();
    directory().join(format!("{name}.{}.{serial}.chain", std::process::id()))
}

/// Called while a test may be panicking, so it complains without a panic of its own.
pub(super) fn write(path: &Path, connected: &[(u32, Block)]) {
    if let Err(e) = try_write(path, connected) {
        eprintln!("cannot write the chain to {}: {e}", path.display());
    }
}

/// The file appears under its name only when it is complete.
fn try_write(path: &Path, connected: &[(u32, Block)]) -> std::io::Result<()> {
    let height = connected
        .iter()
        .map(|(height, _)| *height)
        .max()
        .unwrap_or(0);
    let first = connected.iter().find(|(h, _)| *h == height);
    let tip = first.map_or_else(
        || super::block::genesis().block_hash(),
        |(_, block)| block.block_hash(),
    );
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&height.to_le_bytes());
    out.extend_from_slice(tip.as_byte_array());
    out.extend_from_slice(&(connected.len() as u32).to_le_bytes());
    for (_, block) in connected {
        let raw = serialize(block);
        out.extend_from_slice(&(raw.len() as u32).to_le_bytes());
        out.extend_from_slice(&raw);
    }
    fs::create_dir_all(directory())?;
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, out)?;
    fs::rename(&unfinished, path)
}

fn directory() -> PathBuf {
    if let Some(dir) = std::env::var_os("TESTKIT_CHAINS") {
        return PathBuf::from(dir);
    }
    // Cargo marks its target directory with this file; a test program lies somewhere below.
    let exe = std::env::current_exe().expect("a running program has a path");
    let target = exe
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").exists());
    let target = target.map_or_else(std::env::temp_dir, Path::to_path_buf);
    target.join("test-chains")
}
