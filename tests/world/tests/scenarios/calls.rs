//! The calls of the library, by the names that they have in a scenario.

use bitcoin::hex::FromHex;
use peer_storage_ffi::alarms::AlarmResolution;
use peer_storage_ffi::config::{BitcoinNetwork, OpenConfig, StorageSettings};
use peer_storage_ffi::opening::StorageOpening;
use peer_storage_ffi::secret::WalletSecret;
use peer_storage_ffi::visits::SyncReport;
use peer_storage_ffi::wallet::{ChannelIds, WalletPeer};
use serde_json::{json, Value};

use crate::answer::{self, counted, word};
use crate::device::{done, nothing, peer, wait, wallet_report, Args, Device, Outcome};
use crate::recovery;
use crate::stage::{Sight, Stage};

/// One call on one device.
pub fn call(stage: &mut Stage, on: &str, call: &str, args: &mut Args) -> Outcome {
    let dir = stage.home.join(on).display().to_string();
    let device = stage.devices.entry(on.to_owned()).or_default();
    let sight = &mut stage.sight;
    let names = sight.names();
    match call {
        "open" => return open(device, sight, dir, args),
        "report" => return report(device, sight, args),
        "events" => return events(device),
        "resolve_alarm" => return resolve_alarm(device, args),
        "channel_swept" => return channel_swept(device, sight, args),
        _ => {}
    }
    if let Some(call) = call.strip_prefix("recovery.") {
        return recovery::call(device, sight.start(), call, args);
    }
    let storage = device.storage().clone();
    match call {
        "shutdown" => {
            let report = wait(storage.shutdown(args.budget()))?;
            device.let_go();
            Ok(json!({ "drained": report.drained, "closed": report.closed }))
        }
        "foreground" => {
            storage.on_foreground();
            Ok(json!({}))
        }
        "network" => {
            storage.on_network_changed(args.flag("available", None));
            Ok(json!({}))
        }
        "node_runs" => {
            storage.on_host_node_changed(args.flag("runs", None));
            Ok(json!({}))
        }
        "hold" => {
            device.hold = Some(done(storage.hold())?);
            Ok(json!({}))
        }
        "release" => {
            device.hold.take().expect("a hold").release();
            Ok(json!({}))
        }
        "declare_new" => wait(storage.declare_new()).map(nothing),
        "adopt" => wait(storage.adopt()).map(nothing),
        "set_app_data" => {
            let data = args.text("text").into_bytes();
            wait(storage.set_app_data(data)).map(nothing)
        }
        "background" => {
            let report = wait(storage.on_background(args.budget()))?;
            Ok(json!({
                "drained": report.drained,
                "suspended": report.suspended,
                "visible_again": report.visible_again,
                "obstacle": report.obstacle.map(|obstacle| word(&obstacle)),
            }))
        }
        "pass" => {
            let report = wait(storage.run_background_pass(args.budget()))?;
            let visits = report.visits.unwrap_or(SyncReport { peers: Vec::new() });
            Ok(json!({
                "suspended": report.suspended,
                "hindrance": answer::hindrance(report.hindrance),
                "peers": answer::visits(&visits, &names),
            }))
        }
        "check" => {
            let answer = wait(storage.check_before_node_start(args.budget()))?;
            Ok(answer::node_start(&answer))
        }
        "sync" => {
            let (peers, verify) = (peers(sight.start(), args), args.flag("verify", Some(false)));
            let report = wait(storage.sync_with_peers(peers, verify, args.budget()))?;
            Ok(json!({ "peers": answer::visits(&report, &names) }))
        }
        "restore" => {
            let peers = peers(sight.start(), args);
            let result = wait(storage.restore(peers, args.budget()))?;
            Ok(answer::restore(&result.report))
        }
        "finish_restore" => {
            let report = wait(storage.finish_restore())?;
            Ok(answer::restore(&report))
        }
        "status" => Ok(answer::status(&done(storage.status())?, &names)),
        other => panic!("unknown: {other}"),
    }
}

fn open(device: &mut Device, sight: &Sight, dir: String, args: &mut Args) -> Outcome {
    let start = sight.start();
    let own = args.take("seed").is_none_or(|seed| {
        let text = seed.as_str().unwrap().to_owned();
        args.0.insert("other seed".to_owned(), text.into());
        false
    });
    let seed = match own {
        true => start["seed"].as_str().unwrap().to_owned(),
        false => args.text("other seed"),
    };
    let secret = done(WalletSecret::from_ldk_seed(Vec::from_hex(&seed).unwrap()))?;
    let config = OpenConfig {
        data_dir: dir,
        network: BitcoinNetwork::Regtest,
        expected_node_id: own.then(|| start["node_id"].as_str().unwrap().to_owned()),
        in_foreground: args.flag("foreground", Some(true)),
        network_available: args.flag("network", Some(true)),
        host_node_runs: false,
        storage: StorageSettings {
            guests: None,
            guest_bytes: 65_531,
            guest_count: 100,
            guest_total_bytes: 6_553_100,
            pad_fully: false,
            monitors: true,
        },
        tor_proxy: None,
        linger_ms: 5_000,
    };
    let opening = StorageOpening::new(config, secret);
    wait(opening.open())?;
    device.opened(done(opening.take())?);
    Ok(json!({}))
}

fn report(device: &mut Device, sight: &mut Sight, args: &mut Args) -> Outcome {
    let mut report = sight.channels()["report"].take();
    if args.0.contains_key("without") {
        let left_out = args.names("without").into_iter();
        let left_out = left_out.map(|name| sight.start()["peers"][name]["node_id"].clone());
        let left_out: Vec<Value> = left_out.collect();
        let channels = report["channels"].as_array_mut().unwrap();
        channels.retain(|channel| !left_out.contains(&channel["counterparty_node_id"]));
    }
    let height = sight.tip()["height"].as_u64().unwrap();
    done(device.storage().report_wallet(wallet_report(&report)))?;
    device.storage().report_tip(height as u32);
    let channels = report["channels"].as_array().unwrap().len();
    device.report = report;
    Ok(json!({ "channels": channels }))
}

fn events(device: &mut Device) -> Outcome {
    let storage = device.storage().clone();
    while let Some(record) = wait(storage.next_event())? {
        device.events.push(word(&record.event));
        wait(storage.event_handled(record.id))?;
    }
    let kinds = counted(device.events.iter().cloned());
    Ok(json!({ "count": device.events.len(), "kinds": kinds }))
}

fn resolve_alarm(device: &Device, args: &mut Args) -> Outcome {
    let (kind, resolution) = (args.text("kind"), args.text("resolution"));
    let resolution = match &*resolution {
        "recover" => AlarmResolution::Recover,
        "stay_held" => AlarmResolution::StayHeld,
        "this_device_is_current" => AlarmResolution::ThisDeviceIsCurrent,
        other => panic!("no resolution: {other}"),
    };
    let alarms = done(device.storage().alarms())?;
    let alarm = alarms.iter().find(|alarm| word(&alarm.kind) == kind);
    let id = alarm.expect("an alarm of this kind").id;
    wait(device.storage().resolve_alarm(id, resolution)).map(nothing)
}

fn channel_swept(device: &Device, sight: &Sight, args: &mut Args) -> Outcome {
    let peer = peer(&sight.start()["peers"][args.text("peer")]);
    let channels = device.report["channels"].as_array().expect("a report");
    for channel in channels {
        if channel["counterparty_node_id"] == *peer.node_id {
            let ids = ChannelIds {
                short_channel_id: None,
                funding_outpoint: None,
                channel_id: channel["channel_id"].as_str().map(str::to_owned),
            };
            wait(device.storage().channel_swept(ids))?;
        }
    }
    Ok(json!({}))
}

pub fn peers(start: &Value, args: &mut Args) -> Vec<WalletPeer> {
    let names = args.names("peers").into_iter();
    names.map(|name| peer(&start["peers"][name])).collect()
}
