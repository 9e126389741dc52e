//! Hands a chain's blocks to Bitcoin Core one by one, and watches its tip.

use std::fmt;

use bitcoinkernel::{Block, BlockHash, ChainType, ChainstateManager, Context, KernelError};
use tempfile::TempDir;

use crate::chain_file::ChainFile;
use crate::core_log;

/// A chain that Bitcoin Core followed to its stated end.
#[derive(Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The height of the tip.
    pub height: u32,
    /// All blocks on it and beside it, without genesis.
    pub blocks: usize,
}

impl Accepted {
    /// Blocks that were reorganised away.
    pub fn reorganised(&self) -> usize {
        self.blocks.saturating_sub(self.height as usize)
    }
}

/// Why a chain was not accepted.
#[derive(Debug)]
pub enum Refusal {
    /// A block that Core does not take.
    Block {
        /// Its place in the file, from 0.
        index: usize,
        /// What Core logged about it.
        reason: String,
    },
    /// All blocks are in order, but the tip is not where the file says.
    Tip {
        /// The height in the file. When it is the one reached, the hash is another.
        stated: u32,
        /// The height of Core's tip.
        reached: i32,
    },
    /// The machinery failed before the chain could be judged.
    Setup(String),
}

/// Replays a regtest chain from genesis.
pub fn replay(chain: &ChainFile) -> Result<Accepted, Refusal> {
    core_log::listen();
    let core = Core::start()?;
    let mut accepted = 0;
    for (index, bytes) in chain.blocks.iter().enumerate() {
        let is_new = core
            .connect(bytes)
            .map_err(|reason| Refusal::Block { index, reason })?;
        accepted += usize::from(is_new);
    }
    let reached = core.height();
    if u32::try_from(reached) != Ok(chain.height) || core.tip() != BlockHash::from(chain.tip) {
        return Err(Refusal::Tip {
            stated: chain.height,
            reached,
        });
    }
    Ok(Accepted {
        height: chain.height,
        blocks: accepted,
    })
}

/// Bitcoin Core's chain state. The fields are dropped in this order: users before what they use.
struct Core {
    chainman: ChainstateManager,
    _context: Context,
    _dir: TempDir,
}

impl Core {
    fn start() -> Result<Self, Refusal> {
        let dir = tempfile::tempdir().map_err(|error| Refusal::Setup(error.to_string()))?;
        let data = dir
            .path()
            .to_str()
            .ok_or_else(|| Refusal::Setup(format!("{} is not UTF-8", dir.path().display())))?;
        let context = Context::builder().chain_type(ChainType::Regtest).build()?;
        let chainman = ChainstateManager::builder(&context, data, &format!("{data}/blocks"))?
            .block_tree_db_in_memory(true)
            .chainstate_db_in_memory(true)
            .build()?;
        chainman.import_blocks()?; // activates genesis
        Ok(Self {
            chainman,
            _context: context,
            _dir: dir,
        })
    }

    /// Whether the block is new, or why it was refused.
    fn connect(&self, bytes: &[u8]) -> Result<bool, String> {
        core_log::take_errors();
        let block = Block::new(bytes).map_err(|error| error.to_string())?;
        let height_before = self.height();
        let result = self.chainman.process_block(&block);

        // The result does not say that the block is valid: one with a bad witness is "new" too.
        // What counts is where the tip is now. All regtest blocks carry the same work, so a block
        // must become the tip exactly when it is higher than the tip was.
        let known = self.chainman.get_block_tree_entry(&block.hash());
        let refused =
            known.is_none_or(|entry| entry.height() > height_before && self.tip() != block.hash());
        if refused || result.is_rejected() {
            return Err(reason());
        }
        Ok(result.is_new_block())
    }

    fn height(&self) -> i32 {
        self.chainman.active_chain().height()
    }

    fn tip(&self) -> BlockHash {
        self.chainman.active_chain().tip().block_hash().to_owned()
    }
}

fn reason() -> String {
    let errors = core_log::take_errors();
    if errors.is_empty() {
        return "Bitcoin Core gave no reason".to_owned();
    }
    errors.join("; ")
}

impl From<KernelError> for Refusal {
    fn from(error: KernelError) -> Self {
        Self::Setup(error.to_string())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block { index, reason } => write!(f, "block record {index} refused: {reason}"),
            Self::Tip { stated, reached } if u32::try_from(*reached) == Ok(*stated) => {
                write!(
                    f,
                    "the tip at height {stated} is another block than the file says"
                )
            }
            Self::Tip { stated, reached } => {
                write!(f, "the tip is at height {reached}, the file says {stated}")
            }
            Self::Setup(error) => write!(f, "cannot run Bitcoin Core: {error}"),
        }
    }
}

impl std::error::Error for Refusal {}
