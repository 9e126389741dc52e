//! Nothing closes before the person has agreed to each thing by itself (safety rule 10).

use testkit::{wait_until, ChannelType, EsploraServer, KeyDerivation, DEADLINE};

use crate::args;
use crate::program::{run, seed_file};
use crate::stage::{closes, destination, Stage};

#[test]
fn without_each_consent_every_channel_stays_open() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let esplora = EsploraServer::start(&stage.chain);
    let (anna, bert) = (stage.stock("anna"), stage.stock("bert"));
    let phone = stage.wallet("phone");
    for peer in [&anna, &bert] {
        stage.fund(&phone, peer);
    }
    stage.back_up(&phone, &[&anna, &bert]);
    let lost = stage.lose(phone);
    let (gone, marks) = (bert.id(), anna.wire().mark());
    bert.stop();

    let seed = seed_file(stage.home.path(), "seed", &lost.seed);
    let with = |answers: &[&str]| {
        let fixed = args![
            "recover",
            "--seed-file",
            seed.display(),
            "--data-dir",
            lost.dir.display(),
            "--network",
            "regtest",
            "--json",
            "--esplora",
            esplora.url(),
            "--stay",
            1,
            "--fee-rate",
            4,
            "--once",
            format!("{}@{}", anna.id(), anna.addr()),
        ];
        let answers = answers.iter().map(ToString::to_string).collect();
        [fixed, answers].concat()
    };
    let to = destination().to_string();
    let all = ["--yes", "--old-device-is-gone", "--without-unheard-peers"];
    for left_out in 0..all.len() {
        let mut answers = vec!["--sweep-to", &to];
        answers.extend(all.iter().filter(|answer| **answer != all[left_out]));
        let refused = run(with(&answers)).expect(4);
        assert!(refused.stderr.contains(all[left_out]), "{}", refused.stderr);
        assert_eq!(refused.event("failed")["exit_code"], 4);
        assert_eq!(refused.event("plan")["unheard"][0], gone.to_string());
    }
    // Nor without an address.
    let refused = run(with(&all)).expect(4);
    assert!(refused.stderr.contains("--sweep-to"), "{}", refused.stderr);

    assert_eq!(closes(&stage.chain, &lost.funding), 0);
    assert_eq!(anna.channels().len(), 1);
    let said = anna.wire().received_since(marks, &lost_node(&lost.seed));
    let about_channels = |name: &str| name == "Error" || name == "ChannelReestablish";
    assert!(
        said.iter().all(|message| !about_channels(message)),
        "{said:?}"
    );
}

#[test]
fn a_channel_without_keys_is_closed_only_where_that_is_said_and_is_not_done_if_nothing_came() {
    // The first way: what is in the channel cannot be found without its keys id.
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V1);
    let esplora = EsploraServer::start(&stage.chain);
    // Neither has ever heard of peer storage for itself: the peer alone names the channel.
    let (peer, phone) = (stage.stock("peer"), stage.stock("phone"));
    phone.connect_to(&peer);
    testkit::open_channel(&stage.chain, &peer, &phone, 1_000_000);
    let (funding, seed) = (phone.funding_outpoints(), stage.config("phone").seed);
    phone.kill();

    let seed = seed_file(stage.home.path(), "seed", &seed);
    let fixed = args![
        "recover",
        "--seed-file",
        seed.display(),
        "--data-dir",
        stage.home.path().join("new-phone").display(),
        "--network",
        "regtest",
        "--json",
        "--esplora",
        esplora.url(),
        "--sweep-to",
        destination(),
        "--stay",
        1,
        "--once",
        "--yes",
        "--old-device-is-gone",
        format!("{}@{}", peer.id(), peer.addr()),
    ];
    let refused = run(&fixed).expect(4);
    assert_eq!(
        refused.event("plan")["channels"][0]["claim"],
        "keys_unknown"
    );
    assert!(refused.stderr.contains("--close-channels-without-keys"));
    assert_eq!(closes(&stage.chain, &funding), 0);

    let agreed = run([fixed.clone(), args!["--close-channels-without-keys"]].concat()).expect(3);
    assert_eq!(agreed.event("asked")["peer"], peer.id().to_string());

    wait_until("the peer's close", DEADLINE, || {
        closes(&stage.chain, &funding) == 1
    });
    stage.chain.mine(6);
    let ended = run(&fixed).expect(8);
    ended.event("nothing_of_ours");
    assert_eq!(
        ended.event("done")["left_behind"][0]["why"],
        "nothing_found"
    );
    assert!(ended.stderr.contains("nothing of yours was found in it"));
    assert!(!ended.stderr.contains("Done"), "{}", ended.stderr);
}

fn lost_node(seed: &[u8; 32]) -> bitcoin::secp256k1::PublicKey {
    let identity = ldk_peer_storage::recovery::Identity::from_seed(*seed);
    identity.unwrap().node_id()
}
