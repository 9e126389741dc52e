//! A recovery that is killed goes on.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bitcoin::hex::{DisplayHex, FromHex};
use bitcoin::Network;
use ldk_peer_storage::recovery::{Identity, Recovery};
use testkit::{pay, ChainServer, ChannelType, KeyDerivation, Node, RemoteChain};

use crate::stage::{consent, destination, open_quietly, peer_record, Lost, Stage, BUDGET};
use crate::support::{ManualClock, RemoteSource};

const ARGUMENTS: &str = "RECOVERY_CHILD";
/// Far more than a recovery has.
const MOST_STEPS: usize = 40;

#[test]
fn a_recovery_that_is_stopped_after_every_round_ends_with_the_same_coins() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let lost = lost_with(&stage, &[&peer]);
    let mut rescuer = stage.rescuer(&lost);
    rescuer.agree(&[&peer]);
    for _ in 0..40 {
        let progress = rescuer.step();
        if progress.done {
            assert_eq!(progress.recovered_sat + progress.fees_sat, 490_000);
            assert_eq!(progress.channels[0].asked, 1);
            assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
            return;
        }
        rescuer.stop();
        stage.chain.mine(1);
        rescuer = stage.rescuer(&lost);
        assert!(rescuer.recovery.is_begun());
    }
    panic!("not done after 40 blocks");
}

/// Every durable step there is: the process is killed right after it.
#[test]
fn a_recovery_killed_at_any_durable_step_ends_with_the_same_coins() {
    for kill_at in 1..=MOST_STEPS {
        let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
        let (anna, bert) = (stage.stock("anna"), stage.stock("bert"));
        let lost = lost_with(&stage, &[&anna, &bert]);
        let server = ChainServer::start(&stage.chain);
        let run = |kill_at, minutes| {
            let child = spawn(&lost, &server, &[&anna, &bert], kill_at, minutes);
            follow(&stage, child)
        };
        let killed = run(kill_at, 0).is_none();
        let ended = match killed {
            true => run(0, 10),
            false => break,
        };
        let (recovered, fees) = ended.expect("it goes on to the end");
        assert_eq!(recovered + fees, 2 * 490_000, "killed at step {kill_at}");
        let coins = stage.chain.coins(&destination().script_pubkey());
        let arrived: u64 = coins.iter().map(|(_, o)| o.value.to_sat()).sum();
        assert_eq!(arrived, recovered, "killed at step {kill_at}");
        for peer in [&anna, &bert] {
            assert_eq!(requests(peer, &lost), 1, "killed at step {kill_at}");
        }
        assert!(kill_at < MOST_STEPS);
    }
}

/// How often a peer was asked to close.
fn requests(peer: &Node, lost: &Lost) -> usize {
    let phone = Identity::from_seed(lost.seed).unwrap().node_id();
    let received = peer.wire().received_from(&phone).into_iter().rev();
    // The phone itself has sent a `channel_reestablish` at each of its own connections.
    let after_loss = received.take_while(|name| name != "UpdateAddHTLC");
    let is_request = |name: &String| name == "Error" || name == "ChannelReestablish";
    after_loss.filter(is_request).count()
}

fn lost_with(stage: &Stage, peers: &[&Node]) -> Lost {
    let phone = stage.wallet("phone");
    for peer in peers {
        stage.fund(&phone, peer);
    }
    for peer in peers {
        pay(&phone.node, peer, 10_000_000);
    }
    stage.back_up(&phone, peers);
    stage.lose(phone)
}

fn spawn(
    lost: &Lost,
    server: &ChainServer,
    peers: &[&Node],
    kill_at: usize,
    minutes: u64,
) -> Child {
    let mut arguments = vec![
        lost.seed.to_lower_hex_string(),
        lost.dir.to_str().unwrap().to_owned(),
        server.addr().to_string(),
        kill_at.to_string(),
        minutes.to_string(),
    ];
    arguments.extend(peers.iter().map(|p| format!("{}@{}", p.id(), p.addr())));
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "kills::child_recovers",
            "--ignored",
            "--nocapture",
        ])
        .env(ARGUMENTS, arguments.join("\n"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Mines a block for each round of the child, and kills it where it says so. What it has recovered, and
/// the fees; none: it was killed.
fn follow(stage: &Stage, mut child: Child) -> Option<(u64, u64)> {
    let mut stdin = child.stdin.take().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut ended = None;
    for line in lines {
        let line = line.unwrap();
        let words: Vec<_> = line.split(' ').collect();
        match words.as_slice() {
            ["round"] => {
                stage.chain.mine(1);
                stdin.write_all(b"\n").unwrap();
            }
            ["kill"] => break,
            ["done", recovered, fees] => {
                ended = Some((recovered.parse().unwrap(), fees.parse().unwrap()));
            }
            _ => {}
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    ended
}

/// Not a test of its own: recovers what the arguments say, until it is killed.
#[test]
#[ignore = "run by the test above in a process of its own"]
fn child_recovers() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else {
        return;
    };
    let arguments: Vec<_> = arguments.split('\n').collect();
    let [seed, dir, chain, kill_at, minutes, peers @ ..] = arguments.as_slice() else {
        panic!("too few arguments");
    };
    let peers = peers.iter().map(|peer| {
        let (id, addr) = peer.split_once('@').unwrap();
        peer_record(id.parse().unwrap(), addr.parse().unwrap())
    });
    let peers: Vec<_> = peers.collect();
    let identity = Identity::from_seed(<[u8; 32]>::from_hex(seed).unwrap()).unwrap();
    let (storage, session) = open_quietly(&identity, dir.into());
    let source = RemoteSource(RemoteChain::connect(chain.parse().unwrap()).unwrap());
    let clock = ManualClock::new();
    clock.advance(Duration::from_secs(60 * minutes.parse::<u64>().unwrap()));
    let recovery = Recovery::open(
        storage,
        &identity,
        Network::Regtest,
        std::sync::Arc::new(source),
    );
    let stay = Duration::from_secs(1);
    let mut recovery = recovery.unwrap().clock(clock).stay(stay);
    let kill_at: usize = kill_at.parse().unwrap();
    let steps = AtomicUsize::new(0);
    recovery.after_each_step(move || {
        if steps.fetch_add(1, Ordering::SeqCst) + 1 == kill_at {
            println!("\nkill");
            loop {
                std::thread::park();
            }
        }
    });
    if !recovery.is_begun() {
        let outcome = session.restore(&peers, BUDGET).unwrap();
        let plan = recovery.plan(&outcome, &peers).unwrap();
        recovery.agree(&plan, &consent(&plan)).unwrap();
    }
    for _ in 0..40 {
        let progress = recovery.step(&session).unwrap();
        if progress.done {
            println!("\ndone {} {}", progress.recovered_sat, progress.fees_sat);
            return;
        }
        println!("\nround");
        std::io::stdin().read_line(&mut String::new()).unwrap();
    }
}
