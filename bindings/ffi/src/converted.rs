//! What a conversion might mix up: each word stays the same word, and each number stands where it belongs.

use std::fmt::Debug;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use bitcoin::Network;
use ldk_peer_storage::backup::{self, ContentHash, InstallationId, Tier};
use ldk_peer_storage::exchange::{self, AlarmId, Evidence, Health, PastError, ResolveError};
use ldk_peer_storage::exchange::{Resolution, Sent, Time};
use ldk_peer_storage::lifecycle::{self, LifeState, Unavailable};
use ldk_peer_storage::recovery::{self as core, ConsentError};
use ldk_peer_storage::recovery::{chain::ChainError, RecoveryError};
use ldk_peer_storage::session::{self, PeerReport};
use ldk_peer_storage::store::StoreError;

use crate::alarms::{AlarmEvidence, AlarmKind, AlarmResolution, StorageAlarm};
use crate::config::BitcoinNetwork;
use crate::errors::{Obstacle, PeerStorageError, Refusal, StorageFailure};
use crate::recovery_events::{event, RecoveryEvent, WhyLeft};
use crate::recovery_progress::{ChannelStage, RecoveryProgress};
use crate::reports::{Hindrance, WhyUnknown};
use crate::status::{Activity, BackupHealth, Past, SentBackup};
use crate::visits::{NotReached, PeerVisit, RestoreAnswer, ReturnedBackup, VisitOutcome};
use crate::wallet::{ChannelKind, ChannelPhase};

fn word(named: &impl Debug) -> String {
    let text = format!("{named:?}");
    text.chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect()
}

fn same<A: Debug + Clone, B: Debug + From<A>>(all: &[A]) {
    for one in all {
        assert_eq!(word(&B::from(one.clone())), word(one));
    }
}

fn node() -> PublicKey {
    "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
        .parse()
        .unwrap()
}

fn revision(generation: u64) -> backup::Revision {
    backup::Revision {
        epoch: 3,
        generation,
    }
}

#[test]
fn words_are_the_same_on_both_sides() {
    same::<_, BackupHealth>(&[
        Health::NothingSent,
        Health::Sent,
        Health::Verified,
        Health::Lagging,
        Health::Overdue,
        Health::RolledBack,
        Health::Missing,
        Health::Unreadable,
        Health::Conflict,
        Health::Refused,
    ]);
    use session::NotReached as Miss;
    same::<_, NotReached>(&[
        Miss::OutOfTime,
        Miss::NoAddress,
        Miss::NeedsTor,
        Miss::Unreachable,
        Miss::TimedOut,
        Miss::HandshakeFailed,
        Miss::Incompatible,
        Miss::Refused,
    ]);
    use session::Returned;
    same::<_, ReturnedBackup>(&[
        Returned::Backup(revision(1)),
        Returned::Unreadable,
        Returned::Nothing,
        Returned::NothingInTime,
    ]);
    same::<_, Activity>(&[
        LifeState::Active,
        LifeState::Draining,
        LifeState::Suspended,
        LifeState::Closed,
    ]);
    let obstacles = [
        lifecycle::Obstacle::NoNetwork,
        lifecycle::Obstacle::HostNodeRuns,
        lifecycle::Obstacle::PaymentInFlight,
    ];
    same::<_, Obstacle>(&obstacles);
    same::<_, Hindrance>(&[
        Obstacle::NoNetwork,
        Obstacle::HostNodeRuns,
        Obstacle::PaymentInFlight,
        Obstacle::Busy,
    ]);
    use lifecycle::WhyUnknown as Why;
    same::<_, WhyUnknown>(&[
        Why::NotReported,
        Why::NoPeers,
        Why::NobodyReached,
        Why::NothingReturned,
        Why::OnlyOlder,
        Why::StillConnected,
    ]);
    same::<_, Past>(&[exchange::Past::Unknown, exchange::Past::Known]);
    same::<_, ChannelPhase>(&[
        backup::ChannelPhase::Opening,
        backup::ChannelPhase::Ready,
        backup::ChannelPhase::Closing,
    ]);
    same::<_, backup::ChannelKind>(&[
        ChannelKind::Anchors,
        ChannelKind::StaticRemoteKey,
        ChannelKind::Other,
    ]);
    same::<_, Resolution>(&[
        AlarmResolution::Recover,
        AlarmResolution::StayHeld,
        AlarmResolution::ThisDeviceIsCurrent,
    ]);
    same::<_, Network>(&[
        BitcoinNetwork::Bitcoin,
        BitcoinNetwork::Testnet,
        BitcoinNetwork::Testnet4,
        BitcoinNetwork::Signet,
        BitcoinNetwork::Regtest,
    ]);
}

#[test]
fn every_trouble_is_an_error_with_its_own_name_and_a_hindrance_with_it() {
    let text = || "why".to_owned();
    use StoreError as S;
    let storage = |failure: StorageFailure| format!("Storage {failure:?}");
    let table = [
        (
            Unavailable::Suspended,
            "Suspended".to_owned(),
            Hindrance::Suspended,
        ),
        (Unavailable::Closed, "Closed".to_owned(), Hindrance::Closed),
        (
            Unavailable::Obstacle(lifecycle::Obstacle::HostNodeRuns),
            "NotNow".to_owned(),
            Hindrance::HostNodeRuns,
        ),
        (
            Unavailable::Past(PastError::Known),
            "NotAllowed".to_owned(),
            Hindrance::Failed,
        ),
        (
            Unavailable::Failed(text()),
            "Internal".to_owned(),
            Hindrance::Failed,
        ),
        (
            Unavailable::Storage(S::Locked),
            "InUse".to_owned(),
            Hindrance::InUse,
        ),
        (
            Unavailable::Storage(S::Inaccessible(text())),
            "Locked".to_owned(),
            Hindrance::Locked,
        ),
        (
            Unavailable::Storage(S::Corrupt(text())),
            "Corrupt".to_owned(),
            Hindrance::Damaged,
        ),
        (
            Unavailable::Storage(S::WrongNode),
            "WrongWallet".to_owned(),
            Hindrance::WrongWallet,
        ),
        (
            Unavailable::Storage(S::DiskFull),
            storage(StorageFailure::NoSpace),
            Hindrance::StorageFailed,
        ),
        (
            Unavailable::Storage(S::ReadOnly),
            storage(StorageFailure::ReadOnly),
            Hindrance::StorageFailed,
        ),
        (
            Unavailable::Storage(S::Io(text())),
            storage(StorageFailure::Other),
            Hindrance::StorageFailed,
        ),
        (
            Unavailable::Storage(S::Closed),
            "Suspended".to_owned(),
            Hindrance::Suspended,
        ),
        (
            Unavailable::NotDurable(Some(S::DiskFull)),
            "NotDurable Some(NoSpace)".to_owned(),
            Hindrance::StorageFailed,
        ),
        (
            Unavailable::NotDurable(None),
            "NotDurable None".to_owned(),
            Hindrance::StorageFailed,
        ),
    ];
    for (trouble, name, hindrance) in table {
        assert_eq!(Hindrance::from(trouble.clone()), hindrance, "{trouble}");
        let error = PeerStorageError::from(trouble);
        let named = match &error {
            PeerStorageError::Storage { failure, .. } => storage(*failure),
            PeerStorageError::NotDurable { failure, .. } => format!("NotDurable {failure:?}"),
            other => word(other),
        };
        assert_eq!(named, name, "{error}");
    }
    let failures = [
        (S::DiskFull, StorageFailure::NoSpace),
        (S::ReadOnly, StorageFailure::ReadOnly),
        (S::Inaccessible(text()), StorageFailure::Unreadable),
        (S::Corrupt(text()), StorageFailure::Damaged),
        (S::Io(text()), StorageFailure::Other),
    ];
    for (error, failure) in failures {
        assert_eq!(StorageFailure::from(&error), failure);
    }
}

#[test]
fn every_refusal_says_what_is_missing() {
    let table: [(PeerStorageError, Refusal); 11] = [
        (PastError::Known.into(), Refusal::PastIsKnown),
        (PastError::NotNew.into(), Refusal::NotNew),
        (PastError::NothingRead.into(), Refusal::NothingRead),
        (PastError::NoWallet.into(), Refusal::NoWallet),
        (ResolveError::Unknown.into(), Refusal::NoSuchAlarm),
        (ResolveError::ProvedStale.into(), Refusal::ProvedStale),
        (
            ConsentError::OldDeviceMayLive.into(),
            Refusal::OldDeviceMayLive,
        ),
        (ConsentError::KeysUnknown.into(), Refusal::KeysUnknown),
        (ConsentError::NoChannel.into(), Refusal::NoChannel),
        (ConsentError::UnknownChannel.into(), Refusal::NoSuchChannel),
        (RecoveryError::Journal.into(), Refusal::JournalUnreadable),
    ];
    for (error, refusal) in table {
        match error {
            PeerStorageError::NotAllowed { why, .. } => assert_eq!(why, refusal),
            other => panic!("{refusal:?}: {other}"),
        }
    }
    let other_wallets: [PeerStorageError; 2] = [
        ConsentError::OtherWallet.into(),
        RecoveryError::OtherNode.into(),
    ];
    assert!(other_wallets
        .iter()
        .all(|e| *e == PeerStorageError::WrongWallet));
}

/// Another try helps against a source that is away; against one that lies, only another source.
#[test]
fn what_the_chain_source_said_tells_whether_another_try_helps() {
    let table = [
        (ChainError::unreachable("away"), true),
        (ChainError::rejected("no"), true),
        (ChainError::invalid("a lie"), false),
        (ChainError::TooMany { limit: 3 }, false),
        (ChainError::WrongChain, false),
    ];
    for (error, passes) in table {
        assert_eq!(
            RecoveryError::Chain(error.clone()).may_pass(),
            passes,
            "{error}"
        );
        match PeerStorageError::from(error) {
            PeerStorageError::Chain { may_pass, .. } => assert_eq!(may_pass, passes),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn numbers_of_an_alarm_stand_where_they_belong() {
    let channel = backup::ChannelIds {
        short_channel_id: Some(7),
        ..backup::ChannelIds::default()
    };
    let alarm = |kind| {
        StorageAlarm::from(exchange::Alarm {
            id: AlarmId(4),
            raised_at: Time(5_000),
            kind,
            earliest_htlc_expiry: Some(6),
            recovering: true,
        })
    };
    let stale = alarm(exchange::AlarmKind::StaleState {
        peer: Some(node()),
        evidence: Evidence::StampAhead {
            channel,
            backup: 9,
            live: 8,
        },
    });
    assert_eq!((stale.id, stale.raised_at), (4, 5));
    assert!(stale.holds && stale.recovering);
    assert_eq!(stale.earliest_htlc_expiry, Some(6));
    let AlarmKind::StaleState {
        peer: Some(peer),
        evidence:
            AlarmEvidence::StampAhead {
                channel,
                backup_stamp,
                live_stamp,
            },
    } = stale.kind
    else {
        panic!("another kind")
    };
    assert_eq!(
        (peer, channel.short_channel_id),
        (node().to_string(), Some(7))
    );
    assert_eq!((backup_stamp, live_stamp), (9, 8));
    let rolled_back = alarm(exchange::AlarmKind::StorerRolledBack {
        peer: node(),
        returned: revision(1),
        before: revision(2),
    });
    assert!(!rolled_back.holds);
    let AlarmKind::StorerRolledBack {
        returned, before, ..
    } = rolled_back.kind
    else {
        panic!("another kind")
    };
    assert_eq!((returned.generation, before.generation), (1, 2));
    let lost = alarm(exchange::AlarmKind::StorerLostBackup { peer: node() });
    assert!(!lost.holds && matches!(lost.kind, AlarmKind::StorerLostBackup { .. }));
}

#[test]
fn numbers_of_visits_and_answers_stand_where_they_belong() {
    let visit = |delivered, verified| {
        PeerVisit::from(PeerReport {
            peer: node(),
            outcome: Ok(session::Visit {
                returned: session::Returned::Backup(revision(1)),
                sent: Some(revision(2)),
                delivered,
                verified,
                channels: Vec::new(),
            }),
        })
    };
    for (is_delivered, is_verified) in [(true, false), (false, true)] {
        let VisitOutcome::Visited {
            returned: ReturnedBackup::Backup { revision },
            sent: Some(sent),
            delivered,
            verified,
        } = visit(is_delivered, is_verified).outcome
        else {
            panic!("not visited")
        };
        assert_eq!((revision.generation, sent.generation), (1, 2));
        assert_eq!((revision.epoch, sent.epoch), (3, 3));
        assert_eq!((delivered, verified), (is_delivered, is_verified));
    }
    let sent = |tier| {
        SentBackup::from(Sent {
            revision: revision(2),
            tier,
            content: ContentHash([0; 16]),
            at: Time(9_000),
        })
    };
    assert!(sent(Tier::Full).whole && !sent(Tier::Essential).whole);
    assert_eq!(sent(Tier::Full).at, 9);
    for (newest, conflicts) in [(true, false), (false, true)] {
        let answer = RestoreAnswer::from(exchange::Answer {
            peer: node(),
            revision: revision(4),
            installation: InstallationId([5; 8]),
            channels: 6,
            newest,
            conflicts,
        });
        assert_eq!((answer.is_newest, answer.conflicts), (newest, conflicts));
        assert_eq!((answer.revision.generation, answer.channels), (4, 6));
        assert_eq!(answer.installation, "05".repeat(8));
    }
}

#[test]
fn numbers_of_a_recovery_stand_where_they_belong() {
    let progress = RecoveryProgress::from(core::Progress {
        channels: Vec::new(),
        kept: Vec::new(),
        found_sat: 1,
        recovered_sat: 2,
        fees_sat: 3,
        left_sat: 4,
        too_dear_sat: 5,
        other_closes: 6,
        trouble: None,
        done: true,
        next_round_in: Duration::from_millis(7),
    });
    let sats = (
        progress.found_sat,
        progress.recovered_sat,
        progress.fees_sat,
    );
    assert_eq!(sats, (1, 2, 3));
    assert_eq!((progress.left_sat, progress.too_dear_sat), (4, 5));
    assert_eq!((progress.other_closes, progress.next_round_in_ms), (6, 7));
    assert!(progress.done && progress.trouble.is_none());

    let txid: bitcoin::Txid = "07".repeat(32).parse().unwrap();
    let is = |stage: core::Stage, expected: fn(&ChannelStage) -> bool| {
        assert!(expected(&stage.into()));
    };
    is(core::Stage::Open, |s| matches!(s, ChannelStage::Open));
    is(core::Stage::Closing(txid), |s| {
        matches!(s, ChannelStage::Closing { .. })
    });
    is(core::Stage::Closed(txid), |s| {
        matches!(s, ChannelStage::Closed { .. })
    });
    is(core::Stage::Swept(txid), |s| {
        matches!(s, ChannelStage::Swept { .. })
    });
    is(core::Stage::NothingOfOurs(txid), |s| {
        matches!(s, ChannelStage::NothingOfOurs { .. })
    });
    is(core::Stage::Over, |s| matches!(s, ChannelStage::Over));

    let sweeping = core::RecoveryEvent::Sweeping {
        txid,
        sat: 1,
        fee_sat: 2,
        raised: true,
    };
    let Some(RecoveryEvent::Sweeping {
        amount_sat,
        fee_sat,
        raised,
        ..
    }) = event(&sweeping)
    else {
        panic!("another event")
    };
    assert!((amount_sat, fee_sat, raised) == (1, 2, true));
    for (why, expected) in [
        (core::WhyLeft::TooSmall, WhyLeft::TooSmall),
        (core::WhyLeft::NotInChain, WhyLeft::NotInChain),
        (core::WhyLeft::NoKey, WhyLeft::NoKey),
    ] {
        let left = event(&core::RecoveryEvent::Left { sat: 9, why });
        let Some(RecoveryEvent::Left { amount_sat, why }) = left else {
            panic!("another event")
        };
        assert!(amount_sat == 9 && why == expected);
    }
}
