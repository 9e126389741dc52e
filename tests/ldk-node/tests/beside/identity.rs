//! From seed words to the keys that ldk-node has.

use std::path::Path;

use bitcoin::Network;
use ldk_node::bip39::Mnemonic;
use ldk_node::Builder;
use ldk_peer_storage::recovery::Identity;
use lightning::sign::NodeSigner;

const ALL_WORDS: [&str; 4] = [
    "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about",
    "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth \
     useful legal will",
    "letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor \
     acoustic avoid letter advice cage absurd amount doctor acoustic bless",
    "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong",
];
const PASSPHRASES: [&str; 3] = ["", "TREZOR", "correct horse"];
const MESSAGE: &[u8] = b"the same key";

#[test]
fn seed_words_give_the_keys_that_ldk_node_has() {
    let home = tempfile::tempdir().unwrap();
    for (n, words) in ALL_WORDS.into_iter().enumerate() {
        for (m, passphrase) in PASSPHRASES.into_iter().enumerate() {
            for network in [Network::Regtest, Network::Bitcoin] {
                let mnemonic: Mnemonic = words.parse().unwrap();
                let given = Some(passphrase).filter(|given| !given.is_empty());
                let mut builder = builder(network, &home.path().join(format!("{n}-{m}-{network}")));
                builder.set_entropy_bip39_mnemonic(mnemonic, given.map(str::to_owned));
                let node = builder.build().unwrap();
                let identity = Identity::from_ldk_node_mnemonic(words, passphrase, network);
                assert_same(&node, &identity.unwrap());
            }
        }
    }
}

#[test]
fn seed_bytes_give_the_keys_that_ldk_node_has() {
    let home = tempfile::tempdir().unwrap();
    for (n, words) in ALL_WORDS.into_iter().enumerate() {
        let mnemonic: Mnemonic = words.parse().unwrap();
        let bytes = mnemonic.to_seed("TREZOR");
        let mut builder = builder(Network::Regtest, &home.path().join(n.to_string()));
        builder.set_entropy_seed_bytes(bytes);
        let node = builder.build().unwrap();
        assert_same(&node, &Identity::from_ldk_node_seed(&bytes).unwrap());
    }
}

#[test]
fn a_seed_file_that_ldk_node_has_made_gives_the_keys_that_it_has() {
    let home = tempfile::tempdir().unwrap();
    let node = builder(Network::Regtest, home.path()).build().unwrap();
    let bytes = std::fs::read(home.path().join("keys_seed")).unwrap();
    let identity = Identity::from_ldk_node_seed(&bytes.try_into().unwrap());
    assert_same(&node, &identity.unwrap());
}

/// By the node's id, and by what it signs.
#[track_caller]
fn assert_same(node: &ldk_node::Node, identity: &Identity) {
    assert_eq!(node.node_id(), identity.node_id());
    let signed = identity.keys().sign_message(MESSAGE).unwrap();
    assert_eq!(node.sign_message(MESSAGE), signed);
}

/// Of a node that is never started, so its server is never asked.
fn builder(network: Network, dir: &Path) -> Builder {
    let mut builder = Builder::new();
    builder.set_network(network);
    builder.set_storage_dir_path(dir.to_str().unwrap().to_owned());
    builder.set_chain_source_esplora("http://127.0.0.1:1".to_owned(), None);
    builder.set_log_facade_logger();
    builder
}
