//! A data directory that cannot be used is a clear error, and one that fails for a while loses
//! nothing: the node's channels go on, and the backup follows when there is space again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "bad_directory/full_disk.rs"]
mod full_disk;
#[path = "support/mod.rs"]
mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bitcoin::Network;
use ldk_peer_storage::exchange::{Past, PastError};
use ldk_peer_storage::service::{Config, OpenError, PeerStorage};
use ldk_peer_storage::store::{move_aside, StoreError};
use lightning::sign::KeysManager;

const DATABASE: &str = "peer-storage.sqlite";
/// Names the directory that a second process is to open.
const CHILD: &str = "PEER_STORAGE_TEST_DIRECTORY";

fn open(dir: &Path) -> Result<PeerStorage, OpenError> {
    PeerStorage::open(
        Config::new(dir, Network::Regtest),
        &KeysManager::new(&[5; 32], 0, 0, true),
    )
}

fn refusal(dir: &Path) -> StoreError {
    match open(dir) {
        Err(OpenError::Store(error)) => error,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("it opened"),
    }
}

/// A directory that knows its past, closed.
fn used(dir: &Path) {
    let storage = open(dir).unwrap();
    storage.declare_new().unwrap();
    assert!(storage.close(Duration::from_secs(10)).complete);
}

fn database(dir: &Path) -> Vec<u8> {
    std::fs::read(dir.join(DATABASE)).unwrap()
}

#[test]
fn a_damaged_database_is_refused_left_alone_and_moved_aside_only_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    used(dir.path());
    let mut bytes = database(dir.path());
    let half = bytes.len() / 2;
    bytes[half..].fill(0x5a);
    std::fs::write(dir.path().join(DATABASE), &bytes).unwrap();

    assert!(matches!(refusal(dir.path()), StoreError::Corrupt(_)));
    assert!(
        matches!(refusal(dir.path()), StoreError::Corrupt(_)),
        "and again"
    );
    assert!(database(dir.path()) == bytes, "left alone");

    let aside = move_aside(dir.path()).unwrap();
    let storage = open(dir.path()).unwrap();
    assert_eq!(storage.status().backup.past, Past::Unknown);
    assert_eq!(storage.finish_restore().err(), Some(PastError::NothingRead));
    storage.close(Duration::from_secs(10));
    let kept = std::fs::read(aside).unwrap();
    assert!(kept == bytes, "moved, not deleted");
}

#[test]
fn a_directory_of_a_later_version_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    used(dir.path());
    let raw = rusqlite::Connection::open(dir.path().join(DATABASE)).unwrap();
    let known: i64 = raw
        .pragma_query_value(None, "user_version", |r| r.get(0))
        .unwrap();
    raw.pragma_update(None, "user_version", known + 1).unwrap();
    raw.close().unwrap();
    let before = database(dir.path());
    let expected = StoreError::NewerSchema {
        found: known + 1,
        known,
    };
    assert_eq!(refusal(dir.path()), expected);
    assert!(database(dir.path()) == before);
}

#[test]
fn another_node_s_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    used(dir.path());
    let other = KeysManager::new(&[6; 32], 0, 0, true);
    let opened = PeerStorage::open(Config::new(dir.path(), Network::Regtest), &other);
    let wrong = |opened: Result<PeerStorage, OpenError>| {
        matches!(opened, Err(OpenError::Store(StoreError::WrongNode)))
    };
    assert!(wrong(opened));
    let same = KeysManager::new(&[5; 32], 0, 0, true);
    assert!(wrong(PeerStorage::open(
        Config::new(dir.path(), Network::Signet),
        &same
    )));
}

#[test]
fn a_second_opener_in_this_or_another_process_is_refused_and_the_first_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    assert_eq!(refusal(dir.path()), StoreError::Locked);
    assert_eq!(open_in_another_process(dir.path()), "Some(Locked)");
    first.declare_new().unwrap();
    assert!(first.close(Duration::from_secs(10)).complete);
    // Closed, though not dropped: the next one may open it, and keeps this process out.
    assert_eq!(open_in_another_process(dir.path()), "None");
    let again = open(dir.path()).unwrap();
    assert_eq!(again.status().backup.past, Past::Known);
    drop(first);
    assert_eq!(refusal(dir.path()), StoreError::Locked);
}

fn open_in_another_process(dir: &Path) -> String {
    let this = std::env::current_exe().unwrap();
    let output = Command::new(this)
        .args(["--exact", "the_second_process", "--nocapture"])
        .env(CHILD, dir)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let said = text.lines().find_map(|line| line.split_once("OPENED "));
    said.expect("it says what came of it").1.to_owned()
}

/// Does nothing but as that.
#[test]
fn the_second_process() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    let error = match open(Path::new(&dir)) {
        Ok(_) => None,
        Err(OpenError::Store(error)) => Some(error),
        Err(other) => panic!("another error: {other}"),
    };
    println!("OPENED {error:?}");
}
