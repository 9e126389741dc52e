//! What cannot be used is refused before anything is done, each with an exit code of its own.

use std::net::TcpListener;
use std::path::Path;

use bitcoin::hex::FromHex;
use ldk_peer_storage::recovery::Identity;

use crate::args;
use crate::program::{program, run, seed_file, Ended};

const SEED: [u8; 32] = [0x42; 32];
const WORDS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                     abandon abandon about";

fn id(seed: [u8; 32]) -> String {
    Identity::from_seed(seed).unwrap().node_id().to_string()
}

/// `retrieve` with this identity, from somebody who never answers.
fn retrieve(home: &Path, identity: &[String], peer: &str) -> Ended {
    let fixed = args![
        "retrieve",
        "--data-dir",
        home.join("data").display(),
        "--network",
        "regtest",
        "--budget",
        1,
        "--json",
    ];
    run([fixed, identity.to_vec(), args![peer]].concat())
}

#[test]
fn a_seed_is_never_taken_from_an_argument_or_the_environment() {
    let hex = "42".repeat(32);
    for name in ["--seed", "--mnemonic", "--words", "--key"] {
        run(["retrieve", "--data-dir", "/nonexistent", name, &hex]).expect(2);
    }
    let help = run(["retrieve", "--help"]).expect(0).stdout;
    assert!(!help.contains("[env"), "{help}");
    let home = tempfile::tempdir().unwrap();
    let args = args![
        "retrieve",
        "--data-dir",
        home.path().join("data").display(),
        "--network",
        "regtest",
        format!("{}@127.0.0.1:1", id([1; 32])),
    ];
    let mut command = program(args);
    for name in [
        "SEED",
        "PEER_STORAGE_SEED",
        "MNEMONIC",
        "PEER_STORAGE_MNEMONIC",
    ] {
        command.env(name, &hex);
    }
    let refused = Ended::from(command.output().unwrap()).expect(2);
    assert!(refused.stderr.contains("--seed-file"), "{}", refused.stderr);
}

#[test]
fn the_wrong_seed_or_directory_is_noticed_before_anyone_is_connected_to() {
    let home = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let peer = format!("{}@{}", id([1; 32]), listener.local_addr().unwrap());
    let seed = seed_file(home.path(), "seed", &SEED);
    let mine = args!["--seed-file", seed.display()];

    let other_node = [mine.clone(), args!["--expect-node-id", id([7; 32])]].concat();
    let refused = retrieve(home.path(), &other_node, &peer).expect(5);
    assert!(refused.stderr.contains(&id(SEED)), "{}", refused.stderr);
    assert!(!home.path().join("data").exists());
    assert!(listener.accept().is_err(), "nobody was connected to");

    let raw = home.path().join("raw");
    std::fs::write(&raw, SEED).unwrap();
    let same = args!["--seed-file", raw.display(), "--expect-node-id", id(SEED)];
    let ended = retrieve(home.path(), &same, &peer).expect(3);
    assert_eq!(ended.event("retrieved")["complete"], false);
    assert!(listener.accept().is_ok());

    let other = seed_file(home.path(), "other", &[8; 32]);
    let refused = retrieve(home.path(), &args!["--seed-file", other.display()], &peer).expect(5);
    assert!(refused.stderr.contains("another node or network"));
    let args = args![
        "retrieve",
        "--data-dir",
        home.path().join("data").display(),
        "--network",
        "signet",
        "--seed-file",
        seed.display(),
        peer,
    ];
    run(args).expect(5);
}

#[test]
fn words_and_passphrase_are_those_of_an_ldk_node_wallet() {
    let home = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let nobody = format!("{}@127.0.0.1:1", id([1; 32]));
    for passphrase in ["", "open sesame"] {
        let node = Identity::from_ldk_node_mnemonic(WORDS, passphrase, bitcoin::Network::Regtest);
        let expected = node.unwrap().node_id();
        let words = args![
            "--mnemonic-file",
            file("words", &format!("{WORDS}\n")),
            "--passphrase-file",
            file("passphrase", &format!("{passphrase}\n")),
        ];
        let ours = [words.clone(), args!["--expect-node-id", expected]].concat();
        retrieve(&home.path().join(passphrase), &ours, &nobody).expect(3);
        let wrong = [words, args!["--expect-node-id", id(SEED)]].concat();
        retrieve(home.path(), &wrong, &nobody).expect(5);
    }
    for bad in ["abandon ability secretword", ""] {
        let words = args!["--mnemonic-file", file("bad", bad)];
        let refused = retrieve(home.path(), &words, &nobody).expect(2);
        assert!(!refused.stderr.contains("secretword"), "{}", refused.stderr);
    }
    for bad in [vec![1; 31], b"zz".repeat(32), Vec::new(), vec![b'1'; 66]] {
        let path = home.path().join("bad-seed");
        std::fs::write(&path, &bad).unwrap();
        retrieve(home.path(), &args!["--seed-file", path.display()], &nobody).expect(2);
    }
    retrieve(home.path(), &args!["--seed-file", "/nonexistent"], &nobody).expect(2);
}

#[test]
fn the_seed_file_of_an_ldk_node_wallet_is_that_of_its_words_and_no_other_seed() {
    let home = tempfile::tempdir().unwrap();
    // What BIP39 makes of the words.
    let seed = "5eb00bbddcf069084889a8ab9155568165f5c453ccb85e70811aaed6f6da5fc1\
                9a5ac40b389cd370d086206dec8aa6c43daea6690f20ad3d8d48b2d2ce9e38e4";
    let raw = <[u8; 64]>::from_hex(seed).unwrap();
    let node = Identity::from_ldk_node_mnemonic(WORDS, "", bitcoin::Network::Regtest);
    let node = node.unwrap().node_id();
    let nobody = format!("{}@127.0.0.1:1", id([1; 32]));
    let path = home.path().join("keys_seed");
    let mine = args!["--ldk-node-seed-file", path.display()];
    let line = format!("{seed}\n");
    let written: [&[u8]; 3] = [&raw, seed.as_bytes(), line.as_bytes()];
    for bytes in written {
        std::fs::write(&path, bytes).unwrap();
        let expected = [mine.clone(), args!["--expect-node-id", node]].concat();
        retrieve(home.path(), &expected, &nobody).expect(3);
    }
    // In hex a seed of 32 bytes has 64.
    let other = "42".repeat(32);
    for bad in [
        &raw[..63],
        &[],
        b"no seed",
        &seed.as_bytes()[1..],
        other.as_bytes(),
    ] {
        std::fs::write(&path, bad).unwrap();
        let refused = retrieve(home.path(), &mine, &nobody).expect(2);
        assert!(!refused.stderr.contains(&other), "{}", refused.stderr);
    }
    std::fs::write(&path, raw).unwrap();
    for flag in ["--seed-file", "--mnemonic-file", "--passphrase-file"] {
        let both = [mine.clone(), args![flag, path.display()]].concat();
        let refused = retrieve(home.path(), &both, &nobody).expect(2);
        assert!(
            refused.stderr.contains("cannot be used with"),
            "{}",
            refused.stderr
        );
    }
}

#[test]
fn what_cannot_be_meant_is_a_usage_error_that_says_what_is_wanted() {
    let home = tempfile::tempdir().unwrap();
    let seed = seed_file(home.path(), "seed", &SEED);
    let mine = args!["--seed-file", seed.display()];
    for peer in ["nobody", "02aa@127.0.0.1:9735", "127.0.0.1:9735"] {
        let refused = retrieve(home.path(), &mine, peer).expect(2);
        assert!(
            refused.stderr.contains("NODEID@HOST:PORT"),
            "{}",
            refused.stderr
        );
    }
    let no_peer = args![
        "retrieve",
        "--data-dir",
        home.path().join("new").display(),
        "--network",
        "regtest",
        "--seed-file",
        seed.display(),
    ];
    run(no_peer).expect(2);

    let recover = |more: &[&str]| {
        let fixed = args![
            "recover",
            "--data-dir",
            home.path().join("recover").display(),
            "--network",
            "regtest",
            "--seed-file",
            seed.display(),
            "--budget",
            1,
            format!("{}@127.0.0.1:1", id([1; 32])),
        ];
        run([fixed, more.iter().map(ToString::to_string).collect()].concat())
    };
    let (esplora, mainnet) = (
        "http://127.0.0.1:1",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    );
    recover(&[]).expect(2);
    recover(&["--esplora", "no-url"]).expect(2);
    let refused = recover(&["--esplora", esplora, "--sweep-to", mainnet]).expect(2);
    assert!(
        refused.stderr.contains("another network"),
        "{}",
        refused.stderr
    );
    recover(&["--esplora", esplora, "--sweep-to", "bc1garbage"]).expect(2);
    recover(&["--esplora", esplora]).expect(6);

    let push = |text: &str| {
        let path = home.path().join("wallet.json");
        std::fs::write(&path, text).unwrap();
        run(args![
            "push",
            "--data-dir",
            home.path().join("push").display(),
            "--network",
            "regtest",
            "--seed-file",
            seed.display(),
            "--wallet",
            path.display(),
        ])
    };
    let peer = format!(
        r#"{{"node_id":"{}","addresses":["127.0.0.1:1"]}}"#,
        id([1; 32])
    );
    let channel = format!(
        r#"{{"peer":"{}","short_channel_id":"7x1x0","update_id":1,"kind":"anchors"}}"#,
        id([1; 32])
    );
    let with = |channels: &str| format!(r#"{{"channels":[{channels}],"peers":[{peer}]}}"#);
    for bad in [
        "{".to_owned(),
        "[]".to_owned(),
        r#"{"channels":[],"peers":[]}"#.to_owned(),
        with(&channel).replace("\"kind\":\"anchors\"", "\"kind\":\"odd\""),
        with(&channel).replace("\"update_id\":1,", ""),
        with(&channel).replace("7x1x0", "7x1"),
        with(&channel).replace("\"short_channel_id\":\"7x1x0\",", ""),
        with(&channel).replace("update_id", "updateid"),
        with(&format!("{channel},{channel}")),
        with(&channel).replace("127.0.0.1:1", "127.0.0.1"),
    ] {
        let refused = push(&bad).expect(2);
        assert!(
            refused.stderr.contains("wallet.json"),
            "{bad}: {}",
            refused.stderr
        );
        assert!(!home.path().join("push").exists(), "nothing was touched");
    }
    // Good, but nobody is there.
    push(&with(&channel)).expect(3);
}
