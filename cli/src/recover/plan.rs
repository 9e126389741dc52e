//! What could be recovered, shown before anything is closed.

use bitcoin::{Address, FeeRate};
use ldk_peer_storage::backup::ChannelIds;
use ldk_peer_storage::recovery::{ChannelState, Claim, KnownBy, Plan, PlannedChannel};
use serde_json::{json, Value};

use crate::channels::{json as ids_json, name};
use crate::output::Output;

/// `given_up`: what was given up before, and stays out.
pub fn show(
    plan: &Plan,
    given_up: &[ChannelIds],
    sweep_to: Option<&Address>,
    rates: (FeeRate, FeeRate),
    output: &Output,
) {
    output.say("");
    let is_given_up = |c: &PlannedChannel| given_up.iter().any(|ids| ids.matches(&c.ids));
    let rows: Vec<_> = plan
        .channels
        .iter()
        .map(|channel| row(channel, is_given_up(channel)))
        .collect();
    output.table(
        ["channel", "with", "now", "capacity", "what can come back"],
        &rows,
    );
    if plan.waiting_sat > 0 {
        output.say(format!(
            "In the chain already, to be swept: {} sat.",
            plan.waiting_sat
        ));
    }
    for left_out in &plan.left_out {
        output.say(format!(
            "{} names {} more channels that no backup knows: left out.",
            left_out.peer, left_out.channels
        ));
    }
    for peer in &plan.unheard {
        output.say(format!(
            "Not heard: {}. It may have a newer backup.",
            peer.node_id
        ));
    }
    output.say(
        "These are estimates: a backup knows nothing of later payments. Balances show when the peers close.",
    );
    let (first, highest) = (per_vbyte(rates.0), per_vbyte(rates.1));
    let to = sweep_to.map_or("an address that is still to be named".to_owned(), |to| {
        to.to_string()
    });
    output.say(format!(
        "Sweeps go to {to} and pay {first} sat/vB at first, {highest} sat/vB at most."
    ));

    if claims_payments(plan.channels.iter().map(|channel| channel.claim)) {
        output.say(WHERE_PAYMENTS_GO);
    }

    let channels = plan.channels.iter();
    let channels: Vec<_> = channels.map(|c| channel_json(c, is_given_up(c))).collect();
    let left_out: Vec<_> = plan
        .left_out
        .iter()
        .map(|left_out| json!({ "peer": left_out.peer, "channels": left_out.channels }))
        .collect();
    let unheard: Vec<_> = plan.unheard.iter().map(|peer| peer.node_id).collect();
    let fields = json!({
        "newest": plan.newest.map(|revision| revision.to_string()),
        "channels": channels,
        "left_out": left_out,
        "unheard": unheard,
        "waiting_sat": plan.waiting_sat,
        "sweep_to": sweep_to.map(ToString::to_string),
        "fee_rate": rates.0.to_sat_per_vb_ceil(),
        "highest_fee_rate": rates.1.to_sat_per_vb_ceil(),
    });
    output.event("plan", fields);
}

pub fn per_vbyte(rate: FeeRate) -> u64 {
    rate.to_sat_per_vb_ceil()
}

/// LDK has each channel's monitor pay what it claims to an address that the wallet gave when the channel
/// was opened.
const WHERE_PAYMENTS_GO: &str = "\
Payments in flight are claimed to an address of the lost wallet first. Where LDK's KeysManager gave it, they
are swept on to the address above; an ldk-node wallet gave one of its on-chain wallet: there they stay, for
whoever has its words, and are not counted here.";

fn claims_payments(mut claims: impl Iterator<Item = Claim>) -> bool {
    claims.any(|claim| matches!(claim, Claim::BalanceAndPayments { .. }))
}

fn row(channel: &PlannedChannel, is_given_up: bool) -> [String; 5] {
    let capacity = channel.value_sat.map(|sat| format!("{sat} sat"));
    let claim = match channel.claim {
        _ if is_given_up => "given up, left out: --take-up takes it in again".to_owned(),
        Claim::Balance => "your balance, not known before the close".to_owned(),
        Claim::BalanceAndPayments {
            estimate_sat,
            may_be_stale,
        } => {
            let stale = if may_be_stale {
                ", by an older state"
            } else {
                ""
            };
            format!("about {estimate_sat} sat{stale}, and payments in flight")
        }
        Claim::Unsupported => "nothing, by this version: a kind that it cannot sweep".to_owned(),
        Claim::KeysUnknown => "perhaps nothing: its keys are in no backup".to_owned(),
    };
    [
        name(&channel.ids),
        channel.peer.to_string(),
        state(channel.state).to_owned(),
        capacity.unwrap_or_else(|| "unknown".to_owned()),
        claim,
    ]
}

fn channel_json(channel: &PlannedChannel, is_given_up: bool) -> Value {
    let (claim, estimate_sat, may_be_stale) = match channel.claim {
        Claim::Balance => ("balance", None, None),
        Claim::BalanceAndPayments {
            estimate_sat,
            may_be_stale,
        } => (
            "balance_and_payments",
            Some(estimate_sat),
            Some(may_be_stale),
        ),
        Claim::Unsupported => ("unsupported", None, None),
        Claim::KeysUnknown => ("keys_unknown", None, None),
    };
    json!({
        "channel": ids_json(&channel.ids),
        "peer": channel.peer,
        "known_by": match channel.known_by { KnownBy::Backup => "backup", KnownBy::Peer => "peer" },
        "state": state(channel.state),
        "claim": claim,
        "estimate_sat": estimate_sat,
        "may_be_stale": may_be_stale,
        "by_place_alone": channel.by_place_alone,
        "value_sat": channel.value_sat,
        "given_up": is_given_up,
    })
}

fn state(state: ChannelState) -> &'static str {
    match state {
        ChannelState::Open => "open",
        ChannelState::Closed => "closed",
        ChannelState::NotFound => "not found",
        ChannelState::Unseen => "not seen",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_payments_in_flight_go_is_said_where_some_are_claimed() {
        let payments = Claim::BalanceAndPayments {
            estimate_sat: 1,
            may_be_stale: false,
        };
        assert!(claims_payments([Claim::Balance, payments].into_iter()));
        assert!(!claims_payments(
            [Claim::Balance, Claim::KeysUnknown].into_iter()
        ));
        assert!(WHERE_PAYMENTS_GO.contains("on-chain wallet"));
    }
}
