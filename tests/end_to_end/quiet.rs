//! A node that has lost everything says nothing that could close a channel.

mod empty_manager;
mod every_message;
mod restore;

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use bitcoin::OutPoint;
use testkit::{Chain, Node};

/// Asserts that the channel of each of these with `phone` is as open as it ever was.
#[track_caller]
fn assert_open(chain: &Arc<Chain>, phone: &PublicKey, funding: &[OutPoint], peers: &[&Node]) {
    for peer in peers {
        assert_eq!(peer.panicked(), None);
        assert_eq!(
            peer.channels_with(phone).len(),
            1,
            "{peer:?} has its channel"
        );
        assert!(peer.closed_channels().is_empty(), "{peer:?} closes nothing");
    }
    assert!(!funding.is_empty());
    for outpoint in funding {
        assert_eq!(chain.spender(*outpoint), None, "a channel closes on chain");
    }
}
