//! What a suspended app still has: seen from the system. The children are this test program again, told
//! by the environment what to do, so that no other test's threads and files are beside theirs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ldk_peer_storage::lifecycle::{Lifecycle, Unavailable};
use testkit::{wait_until, DEADLINE};

use crate::stage::{assert_free, config, keys, record, without_channels, Keeper, LONG};

const DIRECTORY: &str = "LIFECYCLE_TEST_DIRECTORY";
const KEEPER: &str = "LIFECYCLE_TEST_KEEPER";

#[test]
fn a_suspended_app_has_no_thread_no_socket_no_file_and_no_lock() {
    run_child("child_suspends");
}

#[test]
fn two_hundred_lives_leave_no_thread_and_no_file_behind() {
    run_child("child_lives_and_dies");
}

/// Not a test by itself: a child.
#[test]
fn child_suspends() {
    let Some(stage) = Stage::of_a_child() else {
        return;
    };
    let life = stage.open();
    life.durably(|storage| storage.declare_new())
        .unwrap()
        .unwrap();
    let threads_before = threads();
    for round in 0..5u8 {
        let listener = life.clone();
        let subscription = life.subscribe(move || drop(listener.status()));
        life.on_foreground();
        life.durably(|storage| storage.set_app_data(vec![round; 2_000]))
            .unwrap();
        life.report_wallet(without_channels(&[record(stage.id, stage.keeper)]));
        if round % 2 == 0 {
            wait_until("a visit", DEADLINE, || {
                life.status().storage.backup.sent_to > 0
            });
        }
        assert!(!ours(&threads()).is_empty(), "it is seen while it lives");
        assert!(!open_files(&stage.dir).is_empty());
        let report = life.on_background(LONG);
        assert!(report.suspended && report.drained, "{report:?}");
        // At once: nothing is waited for here.
        let files = open_files(&stage.dir);
        assert_eq!(left_of_ours(), [""; 0]);
        assert_eq!(files, Vec::<PathBuf>::new());
        assert_eq!(sockets(), 0);
        assert_free_for_another_process(&stage.dir);

        let pass = life.run_background_pass(LONG);
        assert!(pass.suspended && pass.session.is_ok(), "{pass:?}");
        assert_eq!(left_of_ours(), [""; 0]);
        assert_eq!(open_files(&stage.dir), Vec::<PathBuf>::new());
        assert_eq!(sockets(), 0);
        assert_eq!(life.storage().err(), Some(Unavailable::Suspended));
        drop(subscription);
    }
    drop(threads_before);
}

/// Not a test by itself: a child.
#[test]
fn child_lives_and_dies() {
    let Some(stage) = Stage::of_a_child() else {
        return;
    };
    let mut before = None;
    for round in 0..200 {
        let life = stage.open();
        if round == 0 {
            life.durably(|storage| storage.declare_new())
                .unwrap()
                .unwrap();
        }
        life.report_wallet(without_channels(&[record(stage.id, stage.keeper)]));
        if round % 10 == 0 {
            let pass = life.run_background_pass(Duration::from_secs(5));
            assert!(pass.session.is_ok(), "{pass:?}");
        }
        let report = life.shutdown(LONG);
        assert!(report.closed, "round {round}: {report:?}");
        assert_eq!(left_of_ours(), [""; 0]);
        assert_eq!(sockets(), 0);
        let now = (threads().len(), descriptors().len());
        if round >= 20 {
            let before = *before.get_or_insert(now);
            assert!(
                now.0 <= before.0 && now.1 <= before.1,
                "{before:?} became {now:?}"
            );
        }
    }
}

/// Not a test by itself: another process that opens the directory.
#[test]
fn child_opens() {
    let Ok(dir) = std::env::var(DIRECTORY) else {
        return;
    };
    if std::env::var(KEEPER).is_err() {
        assert_free(Path::new(&dir));
    }
}

struct Stage {
    dir: PathBuf,
    id: bitcoin::secp256k1::PublicKey,
    keeper: SocketAddr,
}

impl Stage {
    fn of_a_child() -> Option<Stage> {
        let keeper = std::env::var(KEEPER).ok()?;
        let (id, keeper) = keeper.split_once('@').unwrap();
        Some(Stage {
            dir: std::env::var(DIRECTORY).unwrap().into(),
            id: id.parse().unwrap(),
            keeper: keeper.parse().unwrap(),
        })
    }

    fn open(&self) -> Lifecycle {
        let mut config = config(&self.dir);
        config.linger = Duration::ZERO;
        Lifecycle::open(config, keys()).unwrap()
    }
}

fn run_child(name: &str) {
    let keeper = Keeper::new();
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            &format!("children::{name}"),
            "--exact",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(DIRECTORY, home.path().join("data"))
        .env(KEEPER, format!("{}@{}", keeper.id(), keeper.raw.addr()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let ran = String::from_utf8_lossy(&output.stdout);
    assert!(ran.contains("1 passed"), "{ran}");
    assert!(keeper.backup().is_some(), "it did something");
}

fn assert_free_for_another_process(dir: &Path) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["children::child_opens", "--exact"])
        .env(DIRECTORY, dir)
        .env_remove(KEEPER)
        .output()
        .unwrap()
        .status;
    assert!(status.success());
}

/// The threads of this process by name.
fn threads() -> BTreeMap<String, String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let named = |task: std::io::Result<std::fs::DirEntry>| {
        let path = task.ok()?.path();
        // A thread may end while one looks.
        let name = std::fs::read_to_string(path.join("comm")).ok()?;
        let id = path.file_name()?.to_string_lossy().into_owned();
        Some((id, name.trim().to_owned()))
    };
    tasks.filter_map(named).collect()
}

/// Those that are ours: all but those of the test program.
fn ours(threads: &BTreeMap<String, String>) -> Vec<&str> {
    let names = threads.values().map(String::as_str);
    names
        .filter(|name| name.starts_with("peer-storage") || name.starts_with("tokio"))
        .collect()
}

/// The same, when all is over. A thread that was joined may stand in /proc for another moment: Linux wakes
/// who waits for it before it takes it out.
fn left_of_ours() -> Vec<String> {
    let end = Instant::now() + Duration::from_secs(1);
    loop {
        let threads = threads();
        let left = ours(&threads);
        if left.is_empty() || Instant::now() >= end {
            return left.into_iter().map(str::to_owned).collect();
        }
        std::thread::yield_now();
    }
}

fn descriptors() -> Vec<PathBuf> {
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    all.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok())
        .collect()
}

fn open_files(dir: &Path) -> Vec<PathBuf> {
    let mut all = descriptors();
    all.retain(|path| path.starts_with(dir));
    all
}

fn sockets() -> usize {
    let all = descriptors();
    all.iter()
        .filter(|path| path.to_string_lossy().starts_with("socket:"))
        .count()
}
