//! What a node is made of.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bitcoin::hashes::{sha256, Hash};

use super::extension::{Extension, StockNode};
use crate::chain::ChainAccess;

/// Which channels a node opens. It accepts both where it can: a node without anchors does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelType {
    /// `option_static_remotekey`.
    StaticRemoteKey,
    /// `option_anchors` (with zero-fee HTLC transactions).
    Anchors,
}

/// How `KeysManager` derives the key of the `to_remote` output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyDerivation {
    /// From the seed and the channel's `channel_keys_id`.
    V1,
    /// From the seed and a small index: it can be found again with the seed alone.
    V2,
}

/// What [`Node::start`](super::Node::start) needs. Clone it to start the node again.
#[derive(Clone)]
pub struct NodeConfig {
    /// For messages, and as the submitter of transactions ([`crate::Chain::submitted_by`]).
    pub name: String,
    /// All keys come from it.
    pub seed: [u8; 32],
    /// Where the node keeps its data. Created if absent.
    pub dir: PathBuf,
    /// Where its transactions go, and its blocks come from.
    pub chain: Arc<dyn ChainAccess>,
    /// What it opens.
    pub channel_type: ChannelType,
    /// How it derives keys.
    pub keys: KeyDerivation,
    /// Code under test to be put in.
    pub extension: Arc<dyn Extension>,
    /// The port on 127.0.0.1; a free one if `None`.
    pub listen: Option<u16>,
    /// So many extra threads call `process_events` all the time, to provoke races.
    pub drain_threads: usize,
}

impl NodeConfig {
    /// A stock node with anchors and v2 keys, on a free port. The seed is made from the name.
    pub fn new(name: &str, dir: impl AsRef<Path>, chain: Arc<dyn ChainAccess>) -> Self {
        NodeConfig {
            name: name.to_owned(),
            seed: sha256::Hash::hash(name.as_bytes()).to_byte_array(),
            dir: dir.as_ref().to_owned(),
            chain,
            channel_type: ChannelType::Anchors,
            keys: KeyDerivation::V2,
            extension: Arc::new(StockNode),
            listen: None,
            drain_threads: 0,
        }
    }

    /// With this channel type.
    pub fn channel_type(mut self, channel_type: ChannelType) -> Self {
        self.channel_type = channel_type;
        self
    }

    /// With this key derivation.
    pub fn keys(mut self, keys: KeyDerivation) -> Self {
        self.keys = keys;
        self
    }

    /// With these keys.
    pub fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = seed;
        self
    }

    /// Listening on this port.
    pub fn listen(mut self, port: u16) -> Self {
        self.listen = Some(port);
        self
    }

    /// With so many threads that call `process_events` all the time.
    pub fn drain_threads(mut self, count: usize) -> Self {
        self.drain_threads = count;
        self
    }

    /// With this extension.
    pub fn extension(mut self, extension: Arc<dyn Extension>) -> Self {
        self.extension = extension;
        self
    }
}
