//! A peer of the wallet: a complete LDK node that listens on the same port all its life.

use std::net::SocketAddr;

use bitcoin::secp256k1::{PublicKey, SecretKey};
use bitcoin::Network;
use ldk_peer_storage::exchange::Record;
use ldk_peer_storage::store::{Owner, Store};
use lightning::sign::{NodeSigner, Recipient};
use testkit::{Node, NodeConfig};

use crate::command::{Misbehaviour, PeerKind};
use crate::support::{backup_key, Wallet, WalletConfig, QUIET};

pub struct Peer {
    pub id: PublicKey,
    pub addr: SocketAddr,
    pub kind: PeerKind,
    config: WalletConfig,
    running: Option<Running>,
    /// Up to where its wire was looked at.
    mark: usize,
    /// What it kept for the wallet when it was told to remember.
    remembered: Option<Vec<u8>>,
}

#[allow(clippy::large_enum_variant)]
enum Running {
    Ours(Wallet),
    Stock(Node),
}

impl Peer {
    pub fn start(config: NodeConfig, kind: PeerKind) -> Peer {
        let mut config = WalletConfig::new(config);
        let running = Running::start(kind, &config);
        let (id, addr) = (running.node().id(), running.node().addr());
        config.node.listen = Some(addr.port());
        Peer {
            id,
            addr,
            kind,
            config,
            running: Some(running),
            mark: 0,
            remembered: None,
        }
    }

    #[track_caller]
    pub fn node(&self) -> &Node {
        self.running.as_ref().expect("the peer runs").node()
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub fn start_again(&mut self) {
        assert!(!self.is_running(), "the peer runs already");
        self.running = Some(Running::start(self.kind, &self.config));
        self.mark = 0;
    }

    pub fn stop(&mut self) {
        match self.running.take().expect("the peer runs") {
            Running::Ours(wallet) => drop(wallet.stop()),
            Running::Stock(node) => node.stop(),
        }
    }

    /// What it proves its node id with (BOLT #8): whoever has it can answer in its place.
    pub fn node_secret(&self) -> SecretKey {
        crate::support::keys(&self.config.node).get_node_secret_key()
    }

    /// Does this to the backup that it keeps for `owner`. Restarts it: whoever was connected is not
    /// any more.
    pub fn misbehave(&mut self, owner: PublicKey, how: Misbehaviour) {
        assert!(self.kind == PeerKind::Ours, "only a peer of ours");
        self.stop();
        let done = self.change_slot(owner, how);
        self.start_again();
        done.unwrap_or_else(|why| panic!("{why}"));
    }

    fn change_slot(&mut self, owner: PublicKey, how: Misbehaviour) -> Result<(), &'static str> {
        let slot = Slot::open(&self.config, owner);
        let mut blob = slot.blob().ok_or("it keeps nothing for the wallet")?;
        match how {
            Misbehaviour::Remembers => self.remembered = Some(blob),
            Misbehaviour::RollsBack => {
                let old = self.remembered.as_ref().ok_or("it remembers nothing")?;
                if *old == blob {
                    return Err("it has nothing newer than what it remembers");
                }
                slot.keep(old);
            }
            Misbehaviour::Forgets => slot.forget(),
            Misbehaviour::Garbles => {
                blob.iter_mut().for_each(|byte| *byte ^= 0x5a);
                slot.keep(&blob);
            }
        }
        Ok(())
    }

    /// The names of the messages that came from `other` since the last [`Peer::look`].
    pub fn heard_from(&self, other: &PublicKey) -> Vec<String> {
        self.node().wire().received_since(self.mark, other)
    }

    pub fn look(&mut self) {
        self.mark = self.node().wire().mark();
    }
}

/// How many of these messages are backups.
pub fn backups(heard: &[String]) -> usize {
    heard.iter().filter(|name| *name == "PeerStorage").count()
}

/// Those of these messages that a quiet node does not send.
pub fn loud(heard: Vec<String>) -> Vec<String> {
    let loud = heard.into_iter();
    loud.filter(|name| !QUIET.contains(&name.as_str()))
        .collect()
}

impl Running {
    fn start(kind: PeerKind, config: &WalletConfig) -> Running {
        match kind {
            PeerKind::Ours => Running::Ours(Wallet::start(config.clone())),
            PeerKind::Stock => Running::Stock(Node::start(config.node.clone())),
            PeerKind::Storer => unreachable!("a process of its own"),
        }
    }

    fn node(&self) -> &Node {
        match self {
            Running::Ours(wallet) => &wallet.node,
            Running::Stock(node) => node,
        }
    }
}

/// What a storer that does not run keeps for one owner.
struct Slot {
    store: Store,
    owner: PublicKey,
}

impl Slot {
    fn open(storer: &WalletConfig, owner: PublicKey) -> Slot {
        let keys = crate::support::keys(&storer.node);
        let storer_id = keys.get_node_id(Recipient::Node);
        let whose = Owner {
            node_id: storer_id.expect("a node id"),
            network: Network::Regtest,
        };
        let opened = Store::open(&storer.storage_dir, backup_key(&storer.node.seed), whose);
        let (store, _) = opened.expect("it opens");
        Slot { store, owner }
    }

    fn blob(&self) -> Option<Vec<u8>> {
        self.store.slot(&self.owner).expect("it can be read")
    }

    fn keep(&self, blob: &[u8]) {
        self.apply(Record::Slot {
            peer: self.owner,
            blob: blob.into(),
        });
    }

    fn forget(&self) {
        self.apply(Record::SlotExpired(self.owner));
    }

    fn apply(&self, record: Record) {
        let applied = self.store.apply(vec![record]);
        applied.expect("it can be written");
    }
}
