//! The end of the story: the person agrees, the peers close, and the coins arrive.

use bitcoin::Amount;
use testkit::chain::anyone_can_spend;
use testkit::Chain;

use crate::process::Process;
use crate::story::{name_of, say, tell_detail, Peer};

/// What a force close and its sweep take here, and time to spare.
const MOST_BLOCKS: u32 = 60;

/// What came of it, in sat.
pub struct Coins {
    pub recovered: u64,
    pub fees: u64,
}

/// `expected_sat`: what the lost phone owned in its channels.
pub fn tell(chain: &Chain, peers: &[Peer], phone: &mut Process, expected_sat: u64) -> Coins {
    say("10. The person is sure that the old phone is gone, and agrees: the peers shall close.");
    let address = anyone_can_spend(b"the person");
    let agree = format!("agree {}", address.to_hex_string());
    for plan in hear_until(phone, &agree) {
        if let [_, peer, state, what @ ..] = &plan[..] {
            let name = name_of(peers, peer);
            let what = what.join(" ");
            tell_detail(&format!("{name:<6} channel {state}, to come back: {what}"));
        }
    }

    say(
        "11. Each peer is asked, in turn by an `error` and by an impossible `channel_reestablish`.",
    );
    let (mut done, mut found, mut recovered, mut fees) = (false, 0, 0, 0);
    for _ in 0..MOST_BLOCKS {
        for words in hear_until(phone, "step") {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            match words[..] {
                ["asked", peer, way] => {
                    tell_detail(&format!("{:<6} asked: {way}", name_of(peers, peer)));
                }
                ["closed", txid, sat] => {
                    tell_detail(&format!(
                        "{}... closes a channel: {sat} sat are ours",
                        &txid[..8]
                    ));
                }
                ["sweeping", txid, sat, fee] => {
                    tell_detail(&format!(
                        "{}... sweeps {sat} sat, fee {fee} sat",
                        &txid[..8]
                    ));
                }
                ["step", over, ref sums @ ..] => {
                    done = over == "true";
                    let sums: Vec<u64> = sums.iter().map(|n| n.parse().expect("sat")).collect();
                    [found, recovered, fees] = sums[..].try_into().expect("three sums");
                }
                ref other => panic!("unexpected: {other:?}"),
            }
        }
        if done {
            break;
        }
        chain.mine(1);
    }
    assert!(done, "not over after {MOST_BLOCKS} blocks");

    say("12. The coins are at the person's address, and buried.");
    let coins = chain.coins(&address);
    let arrived: Amount = coins.iter().map(|(_, output)| output.value).sum();
    assert_eq!(arrived.to_sat(), recovered, "what the phone says is there");
    assert_eq!(found, expected_sat, "all that the lost phone owned");
    assert_eq!(recovered + fees, expected_sat, "to the satoshi");
    tell_detail(&format!(
        "{recovered} sat arrived, {fees} sat went to miners"
    ));
    Coins { recovered, fees }
}

/// Tells it to do something. All lines up to the one with the command's name; that one is the last.
fn hear_until(phone: &mut Process, command: &str) -> Vec<Vec<String>> {
    let name = command.split_whitespace().next().unwrap_or_default();
    let mut lines = vec![phone.ask(command)];
    while lines.last().is_some_and(|line| line[0] != name) {
        lines.push(phone.hear());
    }
    lines
}
