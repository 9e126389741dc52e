use peer_storage_ffi::config::{GuestPolicy, OpenConfig, StorageSettings};
use peer_storage_ffi::status::PeerBackup;

use crate::support::*;

/// Safety rule 13: neither peers nor channels nor directories stand in what an app or we may log.
#[test]
fn nothing_that_is_told_names_a_peer_or_a_channel_when_it_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    storage.report_wallet(report(vec![channel(2)])).unwrap();
    wait(storage.adopt()).unwrap();
    wait_until("the channel to be in the backup", || {
        storage.status().unwrap().channels == 1
    });
    storage.report_wallet(report(Vec::new())).unwrap();
    wait_until("an alarm", || !storage.alarms().unwrap().is_empty());
    wait_until("an event", || wait(storage.next_event()).unwrap().is_some());
    let settings = StorageSettings {
        guests: Some(GuestPolicy::Listed {
            node_ids: vec![peer(2)],
        }),
        ..settings()
    };
    let config = OpenConfig {
        expected_node_id: Some(peer(2)),
        tor_proxy: Some("user:word@127.0.0.1:9050".to_owned()),
        storage: settings,
        ..config(dir.path())
    };
    let status = storage.status().unwrap();
    let peers: Vec<PeerBackup> = status.peers.clone();
    let printed = [
        format!("{status:?}"),
        format!("{peers:?}"),
        format!("{:?}", status.alarms),
        format!("{:?}", status.alarms[0].kind),
        format!("{:?}", wait(storage.next_event()).unwrap()),
        format!("{:?}", wait(storage.check_before_node_start(100)).unwrap()),
        format!("{:?}", wait(storage.run_background_pass(100)).unwrap()),
        format!("{:?}", wait(storage.on_background(ENOUGH)).unwrap()),
        format!("{:?}", wait(storage.shutdown(ENOUGH)).unwrap()),
        format!("{config:?}"),
    ];
    let listed = channel(2);
    let ids = [
        peer(2),
        listed.channel_id,
        dir.path().display().to_string(),
        "word".to_owned(),
    ];
    for printed in printed {
        for id in &ids {
            assert!(!printed.contains(id.as_str()), "{printed}");
        }
    }
}
