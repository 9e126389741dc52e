//! From a real node to what a script needs to stand in for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bitcoin::secp256k1::PublicKey;
use bitcoin::{OutPoint, Transaction};
use lightning::chain::chaininterface::BroadcasterInterface;
use lightning::ln::msgs::ChannelReestablish;
use lightning::ln::types::ChannelId;

use super::{Held, HeldChannel};
use crate::lock::lock;
use crate::node::{DynBroadcaster, Extension, Node, NodeConfig};
use crate::raw_peer::{RawPeer, RawPeerConfig};
use crate::wait::{wait_until, DEADLINE};

/// What a node leaves to a script.
#[derive(Clone, Debug)]
pub struct Estate {
    /// Its name: transactions are submitted in it.
    pub name: String,
    /// Gives its node id.
    pub seed: [u8; 32],
    /// Where it listened; a free one if `None`.
    pub port: Option<u16>,
    /// The node that its channels are with.
    pub other: PublicKey,
    /// What it has of that node.
    pub held: Held,
}

/// Ends a node whose channels are with the node of this seed, which is gone already, and takes from it
/// all that it would say and publish.
#[track_caller]
pub fn take_over(node: Node, other_seed: [u8; 32]) -> Estate {
    let ghost = RawPeer::start(RawPeerConfig {
        seed: other_seed,
        ..RawPeerConfig::new("the ghost of the other node")
    });
    let (id, other) = (node.id(), ghost.id());
    let channels = node.channels_with(&other).len();
    ghost.connect(&id, node.addr());
    // It returns what it keeps before it speaks of its channels.
    wait_until("the node to speak of its channels", DEADLINE, || {
        reestablishes(&ghost).len() == channels
    });
    let said = reestablishes(&ghost);
    let blob = ghost.returned_by(&id).pop();
    drop(ghost);

    let port = Some(node.addr().port());
    let config = node.config().clone();
    node.stop();
    let mut commitments = commitments(&config);
    let channels = said.into_iter().map(|(id, reestablish)| HeldChannel {
        reestablish,
        commitment: commitments.remove(&id).expect("it knows its channels"),
    });
    Estate {
        name: config.name,
        seed: config.seed,
        port,
        other,
        held: Held {
            blob,
            channels: channels.collect(),
        },
    }
}

/// The commitment transactions of a node that does not run: of all its channels, with its newest state,
/// signed. Afterwards its directory is of no use.
#[track_caller]
pub fn commitments(config: &NodeConfig) -> BTreeMap<ChannelId, Transaction> {
    let caught = Arc::new(Caught::default());
    let mut config = config.clone().extension(Arc::new(Catch(caught.clone())));
    config.listen = None;
    let node = Node::start(config);
    let channels: BTreeMap<_, _> = node
        .channels()
        .into_iter()
        .filter_map(|channel| Some((channel.channel_id, channel.funding_txo?)))
        .map(|(id, funding)| (id, funding.into_bitcoin_outpoint()))
        .collect();
    for id in channels.keys() {
        node.force_close(id);
    }
    wait_until("the commitment transactions", DEADLINE, || {
        channels
            .values()
            .all(|funding| caught.spend(funding).is_some())
    });
    node.kill();
    let spends = channels.into_iter();
    spends
        .filter_map(|(id, funding)| Some((id, caught.spend(&funding)?)))
        .collect()
}

fn reestablishes(ghost: &RawPeer) -> BTreeMap<ChannelId, ChannelReestablish> {
    let received = ghost.received().into_iter();
    received
        .filter(|message| message.type_id == 136)
        .map(|message| message.read::<ChannelReestablish>())
        .map(|msg| (msg.channel_id, msg))
        .collect()
}

/// What a node wanted to publish.
#[derive(Default)]
struct Caught(Mutex<Vec<Transaction>>);

impl Caught {
    fn spend(&self, output: &OutPoint) -> Option<Transaction> {
        let caught = lock(&self.0);
        let spends = |tx: &&Transaction| tx.input.iter().any(|i| i.previous_output == *output);
        caught.iter().find(spends).cloned()
    }
}

impl BroadcasterInterface for Caught {
    fn broadcast_transactions(&self, txs: &[&Transaction]) {
        lock(&self.0).extend(txs.iter().map(|tx| (*tx).clone()));
    }
}

/// Puts it in place of the broadcaster.
struct Catch(Arc<Caught>);

impl Extension for Catch {
    fn broadcaster(&self, _inner: Arc<DynBroadcaster>) -> Arc<DynBroadcaster> {
        self.0.clone()
    }
}
