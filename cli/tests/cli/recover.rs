//! From a lost phone to coins, to the satoshi.

use std::time::Duration;

use serde_json::Value;
use testkit::{pay, wait_until, ChannelType, EsploraServer, KeyDerivation, Node, DEADLINE};

use crate::args;
use crate::program::{run, seed_file, Ended, Running};
use crate::stage::{closes, destination, Lost, Stage};

/// What the phone owns after its payment, in sat.
const OWNED: u64 = 500_000 - 10_000;

/// A phone that is lost, and where its coins are recovered.
pub struct Scene {
    // Dropped first: it writes to the stage's directory as it ends.
    pub peer: Node,
    pub esplora: EsploraServer,
    pub lost: Lost,
    pub stage: Stage,
}

impl Scene {
    pub fn new() -> Scene {
        let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
        let esplora = EsploraServer::start(&stage.chain);
        let peer = stage.stock("peer");
        let phone = stage.wallet("phone");
        stage.fund(&phone, &peer);
        pay(&phone.node, &peer, 10_000_000);
        stage.back_up(&phone, &[&peer]);
        let lost = stage.lose(phone);
        Scene {
            peer,
            esplora,
            lost,
            stage,
        }
    }

    fn node_args(&self) -> Vec<String> {
        let seed = seed_file(self.stage.home.path(), "seed", &self.lost.seed);
        args![
            "--seed-file",
            seed.display(),
            "--data-dir",
            self.lost.dir.display(),
            "--network",
            "regtest",
            "--json",
            format!("{}@{}", self.peer.id(), self.peer.addr()),
        ]
    }

    fn retrieve(&self) -> Vec<String> {
        [args!["retrieve"], self.node_args()].concat()
    }

    fn recover(&self, more: &[&str]) -> Vec<String> {
        let more = more.iter().map(ToString::to_string).collect();
        let fixed = args![
            "--esplora",
            self.esplora.url(),
            "--sweep-to",
            destination(),
            "--fee-rate",
            4,
            "--highest-fee-rate",
            20,
            "--stay",
            1,
            "--poll",
            1,
        ];
        [args!["recover"], self.node_args(), fixed, more].concat()
    }

    /// The peer's close is in the mempool, and then in a block.
    pub fn confirm_close(&self) {
        wait_until("the peer's close", DEADLINE, || self.closes() == 1);
        self.stage.chain.mine(1);
    }

    fn closes(&self) -> usize {
        closes(&self.stage.chain, &self.lost.funding)
    }

    #[track_caller]
    fn assert_all_arrived(&self, done: &Value) {
        let sat = |name: &str| done[name].as_u64().unwrap();
        assert_eq!(sat("found_sat"), OWNED);
        assert_eq!(sat("recovered_sat") + sat("fees_sat"), OWNED);
        assert_eq!(done["left_behind"], serde_json::json!([]));
        let coins = self.stage.chain.coins(&destination().script_pubkey());
        let arrived: u64 = coins.iter().map(|(_, output)| output.value.to_sat()).sum();
        assert_eq!(arrived, sat("recovered_sat"));
        // One input and one output: a few hundred vbytes at 4 sat.
        assert!(sat("fees_sat") < 1_000);
    }
}

const CONSENT: [&str; 2] = ["--yes", "--old-device-is-gone"];

#[test]
fn the_coins_of_a_lost_phone_come_back_to_the_satoshi() {
    let scene = Scene::new();
    let read = run(scene.retrieve()).expect(0).event("retrieved");
    assert_eq!(read["complete"], true);
    assert_eq!(read["channels"].as_array().unwrap().len(), 1);
    assert_eq!(read["answers"][0]["peer"], scene.peer.id().to_string());
    assert_eq!(scene.closes(), 0);

    let mut recovery = Running::start(scene.recover(&CONSENT));
    let plan = recovery.event("plan");
    assert_eq!(plan["channels"][0]["claim"], "balance");
    assert_eq!(plan["fee_rate"], 4);
    assert_eq!(recovery.event("asked")["way"], "error");
    scene.confirm_close();
    recovery.event("sweeping");
    scene.stage.chain.mine(6);
    recovery.event("over");
    scene.assert_all_arrived(&recovery.event("done"));
    assert_eq!(recovery.ended(), 0);

    // Once more, with nothing left to do.
    let again = run(scene.recover(&[])).expect(0);
    scene.assert_all_arrived(&again.event("done"));
}

#[test]
fn a_recovery_that_is_killed_goes_on_and_brings_the_same_coins() {
    let scene = Scene::new();
    let begun = scene.peer.wire().mark();
    let phone = scene.peer.channels()[0].counterparty.node_id;
    let mut killed = Running::start(scene.recover(&CONSENT));
    killed.event("agreed");
    killed.kill();
    // It may have put its question by now, or have noted it and got no further: then the next one is
    // due a minute later.
    let killed = Running::start(scene.recover(&[]));
    let minute = Duration::from_secs(60);
    wait_until("the peer's close", minute + DEADLINE, || {
        scene.closes() == 1
    });
    killed.kill();
    scene.stage.chain.mine(1);
    let mut killed = Running::start(scene.recover(&[]));
    killed.event("sweeping");
    killed.kill();
    scene.stage.chain.mine(6);

    // Without the address and the rates, which are in the directory.
    let bare = args!["--esplora", scene.esplora.url(), "--poll", 1, "--stay", 1];
    let rest = [args!["recover"], scene.node_args(), bare].concat();
    let ended = run(rest).expect(0);
    scene.assert_all_arrived(&ended.event("done"));
    let asked = &ended.event("progress")["channels"][0]["asked"];
    let heard = scene.peer.wire().received_since(begun, &phone);
    let questions = ["Error", "ChannelReestablish"].map(str::to_owned);
    let put = heard.iter().filter(|name| questions.contains(name)).count();
    assert_eq!(put, 1, "one question was enough: {heard:?}");
    // At the most one was noted and cut off before it was put.
    assert!([1.into(), 2.into()].contains(asked), "{asked} questions");
}

#[test]
fn one_step_at_a_time_an_unreachable_server_and_a_channel_that_is_given_up() {
    let mut scene = Scene::new();
    // Nobody has agreed to anything yet.
    let named = run(scene.recover(&["--give-up", "7x7x7", "--yes", "--once"])).expect(4);
    assert!(named.stderr.contains("--old-device-is-gone"));

    // The peer has been heard, and is away: it cannot close.
    let port = scene.peer.addr().port();
    let away = Node::start(scene.stage.config("somebody else"));
    std::mem::replace(&mut scene.peer, away).stop();
    let all = [
        "--yes",
        "--old-device-is-gone",
        "--without-unheard-peers",
        "--once",
    ];
    let step = run(scene.recover(&all)).expect(3);
    let progress = step.event("progress");
    assert_eq!(progress["done"], false);
    let channel = &progress["channels"][0]["channel"]["short_channel_id"];
    let channel = channel.as_str().unwrap();

    // What was agreed to is not changed in passing.
    for other in [["--fee-rate", "5"], ["--highest-fee-rate", "21"]] {
        let args = scene.recover(&["--once"]);
        let at = args.iter().position(|arg| arg == other[0]).unwrap();
        let mut args = args;
        args[at + 1] = other[1].to_owned();
        let refused = run(&args).expect(2);
        assert!(
            refused.stderr.contains("--plan-again"),
            "{}",
            refused.stderr
        );
    }
    let mut args = scene.recover(&["--once"]);
    let at = args.iter().position(|arg| arg == "--sweep-to").unwrap();
    args[at + 1] = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080".to_owned();
    assert!(run(&args).expect(2).stderr.contains("--plan-again"));

    scene.esplora.break_with(testkit::Fault::Close);
    run(scene.recover(&["--once"])).expect(6);
    scene.esplora.repair();

    let unknown = run(scene.recover(&["--give-up", "7x7x7"])).expect(2);
    assert!(unknown.stderr.contains("no such channel"));
    let step = step.event("progress");
    assert_eq!(step["channels"][0]["stage"], "open");
    let nothing_came = |ended: Ended| {
        let done = ended.event("done");
        assert_eq!(done["left_behind"][0]["why"], "given_up");
        assert_eq!(
            done["left_behind"][0]["channel"]["short_channel_id"],
            *channel
        );
        let dir = scene.lost.dir.display().to_string();
        assert!(ended.stderr.contains(&format!("keep {dir}")));
        assert!(ended.stderr.contains(&format!("{channel} was given up")));
        assert!(!ended.stderr.contains("Done"), "{}", ended.stderr);
    };
    nothing_came(run(scene.recover(&["--give-up", channel])).expect(8));
    nothing_came(run(scene.recover(&[])).expect(8));

    scene.peer = Node::start(scene.stage.config("peer").listen(port));

    // Planned again without an address and rates: they stay, and so does what was given up.
    let again = |more: &[&str]| {
        let fixed = args![
            "--esplora",
            scene.esplora.url(),
            "--poll",
            1,
            "--stay",
            1,
            "--plan-again",
            "--once",
        ];
        let more = more.iter().map(ToString::to_string).collect();
        run([args!["recover"], scene.node_args(), fixed, more].concat())
    };
    let refused = again(&CONSENT).expect(4);
    assert!(refused.stderr.contains("--take-up"), "{}", refused.stderr);
    let plan = refused.event("plan");
    assert_eq!(plan["channels"][0]["given_up"], true);
    assert_eq!(plan["sweep_to"], destination().to_string());
    assert_eq!(
        (&plan["fee_rate"], &plan["highest_fee_rate"]),
        (&4.into(), &20.into())
    );
    let unknown = again(&[&CONSENT[..], &["--take-up", "7x7x7"]].concat()).expect(2);
    assert!(
        unknown.stderr.contains("was given up"),
        "{}",
        unknown.stderr
    );

    let take_up = ["--take-up", channel, "--highest-fee-rate", "30"];
    let agreed = again(&[&CONSENT[..], &take_up].concat()).expect(3);
    let plan = agreed.event("plan");
    assert_eq!(plan["channels"][0]["given_up"], false);
    assert_eq!(
        (&plan["fee_rate"], &plan["highest_fee_rate"]),
        (&4.into(), &30.into())
    );
    assert_eq!(
        agreed.event("agreed")["channels"][0]["short_channel_id"],
        *channel
    );
}
