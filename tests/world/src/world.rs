//! Everything that a scenario runs against, and what the commands do to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use bitcoin::hex::DisplayHex;
use bitcoin::secp256k1::PublicKey;
use bitcoin::{Address, Network, OutPoint};
use ldk_peer_storage::recovery::Identity;
use serde_json::{json, Value};
use testkit::chain::anyone_can_spend;
use testkit::{wait_until, Chain, EsploraServer, Fault, Node, NodeConfig, DEADLINE};

use crate::command::{Command, PeerKind, PeerSpec};
use crate::host::Host;
use crate::peer::{self, Peer};
use crate::storer::Storer;

/// Nothing, until it was started.
#[derive(Default)]
pub struct World {
    stage: Option<Stage>,
}

/// Fields are dropped in this order: the nodes before the chain that they follow.
struct Stage {
    host: Host,
    /// Those with a node in this process.
    peers: BTreeMap<String, Peer>,
    storers: BTreeMap<String, Storer>,
    funding: Vec<OutPoint>,
    esplora: EsploraServer,
    chain: Arc<Chain>,
    _home: tempfile::TempDir,
}

impl World {
    /// Does what it says; panics where that cannot be done.
    pub fn obey(&mut self, command: Command) -> Value {
        if let Command::Start { name, peers } = command {
            assert!(self.stage.is_none(), "it was started before");
            let stage = self.stage.insert(Stage::new(&name, peers));
            return stage.tell();
        }
        let stage = self.stage.as_mut().expect("start comes first");
        stage.obey(command)
    }
}

impl Stage {
    fn new(name: &str, specs: Vec<PeerSpec>) -> Stage {
        let home = tempfile::tempdir().expect("a directory");
        let chain = Chain::named(&format!("world-{name}"));
        let config = |name: &str| NodeConfig::new(name, home.path().join(name), chain.clone());
        let host = config("wallet");
        let identity = Identity::from_seed(host.seed).expect("a seed");
        let copy = home.path().join("copy-of-wallet");
        let mut host = Host::new(host, identity.node_id(), copy);
        let mut peers = BTreeMap::new();
        let mut storers = BTreeMap::new();
        for PeerSpec { name, kind } in specs {
            let taken = peers.contains_key(&name) || storers.contains_key(&name);
            assert!(!taken, "two peers of one name");
            if kind == PeerKind::Storer {
                let storer = Storer::start(&config(&name), host.id);
                storers.insert(name, storer);
                continue;
            }
            let peer = Peer::start(config(&name), kind);
            host.learn(peer.id, peer.addr);
            peers.insert(name, peer);
        }
        Stage {
            host,
            peers,
            storers,
            funding: Vec::new(),
            esplora: EsploraServer::start(&chain),
            chain,
            _home: home,
        }
    }

    fn tell(&self) -> Value {
        let peers = self.peers.iter().map(|(name, p)| (name, p.id, p.addr));
        let storers = self.storers.iter().map(|(name, s)| (name, s.id, s.addr));
        let peers = peers.chain(storers);
        let peers = peers.map(|(name, id, addr)| (name.clone(), place(id, addr)));
        json!({
            "seed": self.host.config.seed.to_lower_hex_string(),
            "node_id": self.host.id.to_string(),
            "peers": peers.collect::<serde_json::Map<_, _>>(),
            "esplora": self.esplora.url(),
            "sweep_to": sweep_to().to_string(),
            "height": self.chain.height(),
        })
    }

    fn obey(&mut self, command: Command) -> Value {
        match command {
            Command::Start { .. } => unreachable!("carried out before"),
            Command::NodeStart {} => {
                let running = self.peers.values().filter(|peer| peer.is_running());
                self.host.start(running);
            }
            Command::NodeStop {} => {
                let running = self.peers.values().filter(|peer| peer.is_running());
                self.host.stop(running);
            }
            Command::NodeLost {} => {
                let running = self.peers.values().filter(|peer| peer.is_running());
                self.host.lose(running);
            }
            Command::CopyNodeDir {} => self.host.copy_dir(),
            Command::PutBackNodeDir {} => self.host.put_back_dir(),
            Command::OpenChannel { peer, sat } => return self.open_channel(&peer, sat),
            Command::Pay { peer, msat } => {
                testkit::pay(self.host.node(), self.peer(&peer).node(), msat);
            }
            Command::Receive { peer, msat } => {
                testkit::pay(self.peer(&peer).node(), self.host.node(), msat);
            }
            Command::CloseChannel { peer } => self.close_channel(&peer),
            Command::Channels {} => return self.listed(),
            Command::Mine { blocks } => {
                self.chain.mine(blocks);
                self.sync();
                return json!({ "height": self.chain.height() });
            }
            Command::Tip {} => return json!({ "height": self.chain.height() }),
            Command::Balance { address } => return self.balance(&address),
            Command::Closed {} => return self.closed(),
            Command::WaitClosed { count } => {
                wait_until("the channels to be closed", DEADLINE, || {
                    self.count_closed() == count
                });
                return self.closed();
            }
            Command::PeerStop { peer } => match self.storers.get_mut(&peer) {
                Some(storer) => storer.stop(),
                None => self.peer_mut(&peer).stop(),
            },
            Command::PeerStart { peer } => match self.storers.get_mut(&peer) {
                Some(storer) => storer.start_again(),
                None => {
                    self.peer_mut(&peer).start_again();
                    self.connect_if_running(&peer);
                }
            },
            Command::PeerKill { peer } => {
                let storer = self.storers.get_mut(&peer);
                storer.expect("only a storer has a process").kill();
            }
            Command::PeerSecret { peer } => {
                let secret = self.peer(&peer).node_secret();
                return json!({ "secret": secret.secret_bytes().to_lower_hex_string() });
            }
            Command::Misbehave { peer, how } => {
                let owner = self.host.id;
                self.peer_mut(&peer).misbehave(owner, how);
                self.connect_if_running(&peer);
            }
            Command::Heard { peer } => {
                let host = self.host.id;
                let peer = self.peer_mut(&peer);
                let heard = peer.heard_from(&host);
                peer.look();
                let connections = heard.iter().filter(|name| *name == "Init").count();
                return json!({
                    "connections": connections,
                    "backups": peer::backups(&heard),
                    "loud": peer::loud(heard),
                });
            }
            Command::WaitBackup { peer, count } if self.storers.contains_key(&peer) => {
                assert_eq!(count, 1, "a storer tells of its last one alone");
                let storer = self.storers.get_mut(&peer).expect("it is there");
                storer.wait_backup();
            }
            Command::WaitBackup { peer, count } => {
                let (peer, host) = (self.peer(&peer), self.host.id);
                wait_until("a backup to arrive", DEADLINE, || {
                    peer::backups(&peer.heard_from(&host)) >= count
                });
            }
            Command::Esplora { works: true } => self.esplora.repair(),
            Command::Esplora { works: false } => self.esplora.break_with(Fault::Close),
        }
        Value::Null
    }

    /// With the storers that the host has been told of.
    fn listed(&self) -> Value {
        let mut listed = self.host.listed();
        let report = &mut listed["report"];
        let storers = || self.storers.values();
        if let Value::Array(peers) = &mut report["peers"] {
            peers.extend(storers().map(|storer| place(storer.id, storer.addr)));
        }
        let ids = storers().map(|storer| storer.id.to_string());
        report["keep_backups_at"] = ids.collect();
        listed
    }

    /// The peer opens it, and half of it is the wallet's.
    fn open_channel(&mut self, peer: &str, sat: u64) -> Value {
        let (host, theirs) = (self.host.node(), self.peer(peer).node());
        let before = host.funding_outpoints();
        let id = testkit::open_channel(&self.chain, theirs, host, sat);
        let mut now = host.funding_outpoints();
        now.retain(|outpoint| !before.contains(outpoint));
        let [funding] = now[..] else {
            panic!("one channel more");
        };
        self.funding.push(funding);
        self.sync();
        json!({
            "channel_id": id.to_string(),
            "funding_outpoint": funding.to_string(),
            "height": self.chain.height(),
        })
    }

    /// In agreement, and buried.
    fn close_channel(&self, peer: &str) {
        let (host, theirs) = (self.host.node(), self.peer(peer).node());
        let channels = host.channels_with(&theirs.id());
        let [channel] = &channels[..] else {
            panic!("{} channels with {peer}", channels.len());
        };
        host.close_cooperatively(&channel.channel_id);
        host.wait_closed(&channel.channel_id);
        let funding = channel.funding_txo.expect("a funded channel");
        wait_until("the closing transaction", DEADLINE, || {
            let spend = self.chain.spender(funding.into_bitcoin_outpoint());
            spend.is_some()
        });
        self.chain.mine(6);
        self.sync();
    }

    fn balance(&self, address: &str) -> Value {
        let address = Address::from_str(address).expect("an address");
        let address = address.require_network(Network::Regtest).expect("regtest");
        let coins = self.chain.coins(&address.script_pubkey());
        let sat: u64 = coins.iter().map(|(_, output)| output.value.to_sat()).sum();
        json!({ "sat": sat, "coins": coins.len() })
    }

    fn count_closed(&self) -> usize {
        let spent = self.funding.iter();
        spent.filter(|f| self.chain.spender(**f).is_some()).count()
    }

    fn closed(&self) -> Value {
        json!({ "closed": self.count_closed(), "opened": self.funding.len() })
    }

    /// Whoever runs has seen the last block.
    fn sync(&self) {
        let peers = self.peers.values().filter(|peer| peer.is_running());
        peers.map(Peer::node).for_each(Node::sync);
        if self.host.is_running() {
            self.host.node().sync();
        }
    }

    fn connect_if_running(&self, peer: &str) {
        if self.host.is_running() {
            self.host.connect(self.peer(peer));
        }
    }

    #[track_caller]
    fn peer(&self, name: &str) -> &Peer {
        let peer = self.peers.get(name);
        peer.unwrap_or_else(|| self.no_node(name))
    }

    #[track_caller]
    fn peer_mut(&mut self, name: &str) -> &mut Peer {
        if !self.peers.contains_key(name) {
            self.no_node(name);
        }
        self.peers.get_mut(name).expect("it is there")
    }

    #[track_caller]
    fn no_node(&self, name: &str) -> ! {
        match self.storers.contains_key(name) {
            true => panic!("{name} is a storer, and has no node here"),
            false => panic!("there is no {name}"),
        }
    }
}

/// Who a peer is, and where.
fn place(id: PublicKey, addr: SocketAddr) -> Value {
    json!({ "node_id": id.to_string(), "addresses": [addr.to_string()] })
}

/// Where the person wants the coins.
fn sweep_to() -> Address {
    let script = anyone_can_spend(b"the person");
    Address::from_script(&script, Network::Regtest).expect("an address")
}
