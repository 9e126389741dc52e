//! Nobody can tell from outside how peer storage got into a node.

use ldk_peer_storage::exchange::Health;
use testkit::{open_channel, pay, wait_until, Chain, Node, NodeConfig, DEADLINE};

use crate::support::{of_peer, wait_pushes_arrived, Built, Wallet, WalletConfig};

#[test]
fn a_relayed_wallet_lives_with_a_decorated_and_a_stock_peer() {
    let dir = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let node = |name: &str| NodeConfig::new(name, dir.path().join(name), chain.clone());
    let phone = Wallet::start(WalletConfig::new(node("phone")));
    assert_eq!(phone.config().built, Built::Relayed);
    let bob = Wallet::start(WalletConfig {
        built: Built::Decorated,
        ..WalletConfig::new(node("bob"))
    });
    let carol = Node::start(node("carol"));
    phone.connect_to(&bob.node);
    phone.connect_to(&carol);
    let with_bob = open_channel(&chain, &phone.node, &bob.node, 1_000_000);
    open_channel(&chain, &phone.node, &carol, 1_000_000);
    for peer in [&bob.node, &carol] {
        phone.reconnect(peer);
        pay(&phone.node, peer, 20_000_000);
        pay(peer, &phone.node, 1_000_000);
    }
    for (wallet, peer) in [(&phone, &bob), (&bob, &phone)] {
        assert!(wallet.storage.on_background(DEADLINE).complete);
        wait_pushes_arrived(&wallet.node.id(), wallet.node.wire(), &peer.node);
    }

    phone.reconnect(&bob.node);
    let verified = |wallet: &Wallet, peer: &Node| {
        let of_peer = of_peer(&wallet.storage, &peer.id());
        of_peer.is_some_and(|peer| peer.health == Health::Verified)
    };
    wait_until("each to have the other's backup", DEADLINE, || {
        verified(&phone, &bob.node) && verified(&bob, &phone.node)
    });

    phone.node.close_cooperatively(&with_bob);
    phone.node.wait_closed(&with_bob);
    bob.node.wait_closed(&with_bob);
    chain.mine(6);
    pay(&phone.node, &carol, 1_000_000);
    for node in [&phone.node, &bob.node, &carol] {
        assert_eq!(node.panicked(), None);
    }
    assert!(phone.storage.alarms().is_empty() && bob.storage.alarms().is_empty());
}
