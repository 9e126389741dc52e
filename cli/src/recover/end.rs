//! What a recovery that is done has not brought.

use ldk_peer_storage::recovery::{KeptChannel, WhyKept};
use serde_json::{json, Value};

use crate::channels::{json as ids_json, name};

pub fn words(kept: &KeptChannel) -> String {
    let why = match kept.why {
        WhyKept::GivenUp => "was given up",
        WhyKept::NothingFound => "has closed, and nothing of yours was found in it",
        WhyKept::OverByScript => {
            "has ended, as far as is known; nothing proves that what was swept was all of it"
        }
        _ => "is not proven to be over",
    };
    format!("{} {why}.", name(&kept.ids))
}

pub fn json(kept: &KeptChannel) -> Value {
    let why = match kept.why {
        WhyKept::GivenUp => "given_up",
        WhyKept::NothingFound => "nothing_found",
        WhyKept::OverByScript => "by_script",
        _ => "unproven",
    };
    json!({ "channel": ids_json(&kept.ids), "why": why })
}
