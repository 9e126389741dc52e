//! The one peer whose backup names one of the channels answers long after the restore.

use std::path::Path;

use bitcoin::OutPoint;
use ldk_peer_storage::exchange::{Event, Past};
use testkit::{open_channel, wait_until, wipe, Chain, NodeConfig, WireTap, DEADLINE};

use super::{funding_outputs, seed};
use crate::support::{
    kept_for, take_events, wait_pushes_arrived, Begin, QuietNode, Wallet, WalletConfig,
};

#[test]
fn what_only_a_late_peer_knows_is_merged_and_pushed_before_it_is_overwritten() {
    let home = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let config = |name: &str, dir: &str| {
        let node = NodeConfig::new(name, home.path().join(dir), chain.clone());
        WalletConfig::new(node)
    };
    let start = |name: &str| Wallet::start(config(name, name));
    let (anna, bert, carl) = (start("anna"), start("bert"), start("carl"));
    let phone = start("phone");
    let id = phone.node.id();

    // Two channels, and a backup of both at their peers.
    for peer in [&anna, &bert] {
        phone.connect_to(&peer.node);
        open_channel(&chain, &phone.node, &peer.node, 1_000_000);
        phone.reconnect(&peer.node);
    }
    assert!(phone.storage.on_background(DEADLINE).complete);
    wait_until("the peers to keep the backup", DEADLINE, || {
        [&anna, &bert]
            .iter()
            .all(|p| saw(p.node.wire(), &id, "PeerStorage"))
    });
    // The third is opened while nobody else is there, and then the phone is lost.
    for peer in [&anna, &bert] {
        phone.node.disconnect_from(&peer.node);
    }
    phone.connect_to(&carl.node);
    open_channel(&chain, &phone.node, &carl.node, 1_000_000);
    phone.reconnect(&carl.node);
    assert!(phone.storage.on_background(DEADLINE).complete);
    wait_until("carl to keep the backup", DEADLINE, || {
        saw(carl.node.wire(), &id, "PeerStorage")
    });
    let channels = outpoints(&phone);
    assert_eq!(channels.len(), 3);
    let before = phone.storage.status().backup.newest.unwrap();
    let lost = phone.kill();
    wipe(&lost.node.dir);
    wipe(&lost.storage_dir);
    let carl_config = carl.stop();

    // Two of three answer, and the person takes what they gave.
    let quiet = QuietNode::start(seed("phone"), &lost.storage_dir);
    for peer in [&anna, &bert] {
        assert!(quiet.connect(peer.node.id(), peer.node.addr()));
        quiet.wait_read_back(peer.node.id());
    }
    let report = quiet.storage.finish_restore().unwrap();
    assert_eq!((report.channels.len(), report.unheard.len()), (2, 0));
    assert!(quiet.storage.flush(DEADLINE));
    quiet.stop();

    // Life goes on: a new node on the new phone, and a new channel.
    let phone = Wallet::start(
        config("phone", "new-phone")
            .begin(Begin::AsIs)
            .in_dir(&lost.storage_dir),
    );
    assert_eq!(phone.storage.status().backup.past, Past::Known);
    phone.connect_to(&bert.node);
    open_channel(&chain, &phone.node, &bert.node, 500_000);
    phone.connect_to(&anna.node);
    let settled = || {
        let status = phone.storage.status().backup;
        status.channels == 3 && status.sent_to == 2 && !status.snapshot_due
    };
    wait_until("the new epoch to be at two peers", DEADLINE, settled);
    let restored = phone.storage.status().backup.newest.unwrap();
    assert!(restored.epoch > before.epoch && restored > before);

    // The third is back.
    take_events(&phone.storage);
    let carl = Wallet::start(carl_config);
    phone.connect_to(&carl.node);
    wait_until("carl's channel to be pushed out again", DEADLINE, || {
        let status = phone.storage.status().backup;
        status.channels == 4 && status.sent_to == 3
    });
    wait_until("the event", DEADLINE, || {
        let is_it = |event: &Event| match event {
            Event::ChannelsMerged { peer, channels } => {
                *peer == carl.node.id() && channels.len() == 1
            }
            _ => false,
        };
        take_events(&phone.storage).iter().any(is_it)
    });
    wait_until("carl to have the new backup", DEADLINE, || {
        saw(carl.node.wire(), &id, "PeerStorage")
    });
    let wire = carl.node.wire().with(&id);
    let at = |name: &str| wire.iter().position(|m| m.name == name).unwrap();
    assert!(
        at("PeerStorageRetrieval") < at("PeerStorage"),
        "read before it is overwritten: {wire:?}"
    );
    let sent = phone.node.wire().sent_to(&carl.node.id());
    assert!(!sent
        .iter()
        .any(|m| m == "ChannelReestablish" || m == "Error"));

    // All that was ever known is at each of the three; nothing was closed.
    assert!(phone.storage.on_background(DEADLINE).complete);
    let mut all = channels.clone();
    all.extend(outpoints(&phone));
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 4);
    for outpoint in &all {
        assert!(chain.spender(*outpoint).is_none(), "a channel was closed");
    }
    for peer in [&anna, &bert, &carl] {
        wait_pushes_arrived(&id, phone.node.wire(), &peer.node);
    }
    phone.stop();
    for peer in [anna, bert, carl] {
        let name = peer.node.name().to_owned();
        let slot = kept_for(id, &seed(&name), &peer.stop().storage_dir);
        let kept = slot.contents(&seed("phone"));
        assert_eq!(funding_outputs(&kept.snapshot.channels), all, "{name}");
        assert!(kept.snapshot.revision > restored || name != "carl");
        let from_records = kept.snapshot.channels.iter().filter(|c| c.restored);
        assert_eq!(from_records.count(), 3, "{name}");
    }
}

fn saw(wire: &WireTap, peer: &bitcoin::secp256k1::PublicKey, name: &str) -> bool {
    wire.received_from(peer).iter().any(|m| m == name)
}

fn outpoints(wallet: &Wallet) -> Vec<OutPoint> {
    wallet.node.funding_outpoints()
}

trait InDir {
    fn in_dir(self, dir: &Path) -> Self;
}

impl InDir for WalletConfig {
    /// With the directory of an earlier one for peer storage.
    fn in_dir(mut self, dir: &Path) -> Self {
        self.storage_dir = dir.to_owned();
        self
    }
}
