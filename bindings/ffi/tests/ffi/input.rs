use peer_storage_ffi::config::{GuestPolicy, OpenConfig, StorageSettings};
use peer_storage_ffi::errors::{PeerStorageError, Refusal};
use peer_storage_ffi::secret::WalletSecret;
use peer_storage_ffi::wallet::{ChannelIds, WalletChannel, WalletPeer, WalletReport};
use peer_storage_ffi::PeerStorage;

use crate::support::*;

fn field<T>(result: Result<T, PeerStorageError>) -> String {
    match result {
        Err(PeerStorageError::InvalidInput { field, .. }) => field,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was taken"),
    }
}

#[test]
fn what_is_wrong_in_a_configuration_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let good = || config(dir.path());
    let guests = |settings| OpenConfig {
        storage: settings,
        ..good()
    };
    let bad = [
        (
            "data_dir",
            OpenConfig {
                data_dir: String::new(),
                ..good()
            },
        ),
        (
            "data_dir",
            OpenConfig {
                data_dir: "a\0b".to_owned(),
                ..good()
            },
        ),
        (
            "data_dir",
            OpenConfig {
                data_dir: "x".repeat(5000),
                ..good()
            },
        ),
        (
            "tor_proxy",
            OpenConfig {
                tor_proxy: Some("localhost".to_owned()),
                ..good()
            },
        ),
        (
            "expected_node_id",
            OpenConfig {
                expected_node_id: Some("02zz".to_owned()),
                ..good()
            },
        ),
        (
            "guest_bytes",
            guests(StorageSettings {
                guest_bytes: 65_532,
                ..settings()
            }),
        ),
        (
            "guests",
            guests(StorageSettings {
                guests: Some(GuestPolicy::Listed {
                    node_ids: vec!["me".to_owned()],
                }),
                ..settings()
            }),
        ),
    ];
    for (expected, config) in bad {
        let opened = wait(PeerStorage::open(config, secret(1)));
        assert_eq!(field(opened), expected);
    }
    wait(open(dir.path()).shutdown(ENOUGH)).unwrap();
}

#[test]
fn a_secret_is_checked_when_it_is_made_and_says_nothing_of_itself() {
    assert_eq!(field(WalletSecret::from_ldk_seed(vec![7; 31])), "bytes");
    assert_eq!(
        field(WalletSecret::from_ldk_node_seed(vec![7; 32])),
        "bytes"
    );
    let words = |words: &str, passphrase: &str| {
        WalletSecret::from_ldk_node_mnemonic(words.to_owned(), passphrase.to_owned())
    };
    let good = format!("{} about", ["abandon"; 11].join(" "));
    let bad = good.replace("about", "zebra");
    assert_eq!(field(words(&bad, "")), "words");
    assert_eq!(field(words(&"abandon ".repeat(1000), "")), "words");
    let Err(error) = words(&bad, "") else {
        panic!("it was taken")
    };
    let said = format!("{error} {error:?}");
    assert!(
        !said.contains("zebra") && !said.contains("abandon"),
        "{said}"
    );
    let (plain, other) = (words(&good, "").unwrap(), words(&good, "x").unwrap());
    assert_ne!(plain.node_id(), other.node_id());
}

#[test]
fn a_directory_is_that_of_one_wallet_and_one_object() {
    let dir = tempfile::tempdir().unwrap();
    let try_open = |config, byte| wait(PeerStorage::open(config, secret(byte)));
    let expecting_another = OpenConfig {
        expected_node_id: Some(peer(2)),
        ..config(dir.path())
    };
    let opened = try_open(expecting_another, 1);
    assert!(matches!(opened, Err(PeerStorageError::WrongWallet)));
    let first = open(dir.path());
    let second = try_open(config(dir.path()), 1);
    assert!(matches!(second, Err(PeerStorageError::InUse)));
    wait(first.shutdown(ENOUGH)).unwrap();
    let opened = try_open(config(dir.path()), 2);
    assert!(matches!(opened, Err(PeerStorageError::WrongWallet)));
    wait(open(dir.path()).shutdown(ENOUGH)).unwrap();
}

#[test]
fn what_is_wrong_in_a_report_is_named_and_the_report_before_stays() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    storage.report_wallet(report(vec![channel(2)])).unwrap();
    let with = |channel: WalletChannel| report(vec![channel]);
    let outputs = |outputs| WalletReport {
        spendable_outputs: outputs,
        ..report(Vec::new())
    };
    let address = |address: &str| WalletReport {
        peers: vec![WalletPeer {
            node_id: peer(3),
            addresses: vec![address.to_owned()],
        }],
        ..report(Vec::new())
    };
    let text = |text: &str| text.to_owned();
    let bad = [
        (
            "channel_id",
            with(WalletChannel {
                channel_id: text("00"),
                ..channel(2)
            }),
        ),
        (
            "counterparty_node_id",
            with(WalletChannel {
                counterparty_node_id: "05".repeat(33),
                ..channel(2)
            }),
        ),
        (
            "funding_outpoint",
            with(WalletChannel {
                funding_outpoint: Some("00".repeat(32)),
                ..channel(2)
            }),
        ),
        (
            "channel_keys_id",
            with(WalletChannel {
                channel_keys_id: Some(text("0g")),
                ..channel(2)
            }),
        ),
        ("spendable_outputs", outputs(vec![vec![1, 2, 3]])),
        ("spendable_outputs", outputs(vec![vec![0; 100_000]])),
        (
            "keep_backups_at",
            WalletReport {
                keep_backups_at: vec![text("somebody")],
                ..report(Vec::new())
            },
        ),
        ("channels", report(vec![channel(2); 10_001])),
        ("peers", address("")),
        ("peers", address("127.0.0.1")),
        ("peers", address("127.0.0.1:99999")),
        ("peers", address(&format!("{}:9735", "x".repeat(400)))),
    ];
    for (expected, report) in bad {
        assert_eq!(field(storage.report_wallet(report)), expected);
    }
    wait(storage.adopt()).unwrap();
    wait_until("the channel to be in the backup", || {
        storage.status().unwrap().channels == 1
    });

    let nothing = ChannelIds {
        short_channel_id: None,
        funding_outpoint: None,
        channel_id: None,
    };
    assert_eq!(field(wait(storage.channel_swept(nothing))), "channel");
    assert_eq!(field(wait(storage.set_app_data(vec![0; 70_000]))), "data");
    let stranger = vec![WalletPeer {
        node_id: text("x"),
        addresses: Vec::new(),
    }];
    assert_eq!(field(wait(storage.restore(stranger.clone(), 0))), "peers");
    assert_eq!(
        field(wait(storage.sync_with_peers(stranger, false, 0))),
        "peers"
    );
    wait(storage.shutdown(ENOUGH)).unwrap();
}

#[test]
fn what_is_not_allowed_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    let why = |result: Result<(), PeerStorageError>| match result {
        Err(PeerStorageError::NotAllowed { why, .. }) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(why(wait(storage.adopt())), Refusal::NoWallet);
    storage.report_wallet(report(Vec::new())).unwrap();
    assert_eq!(why(wait(storage.adopt())), Refusal::NothingToAdopt);
    let finished = wait(storage.finish_restore()).map(|_| ());
    assert_eq!(why(finished), Refusal::NothingRead);
    wait(storage.declare_new()).unwrap();
    assert_eq!(why(wait(storage.declare_new())), Refusal::PastIsKnown);
    let stay = peer_storage_ffi::alarms::AlarmResolution::StayHeld;
    assert_eq!(
        why(wait(storage.resolve_alarm(9, stay))),
        Refusal::NoSuchAlarm
    );
    wait(storage.shutdown(ENOUGH)).unwrap();
}
