//! What was acknowledged is there after kill -9, and a directory has one owner among processes.
//!
//! The children are this test program again, told by the environment what to do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod store_support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ldk_peer_storage::exchange::Event;
use ldk_peer_storage::exchange::Record;
use ldk_peer_storage::store::{move_aside, StoreError};
use store_support::*;

const DIRECTORY: &str = "STORE_TEST_DIRECTORY";
const FIRST: &str = "STORE_TEST_FIRST";
const PEERS: u64 = 8;

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("data");
    let mut next = 1;
    let mut acknowledged = BTreeMap::new();
    let mut before_the_first = 0;
    for round in 0..20u64 {
        // Every other child is killed very early, while it opens or even creates the directory.
        let enough = if round % 2 == 0 { 40 + round } else { 0 };
        let mut child = spawn("child_writes", &dir, next);
        if enough == 0 {
            std::thread::sleep(Duration::from_millis(3 * round));
        }
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut count = 0;
        while count < enough {
            let line = lines.next().expect("the child lives").unwrap();
            count += u64::from(note(&line, &mut acknowledged));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died counts as well.
        for line in lines.map_while(Result::ok) {
            count += u64::from(note(&line, &mut acknowledged));
        }
        before_the_first += u64::from(count == 0);

        let (store, state) = open(&dir);
        for (peer, number) in &acknowledged {
            let blob_of = store
                .slot(&node(*peer))
                .unwrap()
                .expect("an acknowledged slot");
            let found = u64::from_le_bytes(blob_of[..8].try_into().unwrap());
            assert!(
                found >= *number,
                "peer {peer} has {found}, acknowledged was {number}"
            );
            assert_eq!(blob_of, &*blob(found, len_of(found)));
            next = next.max(found + 1);
        }
        let highest = acknowledged.values().max().copied().unwrap_or(0);
        let seen = state.highest_seen.generation;
        assert!(seen >= highest);
        // All records of a submission, or none.
        assert_eq!(
            state
                .snapshot
                .map_or(0, |snapshot| snapshot.revision.generation),
            seen
        );
        let events: i64 = raw(&dir)
            .query_row("SELECT count(*) FROM events", [], |row| row.get(0))
            .unwrap();
        assert_eq!(events as u64, seen);
        next = next.max(seen + 1);
        store.close();
        assert_eq!(integrity_check(&dir), "ok");
    }
    println!(
        "20 kills, {before_the_first} before anything was acknowledged; {} submissions acknowledged",
        next - 1
    );
    assert!(acknowledged.len() as u64 == PEERS);
}

#[test]
fn another_process_is_locked_out_until_the_owner_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = spawn("child_writes", dir.path(), 1);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while !note(&lines.next().unwrap().unwrap(), &mut BTreeMap::new()) {}

    assert_eq!(try_open(dir.path()).unwrap_err(), StoreError::Locked);
    assert_eq!(move_aside(dir.path()).unwrap_err(), StoreError::Locked);
    child.kill().unwrap();
    child.wait().unwrap();
    let (store, _) = open(dir.path());

    let mut output = String::new();
    let mut child = spawn("child_opens", dir.path(), 1);
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut output)
        .unwrap();
    child.wait().unwrap();
    assert!(output.contains("opened: Locked"), "{output}");
    drop(store);

    let mut output = String::new();
    let mut child = spawn("child_opens", dir.path(), 1);
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut output)
        .unwrap();
    child.wait().unwrap();
    assert!(output.contains("opened: well"), "{output}");
}

/// Not a test of its own: submits as fast as it can, and says what was acknowledged, until killed.
#[test]
#[ignore = "run by the tests above in a process of its own"]
fn child_writes() {
    let Some(dir) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let (store, _) = open(Path::new(&dir));
    // Bounded, should the parent die.
    for number in first..first + 20_000 {
        let revision = revision(0, number);
        let records = vec![
            slot(number % PEERS, number, len_of(number)),
            Record::HighestSeen(revision),
            Record::Snapshot(snapshot(revision, 1)),
            // Each says something else: one that waits is not stored again.
            Record::Event(Event::NotBackedUp {
                newest: Some(revision),
            }),
        ];
        store.submit(records, move |result| {
            result.unwrap();
            println!("\nacknowledged {number}");
        });
        if number % 16 == 0 {
            store.flush(Duration::from_secs(60));
        }
    }
}

/// Not a test of its own: says whether it can open the directory.
#[test]
#[ignore = "run by the tests above in a process of its own"]
fn child_opens() {
    let Some(dir) = std::env::var_os(DIRECTORY) else {
        return;
    };
    match try_open(Path::new(&dir)) {
        Ok(_) => println!("\nopened: well"),
        Err(error) => println!("\nopened: {error:?}"),
    }
}

fn len_of(number: u64) -> usize {
    8 + (number * 7919 % 60_000) as usize
}

fn spawn(child: &str, dir: &Path, first: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", child, "--ignored", "--nocapture"])
        .env(DIRECTORY, dir)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn note(line: &str, acknowledged: &mut BTreeMap<u64, u64>) -> bool {
    let Some(number) = line
        .strip_prefix("acknowledged ")
        .and_then(|n| n.parse::<u64>().ok())
    else {
        return false;
    };
    let newest = acknowledged.entry(number % PEERS).or_insert(number);
    *newest = number.max(*newest);
    true
}
