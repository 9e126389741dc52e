use std::sync::Arc;

use peer_storage_ffi::callbacks::CallbackError;
use peer_storage_ffi::chain::ChainAccess;
use peer_storage_ffi::config::{GuestPolicy, OpenConfig, StorageSettings};
use peer_storage_ffi::errors::{PeerStorageError, Refusal};
use peer_storage_ffi::monitors::read_monitor;
use peer_storage_ffi::recovery::{RecoveryConsent, RecoverySettings};
use peer_storage_ffi::relay::{RawMessage, RelayError, RelayListener};
use peer_storage_ffi::secret::WalletSecret;
use peer_storage_ffi::wallet::{ChannelIds, WalletChannel, WalletPeer, WalletReport};

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
        let opened = open_with(config, secret(1));
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
    let try_open = |config, byte| open_with(config, secret(byte));
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
fn a_wallet_is_adopted_as_it_was_last_reported() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let storage = open(dir.path());
        storage.report_wallet(report(Vec::new())).unwrap();
        storage.report_wallet(report(vec![channel(2)])).unwrap();
        wait(storage.adopt()).unwrap();
    }
}

#[test]
fn a_channel_that_was_reported_as_closed_may_drop_out() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    let both = report(vec![channel(2), channel(3)]);
    storage.report_wallet(both).unwrap();
    wait(storage.adopt()).unwrap();
    let closed = WalletChannel {
        is_closed: true,
        ..channel(2)
    };
    let held_after = |channels| {
        storage.report_wallet(report(channels)).unwrap();
        assert!(wait(storage.on_background(ENOUGH)).unwrap().suspended);
        storage.on_foreground();
        wait(storage.wait_until_open()).unwrap();
        storage.status().unwrap().held
    };
    assert!(!held_after(vec![closed, channel(3)]));
    assert!(!held_after(vec![channel(3)]));
    assert!(held_after(Vec::new()));
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

/// What is wrong, as one table: the field that must be named, and what was given.
#[test]
fn whatever_cannot_be_meant_is_an_error_with_the_fields_name() {
    const HUGE: usize = 100_000_000;
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    let text = |text: &str| text.to_owned();
    let mut table = Vec::new();
    let mut row =
        |expected: &'static str, what: &'static str, said: Result<(), PeerStorageError>| {
            table.push((expected, what, said));
        };

    for bytes in [0, 31, 33, 64, HUGE] {
        let seed = WalletSecret::from_ldk_seed(vec![7; bytes]);
        row("bytes", "an LDK seed of another size", seed.map(drop));
    }
    for bytes in [0, 32, 63, 65, HUGE] {
        let seed = WalletSecret::from_ldk_node_seed(vec![7; bytes]);
        row("bytes", "an ldk-node seed of another size", seed.map(drop));
    }
    let words = |words: String, passphrase: String| {
        WalletSecret::from_ldk_node_mnemonic(words, passphrase).map(drop)
    };
    let good = format!("{} about", ["abandon"; 11].join(" "));
    row("words", "no words", words(String::new(), text("")));
    row(
        "words",
        "eleven words",
        words(["abandon"; 11].join(" "), text("")),
    );
    row(
        "words",
        "a book",
        words("abandon ".repeat(HUGE / 8), text("")),
    );
    row("passphrase", "a long one", words(good, "x".repeat(2_000)));

    let opening = |config: OpenConfig| open_with(config, secret(1)).map(drop);
    let expecting = |node_id: String| OpenConfig {
        expected_node_id: Some(node_id),
        ..config(dir.path())
    };
    for (what, node_id) in [
        ("no node id", text("")),
        ("a byte less", "02".repeat(32)),
        ("a byte more", "02".repeat(34)),
        ("half a byte", "02".repeat(32) + "0"),
        ("no hex", "0x".repeat(33)),
        ("no point of the curve", "05".repeat(33)),
        ("no ASCII", "ä".repeat(33)),
    ] {
        row("expected_node_id", what, opening(expecting(node_id)));
    }

    let reported = |channel: WalletChannel| storage.report_wallet(report(vec![channel]));
    for (what, id) in [
        ("no id", text("")),
        ("31 bytes", "00".repeat(31)),
        ("33 bytes", "00".repeat(33)),
        ("no hex", "zz".repeat(32)),
    ] {
        let channel_id = id.clone();
        let in_report = WalletChannel {
            channel_id,
            ..channel(2)
        };
        row("channel_id", what, reported(in_report));
        let channel_keys_id = Some(id.clone());
        let in_report = WalletChannel {
            channel_keys_id,
            ..channel(2)
        };
        row("channel_keys_id", what, reported(in_report));
        let swept = ChannelIds {
            short_channel_id: None,
            funding_outpoint: None,
            channel_id: Some(id),
        };
        row("channel", what, wait(storage.channel_swept(swept)));
    }
    for (what, outpoint) in [
        ("no outpoint", text("")),
        ("no index", "00".repeat(32)),
        ("an index that is none", "00".repeat(32) + ":-1"),
        ("an index beyond 32 bits", "00".repeat(32) + ":4294967296"),
        ("a short id", "00".repeat(31) + ":0"),
    ] {
        let in_report = WalletChannel {
            funding_outpoint: Some(outpoint.clone()),
            ..channel(2)
        };
        row("funding_outpoint", what, reported(in_report));
        let swept = ChannelIds {
            short_channel_id: Some(1),
            funding_outpoint: Some(outpoint),
            channel_id: None,
        };
        row("channel", what, wait(storage.channel_swept(swept)));
    }
    let monitored = WalletChannel {
        monitor: Some(vec![0; HUGE]),
        ..channel(2)
    };
    row("monitor", "100 MB of monitor", reported(monitored));
    for (what, monitor) in [("no monitor", Vec::new()), ("zeros", vec![0; 5_000])] {
        row(
            "monitor",
            what,
            wait(read_monitor(secret(1), monitor)).map(drop),
        );
    }
    let huge = wait(read_monitor(secret(1), vec![0; HUGE]));
    row("monitor", "100 MB of monitor", huge.map(drop));
    row(
        "data",
        "100 MB of data",
        wait(storage.set_app_data(vec![0; HUGE])),
    );
    row(
        "data",
        "a byte too much",
        wait(storage.set_app_data(vec![0; 65_532])),
    );

    let settings = || RecoverySettings { stay_ms: 0 };
    let esplora = |url: &str, proxy: Option<&str>| {
        let chain = ChainAccess::Esplora {
            url: url.to_owned(),
            proxy: proxy.map(str::to_owned),
        };
        storage.start_recovery(chain, settings(), None).map(drop)
    };
    let url = "https://example.org/api";
    row("url", "no URL", esplora("", None));
    row("url", "another scheme", esplora("ftp://example.org", None));
    row(
        "url",
        "a query",
        esplora("https://example.org/api?x=1", None),
    );
    row("url", "a long one", esplora(&"x".repeat(HUGE), None));
    row(
        "proxy",
        "no proxy",
        esplora(url, Some("ftp://127.0.0.1:21")),
    );
    row(
        "proxy",
        "one that looks names up here",
        esplora(url, Some("socks5://127.0.0.1:9050")),
    );
    row(
        "proxy",
        "a long one",
        esplora(url, Some(&"x".repeat(3_000))),
    );

    let source = Arc::new(EmptyChain(Box::new(|| {})));
    let chain = ChainAccess::Host { source };
    let recovery = storage.start_recovery(chain, settings(), None).unwrap();
    let agreed = |sweep_to: &str, channels: Vec<ChannelIds>| {
        let consent = RecoveryConsent {
            channels,
            sweep_to: sweep_to.to_owned(),
            fee_rate_sat_per_kwu: 1_000,
            highest_fee_rate_sat_per_kwu: 5_000,
            old_device_is_gone: true,
            closes_channels_without_keys: false,
            goes_on_without_unheard_peers: false,
        };
        wait(recovery.agree(1, consent))
    };
    let none = || ChannelIds {
        short_channel_id: None,
        funding_outpoint: None,
        channel_id: None,
    };
    let of_mainnet = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
    let of_testnet = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx";
    let ours = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    row(
        "sweep_to",
        "of the main network",
        agreed(of_mainnet, Vec::new()),
    );
    row(
        "sweep_to",
        "of a test network",
        agreed(of_testnet, Vec::new()),
    );
    row("sweep_to", "no address", agreed("me", Vec::new()));
    row(
        "sweep_to",
        "a long one",
        agreed(&"b".repeat(HUGE), Vec::new()),
    );
    row("channels", "one that is none", agreed(ours, vec![none()]));
    row("channels", "too many", agreed(ours, vec![none(); 10_001]));
    row("channel", "none", wait(recovery.give_up(none(), None)));
    let by_scid = ChannelIds {
        short_channel_id: Some(u64::MAX),
        ..none()
    };
    let given_up = wait(recovery.give_up(by_scid, Some(text("peer"))));
    row("peer", "no node id", given_up);
    let stranger = vec![WalletPeer {
        node_id: peer(2),
        addresses: vec![text("127.0.0.1:1"); 33],
    }];
    row(
        "peers",
        "too many addresses",
        wait(recovery.plan(stranger, 0)).map(drop),
    );

    let failed: Vec<_> = table
        .into_iter()
        .filter_map(|(expected, what, said)| match said {
            Err(PeerStorageError::InvalidInput { field, .. }) if field == expected => None,
            Err(error) => Some(format!("{expected}: {what}: {error}")),
            Ok(()) => Some(format!("{expected}: {what}: taken")),
        })
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
    drop(recovery);
    wait(storage.shutdown(ENOUGH)).unwrap();
}

#[test]
fn a_relay_names_what_it_cannot_take() {
    struct Deaf;
    impl RelayListener for Deaf {
        fn on_steps_waiting(&self) -> Result<(), CallbackError> {
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    let relay = storage.message_relay(Arc::new(Deaf)).unwrap();
    let message = |kind, bytes: usize| RawMessage {
        kind,
        payload: vec![7; bytes],
    };
    let features = relay.init_features(vec![0, 0]).unwrap();
    let connect = |peer: String| relay.peer_connected(peer, features.clone(), true, Vec::new());
    connect(peer(2)).unwrap();

    let invalid = |field: &str, said: Result<(), RelayError>| match said {
        Err(RelayError::InvalidInput { field: named, .. }) => assert_eq!(named, field),
        other => panic!("{field}: {other:?}"),
    };
    let nobody = || "05".repeat(33);
    invalid("peer", connect(nobody()));
    invalid("peer", relay.peer_disconnected(nobody()));
    invalid("peer", relay.message_received(nobody(), message(136, 0)));
    invalid("peer", relay.node_sends(nobody(), message(136, 0)));
    invalid("peer", relay.node_disconnects(nobody()));
    let logged = relay.node_logged("x".into(), Some(nobody()), "y".into());
    invalid("peer", logged);
    for bad in [vec![], vec![0], vec![0, 9]] {
        invalid("features", relay.init_features(bad.clone()).map(drop));
        invalid("features", relay.node_features(bad).map(drop));
    }
    let too_many = relay.may_publish(vec![Vec::new(); 1_001]);
    invalid("transactions", too_many.map(drop));
    let too_large = relay.may_publish(vec![vec![0; 100_000_000]]);
    invalid("transactions", too_large.map(drop));

    // Types that nobody knows, and messages that are cut or beyond all measure.
    for kind in [1_000, 32_769, u16::MAX] {
        let said = relay.message_received(peer(2), message(kind, 4));
        assert_eq!(said, Err(RelayError::NotForTheRelay { kind }));
        let said = relay.node_sends(peer(2), message(kind, 4));
        assert_eq!(said, Err(RelayError::NotForTheRelay { kind }));
    }
    for bytes in [0, 31, 100_000_000] {
        let said = relay.message_received(peer(2), message(136, bytes));
        assert_eq!(said, Err(RelayError::Unreadable { kind: 136 }), "{bytes}");
    }
    let said = relay.message_received(peer(3), message(136, 0));
    assert_eq!(said, Err(RelayError::NotConnected));
    relay.peer_disconnected(peer(2)).unwrap();
    drop(relay);
    wait(storage.shutdown(ENOUGH)).unwrap();
}

/// The greatest numbers are taken for what they are, and nothing overflows.
#[test]
fn no_number_is_too_great() {
    let dir = tempfile::tempdir().unwrap();
    let endless = OpenConfig {
        linger_ms: u64::MAX,
        ..config(dir.path())
    };
    let storage = open_with(endless, secret(1)).unwrap();
    let greatest = WalletChannel {
        short_channel_id: Some(u64::MAX),
        confirmations: Some(u32::MAX),
        value_sat: u64::MAX,
        state_stamp: u64::MAX,
        ..channel(2)
    };
    let other = WalletChannel {
        value_sat: u64::MAX,
        ..channel(3)
    };
    let wallet = WalletReport {
        earliest_htlc_expiry: Some(u32::MAX),
        ..report(vec![greatest, other])
    };
    storage.report_wallet(wallet).unwrap();
    storage.report_tip(u32::MAX);
    wait(storage.adopt()).unwrap();
    wait_until("the channels to be in the backup", || {
        storage.status().unwrap().channels == 2
    });
    let source = Arc::new(EmptyChain(Box::new(|| {})));
    let settings = RecoverySettings { stay_ms: u64::MAX };
    let recovery = storage
        .start_recovery(ChainAccess::Host { source }, settings, None)
        .unwrap();
    assert!(!wait(recovery.is_begun()).unwrap());
    drop(wait(storage.sync_with_peers(Vec::new(), true, u64::MAX)));
    drop(wait(storage.check_before_node_start(u64::MAX)).unwrap());
    wait(storage.event_handled(u64::MAX)).unwrap();
    drop(wait(storage.on_background(0)).unwrap());
    assert!(wait(storage.shutdown(u64::MAX)).unwrap().closed);
}
