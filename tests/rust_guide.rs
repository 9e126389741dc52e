//! The code that `docs/rust.md` shows is the code of `rust_guide/wallet.rs`, and it works.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/mod.rs"]
mod support;
#[path = "rust_guide/wallet.rs"]
mod wallet;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::{Address, Network};
use ldk_peer_storage::backup::PeerRecord;
use testkit::{open_channel, pay, wait_until, wipe, Chain, Node, NodeConfig, DEADLINE};

use support::{take_events, OwnChainSource};
use wallet::GuideWallet;

/// Half of the channel, less what was paid.
const OWNED: u64 = 500_000 - 10_000;

#[test]
fn a_wallet_made_as_the_guide_says_is_lost_and_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let config = |name: &str| NodeConfig::new(name, home.path().join(name), chain.clone());
    let peer = Node::start(config("peer"));
    let record = PeerRecord {
        node_id: peer.id(),
        addresses: vec![peer.addr().into()],
    };

    let storage_dir = home.path().join("peer-storage");
    let phone = config("phone");
    let keys = support::keys(&phone);
    let storage = wallet::open(&storage_dir, Network::Regtest, &keys, true).unwrap();
    let guide = GuideWallet::new(storage.clone(), record.clone());
    let node = Node::start(phone.clone().extension(Arc::new(guide)));
    node.connect_to(&peer);
    open_channel(&chain, &peer, &node, 1_000_000);
    // The first backup leaves half a minute after a first connection, or at the next one.
    node.disconnect_from(&peer);
    node.connect_to(&peer);
    wait_until("the channel to be usable", DEADLINE, || {
        node.is_usable_with(&peer.id())
    });
    pay(&node, &peer, 10_000_000);
    wait_until("the backup to be sent", DEADLINE, || {
        wallet::to_background(&storage, Duration::from_secs(5)).sent_to == 1
    });
    assert!(wallet::summary(&storage).starts_with("sent to 1"));
    wallet::handle_events(&storage, |_, _| {}).unwrap();
    assert!(take_events(&storage).is_empty(), "handled");
    support::wait_pushes_arrived(&node.id(), node.wire(), &peer);
    node.kill();
    storage.close(Duration::ZERO);
    wipe(&phone.dir);
    wipe(&storage_dir);

    let sweep_to = testkit::chain::anyone_can_spend(b"the person");
    let sweep_to = Address::from_script(&sweep_to, Network::Regtest).unwrap();
    let (storage, session, outcome) = wallet::restore(
        phone.seed,
        &storage_dir,
        Network::Regtest,
        std::slice::from_ref(&record),
    )
    .unwrap();
    assert_eq!(outcome.report.channels.len(), 1);
    let progress = wallet::recover(
        wallet::Lost {
            storage: storage.clone(),
            session,
            outcome,
            seed: phone.seed,
            network: Network::Regtest,
            known_peers: vec![record],
            sweep_to: sweep_to.clone().into_unchecked(),
        },
        Arc::new(OwnChainSource::new(&chain)),
        |_| chain.mine(1),
    )
    .unwrap();
    let coins = chain.coins(&sweep_to.script_pubkey());
    let arrived: u64 = coins.iter().map(|(_, output)| output.value.to_sat()).sum();
    assert_eq!(arrived, progress.recovered_sat);
    assert_eq!(progress.recovered_sat + progress.fees_sat, OWNED);
    assert!(progress.kept.is_empty());
    storage.close(Duration::from_secs(5));
}

#[test]
fn the_guide_shows_the_code_that_is_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let code = std::fs::read_to_string(root.join("tests/rust_guide/wallet.rs")).unwrap();
    let guide = std::fs::read_to_string(root.join("docs/rust.md")).unwrap();
    let regions = regions(&code);
    let mut shown: Vec<String> = blocks(&guide).collect();
    for (name, region) in &regions {
        let at = shown.iter().position(|block| block == region);
        let at = at.unwrap_or_else(|| panic!("docs/rust.md does not show {name}:\n{region}"));
        shown.remove(at);
    }
    assert!(shown.is_empty(), "tested nowhere:\n{}", shown.join("---\n"));
    assert!(!regions.is_empty());
}

/// What stands between `// guide: NAME` and `// guide: end`, without its indentation. Several of one name are
/// one after the other.
fn regions(code: &str) -> BTreeMap<String, String> {
    let mut regions: BTreeMap<String, String> = BTreeMap::new();
    let mut open: Option<(String, usize)> = None;
    for line in code.lines() {
        if let Some(name) = line.trim_start().strip_prefix("// guide: ") {
            let indentation = line.len() - line.trim_start().len();
            open = Some((name.to_owned(), indentation)).filter(|(name, _)| name != "end");
        } else if let Some((name, indentation)) = &open {
            let region = regions.entry(name.clone()).or_default();
            region.push_str(line.get(*indentation..).unwrap_or_default());
            region.push('\n');
        }
    }
    regions
}

/// What stands in fences of Rust.
fn blocks(guide: &str) -> impl Iterator<Item = String> + '_ {
    let fenced = guide.split("```rust,ignore\n").skip(1);
    fenced.map(|rest| rest.split("```").next().unwrap().to_owned())
}
