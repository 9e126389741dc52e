//! What happens every day: channels open, backups go out, and come back at the next connection.

use ldk_peer_storage::exchange::Health;
use testkit::{open_channel, pay, wait_until, Chain, NodeConfig, DEADLINE};

use crate::support::{wait_pushes_arrived, Wallet, WalletConfig};

#[test]
fn each_keeps_the_backup_of_the_other_and_returns_it_at_the_next_connection() {
    let dir = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let start = |name: &str| {
        let node = NodeConfig::new(name, dir.path().join(name), chain.clone());
        Wallet::start(WalletConfig::new(node))
    };
    let (alice, bob) = (start("alice"), start("bob"));
    alice.connect_to(&bob.node);
    open_channel(&chain, &alice.node, &bob.node, 1_000_000);
    // The channel is known from now on, so its reestablishment ends the wait for an old backup.
    alice.reconnect(&bob.node);
    pay(&alice.node, &bob.node, 1_000_000);
    for (wallet, peer) in [(&alice, &bob), (&bob, &alice)] {
        assert!(wallet.storage.on_background(DEADLINE).complete);
        wait_pushes_arrived(&wallet.node.id(), wallet.node.wire(), &peer.node);
    }

    alice.reconnect(&bob.node);

    for (wallet, peer) in [(&alice, &bob), (&bob, &alice)] {
        wait_until("the backup to be verified", DEADLINE, || {
            let status = wallet.storage.status().backup;
            let of_peer = status.peers.iter().find(|p| p.node_id == peer.node.id());
            of_peer.is_some_and(|p| p.health == Health::Verified)
                && status.unprotected_channels == 0
        });
    }
    pay(&bob.node, &alice.node, 1_000_000);
    assert!(alice.storage.alarms().is_empty() && bob.storage.alarms().is_empty());
}
