//! A recovery on a device.

use std::sync::Arc;

use peer_storage_ffi::chain::ChainAccess;
use peer_storage_ffi::recovery::{Recovery, RecoveryConsent, RecoverySettings};
use peer_storage_ffi::recovery_plan::{ChannelClaim, RecoveryPlan};
use serde_json::{json, Value};

use crate::calls::peers;
use crate::device::{done, nothing, wait, Args, Device, Outcome};

/// Peers here take no half minute to read what they are sent.
const STAY_MS: u64 = 1_000;

#[derive(Default)]
pub struct Recovering {
    recovery: Option<Arc<Recovery>>,
    plan: Option<RecoveryPlan>,
}

pub fn call(device: &mut Device, start: &Value, call: &str, args: &mut Args) -> Outcome {
    if call == "start" {
        let chain = ChainAccess::Esplora {
            url: start["esplora"].as_str().unwrap().to_owned(),
            proxy: None,
        };
        let settings = RecoverySettings { stay_ms: STAY_MS };
        let recovery = done(device.storage().start_recovery(chain, settings, None))?;
        device.recovering.recovery = Some(recovery);
        return Ok(json!({}));
    }
    let recovery = device.recovering.recovery.clone().expect("recovery.start");
    match call {
        "plan" => {
            let plan = wait(recovery.plan(peers(start, args), args.budget()))?;
            let told = json!({
                "channels": plan.channels.len(),
                "recoverable": recoverable(&plan).count(),
            });
            device.recovering.plan = Some(plan);
            Ok(told)
        }
        "agree" => {
            let plan = device.recovering.plan.as_ref().expect("recovery.plan");
            let consent = RecoveryConsent {
                channels: recoverable(plan).map(|c| c.ids.clone()).collect(),
                sweep_to: start["sweep_to"].as_str().unwrap().to_owned(),
                fee_rate_sat_per_kwu: 1_000,
                highest_fee_rate_sat_per_kwu: 5_000,
                old_device_is_gone: args.flag("old_device_is_gone", Some(false)),
                closes_channels_without_keys: false,
                goes_on_without_unheard_peers: args
                    .flag("goes_on_without_unheard_peers", Some(false)),
            };
            wait(recovery.agree(plan.id, consent)).map(nothing)
        }
        "step" => {
            let progress = wait(recovery.step())?;
            Ok(json!({
                "done": progress.done,
                "found_sat": progress.found_sat,
                "recovered_sat": progress.recovered_sat,
                "fees_sat": progress.fees_sat,
                "kept": progress.kept.len(),
            }))
        }
        "end" => {
            device.recovering = Recovering::default();
            Ok(json!({}))
        }
        other => panic!("unknown: recovery.{other}"),
    }
}

fn recoverable(
    plan: &RecoveryPlan,
) -> impl Iterator<Item = &peer_storage_ffi::recovery_plan::PlannedChannel> {
    let can = |claim: &ChannelClaim| {
        matches!(
            claim,
            ChannelClaim::Balance | ChannelClaim::BalanceAndPayments { .. }
        )
    };
    plan.channels.iter().filter(move |c| can(&c.claim))
}
