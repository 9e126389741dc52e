//! Where everything takes place.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use testkit::{Chain, EsploraServer, Node, NodeConfig};

use crate::phone::{Phone, PhoneConfig};
use crate::WORDS;

/// The capacity of a channel, in sat.
pub const CHANNEL: u64 = 1_000_000;
/// What a wallet is funded with, in sat.
pub const COINS: u64 = 2 * CHANNEL;

pub struct Stage {
    pub home: tempfile::TempDir,
    pub chain: Arc<Chain>,
    pub esplora: EsploraServer,
}

impl Stage {
    pub fn new() -> Stage {
        let chain = Chain::new();
        Stage {
            home: tempfile::tempdir().unwrap(),
            esplora: EsploraServer::start(&chain),
            chain,
        }
    }

    pub fn config(&self, name: &str) -> NodeConfig {
        NodeConfig::new(name, self.home.path().join(name), self.chain.clone())
    }

    /// The wallet, and where peer storage keeps its data.
    pub fn phone(&self) -> (PhoneConfig, PathBuf) {
        let home = self.home.path();
        let config = PhoneConfig::new(WORDS, home.join("phone"), self.esplora.url());
        (config, home.join("phone-peer-storage"))
    }

    /// A new wallet with a channel to a peer, which it dials at this address. Half of it is the peer's.
    pub fn open(&self, config: &PhoneConfig, peer: &Node, addr: SocketAddr) -> Phone {
        let phone = Phone::start(config.clone());
        phone.fund(&self.chain, COINS);
        phone.open_channel(&self.chain, peer, addr, CHANNEL, CHANNEL * 1_000 / 2);
        phone
    }
}
