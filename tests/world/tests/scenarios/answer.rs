//! From what the library tells to what stands in a scenario.

use std::collections::BTreeMap;
use std::fmt::Debug;

use peer_storage_ffi::errors::PeerStorageError;
use peer_storage_ffi::reports::{Hindrance, NodeStart, WhyUnknown};
use peer_storage_ffi::status::{Revision, StorageStatus};
use peer_storage_ffi::visits::{RestoreReport, SyncReport, VisitOutcome};
use serde_json::{json, Map, Value};

/// Names of peers by their node ids.
pub type Names = BTreeMap<String, String>;

/// The name of an enum's value in snake_case.
pub fn word(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    let name = text.split(|c: char| !c.is_ascii_alphanumeric()).next();
    let mut word = String::new();
    for c in name.unwrap_or_default().chars() {
        if c.is_ascii_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.push(c.to_ascii_lowercase());
    }
    word
}

pub fn revision(revision: Option<Revision>) -> Value {
    match revision {
        Some(Revision { epoch, generation }) => format!("{epoch}.{generation}").into(),
        None => Value::Null,
    }
}

pub fn error(error: &PeerStorageError) -> Value {
    use PeerStorageError as E;
    let name = word(error);
    match error {
        E::NotNow { obstacle } => json!({ "error": name, "obstacle": word(obstacle) }),
        E::InvalidInput { field, .. } => json!({ "error": name, "field": field }),
        E::Storage { failure, .. } => json!({ "error": name, "failure": word(failure) }),
        E::NotAllowed { why, .. } => json!({ "error": name, "why": word(why) }),
        E::Chain { may_pass, .. } => json!({ "error": name, "may_pass": may_pass }),
        _ => json!({ "error": name }),
    }
}

pub fn node_start(answer: &NodeStart) -> Value {
    let (why, alarms, channels) = match answer {
        NodeStart::NothingKnownAgainst => (None, 0, 0),
        NodeStart::DoNotStart { alarms } => (None, alarms.len(), 0),
        NodeStart::Restored { channels } => (None, 0, *channels),
        NodeStart::Unknown { why } => (Some(why_unknown(why)), 0, 0),
    };
    json!({ "answer": word(answer), "why": why, "alarms": alarms, "channels": channels })
}

fn why_unknown(why: &WhyUnknown) -> String {
    match why {
        WhyUnknown::Hindered { hindrance } => word(hindrance),
        why => word(why),
    }
}

pub fn hindrance(hindrance: Option<Hindrance>) -> Value {
    hindrance.map(|hindrance| word(&hindrance)).into()
}

pub fn visits(report: &SyncReport, names: &Names) -> Value {
    let visits = report.peers.iter().map(|visit| {
        let told = match &visit.outcome {
            VisitOutcome::Visited {
                returned,
                sent,
                delivered,
                verified,
            } => json!({
                "reached": true,
                "returned": word(returned),
                "sent": sent.is_some(),
                "delivered": delivered,
                "verified": verified,
            }),
            VisitOutcome::NotReached { why } => json!({ "reached": false, "why": word(why) }),
        };
        (names[&visit.node_id].clone(), told)
    });
    visits.collect::<Map<_, _>>().into()
}

pub fn restore(report: &RestoreReport) -> Value {
    json!({
        "newest": revision(report.newest),
        "answers": report.answers.len(),
        "silent": report.silent.len(),
        "unheard": report.unheard.len(),
        "channels": report.channels.len(),
        "older_channels": report.older_channels.len(),
        "app_data": String::from_utf8(report.app_data.clone()).unwrap(),
    })
}

pub fn status(status: &StorageStatus, names: &Names) -> Value {
    let peers = status.peers.iter();
    let peers = peers.map(|peer| (names[&peer.node_id].clone(), word(&peer.health).into()));
    json!({
        "activity": word(&status.activity),
        "past": word(&status.past),
        "newest": revision(status.newest),
        "channels": status.channels,
        "restored_channels": status.restored_channels,
        "verified_by": status.verified_by,
        "sent_to": status.sent_to,
        "unprotected_channels": status.unprotected_channels,
        "held": status.held,
        "alarm_count": status.alarms.len(),
        "alarms": counted(status.alarms.iter().map(|alarm| word(&alarm.kind))),
        "peers": peers.collect::<Map<_, Value>>(),
    })
}

/// How many there are of each.
pub fn counted(words: impl Iterator<Item = String>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for word in words {
        *counts.entry(word).or_default() += 1;
    }
    counts
}
