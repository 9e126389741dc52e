//! `push`, `retrieve` and `inspect`, with a wallet whose node knows nothing of this project.

use bitcoin::hex::DisplayHex;
use serde_json::json;
use testkit::{pay, ChannelType, KeyDerivation, Node};

use crate::args;
use crate::program::{program, run, seed_file, Ended};
use crate::stage::Stage;
use crate::storer::{Storer, SEED};
use crate::support::kept_for;

/// The channels of a node, as a host writes them.
fn wallet_file(stage: &Stage, name: &str, phone: &Node, peers: &[(String, String)]) -> String {
    let channels: Vec<_> = phone.channels().iter().map(|channel| {
        let monitor = phone.parts().chain_monitor.get_monitor(channel.channel_id);
        let id = channel.short_channel_id.unwrap();
        json!({
            "peer": channel.counterparty.node_id,
            "short_channel_id": format!("{}x{}x{}", id >> 40, (id >> 16) & 0xffffff, id & 0xffff),
            "channel_id": channel.channel_id.0.to_lower_hex_string(),
            "update_id": monitor.unwrap().get_latest_update_id(),
            "kind": "anchors",
            "value_sat": channel.channel_value_satoshis,
        })
    }).collect();
    let peers: Vec<_> = peers
        .iter()
        .map(|(node_id, address)| json!({ "node_id": node_id, "addresses": [address] }))
        .collect();
    let path = stage.home.path().join(name);
    std::fs::write(
        &path,
        json!({ "channels": channels, "peers": peers }).to_string(),
    )
    .unwrap();
    path.display().to_string()
}

#[test]
fn what_was_pushed_is_retrieved_elsewhere_and_opens_for_its_owner_alone() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let (peer, phone) = (stage.stock("peer"), stage.stock("phone"));
    phone.connect_to(&peer);
    testkit::open_channel(&stage.chain, &peer, &phone, 1_000_000);
    let seed = stage.config("phone").seed;
    let owner = phone.id();
    let storer = Storer::start(stage.home.path(), &SEED, &args!["--allow", owner]);
    let places = [
        (peer.id().to_string(), peer.addr().to_string()),
        (storer.node_id.to_string(), storer.addr.to_string()),
    ];
    let old = wallet_file(&stage, "old.json", &phone, &places[..1]);
    pay(&phone, &peer, 10_000_000);
    let now = wallet_file(&stage, "now.json", &phone, &places);
    phone.stop();

    let seed_path = seed_file(stage.home.path(), "seed", &seed);
    let node = |command: &str, dir: &str| {
        args![
            command,
            "--seed-file",
            seed_path.display(),
            "--network",
            "regtest",
            "--json",
            "--data-dir",
            stage.home.path().join(dir).display(),
        ]
    };
    let push = |dir, wallet: &str| [node("push", dir), args!["--wallet", wallet]].concat();
    let pushed = run(push("backup", &now)).expect(0).event("pushed");
    for peer in pushed["peers"].as_array().unwrap() {
        assert_eq!(peer["verified"], true, "{pushed}");
    }

    // Two places in one file, and only one is known to the one who reads back.
    let retrieve = [node("retrieve", "new-phone"), args![storer.at()]].concat();
    let read = run(&retrieve).expect(0).event("retrieved");
    assert_eq!(read["newest"], pushed["newest"]);
    assert_eq!(read["answers"].as_array().unwrap().len(), 2);
    assert_eq!(read["channels"][0]["value_sat"], 1_000_000);

    // A directory in use is not read back into.
    let in_use = [node("retrieve", "backup"), args![storer.at()]].concat();
    run(in_use).expect(5);

    // An old copy of the wallet is noticed by what a peer returns.
    let stale = run(push("old-copy", &old)).expect(7);
    assert!(stale.event("pushed")["peers"][0]["sent"].is_null());
    assert!(
        stale.stderr.contains("newer channel state"),
        "{}",
        stale.stderr
    );

    // A peer that is gone is named; what it has said before stays, and where it has said nothing it may
    // have a newer backup.
    let (at, id) = (storer.at(), storer.node_id.to_string());
    storer.stop();
    let why_of = |read: &serde_json::Value| {
        let answers = read["answers"].as_array().unwrap();
        let answer = answers.iter().find(|answer| answer["peer"] == id).unwrap();
        answer["why"].as_str().unwrap().to_owned()
    };
    let again = run(&retrieve).expect(0).event("retrieved");
    assert_eq!(again["newest"], pushed["newest"]);
    assert!(why_of(&again).starts_with("earlier"), "{again}");
    let peer_at = format!("{}@{}", peer.id(), peer.addr());
    let elsewhere = [node("retrieve", "other-phone"), args![peer_at, at]].concat();
    let read = run(elsewhere).expect(3).event("retrieved");
    assert_eq!(read["newest"], pushed["newest"]);
    assert!(why_of(&read).contains("nobody answers"), "{read}");

    let blob = kept_for(owner, &SEED, &stage.home.path().join("storer")).blob();
    let file = stage.home.path().join("blob");
    std::fs::write(&file, &blob).unwrap();
    let inspect = |seed: &std::path::Path, network| {
        args![
            "inspect",
            "--seed-file",
            seed.display(),
            "--network",
            network,
            "--json"
        ]
    };
    let of_file = [inspect(&seed_path, "regtest"), args![file.display()]].concat();
    let shown = run(of_file).expect(0).event("inspected");
    assert_eq!(shown["tier"], "full");
    assert_eq!(shown["revision"], pushed["newest"]);
    assert_eq!(shown["channels"].as_array().unwrap().len(), 1);
    assert_eq!(shown["peers"].as_array().unwrap().len(), 2);

    let hex = stage.home.path().join("hex");
    std::fs::write(&hex, blob.to_lower_hex_string()).unwrap();
    let piped = |args: Vec<String>| {
        let stdin = std::fs::File::open(&hex).unwrap();
        Ended::from(program(args).stdin(stdin).output().unwrap())
    };
    let same = piped(inspect(&seed_path, "regtest")).expect(0);
    assert_eq!(same.event("inspected"), shown);
    let other = seed_file(stage.home.path(), "other-seed", &[9; 32]);
    piped(inspect(&other, "regtest")).expect(5);
    piped(inspect(&seed_path, "signet")).expect(5);
}
