//! A backup comes before any word about channels, on every connection.

mod connections;
mod queues;
mod reconnects;

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use lightning::ln::msgs::ChannelReestablish;
use lightning::ln::types::ChannelId;
use testkit::{Direction, WireMessage};

/// What a node sent its peer, or heard from it, on one connection: names in order.
fn names(seen: &[WireMessage], direction: Direction) -> Vec<&str> {
    let that_way = seen.iter().filter(|m| m.direction == direction);
    that_way.map(|m| m.name.as_str()).collect()
}

/// Why a connection that should carry a 9 before its 136 is wrong, if it is.
fn fault(names: &[&str]) -> Option<String> {
    let at = |wanted: &str| names.iter().position(|name| *name == wanted);
    let count = names
        .iter()
        .filter(|name| **name == "PeerStorageRetrieval")
        .count();
    let in_order = matches!(
        (at("Init"), at("PeerStorageRetrieval"), at("ChannelReestablish")),
        (Some(init), Some(nine), Some(reestablish)) if init < nine && nine < reestablish
    );
    (count != 1 || !in_order).then(|| format!("{names:?}"))
}

/// The 136 of a channel that has carried no payment yet.
fn first_reestablish(channel_id: ChannelId) -> ChannelReestablish {
    let point =
        PublicKey::from_secret_key(&Secp256k1::new(), &SecretKey::from_slice(&[1; 32]).unwrap());
    ChannelReestablish {
        channel_id,
        next_local_commitment_number: 1,
        next_remote_commitment_number: 0,
        your_last_per_commitment_secret: [0; 32],
        my_current_per_commitment_point: point,
        next_funding: None,
        my_current_funding_locked: None,
    }
}
