//! A chain file: every block that a test's chain connected, and where Bitcoin Core must end.
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
//! The writer is `tests/testkit/src/chain/file.rs`; a change there is a change here.

use std::fmt;

/// The last part of a chain file's name. The writer uses another one until the file is whole.
pub const EXTENSION: &str = "chain";

const MAGIC: &[u8; 8] = b"TKCHAIN1";

/// What a chain file says.
#[derive(Debug, PartialEq, Eq)]
pub struct ChainFile {
    /// The height at which Bitcoin Core must end.
    pub height: u32,
    /// The hash of the block there, in the order of the wire.
    pub tip: [u8; 32],
    /// Every block in consensus encoding, in the order of connection.
    pub blocks: Vec<Vec<u8>>,
}

/// Why a file is not a chain file.
#[derive(Debug, PartialEq, Eq)]
pub enum FormatError {
    /// It does not begin with `TKCHAIN1`.
    NotAChainFile,
    /// It ends before its last block.
    CutShort,
    /// Something follows the last block.
    TrailingBytes(usize),
}

impl ChainFile {
    /// Reads a whole file.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut rest = Reader(
            bytes
                .strip_prefix(MAGIC)
                .ok_or(FormatError::NotAChainFile)?,
        );
        let height = rest.u32()?;
        let tip = rest.array()?;
        let count = rest.u32()?;
        let mut blocks = Vec::new();
        for _ in 0..count {
            let length = rest.u32()? as usize;
            blocks.push(rest.take(length)?.to_vec());
        }
        match rest.0.len() {
            0 => Ok(Self {
                height,
                tip,
                blocks,
            }),
            more => Err(FormatError::TrailingBytes(more)),
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], FormatError> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(FormatError::CutShort)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(FormatError::CutShort)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32, FormatError> {
        self.array().map(u32::from_le_bytes)
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAChainFile => write!(f, "not a chain file"),
            Self::CutShort => write!(f, "cut short"),
            Self::TrailingBytes(count) => write!(f, "{count} bytes after the last block"),
        }
    }
}

impl std::error::Error for FormatError {}
