use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use peer_storage_ffi::chain::ChainAccess;
use peer_storage_ffi::config::OpenConfig;
use peer_storage_ffi::errors::PeerStorageError;
use peer_storage_ffi::recovery::RecoverySettings;

use crate::support::*;

#[test]
fn a_panic_is_an_error_of_that_call_alone() {
    let dir = tempfile::tempdir().unwrap();
    let config = OpenConfig {
        network_available: true,
        ..config(dir.path())
    };
    let storage = open_with(config, secret(1)).unwrap();
    let panics = Arc::new(AtomicBool::new(true));
    let of_chain = panics.clone();
    let source = EmptyChain(Box::new(move || {
        assert!(!of_chain.load(Ordering::SeqCst), "secret words");
    }));
    let chain = ChainAccess::Host {
        source: Arc::new(source),
    };
    let settings = RecoverySettings { stay_ms: 0 };
    let recovery = storage.start_recovery(chain, settings, None).unwrap();
    for _ in 0..10 {
        let Err(error) = wait(recovery.plan(Vec::new(), 0)) else {
            panic!("a plan")
        };
        assert!(
            matches!(error, PeerStorageError::Internal { .. }),
            "{error}"
        );
        assert!(!error.to_string().contains("words"), "{error}");
    }
    assert!(!wait(recovery.is_begun()).unwrap(), "the recovery goes on");
    wait(storage.declare_new()).unwrap();

    panics.store(false, Ordering::SeqCst);
    let plan = wait(recovery.plan(Vec::new(), 0)).unwrap();
    assert!(plan.channels.is_empty());
    wait(storage.shutdown(ENOUGH)).unwrap();
    let after = wait(recovery.is_begun());
    assert_eq!(after, Err(PeerStorageError::Closed));
}
