//! What happens every day: channels open, backups go out, and come back at the next connection.

use ldk_peer_storage::exchange::Health;
use testkit::{open_channel, pay, wait_until, Chain, NodeConfig, DEADLINE};

use crate::support::{wait_pushes_arrived, Wallet, WalletConfig};

/// How often the peer has returned a backup.
fn returned(wallet: &Wallet, peer: &Wallet) -> usize {
    let received = wallet.node.wire().received_from(&peer.node.id());
    let is_retrieval = |name: &&String| *name == "PeerStorageRetrieval";
    received.iter().filter(is_retrieval).count()
}

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
    let pairs = [(&alice, &bob), (&bob, &alice)];
    let verified = |wallet: &Wallet, peer: &Wallet| {
        let status = wallet.storage.status().backup;
        let of_peer = status.peers.iter().find(|p| p.node_id == peer.node.id());
        of_peer.is_some_and(|p| p.health == Health::Verified) && status.unprotected_channels == 0
    };
    // The last of a payment may be written after it is over. Then a newer backup goes out on the connection
    // that has shown the one before, and the next one shows it.
    let mut connections = 0;
    while !pairs.iter().all(|(wallet, peer)| verified(wallet, peer)) {
        connections += 1;
        assert!(connections <= 3, "never verified");
        for (wallet, peer) in pairs {
            assert!(wallet.storage.on_background(DEADLINE).complete);
            wait_pushes_arrived(&wallet.node.id(), wallet.node.wire(), &peer.node);
        }
        let had = pairs.map(|(wallet, peer)| returned(wallet, peer));
        alice.reconnect(&bob.node);
        for ((wallet, peer), had) in pairs.into_iter().zip(had) {
            wait_until("the backup to come back", DEADLINE, || {
                returned(wallet, peer) > had
            });
        }
    }
    pay(&bob.node, &alice.node, 1_000_000);
    assert!(alice.storage.alarms().is_empty() && bob.storage.alarms().is_empty());
}
