//! What a restore has brought, in tables and in JSON.

use bitcoin::secp256k1::PublicKey;
use ldk_peer_storage::session::{NotReached, RestoreOutcome, Returned};
use serde_json::{json, Value};

use crate::channels::{name, Channel, PeerEntry};
use crate::output::Output;

/// Shows who had what, and what it comes to.
pub fn show(outcome: &RestoreOutcome, output: &Output) {
    let report = &outcome.report;
    let lines = lines(outcome);
    let rows: Vec<_> = lines.iter().map(Line::row).collect();
    output.table(["peer", "backup", "channels", ""], &rows);
    let rows: Vec<_> = report
        .channels
        .iter()
        .chain(&report.older_channels)
        .map(|channel| {
            let capacity = channel.value_sat.map(|sat| format!("{sat} sat"));
            [
                name(&channel.ids),
                channel.counterparty.to_string(),
                capacity.unwrap_or_else(|| "unknown".to_owned()),
            ]
        })
        .collect();
    if !rows.is_empty() && !output.is_json() {
        output.say("");
    }
    output.table(["channel", "with", "capacity"], &rows);
    if report.newest_is_empty_but_older_is_not {
        output.say("The newest backup has no channels, but an older one has: both are shown.");
    }

    let channels: Vec<_> = report.channels.iter().map(Channel::from).collect();
    let older: Vec<_> = report.older_channels.iter().map(Channel::from).collect();
    let peers: Vec<_> = report.peers.iter().map(PeerEntry::from).collect();
    let unheard: Vec<_> = report.unheard.iter().map(|peer| peer.node_id).collect();
    let fields = json!({
        "newest": report.newest.map(|revision| revision.to_string()),
        "complete": is_complete(outcome),
        "answers": lines.iter().map(Line::json).collect::<Vec<_>>(),
        "channels": channels,
        "older_channels": older,
        "peers": peers,
        "unheard": unheard,
        "newest_is_empty_but_older_is_not": report.newest_is_empty_but_older_is_not,
        "monitors": report.monitors.len(),
    });
    output.event("retrieved", fields);
}

/// A backup was found, and everyone who may have a newer one was heard.
pub fn is_complete(outcome: &RestoreOutcome) -> bool {
    let report = &outcome.report;
    let heard_before = |peer: &PublicKey| report.answers.iter().any(|answer| answer.peer == *peer);
    let mut asked = outcome.peers.iter();
    let all_heard = asked.all(|peer| match &peer.outcome {
        Ok(visit) => visit.returned != Returned::NothingInTime || heard_before(&peer.peer),
        Err(_) => heard_before(&peer.peer),
    });
    report.newest.is_some() && report.unheard.is_empty() && all_heard
}

/// What is known of one peer.
struct Line {
    peer: PublicKey,
    backup: Option<(String, usize, bool)>,
    conflicts: bool,
    /// What it said this time, where that is no backup.
    why: Option<String>,
}

fn lines(outcome: &RestoreOutcome) -> Vec<Line> {
    let report = &outcome.report;
    let mut lines: Vec<Line> = report
        .answers
        .iter()
        .map(|answer| Line {
            peer: answer.peer,
            backup: Some((answer.revision.to_string(), answer.channels, answer.newest)),
            conflicts: answer.conflicts,
            why: None,
        })
        .collect();
    let without = |peer, why: &str| Line {
        peer,
        backup: None,
        conflicts: false,
        why: Some(why.to_owned()),
    };
    for asked in &outcome.peers {
        let why = match &asked.outcome {
            Ok(visit) => match visit.returned {
                Returned::Backup(_) => continue,
                Returned::Unreadable => "what it returned does not open",
                Returned::Nothing => "has nothing",
                Returned::NothingInTime => "said nothing in time: ask again",
            },
            Err(why) => advice(*why),
        };
        match lines.iter_mut().find(|line| line.peer == asked.peer) {
            Some(line) => line.why = Some(format!("earlier; now: {why}")),
            None => lines.push(without(asked.peer, why)),
        }
    }
    for peer in &report.silent {
        if !lines.iter().any(|line| line.peer == *peer) {
            lines.push(without(*peer, "has nothing"));
        }
    }
    for peer in &report.unheard {
        if !lines.iter().any(|line| line.peer == peer.node_id) {
            lines.push(without(peer.node_id, "not asked"));
        }
    }
    lines
}

/// Why a peer was not heard, and what to do.
pub fn advice(why: NotReached) -> &'static str {
    match why {
        NotReached::OutOfTime => "the time was over: raise --budget",
        NotReached::NoAddress => "no address is known: name it as NODEID@HOST:PORT",
        NotReached::NeedsTor => "only Tor leads there: give --socks5",
        NotReached::Unreachable => "nobody answers there",
        NotReached::TimedOut => "there was no answer in time",
        NotReached::HandshakeFailed => "somebody else answers there: check node id and address",
        NotReached::Incompatible => "its features or its network do not fit: check --network",
        NotReached::Refused => {
            "it hung up: stop any node with this seed, or wait until it has forgotten it"
        }
    }
}

impl Line {
    fn row(&self) -> [String; 4] {
        let (revision, channels, newest) = match &self.backup {
            Some((revision, channels, newest)) => (revision.clone(), channels.to_string(), *newest),
            None => ("-".to_owned(), "-".to_owned(), false),
        };
        let mut notes = Vec::new();
        notes.extend(newest.then_some("newest"));
        notes.extend(self.conflicts.then_some("another device may use this seed"));
        notes.extend(self.why.as_deref());
        [self.peer.to_string(), revision, channels, notes.join("; ")]
    }

    fn json(&self) -> Value {
        let mut line = json!({ "peer": self.peer });
        if let Some((revision, channels, newest)) = &self.backup {
            line["backup"] = json!(revision);
            line["channels"] = json!(channels);
            line["newest"] = json!(newest);
            line["conflicts"] = json!(self.conflicts);
        }
        if let Some(why) = &self.why {
            line["why"] = json!(why);
        }
        line
    }
}
