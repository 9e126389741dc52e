//! File systems that are full or read-only while two nodes live on.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;
use ldk_peer_storage::exchange::Health;
use ldk_peer_storage::lifecycle::{Lifecycle, LifecycleConfig, Unavailable};
use ldk_peer_storage::service::Config;
use ldk_peer_storage::store::StoreError;
use lightning::sign::KeysManager;
use testkit::{open_channel, pay, wait_until, Chain, NodeConfig, DEADLINE};

use crate::support::{kept_for, of_peer, Wallet, WalletConfig};

#[test]
fn a_read_only_directory_is_refused_and_usable_when_it_can_be_written_again() {
    let Some(mount) = Mount::new("size=16m") else {
        return;
    };
    let dir = mount.path().join("data");
    crate::used(&dir);
    mount.remount("ro");
    assert_eq!(crate::refusal(&dir), StoreError::ReadOnly);
    assert_eq!(
        crate::refusal(&mount.path().join("new")),
        StoreError::ReadOnly
    );
    mount.remount("rw");
    crate::open(&dir).unwrap();
}

#[test]
fn while_a_storer_s_disk_is_full_channels_go_on_and_what_was_pushed_is_kept_in_the_end() {
    let Some(mount) = Mount::new("size=4m") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let (storer, phone) = pair(home.path(), Some(mount.path().join("storer")), None);
    let id = phone.node.id();
    let seeds = (phone.node.config().seed, storer.node.config().seed);
    let before = phone.storage.status().backup.newest.unwrap();

    let ballast = mount.fill();
    phone.storage.set_app_data(random(50_000));
    wait_until("the storer to say that its disk is full", DEADLINE, || {
        storer.storage.status().storage_failure == Some(StoreError::DiskFull)
    });
    pay(&phone.node, &storer.node, 1_000_000);
    pay(&storer.node, &phone.node, 1_000_000);
    assert!(
        !storer.storage.flush(Duration::from_millis(10)),
        "it says so"
    );
    assert!(storer.storage.alarms().is_empty() && phone.storage.alarms().is_empty());
    // What a crash now would leave is the backup before.
    let copy = home.path().join("copy");
    testkit::copy_dir(&storer.config().storage_dir, &copy);
    let kept = kept_for(id, &seeds.1, &copy).contents(&seeds.0);
    assert!(kept.snapshot.revision <= before && kept.snapshot.channels.len() == 1);

    std::fs::remove_file(ballast).unwrap();
    wait_until("what was pushed to be written", DEADLINE, || {
        storer.storage.status().storage_failure.is_none()
            && storer.storage.flush(Duration::from_millis(10))
    });
    let newest = phone.storage.status().backup.newest.unwrap();
    let storer = storer.kill();
    let kept = kept_for(id, &seeds.1, &storer.storage_dir).contents(&seeds.0);
    assert!(newest > before && kept.snapshot.revision >= newest);
    assert_eq!(kept.snapshot.app_data, random(50_000));
}

#[test]
fn while_our_own_disk_is_full_nothing_new_leaves_and_it_follows_when_there_is_space() {
    let Some(mount) = Mount::new("size=4m") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let (storer, phone) = pair(home.path(), None, Some(mount.path().join("phone")));
    let id = phone.node.id();
    let seeds = (phone.node.config().seed, storer.node.config().seed);
    let pushes = || {
        let received = storer.node.wire().received_from(&id);
        received
            .iter()
            .filter(|name| *name == "PeerStorage")
            .count()
    };
    let before = pushes();

    let ballast = mount.fill();
    phone.storage.set_app_data(random(60_000));
    wait_until("the phone to say that its disk is full", DEADLINE, || {
        phone.storage.status().storage_failure == Some(StoreError::DiskFull)
    });
    pay(&phone.node, &storer.node, 1_000_000);
    let report = phone.storage.on_background(Duration::from_millis(200));
    assert!(!report.complete);
    assert_eq!(report.status.storage_failure, Some(StoreError::DiskFull));
    // Nor on a new connection.
    phone.reconnect(&storer.node);
    pay(&storer.node, &phone.node, 1_000_000);
    assert_eq!(pushes(), before, "a backup has left before it was durable");

    std::fs::remove_file(ballast).unwrap();
    wait_until("the backup to follow", DEADLINE, || pushes() > before);
    assert!(phone.storage.on_background(DEADLINE).complete);
    phone.reconnect(&storer.node);
    wait_until("it to be verified", DEADLINE, || {
        of_peer(&phone.storage, &storer.node.id()).is_some_and(|p| p.health == Health::Verified)
    });
    let newest = phone.storage.status().backup.newest.unwrap();
    assert!(phone.storage.alarms().is_empty());
    // What the peer has is durable here too, whatever happens now.
    phone.kill();
    let storer = storer.stop();
    let kept = kept_for(id, &seeds.1, &storer.storage_dir).contents(&seeds.0);
    assert!(kept.snapshot.revision >= newest);
    assert_eq!(kept.snapshot.app_data, random(60_000));
}

#[test]
fn what_is_said_to_a_full_disk_is_in_force_and_durable_when_there_is_space() {
    let Some(mount) = Mount::new("size=4m") else {
        return;
    };
    let dir = mount.path().join("phone");
    let open = || {
        let keys = Arc::new(KeysManager::new(&[5; 32], 0, 0, true));
        let mut config = LifecycleConfig::new(Config::new(&dir, Network::Regtest));
        (config.visible, config.network) = (true, false);
        Lifecycle::open(config, keys).unwrap()
    };
    let life = open();
    let declared = life.durably(|storage| storage.declare_new());
    declared.unwrap().unwrap();

    let ballast = mount.fill();
    // The database has a page or two of room still.
    let mut rounds = 0_usize;
    let refused = loop {
        rounds += 1;
        // Each time another, or there is nothing to write.
        let said = life.durably(|storage| storage.set_app_data(random(60_000 + rounds)));
        match said {
            Ok(()) if rounds < 100 => continue,
            refused => break refused,
        }
    };
    let full = Some(StoreError::DiskFull);
    assert_eq!(refused, Err(Unavailable::NotDurable(full)));
    let newest = life.status().storage.backup.newest;

    std::fs::remove_file(ballast).unwrap();
    wait_until("it to be durable", DEADLINE, || {
        life.durably(|_| ()).is_ok()
    });
    assert!(life.shutdown(DEADLINE).closed);
    let life = open();
    assert_eq!(life.status().storage.backup.newest, newest);
    assert!(life.shutdown(DEADLINE).closed);
}

/// A storer and a phone with a channel and a backup, each with peer storage in this directory.
fn pair(home: &Path, storer: Option<PathBuf>, phone: Option<PathBuf>) -> (Wallet, Wallet) {
    let chain = Chain::new();
    let start = |name: &str, dir: Option<PathBuf>| {
        let mut config = WalletConfig::new(NodeConfig::new(name, home.join(name), chain.clone()));
        config.storage_dir = dir.unwrap_or(config.storage_dir);
        Wallet::start(config)
    };
    let (storer, phone) = (start("storer", storer), start("phone", phone));
    phone.connect_to(&storer.node);
    open_channel(&chain, &phone.node, &storer.node, 1_000_000);
    phone.reconnect(&storer.node);
    for wallet in [&phone, &storer] {
        assert!(wallet.storage.on_background(DEADLINE).complete);
    }
    phone.reconnect(&storer.node);
    for wallet in [&phone, &storer] {
        wait_until("the backup to be verified", DEADLINE, || {
            wallet.storage.status().backup.unprotected_channels == 0
        });
        assert!(wallet.storage.on_background(DEADLINE).complete);
    }
    (storer, phone)
}

/// Bytes without a pattern, the same each time.
fn random(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// A small file system of its own, which only root may make.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new(options: &str) -> Option<Mount> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = cfg!(target_os = "linux")
            && run(Command::new("mount")
                .args(["-t", "tmpfs", "-o", options, "tmpfs"])
                .arg(dir.path()));
        if !mounted {
            println!("skipped: mounting a file system is not permitted here");
            return None;
        }
        Some(Mount(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn remount(&self, mode: &str) {
        let options = format!("remount,{mode}");
        assert!(run(Command::new("mount")
            .args(["-o", &options])
            .arg(self.path())));
    }

    /// Writes until nothing more fits. Removing the file makes room again.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("ballast");
        let mut file = File::create(&path).unwrap();
        for len in [65536, 4096, 1] {
            while file.write_all(&vec![0; len]).is_ok() {}
        }
        path
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run(Command::new("umount").arg("--lazy").arg(self.path()));
    }
}

fn run(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
    quiet
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}
