//! A channel that its peer has closed stays in the backup until its outputs are swept and buried.

use bitcoin::secp256k1::Secp256k1;
use ldk_peer_storage::backup::{ChannelIds, ChannelPhase};
use lightning::sign::{KeysManager, OutputSpender};
use testkit::{open_channel, wait_until, wipe, Chain, NodeConfig, DEADLINE};

use super::seed;
use crate::support::{kept_for, wait_pushes_arrived, QuietNode, Wallet, WalletConfig};

/// LDK archives a monitor when its channel has had nothing left for so many blocks.
const ARCHIVAL_DELAY: u32 = 4032;

#[test]
fn a_phone_lost_between_a_peer_s_close_and_its_sweep_finds_channel_and_outputs_again() {
    let home = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let start = |name: &str| {
        let node = NodeConfig::new(name, home.path().join(name), chain.clone());
        Wallet::start(WalletConfig::new(node))
    };
    let (anna, bert, phone) = (start("anna"), start("bert"), start("phone"));
    let id = phone.node.id();
    phone.connect_to(&anna.node);
    let closed = open_channel(&chain, &phone.node, &anna.node, 1_000_000);
    phone.connect_to(&bert.node);
    open_channel(&chain, &phone.node, &bert.node, 600_000);
    phone.reconnect(&bert.node);

    anna.node.force_close(&closed);
    phone.node.wait_closed(&closed);
    let funding = |wallet: &Wallet| {
        let monitor = wallet
            .node
            .parts()
            .chain_monitor
            .get_monitor(closed)
            .unwrap();
        monitor.get_funding_txo().into_bitcoin_outpoint()
    };
    let funding = funding(&phone);
    wait_until("anna's commitment", DEADLINE, || {
        chain.spender(funding).is_some()
    });
    chain.mine(6);
    wait_until("our output to be spendable", DEADLINE, || {
        !phone.node.spendable_outputs().is_empty()
    });
    assert!(phone.storage.on_background(DEADLINE).complete);
    wait_pushes_arrived(&id, phone.node.wire(), &bert.node);
    phone.reconnect(&bert.node);
    wait_until("bert to keep all of it", DEADLINE, || {
        phone.storage.status().backup.unprotected_channels == 0
    });
    let outputs = phone.node.spendable_outputs();
    let lost = phone.kill();
    wipe(&lost.node.dir);
    wipe(&lost.storage_dir);

    let quiet = QuietNode::start(seed("phone"), &lost.storage_dir);
    assert!(quiet.connect(bert.node.id(), bert.node.addr()));
    quiet.wait_read_back(bert.node.id());
    let report = quiet.storage.finish_restore().unwrap();
    assert_eq!(report.channels.len(), 2);
    let channel = report
        .channels
        .iter()
        .find(|c| c.ids.channel_id == Some(closed));
    let channel = channel.expect("the closed channel");
    assert_eq!(channel.phase, ChannelPhase::Closing);
    assert_eq!(channel.ids.funding_outpoint, Some(funding));
    assert_eq!(report.spendable_outputs, outputs);
    assert!(quiet.storage.flush(DEADLINE));
    wait_pushes_arrived(&id, &quiet.wire, &bert.node);
    // The new phone's own backup has them still: they are no one's but the peers' until swept.
    let unswept = |dir: &std::path::Path| {
        let bert = kept_for(id, &seed("bert"), dir);
        bert.contents(&seed("phone")).snapshot
    };
    let bert = bert.stop();
    let kept = unswept(&bert.storage_dir);
    assert!(Some(kept.revision) > report.newest);
    assert_eq!(
        (kept.channels.len(), &kept.spendable_outputs),
        (2, &outputs)
    );

    // Swept with the seed alone, and reported: they leave the backup, and nothing else does.
    let keys = KeysManager::new(&seed("phone"), 1, 1, true);
    let to = testkit::chain::anyone_can_spend(b"recovered");
    let outputs: Vec<_> = report.spendable_outputs.iter().collect();
    let sweep = keys.spend_spendable_outputs(&outputs, vec![], to, 1_000, None, &Secp256k1::new());
    let sweep = sweep.unwrap();
    chain.submit(&sweep).unwrap();
    chain.mine(6);
    assert!(chain.transaction(sweep.compute_txid()).is_some());
    let bert = Wallet::start(bert);
    let spent: Vec<_> = sweep
        .input
        .iter()
        .map(|input| input.previous_output)
        .collect();
    for outpoint in spent {
        quiet.storage.channel_resolved(ChannelIds {
            funding_outpoint: Some(outpoint),
            ..ChannelIds::default()
        });
    }
    quiet.storage.channel_resolved(channel.ids);
    assert!(quiet.connect(bert.node.id(), bert.node.addr()));
    bert.node.wire().wait_received(&id, "PeerStorage", DEADLINE);
    quiet.stop();
    let kept = unswept(&bert.stop().storage_dir);
    assert_eq!((kept.channels.len(), kept.spendable_outputs.len()), (1, 0));
    assert_ne!(kept.channels[0].ids.channel_id, Some(closed));
}

#[test]
fn a_closed_channel_leaves_the_backup_when_its_monitor_is_archived_and_not_before() {
    let home = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let start = |name: &str| {
        let node = NodeConfig::new(name, home.path().join(name), chain.clone());
        Wallet::start(WalletConfig::new(node))
    };
    let (peer, phone) = (start("peer"), start("phone"));
    phone.connect_to(&peer.node);
    let closed = open_channel(&chain, &phone.node, &peer.node, 1_000_000);
    peer.node.force_close(&closed);
    phone.node.wait_closed(&closed);
    wait_until("the commitment", DEADLINE, || !chain.mempool().is_empty());
    // Either side's commitment may be the first there. Ours is spendable after a delay.
    wait_until("our output to be spendable", DEADLINE, || {
        chain.mine(6);
        !phone.node.spendable_outputs().is_empty()
    });
    let channels = || {
        phone.storage.wallet_changed();
        phone.storage.on_background(DEADLINE);
        phone.storage.status().backup.channels
    };
    assert_eq!(channels(), 1, "not swept");
    phone.sweep();
    chain.mine(6);
    phone.node.sync();
    let monitors = phone.node.parts().chain_monitor.clone();
    monitors.archive_fully_resolved_channel_monitors();
    assert_eq!(channels(), 1, "swept, not buried");
    chain.mine_empty(ARCHIVAL_DELAY);
    phone.node.sync();
    assert_eq!(channels(), 1, "buried, not archived");
    monitors.archive_fully_resolved_channel_monitors();
    assert!(monitors.list_monitors().is_empty());
    assert_eq!(channels(), 0);
    // The peer's old backup does not bring it back.
    let phone = phone.restart();
    phone.connect_to(&peer.node);
    wait_until("the grace to be over", DEADLINE, || {
        phone.node.is_connected(&peer.node.id())
    });
    assert_eq!(phone.storage.status().backup.channels, 0);
}
