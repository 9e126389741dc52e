//! A full LDK node in a process of its own: the phone, and each of the peers.
//!
//! It reads commands from its standard input, one a line, and answers each with a line.

use std::io::BufRead;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::hex::{DisplayHex, FromHex};
use bitcoin::secp256k1::PublicKey;
use bitcoin::Transaction;
use lightning::chain::channelmonitor::Balance;
use lightning::events::Event;
use lightning::types::payment::{PaymentHash, PaymentSecret};
use testkit::{pay_request, request_payment, wait_until, Node, NodeConfig, PaymentRequest};
use testkit::{RemoteChain, DEADLINE};

use crate::support::{Wallet, WalletConfig};

/// The node's name, directory, whether it has peer storage in it, and where the chain is.
pub fn run(args: &[String]) {
    let [name, dir, kind, chain] = args else {
        panic!("a node has four arguments")
    };
    let chain = RemoteChain::connect(chain.parse().expect("an address")).expect("the chain");
    let config = NodeConfig::new(name, Path::new(dir).join("node"), chain);
    let mut node = match kind.as_str() {
        "stock" => Running::Stock(Box::new(Node::start(config))),
        _ => Running::Decorated(Box::new(Wallet::start(WalletConfig::new(config)))),
    };
    println!("ready {} {}", node.node().id(), node.node().addr());
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a command");
        let words: Vec<&str> = line.split_whitespace().collect();
        println!("{}", node.obey(&words));
    }
}

enum Running {
    Stock(Box<Node>),
    Decorated(Box<Wallet>),
}

impl Running {
    fn node(&self) -> &Node {
        match self {
            Running::Stock(node) => node,
            Running::Decorated(wallet) => &wallet.node,
        }
    }

    fn wallet(&self) -> &Wallet {
        match self {
            Running::Decorated(wallet) => wallet,
            Running::Stock(_) => panic!("a stock node has no peer storage of ours"),
        }
    }

    fn obey(&mut self, command: &[&str]) -> String {
        match command {
            ["connect", peer, addr] => {
                let addr = addr.parse().expect("an address");
                self.wallet().learn(id(peer), addr);
                self.node().connect(&id(peer), addr);
                "connected".into()
            }
            ["reconnect", peer, addr] => {
                let peer = id(peer);
                self.node().disconnect(&peer);
                wait_until("the peer to be gone", DEADLINE, || {
                    !self.node().is_connected(&peer)
                });
                self.node()
                    .connect(&peer, addr.parse().expect("an address"));
                wait_until("the channel to be usable", DEADLINE, || {
                    self.node().is_usable_with(&peer)
                });
                "usable".into()
            }
            ["open", peer, sat] => self.open(id(peer), sat.parse().expect("an amount")),
            ["fund", peer, channel, tx] => {
                let channel = lightning::ln::types::ChannelId(FromHex::from_hex(channel).unwrap());
                let tx: Transaction = deserialize_hex(tx).expect("a transaction");
                let manager = self.node().channel_manager();
                let funded = manager.funding_transaction_generated(channel, id(peer), tx);
                funded.expect("a channel that waits for its funding");
                "funded".into()
            }
            ["usable", peer] => {
                self.node().sync();
                wait_until("the channel to be usable", DEADLINE, || {
                    self.node().is_usable_with(&id(peer))
                });
                "usable".into()
            }
            ["request", msat] => {
                let request = request_payment(self.node(), msat.parse().expect("an amount"));
                format!("{} {}", request.hash.0.as_hex(), request.secret.0.as_hex())
            }
            ["pay", peer, msat, hash, secret] => {
                let request = PaymentRequest {
                    hash: PaymentHash(FromHex::from_hex(hash).unwrap()),
                    secret: PaymentSecret(FromHex::from_hex(secret).unwrap()),
                    msat: msat.parse().expect("an amount"),
                };
                pay_request(self.node(), &id(peer), request);
                "paid".into()
            }
            ["background"] => {
                let report = self.wallet().storage.on_background(Duration::from_secs(10));
                let backup = report.status.backup;
                let newest = backup.newest.expect("a backup");
                format!("{newest} {} {}", backup.sent_to, report.complete)
            }
            ["owned"] => self.owned_sat().to_string(),
            ["channel", peer] => {
                let channel = self.node().channels_with(&id(peer)).remove(0);
                let scid = channel.short_channel_id.expect("a confirmed channel");
                let funding = channel.funding_txo.expect("a funded channel");
                format!("{scid} {} {}", channel.channel_value_satoshis, funding.txid)
            }
            // Waits until a peer has gone, and marks this place in the record of the wire.
            ["gone", peer] => {
                let peer = id(peer);
                wait_until("the peer to be gone", DEADLINE, || {
                    !self.node().is_connected(&peer)
                });
                self.node().wire().mark().to_string()
            }
            // What the peer sent since the mark, and what it was sent, in order.
            ["wire", peer, mark] => self.wire(id(peer), mark.parse().expect("a mark")),
            ["channels"] => {
                let open = self.node().channels().len();
                format!("{open} {}", self.node().closed_channels().len())
            }
            other => panic!("unknown command {other:?}"),
        }
    }

    fn open(&self, peer: PublicKey, sat: u64) -> String {
        let node = self.node();
        let mark = node.events().len();
        let created = node
            .channel_manager()
            .create_channel(peer, sat, sat * 500, 0, None, None);
        let channel = created.expect("a channel");
        let script = node.wait_event("the funding script", mark, |event| match event {
            Event::FundingGenerationReady { output_script, .. } => Some(output_script.clone()),
            _ => None,
        });
        format!("{} {}", channel.0.as_hex(), serialize_hex(&script))
    }

    /// What a close of all channels would bring, in sat, with the commitment fees taken off.
    fn owned_sat(&self) -> u64 {
        let monitors = &self.node().parts().chain_monitor;
        let balances = monitors.get_claimable_balances(&[]);
        balances
            .iter()
            .map(Balance::claimable_amount_satoshis)
            .sum()
    }

    fn wire(&self, peer: PublicKey, mark: usize) -> String {
        let messages = self.node().wire().all().into_iter().skip(mark);
        let with_peer = messages.filter(|message| message.peer == peer);
        let words: Vec<_> = with_peer
            .map(|message| match message.direction {
                testkit::Direction::Received => format!("<{}", message.name),
                testkit::Direction::Sent => format!(">{}", message.name),
            })
            .collect();
        words.join(" ")
    }
}

fn id(text: &str) -> PublicKey {
    PublicKey::from_str(text).expect("a node id")
}
