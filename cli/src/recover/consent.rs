//! What the person agrees to: each thing by itself, by a flag or by a word on the terminal (safety rule 10).

use std::io::{BufRead, IsTerminal, Write};

use bitcoin::{Address, FeeRate};
use clap::Args as ClapArgs;
use ldk_peer_storage::backup::ChannelIds;
use ldk_peer_storage::recovery::{Claim, Consent, Plan};

use super::plan::per_vbyte;
use crate::failure::Failure;
use crate::Outcome;

/// Answers given beforehand, each to one question; the others are asked on a terminal.
#[derive(ClapArgs)]
pub struct Answers {
    /// Yes, close the channels that can be recovered, and sweep them.
    #[arg(long)]
    pub yes: bool,
    /// The lost device is gone for good: nobody runs this wallet any more. If somebody does, they lose their
    /// channels to a force close.
    #[arg(long)]
    pub old_device_is_gone: bool,
    /// Do not wait for the peers that were not heard, one of which may have a newer backup.
    #[arg(long)]
    pub without_unheard_peers: bool,
    /// Also close channels whose keys are in no backup. What is in them is lost if the wallet did not derive
    /// its keys in LDK's second way (v2), as it did for channels opened by ldk-node 0.7 or later.
    #[arg(long)]
    pub close_channels_without_keys: bool,
}

/// Who answers questions.
pub trait Person {
    /// Whether it is yes. None: nobody is there.
    fn agrees(&mut self, question: &str) -> Option<bool>;
}

/// The person at the terminal: asked on the standard error, answers on the standard input.
pub struct Terminal;

impl Person for Terminal {
    fn agrees(&mut self, question: &str) -> Option<bool> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let mut stderr = std::io::stderr();
        write!(stderr, "{question}\nType yes to agree: ").ok()?;
        stderr.flush().ok()?;
        let mut answer = String::new();
        stdin.lock().read_line(&mut answer).ok()?;
        Some(answer.trim().eq_ignore_ascii_case("yes"))
    }
}

/// Asks all that has to be asked about this plan, and nothing else. What was given up before and is not
/// taken up again stays out of it.
pub fn ask(
    plan: &Plan,
    given_up: &[ChannelIds],
    answers: &Answers,
    sweep_to: Address,
    rates: (FeeRate, FeeRate),
    person: &mut dyn Person,
) -> Outcome<Consent> {
    let of_claim = |unknown: bool| {
        let is_given_up = |ids: &ChannelIds| given_up.iter().any(|other| other.matches(ids));
        let channels = plan.recoverable().filter(move |c| !is_given_up(&c.ids));
        let channels = channels.filter(move |c| (c.claim == Claim::KeysUnknown) == unknown);
        channels.map(|channel| channel.ids).collect::<Vec<_>>()
    };
    let (mut channels, without_keys) = (of_claim(false), of_claim(true));
    let mut questions = Questions {
        person,
        missing: Vec::new(),
    };

    let gone = questions.must(
        answers.old_device_is_gone,
        "--old-device-is-gone",
        "Is the old device gone for good? If it still runs, its channels are closed under it.",
    )?;
    let without_unheard = plan.unheard.is_empty()
        || questions.must(
            answers.without_unheard_peers,
            "--without-unheard-peers",
            &format!(
                "{} peers were not heard, and one may have a newer backup. Go on without them?",
                plan.unheard.len()
            ),
        )?;
    let mut closes_without_keys = answers.close_channels_without_keys;
    if !without_keys.is_empty() {
        // No ends nothing here: those channels are left alone.
        let question = format!(
            "The keys of {} channels are in no backup. What is in them may be lost by closing them. \
             Close them too?",
            without_keys.len()
        );
        closes_without_keys = closes_without_keys || questions.may(&question);
        if closes_without_keys {
            channels.extend(without_keys);
        }
    }
    if channels.is_empty() && plan.waiting_sat == 0 {
        return Err(Failure::NotAgreed(
            "nothing was closed: no channel is left; --close-channels-without-keys takes in those without \
             keys, --take-up CHANNEL those that were given up"
                .to_owned(),
        ));
    }
    questions.must(
        answers.yes,
        "--yes",
        &format!(
            "Close {} channels, and sweep what is yours to {sweep_to} for {} to {} sat/vB?",
            channels.len(),
            per_vbyte(rates.0),
            per_vbyte(rates.1)
        ),
    )?;
    questions.all_answered()?;
    Ok(Consent {
        channels,
        sweep_to: sweep_to.into_unchecked(),
        fee_rate: rates.0,
        highest_fee_rate: rates.1,
        old_device_is_gone: gone,
        closes_channels_without_keys: closes_without_keys,
        goes_on_without_unheard_peers: without_unheard,
    })
}

struct Questions<'a> {
    person: &'a mut dyn Person,
    /// Flags that would have answered what nobody was there to answer.
    missing: Vec<&'static str>,
}

impl Questions<'_> {
    /// Without a yes nothing is done.
    fn must(&mut self, answered: bool, flag: &'static str, question: &str) -> Outcome<bool> {
        if answered {
            return Ok(true);
        }
        match self.person.agrees(question) {
            Some(true) => Ok(true),
            Some(false) => Err(Failure::NotAgreed(
                "not agreed: nothing was closed".to_owned(),
            )),
            None => {
                self.missing.push(flag);
                Ok(false)
            }
        }
    }

    fn may(&mut self, question: &str) -> bool {
        self.person.agrees(question) == Some(true)
    }

    fn all_answered(&self) -> Outcome {
        match self.missing[..] {
            [] => Ok(()),
            _ => Err(Failure::NotAgreed(format!(
                "not agreed: nothing was closed; each of these has to be said: {}",
                self.missing.join(" ")
            ))),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::str::FromStr;

    use bitcoin::secp256k1::PublicKey;
    use bitcoin::Network;
    use ldk_peer_storage::backup::PeerRecord;

    use super::*;

    /// Says no to one of the questions, and yes to the others.
    struct Doubtful {
        asked: usize,
        no_to: Option<usize>,
    }

    impl Person for Doubtful {
        fn agrees(&mut self, _question: &str) -> Option<bool> {
            self.asked += 1;
            Some(self.no_to != Some(self.asked))
        }
    }

    struct Nobody;

    impl Person for Nobody {
        fn agrees(&mut self, _question: &str) -> Option<bool> {
            None
        }
    }

    /// Coins that wait, and a peer that was not heard.
    fn plan() -> Plan {
        let id = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        let id = PublicKey::from_str(id).unwrap();
        Plan {
            wallet: id,
            newest: None,
            channels: Vec::new(),
            left_out: Vec::new(),
            unheard: vec![PeerRecord {
                node_id: id,
                addresses: Vec::new(),
            }],
            waiting_sat: 1_000,
            trouble: None,
        }
    }

    fn answers(all: bool) -> Answers {
        Answers {
            yes: all,
            old_device_is_gone: all,
            without_unheard_peers: all,
            close_channels_without_keys: false,
        }
    }

    fn ask_about(plan: &Plan, answers: &Answers, person: &mut dyn Person) -> Outcome<Consent> {
        let address = Address::from_str("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080").unwrap();
        let rate = FeeRate::BROADCAST_MIN;
        let address = address.require_network(Network::Regtest).unwrap();
        ask(plan, &[], answers, address, (rate, rate), person)
    }

    #[test]
    fn each_question_is_asked_and_each_no_ends_it() {
        let mut willing = Doubtful {
            asked: 0,
            no_to: None,
        };
        let consent = ask_about(&plan(), &answers(false), &mut willing).unwrap();
        assert_eq!(willing.asked, 3);
        assert!(consent.old_device_is_gone && consent.goes_on_without_unheard_peers);
        assert!(!consent.closes_channels_without_keys);
        for no_to in 1..=3 {
            let mut doubtful = Doubtful {
                asked: 0,
                no_to: Some(no_to),
            };
            let refused = ask_about(&plan(), &answers(false), &mut doubtful)
                .err()
                .unwrap();
            assert_eq!(refused.exit_code(), 4);
            assert_eq!(doubtful.asked, no_to, "nothing more was asked");
        }
    }

    #[test]
    fn what_was_answered_by_flags_or_does_not_matter_is_not_asked() {
        assert!(ask_about(&plan(), &answers(true), &mut Nobody).is_ok());
        let mut all_heard = plan();
        all_heard.unheard.clear();
        let mut willing = Doubtful {
            asked: 0,
            no_to: None,
        };
        assert!(ask_about(&all_heard, &answers(false), &mut willing).is_ok());
        assert_eq!(willing.asked, 2);
    }

    #[test]
    fn where_nobody_is_asked_all_that_is_missing_is_named() {
        let refused = ask_about(&plan(), &answers(false), &mut Nobody)
            .err()
            .unwrap();
        let words = refused.to_string();
        for flag in ["--yes", "--old-device-is-gone", "--without-unheard-peers"] {
            assert!(words.contains(flag), "{words}");
        }
    }
}
