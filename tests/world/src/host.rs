//! The wallet's own Lightning node: stock LDK, in a directory of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use bitcoin::secp256k1::PublicKey;
use ldk_peer_storage::ldk::LdkWallet;
use ldk_peer_storage::service::WalletSource;
use serde_json::Value;
use testkit::{copy_dir, wait_until, wipe, Node, NodeConfig, DEADLINE};

use crate::peer::Peer;
use crate::report;

/// What the node has told last, beside what LDK keeps in the directory. A host lists its channels also
/// while its node is stopped; and whoever puts an old directory back lists old ones.
const LISTED: &str = "listed.json";

pub struct Host {
    pub config: NodeConfig,
    pub id: PublicKey,
    copy: PathBuf,
    node: Option<Node>,
    addresses: BTreeMap<PublicKey, SocketAddr>,
}

impl Host {
    /// It does not run yet.
    pub fn new(config: NodeConfig, id: PublicKey, copy: PathBuf) -> Host {
        Host {
            config,
            id,
            copy,
            node: None,
            addresses: BTreeMap::new(),
        }
    }

    /// Where a peer can be reached.
    pub fn learn(&mut self, peer: PublicKey, addr: SocketAddr) {
        self.addresses.insert(peer, addr);
    }

    #[track_caller]
    pub fn node(&self) -> &Node {
        self.node.as_ref().expect("the node of the wallet runs")
    }

    pub fn is_running(&self) -> bool {
        self.node.is_some()
    }

    pub fn start<'a>(&mut self, peers: impl Iterator<Item = &'a Peer>) {
        assert!(!self.is_running(), "the node runs already");
        self.node = Some(Node::start(self.config.clone()));
        for peer in peers {
            self.connect(peer);
        }
    }

    /// Returns when all channels with the peer can be used.
    pub fn connect(&self, peer: &Peer) {
        let (node, theirs) = (self.node(), peer.node());
        node.connect_to(theirs);
        let (id, their_id) = (node.id(), theirs.id());
        wait_until("the channels to be usable", DEADLINE, || {
            let usable = |node: &Node, other| node.channels_with(other).iter().all(|c| c.is_usable);
            usable(node, &their_id) && usable(theirs, &id)
        });
    }

    /// Returns when the peers have noticed, too.
    pub fn stop<'a>(&mut self, peers: impl Iterator<Item = &'a Peer>) {
        self.note();
        self.node
            .take()
            .expect("the node of the wallet runs")
            .stop();
        self.wait_gone(peers);
    }

    /// Kills the node if it runs, and removes its directory.
    pub fn lose<'a>(&mut self, peers: impl Iterator<Item = &'a Peer>) {
        if let Some(node) = self.node.take() {
            node.kill();
        }
        wipe(&self.config.dir);
        self.wait_gone(peers);
    }

    /// What a host reports: of the running node, or of the directory of one that is stopped.
    pub fn listed(&self) -> Value {
        if self.is_running() {
            return self.list();
        }
        let text = match std::fs::read_to_string(self.config.dir.join(LISTED)) {
            Ok(text) => text,
            Err(_) => return report::of_none(),
        };
        serde_json::from_str(&text).expect("written by this code")
    }

    /// Copies the directory as it is, as the backup of a phone would.
    pub fn copy_dir(&self) {
        if self.is_running() {
            self.note();
        }
        copy_dir(&self.config.dir, &self.copy);
    }

    /// Puts the copy in place of what is there.
    pub fn put_back_dir(&self) {
        assert!(!self.is_running(), "the node runs");
        copy_dir(&self.copy, &self.config.dir);
    }

    fn note(&self) {
        let listed = self.list().to_string();
        let written = std::fs::write(self.config.dir.join(LISTED), listed);
        written.expect("a writable directory");
    }

    fn list(&self) -> Value {
        let node = self.node();
        let parts = node.parts();
        let addresses = self.addresses.clone();
        let wallet = LdkWallet::new(
            parts.channel_manager.clone(),
            parts.chain_monitor.clone(),
            parts.keys.clone(),
            move |peer: &PublicKey| {
                let known = addresses.get(peer).copied();
                known.into_iter().map(Into::into).collect::<Vec<_>>()
            },
        );
        let unswept = node.spendable_outputs();
        let wallet = wallet.spendable_outputs(move || unswept.clone());
        report::of(node, &wallet.wallet_state())
    }

    fn wait_gone<'a>(&self, peers: impl Iterator<Item = &'a Peer>) {
        for peer in peers {
            wait_until("the peers to notice", DEADLINE, || {
                !peer.node().is_connected(&self.id)
            });
        }
    }
}
