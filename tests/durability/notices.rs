//! What the app hears of a disk that fails: it is rung when something is wrong and when it is over, and nobody has
//! to start anything anew.

use std::path::Path;
use std::sync::mpsc::{channel, Receiver};
use std::sync::Arc;
use std::time::Instant;

use bitcoin::Network;
use ldk_peer_storage::lifecycle::{LifeState, Lifecycle, LifecycleConfig, Subscription};
use ldk_peer_storage::lifecycle::{Status, Unavailable};
use ldk_peer_storage::service::Config;
use ldk_peer_storage::store::StoreError;
use lightning::sign::KeysManager;

use crate::faulty_disk::{Disk, Fault, FAULTS};
use crate::node::LONG;

/// An app on the screen of a device without a network, and its doorbell.
struct App {
    life: Lifecycle,
    rings: Receiver<()>,
    _bell: Subscription,
}

impl App {
    fn open(dir: &Path) -> App {
        let keys = Arc::new(KeysManager::new(&[9; 32], 0, 0, true));
        let mut config = LifecycleConfig::new(Config::new(dir, Network::Regtest));
        (config.visible, config.network) = (true, false);
        let life = Lifecycle::open(config, keys).unwrap();
        let (ring, rings) = channel();
        let _bell = life.subscribe(move || {
            let _ = ring.send(());
        });
        App { life, rings, _bell }
    }

    /// Looks when it is rung, and only then.
    #[track_caller]
    fn is_told(&self, what: &str, mut is_so: impl FnMut(&Status) -> bool) {
        let end = Instant::now() + LONG;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let rung = self.rings.recv_timeout(left);
            rung.unwrap_or_else(|_| panic!("the app is not told: {what}"));
            if is_so(&self.life.status()) {
                return;
            }
        }
    }

    fn is_told_of(&self, fault: Fault) {
        self.is_told("it fails", |status| {
            let failure = &status.storage.storage_failure;
            if let Some(failure) = failure {
                assert!(is_its_name(fault, failure), "{fault:?}: {failure:?}");
            }
            failure.is_some()
        });
    }

    fn is_told_that_it_works(&self) {
        self.is_told("it works", |status| {
            status.state == LifeState::Active
                && status.trouble.is_none()
                && status.storage.storage_failure.is_none()
        });
    }
}

/// The first thing that is asked of the disk here is to write.
fn is_its_name(fault: Fault, error: &StoreError) -> bool {
    match fault {
        Fault::Full | Fault::Short => *error == StoreError::DiskFull,
        Fault::ReadOnly => *error == StoreError::ReadOnly,
        Fault::Error | Fault::Hang => matches!(error, StoreError::Io(_)),
    }
}

#[test]
fn the_app_is_told_that_the_disk_fails_and_that_it_works_again() {
    for fault in FAULTS {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::watch(dir.path());
        let app = App::open(dir.path());
        let declared = app.life.durably(|storage| storage.declare_new());
        declared.unwrap().unwrap();
        for data in 1..=2 {
            let newest = app.life.status().storage.backup.newest;
            disk.fail(fault, 0..u64::MAX);
            let said = app
                .life
                .durably(|storage| storage.set_app_data(vec![data; 3000]));
            match said {
                Err(Unavailable::NotDurable(Some(failure))) => {
                    assert!(is_its_name(fault, &failure), "{fault:?}: {failure:?}")
                }
                other => panic!("{fault:?}: {other:?}"),
            }
            app.is_told_of(fault);
            disk.heal();
            app.is_told_that_it_works();
            assert!(app.life.durably(|_| ()).is_ok());
            assert!(app.life.status().storage.backup.newest > newest);
        }
        let newest = app.life.status().storage.backup.newest;
        assert!(app.life.shutdown(LONG).closed);
        let app = App::open(dir.path());
        assert_eq!(app.life.status().storage.backup.newest, newest);
        assert!(app.life.shutdown(LONG).closed);
    }
}

#[test]
fn an_app_that_comes_back_to_a_disk_that_fails_is_told_and_goes_on_when_it_works() {
    for fault in FAULTS {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::watch(dir.path());
        let app = App::open(dir.path());
        let declared = app.life.durably(|storage| storage.declare_new());
        declared.unwrap().unwrap();
        let newest = app.life.status().storage.backup.newest;
        assert!(app.life.on_background(LONG).suspended);

        disk.fail(fault, 0..u64::MAX);
        app.life.on_foreground();
        app.is_told("it cannot be opened", |status| match &status.trouble {
            Some(Unavailable::Storage(
                StoreError::DiskFull | StoreError::ReadOnly | StoreError::Io(_),
            )) => true,
            None => false,
            Some(other) => panic!("{fault:?}: {other:?}"),
        });
        disk.heal();
        app.is_told_that_it_works();
        assert_eq!(app.life.status().storage.backup.newest, newest);
        assert!(app.life.shutdown(LONG).closed);
    }
}
